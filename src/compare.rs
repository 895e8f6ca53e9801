//! The same question to several models, side by side: what each says, and how far they agree.
//!
//! Nobody answers in another's place here, and one that fails is a result like the others.

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::failure::{Code, Failure, Result};
use crate::gateway::{Ask, Asker, Gateway};
use crate::reply::{Content, Reply};
use crate::router::roster::Roster;
use crate::score::{fields, text};

/// Models that may be asked at once.
pub const MOST_MODELS: usize = 8;
/// Characters of an answer that are compared with other answers, so that all pairs together take a second at most.
pub const COMPARED: usize = 20_000;

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
    let contents: Vec<(usize, &Content)> = answers
        .iter()
        .enumerate()
        .filter_map(|(index, answered)| Some((index, &answered.outcome.as_ref().ok()?.content)))
        .collect();
    let pairs =
        contents.iter().enumerate().flat_map(|(at, one)| contents.iter().skip(at + 1).map(move |other| (one, other)));
    let agreement = pairs.map(|((a, one), (b, other))| {
        let pair = (*a, *b);
        if let (Content::Data(one), Content::Data(other)) = (one, other) {
            return Agreement { pair, similarity: fields::agreement(one, other), by_member: true, cut: false };
        }
        let (one, other) = (said(one), said(other));
        let cut = [&one, &other].iter().any(|text| text.chars().nth(COMPARED).is_some());
        let head = |text: &str| text.chars().take(COMPARED).collect::<String>();
        Agreement { pair, similarity: text::similarity(&head(&one), &head(&other)), by_member: false, cut }
    });
    let agreement = agreement.collect();
    Comparison { answers, agreement }
}

/// How near an answer comes to the expected one. Data is compared with data when the expected answer is JSON.
fn score(content: &Content, expected: &str) -> f64 {
    match (content, serde_json::from_str::<Value>(expected)) {
        (Content::Data(data), Ok(expected)) => fields::agreement(&expected, data),
        _ => text::similarity(&said(content), expected),
    }
}

/// What of an answer can be compared: for a description, the text that was read is no part of it.
fn said(content: &Content) -> String {
    match content {
        Content::Description { description, .. } => description.clone(),
        Content::Reading { detected_text, .. } => detected_text.clone(),
        Content::Text(text) => text.clone(),
        Content::Data(data) => data.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_agrees_member_by_member() {
        let same = |one: Value, other: Value| fields::agreement(&one, &other);
        let invoice = json!({"total": 25.40, "items": [{"text": "tea "}, {"text": "jam"}], "tax": null});
        let other = json!({"total": 25.4, "items": [{"text": "tea"}, {"text": "ham"}], "tax": null});
        assert!((same(invoice.clone(), other) - 0.75).abs() < 1e-9);
        assert!((same(invoice.clone(), json!({})) - 0.0).abs() < 1e-9);
        assert!((same(json!({}), json!({})) - 1.0).abs() < 1e-9);
        assert!((score(&Content::Data(invoice.clone()), &invoice.to_string()) - 1.0).abs() < 1e-9);
    }
}
