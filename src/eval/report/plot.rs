//! Quality against money or time as a picture: points with their intervals, names that do not cover each other, and the
//! line of those that nobody beats in both.

use super::leaderboard::{Tick, order};
use super::scale::Scale;
use super::{figures, leaderboard, shown};
use crate::eval::summary::{Figure, ModelSummary, Summary};

pub(super) const WIDTH: f64 = 760.0;
pub(super) const HEIGHT: f64 = 400.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 344.0;
/// Where figures of nothing stand, for which an axis of decades has no place.
const NOTHING: f64 = LEFT + 34.0;
/// About how wide a letter of a name is, and how high.
const LETTER: f64 = 7.0;
const LINE: f64 = 15.0;
/// Letters of a name beside a point.
const LONGEST_NAME: usize = 28;

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

/// A model before it has a place.
struct Spot<'a> {
    model: &'a ModelSummary,
    is_baseline: bool,
    figure: f64,
    score: Figure,
    x: f64,
    y: f64,
}

/// A rectangle that is taken: left, top, right, bottom.
type Taken = [f64; 4];

/// Quality against dollars for a thousand calls.
pub(super) fn cost(summary: &Summary) -> Option<Plot> {
    let axis = "US dollars for 1,000 calls (less is to the left)";
    let words = Words { id: "cost", title: "Quality against cost", axis, figure: figures::dollars };
    plot(summary, &words, leaderboard::per_thousand)
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
        Some(Spot { model, is_baseline: place == summary.baseline, figure, score: model.score?, x: 0.0, y: 0.0 })
    };
    let mut spots: Vec<Spot<'_>> = order(summary).into_iter().filter_map(known).collect();
    if spots.is_empty() {
        return None;
    }
    let up = Scale::shares(spots.iter().flat_map(|spot| [spot.score.interval.low, spot.score.interval.high]));
    let across = Scale::decades(spots.iter().map(|spot| spot.figure).filter(|figure| *figure > 0.0));
    let has_nothing = spots.iter().any(|spot| spot.figure <= 0.0);
    let from = if has_nothing { NOTHING + 50.0 } else { LEFT };
    let x = |figure: f64| match &across {
        Some(scale) if figure > 0.0 => from + scale.place(figure) * (RIGHT - from),
        _ => NOTHING,
    };
    let y = |share: f64| BOTTOM - up.place(share) * (BOTTOM - TOP);
    for spot in &mut spots {
        (spot.x, spot.y) = (x(spot.figure), y(spot.score.mean));
    }
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
        points: points(&spots, words.figure, &y),
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
        let (name, score) = (shown::line(&spot.model.name), figures::percent(spot.score.mean));
        format!("{name}: {score} at {}", (words.figure)(spot.figure))
    };
    spots.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Nobody has a better score for less, or for the same.
fn is_unbeaten(spot: &Spot<'_>, spots: &[Spot<'_>]) -> bool {
    !spots.iter().any(|other| {
        let is_no_worse = other.score.mean >= spot.score.mean && other.figure <= spot.figure;
        is_no_worse && (other.score.mean > spot.score.mean || other.figure < spot.figure)
    })
}

fn frontier(spots: &[Spot<'_>]) -> String {
    let mut best: Vec<&Spot<'_>> = spots.iter().filter(|spot| is_unbeaten(spot, spots)).collect();
    best.sort_by(|one, other| one.x.total_cmp(&other.x));
    best.iter().map(|spot| format!("{},{}", pixels(spot.x), pixels(spot.y))).collect::<Vec<_>>().join(" ")
}

fn points(spots: &[Spot<'_>], figure: fn(f64) -> String, y: &dyn Fn(f64) -> f64) -> Vec<Point> {
    let mut taken: Vec<Taken> = Vec::new();
    for spot in spots {
        taken.push([spot.x - 7.0, spot.y - 7.0, spot.x + 7.0, spot.y + 7.0]);
        let ends = (y(spot.score.interval.high), y(spot.score.interval.low));
        // A name that crosses a line is harder to read than one that touches it.
        taken.push([spot.x - 6.0, ends.0, spot.x + 6.0, ends.1]);
    }
    let mut point = |spot: &Spot<'_>| {
        let name = shown::line(&spot.model.name);
        let label = shortened(&name);
        let place = label_place(spot, &label, &taken);
        taken.push(place.area);
        Point {
            name,
            label,
            is_baseline: spot.is_baseline,
            is_unbeaten: is_unbeaten(spot, spots),
            x: pixels(spot.x),
            y: pixels(spot.y),
            low: pixels(y(spot.score.interval.low)),
            high: pixels(y(spot.score.interval.high)),
            label_x: pixels(place.x),
            label_y: pixels(place.y),
            anchor: place.anchor,
            figure: figure(spot.figure),
            score: figures::percent(spot.score.mean),
            interval: figures::interval(spot.score.interval),
        }
    };
    spots.iter().map(&mut point).collect()
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    let head: String = name.chars().take(LONGEST_NAME - 1).collect();
    format!("{head}…")
}

/// Where a name can stand.
struct LabelPlace {
    x: f64,
    y: f64,
    anchor: &'static str,
    area: Taken,
}

/// The place beside a point that covers least of what is there already.
fn label_place(spot: &Spot<'_>, label: &str, taken: &[Taken]) -> LabelPlace {
    let width = f64::from(u32::try_from(label.chars().count()).unwrap_or(u32::MAX)) * LETTER;
    let place = |anchor: &'static str, down: f64| {
        let (x, left) = match anchor {
            "start" => (spot.x + 10.0, spot.x + 10.0),
            "end" => (spot.x - 10.0, spot.x - 10.0 - width),
            _ => (spot.x, spot.x - width / 2.0),
        };
        let middle = spot.y + down;
        let area = [left, middle - LINE / 2.0, left + width, middle + LINE / 2.0];
        LabelPlace { x, y: middle + 4.0, anchor, area }
    };
    let beside = [0.0, -14.0, 14.0, -28.0, 28.0, -42.0, 42.0].into_iter();
    let beside = beside.flat_map(|down| ["start", "end"].map(|anchor| place(anchor, down)));
    let places = beside.chain([-18.0, 18.0, -34.0, 34.0].map(|down| place("middle", down)));
    let badness = |place: &LabelPlace| {
        let [left, top, right, bottom] = place.area;
        let outside = (LEFT - left).max(0.0) + (right - RIGHT - 12.0).max(0.0);
        let outside = outside + (TOP - top).max(0.0) + (bottom - BOTTOM).max(0.0);
        let covered: f64 = taken.iter().map(|taken| overlap(place.area, *taken)).sum();
        let away = (place.y - spot.y).abs();
        covered + outside * 40.0 + away * 0.5 + if place.anchor == "end" { 1.0 } else { 0.0 }
    };
    let best = places.map(|place| (badness(&place), place)).min_by(|one, other| one.0.total_cmp(&other.0));
    best.map_or_else(|| place("start", 0.0), |(_, place)| place)
}

fn overlap(one: Taken, other: Taken) -> f64 {
    let width = one[2].min(other[2]) - one[0].max(other[0]);
    let height = one[3].min(other[3]) - one[1].max(other[1]);
    width.max(0.0) * height.max(0.0)
}

fn pixels(place: f64) -> String {
    format!("{place:.1}")
}
