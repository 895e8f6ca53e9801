//! Quality against money or time as a picture: points with their intervals, names that do not cover each other, and the
//! line of those that nobody beats in both.

use super::label::{Labels, Mark};
use super::leaderboard::{Tick, order};
use super::scale::Scale;
use super::{figures, ledger, shown};
use crate::eval::summary::{Figure, ModelSummary, Summary};

pub(super) const WIDTH: f64 = 760.0;
pub(super) const HEIGHT: f64 = 400.0;
pub(super) const LEFT: f64 = 56.0;
pub(super) const RIGHT: f64 = 744.0;
pub(super) const TOP: f64 = 16.0;
pub(super) const BOTTOM: f64 = 344.0;
/// Where figures of nothing stand, for which an axis of decades has no place.
const NOTHING: f64 = LEFT + 34.0;

/// A picture, and the same as a table.
pub(super) struct Plot {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) axis: &'static str,
    pub(super) description: String,
    pub(super) across: Vec<Tick>,
    pub(super) up: Vec<Tick>,
    pub(super) points: Vec<Point>,
    /// The corners of the line of those that nobody beats.
    pub(super) frontier: String,
    /// Models of which too little is known.
    pub(super) missing: String,
}

/// A model.
pub(super) struct Point {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) is_baseline: bool,
    pub(super) is_unbeaten: bool,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) low: String,
    pub(super) high: String,
    pub(super) label_x: String,
    pub(super) label_y: String,
    pub(super) anchor: &'static str,
    pub(super) figure: String,
    pub(super) score: String,
    pub(super) interval: String,
}

/// A model of which enough is known.
struct Known<'a> {
    model: &'a ModelSummary,
    is_baseline: bool,
    figure: f64,
    score: Figure,
}

/// Its place.
struct Spot<'a> {
    known: Known<'a>,
    mark: Mark,
}

/// Quality against dollars for a thousand calls.
pub(super) fn cost(summary: &Summary) -> Option<Plot> {
    let axis = "US dollars for 1,000 calls (less is to the left)";
    let words = Words { id: "cost", title: "Quality against cost", axis, figure: figures::dollars };
    plot(summary, &words, ledger::per_thousand)
}

/// Quality against the time of half of the answers.
pub(super) fn latency(summary: &Summary) -> Option<Plot> {
    let axis = "Median time to an answer (less is to the left)";
    let words = Words { id: "latency", title: "Quality against time", axis, figure: figures::milliseconds };
    plot(summary, &words, |model| model.latency_ms.map(|latency| latency.p50))
}

/// What a picture says.
struct Words {
    id: &'static str,
    title: &'static str,
    axis: &'static str,
    figure: fn(f64) -> String,
}

fn plot(summary: &Summary, words: &Words, of: fn(&ModelSummary) -> Option<f64>) -> Option<Plot> {
    let known = |place: usize| {
        let model = summary.models.get(place)?;
        let figure = of(model).filter(|figure| figure.is_finite() && *figure >= 0.0)?;
        Some(Known { model, is_baseline: place == summary.baseline, figure, score: model.score? })
    };
    let known: Vec<Known<'_>> = order(summary).into_iter().filter_map(known).collect();
    if known.is_empty() {
        return None;
    }
    let up = Scale::shares(known.iter().flat_map(|known| [known.score.interval.low, known.score.interval.high]));
    let across = Scale::decades(known.iter().map(|known| known.figure).filter(|figure| *figure > 0.0));
    let has_nothing = known.iter().any(|known| known.figure <= 0.0);
    let from = if has_nothing { NOTHING + 50.0 } else { LEFT };
    let x = |figure: f64| match &across {
        Some(scale) if figure > 0.0 => from + scale.place(figure) * (RIGHT - from),
        _ => NOTHING,
    };
    let y = |share: f64| BOTTOM - up.place(share) * (BOTTOM - TOP);
    let spots: Vec<Spot<'_>> = known
        .into_iter()
        .map(|known| {
            let (interval, mean) = (known.score.interval, known.score.mean);
            let mark = Mark { x: x(known.figure), y: y(mean), top: y(interval.high), bottom: y(interval.low) };
            Spot { known, mark }
        })
        .collect();
    let nothing = has_nothing.then(|| Tick { at: pixels(NOTHING), label: "nothing".into() });
    let figures = across.iter().flat_map(|scale| &scale.ticks);
    let figures = figures.map(|tick| Tick { at: pixels(x(*tick)), label: short((words.figure)(*tick)) });
    let missing = summary.models.iter().filter(|model| of(model).is_none() || model.score.is_none());
    let missing: Vec<String> = missing.map(|model| shown::line(&model.name)).collect();
    Some(Plot {
        id: words.id,
        title: words.title,
        axis: words.axis,
        description: description(&spots, words),
        across: nothing.into_iter().chain(figures).collect(),
        up: up.ticks.iter().map(|tick| Tick { at: pixels(y(*tick)), label: format!("{:.0}", tick * 100.0) }).collect(),
        frontier: frontier(&spots),
        points: points(&spots, words.figure),
        missing: shown::listed(&missing),
    })
}

/// Axes have round figures: `$0.500` is `$0.5` there.
fn short(figure: String) -> String {
    let Some((whole, digits)) = figure.split_once('.') else { return figure };
    let end = digits.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, unit) = digits.split_at(end);
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() { format!("{whole}{unit}") } else { format!("{whole}.{digits}{unit}") }
}

fn description(spots: &[Spot<'_>], words: &Words) -> String {
    let one = |spot: &Spot<'_>| {
        let (name, score) = (shown::line(&spot.known.model.name), figures::percent(spot.known.score.mean));
        format!("{name}: {score} at {}", (words.figure)(spot.known.figure))
    };
    spots.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Nobody has a better score for less, or for the same.
fn is_unbeaten(spot: &Spot<'_>, spots: &[Spot<'_>]) -> bool {
    !spots.iter().any(|other| {
        let is_no_worse = other.known.score.mean >= spot.known.score.mean && other.known.figure <= spot.known.figure;
        is_no_worse && (other.known.score.mean > spot.known.score.mean || other.known.figure < spot.known.figure)
    })
}

fn frontier(spots: &[Spot<'_>]) -> String {
    let mut best: Vec<&Spot<'_>> = spots.iter().filter(|spot| is_unbeaten(spot, spots)).collect();
    best.sort_by(|one, other| one.mark.x.total_cmp(&other.mark.x));
    best.iter().map(|spot| format!("{},{}", pixels(spot.mark.x), pixels(spot.mark.y))).collect::<Vec<_>>().join(" ")
}

fn points(spots: &[Spot<'_>], figure: fn(f64) -> String) -> Vec<Point> {
    let mut labels = Labels::beside(spots.iter().map(|spot| spot.mark));
    let point = |spot: &Spot<'_>| {
        let name = shown::line(&spot.known.model.name);
        let label = labels.place(spot.mark, &name);
        Point {
            label: label.text,
            is_baseline: spot.known.is_baseline,
            is_unbeaten: is_unbeaten(spot, spots),
            x: pixels(spot.mark.x),
            y: pixels(spot.mark.y),
            low: pixels(spot.mark.bottom),
            high: pixels(spot.mark.top),
            label_x: pixels(label.x),
            label_y: pixels(label.y),
            anchor: label.anchor,
            figure: figure(spot.known.figure),
            score: figures::percent(spot.known.score.mean),
            interval: figures::interval(spot.known.score.interval),
            name,
        }
    };
    spots.iter().map(point).collect()
}

fn pixels(place: f64) -> String {
    format!("{place:.1}")
}
