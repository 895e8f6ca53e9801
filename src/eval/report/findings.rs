//! What follows from the figures for somebody who has to choose, in a sentence each.

use super::figures;
use super::leaderboard::corrected;
use super::ledger::per_thousand;
use super::shown::{line, listed};
use crate::eval::summary::{ModelSummary, Summary};
use crate::statistics::groups::SIGNIFICANCE;
use crate::statistics::power::Detectable;

/// Something that follows from the figures.
#[derive(Debug)]
pub struct Finding {
    pub title: &'static str,
    pub headline: String,
    pub text: String,
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
        (_, []) => "Told apart from all others on this set.".to_owned(),
        (_, names) => format!("Not distinguishable from {}, which does not say that they are alike.", listed(names)),
    };
    let text = format!("{} ({}). {apart}", figures::percent(score.mean), figures::interval(score.interval));
    let mut findings = vec![Finding { title: "Highest score", headline: line(&model.name), text }];
    let (among, cheapest, fastest) = if peers.is_empty() {
        (ranking.order.clone(), "Cheapest of all", "Fastest of all")
    } else {
        let among = [&[best], peers.as_slice()].concat();
        (among, "Cheapest of these", "Fastest of these")
    };
    let least = |of: &dyn Fn(&ModelSummary) -> Option<f64>| {
        let known = among.iter().filter_map(|place| summary.models.get(*place)).filter_map(|it| Some((it, of(it)?)));
        let known: Vec<(&ModelSummary, f64)> = known.collect();
        let unknown = match among.len() - known.len() {
            0 => String::new(),
            count => format!(" Of {} it is not known.", figures::counted(count, "model", "models")),
        };
        let (model, figure) = known.into_iter().min_by(|one, other| one.1.total_cmp(&other.1))?;
        Some((model, figure, unknown))
    };
    let scored = |model: &ModelSummary| model.score.map_or_else(String::new, |it| figures::percent(it.mean));
    findings.extend(least(&per_thousand).map(|(model, cost, unknown)| Finding {
        title: cheapest,
        headline: line(&model.name),
        text: format!(
            "{} for a thousand calls{}, with a score of {}.{unknown}",
            figures::dollars(cost),
            partly(model),
            scored(model)
        ),
    }));
    findings.extend(least(&|model| model.latency_ms.map(|it| it.p50)).map(|(model, time, unknown)| Finding {
        title: fastest,
        headline: line(&model.name),
        text: format!(
            "Half of its answers within {}; a score of {}.{unknown}",
            figures::milliseconds(time),
            scored(model)
        ),
    }));
    findings.extend(resolution(summary));
    findings
}

/// Of how many calls the cost is known, where it is not of all.
fn partly(model: &ModelSummary) -> String {
    let (known, billed) = (figures::count(model.cost.known), figures::count(model.cost.billed));
    if model.cost.is_whole() { String::new() } else { format!(", as far as known of {known} of {billed}") }
}

/// How small a difference to the highest score this set can show; nothing where no two models are compared.
#[must_use]
pub fn resolution(summary: &Summary) -> Option<Finding> {
    let asked = format!(
        "{} about {} that every model has a score for",
        figures::counted(summary.common, "question", "questions"),
        figures::counted(summary.common_clusters, "picture", "pictures"),
    );
    let (headline, text) = match summary.detectable()? {
        Detectable::From(least) => (
            format!("{} points", figures::points(least).replace('+', "")),
            format!(
                "A true difference of that size to the highest score would be found about four times in five, by how scores \
                 differ on the {asked}, at 5 % shared among {}. Smaller ones may be there and stay unseen.",
                figures::counted(summary.comparisons(), "comparison", "comparisons"),
            ),
        ),
        Detectable::Nothing => (
            "No difference".to_owned(),
            format!("With the {asked}, not even a difference of 100 points would be found four times in five."),
        ),
        Detectable::Unknown => {
            ("Nothing".to_owned(), format!("The {asked}: of one picture, nothing follows for another."))
        }
    };
    Some(Finding { title: "What this set can show", headline, text })
}
