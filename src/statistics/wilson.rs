//! Wilson's interval of a proportion, plain and for clusters.

use super::interval::{Interval, Level};
use super::sample::{Sample, float};

/// Wilson's score interval of a proportion, without correction for continuity; from 0 to 1 where nothing was counted.
///
/// Wilson, Journal of the American Statistical Association 22, 1927; recommended for small numbers by Brown, Cai and
/// `DasGupta`, Statistical Science 16(2), 2001. It has a width even where all or none succeeded.
#[must_use]
pub fn interval(successes: usize, count: usize, level: Level) -> Interval {
    match count {
        0 => Interval { low: 0.0, high: 1.0 },
        _ => score(float(successes.min(count)) / float(count), float(count), level.normal()),
    }
}

/// Wilson's interval of the mean of scores from 0 to 1, with as many items as those in clusters are worth.
///
/// For clusters of one item and scores of 0 or 1, it is [`interval`]. Otherwise the number of items is divided by the
/// design effect, the variance of the mean as a multiple of that without clusters (at least 1), and corrected for the
/// degrees of freedom: Korn and Graubard, Survey Methodology 24(2), 1998, for Wilson's interval among those that Dean
/// and Pagano compare, Journal of Survey Statistics and Methodology 3(4), 2015. Where nothing varies, items of a
/// cluster count as one.
#[must_use]
pub fn clustered(sample: &Sample, level: Level) -> Interval {
    let (mean, size) = (sample.mean().clamp(0.0, 1.0), sample.size());
    let has_clusters = sample.clusters().iter().any(|cluster| cluster.size > 1.0);
    if !has_clusters {
        return score(mean, size, level.normal());
    }
    let independent = mean * (1.0 - mean) / size;
    let robust = sample.standard_error().powi(2);
    let effective = if robust > 0.0 && sample.is_flags() {
        size / (robust / independent).max(1.0)
    } else {
        sample.least_effective_size()
    };
    let freedom = (level.normal() / level.student(sample.freedom())).powi(2);
    score(mean, effective * freedom, level.normal())
}

fn score(proportion: f64, count: f64, normal: f64) -> Interval {
    if count <= 0.0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let square = normal * normal / count;
    let middle = (proportion + square / 2.0) / (1.0 + square);
    let variance = (proportion * (1.0 - proportion)).max(0.0) / count;
    let half = normal * (variance + square / (4.0 * count)).sqrt() / (1.0 + square);
    let interval = Interval::around(middle, half).within(0.0, 1.0);
    // Rounding must not leave the proportion itself outside.
    Interval { low: interval.low.min(proportion), high: interval.high.max(proportion) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: Interval, low: f64, high: f64) {
        assert!((found.low - low).abs() < 5e-5 && (found.high - high).abs() < 5e-5, "{found:?}");
    }

    #[test]
    fn intervals_are_those_of_the_literature() {
        // Newcombe, Statistics in Medicine 17, 1998, table I, method 3.
        near(interval(81, 263, Level::NINETY_FIVE), 0.2553, 0.3662);
        near(interval(0, 20, Level::NINETY_FIVE), 0.0, 0.1611);
        near(interval(29, 29, Level::NINETY_FIVE), 0.8830, 1.0);
        near(interval(0, 0, Level::NINETY_FIVE), 0.0, 1.0);
    }

    #[test]
    fn clusters_of_one_change_nothing_and_equal_items_count_once() {
        let flags = |count: usize| (0..count).map(|at| f64::from(u8::from(at % 4 == 0)));
        let plain = Sample::independent(flags(40)).expect("a sample");
        assert_eq!(clustered(&plain, Level::NINETY_FIVE), interval(10, 40, Level::NINETY_FIVE));
        let twice = Sample::new(flags(40).enumerate().flat_map(|item| [item, item])).expect("a sample");
        let (plain, twice) = (clustered(&plain, Level::NINETY_FIVE), clustered(&twice, Level::NINETY_FIVE));
        assert!(twice.low <= plain.low && twice.high >= plain.high && twice.high - twice.low < 0.3, "{twice:?}");
    }

    #[test]
    fn all_right_in_a_few_clusters_is_no_certainty() {
        let all = Sample::new((0..40).map(|at| (at / 8, 1.0))).expect("a sample");
        let found = clustered(&all, Level::NINETY_FIVE);
        assert!(found.low < 0.6 && found.high > 0.999, "{found:?}");
        let one = Sample::new((0..40).map(|_| (0, 1.0))).expect("a sample");
        near(clustered(&one, Level::NINETY_FIVE), 0.0, 1.0);
    }
}
