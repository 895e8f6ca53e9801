//! What a run comes to: per model quality with its uncertainty, faults apart, time and money; and which models can be told
//! apart at all.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{Calls, Cost, Stability};
use super::earlier::{self, Earlier};
use super::measured::{Asked, Lack, Measure, Measured, agreement};
use super::record::Outcome;
use crate::score::{Better, Figures};
use crate::statistics::bootstrap::{self, Range, Resampling};
use crate::statistics::groups::{Groups, comparisons, groups};
use crate::statistics::paired::{self, Difference, Pair};
use crate::statistics::power::Detectable;
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
    /// Questions that every model has a score for, which is what the ranking is made of, and the different images, or sets
    /// of them, that these are about.
    pub common: usize,
    pub common_clusters: usize,
    pub slices: Vec<Slice>,
    /// Tags beyond those of `slices`.
    pub more_tags: usize,
    /// How much the answers of two models agree, from 0 to 1, over the questions that both answered.
    pub agreement: Vec<Vec<Option<f64>>>,
    /// The same models in an earlier run, where there is one to compare with.
    pub earlier: Vec<Option<Earlier>>,
    /// Questions that could not be put to every model, through no fault of the models: the set's, or the network's.
    pub unaskable: Vec<Unaskable>,
    /// What somebody must know who compares this with the earlier run.
    pub warnings: Vec<String>,
}

/// A question that could not be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unaskable {
    pub item: String,
    /// Of the first call of it.
    pub code: String,
    pub message: String,
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
    /// Against the baseline, on the questions that both have a score for, and by each measure on those that both were
    /// measured by.
    pub versus: Option<Difference>,
    pub gaps: BTreeMap<Measure, Gap>,
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

/// How far a measure is from the baseline's, question by question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gap {
    /// The mean of the model's figures less the baseline's.
    pub mean: f64,
    pub items: usize,
}

/// The questions with one tag.
#[derive(Debug, Clone)]
pub struct Slice {
    pub tag: String,
    pub items: usize,
    /// The score of each model.
    pub scores: Vec<Option<Figure>>,
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
        common_clusters: names.iter().collect::<BTreeSet<_>>().len(),
        slices: slices(asked, models.len(), method),
        more_tags: tags(asked).len().saturating_sub(MOST_SLICES),
        agreement: agreements(asked, models.len()),
        earlier: (0..models.len()).map(|model| Some(Earlier::of(before?, asked, model, method))).collect(),
        unaskable: asked.iter().filter_map(unaskable).collect(),
        warnings: before.map(|before| earlier::warnings(before, asked, models)).unwrap_or_default(),
    }
}

impl Asked<'_> {
    /// The mean score of a model on this item over its repeats.
    #[must_use]
    pub fn score(&self, model: usize) -> Option<f64> {
        mean(self.calls.get(model)?.iter().filter_map(|call| call.score))
    }

    pub(super) fn figure(&self, model: usize, measure: Measure) -> Option<f64> {
        mean(self.calls.get(model)?.iter().filter_map(|call| call.figures.get(&measure).copied()))
    }
}

fn unaskable(asked: &Asked<'_>) -> Option<Unaskable> {
    let call = asked.calls.iter().flatten().find(|call| call.lack == Some(Lack::Asking))?;
    let Outcome::Failed { code, message } = &call.record.outcome else { return None };
    Some(Unaskable { item: asked.item.id.clone(), code: code.clone(), message: message.clone() })
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
    let gap = |measure: &Measure| Some((*measure, gap(asked, *measure, method.baseline, model)?));
    let gaps = measures.iter().filter(|_| model != method.baseline).filter_map(gap).collect();
    let fresh = calls.iter().filter(|call| call.record.said().is_some() && !call.record.cached);
    let latencies: Vec<f64> = fresh.filter_map(|call| call.record.latency_ms).collect();
    ModelSummary {
        name: name.to_owned(),
        answered_by: calls.iter().filter_map(|call| call.record.answered_by.clone()).collect(),
        score: figure(scores(), kind, false, method),
        figures: measures.into_iter().filter_map(figure_of).collect(),
        versus: versus.flatten(),
        gaps,
        calls: Calls::of(&calls),
        latency_ms: quantiles(&latencies),
        cost: Cost::of(&calls),
        stability: Stability::of(asked, model),
    }
}

fn gap(asked: &[Asked<'_>], measure: Measure, baseline: usize, model: usize) -> Option<Gap> {
    let both = asked.iter().filter_map(|asked| Some((asked.figure(baseline, measure)?, asked.figure(model, measure)?)));
    let gaps: Vec<f64> = both.map(|(baseline, other)| other - baseline).collect();
    Some(Gap { mean: mean(gaps.iter().copied())?, items: gaps.len() })
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

/// Whether a measure counts errors.
pub(super) fn is_lower_better(measure: Measure) -> bool {
    matches!(measure, Measure::Metric(metric) if metric.better() == Better::Lower)
}

fn tags<'a>(asked: &[Asked<'a>]) -> BTreeSet<&'a str> {
    asked.iter().flat_map(|asked| asked.item.tags.iter().map(String::as_str)).collect()
}

fn slices(asked: &[Asked<'_>], models: usize, method: Method) -> Vec<Slice> {
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
    tags(asked).into_iter().take(MOST_SLICES).map(slice).collect()
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

impl Summary {
    /// How many pairs of models are compared at once.
    #[must_use]
    pub fn comparisons(&self) -> usize {
        comparisons(self.models.len())
    }

    /// The smallest difference to the best model that the ranking could show for every other one; nothing where there is
    /// no ranking of several.
    #[must_use]
    pub fn detectable(&self) -> Option<Detectable> {
        let ranking = self.ranking.as_ref()?;
        let best = *ranking.order.first()?;
        let pairs = ranking.pairs.iter().filter(|pair| pair.models.0 == best || pair.models.1 == best);
        let all = pairs.map(|pair| pair.difference.detectable_among(self.comparisons()));
        all.reduce(|one, other| match (one, other) {
            (Detectable::From(one), Detectable::From(other)) => Detectable::From(one.max(other)),
            (Detectable::Unknown, _) | (_, Detectable::Unknown) => Detectable::Unknown,
            _ => Detectable::Nothing,
        })
    }

    /// Answers that a judge should have judged and did not.
    #[must_use]
    pub fn unjudged(&self) -> usize {
        self.models.iter().map(|model| model.calls.unjudged).sum()
    }
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

pub(super) fn mean(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = figures.into_iter().fold((0.0, 0), |(sum, count), figure| (sum + figure, count + 1));
    (count > 0).then(|| sum / float(count))
}

pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

pub(super) fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}
