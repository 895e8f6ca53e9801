//! Putting candidates in order: by what they cost, how quick they have been, by shares or by turns.

use std::cmp::Reverse;
use std::time::Duration;

use vision_providers::estimate::Estimate;
use vision_providers::price::MicroUsd;

use super::plan::Wanted;
use super::roster::Candidate;
use super::rules::Strategy;

/// Puts candidates in order. `weights` are those of the candidates, and `turn` counts the requests before this one.
pub(super) fn rank(
    strategy: Strategy,
    weighted: Vec<(Candidate, u32)>,
    wanted: &Wanted<'_>,
    turn: usize,
) -> Vec<Candidate> {
    let plain = |weighted: Vec<(Candidate, u32)>| weighted.into_iter().map(|(candidate, _)| candidate).collect();
    match strategy {
        Strategy::First | Strategy::Hedged => plain(weighted),
        Strategy::Cheapest => cheapest(plain(weighted), wanted),
        Strategy::Fastest => fastest(plain(weighted)),
        Strategy::Weighted => by_share(weighted, wanted.mark),
        Strategy::RoundRobin => by_turns(plain(weighted), turn),
    }
}

fn cheapest(candidates: Vec<Candidate>, wanted: &Wanted<'_>) -> Vec<Candidate> {
    let mut priced: Vec<(MicroUsd, Candidate)> = candidates.into_iter().map(|it| priced(it, wanted)).collect();
    priced.sort_by_key(|(cost, _)| *cost);
    priced.into_iter().map(|(_, candidate)| candidate).collect()
}

fn priced(candidate: Candidate, wanted: &Wanted<'_>) -> (MicroUsd, Candidate) {
    let estimate = Estimate::from_outline(&wanted.outline.fitted(&candidate.card), &candidate.card);
    match estimate.and_then(|estimate| estimate.likely) {
        Some(cost) => (cost, told(candidate, format!("likely ${}", cost.dollars()))),
        None => (MicroUsd(u64::MAX), told(candidate, "its cost cannot be told".into())),
    }
}

/// Whoever was not asked lately comes first, once, so that there is something to compare.
fn fastest(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let timed = |candidate: Candidate| match candidate.health.mean_latency(&candidate.model) {
        _ if candidate.health.failed_lately(&candidate.model) => {
            (Duration::MAX, told(candidate, "failed lately".into()))
        }
        Some(mean) => (mean, told(candidate, format!("{} ms lately", mean.as_millis()))),
        None if candidate.health.is_being_asked(&candidate.model) => {
            (Duration::MAX, told(candidate, "being timed by another request".into()))
        }
        None => (Duration::ZERO, told(candidate, "not timed lately".into())),
    };
    let mut timed: Vec<_> = candidates.into_iter().map(timed).collect();
    timed.sort_by_key(|(mean, _)| *mean);
    timed.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The same image always falls to the same model, for as long as the shares stay the same.
fn by_share(weighted: Vec<(Candidate, u32)>, mark: u64) -> Vec<Candidate> {
    let all: u64 = weighted.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let point = if all == 0 { 0 } else { mark % all };
    let mut passed = 0;
    let chosen = weighted.iter().position(|(_, weight)| {
        passed += u64::from(*weight);
        point < passed
    });
    let mut ranked: Vec<_> = weighted.into_iter().enumerate().collect();
    ranked.sort_by_key(|(index, (_, weight))| (Some(*index) != chosen, Reverse(*weight)));
    let share = |(index, (candidate, weight)): (usize, (Candidate, u32))| {
        let falls = if Some(index) == chosen { "; this image falls to it" } else { "" };
        told(candidate, format!("{weight} of {all} images{falls}"))
    };
    ranked.into_iter().map(share).collect()
}

fn by_turns(mut candidates: Vec<Candidate>, turn: usize) -> Vec<Candidate> {
    let first = turn.checked_rem(candidates.len()).unwrap_or(0);
    candidates.rotate_left(first);
    let told =
        |(index, candidate)| told(candidate, if index == 0 { "its turn" } else { "its turn comes later" }.into());
    candidates.into_iter().enumerate().map(told).collect()
}

fn told(candidate: Candidate, why: String) -> Candidate {
    Candidate { why: Some(why), ..candidate }
}
