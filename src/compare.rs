//! The same question to several models, side by side: what each says, and how far they agree.
//!
//! Nobody answers in another's place here, and one that fails is a result like the others.

use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use vision_providers::price::MicroUsd;

use crate::failure::{Code, Failure, Result};
use crate::gateway::{Ask, Asker, Gateway, Round};
use crate::reply::{Content, Reply};
use crate::rights::Rights;
use crate::score::date::DateOrder;
use crate::score::differences::{self, Run};
use crate::score::{fields, text};
use crate::speech::Audience;

/// Characters of an answer that are compared with other answers, so that all pairs together take a second at most.
pub const COMPARED: usize = 20_000;
/// Places where two answers differ, of which is told.
const MOST_DIFFERENCES: usize = 8;
/// Characters that are shown of such a place.
const LONGEST_DIFFERENCE: usize = 80;
/// Pieces of one model that may wait to be told.
const PIECES: usize = 64;

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
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// Which two answers.
    pub pair: (usize, usize),
    pub similarity: f64,
    /// Whether data was compared member by member; texts are compared by the edits between them.
    pub by_member: bool,
    /// Whether an answer was longer than what is compared of it.
    pub cut: bool,
    /// The first places where they differ.
    pub differences: Vec<Difference>,
}

/// A place where two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A member of data, as a JSON pointer.
    Member(String),
    /// What the one says and the other says in its place; either may be nothing.
    Words(String, String),
}

impl Comparison {
    /// The mean over all pairs.
    #[must_use]
    pub fn mean_agreement(&self) -> Option<f64> {
        let count = u32::try_from(self.agreement.len()).ok().filter(|count| *count > 0)?;
        Some(self.agreement.iter().map(|agreement| agreement.similarity).sum::<f64>() / f64::from(count))
    }
}

/// What is asked of several models.
#[derive(Debug, Clone, Default)]
pub struct Comparing {
    pub ask: Ask,
    /// As they are to be called in what is told of them.
    pub models: Vec<String>,
    /// The right answer, to score each against; JSON for data.
    pub expected: Option<String>,
    /// Nobody is asked when all of them together could cost more.
    pub max_cost: Option<MicroUsd>,
}

/// What is told of a comparison while it goes on, by the place of a model.
#[derive(Debug, Clone)]
pub enum News {
    /// It has said more.
    Said(usize, String),
    /// This became of it.
    Ended(usize, Box<Answered>),
}

/// Where news of a comparison go. A follower who has left is no reason to stop.
pub type Follower = mpsc::Sender<News>;

/// Who hears of a comparison while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Following<'a> {
    Nobody,
    /// Hears what became of each model as soon as that is known.
    Ends(&'a Follower),
    /// Hears what each says while it says it, too. It is a preview, as for one model.
    Words(&'a Follower),
}

/// Asks these models, all at once.
///
/// # Errors
/// `INVALID_INPUT` for too few or too many models or one that is named twice, the codes of bad input, and
/// `MODEL_NOT_FOUND` for names that nothing has, `BUDGET_EXCEEDED` when it could cost more than it may, or when that cannot
/// be told: all before anybody is asked.
pub async fn compare(
    gateway: &Gateway,
    comparing: &Comparing,
    asker: &Asker,
    following: Following<'_>,
) -> Result<Comparison> {
    let Comparing { ask, models, expected, max_cost } = comparing;
    check(models, gateway, &asker.rights)?;
    let round = gateway.round(ask, models, asker).await?;
    if let Some(limit) = *max_cost {
        check_cost(round.most()?, limit)?;
    }
    let asking = models.iter().enumerate().map(async |(index, model)| {
        let outcome = heard(&round, index, following).await;
        let score = scored(&outcome, expected.as_deref()).await?;
        let answered = Answered { model: model.clone(), outcome, score };
        if let Following::Ends(follower) | Following::Words(follower) = following {
            let _ = follower.send(News::Ended(index, Box::new(answered.clone()))).await;
        }
        Ok(answered)
    });
    let answers = join_all(asking).await.into_iter().collect::<Result<Vec<_>>>()?;
    of(answers).await
}

/// Puts answers side by side that are there already.
///
/// # Errors
/// `INTERNAL` for a fault of this program.
pub async fn of(answers: Vec<Answered>) -> Result<Comparison> {
    spawn_blocking(move || compared(answers)).await.map_err(|_| broken())
}

/// Asks one model, and passes on what it says to whoever wants to hear it.
async fn heard(round: &Round<'_>, index: usize, following: Following<'_>) -> Result<Reply> {
    let Following::Words(follower) = following else { return round.ask(index, Audience::Nobody).await };
    let (onlooker, mut pieces) = mpsc::channel(PIECES);
    let asking = async {
        let outcome = round.ask(index, Audience::Onlooker(&onlooker)).await;
        drop(onlooker);
        outcome
    };
    let passing = async {
        while let Some(text) = pieces.recv().await {
            let _ = follower.send(News::Said(index, text)).await;
        }
    };
    let (outcome, ()) = tokio::join!(asking, passing);
    outcome
}

/// How near an answer comes to the expected one, where both are there.
async fn scored(outcome: &Result<Reply>, expected: Option<&str>) -> Result<Option<f64>> {
    let (Ok(reply), Some(expected)) = (outcome, expected) else { return Ok(None) };
    let (content, expected) = (reply.content.clone(), expected.to_owned());
    spawn_blocking(move || Some(score(&content, &expected))).await.map_err(|_| broken())
}

fn broken() -> Failure {
    Failure::new(Code::Internal, "comparing the answers met a fault of the program")
}

/// Checks that these models can be compared.
///
/// # Errors
/// `INVALID_INPUT` for too few or too many models, or one that is named twice.
pub fn check(models: &[String], gateway: &Gateway, rights: &Rights) -> Result<()> {
    let (roster, most) = (&gateway.roster, gateway.settings.most_compared);
    if !(2..=most).contains(&models.len()) {
        let message = format!("from 2 to {most} models can be compared, not {}", models.len());
        return Err(Failure::invalid(message).advise("name models as list_models shows them"));
    }
    // What names mean that are not the caller's is none of their business.
    let theirs = |name: &String| roster.resolve(name).ok().filter(|candidate| roster.allows(rights, candidate));
    let meant = |name: &String| theirs(name).map_or_else(|| name.clone(), |candidate| candidate.name());
    let meant: Vec<String> = models.iter().map(meant).collect();
    match meant.iter().enumerate().find(|(index, model)| meant.iter().take(*index).any(|other| other == *model)) {
        Some((index, twice)) => {
            let named = models.get(index).unwrap_or(twice);
            Err(Failure::invalid(format!("the model `{named}` is named twice")).advise("name models that differ"))
        }
        None => Ok(()),
    }
}

fn check_cost(most: MicroUsd, limit: MicroUsd) -> Result<()> {
    if most <= limit {
        return Ok(());
    }
    let (most, limit) = (most.dollars(), limit.dollars());
    let message = format!("asking all of these models may cost ${most}, which is more than the limit of ${limit}");
    let failure = Failure::new(Code::BudgetExceeded, message);
    Err(failure.advise("name fewer or cheaper models, ask for fewer output tokens, or raise the limit"))
}

fn compared(answers: Vec<Answered>) -> Comparison {
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
            let fields = fields::compare(one, other, DateOrder::Unstated);
            let differences = fields.differing.iter().take(MOST_DIFFERENCES);
            let differences = differences.map(|field| Difference::Member(field.path.clone())).collect();
            return Agreement { pair, similarity: fields.accuracy(), by_member: true, cut: false, differences };
        }
        let (one, other) = (said(one), said(other));
        let cut = [&one, &other].iter().any(|text| text.chars().nth(COMPARED).is_some());
        let head = |text: &str| text.chars().take(COMPARED).collect::<String>();
        let (one, other) = (head(&one), head(&other));
        let differences = differing_words(&one, &other);
        Agreement { pair, similarity: text::similarity(&one, &other), by_member: false, cut, differences }
    });
    let agreement = agreement.collect();
    Comparison { answers, agreement }
}

/// The first places where two texts say something else.
fn differing_words(one: &str, other: &str) -> Vec<Difference> {
    let shown = |text: &str| match text.char_indices().nth(LONGEST_DIFFERENCE) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.trim().to_owned(),
    };
    let mut differences = Vec::new();
    let mut left_out = None;
    for run in differences::differences(one, other) {
        match run {
            Run::Equal(_) => differences.extend(left_out.take().map(|text: String| (text, String::new()))),
            Run::Deleted(text) => left_out = Some(text),
            Run::Inserted(text) => differences.push((left_out.take().unwrap_or_default(), text)),
        }
    }
    differences.extend(left_out.map(|text| (text, String::new())));
    let says_something = |(one, other): &(String, String)| !one.trim().is_empty() || !other.trim().is_empty();
    let said = differences.into_iter().filter(says_something).take(MOST_DIFFERENCES);
    said.map(|(one, other)| Difference::Words(shown(&one), shown(&other))).collect()
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
    fn places_where_texts_differ_are_shown() {
        let words = |one: &str, other: &str| Difference::Words(one.into(), other.into());
        assert_eq!(differing_words("TOTAL 25.41\nThanks", "TOTAL 25.47 EUR\nThanks"), [words("25.41", "25.47 EUR")]);
        assert_eq!(differing_words("one two three four", "one three four"), [words("two", "")]);
        assert_eq!(differing_words("one three", "one three four"), [words("", "four")]);
        assert_eq!(differing_words("a  b", "a b"), []);
        let long = differing_words(&"x".repeat(200), "");
        assert!(matches!(&long[..], [Difference::Words(one, _)] if one.chars().count() == 81), "{long:?}");
        assert_eq!(differing_words(&"a b ".repeat(50), &"a c ".repeat(50)).len(), MOST_DIFFERENCES);
    }

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
