//! Many questions over a long time: so many at once, within a sum of money, each outcome written down as it comes, so
//! that whatever ends the run, nothing that was paid for is asked again.

pub mod journal;
mod lines;
mod patience;
mod purse;
mod twins;

use std::collections::HashMap;
use std::pin::pin;

use futures_util::stream::{StreamExt as _, iter};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use vision_providers::price::MicroUsd;

use self::journal::{Journal, Place};
pub use self::lines::{Again, Earlier, Files, Known, QUESTION, cost_members, cost_of, line_id, question_digest};
use self::lines::{costs, line, served, twin_digest, unasked};
use self::patience::{is_hopeless, patiently};
use self::purse::Purse;
use self::twins::{Digest, Found, Twins};
use crate::clean;
use crate::failure::{Code, Failure, Result};
use crate::gateway::{Ask, Asker, Gateway, Look};
use crate::reply::Reply;

/// For each question that is being asked, so many that wait for the answer of another.
const WAITING: usize = 8;
/// So many failures in a row that no question can help end a run: a wrong key fails ten thousand times otherwise.
const HOPELESS: usize = 10;

/// A question of many.
#[derive(Debug, Clone)]
pub struct Job {
    /// By which its line is found again.
    pub id: String,
    pub ask: Ask,
    /// What its line begins with: who asks for it knows it by that.
    pub head: Map<String, Value>,
    /// What an earlier part of the run says of it, where it was asked then.
    pub earlier: Option<Earlier>,
}

/// How a run is to go.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    pub at_once: usize,
    /// What it may cost in all.
    pub most: Option<MicroUsd>,
    /// What earlier parts of it have cost.
    pub spent: MicroUsd,
    /// Whether the same question about the same bytes is asked once.
    pub twins: bool,
}

/// Who carries out a run, and where its lines go.
#[derive(Debug)]
pub struct Run<'a> {
    pub gateway: &'a Gateway,
    pub asker: &'a Asker,
    pub terms: Terms,
    /// How a line tells what became of a question.
    pub tell: fn(&Result<Reply>) -> Map<String, Value>,
    /// Ends the run: nobody is asked any more, and those who were are waited for.
    pub stop: CancellationToken,
}

/// How far a run is.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub answered: usize,
    pub failed: usize,
    /// Why they did, the first reason first.
    pub reasons: Vec<Reason>,
    /// Of the answered ones, those that another's answer served.
    pub same: usize,
    /// Questions that nobody was asked.
    pub left: usize,
    /// Of those, the ones that failed in an earlier part of the run, as their lines still say.
    pub left_failed: usize,
    /// Answers whose cost nobody knows.
    pub unknown_costs: usize,
    pub spent: MicroUsd,
    /// Why nobody is asked any more.
    pub stopped: Option<Stopped>,
}

/// Failures of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: String,
    pub many: usize,
    /// What the first of them said.
    pub first: String,
}

/// Why a run ended before its time.
#[derive(Debug, Clone, PartialEq)]
pub enum Stopped {
    /// The next question might have cost more than was left.
    Cost,
    /// Nothing but failures that asking does not mend; this was the last.
    Hopeless(Failure),
    /// It was told to.
    Told,
}

impl Stopped {
    /// The word for it in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cost => "max_cost",
            Self::Hopeless(_) => "hopeless",
            Self::Told => "told",
        }
    }

    /// What to say of it.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Cost => "the next question might have cost more than --max-cost leaves".into(),
            Self::Hopeless(failure) => format!("one question after another fails alike, the last with {failure}"),
            Self::Told => "it was told to".into(),
        }
    }
}

/// What became of a question.
enum End {
    Asked {
        outcome: Box<Result<Reply>>,
        digest: Option<Digest>,
        waiting: Option<watch::Sender<Option<Place>>>,
    },
    /// Its answer is that of another, which is written there.
    Same {
        place: Place,
        digest: Digest,
    },
    /// Nobody was asked: because the run ends, or because its model was given up.
    Left(Option<Stopped>),
}

impl Run<'_> {
    /// Asks all of these, and writes down what becomes of each. `watch` is shown how far it is.
    ///
    /// # Errors
    /// `INTERNAL` when a line cannot be written; what cannot be answered is a line.
    pub async fn carry_out(
        &self,
        jobs: &[Job],
        known: Vec<Known>,
        journal: &mut Journal,
        mut watch: impl FnMut(&Tally),
    ) -> Result<Tally> {
        let going = Going {
            run: self,
            purse: Purse::new(self.terms.most, self.terms.spent),
            twins: self.terms.twins.then(|| Twins::of(known)),
            turns: Semaphore::new(self.terms.at_once.max(1)),
            hopes: jobs.iter().map(|job| (job.ask.model.clone(), self.stop.child_token())).collect(),
            stop: self.stop.child_token(),
        };
        let mut tally = Tally { spent: self.terms.spent, ..Tally::default() };
        let mut hopeless: HashMap<Option<&str>, usize> = HashMap::new();
        let asking = iter(jobs).map(async |job| (job, going.end(job).await));
        let mut ends = pin!(asking.buffer_unordered(WAITING * self.terms.at_once.max(1)));
        while let Some((job, end)) = ends.next().await {
            match end {
                End::Asked { outcome, digest, waiting } => {
                    let place = journal.add(&line(job, (self.tell)(&outcome), digest)).await?;
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(Some(place));
                    }
                    tally.count(outcome.as_ref().as_ref().err().map(|it| (it.code.name(), it.message.as_str())));
                    tally.unknown_costs +=
                        usize::from(outcome.as_ref().as_ref().is_ok_and(|reply| reply.cost.is_none()));
                    let model = job.ask.model.as_deref();
                    let in_a_row = hopeless.entry(model).or_default();
                    *in_a_row = if outcome.as_ref().as_ref().is_err_and(is_hopeless) { *in_a_row + 1 } else { 0 };
                    if let (HOPELESS, Err(failure)) = (*in_a_row, *outcome) {
                        tally.stopped.get_or_insert(Stopped::Hopeless(failure));
                        // Others go on.
                        going.hope(job).cancel();
                    }
                }
                End::Same { place, digest } => {
                    let served = served(journal.line(place).await?, &job.head);
                    let text = |error: &'_ Value, member: &str| error[member].as_str().unwrap_or_default().to_owned();
                    let error = served.get("error").map(|error| (text(error, "code"), text(error, "message")));
                    tally.count(error.as_ref().map(|(code, message)| (code.as_str(), message.as_str())));
                    tally.same += usize::from(error.is_none());
                    journal.add(&line(job, served, Some(digest))).await?;
                }
                End::Left(why) => {
                    tally.left += 1;
                    match &job.earlier {
                        Some(earlier) if earlier.is_failure() => tally.left_failed += 1,
                        Some(_) => drop(journal.add(&line(job, unasked(), None)).await?),
                        None => {}
                    }
                    if let Some(why) = why {
                        going.end_with(&mut tally, why);
                    }
                }
            }
            tally.spent = going.purse.spent();
            watch(&tally);
        }
        Ok(tally)
    }
}

/// A run that is under way.
struct Going<'a> {
    run: &'a Run<'a>,
    purse: Purse,
    twins: Option<Twins>,
    /// Who has one opens pictures and asks.
    turns: Semaphore,
    /// By model; ended when it was given up.
    hopes: HashMap<Option<String>, CancellationToken>,
    stop: CancellationToken,
}

impl Going<'_> {
    /// Asks nobody any more. The first reason is the one that is told.
    fn end_with(&self, tally: &mut Tally, why: Stopped) {
        tally.stopped.get_or_insert(why);
        self.stop.cancel();
    }

    /// Cancelled when the model of this question was given up.
    fn hope(&self, job: &Job) -> &CancellationToken {
        self.hopes.get(&job.ask.model).unwrap_or(&self.stop)
    }

    async fn end(&self, job: &Job) -> End {
        let turn = self.turns.acquire().await;
        if self.stop.is_cancelled() {
            return End::Left(Some(Stopped::Told));
        }
        if self.hope(job).is_cancelled() {
            return End::Left(None);
        }
        let look = match self.run.gateway.look(&job.ask, self.run.asker).await {
            Ok(look) => look,
            Err(failure) => return End::Asked { outcome: Box::new(Err(failure)), digest: None, waiting: None },
        };
        let digest = look.digest();
        let waiting = match self.twins.as_ref().map(|twins| twins.find(twin_digest(&job.head, &digest))) {
            Some(Found::Asked(asked)) => {
                // Somebody else may have use of the turn, and of the memory.
                drop((look, turn));
                let place = twins::written(asked).await;
                return place.map_or(End::Left(None), |place| End::Same { place, digest });
            }
            Some(Found::Nothing(waiting)) => Some(waiting),
            None => None,
        };
        match self.paid(job, &look).await {
            Ok(outcome) => End::Asked { outcome: Box::new(outcome), digest: Some(digest), waiting },
            Err(why) => End::Left(Some(why)),
        }
    }

    /// Asks within the money that there is; `Err` when there is not enough.
    async fn paid(&self, job: &Job, look: &Look<'_>) -> Result<Result<Reply>, Stopped> {
        let most = if self.purse.is_limited() { look.costs().map(|costs| costs.most) } else { Some(MicroUsd(0)) };
        let Some(most) = most else { return Ok(Err(unknown_cost())) };
        let Some(reserved) = self.purse.reserve(most).await else { return Err(Stopped::Cost) };
        if self.stop.is_cancelled() {
            return Err(Stopped::Told);
        }
        let outcome = patiently(look, &self.stop, self.hope(job)).await;
        let (cost, unconfirmed) = costs(&outcome);
        reserved.spend(MicroUsd(cost.unwrap_or_default().0.saturating_add(unconfirmed.0)));
        Ok(outcome)
    }
}

/// Ends the file of a run: where lines came in the place of others, these go.
///
/// # Errors
/// As [`Journal::resume`], and `INTERNAL` when the disk does not take it.
pub async fn end(journal: Journal, jobs: &[Job], key: fn(&Value) -> Option<String>) -> Result<()> {
    if jobs.iter().any(|job| job.earlier.is_some()) { journal.tidy(key).await } else { journal.close().await }
}

impl Reason {
    /// What to say of it, behind how many of what.
    #[must_use]
    pub fn told(&self) -> String {
        let which = if self.many > 1 { ", the first" } else { "" };
        clean::text(&format!("failed with {}{which}: {}", self.code, self.first)).replace(['\n', '\t'], " ")
    }

    /// The same in JSON.
    #[must_use]
    pub fn members(&self) -> Map<String, Value> {
        let members = [("code", json!(self.code)), ("failed", json!(self.many)), ("first", json!(self.first))];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Tally {
    /// Counts what became of a question: an answer, or an error with its code and message.
    fn count(&mut self, error: Option<(&str, &str)>) {
        let Some((code, message)) = error else {
            self.answered += 1;
            return;
        };
        self.failed += 1;
        match self.reasons.iter_mut().find(|reason| reason.code == code) {
            Some(reason) => reason.many += 1,
            None => self.reasons.push(Reason { code: code.to_owned(), many: 1, first: message.to_owned() }),
        }
    }

    /// Questions that were dealt with, one way or another.
    #[must_use]
    pub fn done(&self) -> usize {
        self.answered + self.failed
    }
}

fn unknown_cost() -> Failure {
    Failure::new(Code::BudgetExceeded, "what this may cost is not known, so no limit can hold: it was not asked")
        .advise("give the model `price` and `tokens` in the configuration, or leave the limit out")
}
