//! The figures of every model as a table for spreadsheets: one row each, every interval in two columns.

use std::collections::BTreeSet;

use super::leaderboard::{letters, of_all_pairs, order};
use super::ledger::{per_thousand, ratio};
use crate::clean;
use crate::eval::measured::Measure;
use crate::eval::record::Fault;
use crate::eval::summary::{Figure, ModelSummary, Summary};
use crate::failure::{Code, Failure, Result};

/// A name of a column and what stands in it.
type Field = (String, String);

/// The table as text: the best model first, shares from 0 to 1, money in dollars, and nothing where nothing is known.
///
/// # Errors
/// `INTERNAL` when it cannot be written, which does not happen in memory.
pub fn csv(summary: &Summary) -> Result<String> {
    let measures: BTreeSet<Measure> = summary.models.iter().flat_map(|model| model.figures.keys().copied()).collect();
    let rows: Vec<Vec<Field>> = order(summary).into_iter().filter_map(|place| row(summary, place, &measures)).collect();
    let wrong = |error: csv::Error| Failure::new(Code::Internal, format!("writing the table of models: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (number, row) in rows.iter().enumerate() {
        if number == 0 {
            writer.write_record(row.iter().map(|(name, _)| name)).map_err(wrong)?;
        }
        writer.write_record(row.iter().map(|(_, value)| value)).map_err(wrong)?;
    }
    let bytes = writer.into_inner().map_err(|error| Failure::new(Code::Internal, error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| Failure::new(Code::Internal, error.to_string()))
}

fn row(summary: &Summary, place: usize, measures: &BTreeSet<Measure>) -> Option<Vec<Field>> {
    let model = summary.models.get(place)?;
    let rank = summary.ranking.as_ref().and_then(|ranking| ranking.order.iter().position(|it| *it == place));
    let answered_by: Vec<&str> = model.answered_by.iter().map(String::as_str).collect();
    let mut row = vec![
        field("rank", rank.map(|rank| (rank + 1).to_string()).unwrap_or_default()),
        field("not_distinguishable_groups", letters(summary.ranking.as_ref(), place)),
        field("model", inert(&model.name)),
        field("answered_by", inert(&answered_by.join("; "))),
        field("is_baseline", (place == summary.baseline).to_string()),
    ];
    row.extend(figure("score", model.score));
    row.extend(versus(summary, place, model));
    for measure in measures {
        row.extend(figure(measure.name(), model.figures.get(measure).copied()));
    }
    row.extend(calls(model));
    row.extend(money(model));
    Some(row)
}

fn field(name: impl Into<String>, value: String) -> Field {
    (name.into(), value)
}

fn number(name: impl Into<String>, value: Option<f64>) -> Field {
    field(name, value.filter(|value| value.is_finite()).map(|value| value.to_string()).unwrap_or_default())
}

fn count(name: &str, value: usize) -> Field {
    field(name, value.to_string())
}

fn figure(name: &str, figure: Option<Figure>) -> [Field; 4] {
    [
        number(name, figure.map(|figure| figure.mean)),
        number(format!("{name}_low"), figure.map(|figure| figure.interval.low)),
        number(format!("{name}_high"), figure.map(|figure| figure.interval.high)),
        field(format!("{name}_items"), figure.map(|figure| figure.items.to_string()).unwrap_or_default()),
    ]
}

fn versus(summary: &Summary, place: usize, model: &ModelSummary) -> [Field; 9] {
    let versus = model.versus.as_ref();
    let items = |of: fn(&crate::statistics::paired::Difference) -> usize| versus.map(of).map(|it| it.to_string());
    [
        number("difference_to_baseline", versus.map(|difference| difference.mean)),
        number("difference_low", versus.map(|difference| difference.interval.low)),
        number("difference_high", versus.map(|difference| difference.interval.high)),
        number("difference_p", versus.map(|difference| difference.probability)),
        number("difference_p_corrected", versus.map(|difference| of_all_pairs(summary, place, difference))),
        number(
            "smallest_detectable_difference",
            versus.and_then(|difference| difference.detectable_among(summary.comparisons()).difference()),
        ),
        field("compared_items", items(|difference| difference.items).unwrap_or_default()),
        field("better_items", items(|difference| difference.greater).unwrap_or_default()),
        field("worse_items", items(|difference| difference.lesser).unwrap_or_default()),
    ]
}

fn calls(model: &ModelSummary) -> Vec<Field> {
    let calls = &model.calls;
    let rate = |name: &str, fault| number(name, (calls.made > 0).then(|| calls.rate(fault)));
    let codes: Vec<String> = calls.codes.iter().map(|(code, count)| format!("{code} {count}")).collect();
    vec![
        count("calls", calls.made),
        count("answered", calls.answered),
        count("not_askable", calls.unaskable),
        count("not_judged", calls.unjudged),
        rate("error_rate", Fault::Error),
        rate("refusal_rate", Fault::Refusal),
        rate("truncation_rate", Fault::Truncation),
        rate("invalid_rate", Fault::Invalid),
        field("error_codes", inert(&codes.join("; "))),
        number("cached_share", (calls.made > 0).then(|| ratio(calls.cached, calls.made))),
        number("stability_agreement", model.stability.map(|stability| stability.agreement)),
        number("stability_same_share", model.stability.map(|stability| stability.same)),
        count("stability_items", model.stability.map_or(0, |stability| stability.questions)),
    ]
}

fn money(model: &ModelSummary) -> Vec<Field> {
    let (latency, cost) = (model.latency_ms, model.cost);
    vec![
        number("latency_ms_p50", latency.map(|latency| latency.p50)),
        number("latency_ms_p90", latency.map(|latency| latency.p90)),
        number("latency_ms_p99", latency.map(|latency| latency.p99)),
        field("input_tokens", model.calls.input_tokens.to_string()),
        field("output_tokens", model.calls.output_tokens.to_string()),
        number("cost_usd", (cost.known > 0 || cost.billed == 0).then_some(cost.total)),
        count("cost_calls", cost.billed),
        count("cost_known_calls", cost.known),
        number("cost_usd_per_call", cost.per_call),
        number("cost_usd_per_1000_calls", per_thousand(model)),
        number("cost_usd_per_correct", cost.per_correct),
    ]
}

/// A text that no spreadsheet takes for a formula.
fn inert(text: &str) -> String {
    let text = clean::text(text);
    let is_formula =
        text.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if is_formula || text.starts_with(['\t', '\n']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_a_formula() {
        for hostile in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "\r=1", "\u{200b}=1", "＝1"] {
            assert!(inert(hostile).starts_with('\''), "{hostile:?}");
        }
        assert_eq!(inert("gpt-5.1"), "gpt-5.1");
    }
}
