//! Who is best, and whether that is more than chance: the models in order, with everything that was measured of each.

use std::collections::BTreeSet;

use super::figures::{self, NONE};
use super::findings;
use super::ledger::{Calls, Money};
use super::scale::Scale;
use super::shown::line;
use crate::eval::measured::Measure;
use crate::eval::summary::{Figure, ModelSummary, Summary};
use crate::statistics::groups::{Groups, SIGNIFICANCE};
use crate::statistics::paired::{Difference, Test};
use crate::statistics::power::Detectable;

/// Width of the picture of an interval, in which places are counted.
const BAR: f64 = 200.0;
/// Room at its sides, so that the figures at the ends are whole.
const MARGIN: f64 = 18.0;

/// The models in order.
pub(super) struct Leaderboard {
    pub(super) rows: Vec<Row>,
    pub(super) ticks: Vec<Tick>,
    /// Where the baseline's score lies in each picture.
    pub(super) baseline_at: Option<String>,
    pub(super) baseline: String,
    pub(super) measures: Vec<&'static str>,
    pub(super) findings: Vec<findings::Finding>,
    /// Whether any model is compared with the baseline.
    pub(super) has_versus: bool,
    /// Whether answers were repeated, and anything is known of how steady they are.
    pub(super) has_stability: bool,
    /// Whether answers lack a verdict.
    pub(super) has_unjudged: bool,
    /// Questions that the order is made of.
    pub(super) common: String,
    /// How many pairs of models there are.
    pub(super) comparisons: String,
    pub(super) pairs: Vec<Pairing>,
}

/// One model.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) is_baseline: bool,
    /// Its place by score, and the letters of the groups that it belongs to.
    pub(super) place: String,
    pub(super) letters: String,
    pub(super) score: Cell,
    pub(super) bar: Option<Bar>,
    pub(super) items: Cell,
    pub(super) versus: Option<Versus>,
    pub(super) figures: Vec<Cell>,
    pub(super) calls: Calls,
    pub(super) money: Money,
}

/// A figure, its interval or what else is to be known of it, and what it is sorted by.
#[derive(Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) interval: String,
    pub(super) key: String,
}

/// The places of an interval in its picture.
pub(super) struct Bar {
    pub(super) low: String,
    pub(super) mean: String,
    pub(super) high: String,
}

/// A figure beside an axis.
pub(super) struct Tick {
    pub(super) at: String,
    pub(super) label: String,
}

/// A model against the baseline.
pub(super) struct Versus {
    pub(super) difference: Cell,
    pub(super) chance: Cell,
    /// Corrected for all pairs of models.
    pub(super) corrected: Cell,
    pub(super) detectable: Cell,
    pub(super) items: String,
    pub(super) wins: String,
    pub(super) class: &'static str,
}

/// Two models.
pub(super) struct Pairing {
    pub(super) one: String,
    pub(super) other: String,
    pub(super) difference: String,
    pub(super) range: String,
    pub(super) chance: String,
    pub(super) corrected: String,
    pub(super) wins: String,
    pub(super) test: &'static str,
}

impl Leaderboard {
    /// The leaderboard of a run.
    pub(super) fn of(summary: &Summary) -> Self {
        let measures: BTreeSet<Measure> =
            summary.models.iter().flat_map(|model| model.figures.keys().copied()).collect();
        let measures: Vec<Measure> = measures.into_iter().collect();
        let scores = summary.models.iter().filter_map(|model| model.score);
        let scale = Scale::shares(scores.flat_map(|score| [score.interval.low, score.mean, score.interval.high]));
        let baseline = summary.models.get(summary.baseline);
        Self {
            rows: order(summary).into_iter().filter_map(|model| row(summary, model, &measures, &scale)).collect(),
            ticks: scale
                .ticks
                .iter()
                .map(|tick| Tick { at: across(&scale, *tick), label: format!("{:.0}", tick * 100.0) })
                .collect(),
            baseline_at: baseline.and_then(|model| Some(across(&scale, model.score?.mean))),
            baseline: baseline.map(|model| line(&model.name)).unwrap_or_default(),
            measures: measures.iter().map(|measure| measure.name()).collect(),
            findings: findings::of(summary),
            has_versus: summary.models.iter().any(|model| model.versus.is_some()),
            has_stability: summary.models.iter().any(|model| model.stability.is_some()),
            has_unjudged: summary.unjudged() > 0,
            common: figures::counted(summary.common, "question", "questions"),
            comparisons: figures::counted(summary.comparisons(), "comparison", "comparisons"),
            pairs: summary.ranking.iter().flat_map(|ranking| pairings(summary, ranking)).collect(),
        }
    }
}

/// Models by their score, the best first; where nothing ranks them, by what each came to alone.
pub(super) fn order(summary: &Summary) -> Vec<usize> {
    if let Some(ranking) = &summary.ranking {
        return ranking.order.clone();
    }
    let mut order: Vec<usize> = (0..summary.models.len()).collect();
    let score = |place: usize| summary.models.get(place).and_then(|model| model.score).map_or(-1.0, |score| score.mean);
    order.sort_by(|one, other| score(*other).total_cmp(&score(*one)));
    order
}

/// The letters of the groups of a model: those who share one cannot be told apart.
#[must_use]
pub fn letters(ranking: Option<&Groups>, model: usize) -> String {
    let groups = ranking.iter().flat_map(|ranking| ranking.groups.iter().enumerate());
    let letter = |(number, _): (usize, _)| match u8::try_from(number) {
        Ok(number) if number < 26 => char::from(b'A' + number).to_string(),
        _ => (number + 1).to_string(),
    };
    let own = groups.filter(|(_, group)| group.contains(&model)).map(letter);
    own.collect::<Vec<_>>().join(" ")
}

/// Corrected chance that two models are alike.
pub(super) fn corrected(summary: &Summary, one: usize, other: usize) -> Option<f64> {
    let pairs = &summary.ranking.as_ref()?.pairs;
    let is_pair = |models: (usize, usize)| models == (one.min(other), one.max(other));
    pairs.iter().find(|pair| is_pair(pair.models)).map(|pair| pair.corrected)
}

fn across(scale: &Scale, figure: f64) -> String {
    format!("{:.1}", MARGIN + scale.place(figure) * (BAR - 2.0 * MARGIN))
}

fn row(summary: &Summary, place: usize, measures: &[Measure], scale: &Scale) -> Option<Row> {
    let model = summary.models.get(place)?;
    let bar = |figure: Figure| Bar {
        low: across(scale, figure.interval.low),
        mean: across(scale, figure.mean),
        high: across(scale, figure.interval.high),
    };
    let rank = summary.ranking.as_ref().and_then(|ranking| ranking.order.iter().position(|other| *other == place));
    Some(Row {
        name: line(&model.name),
        is_baseline: place == summary.baseline,
        place: rank.map_or_else(|| NONE.to_owned(), |rank| (rank + 1).to_string()),
        letters: letters(summary.ranking.as_ref(), place),
        score: share(model.score),
        bar: model.score.map(bar),
        items: items(summary, model),
        versus: model.versus.as_ref().map(|difference| versus(summary, place, difference)),
        figures: measures.iter().map(|it| share_of(model.figures.get(it).copied(), summary.scored)).collect(),
        calls: Calls::of(model),
        money: Money::of(model),
    })
}

pub(super) fn cell(figure: Option<f64>, text: fn(f64) -> String) -> Cell {
    Cell { text: figure.map_or_else(|| NONE.to_owned(), text), interval: String::new(), key: figures::key(figure) }
}

pub(super) fn share(figure: Option<Figure>) -> Cell {
    let interval = figure.map(|figure| figures::interval(figure.interval)).unwrap_or_default();
    Cell { interval, ..cell(figure.map(|figure| figure.mean), figures::percent) }
}

/// A share of fewer questions than there are says of how many.
pub(super) fn share_of(figure: Option<Figure>, questions: usize) -> Cell {
    let mut cell = share(figure);
    if let Some(figure) = figure.filter(|figure| figure.items != questions) {
        let asked = figures::counted(figure.items, "question", "questions");
        cell.interval = format!("{}, {asked}", cell.interval);
    }
    cell
}

/// On how many questions a score is, and of how many.
fn items(summary: &Summary, model: &ModelSummary) -> Cell {
    let Some(score) = model.score else { return cell(None, figures::percent) };
    let is_part = score.items < summary.scored;
    let interval = if is_part { format!("of {}", figures::count(summary.scored)) } else { String::new() };
    Cell { text: figures::count(score.items), interval, key: score.items.to_string() }
}

fn versus(summary: &Summary, place: usize, difference: &Difference) -> Versus {
    let corrected = of_all_pairs(summary, place, difference);
    let is_clear = corrected < SIGNIFICANCE;
    Versus {
        difference: Cell { interval: figures::range(difference), ..cell(Some(difference.mean), figures::points) },
        chance: cell(Some(difference.probability), figures::chance),
        corrected: cell(Some(corrected), figures::chance),
        detectable: detectable(difference.detectable_among(summary.comparisons())),
        items: figures::count(difference.items),
        wins: wins(difference),
        class: match difference.mean {
            _ if !is_clear => "open",
            mean if mean > 0.0 => "good",
            _ => "bad",
        },
    }
}

/// The chance of a difference to the baseline, corrected for all pairs: Holm's, where it is of the questions that the ranking
/// is made of, else Bonferroni's.
pub(super) fn of_all_pairs(summary: &Summary, place: usize, difference: &Difference) -> f64 {
    let ranked = corrected(summary, place, summary.baseline).filter(|_| difference.items == summary.common);
    let pairs = u32::try_from(summary.comparisons()).map_or(f64::INFINITY, f64::from);
    ranked.unwrap_or_else(|| (difference.probability * pairs).min(1.0))
}

fn detectable(detectable: Detectable) -> Cell {
    let why = match detectable {
        Detectable::From(_) => "",
        Detectable::Nothing => "not even 100",
        Detectable::Unknown => "one picture only",
    };
    let size = |points: f64| figures::points(points).replace('+', "");
    Cell { interval: why.to_owned(), ..cell(detectable.difference(), size) }
}

fn wins(difference: &Difference) -> String {
    let equal = difference.items.saturating_sub(difference.greater + difference.lesser);
    format!("{} / {equal} / {}", difference.greater, difference.lesser)
}

fn pairings(summary: &Summary, ranking: &Groups) -> Vec<Pairing> {
    let name = |model: usize| summary.models.get(model).map(|model| line(&model.name)).unwrap_or_default();
    let pairing = |pair: &crate::statistics::groups::Compared| Pairing {
        one: name(pair.models.0),
        other: name(pair.models.1),
        difference: figures::points(pair.difference.mean),
        range: figures::range(&pair.difference),
        chance: figures::chance(pair.difference.probability),
        corrected: figures::chance(pair.corrected),
        wins: wins(&pair.difference),
        test: match pair.difference.test {
            Test::McNemar => "McNemar, exact",
            Test::Randomisation => "randomisation by picture",
        },
    };
    ranking.pairs.iter().map(pairing).collect()
}
