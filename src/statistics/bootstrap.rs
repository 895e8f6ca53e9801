//! The interval of a mean, by drawing clusters again, that holds what it promises for small sets and skewed scores too.

use super::interval::{Interval, Level, normal_probability, normal_quantile};
use super::quantile::of_sorted;
use super::sample::{Cluster, Sample, float};
use super::wilson;

/// Clusters that have to differ from what most have, before their variance is believed.
pub(super) const FEW: usize = 5;

/// How samples are drawn again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    pub resamples: usize,
    /// The same seed draws the same.
    pub seed: u64,
}

impl Default for Resampling {
    /// Ten thousand, with which an end of an interval stays within about a hundredth of its width.
    fn default() -> Self {
        Self { resamples: 10_000, seed: 1 }
    }
}

/// What scores can be, which intervals do not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From 0 to 1.
    Share,
    /// From 0 on.
    Rate,
    Any,
}

/// The interval of the mean over items: each end is the farther one of two intervals, because either alone holds too
/// rarely for thirty skewed scores (`BCa` hardly more than nine times in ten).
///
/// - `BCa` ([`bca`]), at a level expanded by what the bootstrap leaves out for small numbers: Hesterberg, The American
///   Statistician 69(4), 2015.
/// - Student's with the standard error that is robust to clusters, and one degree of freedom less than there are
///   clusters.
///
/// Where fewer than five clusters differ from the mean that more than half of them have, their variance says too little, and it
/// is Wilson's interval ([`wilson::clustered`]) between the least and the greatest score that is possible or was met,
/// which supposes the greatest variance there can be. So no interval is without width.
#[must_use]
pub fn interval(sample: &Sample, range: Range, level: Level, resampling: Resampling) -> Interval {
    let interval = if sample.deviating_clusters() < FEW {
        cautious(sample, level)
    } else {
        let student = Interval::around(sample.mean(), level.student(sample.freedom()) * sample.standard_error());
        let drawn = bca(sample, expanded(level, sample), resampling);
        Interval { low: student.low.min(drawn.low), high: student.high.max(drawn.high) }
    };
    match range {
        Range::Share => interval.within(0.0, 1.0),
        Range::Rate => interval.within(0.0, f64::INFINITY),
        Range::Any => interval,
    }
}

fn cautious(sample: &Sample, level: Level) -> Interval {
    let (least, greatest) = sample.range();
    let (low, high) = (least.min(0.0), greatest.max(1.0));
    let scaled = |at: f64| low + at * (high - low);
    let clusters = sample.clusters().iter().enumerate();
    // Each item of a cluster gets its mean: the cautious interval looks at no variance within.
    let scores = clusters.flat_map(|(id, cluster)| {
        let mean = (cluster.sum / cluster.size - low) / (high - low);
        (0_u32..).map(f64::from).take_while(move |at| *at < cluster.size).map(move |_| (id, mean))
    });
    let unit = Sample::new(scores).map(|unit| wilson::clustered(&unit, level));
    let unit = unit.unwrap_or(Interval { low: 0.0, high: 1.0 });
    Interval { low: scaled(unit.low), high: scaled(unit.high) }
}

/// The level at which a bootstrap of so many clusters holds what Student's interval does.
fn expanded(level: Level, sample: &Sample) -> Level {
    let count = float(sample.clusters().len());
    let ends = level.student(sample.freedom()) * (count / (count - 1.0)).sqrt();
    Level::new(1.0 - 2.0 * normal_probability(-ends)).unwrap_or(level)
}

/// The bias-corrected and accelerated bootstrap of the mean over items, drawing whole clusters.
///
/// Efron, Journal of the American Statistical Association 82, 1987; Field and Welsh, Journal of the Royal Statistical
/// Society B 69(3), 2007, for clusters. The acceleration is by the jackknife over clusters. It has no width where
/// nothing varies.
#[must_use]
pub fn bca(sample: &Sample, level: Level, resampling: Resampling) -> Interval {
    let mean = sample.mean();
    let means = drawn(sample.clusters(), resampling);
    let below =
        means.iter().map(|drawn| if (drawn - mean).abs() < 1e-12 { 0.5 } else { f64::from(u8::from(*drawn < mean)) });
    let share = (below.sum::<f64>() / float(means.len().max(1))).clamp(1e-4, 1.0 - 1e-4);
    let (bias, acceleration) = (normal_quantile(share), acceleration(sample));
    let end = |probability: f64| {
        let shifted = bias + normal_quantile(probability);
        let corrected = normal_probability(bias + shifted / (1.0 - acceleration * shifted));
        of_sorted(&means, corrected).unwrap_or(mean)
    };
    Interval { low: end(level.tail()), high: end(1.0 - level.tail()) }
}

/// Means of samples that were drawn, in order.
fn drawn(clusters: &[Cluster], resampling: Resampling) -> Vec<f64> {
    let mut random = fastrand::Rng::with_seed(resampling.seed);
    let mut one = || {
        let (mut sum, mut size) = (0.0, 0.0);
        for _ in 0..clusters.len() {
            if let Some(cluster) = random.choice(clusters) {
                sum += cluster.sum;
                size += cluster.size;
            }
        }
        sum / size
    };
    let mut means: Vec<f64> = (0..resampling.resamples).map(|_| one()).collect();
    means.sort_by(f64::total_cmp);
    means
}

/// A sixth of the skewness of the means that leave one cluster out.
fn acceleration(sample: &Sample) -> f64 {
    let (sum, size) = (sample.mean() * sample.size(), sample.size());
    let without = |cluster: &Cluster| (sum - cluster.sum) / (size - cluster.size);
    let means: Vec<f64> = sample.clusters().iter().map(without).filter(|mean| mean.is_finite()).collect();
    let middle = means.iter().sum::<f64>() / float(means.len().max(1));
    let power = |power: i32| means.iter().map(|mean| (middle - mean).powi(power)).sum::<f64>();
    let scale = 6.0 * power(2).powf(1.5);
    if scale > 0.0 { power(3) / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEWER: Resampling = Resampling { resamples: 2000, seed: 3 };

    fn of(scores: &[f64]) -> Sample {
        Sample::independent(scores.iter().copied()).expect("a sample")
    }

    #[test]
    fn the_same_seed_gives_the_same_and_another_nearly_the_same() {
        let sample = of(&(0..60).map(|at| f64::from(at % 7) / 7.0).collect::<Vec<_>>());
        let with = |seed| interval(&sample, Range::Share, Level::NINETY_FIVE, Resampling { seed, resamples: 10_000 });
        assert_eq!(with(1), with(1));
        let (one, other) = (with(1), with(2));
        assert!((one.low - other.low).abs() < 0.01 && (one.high - other.high).abs() < 0.01);
        assert!(one.contains(sample.mean()));
    }

    #[test]
    fn nothing_is_certain_because_it_was_always_the_same() {
        for (scores, range) in [
            (vec![1.0; 30], Range::Share),
            (vec![0.0; 30], Range::Rate),
            (vec![0.5; 30], Range::Share),
            (vec![2.5], Range::Rate),
        ] {
            let sample = of(&scores);
            let found = interval(&sample, range, Level::NINETY_FIVE, FEWER);
            assert!(found.contains(sample.mean()) && found.high - found.low > 0.1, "{scores:?}: {found:?}");
            assert!(range == Range::Rate || (found.low >= 0.0 && found.high <= 1.0));
        }
    }

    #[test]
    fn items_of_one_picture_are_not_news() {
        let scores = |at: u32| f64::from(at * 7 % 20) / 20.0;
        let plain = Sample::independent((0..40).map(scores)).expect("a sample");
        let repeated = Sample::new((0..40).flat_map(|at| (0..5).map(move |_| (at, scores(at))))).expect("a sample");
        let width = |sample: &Sample| {
            let found = interval(sample, Range::Share, Level::NINETY_FIVE, FEWER);
            found.high - found.low
        };
        assert!((width(&plain) - width(&repeated)).abs() < 1e-9);
    }
}
