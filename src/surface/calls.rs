//! The calls that every surface offers: what each is asked, how it is answered, and how that is shown.
//!
//! MCP's tools and REST's routes are two ways in; what lies behind them is the same, and stands here.

use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use vision_providers::price::MicroUsd;

use super::{answer, arguments, models};
use crate::batch;
use crate::compare::{self, Comparing, Comparison, Following, News};
use crate::failure::Result;
use crate::gateway::{Ask, Asker, Gateway};
use crate::reply::Reply;
use crate::speech::Listener;

pub(super) const ANALYZE: &str = "analyze_image";
pub(super) const COMPARE: &str = "compare_models";
pub(super) const BATCH: &str = "analyze_batch";
pub(super) const CHAT: &str = "vision_chat";
pub(super) const LIST: &str = "list_models";

/// Pairs of answers whose differences stand in the text of a comparison.
const MOST_PAIRS: usize = 6;

/// Every tool there is.
pub const TOOLS: [&str; 5] = [ANALYZE, COMPARE, BATCH, CHAT, LIST];

/// A call that was understood.
#[derive(Debug)]
pub(super) enum Call {
    /// A question about images, or the next turn of a conversation.
    Ask(Box<Ask>),
    Compare(Box<Comparing>),
    Batch(Vec<Ask>),
    List,
}

/// An answered call, as surfaces show it.
#[derive(Debug)]
pub(super) struct Answered {
    /// For whoever reads nothing else.
    pub(super) text: String,
    /// The answer, with the account of how it came about.
    pub(super) answer: Value,
}

impl Answered {
    /// The answer and the account of it apart, for models that pay for every byte.
    pub(super) fn apart(mut self) -> (String, Value, Map<String, Value>) {
        let mut account = taken(&mut self.answer);
        let several = [("answers", "model_requested"), ("items", "index")];
        for (list, name) in several {
            let Some(answers) = self.answer.get_mut(list).and_then(Value::as_array_mut) else { continue };
            let accounts = answers.iter_mut().filter_map(|one| {
                let name = one[name].as_str().map_or_else(|| one[name].to_string(), str::to_owned);
                Some((name, Value::Object(taken(one)))).filter(|(_, taken)| taken != &json!({}))
            });
            account.insert("accounts".into(), Value::Object(accounts.collect()));
        }
        (self.text, self.answer, account)
    }
}

/// Takes the account out of an answer.
fn taken(answer: &mut Value) -> Map<String, Value> {
    let Some(answer) = answer.as_object_mut() else { return Map::new() };
    ["route", "images"].into_iter().filter_map(|name| Some((name.to_owned(), answer.remove(name)?))).collect()
}

impl Call {
    /// Reads what a tool was called with.
    ///
    /// # Errors
    /// `INVALID_INPUT` naming what cannot be understood.
    pub(super) fn read(tool: &str, arguments: Map<String, Value>) -> Result<Self> {
        match tool {
            ANALYZE => arguments::ask(arguments).map(Box::new).map(Self::Ask),
            COMPARE => arguments::comparing(arguments).map(Box::new).map(Self::Compare),
            BATCH => arguments::batch(arguments).map(Self::Batch),
            CHAT => arguments::chat(arguments).map(Box::new).map(Self::Ask),
            _ => Ok(Self::List),
        }
    }

    /// Answers it. Whoever watches is told in words how it goes.
    ///
    /// # Errors
    /// What went wrong; what becomes of one model or item among several is part of the answer.
    pub(super) async fn answer(
        self,
        gateway: &Gateway,
        asker: &Asker,
        watching: Option<&Listener>,
    ) -> Result<Answered> {
        match self {
            Self::Ask(ask) => {
                let reply = match watching {
                    Some(onlooker) => gateway.ask_in_view(&ask, asker, onlooker).await?,
                    None => gateway.ask(&ask, asker).await?,
                };
                Ok(answered(&reply))
            }
            Self::Compare(comparing) => {
                let comparison = match watching {
                    Some(onlooker) => watched(gateway, &comparing, asker, onlooker).await?,
                    None => compare::compare(gateway, &comparing, asker, Following::Nobody).await?,
                };
                Ok(compared(&comparison))
            }
            Self::Batch(asks) => Ok(batched(&asks, gateway, asker, watching).await),
            Self::List => {
                let list = models::usable(gateway, &asker.rights);
                Ok(Answered { text: models::text(&list), answer: list })
            }
        }
    }
}

fn answered(reply: &Reply) -> Answered {
    Answered { text: answer::plain(reply), answer: answer::whole(reply) }
}

/// What became of one model or item among several.
fn outcome(outcome: &Result<Reply>) -> Map<String, Value> {
    let mut value = match outcome {
        Ok(reply) => answer::whole(reply),
        Err(failure) => answer::error(failure),
    };
    if let Some(spent) = outcome.as_ref().err().and_then(|failure| failure.spent) {
        value["cost_usd"] = json!(spent.cost.dollars());
    }
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Compares, and tells whoever watches how many models are done.
async fn watched(gateway: &Gateway, comparing: &Comparing, asker: &Asker, onlooker: &Listener) -> Result<Comparison> {
    let models = comparing.models.len();
    let (follower, mut news) = mpsc::channel(models.max(1));
    let asking = async {
        let outcome = compare::compare(gateway, comparing, asker, Following::Ends(&follower)).await;
        drop(follower);
        outcome
    };
    let counting = async {
        let (mut answered, mut failed) = (0, 0);
        while let Some(news) = news.recv().await {
            let News::Ended(_, ended) = news else { continue };
            *(if ended.outcome.is_ok() { &mut answered } else { &mut failed }) += 1;
            let failures = if failed == 0 { String::new() } else { format!(", {failed} failed") };
            // Somebody who does not keep up misses a line.
            let _ = onlooker.try_send(format!("{answered} of {models} models answered{failures}\n"));
        }
    };
    let (comparison, ()) = tokio::join!(asking, counting);
    comparison
}

/// What became of one model.
fn one(answered: &compare::Answered) -> Map<String, Value> {
    let mut value = outcome(&answered.outcome);
    value.insert("model_requested".into(), json!(answered.model));
    if let Some(score) = answered.score {
        value.insert("score".into(), json!(rounded(score)));
    }
    value
}

/// What became of one model, by its place.
pub(super) fn one_of(index: usize, answered: &compare::Answered) -> Value {
    let mut value = one(answered);
    value.insert("index".into(), json!(index));
    Value::Object(value)
}

/// The whole comparison.
pub(super) fn compared(comparison: &Comparison) -> Answered {
    let pair = |agreement: &compare::Agreement| {
        let name = |at: usize| comparison.answers.get(at).map(|answered| answered.model.as_str());
        let by = if agreement.by_member { "members" } else { "edits" };
        let models = [name(agreement.pair.0), name(agreement.pair.1)];
        let mut value = json!({"models": models, "similarity": rounded(agreement.similarity), "by": by});
        if agreement.cut {
            value["compared_characters"] = json!(compare::COMPARED);
        }
        if !agreement.differences.is_empty() {
            value["differences"] = agreement.differences.iter().map(difference).collect();
        }
        value
    };
    let mut value = json!({
        "answers": comparison.answers.iter().map(|it| Value::Object(one(it))).collect::<Vec<_>>(),
        "agreement": {"pairs": comparison.agreement.iter().map(pair).collect::<Vec<_>>()},
    });
    if let Some(mean) = comparison.mean_agreement() {
        value["agreement"]["mean"] = json!(rounded(mean));
    }
    if let Some(value) = value.as_object_mut() {
        value.extend(cost(comparison.answers.iter().map(|answered| &answered.outcome)));
    }
    Answered { text: comparison_text(comparison), answer: value }
}

fn difference(difference: &compare::Difference) -> Value {
    match difference {
        compare::Difference::Member(path) => json!({"path": path}),
        compare::Difference::Words(one, other) => json!({"texts": [one, other]}),
    }
}

/// One paragraph for each model, and a line about how far they agree.
fn comparison_text(comparison: &Comparison) -> String {
    let mut paragraphs: Vec<String> = comparison
        .answers
        .iter()
        .map(|answered| {
            let model = &answered.model;
            let score = answered.score.map_or_else(String::new, |score| format!(", score {}", rounded(score)));
            match &answered.outcome {
                Ok(reply) => {
                    let cost = reply.cost.map_or_else(String::new, |cost| format!(", ${}", cost.dollars()));
                    format!("## {model} ({} ms{cost}{score})\n{}", reply.latency.as_millis(), answer::plain(reply))
                }
                Err(failure) => format!("## {model}: {failure}"),
            }
        })
        .collect();
    if let Some(mean) = comparison.mean_agreement() {
        let agreement = format!("The answers agree to {} on average, from 0 to 1.", rounded(mean));
        let differing = comparison.agreement.iter().filter_map(|agreement| differing(comparison, agreement));
        let lines: Vec<String> = [agreement].into_iter().chain(differing.take(MOST_PAIRS)).collect();
        paragraphs.push(lines.join("\n"));
    }
    paragraphs.join("\n\n")
}

/// Where two answers differ, in a line.
fn differing(comparison: &Comparison, agreement: &compare::Agreement) -> Option<String> {
    let name = |at: usize| comparison.answers.get(at).map(|answered| answered.model.as_str());
    let said = |text: &str| if text.is_empty() { "nothing".to_owned() } else { format!("`{}`", told_in_line(text)) };
    let places = agreement.differences.iter().map(|difference| match difference {
        compare::Difference::Member(path) => format!("`{path}`"),
        compare::Difference::Words(one, other) => format!("{} / {}", said(one), said(other)),
    });
    let places = places.collect::<Vec<_>>().join(", ");
    (!places.is_empty()).then_some(format!("{} / {}: {places}", name(agreement.pair.0)?, name(agreement.pair.1)?))
}

fn told_in_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

async fn batched(asks: &[Ask], gateway: &Gateway, asker: &Asker, watching: Option<&Listener>) -> Answered {
    let deadline = Instant::now() + gateway.settings.total;
    let mut outcomes: Vec<Option<Result<Reply>>> = asks.iter().map(|_| None).collect();
    let mut answers = Box::pin(batch::answers(gateway, asks, asker, deadline));
    let mut done = 0;
    while let Some((index, outcome)) = answers.next().await {
        done += 1;
        if let Some(onlooker) = watching {
            // Somebody who does not keep up misses a line.
            let _ = onlooker.try_send(format!("{done} of {} items\n", asks.len()));
        }
        if let Some(place) = outcomes.get_mut(index) {
            *place = Some(outcome);
        }
    }
    shown(&outcomes.into_iter().flatten().collect::<Vec<_>>())
}

fn shown(outcomes: &[Result<Reply>]) -> Answered {
    let items = outcomes.iter().enumerate().map(|(index, outcome)| item(index, outcome)).collect::<Vec<_>>();
    let text = outcomes.iter().enumerate().map(|(index, outcome)| match outcome {
        Ok(reply) => format!("## Item {index}\n{}", answer::plain(reply)),
        Err(failure) => format!("## Item {index}: {failure}"),
    });
    let text = text.collect::<Vec<_>>().join("\n\n");
    let mut answer = summary(outcomes.iter());
    answer.insert("items".into(), Value::Array(items));
    Answered { text, answer: Value::Object(answer) }
}

/// One item of a batch, by its place.
pub(super) fn item(index: usize, its_outcome: &Result<Reply>) -> Value {
    let mut value = outcome(its_outcome);
    value.insert("index".into(), json!(index));
    Value::Object(value)
}

/// How many items came to what, and what they cost as far as that is known.
pub(super) fn summary<'a>(outcomes: impl Iterator<Item = &'a Result<Reply>>) -> Map<String, Value> {
    let outcomes: Vec<_> = outcomes.collect();
    let succeeded = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let figures = [("succeeded", json!(succeeded)), ("failed", json!(outcomes.len() - succeeded))];
    figures.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(cost(outcomes)).collect()
}

/// What these cost together as far as that is known, and whether a part of it is a guess.
fn cost<'a>(outcomes: impl IntoIterator<Item = &'a Result<Reply>>) -> Map<String, Value> {
    let (mut sum, mut is_estimate) = (MicroUsd::default(), false);
    for outcome in outcomes {
        let (cost, guessed) = match outcome {
            Ok(reply) => (reply.cost, false),
            Err(failure) => (failure.spent.map(|it| it.cost), failure.spent.is_some_and(|it| it.is_estimate)),
        };
        sum.0 = sum.0.saturating_add(cost.unwrap_or_default().0);
        is_estimate |= guessed;
    }
    let mut figures = Map::from_iter([("cost_usd".to_owned(), json!(sum.dollars()))]);
    if is_estimate {
        let warning =
            "a part of the cost is an estimate: calls were cut off for want of time, and their vendors may bill them";
        figures.insert("warnings".into(), json!([warning]));
    }
    figures
}

/// Thousandths are as much as such figures say.
fn rounded(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}
