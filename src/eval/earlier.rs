//! Models then and now: only what was asked in the same words about the same bytes is held against each other.

use std::collections::{BTreeMap, BTreeSet};

use super::measured::{Asked, Lack, Measure};
use super::summary::{Method, is_lower_better};
use crate::statistics::Level;
use crate::statistics::paired::{self, Difference, Pair};

/// A model then and now, on the questions that it was asked alike both times.
#[derive(Debug, Clone)]
pub struct Earlier {
    pub figures: BTreeMap<Measure, Difference>,
    pub score: Option<Difference>,
}

impl Earlier {
    pub(super) fn of(before: &[Asked<'_>], asked: &[Asked<'_>], model: usize, method: Method) -> Self {
        let both = before.iter().zip(asked).filter(|(before, now)| alike(before, now, model) == Some(Likeness::Same));
        let both: Vec<(&Asked<'_>, &Asked<'_>)> = both.collect();
        let differ = |figure: &dyn Fn(&Asked<'_>) -> Option<f64>| {
            let pairs = both.iter().filter_map(|(before, now)| {
                Some(Pair { cluster: now.cluster.as_str(), baseline: figure(before)?, other: figure(now)? })
            });
            paired::compare(pairs, Level::NINETY_FIVE, method.resampling)
        };
        let calls = asked.iter().filter_map(|asked| asked.calls.get(model)).flatten();
        let measures: BTreeSet<Measure> = calls.flat_map(|call| call.figures.keys().copied()).collect();
        let figures =
            measures.into_iter().filter_map(|measure| Some((measure, differ(&|asked| asked.figure(model, measure))?)));
        Self { figures: figures.collect(), score: differ(&|asked| asked.score(model)) }
    }

    /// By how much the model is worse now by a measure, and on how many questions.
    pub(super) fn loss(&self, name: &str) -> Option<(f64, usize)> {
        if name == "score" {
            return self.score.map(|difference| (-difference.mean, difference.items));
        }
        let (measure, difference) = self.figures.iter().find(|(measure, _)| measure.name() == name)?;
        let loss = if is_lower_better(*measure) { difference.mean } else { -difference.mean };
        Some((loss, difference.items))
    }
}

/// Whether a model was asked the same both times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Likeness {
    Same,
    OtherPictures,
    OtherQuestion,
    NotAsked,
}

/// Nothing where there is nothing to compare now.
fn alike(before: &Asked<'_>, now: &Asked<'_>, model: usize) -> Option<Likeness> {
    let calls = |asked: &Asked<'_>| {
        let calls = asked.calls.get(model).into_iter().flatten().filter(|call| call.lack != Some(Lack::Asking));
        let calls = calls.map(|call| (call.record.question.clone(), call.record.images.clone()));
        calls.unzip::<_, _, BTreeSet<_>, BTreeSet<_>>()
    };
    let ((questions_then, images_then), (questions, images)) = (calls(before), calls(now));
    Some(match () {
        () if questions.is_empty() => return None,
        () if questions_then.is_empty() => Likeness::NotAsked,
        () if questions_then != questions => Likeness::OtherQuestion,
        () if images_then != images => Likeness::OtherPictures,
        () => Likeness::Same,
    })
}

/// What is not compared with the earlier run, and why, in words.
pub(super) fn warnings(before: &[Asked<'_>], asked: &[Asked<'_>], models: &[String]) -> Vec<String> {
    let likenesses = |model: usize| before.iter().zip(asked).filter_map(move |(then, now)| alike(then, now, model));
    let all: Vec<Likeness> = (0..models.len()).flat_map(likenesses).collect();
    let count = |kind: Likeness| all.iter().filter(|likeness| **likeness == kind).count();
    let reasons = [
        (Likeness::OtherQuestion, "asked something else in the earlier run, or with other settings"),
        (Likeness::OtherPictures, "about other pictures in the earlier run"),
        (Likeness::NotAsked, "not asked in the earlier run"),
    ];
    let of_models = if models.len() > 1 { ", counted for each model" } else { "" };
    let warning = |(kind, what): &(Likeness, &str)| match count(*kind) {
        0 => None,
        1 => Some(format!("1 of {} questions was {what}{of_models}: it is not compared", all.len())),
        number => Some(format!("{number} of {} questions were {what}{of_models}: they are not compared", all.len())),
    };
    let mut warnings: Vec<String> = reasons.iter().filter_map(warning).collect();
    if count(Likeness::Same) == 0 {
        warnings.push("no question was asked alike in the earlier run: nothing is compared with it".to_owned());
    }
    warnings
}
