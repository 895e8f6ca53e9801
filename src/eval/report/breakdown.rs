//! Where models differ: by tag, by kind of failure, from each other, and from themselves in an earlier run.

use std::collections::BTreeSet;

use super::figures::{self, NONE};
use super::leaderboard::{Cell, order, share_of};
use super::shown::line;
use crate::eval::measured::Measure;
use crate::eval::summary::{ModelSummary, Summary};
use crate::score::Better;
use crate::statistics::groups::SIGNIFICANCE;
use crate::statistics::paired::Difference;

/// Codes of failures that are shown: there are fewer, unless somebody else wrote them.
const MOST_CODES: usize = 50;

/// The tables below the leaderboard. Columns are the models in its order.
pub(super) struct Breakdown {
    pub(super) models: Vec<String>,
    pub(super) slices: Vec<Slice>,
    /// What is said of tags that are not shown; nothing where all are.
    pub(super) more_tags: Option<String>,
    pub(super) failures: Vec<Failures>,
    pub(super) agreement: Vec<Agreement>,
    /// Measures that were taken then and now.
    pub(super) measures: Vec<&'static str>,
    pub(super) changes: Vec<Changes>,
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

/// One model then and now.
pub(super) struct Changes {
    pub(super) model: String,
    pub(super) items: String,
    /// By measure, the score first.
    pub(super) figures: Vec<Option<Change>>,
}

/// A figure then and now.
pub(super) struct Change {
    pub(super) difference: String,
    pub(super) range: String,
    pub(super) chance: String,
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
            scores: order
                .iter()
                .map(|place| share_of(slice.scores.get(*place).copied().flatten(), slice.items))
                .collect(),
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
        let measures: BTreeSet<Measure> =
            summary.earlier.iter().flatten().flat_map(|earlier| earlier.figures.keys().copied()).collect();
        let measures: Vec<Measure> = measures.into_iter().collect();
        Self {
            models: models.iter().map(|model| line(&model.name)).collect(),
            slices: summary.slices.iter().map(slice).collect(),
            more_tags: (summary.more_tags > 0)
                .then(|| figures::counted(summary.more_tags, "more tag is", "more tags are")),
            failures: codes.into_iter().take(MOST_CODES).map(failures).collect(),
            agreement: if order.len() > 1 { order.iter().map(row).collect() } else { Vec::new() },
            changes: order.iter().filter_map(|place| changes(summary, *place, &measures)).collect(),
            measures: measures.iter().map(|measure| measure.name()).collect(),
        }
    }
}

fn shade(summary: &Summary, one: usize, other: usize) -> Shade {
    let share = summary.agreement.get(one).and_then(|row| row.get(other).copied().flatten());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 9")]
    let depth = share.map_or(0, |share| (share.clamp(0.0, 1.0) * 9.0).round() as u8);
    Shade { text: share.map_or_else(|| NONE.to_owned(), figures::percent), depth }
}

fn changes(summary: &Summary, place: usize, measures: &[Measure]) -> Option<Changes> {
    let model = summary.models.get(place)?;
    let earlier = summary.earlier.get(place)?.as_ref()?;
    let is_lower_better = |measure| model.figures.get(measure).is_some_and(|figure| figure.is_lower_better);
    let compared = summary.earlier.iter().flatten().map(|it| it.figures.len() + usize::from(it.score.is_some())).sum();
    let score = earlier.score.as_ref().map(|difference| change(difference, Better::Higher, compared));
    let figures = measures.iter().map(|measure| {
        let better = if is_lower_better(measure) { Better::Lower } else { Better::Higher };
        earlier.figures.get(measure).map(|difference| change(difference, better, compared))
    });
    let items = earlier.score.iter().chain(earlier.figures.values()).map(|difference| difference.items).max()?;
    Some(Changes {
        model: line(&model.name),
        items: figures::count(items),
        figures: [score].into_iter().chain(figures).collect(),
    })
}

/// A change, as one of so many that are looked at: Bonferroni's correction decides whether it is marked.
fn change(difference: &Difference, better: Better, compared: usize) -> Change {
    let is_up = difference.mean > 0.0;
    let compared = u32::try_from(compared).map_or(f64::INFINITY, f64::from);
    Change {
        difference: figures::points(difference.mean),
        range: figures::range(difference),
        chance: figures::chance(difference.probability),
        class: match better {
            _ if difference.probability * compared >= SIGNIFICANCE => "open",
            Better::Higher if is_up => "good",
            Better::Lower if !is_up => "good",
            _ => "bad",
        },
    }
}
