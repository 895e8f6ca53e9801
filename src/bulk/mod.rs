//! Many questions over a long time: so many at once, within a sum of money, each outcome written down as it comes, so
//! that whatever ends the run, nothing that was paid for is asked again.

pub mod journal;
mod purse;
mod twins;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{StreamExt as _, iter};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use vision_providers::price::MicroUsd;

use self::journal::{Journal, Place};
use self::purse::Purse;
use self::twins::{Digest, Found, Twins};
use crate::failure::{Code, Failure, Result};
use crate::gateway::{Ask, Asker, Gateway, Look};
use crate::intake::source::Source;
use crate::reply::Reply;

/// Waits before a question is asked again that nobody had the time for; longer when a backend says so.
const PATIENCE: [Duration; 4] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(40)];
/// Longer nobody waits, whatever a backend says.
const MOST_PATIENCE: Duration = Duration::from_mins(2);
/// Files that are opened at once to see whether they have changed.
const LOOKED_AT: usize = 16;
/// A backend that rests because it failed rests for 20 s at most; what rests longer has a wrong key, or no credit.
const LONGEST_REST: Duration = Duration::from_secs(30);
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
    /// Of the answered ones, those that another's answer served.
    pub same: usize,
    /// Questions that nobody was asked.
    pub left: usize,
    pub spent: MicroUsd,
    /// Why nobody is asked any more.
    pub stopped: Option<Stopped>,
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
    Left(Stopped),
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
            stop: self.stop.child_token(),
        };
        let mut tally = Tally { spent: self.terms.spent, ..Tally::default() };
        let mut hopeless = 0;
        let asking = iter(jobs).map(async |job| (job, going.end(job).await));
        let mut ends = pin!(asking.buffer_unordered(self.terms.at_once.max(1)));
        while let Some((job, end)) = ends.next().await {
            match end {
                End::Asked { outcome, digest, waiting } => {
                    let place = journal.add(&line(job, (self.tell)(&outcome), digest)).await?;
                    if let Some(waiting) = waiting {
                        let _ = waiting.send(Some(place));
                    }
                    tally.count(outcome.is_ok());
                    hopeless = if outcome.as_ref().as_ref().is_err_and(is_hopeless) { hopeless + 1 } else { 0 };
                    if let (HOPELESS, Err(failure)) = (hopeless, *outcome) {
                        going.end_with(&mut tally, Stopped::Hopeless(failure));
                    }
                }
                End::Same { place, digest } => {
                    let served = served(journal.line(place).await?, &job.head);
                    tally.count(!served.contains_key("error"));
                    tally.same += 1;
                    journal.add(&line(job, served, Some(digest))).await?;
                }
                End::Left(why) => {
                    tally.left += 1;
                    going.end_with(&mut tally, why);
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
    stop: CancellationToken,
}

impl Going<'_> {
    /// Asks nobody any more. The first reason is the one that is told.
    fn end_with(&self, tally: &mut Tally, why: Stopped) {
        tally.stopped.get_or_insert(why);
        self.stop.cancel();
    }

    async fn end(&self, job: &Job) -> End {
        if self.stop.is_cancelled() {
            return End::Left(Stopped::Told);
        }
        let look = match self.run.gateway.look(&job.ask, self.run.asker).await {
            Ok(look) => look,
            Err(failure) => return End::Asked { outcome: Box::new(Err(failure)), digest: None, waiting: None },
        };
        let digest = look.digest();
        let waiting = match self.twins.as_ref().map(|twins| twins.find(twin_digest(&job.ask, &digest))) {
            Some(Found::Asked(asked)) => {
                let place = twins::written(asked).await;
                return place.map_or(End::Left(Stopped::Told), |place| End::Same { place, digest });
            }
            Some(Found::Nothing(waiting)) => Some(waiting),
            None => None,
        };
        match self.paid(&look).await {
            Ok(outcome) => End::Asked { outcome: Box::new(outcome), digest: Some(digest), waiting },
            Err(why) => End::Left(why),
        }
    }

    /// Asks within the money that there is; `Err` when there is not enough.
    async fn paid(&self, look: &Look<'_>) -> Result<Result<Reply>, Stopped> {
        let most = if self.purse.is_limited() { look.costs().map(|costs| costs.most) } else { Some(MicroUsd(0)) };
        let Some(most) = most else { return Ok(Err(unknown_cost())) };
        let Some(reserved) = self.purse.reserve(most).await else { return Err(Stopped::Cost) };
        if self.stop.is_cancelled() {
            return Err(Stopped::Told);
        }
        let outcome = self.patiently(look).await;
        // Answers that came to nothing cost money too.
        let cost = match &outcome {
            Ok(reply) => reply.cost,
            Err(failure) => failure.spent.map(|spent| spent.cost),
        };
        reserved.spend(cost.unwrap_or_default());
        Ok(outcome)
    }

    /// Asks, and again when nobody had the time: that costs nothing.
    async fn patiently(&self, look: &Look<'_>) -> Result<Reply> {
        let mut outcome = look.ask().await;
        for wait in PATIENCE {
            let Err(failure) = &outcome else { break };
            let is_passing = matches!(failure.code, Code::RateLimited | Code::Overloaded | Code::NoProvider);
            let wait = failure.retry_after.unwrap_or(wait).max(wait);
            if !failure.retryable || !is_passing || wait > patience(failure) {
                break;
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = sleep(wait) => outcome = look.ask().await,
            }
        }
        outcome
    }
}

impl Tally {
    fn count(&mut self, is_answer: bool) {
        *(if is_answer { &mut self.answered } else { &mut self.failed }) += 1;
    }

    /// Questions that were dealt with, one way or another.
    #[must_use]
    pub fn done(&self) -> usize {
        self.answered + self.failed
    }
}

fn unknown_cost() -> Failure {
    Failure::new(Code::BudgetExceeded, "what this may cost is not known, so no limit can hold: it was not asked")
        .advise("give the model a price in the configuration, or leave the limit out")
}

/// How long is waited at most after this.
fn patience(failure: &Failure) -> Duration {
    if failure.code == Code::NoProvider { LONGEST_REST } else { MOST_PATIENCE }
}

/// Whether other questions would fail in the same way, and for longer than anybody waits.
fn is_hopeless(failure: &Failure) -> bool {
    let is_passing = failure.retryable && failure.retry_after.is_none_or(|wait| wait <= patience(failure));
    !is_passing
        && matches!(failure.code, Code::UpstreamAuth | Code::NoProvider | Code::BudgetExceeded | Code::ModelNotFound)
}

/// A line: what is known by, the files it is about, and what became of it.
fn line(job: &Job, told: Map<String, Value>, digest: Option<Digest>) -> Value {
    let mut line = job.head.clone();
    if let Some(digest) = digest {
        line.insert(DIGEST.into(), json!(hex(&digest)));
    }
    line.extend(told);
    Value::Object(line)
}

/// What files are now, by the names of all that one question is about.
#[derive(Debug, Clone, Default)]
pub struct Files(HashMap<Arc<[String]>, String>);

impl Files {
    /// Looks at the files of these questions. What lies at an address is not fetched for that, and what cannot be opened is
    /// left out.
    pub async fn of<'a>(gateway: &Gateway, asker: &Asker, asks: impl IntoIterator<Item = &'a Ask>) -> Self {
        let is_near = |image: &String| matches!(Source::parse(image), Ok(Source::Path(_) | Source::Data(_)));
        let near = asks.into_iter().filter(|ask| ask.images.iter().all(is_near));
        let asks: HashMap<&Arc<[String]>, &Ask> = near.map(|ask| (&ask.images, ask)).collect();
        let looking = iter(asks).map(async |(images, ask)| {
            let look = gateway.look(ask, asker).await.ok()?;
            Some((Arc::clone(images), hex(&look.digest())))
        });
        Self(looking.buffer_unordered(LOOKED_AT).filter_map(async |seen| seen).collect().await)
    }

    /// Whether the files that a line is about are still what they were, as far as that is known.
    #[must_use]
    pub fn are_those_of(&self, line: &Value, ask: &Ask) -> bool {
        line[DIGEST].as_str().zip(self.0.get(&ask.images)).is_none_or(|(then, now)| then == now)
    }
}

fn hex(digest: &Digest) -> String {
    blake3::Hash::from(*digest).to_hex().to_string()
}

/// The member of a line that says which files were looked at.
const DIGEST: &str = "images_blake3";

/// The line of another, without what is its own; it costs nothing a second time.
fn served(line: Value, head: &Map<String, Value>) -> Map<String, Value> {
    let Value::Object(mut line) = line else { return Map::new() };
    let same = line.remove("same_as").or_else(|| line.get("id").cloned());
    line.retain(|name, _| !head.contains_key(name) && name != DIGEST);
    if line.contains_key("cost_usd") {
        line.insert("cost_usd".into(), json!(0.0));
    }
    line.extend(same.map(|id| ("same_as".to_owned(), id)));
    line
}

/// What makes two questions the same: what is asked, and the bytes that it is asked about.
fn twin_digest(ask: &Ask, images: &Digest) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(images).update(question_digest(ask).as_bytes());
    *hasher.finalize().as_bytes()
}

/// What a question asks, whatever it asks it about: the same for the same question in every process.
#[must_use]
pub fn question_digest(ask: &Ask) -> String {
    let Ask { prompt, task, schema, model, fallback, boxes, detail, region, system, sampling, .. } = ask;
    let said = json!({
        "prompt": prompt, "task": task, "schema": schema, "model": model, "system": system, "boxes": boxes,
        "fallback": format!("{fallback:?}"), "detail": format!("{detail:?}"), "region": format!("{region:?}"),
        "sampling": format!("{sampling:?}"),
    });
    blake3::hash(said.to_string().as_bytes()).to_hex()[..32].to_owned()
}

/// An answer of an earlier part of a run, for questions that are the same.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    digest: Digest,
    place: Place,
}

impl Known {
    /// The answer in this line, which was written for this question.
    #[must_use]
    pub fn of(line: &Value, place: Place, ask: &Ask) -> Option<Self> {
        let images = blake3::Hash::from_hex(line[DIGEST].as_str()?).ok()?;
        Some(Self { digest: twin_digest(ask, images.as_bytes()), place })
    }
}
