//! Scores of items in clusters, as the sums that every interval here is made of.

use std::collections::HashMap;
use std::hash::Hash;

/// Items that belong together, as those about one picture do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cluster {
    /// Of the scores.
    pub sum: f64,
    /// How many items.
    pub size: f64,
}

/// Scores of one model, in clusters. There is one at least, and all are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    clusters: Vec<Cluster>,
    low: f64,
    high: f64,
    is_flags: bool,
}

impl Sample {
    /// Collects scores by the cluster of each; clusters stay in the order in which they are met.
    ///
    /// Nothing where there are no scores, or one is not finite.
    #[must_use]
    pub fn new<Id: Eq + Hash>(scores: impl IntoIterator<Item = (Id, f64)>) -> Option<Self> {
        let mut places: HashMap<Id, usize> = HashMap::new();
        let mut sample = Self { clusters: Vec::new(), low: f64::INFINITY, high: f64::NEG_INFINITY, is_flags: true };
        for (id, score) in scores {
            if !score.is_finite() {
                return None;
            }
            let next = sample.clusters.len();
            let place = *places.entry(id).or_insert(next);
            if place == next {
                sample.clusters.push(Cluster { sum: 0.0, size: 0.0 });
            }
            if let Some(cluster) = sample.clusters.get_mut(place) {
                cluster.sum += score;
                cluster.size += 1.0;
            }
            sample.low = sample.low.min(score);
            sample.high = sample.high.max(score);
            sample.is_flags &= is_flag(score);
        }
        (!sample.clusters.is_empty()).then_some(sample)
    }

    /// Scores that are independent of each other.
    #[must_use]
    pub fn independent(scores: impl IntoIterator<Item = f64>) -> Option<Self> {
        Self::new(scores.into_iter().enumerate())
    }

    #[must_use]
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// How many items.
    #[must_use]
    pub fn size(&self) -> f64 {
        self.clusters.iter().map(|cluster| cluster.size).sum()
    }

    /// The mean over items, and not over clusters.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.clusters.iter().map(|cluster| cluster.sum).sum::<f64>() / self.size()
    }

    /// Whether every score is 0 or 1.
    #[must_use]
    pub fn is_flags(&self) -> bool {
        self.is_flags
    }

    /// The least and the greatest score.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Degrees of freedom of the variance between clusters.
    pub(super) fn freedom(&self) -> f64 {
        float(self.clusters.len()) - 1.0
    }

    /// The standard error of the mean, robust to clusters of any inner likeness: of the mean as a ratio of sums,
    /// linearised (Cochran, Sampling Techniques, 3rd edition, 1977, chapter 6; the `CR1` of regressions on a constant).
    /// 0 for one cluster, which says nothing about it.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        let (mean, size, count) = (self.mean(), self.size(), float(self.clusters.len()));
        if count < 2.0 {
            return 0.0;
        }
        let squares: f64 = self.clusters.iter().map(|cluster| (cluster.sum - mean * cluster.size).powi(2)).sum();
        (squares * count / (count - 1.0)).sqrt() / size
    }

    /// As how many independent items these count at least: as if items of a cluster were all the same (Kish, Survey
    /// Sampling, 1965).
    pub(super) fn least_effective_size(&self) -> f64 {
        self.size().powi(2) / self.clusters.iter().map(|cluster| cluster.size.powi(2)).sum::<f64>()
    }

    /// How many clusters differ from what more than half of them have; all of them, where there is no such thing.
    pub(super) fn deviating_clusters(&self) -> usize {
        let mut means: Vec<f64> = self.clusters.iter().map(|cluster| cluster.sum / cluster.size).collect();
        means.sort_by(f64::total_cmp);
        let most = means.chunk_by(|one, other| (one - other).abs() < 1e-12).map(<[f64]>::len).max();
        match most {
            Some(most) if 2 * most > means.len() => means.len() - most,
            _ => means.len(),
        }
    }
}

fn is_flag(score: f64) -> bool {
    [0.0, 1.0].iter().any(|flag| (score - flag).abs() < f64::EPSILON)
}

/// A count as a number. Counts beyond 2^32 are not met.
pub(super) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_summed_by_cluster() {
        let sample = Sample::new([("a", 1.0), ("b", 0.0), ("a", 0.5)]).expect("a sample");
        assert_eq!(sample.clusters(), [Cluster { sum: 1.5, size: 2.0 }, Cluster { sum: 0.0, size: 1.0 }]);
        assert!((sample.mean() - 0.5).abs() < 1e-12 && !sample.is_flags());
        assert!(Sample::independent([]).is_none() && Sample::independent([f64::NAN]).is_none());
        assert!(Sample::independent([0.0, 1.0]).is_some_and(|sample| sample.is_flags()));
    }

    #[test]
    fn the_standard_error_is_the_usual_one_without_clusters_and_larger_with_equal_ones() {
        let scores = [0.1, 0.4, 0.35, 0.8, 0.9, 0.2];
        let plain = Sample::independent(scores).expect("a sample").standard_error();
        let mean = scores.iter().sum::<f64>() / 6.0;
        let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / 5.0;
        assert!((plain - (variance / 6.0).sqrt()).abs() < 1e-12);
        let twice = scores.iter().enumerate().flat_map(|item| [item, item]).map(|(id, score)| (id, *score));
        let twice = Sample::new(twice).expect("a sample");
        assert!((twice.standard_error() - plain).abs() < 1e-12, "the same again is no news");
        assert!((twice.least_effective_size() - 6.0).abs() < 1e-12);
    }
}
