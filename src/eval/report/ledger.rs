//! What the calls of each model came to and took, as cells of tables; what is known in part says so.

use super::figures;
use super::leaderboard::{Cell, cell};
use crate::eval::calls::Stability;
use crate::eval::record::Fault;
use crate::eval::summary::ModelSummary;

/// What became of the calls of a model.
pub(super) struct Calls {
    pub(super) made: Cell,
    pub(super) answered: Cell,
    /// Those that brought no good answer, together and by kind.
    pub(super) faulty: Cell,
    pub(super) kinds: [Cell; 4],
    pub(super) stability: Cell,
    pub(super) same: Cell,
    pub(super) cached: Cell,
    pub(super) unjudged: Cell,
}

/// What the calls of a model took.
pub(super) struct Money {
    pub(super) p50: Cell,
    pub(super) p90: Cell,
    pub(super) p99: Cell,
    pub(super) input: Cell,
    pub(super) output: Cell,
    pub(super) total: Cell,
    pub(super) per_call: Cell,
    pub(super) per_thousand: Cell,
    pub(super) per_correct: Cell,
}

impl Calls {
    pub(super) fn of(model: &ModelSummary) -> Self {
        let calls = &model.calls;
        let number =
            |number: usize| Cell { text: figures::count(number), interval: String::new(), key: number.to_string() };
        let rate = |fault: Fault| cell((calls.made > 0).then(|| calls.rate(fault)), figures::percent);
        let kinds = [Fault::Error, Fault::Refusal, Fault::Truncation, Fault::Invalid];
        let faulty = (calls.made > 0).then(|| kinds.iter().map(|fault| calls.rate(*fault)).sum());
        let cached = (calls.made > 0).then(|| ratio(calls.cached, calls.made));
        Self {
            made: number(calls.made),
            answered: number(calls.answered),
            faulty: cell(faulty, figures::percent),
            kinds: kinds.map(rate),
            stability: Cell {
                interval: model.stability.filter(|it| it.left_out > 0).map(compared).unwrap_or_default(),
                ..cell(model.stability.map(|stability| stability.agreement), figures::percent)
            },
            same: cell(model.stability.map(|stability| stability.same), figures::percent),
            cached: cell(cached, figures::percent),
            unjudged: number(calls.unjudged),
        }
    }
}

fn compared(stability: Stability) -> String {
    let all = stability.questions + stability.left_out;
    format!("{} of {} questions", figures::count(stability.questions), figures::count(all))
}

impl Money {
    pub(super) fn of(model: &ModelSummary) -> Self {
        let (latency, cost) = (model.latency_ms, model.cost);
        let part = known(cost.known, cost.billed);
        let each = |figure| Cell { interval: part.clone(), ..cell(figure, figures::dollars) };
        let mut total = each((cost.known > 0 || cost.billed == 0).then_some(cost.total));
        if cost.known > 0 && !cost.is_whole() {
            total.text.insert_str(0, "≥\u{a0}");
        }
        Self {
            p50: cell(latency.map(|latency| latency.p50), figures::milliseconds),
            p90: cell(latency.map(|latency| latency.p90), figures::milliseconds),
            p99: cell(latency.map(|latency| latency.p99), figures::milliseconds),
            input: tokens(model, model.calls.input_tokens),
            output: tokens(model, model.calls.output_tokens),
            total,
            per_call: each(cost.per_call),
            per_thousand: each(per_thousand(model)),
            per_correct: each(cost.per_correct),
        }
    }
}

/// A sum of tokens, with how many an answer has that says how many.
fn tokens(model: &ModelSummary, tokens: u64) -> Cell {
    let calls = &model.calls;
    let Some(each) = tokens.checked_div(calls.counted as u64) else { return cell(None, figures::percent) };
    let part = known(calls.counted, calls.fresh());
    let part = if part.is_empty() { part } else { format!(", {part}") };
    let interval = format!("{} each{part}", figures::sum(each));
    Cell { text: figures::sum(tokens), interval, key: tokens.to_string() }
}

/// Of how many something is known, where it is not of all.
fn known(known: usize, all: usize) -> String {
    if known == all { String::new() } else { format!("{}/{} known", figures::count(known), figures::count(all)) }
}

/// Dollars for a thousand calls.
pub(super) fn per_thousand(model: &ModelSummary) -> Option<f64> {
    model.cost.per_call.map(|cost| cost * 1000.0)
}

pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    let float = |count: usize| u32::try_from(count).map_or(f64::INFINITY, f64::from);
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}
