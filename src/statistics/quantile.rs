//! Quantiles of measurements, such as latencies.

/// The value below which a share of the measurements lies: Hyndman and Fan's type 7 (The American Statistician 50(4),
/// 1996), the default of `NumPy` and R. It lies on the line between the two nearest measurements, at rank `(n - 1) *
/// share`.
///
/// Nothing where there are no measurements, one is NaN, or the share is not from 0 to 1.
#[must_use]
pub fn quantile(measurements: &[f64], share: f64) -> Option<f64> {
    let mut sorted = measurements.to_vec();
    sorted.sort_by(f64::total_cmp);
    let is_known = (0.0..=1.0).contains(&share) && !measurements.iter().any(|value| value.is_nan());
    is_known.then(|| of_sorted(&sorted, share))?
}

/// The median, and what one in ten and one in a hundred exceed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
}

/// The three quantiles of measurements; see [`quantile`].
#[must_use]
pub fn quantiles(measurements: &[f64]) -> Option<Quantiles> {
    let of = |share: f64| quantile(measurements, share);
    Some(Quantiles { p50: of(0.5)?, p90: of(0.9)?, p99: of(0.99)? })
}

pub(super) fn of_sorted(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = share * super::sample::float(last);
    let below = whole(rank, last);
    let (low, high) = (*sorted.get(below)?, *sorted.get((below + 1).min(last))?);
    let part = rank - super::sample::float(below);
    // The difference of two infinities is none.
    Some(if part > 0.0 { low + (high - low) * part } else { low })
}

/// The greatest whole number up to a rank.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is finite, at least 0, and cut at the last"
)]
fn whole(rank: f64, last: usize) -> usize {
    (rank as usize).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_nearest_measurements() {
        for (share, expected) in [(0.0, 1.0), (0.5, 2.5), (0.9, 3.7), (1.0, 4.0)] {
            let found = quantile(&[4.0, 1.0, 3.0, 2.0], share).expect("a quantile");
            assert!((found - expected).abs() < 1e-12, "{share}: {found}");
        }
        assert_eq!(quantile(&[7.0], 0.99), Some(7.0));
        assert_eq!(quantiles(&[7.0, 7.0]), Some(Quantiles { p50: 7.0, p90: 7.0, p99: 7.0 }));
        assert!(
            quantile(&[], 0.5).is_none() && quantile(&[1.0], 1.1).is_none() && quantile(&[f64::NAN], 0.5).is_none()
        );
    }
}
