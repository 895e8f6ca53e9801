//! What follows from the figures for somebody who has to choose, in a sentence each.

use super::figures;
use super::leaderboard::{corrected, per_thousand};
use super::shown::{line, listed};
use crate::eval::summary::{ModelSummary, Summary};
use crate::statistics::groups::{Groups, SIGNIFICANCE};

/// Something that follows from the figures.
pub(super) struct Finding {
    pub(super) title: &'static str,
    pub(super) headline: String,
    pub(super) text: String,
}

/// What somebody who has to choose wants to know.
pub(super) fn of(summary: &Summary) -> Vec<Finding> {
    let Some(ranking) = &summary.ranking else { return Vec::new() };
    let Some((&best, rest)) = ranking.order.split_first() else { return Vec::new() };
    let Some((model, score)) = summary.models.get(best).and_then(|model| Some((model, model.score?))) else {
        return Vec::new();
    };
    let is_peer = |other: &&usize| corrected(summary, best, **other).is_some_and(|chance| chance >= SIGNIFICANCE);
    let peers: Vec<usize> = rest.iter().filter(is_peer).copied().collect();
    let names: Vec<String> = peers.iter().filter_map(|peer| Some(line(&summary.models.get(*peer)?.name))).collect();
    let apart = match (rest.len(), names.as_slice()) {
        (0, _) => "There is nothing to compare it with.".to_owned(),
        (_, []) => "Ahead of all others by more than chance explains.".to_owned(),
        (_, names) => format!("Not distinguishable from {}.", listed(names)),
    };
    let text = format!("{} ({}). {apart}", figures::percent(score.mean), figures::interval(score.interval));
    let mut findings = vec![Finding { title: "Best score", headline: line(&model.name), text }];
    let (among, cheapest, fastest) = if peers.is_empty() {
        (ranking.order.clone(), "Cheapest of all", "Fastest of all")
    } else {
        ([&[best], peers.as_slice()].concat(), "Cheapest among the best", "Fastest among the best")
    };
    let least = |of: &dyn Fn(&ModelSummary) -> Option<f64>| {
        let known = among.iter().filter_map(|place| summary.models.get(*place)).filter_map(|it| Some((it, of(it)?)));
        known.min_by(|one, other| one.1.total_cmp(&other.1))
    };
    let scored = |model: &ModelSummary| model.score.map_or_else(String::new, |it| figures::percent(it.mean));
    findings.extend(least(&per_thousand).map(|(model, cost)| Finding {
        title: cheapest,
        headline: line(&model.name),
        text: format!("{} for a thousand calls, with a score of {}.", figures::dollars(cost), scored(model)),
    }));
    findings.extend(least(&|model| model.latency_ms.map(|it| it.p50)).map(|(model, time)| Finding {
        title: fastest,
        headline: line(&model.name),
        text: format!("Half of its answers within {}; a score of {}.", figures::milliseconds(time), scored(model)),
    }));
    findings.extend(resolution(summary, ranking, best));
    findings
}

/// How small a difference to the best model this set can show.
fn resolution(summary: &Summary, ranking: &Groups, best: usize) -> Option<Finding> {
    let pairs = ranking.pairs.iter().filter(|pair| pair.models.0 == best || pair.models.1 == best);
    let detectable = pairs.map(|pair| pair.difference.detectable).filter(|points| points.is_finite());
    let coarsest =
        detectable.fold(None, |most: Option<f64>, points| Some(most.map_or(points, |most| most.max(points))))?;
    let text = format!(
        "True differences of that size to the best would be found four times in five, with {} about {}. \
         Smaller ones may be there and stay unseen.",
        figures::counted(summary.common, "question", "questions"),
        figures::counted(summary.clusters, "picture", "pictures"),
    );
    let headline = format!("{} points", figures::points(coarsest).replace('+', ""));
    Some(Finding { title: "What this set can show", headline, text })
}
