//! What was run: everything that somebody needs who wants to believe the figures, or to run it again.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::{self, NONE};
use super::shown::{self, Shown, line, listed};
use crate::eval::calls::Calls;
use crate::eval::manifest::{AskedModel, Manifest};
use crate::eval::measured::{Asked, Measure, decisive};
use crate::eval::summary::{Summary, Unaskable};

/// Questions that are named, and names of models that answered for one.
const MOST_NAMED: usize = 20;
/// Characters of a prompt.
const LONGEST_PROMPT: usize = 8000;

/// The circumstances of a run.
pub(super) struct Circumstances {
    pub(super) title: String,
    pub(super) facts: Vec<Fact>,
    pub(super) models: Vec<Model>,
    pub(super) prompts: Vec<Prompt>,
    /// What must be known before any figure is read.
    pub(super) notices: Vec<Notice>,
    pub(super) judge: Option<Prompt>,
    /// How the score of a question comes about.
    pub(super) score: String,
}

/// Something that figures do not show.
pub(super) struct Notice {
    pub(super) title: &'static str,
    pub(super) text: String,
}

/// A name and what it is.
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// A model as it was asked for, and who it turned out to be.
pub(super) struct Model {
    pub(super) name: String,
    pub(super) resolved: String,
    pub(super) answered_by: String,
    pub(super) input: String,
    pub(super) output: String,
    pub(super) source: String,
}

/// Words that were said to every model.
pub(super) struct Prompt {
    pub(super) name: String,
    pub(super) text: Shown,
}

impl Circumstances {
    /// The circumstances of a run.
    pub(super) fn of(manifest: &Manifest, summary: &Summary, asked: &[Asked<'_>]) -> Self {
        let file = manifest.dataset.rsplit(['/', '\\']).next().unwrap_or_default();
        let standing = Prompt { name: "Said to every model first".into(), text: prompt(manifest.standing) };
        let prompts = manifest.prompts.iter();
        let prompts = prompts.map(|(task, text)| Prompt { name: format!("Task {}", line(task)), text: prompt(text) });
        Self {
            title: line(file),
            facts: facts(manifest, summary, asked),
            models: manifest.models.iter().enumerate().map(|(place, it)| model(it, summary, place)).collect(),
            prompts: [standing].into_iter().chain(prompts).collect(),
            notices: notices(manifest, summary),
            judge: manifest
                .judge
                .as_ref()
                .map(|judge| Prompt { name: line(&judge.model), text: prompt(&judge.prompt) }),
            score: score(manifest, summary, asked),
        }
    }
}

fn prompt(text: &str) -> Shown {
    shown::text(text, LONGEST_PROMPT)
}

fn notices(manifest: &Manifest, summary: &Summary) -> Vec<Notice> {
    let notice = |title| move |text| Notice { title, text };
    let incomplete =
        [stopped(manifest, summary.unjudged()), unjudged(summary)].into_iter().flatten().map(notice("Incomplete"));
    let unaskable = unaskable(summary).map(notice("Could not be asked"));
    let is_apart = summary.models.len() > 1 && summary.scored > 0 && summary.common == 0;
    let apart = "No question has a score of every model, so that they have no order and no groups.".to_owned();
    let apart = is_apart.then_some(apart).map(notice("Not compared"));
    let earlier = summary.warnings.iter().map(|warning| format!("{}.", line(warning))).map(notice("Earlier run"));
    let remembered = remembered(summary).map(notice("From memory"));
    incomplete.chain(unaskable).chain(apart).chain(earlier).chain(remembered).collect()
}

fn unjudged(summary: &Summary) -> Option<String> {
    (summary.unjudged() > 0).then(|| {
        let missing = figures::counted(summary.unjudged(), "answer has", "answers have");
        format!(
            "{missing} no verdict of the judge and no score. Where more than one in ten of a model's are missing, it has no score \
             at all; other figures are of the rest, which need not be like these."
        )
    })
}

/// What could not be put to models, by name.
pub(super) fn unaskable(summary: &Summary) -> Option<String> {
    let all = &summary.unaskable;
    let one = |it: &Unaskable| format!("{} ({}: {})", line(&it.item), line(&it.code), line(&it.message));
    let named: Vec<String> = all.iter().take(MOST_NAMED).map(one).collect();
    let more = all.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!("; and {} more", figures::count(more)) } else { String::new() };
    (!all.is_empty()).then(|| {
        format!(
            "{} could not be put to every model, through no fault of theirs, and count neither for nor against those who were \
             not asked: {}{more}.",
            figures::counted(all.len(), "question", "questions"),
            named.join("; ")
        )
    })
}

fn remembered(summary: &Summary) -> Option<String> {
    let sum = |of: fn(&Calls) -> usize| summary.models.iter().map(|model| of(&model.calls)).sum::<usize>();
    let (cached, answered) = (sum(|calls| calls.cached), sum(|calls| calls.answered));
    (cached > 0).then(|| {
        format!(
            "{} of {} were remembered. They have a score, and are left out of times, tokens, costs and the agreement of repeats.",
            figures::count(cached),
            figures::counted(answered, "answer", "answers")
        )
    })
}

fn stopped(manifest: &Manifest, unjudged: usize) -> Option<String> {
    let calls = figures::counted(manifest.not_asked, "call is missing", "calls are missing");
    let verdicts = figures::counted(unjudged, "verdict is missing", "verdicts are missing");
    let missing = [(manifest.not_asked, calls.clone()), (unjudged, verdicts)];
    let missing: Vec<String> = missing.into_iter().filter(|(count, _)| *count > 0).map(|(_, what)| what).collect();
    let missing = if missing.is_empty() { "Nothing is missing".to_owned() } else { listed(&missing) };
    match &manifest.stopped {
        Some(why) => Some(format!("The run did not come to its end: {}. {missing}.", line(why).trim_end_matches('.'))),
        None if manifest.not_asked > 0 => Some(format!("Not everything was asked: {calls}.")),
        None => None,
    }
}

fn facts(manifest: &Manifest, summary: &Summary, asked: &[Asked<'_>]) -> Vec<Fact> {
    let fact = |name, text| Fact { name, text };
    let set = format!(
        "{}, {} about {} (digest {})",
        line(&manifest.dataset),
        figures::counted(summary.items, "question", "questions"),
        figures::counted(summary.clusters, "picture or set of pictures", "different pictures or sets of them"),
        line(&manifest.dataset_digest)
    );
    let truth = match summary.scored {
        0 => match asked.iter().filter(|asked| is_labelled(asked)).count() {
            0 => "no question says what is right".to_owned(),
            labelled => format!(
                "{} what is right; none has a score yet",
                figures::counted(labelled, "question says", "questions say")
            ),
        },
        scored => format!(
            "{} a score; the order is made of the {} about {} that every model has a score for",
            figures::counted(scored, "question has", "questions have"),
            figures::count(summary.common),
            figures::counted(summary.common_clusters, "picture", "pictures"),
        ),
    };
    vec![
        fact("Date", format!("{} (UTC)", line(&manifest.date))),
        fact("Program", format!("visiongate {}", manifest.version)),
        fact("Set", set),
        fact("Truth", truth),
        fact("Repeats", format!("each question {}", figures::counted(manifest.repeats as usize, "time", "times"))),
        fact("Order", format!("questions shuffled, models in turn; seed {}", manifest.seed)),
        fact(
            "Temperature",
            manifest.temperature.map_or("left to the models".into(), |it| format!("{it} where a model takes one")),
        ),
        fact("Longest answer", format!("{} tokens", figures::sum(u64::from(manifest.max_output_tokens)))),
        fact("Cache", cache(manifest.cache).to_owned()),
        fact("Pictures", preparation(asked)),
    ]
}

fn cache(mode: &'static str) -> &'static str {
    match mode {
        "bypass" => "not used: every call was made anew",
        "refresh" => "written, not read: every call was made anew",
        _ => "used: what was remembered is left out of times, tokens, costs and the agreement of repeats",
    }
}

/// Whether all models saw the same.
fn preparation(asked: &[Asked<'_>]) -> String {
    let (mut known, mut same) = (0, 0);
    for asked in asked {
        let sent = asked.calls.iter().flatten().map(|call| &call.record.sent).filter(|sent| !sent.is_empty());
        let kinds: BTreeSet<&Vec<String>> = sent.collect();
        known += usize::from(!kinds.is_empty());
        same += usize::from(kinds.len() == 1);
    }
    let fitted = "made upright, freed of metadata and fitted to the limits of each model";
    match (known, same) {
        (0, _) => format!("{fitted}; what was sent is not known"),
        (known, same) if known == same => format!("{fitted}; every model was sent the same size and bytes"),
        (_, 0) => format!("{fitted}, so that models were sent different ones: each stands beside its answers"),
        (known, same) => format!(
            "{fitted}; all models were sent the same size and bytes for {} of {} questions, and what each was sent stands \
             beside its answers",
            figures::count(same),
            figures::count(known)
        ),
    }
}

fn model(asked: &AskedModel, summary: &Summary, place: usize) -> Model {
    let answered_by = summary.models.get(place).map(|model| &model.answered_by);
    let answered_by = answered_by.into_iter().flatten().take(MOST_NAMED).map(|name| line(name));
    let answered_by: Vec<String> = answered_by.collect();
    let price = |price: Option<f64>| price.map_or_else(|| NONE.to_owned(), |price| format!("${price}"));
    Model {
        name: line(&asked.name),
        resolved: line(&asked.resolved),
        answered_by: if answered_by.is_empty() { NONE.to_owned() } else { listed(&answered_by) },
        input: price(asked.price.map(|(input, _)| input)),
        output: price(asked.price.map(|(_, output)| output)),
        source: if asked.source.is_empty() { NONE.to_owned() } else { line(&asked.source) },
    }
}

/// The measures that decide, with how many questions each decides about.
fn score(manifest: &Manifest, summary: &Summary, asked: &[Asked<'_>]) -> String {
    // Not by the figures alone: there may be none yet.
    let has_verdicts = summary.models.iter().any(|model| model.figures.contains_key(&Measure::Judged));
    let is_judged = manifest.judge.is_some() && (has_verdicts || summary.scored == 0);
    let mut deciding: BTreeMap<Measure, usize> = BTreeMap::new();
    let deciding_here = asked.iter().filter(|asked| !is_judged || is_labelled(asked));
    for measure in deciding_here.filter_map(|asked| decisive(asked.item, is_judged)) {
        *deciding.entry(measure).or_default() += 1;
    }
    let is_rate = |measure: &Measure| {
        let mut figures = summary.models.iter().filter_map(|model| model.figures.get(measure));
        figures.any(|figure| figure.is_lower_better)
    };
    let one = |(measure, items): (&Measure, &usize)| {
        let name = if is_rate(measure) { format!("1 − {}", measure.name()) } else { measure.name().to_owned() };
        format!("{name} ({})", figures::counted(*items, "question", "questions"))
    };
    listed(&deciding.iter().map(one).collect::<Vec<_>>())
}

/// Whether a question says what is right, so that an answer to it can be scored.
fn is_labelled(asked: &Asked<'_>) -> bool {
    !asked.item.truth.texts.is_empty() || asked.item.truth.data.is_some()
}
