//! The same question to several models, side by side: what each says, and how far they agree.
//!
//! Nobody answers in another's place here, and one that fails is a result like the others.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::failure::{Code, Failure, Result};
use crate::gateway::{Ask, Asker, Gateway};
use crate::reply::{Content, Reply};
use crate::router::roster::Roster;

/// Models that may be asked at once.
pub const MOST_MODELS: usize = 8;
/// Characters of an answer that are compared; the time that takes grows with their square.
pub const COMPARED: usize = 4000;

/// What several models answered to the same question.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// In the order in which they were named.
    pub answers: Vec<Answered>,
    /// Of every pair of answers.
    pub agreement: Vec<Agreement>,
}

/// What became of one model.
#[derive(Debug, Clone)]
pub struct Answered {
    /// As it was named.
    pub model: String,
    pub outcome: Result<Reply>,
    /// How near it came to the expected answer, from 0 to 1.
    pub score: Option<f64>,
}

/// How much two answers agree, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Which two answers.
    pub pair: (usize, usize),
    pub similarity: f64,
    /// Whether data was compared member by member; texts are compared by the edits between them.
    pub by_member: bool,
    /// Whether an answer was longer than what is compared of it.
    pub cut: bool,
}

impl Comparison {
    /// The mean over all pairs.
    #[must_use]
    pub fn mean_agreement(&self) -> Option<f64> {
        let count = u32::try_from(self.agreement.len()).ok().filter(|count| *count > 0)?;
        Some(self.agreement.iter().map(|agreement| agreement.similarity).sum::<f64>() / f64::from(count))
    }
}

/// Asks these models.
///
/// # Errors
/// `INVALID_INPUT` for too few or too many models or one that is named twice, the codes of bad input, and
/// `MODEL_NOT_FOUND` for names that nothing has: all before anybody is asked.
pub async fn compare(
    gateway: &Gateway,
    ask: &Ask,
    models: &[String],
    expected: Option<&str>,
    asker: &Asker,
) -> Result<Comparison> {
    check(models, &gateway.roster)?;
    let outcomes = gateway.ask_each(ask, models, asker).await?;
    let answers = models.iter().cloned().zip(outcomes);
    let answers = answers.map(|(model, outcome)| Answered { model, outcome, score: None }).collect();
    let expected = expected.map(str::to_owned);
    let comparing = spawn_blocking(move || compared(answers, expected.as_deref()));
    comparing.await.map_err(|_| Failure::new(Code::Internal, "comparing the answers met a fault of the program"))
}

fn check(models: &[String], roster: &Roster) -> Result<()> {
    if !(2..=MOST_MODELS).contains(&models.len()) {
        let message = format!("{} models were named: from 2 to {MOST_MODELS} can be compared", models.len());
        return Err(Failure::invalid(message).advise("name models as list_models shows them"));
    }
    let meant = |name: &String| roster.resolve(name).map_or_else(|_| name.clone(), |candidate| candidate.name());
    let meant: Vec<String> = models.iter().map(meant).collect();
    match meant.iter().enumerate().find(|(index, model)| meant.iter().take(*index).any(|other| other == *model)) {
        Some((index, twice)) => {
            let named = models.get(index).unwrap_or(twice);
            Err(Failure::invalid(format!("the model `{named}` is named twice")).advise("name models that differ"))
        }
        None => Ok(()),
    }
}

fn compared(mut answers: Vec<Answered>, expected: Option<&str>) -> Comparison {
    for answered in &mut answers {
        let content = answered.outcome.as_ref().ok().map(|reply| &reply.content);
        answered.score = content.zip(expected).map(|(content, expected)| score(content, expected));
    }
    let said: Vec<(usize, &Content)> = answers
        .iter()
        .enumerate()
        .filter_map(|(index, answered)| Some((index, &answered.outcome.as_ref().ok()?.content)))
        .collect();
    let pairs = said.iter().enumerate().flat_map(|(at, one)| said.iter().skip(at + 1).map(move |other| (one, other)));
    let agreement = pairs.map(|((a, one), (b, other))| {
        let pair = (*a, *b);
        if let (Content::Data(one), Content::Data(other)) = (one, other) {
            return Agreement { pair, similarity: same_members(one, other), by_member: true, cut: false };
        }
        let (one, other) = (text(one), text(other));
        let cut = [&one, &other].iter().any(|text| text.chars().nth(COMPARED).is_some());
        Agreement { pair, similarity: similarity(&one, &other), by_member: false, cut }
    });
    let agreement = agreement.collect();
    Comparison { answers, agreement }
}

/// How near an answer comes to the expected one. Data is compared with data when the expected answer is JSON.
fn score(content: &Content, expected: &str) -> f64 {
    match (content, serde_json::from_str::<Value>(expected)) {
        (Content::Data(data), Ok(expected)) => same_members(data, &expected),
        _ => similarity(&text(content), expected),
    }
}

/// What of an answer can be compared: for a description, the text that was read is no part of it.
fn text(content: &Content) -> String {
    match content {
        Content::Description { description, .. } => description.clone(),
        Content::Reading { detected_text, .. } => detected_text.clone(),
        Content::Text(text) => text.clone(),
        Content::Data(data) => data.to_string(),
    }
}

/// One less the edits between two texts as a share of the longer one; white space counts as one space.
fn similarity(one: &str, other: &str) -> f64 {
    let plain = |text: &str| -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(COMPARED).collect()
    };
    strsim::normalized_levenshtein(&plain(one), &plain(other))
}

/// The share of scalar members that two values have in common, of those that either has.
fn same_members(one: &Value, other: &Value) -> f64 {
    let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
    members(one, String::new(), &mut first);
    members(other, String::new(), &mut second);
    let same = first.iter().filter(|(path, value)| second.get(*path) == Some(value)).count();
    let all = first.len() + second.keys().filter(|path| !first.contains_key(*path)).count();
    let share = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    if all == 0 { 1.0 } else { share(same) / share(all) }
}

/// Scalars by their paths. Texts are compared without the white space around them, numbers by their value.
fn members(value: &Value, path: String, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| members(value, format!("{path}/{name}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| members(value, format!("{path}/{index}"), found));
        }
        Value::String(text) => drop(found.insert(path, format!("\"{}", text.trim()))),
        Value::Number(number) => {
            drop(found.insert(path, number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())));
        }
        Value::Bool(_) | Value::Null => drop(found.insert(path, value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_agree_by_the_edits_between_them() {
        let near = |one: &str, other: &str, expected: f64| {
            assert!((similarity(one, other) - expected).abs() < 1e-9, "{one:?} {other:?}: {}", similarity(one, other));
        };
        near("TOTAL  25.41\n", "TOTAL 25.41", 1.0);
        near("abcd", "abce", 0.75);
        near("", "", 1.0);
        near("abc", "", 0.0);
        near("äöü", "äöx", 2.0 / 3.0);
    }

    #[test]
    fn data_agrees_member_by_member() {
        let same = |one: Value, other: Value| same_members(&one, &other);
        let invoice = json!({"total": 25.40, "items": [{"text": "tea "}, {"text": "jam"}], "tax": null});
        let other = json!({"total": 25.4, "items": [{"text": "tea"}, {"text": "ham"}], "tax": null});
        assert!((same(invoice.clone(), other) - 0.75).abs() < 1e-9);
        assert!((same(invoice.clone(), json!({})) - 0.0).abs() < 1e-9);
        assert!((same(json!({}), json!({})) - 1.0).abs() < 1e-9);
        assert!((score(&Content::Data(invoice.clone()), &invoice.to_string()) - 1.0).abs() < 1e-9);
    }
}
