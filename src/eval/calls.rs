//! What the calls of a model came to: how many, what kept them from being good, money, and how steady answers are.
//!
//! Whatever was answered from memory is counted and left out of everything that only a call can show.

use std::collections::BTreeMap;

use super::measured::{Asked, Lack, Measured, agreement};
use super::record::{Fault, Outcome};
use super::summary::{float, mean, ratio};

/// What calls came to, each counted once. Questions that could not be put to anybody are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls {
    pub made: usize,
    pub answered: usize,
    /// Of the answered ones, those from memory.
    pub cached: usize,
    /// Answers that a judge should have judged and did not.
    pub unjudged: usize,
    /// Calls that were not made, because question or pictures of the set could not be used.
    pub unaskable: usize,
    pub faults: BTreeMap<Fault, usize>,
    /// Failures by their code.
    pub codes: BTreeMap<String, usize>,
    /// Of answers that were not remembered, as far as they say so.
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Answers whose tokens are in these sums.
    pub counted: usize,
}

impl Calls {
    pub(super) fn of(calls: &[&Measured]) -> Self {
        let mut counted = Self::default();
        for call in calls {
            counted.add(call);
        }
        counted
    }

    fn add(&mut self, call: &Measured) {
        let record = &call.record;
        if call.lack == Some(Lack::Asking) {
            self.unaskable += 1;
            return;
        }
        self.made += 1;
        self.answered += usize::from(record.said().is_some());
        self.cached += usize::from(record.cached);
        self.unjudged += usize::from(call.lack == Some(Lack::Verdict));
        if !record.cached {
            self.input_tokens += record.input_tokens;
            self.output_tokens += record.output_tokens;
            self.counted += usize::from(record.said().is_some() && record.input_tokens + record.output_tokens > 0);
        }
        if let Some(fault) = call.fault() {
            *self.faults.entry(fault).or_default() += 1;
        }
        if let Outcome::Failed { code, .. } = &record.outcome {
            *self.codes.entry(code.clone()).or_default() += 1;
        }
    }

    /// Answers that were not remembered.
    #[must_use]
    pub fn fresh(&self) -> usize {
        self.answered.saturating_sub(self.cached)
    }

    /// The share of calls with this fault.
    #[must_use]
    pub fn rate(&self, fault: Fault) -> f64 {
        ratio(self.faults.get(&fault).copied().unwrap_or(0), self.made)
    }
}

/// Money, in dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Of the calls whose cost is known: the least that was paid, where it is not known of all.
    pub total: f64,
    /// Calls that may have cost something: made anew, and answered or failed in a way that vendors bill.
    pub billed: usize,
    /// Of these, those whose cost is known.
    pub known: usize,
    /// The mean of those; nothing where it is known of less than nine in ten, because a part says little of the rest. Not to
    /// be shown without how many are known, unless that is all of them.
    pub per_call: Option<f64>,
    /// For each full point of the score, of the calls that have one: where that is 0 or 1, for each right answer. Nothing
    /// unless the cost of all is known.
    pub per_correct: Option<f64>,
}

impl Cost {
    pub(super) fn of(calls: &[&Measured]) -> Self {
        let billed: Vec<&&Measured> = calls.iter().filter(|call| call.record.may_be_billed()).collect();
        let known = billed.iter().filter(|call| call.record.cost_usd.is_some()).count();
        let (is_whole, is_enough) = (known == billed.len(), known > 0 && known * 10 >= billed.len() * 9);
        let scored: Vec<&&Measured> = billed.iter().filter(|call| call.score.is_some()).copied().collect();
        let score = total(scored.iter().map(|call| call.score));
        let paid = total(scored.iter().map(|call| call.record.cost_usd));
        Self {
            total: total(calls.iter().map(|call| call.record.cost_usd)),
            billed: billed.len(),
            known,
            per_call: is_enough.then(|| total(billed.iter().map(|call| call.record.cost_usd)) / float(known)),
            per_correct: (is_whole && score > 0.0).then(|| paid / score),
        }
    }

    /// Whether the cost of every call that may have cost something is known.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.known == self.billed
    }
}

/// From nought on: the sum of nothing is otherwise a negative nought, and is shown as one.
fn total(amounts: impl Iterator<Item = Option<f64>>) -> f64 {
    amounts.flatten().fold(0.0, |sum, amount| sum + amount)
}

/// How much answers to the same question agree with each other over the repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stability {
    /// The mean agreement of two answers to one question, from 0 to 1.
    pub agreement: f64,
    /// The share of questions with the same answer each time that there was one.
    pub same: f64,
    /// Questions with two answers at least, which is what these are about.
    pub questions: usize,
    /// Questions that were asked repeatedly and have fewer: failures agree with nothing, and what is remembered is the
    /// same by itself.
    pub left_out: usize,
}

impl Stability {
    pub(super) fn of(asked: &[Asked<'_>], model: usize) -> Option<Self> {
        let (mut agreements, mut same, mut questions, mut left_out) = (0.0, 0, 0, 0);
        for asked in asked {
            let calls = asked.calls.get(model).into_iter().flatten().filter(|call| call.lack != Some(Lack::Asking));
            let calls: Vec<&Measured> = calls.collect();
            let fresh = calls.iter().filter(|call| !call.record.cached);
            let said: Vec<&str> = fresh.filter_map(|call| call.record.said()).collect();
            let pairs =
                said.iter().enumerate().flat_map(|(at, one)| said.iter().skip(at + 1).map(move |other| (one, other)));
            let all: Vec<f64> = pairs.map(|(one, other)| agreement(one, other)).collect();
            let Some(agreement) = mean(all.iter().copied()) else {
                left_out += usize::from(calls.len() > 1);
                continue;
            };
            agreements += agreement;
            same += usize::from(all.iter().all(|agreement| *agreement >= 1.0));
            questions += 1;
        }
        let agreement = agreements / float(questions);
        (questions > 0).then(|| Self { agreement, same: ratio(same, questions), questions, left_out })
    }
}
