//! Which of several models cannot be told apart on the same items.
//!
//! Every two models are compared by the paired test of [`paired`], and the p-values of all pairs are corrected together
//! by Holm, so that at most one set in twenty parts any models that are alike. A group is a largest set of models no
//! two of which were told apart, as in a compact letter display (Piepho, Journal of Computational and Graphical
//! Statistics 13(2), 2004). A model can be in several groups: "not told apart" is not "equal", and does not carry over
//! from one pair to the next.

use std::hash::Hash;

use super::bootstrap::Resampling;
use super::correction::holm;
use super::interval::Level;
use super::paired::{self, Difference, Pair};

/// Models that are compared at most.
pub const MOST_MODELS: usize = 32;
/// Corrected p-values from which on two models are not told apart.
pub const SIGNIFICANCE: f64 = 0.05;

/// How many pairs so many models make.
#[must_use]
pub fn comparisons(models: usize) -> usize {
    models * models.saturating_sub(1) / 2
}

/// What several models came to on the same items.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    /// All models by their mean, the greatest first.
    pub order: Vec<usize>,
    /// Models that cannot be told apart, each group in that order, and groups by their first.
    pub groups: Vec<Vec<usize>>,
    /// Every two models, the first being the baseline.
    pub pairs: Vec<Compared>,
}

/// Two models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    pub models: (usize, usize),
    pub difference: Difference,
    /// The p-value corrected for all pairs.
    pub corrected: f64,
}

/// Groups models by their scores, one list for each model with one score for each item. Where less is better, read the
/// order from its end.
///
/// Every pair is drawn again as often as `resampling` says: eight models on a thousand items take seconds, so this is
/// for a thread that may be busy. Nothing where there are no items, lists differ in length, a score is not finite, or
/// there are more than [`MOST_MODELS`].
#[must_use]
pub fn groups<Id: Eq + Hash + Clone>(
    clusters: &[Id],
    scores: &[Vec<f64>],
    level: Level,
    resampling: Resampling,
) -> Option<Groups> {
    let is_whole = scores.iter().all(|scores| scores.len() == clusters.len());
    let is_known = scores.iter().flatten().all(|score| score.is_finite());
    if !is_whole || !is_known || clusters.is_empty() || scores.len() > MOST_MODELS {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let sum = |model: &usize| scores.get(*model).map_or(0.0, |scores| scores.iter().sum::<f64>());
    order.sort_by(|a, b| sum(b).total_cmp(&sum(a)));
    let mut pairs = Vec::new();
    for (one, baseline) in scores.iter().enumerate() {
        for (other, others) in scores.iter().enumerate().skip(one + 1) {
            let items = clusters.iter().cloned().zip(baseline).zip(others);
            let items = items.map(|((cluster, baseline), other)| Pair { cluster, baseline: *baseline, other: *other });
            let difference = paired::compare(items, level, resampling)?;
            pairs.push(Compared { models: (one, other), difference, corrected: 1.0 });
        }
    }
    let corrected = holm(&pairs.iter().map(|pair| pair.difference.probability).collect::<Vec<_>>());
    pairs.iter_mut().zip(corrected).for_each(|(pair, corrected)| pair.corrected = corrected);
    let apart: Vec<(usize, usize)> =
        pairs.iter().filter(|pair| pair.corrected < SIGNIFICANCE).map(|pair| pair.models).collect();
    let groups = together(&order, &apart);
    Some(Groups { order, groups, pairs })
}

/// The largest sets of models that hold no pair that was told apart: each such pair splits every set that holds both.
fn together(order: &[usize], apart: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let all = order.iter().fold(0_u32, |set, model| set | 1 << model);
    let mut sets = if order.is_empty() { Vec::new() } else { vec![all] };
    for (one, other) in apart {
        let (one, other) = (1_u32 << one, 1_u32 << other);
        let split =
            |set: &u32| if set & one != 0 && set & other != 0 { vec![set & !one, set & !other] } else { vec![*set] };
        let mut parts: Vec<u32> = sets.iter().flat_map(split).collect();
        parts.sort_unstable();
        parts.dedup();
        let is_within = |set: &u32| parts.iter().any(|larger| larger != set && larger & set == *set);
        sets = parts.iter().filter(|set| !is_within(set)).copied().collect();
    }
    let members = |set: u32| order.iter().copied().filter(|model| set >> model & 1 == 1).collect::<Vec<_>>();
    let mut groups: Vec<Vec<usize>> = sets.into_iter().map(members).collect();
    let rank = |model: &usize| order.iter().position(|other| other == model);
    groups.sort_by_key(|group| group.iter().map(rank).collect::<Vec<_>>());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEWER: Resampling = Resampling { resamples: 2000, seed: 1 };

    #[test]
    fn planted_models_are_ordered_and_equal_ones_stay_together() {
        let mut random = fastrand::Rng::with_seed(11);
        let mut model =
            |accuracy: f64| -> Vec<f64> { (0..300).map(|_| f64::from(u8::from(random.f64() < accuracy))).collect() };
        let scores = vec![model(0.6), model(0.9), model(0.9), model(0.3)];
        let clusters: Vec<usize> = (0..300).collect();
        let found = groups(&clusters, &scores, Level::NINETY_FIVE, FEWER).expect("groups");
        assert_eq!((found.order[2], found.order[3], found.pairs.len()), (0, 3, 6));
        let mut first = found.groups[0].clone();
        first.sort_unstable();
        assert_eq!((first, &found.groups[1..]), (vec![1, 2], &[vec![0], vec![3]][..]));
    }

    #[test]
    fn a_model_between_two_belongs_to_both() {
        assert_eq!(together(&[2, 1, 0], &[(0, 2)]), [vec![2, 1], vec![1, 0]]);
        assert_eq!(together(&[0, 1, 2], &[]), [vec![0, 1, 2]]);
        assert_eq!(together(&[0, 1], &[(0, 1)]), [vec![0], vec![1]]);
        assert!(together(&[], &[]).is_empty());
    }

    #[test]
    fn what_does_not_fit_together_is_not_compared() {
        let clusters = [1, 2];
        for scores in [vec![vec![1.0]], vec![vec![1.0, f64::NAN]], vec![vec![1.0, 0.0]; 33]] {
            assert!(groups(&clusters, &scores, Level::NINETY_FIVE, FEWER).is_none());
        }
    }

    #[test]
    fn equal_models_are_rarely_told_apart() {
        let mut random = fastrand::Rng::with_seed(5);
        let clusters: Vec<usize> = (0..60).map(|item| item / 2).collect();
        let mut parted = 0;
        for _ in 0..200 {
            let hard: Vec<f64> = (0..60).map(|_| random.f64()).collect();
            let mut model = || hard.iter().map(|hard| (hard + random.f64()) / 2.0).collect::<Vec<f64>>();
            let scores = vec![model(), model(), model()];
            let found = groups(&clusters, &scores, Level::NINETY_FIVE, Resampling { resamples: 400, seed: 1 });
            parted += usize::from(found.expect("groups").groups.len() > 1);
        }
        assert!(parted <= 20, "{parted} of 200 sets of equal models were parted");
    }
}
