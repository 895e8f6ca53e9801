//! What an evaluation came to, in a terminal and as JSON.

use std::path::Path;

use serde_json::{Map, Value, json};
use vision_providers::price::MicroUsd;

use crate::bulk::Tally;
use crate::eval::record::Fault;
use crate::eval::summary::{Figure, ModelSummary, Summary};
use crate::surface::cli::tell;

/// The leaderboard, for a terminal.
pub(super) fn table(summary: &Summary) -> String {
    let places: Vec<usize> = match &summary.ranking {
        Some(ranking) => ranking.order.clone(),
        None => (0..summary.models.len()).collect(),
    };
    let group = |place: usize| -> String {
        let letters = ('a'..='z').chain('A'..='Z');
        let groups = summary.ranking.iter().flat_map(|ranking| &ranking.groups);
        groups.zip(letters).filter(|(group, _)| group.contains(&place)).map(|(_, letter)| letter).collect()
    };
    let figure = |figure: Option<Figure>| match figure {
        Some(Figure { mean, interval, .. }) => format!("{mean:.3} [{:.3}, {:.3}]", interval.low, interval.high),
        None => "-".to_owned(),
    };
    let mut rows = vec![["model", "score [95 %]", "group", "faults", "p50 ms", "$/1000"].map(str::to_owned)];
    for place in places {
        let Some(model) = summary.models.get(place) else { continue };
        let faults: usize = model.calls.faults.values().sum();
        rows.push([
            model.name.clone(),
            figure(model.score),
            group(place),
            format!("{faults}/{}", model.calls.made),
            model.latency_ms.map_or("-".to_owned(), |latency| format!("{:.0}", latency.p50)),
            model.cost.per_call.map_or("-".to_owned(), |cost| format!("{:.3}", cost * 1000.0)),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if summary.models.len() > 1 {
        lines.push("models that share a letter of their group cannot be told apart".to_owned());
    }
    lines.join("\n")
}

/// What was done, for people.
pub(super) fn account(tally: &Tally, before: usize, judged: Option<&Tally>, out: &Path) {
    if let Some(why) = &tally.stopped {
        tell(&format!("stopped: {}", why.told()));
    }
    let mut parts = vec![format!("{} calls answered", tally.answered)];
    let counts = [(tally.failed, "failed"), (before, "answered before"), (tally.left, "not made")];
    parts.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let spent = judged.unwrap_or(tally).spent.dollars();
    tell(&format!("{}; ${spent:.4} in all; see {}", parts.join(", "), out.display()));
    if tally.failed > 0 || tally.left > 0 {
        tell("hint: the same command with --resume asks what has no answer yet");
    }
}

/// The summary as one document.
pub(super) fn whole(summary: &Summary, tally: &Tally, before: usize, spent: MicroUsd, unmet: &[String]) -> Value {
    let models: Vec<Value> = summary.models.iter().map(one).collect();
    let name = |place: &usize| summary.models.get(*place).map(|model| model.name.as_str());
    let mut value = json!({"items": summary.items, "scored": summary.scored, "images": summary.clusters,
        "models": models, "calls_answered": tally.answered, "calls_failed": tally.failed,
        "calls_answered_before": before, "calls_not_made": tally.left, "cost_usd": spent.dollars(),
        "failed": unmet});
    if let Some(ranking) = &summary.ranking {
        value["order"] = ranking.order.iter().map(name).collect();
        value["not_distinguishable"] =
            ranking.groups.iter().map(|group| group.iter().map(name).collect::<Value>()).collect();
    }
    if let Some(why) = &tally.stopped {
        value["stopped"] = json!(why.name());
    }
    value
}

/// One model of it.
fn one(model: &ModelSummary) -> Value {
    let figure = |figure: &Figure| json!({"mean": figure.mean, "low": figure.interval.low, "high": figure.interval.high, "items": figure.items});
    let metrics: Map<String, Value> =
        model.figures.iter().map(|(measure, it)| (measure.name().to_owned(), figure(it))).collect();
    let rates = [Fault::Error, Fault::Refusal, Fault::Truncation, Fault::Invalid].map(|fault| model.calls.rate(fault));
    let mut value = json!({"model": model.name, "answered_by": model.answered_by, "metrics": metrics,
        "calls": model.calls.made, "answered": model.calls.answered, "cached": model.calls.cached,
        "error_rate": rates[0], "refusal_rate": rates[1], "truncation_rate": rates[2], "invalid_rate": rates[3],
        "errors": model.calls.codes, "input_tokens": model.calls.input_tokens,
        "output_tokens": model.calls.output_tokens, "cost_usd": model.cost.total});
    let optional = [
        ("score", model.score.as_ref().map(figure)),
        ("cost_per_call_usd", model.cost.per_call.map(|cost| json!(cost))),
        ("cost_per_correct_usd", model.cost.per_correct.map(|cost| json!(cost))),
        ("latency_ms", model.latency_ms.map(|it| json!({"p50": it.p50, "p90": it.p90, "p99": it.p99}))),
        ("stability", model.stability.map(|it| json!({"agreement": it.agreement, "same": it.same}))),
        (
            "versus_baseline",
            model.versus.map(|it| {
                json!({"difference": it.mean, "low": it.interval.low, "high": it.interval.high, "p": it.probability,
                "better_on": it.greater, "worse_on": it.lesser, "items": it.items, "detectable": it.detectable})
            }),
        ),
    ];
    for (name, part) in optional {
        if let Some(part) = part {
            value[name] = part;
        }
    }
    value
}
