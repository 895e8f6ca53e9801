//! What a run comes to: per model quality with its uncertainty, faults apart, time and money; and which models can be told
//! apart at all.

use std::collections::{BTreeMap, BTreeSet};

use super::measured::{Asked, Measure, Measured, agreement};
use super::record::{Fault, Outcome};
use crate::score::{Better, Figures};
use crate::statistics::bootstrap::{self, Range, Resampling};
use crate::statistics::groups::{Groups, groups};
use crate::statistics::paired::{self, Difference, Pair};
use crate::statistics::quantile::{Quantiles, quantiles};
use crate::statistics::{Interval, Level, Sample, wilson};

/// Slices that are shown: more tags than that are no tags.
const MOST_SLICES: usize = 50;

/// Everything that is said of a run.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Questions of the set, and those of them that have a truth.
    pub items: usize,
    pub scored: usize,
    /// Different images, or sets of them.
    pub clusters: usize,
    /// Which of the models the others are compared to.
    pub baseline: usize,
    /// In the order in which they were named.
    pub models: Vec<ModelSummary>,
    /// Places in `models`, the best score first, and which cannot be told apart. Nothing where nothing was scored by all.
    pub ranking: Option<Groups>,
    /// Questions that every model was asked, which is what the ranking is made of.
    pub common: usize,
    pub slices: Vec<Slice>,
    /// How much the answers of two models agree, from 0 to 1, over the questions that both answered.
    pub agreement: Vec<Vec<Option<f64>>>,
    /// The same models in an earlier run, where there is one to compare with.
    pub earlier: Vec<Option<Earlier>>,
}

/// One model.
#[derive(Debug, Clone)]
pub struct ModelSummary {
    /// As it was asked for.
    pub name: String,
    /// Who answered, by its own account.
    pub answered_by: BTreeSet<String>,
    /// By what decides about each item, from 0 to 1.
    pub score: Option<Figure>,
    pub figures: BTreeMap<Measure, Figure>,
    /// Against the baseline, on the questions that both were asked.
    pub versus: Option<Difference>,
    pub calls: Calls,
    /// Milliseconds of calls that were answered and not remembered.
    pub latency_ms: Option<Quantiles>,
    pub cost: Cost,
    pub stability: Option<Stability>,
}

/// A mean over questions and where it lies with a confidence of 95 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    pub mean: f64,
    pub interval: Interval,
    pub items: usize,
    pub is_lower_better: bool,
}

/// What calls came to, each counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    pub made: usize,
    pub answered: usize,
    pub cached: usize,
    pub faults: BTreeMap<Fault, usize>,
    /// Failures by their code.
    pub codes: BTreeMap<String, usize>,
    pub input_tokens: u64,
    pub output_tokens: u64,
}

impl Calls {
    /// The share of calls with this fault.
    #[must_use]
    pub fn rate(&self, fault: Fault) -> f64 {
        ratio(self.faults.get(&fault).copied().unwrap_or(0), self.made)
    }
}

/// Money, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    pub total: f64,
    /// Calls whose cost is known; without any, nothing is claimed.
    pub known: usize,
    pub per_call: Option<f64>,
    /// For each full point of the score: where that is 0 or 1, for each right answer.
    pub per_correct: Option<f64>,
}

/// How much answers to the same question agree with each other over the repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stability {
    /// The mean agreement of two answers to one question, from 0 to 1.
    pub agreement: f64,
    /// The share of questions with the same answer each time.
    pub same: f64,
}

/// The questions with one tag.
#[derive(Debug, Clone)]
pub struct Slice {
    pub tag: String,
    pub items: usize,
    /// The score of each model.
    pub scores: Vec<Option<Figure>>,
}

/// A model then and now, on the questions that it was asked both times.
#[derive(Debug, Clone)]
pub struct Earlier {
    pub figures: BTreeMap<Measure, Difference>,
    pub score: Option<Difference>,
}

/// How figures are put together.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    pub baseline: usize,
    pub resampling: Resampling,
}

/// Puts a run together. `before` are the calls of an earlier one, in the same order of items and models.
#[must_use]
pub fn summarise(asked: &[Asked<'_>], models: &[String], before: Option<&[Asked<'_>]>, method: Method) -> Summary {
    let of = |model: usize| one_model(asked, model, &models[model], method);
    let clusters: BTreeSet<&str> = asked.iter().map(|asked| asked.cluster.as_str()).collect();
    let common: Vec<&Asked<'_>> =
        asked.iter().filter(|asked| (0..models.len()).all(|model| asked.score(model).is_some())).collect();
    let names: Vec<&str> = common.iter().map(|asked| asked.cluster.as_str()).collect();
    let scores: Vec<Vec<f64>> =
        (0..models.len()).map(|model| common.iter().filter_map(|asked| asked.score(model)).collect()).collect();
    Summary {
        items: asked.len(),
        scored: asked.iter().filter(|asked| (0..models.len()).any(|model| asked.score(model).is_some())).count(),
        clusters: clusters.len(),
        baseline: method.baseline,
        models: (0..models.len()).map(of).collect(),
        ranking: groups(&names, &scores, Level::NINETY_FIVE, method.resampling),
        common: common.len(),
        slices: slices(asked, models.len(), method),
        agreement: agreements(asked, models.len()),
        earlier: (0..models.len()).map(|model| Some(earlier(before?, asked, model, method))).collect(),
    }
}

impl Asked<'_> {
    /// The mean score of a model on this item over its repeats.
    #[must_use]
    pub fn score(&self, model: usize) -> Option<f64> {
        mean(self.calls.get(model)?.iter().filter_map(|call| call.score))
    }

    fn figure(&self, model: usize, measure: Measure) -> Option<f64> {
        mean(self.calls.get(model)?.iter().filter_map(|call| call.figures.get(&measure).copied()))
    }
}

fn one_model(asked: &[Asked<'_>], model: usize, name: &str, method: Method) -> ModelSummary {
    let calls: Vec<&Measured> = asked.iter().filter_map(|asked| asked.calls.get(model)).flatten().collect();
    let measures: BTreeSet<Measure> = calls.iter().flat_map(|call| call.figures.keys().copied()).collect();
    let figure_of = |measure: Measure| {
        let figures = asked.iter().filter_map(|asked| Some((asked.cluster.as_str(), asked.figure(model, measure)?)));
        Some((measure, figure(figures, kind(measure), is_lower_better(measure), method)?))
    };
    let scores = || asked.iter().filter_map(|asked| Some((asked.cluster.as_str(), asked.score(model)?)));
    let are_flags = scores().all(|(_, score)| score <= 0.0 || score >= 1.0);
    let kind = if are_flags { Figures::Proportion } else { Figures::Share };
    let pairs = asked.iter().filter_map(|asked| {
        let (baseline, other) = (asked.score(method.baseline)?, asked.score(model)?);
        Some(Pair { cluster: asked.cluster.as_str(), baseline, other })
    });
    let versus = (model != method.baseline).then(|| paired::compare(pairs, Level::NINETY_FIVE, method.resampling));
    let fresh = calls.iter().filter(|call| call.record.said().is_some() && !call.record.cached);
    let latencies: Vec<f64> = fresh.filter_map(|call| call.record.latency_ms).collect();
    ModelSummary {
        name: name.to_owned(),
        answered_by: calls.iter().filter_map(|call| call.record.answered_by.clone()).collect(),
        score: figure(scores(), kind, false, method),
        figures: measures.into_iter().filter_map(figure_of).collect(),
        versus: versus.flatten(),
        calls: counted(&calls),
        latency_ms: quantiles(&latencies),
        cost: cost(&calls),
        stability: stability(asked, model),
    }
}

/// The mean of figures by cluster with its interval: Wilson's for what is 0 or 1.
fn figure<'a>(
    figures: impl IntoIterator<Item = (&'a str, f64)>,
    kind: Figures,
    is_lower_better: bool,
    method: Method,
) -> Option<Figure> {
    let figures: Vec<(&str, f64)> = figures.into_iter().collect();
    let items = figures.len();
    let sample = Sample::new(figures)?;
    let interval = match kind {
        Figures::Proportion if sample.is_flags() => wilson::clustered(&sample, Level::NINETY_FIVE),
        Figures::Proportion | Figures::Share => {
            bootstrap::interval(&sample, Range::Share, Level::NINETY_FIVE, method.resampling)
        }
        Figures::Rate => bootstrap::interval(&sample, Range::Rate, Level::NINETY_FIVE, method.resampling),
    };
    Some(Figure { mean: sample.mean(), interval, items, is_lower_better })
}

fn kind(measure: Measure) -> Figures {
    match measure {
        Measure::Metric(metric) => metric.figures(),
        Measure::Judged => Figures::Proportion,
    }
}

fn is_lower_better(measure: Measure) -> bool {
    matches!(measure, Measure::Metric(metric) if metric.better() == Better::Lower)
}

fn counted(calls: &[&Measured]) -> Calls {
    let mut counted = Calls { made: calls.len(), ..Calls::default() };
    for call in calls {
        let record = &call.record;
        counted.answered += usize::from(record.said().is_some());
        counted.cached += usize::from(record.cached);
        counted.input_tokens += record.input_tokens;
        counted.output_tokens += record.output_tokens;
        if let Some(fault) = call.fault() {
            *counted.faults.entry(fault).or_default() += 1;
        }
        if let Outcome::Failed { code, .. } = &record.outcome {
            *counted.codes.entry(code.clone()).or_default() += 1;
        }
    }
    counted
}

fn cost(calls: &[&Measured]) -> Cost {
    let known: Vec<f64> = calls.iter().filter_map(|call| call.record.cost_usd).collect();
    let (total, known) = (known.iter().sum(), known.len());
    let score: f64 = calls.iter().filter_map(|call| call.score).sum();
    // What failed before anybody was asked cost nothing, and says nothing.
    let is_whole = known > 0 && calls.iter().all(|call| call.record.cost_usd.is_some() || call.record.said().is_none());
    Cost {
        total,
        known,
        per_call: (known > 0).then(|| total / float(known)),
        per_correct: (is_whole && score > 0.0).then(|| total / score),
    }
}

fn stability(asked: &[Asked<'_>], model: usize) -> Option<Stability> {
    let (mut agreements, mut same, mut items) = (0.0, 0, 0);
    for asked in asked {
        let Some(calls) = asked.calls.get(model).filter(|calls| calls.len() > 1) else { continue };
        // No answer agrees with no answer.
        let said: Vec<&str> = calls.iter().map(|call| call.record.said().unwrap_or_default()).collect();
        let pairs =
            said.iter().enumerate().flat_map(|(at, one)| said.iter().skip(at + 1).map(move |other| (one, other)));
        let all: Vec<f64> = pairs.map(|(one, other)| agreement(one, other)).collect();
        agreements += mean(all.iter().copied()).unwrap_or(1.0);
        same += usize::from(all.iter().all(|agreement| *agreement >= 1.0));
        items += 1;
    }
    (items > 0).then(|| Stability { agreement: agreements / float(items), same: ratio(same, items) })
}

fn slices(asked: &[Asked<'_>], models: usize, method: Method) -> Vec<Slice> {
    let tags: BTreeSet<&str> = asked.iter().flat_map(|asked| asked.item.tags.iter().map(String::as_str)).collect();
    let slice = |tag: &str| {
        let tagged: Vec<&Asked<'_>> =
            asked.iter().filter(|asked| asked.item.tags.iter().any(|own| own == tag)).collect();
        let score = |model: usize| {
            let scores = tagged.iter().filter_map(|asked| Some((asked.cluster.as_str(), asked.score(model)?)));
            let scores: Vec<(&str, f64)> = scores.collect();
            let are_flags = scores.iter().all(|(_, score)| *score <= 0.0 || *score >= 1.0);
            figure(scores, if are_flags { Figures::Proportion } else { Figures::Share }, false, method)
        };
        Slice { tag: tag.to_owned(), items: tagged.len(), scores: (0..models).map(score).collect() }
    };
    tags.into_iter().take(MOST_SLICES).map(slice).collect()
}

fn agreements(asked: &[Asked<'_>], models: usize) -> Vec<Vec<Option<f64>>> {
    let said = |asked: &Asked<'_>, model: usize| asked.calls.get(model)?.first()?.record.said().map(str::to_owned);
    let agree = |one: usize, other: usize| {
        let both = asked.iter().filter_map(|asked| Some((said(asked, one)?, said(asked, other)?)));
        mean(both.map(|(one, other)| agreement(&one, &other)))
    };
    // Each pair is compared once: it takes long.
    let mut rows: Vec<Vec<Option<f64>>> = Vec::new();
    for one in 0..models {
        let above = rows.iter().map(|row| row.get(one).copied().flatten());
        let row = above.chain([None]).chain((one + 1..models).map(|other| agree(one, other))).collect();
        rows.push(row);
    }
    rows
}

fn earlier(before: &[Asked<'_>], asked: &[Asked<'_>], model: usize, method: Method) -> Earlier {
    let differ = |figure: &dyn Fn(&Asked<'_>) -> Option<f64>| {
        let pairs = before.iter().zip(asked).filter_map(|(before, now)| {
            Some(Pair { cluster: now.cluster.as_str(), baseline: figure(before)?, other: figure(now)? })
        });
        paired::compare(pairs, Level::NINETY_FIVE, method.resampling)
    };
    let calls = asked.iter().filter_map(|asked| asked.calls.get(model)).flatten();
    let measures: BTreeSet<Measure> = calls.flat_map(|call| call.figures.keys().copied()).collect();
    let figures =
        measures.into_iter().filter_map(|measure| Some((measure, differ(&|asked| asked.figure(model, measure))?)));
    Earlier { figures: figures.collect(), score: differ(&|asked| asked.score(model)) }
}

impl ModelSummary {
    /// A figure by the name of its measure; `score` is whatever decides about each item.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<Figure> {
        if name == "score" {
            return self.score;
        }
        self.figures.iter().find(|(measure, _)| measure.name() == name).map(|(_, figure)| *figure)
    }
}

impl Summary {
    /// By how much each model is worse by a measure: than itself in the earlier run, where there is one, else than the
    /// baseline. Negative where it is better; nothing where there is nothing to compare.
    #[must_use]
    pub fn losses(&self, name: &str) -> Vec<(&str, Option<f64>)> {
        let has_earlier = self.earlier.iter().any(Option::is_some);
        let baseline = self.models.get(self.baseline).and_then(|model| model.figure(name));
        let worse = |difference: f64, is_lower_better: bool| if is_lower_better { difference } else { -difference };
        let loss = |(place, model): (usize, &ModelSummary)| {
            let figure = model.figure(name)?;
            let difference = match self.earlier.get(place)? {
                Some(earlier) if name == "score" => earlier.score?.mean,
                Some(earlier) => earlier.figures.iter().find(|(measure, _)| measure.name() == name)?.1.mean,
                None => figure.mean - baseline?.mean,
            };
            Some(worse(difference, figure.is_lower_better))
        };
        let compared = self.models.iter().enumerate().filter(|(place, _)| has_earlier || *place != self.baseline);
        compared.map(|(place, model)| (model.name.as_str(), loss((place, model)))).collect()
    }
}

fn mean(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = figures.into_iter().fold((0.0, 0), |(sum, count), figure| (sum + figure, count + 1));
    (count > 0).then(|| sum / float(count))
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
