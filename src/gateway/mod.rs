//! The use case: a question about images in, one answer out, with an account of how it came about.
//!
//! It plans before it opens anything, opens before it spends anything, and fits the images anew for each candidate.
//! A gateway never changes; a reload builds another one. Dropping a call cancels it down to the vendor's socket.

mod ask;
mod call;
mod foresight;
mod look;
mod round;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::info;
use vision_providers::estimate::Outline;
use vision_providers::request::CallCtx;
use vision_providers::wire::Delivery;

pub use self::ask::{Ask, Asker, Said, Turn};
use self::call::Call;
pub use self::foresight::{Explained, Foreseen, Prospect};
pub use self::look::{Costs, Look};
pub use self::round::Round;
use self::wanted::{shown, wanted};
use crate::failure::{Code, Failure, Result};
use crate::intake::{Intake, Picture, Ready};
use crate::metrics::{self, Metrics, Oddity, Stage};
use crate::reply::{ImageAccount, Outcome, Reply, account, compose};
use crate::router::plan::Plan;
use crate::router::roster::Roster;
use crate::speech::{Audience, Listener};
use crate::tasks::{self, Presets, Question};

/// The bounds that hold for every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// One budget of time for fetching, preparing and every attempt.
    pub total: Duration,
    /// Sent when a caller sets none: models sometimes repeat themselves without end, and bill for it.
    pub max_output_tokens: u32,
    /// How often calls that failed are made again for one question in all.
    pub retries: u32,
    /// Models that may be asked the same at once.
    pub most_compared: usize,
}

/// Answers questions about images.
#[derive(Debug)]
pub struct Gateway {
    pub roster: Roster,
    pub intake: Arc<Intake>,
    pub presets: Presets,
    pub settings: Settings,
    pub metrics: Metrics,
}

impl Gateway {
    /// Answers.
    ///
    /// # Errors
    /// The codes of bad input before anything is spent; otherwise the error of the first candidate, when none could
    /// answer.
    pub async fn ask(&self, ask: &Ask, asker: &Asker) -> Result<Reply> {
        self.observed(ask, asker, Audience::Nobody, self.given()).await
    }

    /// Answers by a time that may come before its own would be over.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_until(&self, ask: &Ask, asker: &Asker, deadline: Instant) -> Result<Reply> {
        let given = self.given();
        let given = Given { deadline: given.deadline.min(deadline), ..given };
        self.observed(ask, asker, Audience::Nobody, given).await
    }

    /// Answers, and passes on what is said while it is said. What counts is the reply.
    ///
    /// # Errors
    /// As [`Self::ask`]; once something was passed on, nobody else is asked any more.
    pub async fn ask_aloud(&self, ask: &Ask, asker: &Asker, listener: &Listener) -> Result<Reply> {
        self.observed(ask, asker, Audience::Listener(listener), self.given()).await
    }

    /// Answers, and shows what is said while it is said to somebody who waits for the reply. When a model fails in the
    /// middle, the next one begins anew.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_in_view(&self, ask: &Ask, asker: &Asker, onlooker: &Listener) -> Result<Reply> {
        self.observed(ask, asker, Audience::Onlooker(onlooker), self.given()).await
    }

    /// What a question has that begins now.
    fn given(&self) -> Given {
        Given { deadline: Instant::now() + self.settings.total, read: None, counted: None }
    }

    async fn observed(&self, ask: &Ask, asker: &Asker, audience: Audience<'_>, given: Given) -> Result<Reply> {
        let began = Instant::now();
        let request_id: Arc<str> = format!("{:016x}", fastrand::u64(..)).into();
        let _in_flight = self.metrics.in_flight();
        let label = |outcome| metrics::Request { door: asker.door.name(), task: ask.task_label(), outcome };
        let unanswered = Unanswered {
            request: Some((Arc::clone(&request_id), label(Code::Cancelled.name()))),
            metrics: &self.metrics,
        };
        let counted = given.counted.clone().unwrap_or_else(|| asker.rights.count());
        let opened = match counted {
            Ok(()) => self.open(ask, asker, Arc::clone(&request_id), audience.delivery(), given).await,
            Err(failure) => Err(failure),
        };
        let outcome = match opened {
            Ok(opened) => self.answer(ask, &opened, audience, began).await,
            Err(failure) => Err(failure),
        };
        unanswered.answered();
        self.metrics.request(&label(outcome.as_ref().err().map_or("ok", |failure| failure.code.name())));
        let (request, door, ms) = (&*request_id, asker.door, began.elapsed().as_millis());
        match &outcome {
            Ok(reply) => {
                let (model, cached) = (format!("{}/{}", reply.provider, reply.model), reply.cached);
                info!(request, ?door, task = reply.task, model, cached, ms, "answered");
            }
            Err(failure) => info!(request, ?door, code = failure.code.name(), ms, "failed"),
        }
        outcome
    }

    async fn answer(&self, ask: &Ask, opened: &Opened, audience: Audience<'_>, began: Instant) -> Result<Reply> {
        let mut call = Call::new(self, ask, opened, audience);
        let first = call.first_answer().await;
        let outcome = first.map_err(|failure| Failure { spent: call.spent(), ..failure })?;
        let (attempts, lost, cut) = (call.attempts, call.lost, call.cut);
        let mut reply = compose(&opened.question, &opened.plan, &outcome, attempts)?;
        self.count(&reply, &outcome);
        reply.add_lost(lost);
        reply.warn_of_cut(cut);
        reply.latency = began.elapsed();
        reply.images = accounts(&opened.pictures, &outcome.ready);
        let notes = ask.notes.iter().cloned().chain(opened.pictures.iter().flat_map(Picture::warnings));
        reply.warnings.splice(0..0, notes);
        Ok(reply)
    }

    /// Counts what an answer took.
    fn count(&self, reply: &Reply, outcome: &Outcome) {
        let (answer, provider) = (&outcome.answer, reply.provider.as_str());
        if answer.cached {
            return;
        }
        if let Some(cost) = reply.cost {
            self.metrics.cost(provider, cost);
        }
        if let Some(usage) = &reply.usage {
            let counts = [
                ("input", usage.input_tokens),
                ("output", usage.output_tokens),
                ("cached", usage.cached_tokens),
                ("reasoning", usage.reasoning_tokens),
            ];
            for (direction, tokens) in counts {
                self.metrics.tokens(provider, direction, tokens);
            }
        }
        match (answer.usage, outcome.estimate) {
            (None, Some(_)) => self.metrics.odd(Oddity::UsageMissing),
            (Some(usage), Some(estimate)) if is_doubtful(usage.input_tokens, estimate.input_tokens) => {
                self.metrics.odd(Oddity::UsageDoubtful);
            }
            _ => {}
        }
    }

    /// Everything that comes before asking somebody, but for what has been done already.
    async fn open(
        &self,
        ask: &Ask,
        asker: &Asker,
        request_id: Arc<str>,
        delivery: Delivery,
        given: Given,
    ) -> Result<Opened> {
        let deadline = given.deadline;
        let (question, pictures) = match given.read {
            Some(Read { question, pictures }) => (question, Some(pictures)),
            None => (self.question(ask).await?, None),
        };
        let wanted = wanted(ask, asker, &question, &self.settings, delivery);
        self.roster.check(&wanted)?;
        let ctx = CallCtx {
            request_id,
            caller: asker.caller.clone(),
            deadline,
            cache: ask.cache_mode(),
            retries: self.settings.retries,
            last: false,
        };
        let pictures = match pictures {
            Some(pictures) => pictures,
            None => self.pictures(ask, asker, deadline).await?,
        };
        let time_left = deadline.saturating_duration_since(Instant::now());
        let wanted = shown(wanted, &pictures, ask.region.as_ref(), time_left);
        let plan = self.roster.plan(&wanted)?;
        let outline = wanted.outline;
        Ok(Opened { question, plan, outline, pictures, ctx })
    }

    /// What is asked, once everything was refused that can be without opening anything.
    async fn question(&self, ask: &Ask) -> Result<Question> {
        ask.check()?;
        if let Some(schema) = ask.schema.clone() {
            // A stranger's schema takes a while to compile.
            let checking = spawn_blocking(move || tasks::check_schema(&schema)).await;
            checking.map_err(|_| Failure::new(Code::Internal, "reading the schema met a fault of the program"))??;
        }
        if ask.is_conversation() {
            return Ok(tasks::conversation(ask.schema.clone()));
        }
        tasks::question(ask.task.as_deref(), ask.prompt.as_deref(), ask.schema.clone(), &self.presets)
    }

    async fn pictures(&self, ask: &Ask, asker: &Asker, deadline: Instant) -> Result<Vec<Picture>> {
        let began = Instant::now();
        let opening = ask.pictures().map(|named| self.intake.open(named, asker, deadline));
        let pictures = try_join_all(opening).await?;
        self.metrics.stage(Stage::Open, began.elapsed());
        Ok(pictures)
    }
}

fn accounts(pictures: &[Picture], ready: &[Ready]) -> Vec<ImageAccount> {
    pictures.iter().zip(ready).map(|(picture, ready)| account(picture, ready)).collect()
}

/// What a question has when it begins.
#[derive(Debug, Clone)]
struct Given {
    /// When its answer is worth nothing any more.
    deadline: Instant,
    /// What was read of it before.
    read: Option<Read>,
    /// Whether its caller may ask now, where that was found out before.
    counted: Option<Result<()>>,
}

/// A question that was understood, and its pictures.
#[derive(Debug, Clone)]
struct Read {
    question: Question,
    pictures: Vec<Picture>,
}

/// A question that was understood, planned and opened.
#[derive(Debug)]
struct Opened {
    question: Question,
    plan: Plan,
    outline: Outline,
    pictures: Vec<Picture>,
    ctx: CallCtx,
}

/// Writes down that a caller left before the answer: a dropped call would leave no line otherwise.
struct Unanswered<'a> {
    request: Option<(Arc<str>, metrics::Request)>,
    metrics: &'a Metrics,
}

impl Unanswered<'_> {
    fn answered(mut self) {
        self.request = None;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some((request, label)) = self.request.take() {
            info!(request = &*request, code = Code::Cancelled.name(), "the caller left");
            self.metrics.request(&label);
        }
    }
}

/// Whether two counts of the same thing differ tenfold.
fn is_doubtful(reported: u64, expected: u64) -> bool {
    reported / 10 > expected || reported.saturating_mul(10) < expected
}
