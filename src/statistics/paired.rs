//! Two models on the same items: how far apart, how certain, and whether chance alone would do it.

use std::collections::HashMap;
use std::hash::Hash;

use super::bootstrap::{self, FEW, Range, Resampling};
use super::interval::{Interval, Level};
use super::power::Detectable;
use super::sample::{Sample, float};
use super::sign;

/// One item under both models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair<Id> {
    /// What the item belongs to, such as its picture.
    pub cluster: Id,
    pub baseline: f64,
    pub other: f64,
}

/// How two models differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The mean of the other's scores less the baseline's.
    pub mean: f64,
    pub interval: Interval,
    /// How likely so great a difference would be if the models were alike, two-sided, not corrected for other
    /// comparisons.
    pub probability: f64,
    pub test: Test,
    /// Items on which the other model has the greater score.
    pub greater: usize,
    /// Items on which it has the lesser one. With `greater`, these are the discordant ones.
    pub lesser: usize,
    pub items: usize,
    /// The standard error of the mean, its degrees of freedom, and the greatest difference that there can be.
    error: f64,
    freedom: f64,
    greatest: f64,
}

impl Difference {
    /// The smallest true difference that would be found four times in five at 95 % when so many pairs are compared at
    /// once; see [`power::detectable`](super::power::detectable).
    ///
    /// Each pair has the level that Bonferroni's correction leaves it. Holm's, by which groups are made, finds at least
    /// as much, so that this errs on the side of promising too little.
    #[must_use]
    pub fn detectable_among(&self, comparisons: usize) -> Detectable {
        Detectable::of(self.error, self.freedom, Level::NINETY_FIVE.shared(comparisons), self.greatest)
    }
}

/// Which test the probability is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// [`sign::exact`], for scores of 0 or 1 in clusters of one.
    McNemar,
    /// [`sign::randomised`] by clusters, for everything else.
    Randomisation,
}

/// Compares two models on the same items. Nothing where there are no items, or a score is not finite.
///
/// The interval is that of [`bootstrap::interval`] for the differences. Where fewer than five clusters differ at all,
/// it is Agresti and Min's (Statistics in Medicine 24(5), 2005), which adds two pairs, one of which differs, by half in
/// either direction: two models that never differed in thirty items are not certainly alike.
#[must_use]
pub fn compare<Id: Eq + Hash>(
    pairs: impl IntoIterator<Item = Pair<Id>>,
    level: Level,
    resampling: Resampling,
) -> Option<Difference> {
    let (mut greater, mut lesser, mut items, mut are_flags) = (0, 0, 0, true);
    let mut numbers = HashMap::new();
    let mut differences = Vec::new();
    for pair in pairs {
        let next = numbers.len();
        let difference = pair.other - pair.baseline;
        differences.push((*numbers.entry(pair.cluster).or_insert(next), difference));
        greater += usize::from(difference > 0.0);
        lesser += usize::from(difference < 0.0);
        items += 1;
        are_flags &= [pair.baseline, pair.other].iter().all(|score| score.abs() < 1e-12 || (score - 1.0).abs() < 1e-12);
    }
    let sample = Sample::new(differences)?;
    let (probability, test) = if are_flags && numbers.len() == items {
        (sign::exact(greater, lesser), Test::McNemar)
    } else {
        let sums: Vec<f64> = sample.clusters().iter().map(|cluster| cluster.sum).collect();
        (sign::randomised(&sums, resampling.resamples, resampling.seed), Test::Randomisation)
    };
    let (low, high) = sample.range();
    let greatest = high.max(-low).max(1.0);
    let spread = Spread::of(&sample);
    let interval = match spread {
        // A few clusters that differ much would have models differ by more than they can.
        Spread::Known(_) => bootstrap::interval(&sample, Range::Any, level, resampling).within(-greatest, greatest),
        Spread::Supposed { middle, error, bound } => {
            Interval::around(middle, level.student(sample.freedom()) * error).within(-bound, bound)
        }
    };
    let (error, freedom) = (spread.error(), sample.freedom());
    let mean = sample.mean();
    Some(Difference { mean, interval, probability, test, greater, lesser, items, error, freedom, greatest })
}

/// How uncertain the mean of differences is.
#[derive(Debug, Clone, Copy)]
enum Spread {
    Known(f64),
    Supposed { middle: f64, error: f64, bound: f64 },
}

impl Spread {
    fn of(sample: &Sample) -> Self {
        let differing = sample.clusters().iter().filter(|cluster| cluster.sum.abs() > 0.0).count();
        if differing >= FEW && sample.deviating_clusters() > 0 {
            return Self::Known(sample.standard_error());
        }
        let (low, high) = sample.range();
        let bound = high.max(-low).max(1.0);
        let size = sample.least_effective_size();
        let squares: f64 = sample.clusters().iter().map(|cluster| (cluster.sum / cluster.size).powi(2)).sum();
        let squares = squares * size / float(sample.clusters().len()) + bound * bound;
        let sum = sample.mean() * size;
        let (count, middle) = (size + 2.0, sum / (size + 2.0));
        Self::Supposed { middle, error: (squares - sum * sum / count).max(0.0).sqrt() / count, bound }
    }

    fn error(self) -> f64 {
        match self {
            Self::Known(error) | Self::Supposed { error, .. } => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(both: [usize; 4]) -> Vec<Pair<usize>> {
        let kinds = [(1.0, 1.0), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0)];
        let scores = both.into_iter().zip(kinds).flat_map(|(count, kind)| std::iter::repeat_n(kind, count));
        scores.enumerate().map(|(cluster, (baseline, other))| Pair { cluster, baseline, other }).collect()
    }

    fn compared(pairs: Vec<Pair<usize>>) -> Difference {
        compare(pairs, Level::NINETY_FIVE, Resampling { resamples: 4000, seed: 5 }).expect("a difference")
    }

    #[test]
    fn wins_and_losses_are_tested_exactly() {
        let found = compared(flags([60, 20, 18, 2]));
        assert_eq!((found.greater, found.lesser, found.items, found.test), (18, 2, 100, Test::McNemar));
        assert!((found.mean - 0.16).abs() < 1e-12);
        assert!((found.probability - sign::exact(18, 2)).abs() < 1e-15 && found.probability < 0.001);
        assert!(found.interval.low > 0.05 && found.interval.high < 0.27, "{:?}", found.interval);
    }

    #[test]
    fn equal_models_are_not_certainly_equal() {
        let found = compared(flags([20, 10, 0, 0]));
        assert!((found.probability - 1.0).abs() < 1e-12);
        assert!(found.interval.contains(0.0) && found.interval.high > 0.03 && found.interval.high < 0.15, "{found:?}");
        let alone = found.detectable_among(1).difference().expect("a difference");
        assert!(alone > 0.05 && alone < 0.2, "{found:?}");
        assert!(found.detectable_among(15).difference().expect("a difference") > 1.3 * alone, "{found:?}");
        let one = compared(flags([20, 9, 1, 0]));
        assert!(one.interval.contains(0.0) && one.interval.contains(one.mean), "{one:?}");
    }

    #[test]
    fn clusters_make_the_same_difference_less_certain() {
        let pairs = flags([60, 20, 18, 2]);
        let crowded = pairs.iter().enumerate().map(|(at, pair)| Pair { cluster: at / 10, ..*pair }).collect();
        let (single, crowded) = (compared(pairs), compared(crowded));
        assert_eq!(crowded.test, Test::Randomisation);
        assert!(crowded.probability > 10.0 * single.probability, "{crowded:?}");
        let same = |cluster| [Pair { cluster, baseline: 0.0, other: 1.0 }; 30].to_vec();
        assert_eq!(compared(same(1)).detectable_among(1), Detectable::Unknown, "one picture");
        let two = [same(1), same(2)].concat();
        assert_eq!(compared(two).detectable_among(1), Detectable::Nothing, "two are next to none");
    }

    #[test]
    fn what_is_no_number_is_not_compared() {
        let pair = |other| Pair { cluster: 0, baseline: 0.0, other };
        assert!(compare([pair(f64::NAN)], Level::NINETY_FIVE, Resampling::default()).is_none());
        assert!(compare(Vec::<Pair<usize>>::new(), Level::NINETY_FIVE, Resampling::default()).is_none());
    }

    #[test]
    fn models_never_differ_by_more_than_they_can() {
        let scores = [(1.0, 0.0), (1.0, 0.0), (0.9, 0.0), (0.8, 0.1), (1.0, 0.0), (0.2, 0.1)];
        let pairs = scores.into_iter().enumerate();
        let pairs = pairs.map(|(cluster, (baseline, other))| Pair { cluster, baseline, other });
        let found = compare(pairs, Level::NINETY_FIVE, Resampling::default()).expect("a difference");
        assert!(found.interval.low >= -1.0 && found.interval.low < found.mean, "{found:?}");
    }
}
