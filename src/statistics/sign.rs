//! Whether two models differ, exactly for wins and losses, and by chance alone for everything else.

use statrs::distribution::{Binomial, DiscreteCDF};

/// The exact test of `McNemar`, which is the sign test of the pairs that differ: how likely a split at least as uneven
/// as this would be if either side were as likely to win, two-sided. 1 where no pair differs.
///
/// `McNemar`, Psychometrika 12(2), 1947, with the binomial distribution in the place of its approximation.
#[must_use]
pub fn exact(wins: usize, losses: usize) -> f64 {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let fewer = count(wins.min(losses));
    Binomial::new(0.5, count(wins + losses)).map_or(1.0, |binomial| (2.0 * binomial.cdf(fewer)).min(1.0))
}

/// The paired test by randomisation: how often differences at least as great as these come about when the names of both
/// models are exchanged at random in each cluster, two-sided. Never 0: at least `1 / (draws + 1)`.
///
/// Fisher, The Design of Experiments, 1935, section 21; Phipson and Smyth, Statistical Applications in Genetics and
/// Molecular Biology 9, 2010, for the 1 that is added. It supposes nothing but that models are the same where they are
/// exchanged.
#[must_use]
pub fn randomised(differences: &[f64], draws: usize, seed: u64) -> f64 {
    let differing: Vec<f64> = differences.iter().copied().filter(|difference| difference.abs() > 0.0).collect();
    let observed = differing.iter().sum::<f64>().abs();
    // Sums of the same numbers in another order differ in their last digits.
    let as_great = observed - 1e-9 * differing.iter().map(|difference| difference.abs()).sum::<f64>();
    let mut random = fastrand::Rng::with_seed(seed);
    let greater = (0..draws).filter(|_| exchanged(&differing, &mut random).abs() >= as_great).count();
    (super::sample::float(greater) + 1.0) / (super::sample::float(draws) + 1.0)
}

/// The sum of differences, each with a sign at random.
fn exchanged(differences: &[f64], random: &mut fastrand::Rng) -> f64 {
    let of_chunk = |chunk: &[f64]| {
        let signs = random.u64(..);
        let signed = |(at, difference): (usize, &f64)| if signs >> at & 1 == 0 { *difference } else { -difference };
        chunk.iter().enumerate().map(signed).sum::<f64>()
    };
    differences.chunks(64).map(of_chunk).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_test_is_the_binomial() {
        for (wins, losses, expected) in
            [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 0.0625), (1, 9, 0.021_484_375), (10, 2, 0.038_574_218_75)]
        {
            let found = exact(wins, losses);
            assert!((found - expected).abs() < 1e-12, "{wins}:{losses} {found}");
        }
        assert!(exact(0, 2000) >= 0.0);
    }

    #[test]
    fn randomisation_agrees_with_the_exact_test_on_wins_and_losses() {
        for (wins, losses) in [(12, 4), (30, 22), (3, 3), (0, 0), (80, 50)] {
            let mut differences = vec![1.0; wins];
            differences.extend(vec![-1.0; losses]);
            differences.extend(vec![0.0; 50]);
            let (found, expected) = (randomised(&differences, 20_000, 1), exact(wins, losses));
            assert!((found - expected).abs() < 0.015, "{wins}:{losses} {found} {expected}");
        }
    }
}
