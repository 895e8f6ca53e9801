//! Where models differ: by tag, by kind of failure, from each other, and from themselves in an earlier run.

use std::collections::BTreeSet;

use super::figures::{self, NONE};
use super::leaderboard::{Cell, order, share};
use super::shown::line;
use crate::eval::summary::{ModelSummary, Summary};
use crate::statistics::groups::SIGNIFICANCE;
use crate::statistics::paired::Difference;

/// The tables below the leaderboard. Columns are the models in its order.
pub(super) struct Breakdown {
    pub(super) models: Vec<String>,
    pub(super) slices: Vec<Slice>,
    pub(super) failures: Vec<Failures>,
    pub(super) agreement: Vec<Agreement>,
    pub(super) changes: Vec<Change>,
}

/// Questions with one tag.
pub(super) struct Slice {
    pub(super) tag: String,
    pub(super) items: String,
    pub(super) scores: Vec<Cell>,
}

/// Failures with one code.
pub(super) struct Failures {
    pub(super) code: String,
    pub(super) counts: Vec<String>,
}

/// How much one model agrees with each.
pub(super) struct Agreement {
    pub(super) model: String,
    pub(super) shares: Vec<Shade>,
}

/// A share, and how dark its field is, from 0 to 9.
pub(super) struct Shade {
    pub(super) text: String,
    pub(super) depth: u8,
}

/// A figure of one model then and now.
pub(super) struct Change {
    pub(super) model: String,
    pub(super) measure: &'static str,
    pub(super) difference: String,
    pub(super) range: String,
    pub(super) chance: String,
    pub(super) items: String,
    pub(super) class: &'static str,
}

impl Breakdown {
    /// The tables of a run.
    pub(super) fn of(summary: &Summary) -> Self {
        let order = order(summary);
        let models: Vec<&ModelSummary> = order.iter().filter_map(|place| summary.models.get(*place)).collect();
        let slice = |slice: &crate::eval::summary::Slice| Slice {
            tag: line(&slice.tag),
            items: figures::count(slice.items),
            scores: order.iter().map(|place| share(slice.scores.get(*place).copied().flatten())).collect(),
        };
        let codes: BTreeSet<&String> = models.iter().flat_map(|model| model.calls.codes.keys()).collect();
        let failures = |code: &String| {
            let count = |model: &&ModelSummary| {
                model.calls.codes.get(code).map_or_else(|| NONE.to_owned(), |it| figures::count(*it))
            };
            Failures { code: line(code), counts: models.iter().map(count).collect() }
        };
        let row = |one: &usize| Agreement {
            model: summary.models.get(*one).map(|model| line(&model.name)).unwrap_or_default(),
            shares: order.iter().map(|other| shade(summary, *one, *other)).collect(),
        };
        Self {
            models: models.iter().map(|model| line(&model.name)).collect(),
            slices: summary.slices.iter().map(slice).collect(),
            failures: codes.into_iter().map(failures).collect(),
            agreement: if order.len() > 1 { order.iter().map(row).collect() } else { Vec::new() },
            changes: order.iter().flat_map(|place| changes(summary, *place)).collect(),
        }
    }
}

fn shade(summary: &Summary, one: usize, other: usize) -> Shade {
    let share = summary.agreement.get(one).and_then(|row| row.get(other).copied().flatten());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 9")]
    let depth = share.map_or(0, |share| (share.clamp(0.0, 1.0) * 9.0).round() as u8);
    Shade { text: share.map_or_else(|| NONE.to_owned(), figures::percent), depth }
}

fn changes(summary: &Summary, place: usize) -> Vec<Change> {
    let Some(model) = summary.models.get(place) else { return Vec::new() };
    let Some(earlier) = summary.earlier.get(place).and_then(Option::as_ref) else { return Vec::new() };
    let change = |measure: &'static str, difference: &Difference, is_lower_better: bool| Change {
        model: line(&model.name),
        measure,
        difference: figures::points(difference.mean),
        range: figures::range(difference),
        chance: figures::chance(difference.probability),
        items: figures::count(difference.items),
        class: match (difference.probability < SIGNIFICANCE, (difference.mean > 0.0) != is_lower_better) {
            (false, _) => "open",
            (true, true) => "good",
            (true, false) => "bad",
        },
    };
    let is_lower_better = |measure| model.figures.get(measure).is_some_and(|figure| figure.is_lower_better);
    let score = earlier.score.iter().map(|difference| change("score", difference, false));
    let measures = earlier.figures.iter();
    let measures = measures.map(|(measure, difference)| change(measure.name(), difference, is_lower_better(measure)));
    score.chain(measures).collect()
}
