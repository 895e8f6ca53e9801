//! Correcting p-values for how many questions were asked at once.

/// Bonferroni's correction: each p-value as many times as there are, at most 1.
#[must_use]
pub fn bonferroni(values: &[f64]) -> Vec<f64> {
    let count = super::sample::float(values.len());
    values.iter().map(|value| (value * count).min(1.0)).collect()
}

/// Holm's correction, which is never weaker than Bonferroni's and holds under the same conditions, whatever depends on
/// what: from the least p-value on, each is multiplied by how many are left, and is at least the one before.
///
/// Holm, Scandinavian Journal of Statistics 6(2), 1979. The corrected values keep the order of what was given.
#[must_use]
pub fn holm(values: &[f64]) -> Vec<f64> {
    let mut ranked: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
    ranked.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut corrected = vec![1.0; values.len()];
    let mut greatest = 0.0_f64;
    for (rank, (place, value)) in ranked.into_iter().enumerate() {
        greatest = greatest.max(value * super::sample::float(values.len() - rank)).min(1.0);
        if let Some(slot) = corrected.get_mut(place) {
            *slot = greatest;
        }
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holm_steps_down_and_bonferroni_does_not() {
        let near = |found: &[f64], expected: &[f64]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        };
        near(&holm(&[0.01, 0.04, 0.03, 0.005]), &[0.03, 0.06, 0.06, 0.02]);
        near(&bonferroni(&[0.01, 0.4]), &[0.02, 0.8]);
        near(&holm(&[0.9, 0.8]), &[1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
