//! Answers held to the truth: what every call is worth by every measure of its item.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};

use super::dataset::{Dataset, Item};
use super::record::{Fault, Outcome, Record};
use crate::compare::COMPARED;
use crate::score::differences::{Run, differences};
use crate::score::{Metric, fields, text};

/// What decides which model is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    Metric(Metric),
    /// The verdict of a model that was asked to judge.
    Judged,
}

impl Measure {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metric(metric) => metric.name(),
            Self::Judged => "judged",
        }
    }
}

/// The verdict of a judge on one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub is_right: bool,
    pub reason: String,
}

/// What a call lacks for a score, through no fault of its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Nobody was asked: the question cannot be put, or its pictures cannot be had or read.
    Asking,
    /// It was answered, and the judge did not say whether rightly.
    Verdict,
}

/// One call and what it is worth.
#[derive(Debug, Clone)]
pub struct Measured {
    pub record: Record,
    pub lack: Option<Lack>,
    /// By every measure of the item; what brought no answer counts as wrong, and what nobody was asked as nothing.
    pub figures: BTreeMap<Measure, f64>,
    /// By the measure that decides, from 0 to 1, more being better; nothing where the item has no truth.
    pub score: Option<f64>,
    pub verdict: Option<Verdict>,
}

/// All calls about one item.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    pub item: &'a Item,
    /// What else is about the same images belongs together.
    pub cluster: String,
    /// By model, in the order of the models, and then by repeat.
    pub calls: Vec<Vec<Measured>>,
}

/// Sorts records by item and model and measures them. Items come in the order of the set; records of other items or models
/// are left out.
#[must_use]
pub fn measure<'a>(
    dataset: &'a Dataset,
    models: &[String],
    records: Vec<Record>,
    verdicts: &dyn Fn(&Item, &Record) -> Option<Verdict>,
    by_verdict: bool,
) -> Vec<Asked<'a>> {
    let mut sorted: HashMap<String, Vec<Record>> = HashMap::new();
    for record in records {
        sorted.entry(record.item.clone()).or_default().push(record);
    }
    let asked = |item: &'a Item| {
        let records = sorted.remove(&item.id).unwrap_or_default();
        let images = records.iter().find_map(|record| record.images.clone());
        let cluster = images.unwrap_or_else(|| item.ask.images.join("\n"));
        let mut calls: Vec<Vec<Measured>> = models.iter().map(|_| Vec::new()).collect();
        for record in records {
            let Some(place) = models.iter().position(|model| *model == record.model) else { continue };
            let verdict = verdicts(item, &record);
            if let Some(calls) = calls.get_mut(place) {
                calls.push(measured(item, record, verdict, by_verdict));
            }
        }
        for calls in &mut calls {
            calls.sort_by_key(|call| call.record.repeat);
        }
        Asked { item, cluster, calls }
    };
    let mut all: Vec<Asked<'a>> = dataset.items.iter().map(asked).collect();
    (0..models.len()).for_each(|model| withdraw(&mut all, model));
    all
}

/// Takes back what the judge's verdicts come to for a model that lacks more than one in ten of them: what failed needs no
/// verdict, so that the rest would make its failures weigh more than they do.
fn withdraw(all: &mut [Asked<'_>], model: usize) {
    let calls = || all.iter().filter_map(|asked| asked.calls.get(model)).flatten();
    let missing = calls().filter(|call| call.lack == Some(Lack::Verdict)).count();
    let judged = calls().filter(|call| call.figures.contains_key(&Measure::Judged) && call.verdict.is_some()).count();
    if missing * 10 <= missing + judged {
        return;
    }
    for call in all.iter_mut().filter_map(|asked| asked.calls.get_mut(model)).flatten() {
        // By verdict, there is no score but that of a verdict.
        call.figures.remove(&Measure::Judged);
        call.score = None;
    }
}

fn measured(item: &Item, record: Record, verdict: Option<Verdict>, by_verdict: bool) -> Measured {
    if record.was_not_put() {
        return Measured { record, lack: Some(Lack::Asking), figures: BTreeMap::new(), score: None, verdict: None };
    }
    let figure = |yardstick: &crate::score::Yardstick| {
        let metric = yardstick.metric();
        let worth = record.said().map_or_else(|| metric.of_no_answer(), |said| yardstick.measure(said));
        (Measure::Metric(metric), worth)
    };
    let mut figures: BTreeMap<Measure, f64> = item.yardsticks.iter().map(figure).collect();
    // What the judge did not answer for is not known; what brought no answer needs no judge.
    let is_open = !item.expected.is_null() && record.said().is_none();
    let judged = verdict.as_ref().map(|verdict| verdict.is_right).or(is_open.then_some(false));
    if let Some(is_right) = judged.filter(|_| by_verdict) {
        figures.insert(Measure::Judged, f64::from(u8::from(is_right)));
    }
    let score = decisive(item, by_verdict).and_then(|measure| Some(good(measure, *figures.get(&measure)?)));
    let is_unjudged = by_verdict && judged.is_none() && !item.expected.is_null();
    Measured { record, lack: is_unjudged.then_some(Lack::Verdict), figures, score, verdict }
}

/// The measure that decides about an item.
#[must_use]
pub fn decisive(item: &Item, by_verdict: bool) -> Option<Measure> {
    if by_verdict {
        return Some(Measure::Judged);
    }
    item.yardsticks.first().map(|yardstick| Measure::Metric(yardstick.metric()))
}

/// A figure as a score from 0 to 1: of a rate of errors, what is left of 1.
fn good(measure: Measure, figure: f64) -> f64 {
    match measure {
        Measure::Metric(metric) if metric.better() == crate::score::Better::Lower => (1.0 - figure).clamp(0.0, 1.0),
        _ => figure.clamp(0.0, 1.0),
    }
}

impl Measured {
    /// What kept this from being good, whatever it says: data that is none is not, however it ended.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        if self.lack == Some(Lack::Asking) {
            return None;
        }
        let is_broken = [Metric::JsonValid, Metric::SchemaValid]
            .iter()
            .any(|metric| self.figures.get(&Measure::Metric(*metric)).is_some_and(|valid| *valid < 0.5));
        self.record.fault().or((self.record.said().is_some() && is_broken).then_some(Fault::Invalid))
    }

    /// What its line gains by being measured.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        let figures: Map<String, Value> =
            self.figures.iter().map(|(measure, figure)| (measure.name().to_owned(), json!(figure))).collect();
        let mut members = Map::from_iter([("metrics".to_owned(), Value::Object(figures))]);
        if let Some(score) = self.score {
            members.insert("score".into(), json!(score));
        }
        if let Some(verdict) = &self.verdict {
            members.insert("judged".into(), json!({"correct": verdict.is_right, "reason": verdict.reason}));
        }
        members
    }

    /// Where an answer differs from the truth that it is nearest to. Of so many characters on, which nobody is shown, texts
    /// are the same or not.
    #[must_use]
    pub fn differences(&self, item: &Item, most: usize) -> Vec<Run> {
        let Outcome::Said { text: said, .. } = &self.record.outcome else { return Vec::new() };
        let data = item.truth.data.as_ref().map(Value::to_string);
        let truths = item.truth.texts.iter().map(String::as_str).chain(data.as_deref());
        let nearest = truths.max_by(|a, b| text::similarity(a, said).total_cmp(&text::similarity(b, said)));
        let Some(truth) = nearest else { return Vec::new() };
        let ((truth, truth_rest), (said, said_rest)) = (split(truth, most), split(said, most));
        let mut runs = differences(truth, said);
        if truth_rest == said_rest {
            runs.push(Run::Equal(said_rest.to_owned()));
        } else {
            runs.extend([Run::Deleted(truth_rest.to_owned()), Run::Inserted(said_rest.to_owned())]);
        }
        runs
    }
}

/// A text before and behind so many characters.
fn split(text: &str, most: usize) -> (&str, &str) {
    text.split_at(text.char_indices().nth(most).map_or(text.len(), |(end, _)| end))
}

/// How much two answers to the same question agree, from 0 to 1: data by its fields, texts by the edits between them, of
/// so many characters as a comparison looks at.
#[must_use]
pub fn agreement(one: &str, other: &str) -> f64 {
    let data = |text: &str| serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    match (data(one), data(other)) {
        (Some(one), Some(other)) => fields::agreement(&one, &other),
        _ => text::similarity(split(one, COMPARED).0, split(other, COMPARED).0),
    }
}
