//! What an evaluation came to, in a terminal and as JSON.

use std::path::Path;

use serde_json::{Map, Value, json};
use vision_providers::price::MicroUsd;

use crate::bulk::{Reason, Stopped, Tally};
use crate::clean;
use crate::eval::calls::Cost;
use crate::eval::record::Fault;
use crate::eval::report;
use crate::eval::summary::{Figure, ModelSummary, Summary};
use crate::statistics::paired::Difference;
use crate::statistics::power::Detectable;
use crate::surface::cli::tell;

/// Questions that are named where they could not be asked.
const MOST_NAMED: usize = 20;

/// What became of the calls of a run.
pub(super) struct Made<'a> {
    pub(super) models: &'a Tally,
    /// Calls that an earlier part of the run has answers of.
    pub(super) before: usize,
    pub(super) judge: Option<&'a Tally>,
}

impl Made<'_> {
    /// Why not everything was asked: the judge is stopped by itself, too.
    pub(super) fn stopped(&self) -> Option<&Stopped> {
        self.tallies().find_map(|(_, tally)| tally.stopped.as_ref())
    }

    fn spent(&self) -> MicroUsd {
        self.judge.unwrap_or(self.models).spent
    }

    /// Who was asked, and what became of it.
    fn tallies(&self) -> impl Iterator<Item = (&'static str, &Tally)> {
        [("models", self.models)].into_iter().chain(self.judge.map(|judge| ("judge", judge)))
    }

    fn reasons(&self) -> impl Iterator<Item = (&'static str, &Reason)> {
        self.tallies().flat_map(|(who, tally)| tally.reasons.iter().map(move |reason| (who, reason)))
    }
}

/// A name or a message of strangers, in one line of a terminal.
pub(super) fn harmless(text: &str) -> String {
    clean::text(text).replace(['\n', '\t'], " ")
}

/// The leaderboard, for a terminal.
pub(super) fn table(summary: &Summary) -> String {
    let places: Vec<usize> = match &summary.ranking {
        Some(ranking) => ranking.order.clone(),
        None => (0..summary.models.len()).collect(),
    };
    let figure = |figure: Option<Figure>| match figure {
        Some(Figure { mean, interval, .. }) => format!("{mean:.3} [{:.3}, {:.3}]", interval.low, interval.high),
        None => "-".to_owned(),
    };
    let mut rows = vec![["model", "score [95 %]", "n", "group", "faults", "p50 ms", "$/1000"].map(str::to_owned)];
    for place in places {
        let Some(model) = summary.models.get(place) else { continue };
        let faults: usize = model.calls.faults.values().sum();
        rows.push([
            harmless(&model.name),
            figure(model.score),
            model.score.map_or(0, |score| score.items).to_string(),
            report::letters(summary.ranking.as_ref(), place),
            format!("{faults}/{}", model.calls.made),
            model.latency_ms.map_or("-".to_owned(), |latency| format!("{:.0}", latency.p50)),
            thousand(&model.cost),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    if summary.models.len() > 1 {
        lines.push("n: questions with a score; faults: of calls; models that share a letter of their group cannot be told apart".to_owned());
    }
    lines.extend(report::resolution(summary).map(|it| format!("what this set can show: {}. {}", it.headline, it.text)));
    lines.join("\n")
}

/// The cost of a thousand calls, or of how many it is known.
fn thousand(cost: &Cost) -> String {
    let part = format!("{} of {} known", cost.known, cost.billed);
    match cost.per_call {
        Some(each) if cost.is_whole() => format!("{:.3}", each * 1000.0),
        Some(each) => format!("{:.3} ({part})", each * 1000.0),
        None if cost.is_whole() => "-".to_owned(),
        None => part,
    }
}

/// What somebody must know who reads the figures.
pub(super) fn warnings(summary: &Summary) -> Vec<String> {
    let all = &summary.unaskable;
    let named = all.iter().take(MOST_NAMED).map(|it| format!("{} ({}: {})", it.item, it.code, it.message));
    let more = if all.len() > MOST_NAMED { "; and others" } else { "" };
    let unaskable = (!all.is_empty()).then(|| {
        let named = harmless(&named.collect::<Vec<_>>().join("; "));
        let questions = if all.len() == 1 { "question" } else { "questions" };
        format!(
            "{} {questions} could not be put to every model, and count for none that was not asked: {named}{more}",
            all.len()
        )
    });
    let unjudged = summary.unjudged();
    let unjudged = (unjudged > 0).then(|| {
        let answers = if unjudged == 1 { "answer has" } else { "answers have" };
        format!(
            "{unjudged} {answers} no verdict and no score: where more than one in ten of a model's are missing, it has none at all"
        )
    });
    let partly = summary.models.iter().filter(|model| !model.cost.is_whole()).map(|model| {
        let name = harmless(&model.name);
        format!("{name}: the cost of {} of {} calls is known", model.cost.known, model.cost.billed)
    });
    summary.warnings.iter().cloned().chain(unaskable).chain(unjudged).chain(partly).collect()
}

/// What went wrong with the calls, for people, however little they want to hear.
pub(super) fn troubles(made: &Made<'_>) {
    for (who, reason) in made.reasons() {
        let what = match (who, reason.many) {
            ("judge", 1) => "verdict",
            ("judge", _) => "verdicts",
            (_, 1) => "call",
            _ => "calls",
        };
        tell(&format!("{} {what} {}", reason.many, reason.told()));
    }
    if let Some(why) = made.stopped() {
        tell(&harmless(&format!("stopped: {}", why.told())));
    }
}

/// What was done, for people.
pub(super) fn account(made: &Made<'_>, out: &Path) {
    let Made { models: tally, before, judge } = *made;
    let mut parts = vec![format!("{} calls answered", tally.answered)];
    let counts = [(tally.failed, "failed"), (before, "answered before"), (tally.left, "not made")];
    parts.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let judge_counts = judge.map_or([(0, ""), (0, "")], |judge| {
        [(judge.failed, "verdicts failed"), (judge.left, "verdicts not asked for")]
    });
    parts.extend(judge_counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let spent = made.spent().dollars();
    tell(&format!("{}; ${spent:.4} in all; see {}", parts.join(", "), out.display()));
    if made.tallies().any(|(_, tally)| tally.failed > 0 || tally.left > 0) {
        tell("hint: the same command with --resume asks what has no answer yet");
    }
}

/// The summary as one document.
pub(super) fn whole(summary: &Summary, made: &Made<'_>, unmet: &[String]) -> Value {
    let tally = made.models;
    let models: Vec<Value> = summary.models.iter().map(|model| one(summary, model)).collect();
    let name = |place: &usize| summary.models.get(*place).map(|model| model.name.as_str());
    let mut value = json!({"items": summary.items, "scored": summary.scored, "images": summary.clusters,
        "models": models, "calls_answered": tally.answered, "calls_failed": tally.failed,
        "calls_answered_before": made.before, "calls_not_made": tally.left, "cost_usd": made.spent().dollars(),
        "failed": unmet, "warnings": warnings(summary), "common": summary.common,
        "common_images": summary.common_clusters, "questions_not_askable": summary.unaskable.len(),
        "answers_not_judged": summary.unjudged()});
    if let Some(ranking) = &summary.ranking {
        value["order"] = ranking.order.iter().map(name).collect();
        value["not_distinguishable"] =
            ranking.groups.iter().map(|group| group.iter().map(name).collect::<Value>()).collect();
    }
    if let Some(why) = made.stopped() {
        value["stopped"] = json!(why.name());
    }
    let reason = |(who, reason): (&str, &Reason)| {
        [("asked".to_owned(), json!(who))].into_iter().chain(reason.members()).collect()
    };
    let reasons: Vec<Value> = made.reasons().map(reason).collect();
    if !reasons.is_empty() {
        value["reasons"] = Value::Array(reasons);
    }
    value
}

/// One model of it.
fn one(summary: &Summary, model: &ModelSummary) -> Value {
    let figure = |figure: &Figure| json!({"mean": figure.mean, "low": figure.interval.low, "high": figure.interval.high, "items": figure.items});
    let metrics: Map<String, Value> =
        model.figures.iter().map(|(measure, it)| (measure.name().to_owned(), figure(it))).collect();
    let rates = [Fault::Error, Fault::Refusal, Fault::Truncation, Fault::Invalid].map(|fault| model.calls.rate(fault));
    let mut value = json!({"model": model.name, "answered_by": model.answered_by, "metrics": metrics,
        "calls": model.calls.made, "answered": model.calls.answered, "cached": model.calls.cached,
        "error_rate": rates[0], "refusal_rate": rates[1], "truncation_rate": rates[2], "invalid_rate": rates[3],
        "not_askable": model.calls.unaskable, "not_judged": model.calls.unjudged,
        "errors": model.calls.codes, "input_tokens": model.calls.input_tokens,
        "output_tokens": model.calls.output_tokens, "cost_usd": model.cost.total,
        "cost_calls": model.cost.billed, "cost_known_calls": model.cost.known});
    let optional = [
        ("score", model.score.as_ref().map(figure)),
        ("cost_per_call_usd", model.cost.per_call.map(|cost| json!(cost))),
        ("cost_per_correct_usd", model.cost.per_correct.map(|cost| json!(cost))),
        ("latency_ms", model.latency_ms.map(|it| json!({"p50": it.p50, "p90": it.p90, "p99": it.p99}))),
        (
            "stability",
            model.stability.map(|it| {
                json!({"agreement": it.agreement, "same": it.same,
            "items": it.questions, "items_left_out": it.left_out})
            }),
        ),
        ("versus_baseline", model.versus.as_ref().map(|it| versus(it, summary.comparisons()))),
    ];
    for (name, part) in optional {
        if let Some(part) = part {
            value[name] = part;
        }
    }
    value
}

/// A model against the baseline, as one of so many comparisons.
fn versus(it: &Difference, comparisons: usize) -> Value {
    let detectable = it.detectable_among(comparisons);
    let mut value = json!({"difference": it.mean, "low": it.interval.low, "high": it.interval.high,
        "p": it.probability, "better_on": it.greater, "worse_on": it.lesser, "items": it.items,
        "comparisons": comparisons, "detectable": detectable.difference()});
    match detectable {
        Detectable::From(_) => {}
        Detectable::Nothing => value["detectable_why"] = json!("not even a difference of 1 would be found"),
        Detectable::Unknown => value["detectable_why"] = json!("all questions are about one picture"),
    }
    value
}
