//! The calls that every surface offers: what each is asked, how it is answered, and how that is shown.
//!
//! MCP's tools and REST's routes are two ways in; what lies behind them is the same, and stands here.

use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{answer, arguments, models};
use crate::batch;
use crate::compare::{self, Comparison};
use crate::failure::Result;
use crate::gateway::{Ask, Asker, Gateway};
use crate::reply::Reply;
use crate::speech::Listener;

pub(super) const ANALYZE: &str = "analyze_image";
pub(super) const COMPARE: &str = "compare_models";
pub(super) const BATCH: &str = "analyze_batch";
pub(super) const CHAT: &str = "vision_chat";
pub(super) const LIST: &str = "list_models";

/// Every tool there is.
pub const TOOLS: [&str; 5] = [ANALYZE, COMPARE, BATCH, CHAT, LIST];

/// A call that was understood.
#[derive(Debug)]
pub(super) enum Call {
    /// A question about images, or the next turn of a conversation.
    Ask(Box<Ask>),
    Compare(Box<arguments::Comparing>),
    Batch(Vec<Ask>),
    List,
}

/// An answered call, as surfaces show it.
#[derive(Debug)]
pub(super) struct Answered {
    /// For whoever reads nothing else.
    pub(super) text: String,
    /// The answer itself.
    pub(super) answer: Value,
    /// How it came about, which models need not pay for.
    pub(super) account: Map<String, Value>,
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
                let arguments::Comparing { ask, models, expected } = *comparing;
                let comparison = compare::compare(gateway, &ask, &models, expected.as_deref(), asker).await?;
                Ok(compared(&comparison))
            }
            Self::Batch(asks) => Ok(batched(&asks, gateway, asker, watching).await),
            Self::List => {
                let list = models::usable(gateway, &asker.rights);
                Ok(Answered { text: models::text(&list), answer: list, account: Map::new() })
            }
        }
    }
}

fn answered(reply: &Reply) -> Answered {
    Answered { text: answer::plain(reply), answer: Value::Object(answer::lean(reply)), account: account(reply) }
}

/// How an answer came about.
fn account(reply: &Reply) -> Map<String, Value> {
    Map::from_iter([
        ("route".to_owned(), answer::route(&reply.route)),
        ("images".to_owned(), answer::images(&reply.images)),
    ])
}

/// How several answers came about, by the name or the place of each.
fn accounts_of(accounts: impl Iterator<Item = (String, Map<String, Value>)>) -> Map<String, Value> {
    let accounts = accounts.map(|(name, account)| (name, Value::Object(account))).collect();
    Map::from_iter([("accounts".to_owned(), Value::Object(accounts))])
}

fn compared(comparison: &Comparison) -> Answered {
    let one = |answered: &compare::Answered| {
        let mut value = match &answered.outcome {
            Ok(reply) => answer::lean(reply),
            Err(failure) => object(answer::error(failure)),
        };
        value.insert("model_requested".into(), json!(answered.model));
        if let Some(score) = answered.score {
            value.insert("score".into(), json!(rounded(score)));
        }
        Value::Object(value)
    };
    let pair = |agreement: &compare::Agreement| {
        let name = |at: usize| comparison.answers.get(at).map(|answered| answered.model.as_str());
        let by = if agreement.by_member { "members" } else { "edits" };
        json!({"models": [name(agreement.pair.0), name(agreement.pair.1)], "similarity": rounded(agreement.similarity), "by": by})
    };
    let mut value = json!({
        "answers": comparison.answers.iter().map(one).collect::<Vec<_>>(),
        "agreement": {"pairs": comparison.agreement.iter().map(pair).collect::<Vec<_>>()},
    });
    if let Some(mean) = comparison.mean_agreement() {
        value["agreement"]["mean"] = json!(rounded(mean));
    }
    let accounts =
        comparison.answers.iter().filter_map(|it| Some((it.model.clone(), account(it.outcome.as_ref().ok()?))));
    Answered { text: comparison_text(comparison), answer: value, account: accounts_of(accounts) }
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
        paragraphs.push(format!("The answers agree to {} on average, from 0 to 1.", rounded(mean)));
    }
    paragraphs.join("\n\n")
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
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let cost: f64 = outcomes.iter().filter_map(|outcome| Some(outcome.as_ref().ok()?.cost?.dollars())).sum();
    let items = outcomes.iter().enumerate().map(|(index, outcome)| item(index, outcome)).collect::<Vec<_>>();
    let text = outcomes.iter().enumerate().map(|(index, outcome)| match outcome {
        Ok(reply) => format!("## Item {index}\n{}", answer::plain(reply)),
        Err(failure) => format!("## Item {index}: {failure}"),
    });
    let text = text.collect::<Vec<_>>().join("\n\n");
    let answer = json!({"items": items, "succeeded": outcomes.len() - failed, "failed": failed, "cost_usd": cost});
    let accounts = outcomes.iter().enumerate();
    let accounts = accounts.filter_map(|(index, outcome)| Some((index.to_string(), account(outcome.as_ref().ok()?))));
    Answered { text, answer, account: accounts_of(accounts) }
}

/// One item of a batch, by its place.
fn item(index: usize, outcome: &Result<Reply>) -> Value {
    let mut value = match outcome {
        Ok(reply) => answer::lean(reply),
        Err(failure) => object(answer::error(failure)),
    };
    value.insert("index".into(), json!(index));
    Value::Object(value)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Thousandths are as much as such figures say.
fn rounded(share: f64) -> f64 {
    (share * 1000.0).round() / 1000.0
}
