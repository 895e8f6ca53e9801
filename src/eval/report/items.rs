//! Questions one by one: the picture, what is right, and the answers side by side with what differs marked.

use std::collections::BTreeSet;

use super::figures;
use super::leaderboard::order;
use super::room::{Room, Written};
use super::shown::{self, Piece, Shown, line};
use super::thumbnail::{Album, Thumbnail};
use crate::eval::dataset::Item;
use crate::eval::measured::{Asked, Lack, Measured, agreement};
use crate::eval::record::{Finish, Outcome};
use crate::eval::summary::Summary;
use crate::failure::Result;

/// Questions of one report, and answers of all of them.
const MOST_ITEMS: usize = 2000;
const MOST_ANSWERS: usize = 20_000;
/// Characters of all answers, and of each.
const MOST_TEXT: usize = 24_000_000;
const LONGEST_TEXT: usize = 4000;
/// Different answers of one model to the same question that are shown.
const MOST_VARIANTS: usize = 4;
/// Of the names of a question's pictures.
const MOST_NAMES: usize = 8;
/// Tags that can be chosen.
const MOST_TAGS: usize = 200;
/// From this score on, an answer counts as right.
const RIGHT: f64 = 0.995;
/// Below this score, an answer counts as failed.
const FAILED: f64 = 0.5;

/// The questions that are shown.
pub(super) struct Items {
    pub(super) shown: Vec<Written>,
    /// The models, in the order of the marks of each question.
    pub(super) models: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) left_out: usize,
    pub(super) has_few_pictures: bool,
}

/// One question.
pub(super) struct OneItem {
    pub(super) id: String,
    pub(super) prompt: Shown,
    pub(super) brief: String,
    pub(super) tags: Vec<String>,
    /// Places of its tags, for the filter.
    pub(super) tag_places: String,
    pub(super) marks: Vec<Mark>,
    /// A letter for each model, for the filter.
    pub(super) letters: String,
    pub(super) disagrees: bool,
    pub(super) pictures: Vec<Thumbnail>,
    pub(super) picture_names: Vec<String>,
    pub(super) truth: Option<Shown>,
    pub(super) answers: Vec<Answers>,
}

/// How a model did on a question, in one sign.
pub(super) struct Mark {
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) text: String,
}

/// What one model said to a question.
pub(super) struct Answers {
    pub(super) model: String,
    pub(super) class: &'static str,
    pub(super) score: String,
    pub(super) variants: Vec<Variant>,
    pub(super) left_out: usize,
}

/// An answer, and how often it was given.
pub(super) struct Variant {
    pub(super) times: Option<String>,
    pub(super) text: Shown,
    pub(super) error: Option<(String, String)>,
    pub(super) ending: &'static str,
    pub(super) figures: Vec<(&'static str, String)>,
    pub(super) facts: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// Whether a judge took it for right, and why.
    pub(super) verdict: Option<(&'static str, Shown)>,
}

impl Items {
    /// The questions of a run, as many as a file can hold that people open.
    pub(super) fn of(summary: &Summary, asked: &[Asked<'_>], album: &Album) -> Result<Self> {
        let order = order(summary);
        let shown = MOST_ITEMS.min(MOST_ANSWERS / order.len().max(1)).min(asked.len());
        let asked_shown = asked.get(..shown).unwrap_or(asked);
        let repeats = asked_shown.iter().flat_map(|asked| &asked.calls).map(Vec::len).max().unwrap_or(1);
        let answers = shown * order.len() * repeats.clamp(1, MOST_VARIANTS);
        let longest = (MOST_TEXT / answers.max(1)).min(LONGEST_TEXT);
        let tags: BTreeSet<&str> =
            asked_shown.iter().flat_map(|asked| asked.item.tags.iter().map(String::as_str)).collect();
        let tags: Vec<&str> = tags.into_iter().take(MOST_TAGS).collect();
        let models: Vec<String> =
            order.iter().filter_map(|place| Some(line(&summary.models.get(*place)?.name))).collect();
        let view = View { order: &order, models: &models, tags: &tags, album, longest };
        let mut room = Room::default();
        let mut written = Vec::new();
        for one in asked_shown {
            let Some(question) = room.write(view.item(one), asked.len() == 1)? else { break };
            written.push(question);
        }
        Ok(Self {
            left_out: asked.len() - written.len(),
            shown: written,
            tags: tags.iter().map(|tag| line(tag)).collect(),
            has_few_pictures: album.is_cut || room.is_short_of_pictures,
            models,
        })
    }
}

/// How questions are shown.
struct View<'a> {
    order: &'a [usize],
    models: &'a [String],
    tags: &'a [&'a str],
    album: &'a Album,
    longest: usize,
}

impl View<'_> {
    fn item(&self, asked: &Asked<'_>) -> OneItem {
        let item = asked.item;
        let places = item.tags.iter().filter_map(|tag| self.tags.iter().position(|other| *other == tag.as_str()));
        let places: Vec<String> = places.map(|place| place.to_string()).collect();
        let each = || self.order.iter().zip(self.models);
        let marks: Vec<Mark> = each().map(|(model, name)| mark(asked, *model, name)).collect();
        OneItem {
            id: line(&item.id),
            brief: line(&prompt(item)),
            prompt: shown::text(&prompt(item), self.longest),
            tags: item.tags.iter().take(20).map(|tag| line(tag)).collect(),
            tag_places: places.join(" "),
            letters: marks.iter().filter_map(|mark| mark.class.chars().next()).collect(),
            marks,
            disagrees: disagrees(asked),
            pictures: self.album.pictures(&item.id).to_vec(),
            picture_names: item.ask.images.iter().take(MOST_NAMES).map(|name| picture_name(name)).collect(),
            truth: truth(item).map(|truth| shown::text(&truth, self.longest)),
            answers: each().filter_map(|(model, name)| self.answers(asked, *model, name)).collect(),
        }
    }

    fn answers(&self, asked: &Asked<'_>, model: usize, name: &str) -> Option<Answers> {
        let calls = asked.calls.get(model).filter(|calls| !calls.is_empty())?;
        let mut variants: Vec<Vec<&Measured>> = Vec::new();
        for call in calls {
            match variants.iter_mut().find(|same| same.iter().any(|it| is_same(it, call))) {
                Some(same) => same.push(call),
                None => variants.push(vec![call]),
            }
        }
        let left_out = variants.len().saturating_sub(MOST_VARIANTS);
        let variant = |same: &Vec<&Measured>| Some(self.variant(asked.item, same.first()?, same.len(), calls.len()));
        Some(Answers {
            model: name.to_owned(),
            class: class(asked, model),
            score: asked.score(model).map(figures::percent).unwrap_or_default(),
            variants: variants.iter().take(MOST_VARIANTS).filter_map(variant).collect(),
            left_out,
        })
    }

    fn variant(&self, item: &Item, call: &Measured, times: usize, of: usize) -> Variant {
        let (text, error, ending) = match &call.record.outcome {
            Outcome::Said { text, finish } => {
                let runs = call.differences(item, self.longest);
                let marked = if runs.is_empty() {
                    shown::text(text, self.longest)
                } else {
                    shown::differences(&runs, self.longest)
                };
                let ending = match finish {
                    Finish::Whole => "",
                    Finish::Cut => "cut at the longest answer",
                    Finish::Refused => "refused",
                };
                (marked, None, ending)
            }
            Outcome::Failed { code, message } => {
                let message: String = shown::text(message, 600).runs.into_iter().map(|piece| piece.text).collect();
                (Shown::default(), Some((line(code), message)), "")
            }
        };
        let figures = call.figures.iter().map(|(measure, figure)| (measure.name(), figures::percent(*figure)));
        let verdict = call
            .verdict
            .as_ref()
            .map(|verdict| (if verdict.is_right { "right" } else { "wrong" }, shown::text(&verdict.reason, 600)));
        Variant {
            times: match (times, of) {
                (_, 1) => None,
                (1, of) => Some(format!("1 of {of} times")),
                (times, of) => Some(format!("{times} of {of} times; time and cost are of the first")),
            },
            text,
            error,
            ending,
            figures: figures.collect(),
            facts: facts(call),
            warnings: call.record.warnings.iter().take(10).map(|warning| line(warning)).collect(),
            verdict,
        }
    }
}

/// What was asked: in the question's own words, or by its task.
fn prompt(item: &Item) -> String {
    match (&item.ask.prompt, &item.ask.task) {
        (Some(prompt), _) => prompt.clone(),
        (None, Some(task)) => format!("(the words of the task {task})"),
        (None, None) => "(the words of the usual task)".to_owned(),
    }
}

/// What is right, as it is compared with.
fn truth(item: &Item) -> Option<String> {
    match (&item.truth.data, item.truth.texts.as_slice()) {
        (Some(data), _) => Some(data.to_string()),
        (None, []) => None,
        (None, texts) => Some(texts.join("\nor: ")),
    }
}

fn picture_name(name: &str) -> String {
    if name.trim_start().starts_with("data:") {
        return format!("a data URI of {}", figures::counted(name.len(), "byte", "bytes"));
    }
    line(name)
}

fn is_same(one: &Measured, other: &Measured) -> bool {
    let is_alike = match (&one.record.outcome, &other.record.outcome) {
        (Outcome::Failed { code, .. }, Outcome::Failed { code: other, .. }) => code == other,
        (one, other) => one == other,
    };
    is_alike && one.verdict.as_ref().map(|it| it.is_right) == other.verdict.as_ref().map(|it| it.is_right)
}

fn facts(call: &Measured) -> Vec<String> {
    let record = &call.record;
    let tokens = (record.input_tokens + record.output_tokens > 0)
        .then(|| format!("{} + {} tokens", figures::sum(record.input_tokens), figures::sum(record.output_tokens)));
    let facts = [
        record.cached.then(|| "remembered".to_owned()),
        record.latency_ms.map(figures::milliseconds),
        record.cost_usd.map(figures::dollars),
        tokens,
        record.answered_by.as_deref().map(|by| format!("answered by {}", line(by))),
        (!record.sent.is_empty()).then(|| format!("sent {}", line(&record.sent.join("; ")))),
    ];
    facts.into_iter().flatten().collect()
}

fn class(asked: &Asked<'_>, model: usize) -> &'static str {
    let calls = asked.calls.get(model).map_or(&[][..], Vec::as_slice);
    let is_put = calls.iter().any(|call| call.lack != Some(Lack::Asking));
    let is_silent = !calls.is_empty() && calls.iter().all(|call| call.record.said().is_none());
    match asked.score(model) {
        _ if !is_put => "open",
        _ if is_silent => "error",
        None => "open",
        Some(score) if score >= RIGHT => "right",
        Some(score) if score >= FAILED => "partly",
        Some(_) => "wrong",
    }
}

fn mark(asked: &Asked<'_>, model: usize, name: &str) -> Mark {
    let class = class(asked, model);
    let (sign, word) = match class {
        "right" => ("✓", "right"),
        "partly" => ("◐", "partly right"),
        "wrong" => ("✗", "wrong"),
        "error" => ("!", "no answer"),
        _ => ("·", "no score"),
    };
    let score = asked.score(model).filter(|_| class != "error").map(figures::percent);
    let score = score.map(|score| format!(", {score}")).unwrap_or_default();
    Mark { class, sign, text: format!("{name}: {word}{score}") }
}

/// Whether any two first answers differ.
fn disagrees(asked: &Asked<'_>) -> bool {
    let mut said = asked.calls.iter().filter_map(|calls| calls.first()?.record.said());
    let Some(first) = said.next() else { return false };
    said.any(|other| first != other && agreement(first, other) < 1.0)
}

impl Shown {
    /// Whether there is nothing to show.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.iter().all(|Piece { text, .. }| text.trim().is_empty())
    }
}
