//! Whether intervals hold what they promise: planted truths, a thousand runs each, 95 % intervals that may miss 7 % at
//! most.

use super::bootstrap::{self, Range, Resampling};
use super::interval::{Interval, Level};
use super::paired::{self, Pair};
use super::sample::Sample;
use super::wilson;

const RUNS: usize = 1000;
const FEWER: Resampling = Resampling { resamples: 400, seed: 1 };

/// Draws items of clusters that are alike inside: a normal variable for each, of which the cluster has a share in
/// common.
struct Drawing {
    random: fastrand::Rng,
    /// Items of a cluster; 1 for none.
    size: usize,
}

impl Drawing {
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.random.f64()).ln()).sqrt() * (std::f64::consts::TAU * self.random.f64()).cos()
    }

    /// Ranks from 0 to 1 with the number of their cluster.
    fn ranks(&mut self, count: usize) -> Vec<(usize, f64)> {
        let mut common = 0.0;
        let mut one = |at: usize| {
            if at.is_multiple_of(self.size) {
                common = self.normal();
            }
            let own = self.normal();
            let mixed = if self.size == 1 { own } else { 0.55 * common + 0.3_f64.mul_add(-1.0, 1.0).sqrt() * own };
            let spread = if self.size == 1 { 1.0 } else { (0.55_f64.powi(2) + 0.7).sqrt() };
            (at / self.size, super::interval::normal_probability(mixed / spread))
        };
        (0..count).map(&mut one).collect()
    }
}

/// The share of runs in which an interval holds the truth.
fn covered(size: usize, count: usize, truth: f64, mut interval: impl FnMut(Vec<(usize, f64)>) -> Interval) -> f64 {
    let mut drawing = Drawing { random: fastrand::Rng::with_seed(17), size };
    let held = (0..RUNS).filter(|_| interval(drawing.ranks(count)).contains(truth)).count();
    super::sample::float(held) / super::sample::float(RUNS)
}

/// The mean of a score over all ranks.
fn mean(score: fn(f64) -> f64) -> f64 {
    (0..200_000_u32).map(|at| score((f64::from(at) + 0.5) / 200_000.0)).sum::<f64>() / 200_000.0
}

fn check(what: &str, size: usize, count: usize, share: f64) {
    assert!(share >= 0.93, "{what}, {count} items in clusters of {size}: {share} were covered");
}

#[test]
fn proportions_are_covered() {
    for (size, count) in [(1, 30), (1, 100), (2, 30), (2, 100), (5, 100)] {
        for truth in [0.5, 0.8, 0.9] {
            let share = covered(size, count, truth, |ranks| {
                let flags = ranks.into_iter().map(|(id, rank)| (id, f64::from(u8::from(rank < truth))));
                wilson::clustered(&Sample::new(flags).expect("a sample"), Level::NINETY_FIVE)
            });
            check(&format!("a proportion of {truth}"), size, count, share);
        }
    }
}

#[test]
fn means_are_covered() {
    cover_mean("even scores", Range::Share, |rank| rank);
    cover_mean("high scores", Range::Share, |rank| rank.powf(0.125));
    cover_mean("ANLS", Range::Share, |rank| if rank < 0.2 { 0.0 } else { 0.75 + rank / 4.0 });
    cover_mean("nearly all right", Range::Share, |rank| if rank < 0.1 { 8.0 * rank } else { 1.0 });
}

#[test]
fn error_rates_are_covered() {
    let cer = |rank: f64| if rank < 0.4 { 0.0 } else { -0.1 * ((1.0 - rank) / 0.6).ln() };
    cover_mean("error rates, many without an error", Range::Rate, cer);
}

fn cover_mean(what: &str, range: Range, score: fn(f64) -> f64) {
    let truth = mean(score);
    for (size, count) in [(1, 30), (1, 100), (2, 60)] {
        let share = covered(size, count, truth, |ranks| {
            let sample = Sample::new(ranks.into_iter().map(|(id, rank)| (id, score(rank)))).expect("a sample");
            bootstrap::interval(&sample, range, Level::NINETY_FIVE, FEWER)
        });
        check(what, size, count, share);
    }
}

#[test]
fn differences_of_two_models_are_covered() {
    for (size, count) in [(1, 30), (1, 100), (2, 60)] {
        // One is right below 0.7, the other below 0.85 or, where the first is right, not in one case of ten.
        let pair = |(cluster, rank): (usize, f64)| {
            let baseline = f64::from(u8::from(rank < 0.7));
            let other = f64::from(u8::from((0.07..0.85).contains(&rank)));
            Pair { cluster, baseline, other }
        };
        let share = covered(size, count, 0.08, |ranks| {
            let found = paired::compare(ranks.into_iter().map(pair), Level::NINETY_FIVE, FEWER);
            found.expect("a difference").interval
        });
        check("a difference of flags", size, count, share);
    }
}

#[test]
fn differences_of_nearly_equal_models_are_covered() {
    let pair = |(cluster, rank): (usize, f64)| {
        let other = f64::from(u8::from(!(0.8..=0.97).contains(&rank)));
        Pair { cluster, baseline: f64::from(u8::from(rank < 0.82)), other }
    };
    let share = covered(1, 30, 0.01, |ranks| {
        let found = paired::compare(ranks.into_iter().map(pair), Level::NINETY_FIVE, FEWER);
        found.expect("a difference").interval
    });
    check("a difference of one in a hundred", 1, 30, share);
}
