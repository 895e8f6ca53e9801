//! Tries again what may pass, within the deadline of the call, a bound on each try and a budget for all.
//!
//! Only errors that said so are tried again, and those that may have been billed once: a hang or a broken answer is not.
//! When much fails, the budget runs out, so that a backend in trouble is not asked three times as much. A dropped call
//! leaves nothing behind.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::time::{Instant, sleep_until, timeout_at};
use vision_providers::answer::{Answer, AnswerStream, Chunk, Try};
use vision_providers::error::{Error, ErrorKind, Result, Retry};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, VisionRequest};

use crate::health::BRIEFLY;

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Calls in all, the first included.
    pub attempts: u32,
    /// What one call may take while somebody else could still be asked.
    pub attempt: Duration,
    /// The longest that a backend's own hint is waited for; beyond it somebody else should answer.
    pub longest_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { attempts: 3, attempt: Duration::from_secs(25), longest_wait: Duration::from_secs(30) }
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Nobody hammers: even the luckiest draw waits this long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// The layer.
#[derive(Debug)]
pub struct Retrying {
    inner: Provider,
    settings: Settings,
    budget: Budget,
}

impl Retrying {
    /// Tries `inner` again.
    #[must_use]
    pub fn new(inner: Provider, settings: Settings) -> Self {
        Self { inner, settings, budget: Budget::default() }
    }

    fn late(&self) -> Error {
        Error::new(ErrorKind::TimedOut, format!("waiting for {}: it did not begin to answer in time", self.inner.id()))
    }

    /// When to try again after this error, if at all. `made` calls have been made.
    fn next(&self, error: &Error, made: u32, ctx: &CallCtx) -> Result<Instant, Retry> {
        let hint = match error.retry_verdict() {
            Retry::Later(hint) => hint,
            Retry::Once if made < 2 => None,
            Retry::Once => return Err(Retry::Spent(None)),
            verdict @ (Retry::Never | Retry::Spent(_)) => return Err(verdict),
        };
        let spent = Err(Retry::Spent(hint));
        let tried_enough = made >= self.settings.attempts || made > ctx.retries;
        let longest = self.settings.longest_wait;
        let patience = if ctx.last { longest } else { longest.min(BRIEFLY) };
        if tried_enough || hint.is_some_and(|hint| hint > patience) {
            return spent;
        }
        // A little later than asked, so that those who were told the same do not come back together.
        let asked = hint.map(|hint| hint + FIRST_PAUSE.mul_f64(0.2 * fastrand::f64()));
        let pause = asked.unwrap_or_else(|| {
            let ceiling = FIRST_PAUSE.saturating_mul(1 << made.min(8)).min(LONGEST_PAUSE);
            ceiling.mul_f64(fastrand::f64())
        });
        let pause = pause.max(SHORTEST_PAUSE);
        let next = Instant::now() + pause;
        if next < ctx.deadline && self.budget.take(error.kind()) { Ok(next) } else { spent }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VisionProvider for Retrying {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn card(&self, model: &str) -> ModelCard {
        self.inner.card(model)
    }

    fn models(&self) -> &[ModelCard] {
        self.inner.models()
    }

    async fn complete(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<Answer> {
        let mut attempts = Attempts::new(self, ctx);
        loop {
            let until = attempts.begin();
            let outcome = self.inner.complete(&ctx.until(until), req).await;
            let waited = outcome.as_ref().map_or(Duration::ZERO, |answer| answer.waited);
            if let Some(ended) = attempts.settle(outcome, waited).await {
                return ended.map(|answer| Answer { tries: attempts.told(), ..answer });
            }
        }
    }

    /// Only what fails before the first piece is tried again. The bound on a try holds until then; after it, the
    /// deadline of the call.
    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let mut attempts = Attempts::new(self, ctx);
        let (first, rest) = loop {
            let opening = timeout_at(attempts.begin(), begun(&self.inner, ctx, req)).await;
            let outcome = opening.unwrap_or_else(|_| Err(self.late()));
            if let Some(ended) = attempts.settle(outcome, Duration::ZERO).await {
                break ended?;
            }
        };
        let mut tries = attempts.told();
        let began = Instant::now();
        let told = stream::iter(first.map(Ok)).chain(rest).map(move |chunk| match chunk {
            Ok(Chunk::Delta(text)) => Ok(Chunk::Delta(text)),
            Ok(Chunk::End(answer)) => {
                note(&mut tries, None, began);
                Ok(Chunk::End(Box::new(Answer { tries: tries.clone(), ..*answer })))
            }
            Err(error) => {
                note(&mut tries, Some(&error), began);
                Err(error.after(tries.clone()))
            }
        });
        Ok(Box::pin(told))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}

/// A stream that has begun to say something, or has ended.
async fn begun(inner: &Provider, ctx: &CallCtx, req: &VisionRequest) -> Result<(Option<Chunk>, AnswerStream)> {
    let mut stream = inner.stream(ctx, req).await?;
    let first = stream.next().await.transpose()?;
    Ok((first, stream))
}

/// The attempts at one call.
struct Attempts<'a> {
    layer: &'a Retrying,
    ctx: &'a CallCtx,
    began: Instant,
    tries: Vec<Try>,
    /// A second or third attempt is waited for or under way.
    retrying: bool,
    /// An attempt that failed may be billed, whatever became of those after it.
    maybe_billed: bool,
}

impl<'a> Attempts<'a> {
    fn new(layer: &'a Retrying, ctx: &'a CallCtx) -> Self {
        layer.budget.change(|balance| balance.calls += 1);
        Self { layer, ctx, began: Instant::now(), tries: Vec::new(), retrying: false, maybe_billed: false }
    }

    /// The second or third attempt is over, however it ended.
    fn retried(&mut self) {
        if std::mem::take(&mut self.retrying) {
            self.layer.budget.change(|balance| balance.retries -= 1);
        }
    }

    /// The account of them.
    fn told(&mut self) -> Vec<Try> {
        std::mem::take(&mut self.tries)
    }

    /// The time by which the attempt that begins now has to end.
    fn begin(&mut self) -> Instant {
        self.began = Instant::now();
        // There is nothing to save time for when nobody else is asked.
        if self.ctx.last { self.ctx.deadline } else { self.ctx.deadline.min(self.began + self.layer.settings.attempt) }
    }

    /// How it ends, or `None` after the pause before another attempt. Of its time, so much was `waited` for a turn.
    async fn settle<T>(&mut self, outcome: Result<T>, waited: Duration) -> Option<Result<T>> {
        let error = outcome.as_ref().err().map(Error::kind);
        self.retried();
        self.tries.push(Try { error, latency: self.began.elapsed().saturating_sub(waited) });
        let error = match outcome {
            Ok(answer) => {
                self.layer.budget.change(Balance::earn);
                return Some(Ok(answer));
            }
            Err(error) => error,
        };
        self.maybe_billed |= error.is_maybe_billed();
        let error = if self.maybe_billed { error.and_maybe_billed() } else { error };
        let made = u32::try_from(self.tries.len()).unwrap_or(u32::MAX);
        match self.layer.next(&error, made, self.ctx) {
            Ok(next) => {
                self.retrying = true;
                sleep_until(next).await;
            }
            Err(verdict) => return Some(Err(error.retry(verdict).after(self.tries.clone()))),
        }
        None
    }
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        self.retried();
        self.layer.budget.change(|balance| balance.calls -= 1);
    }
}

/// What may be spent on trying again, for all calls of a provider together.
#[derive(Debug, Default)]
struct Budget(Mutex<Balance>);

/// The figures are those of the AWS SDKs' standard mode, and the share is Envoy's (both of 2026-08).
#[derive(Debug)]
struct Balance {
    tokens: u32,
    /// Calls in the air.
    calls: u32,
    /// Second and third attempts in the air.
    retries: u32,
}

const FULL: u32 = 500;
const RETRY: u32 = 5;
const RETRY_AFTER_TIMEOUT: u32 = 10;
const SUCCESS: u32 = 1;
/// One in so many calls may be at another attempt.
const SHARE: u32 = 5;
/// And so many always.
const ALWAYS: u32 = 3;

impl Default for Balance {
    fn default() -> Self {
        Self { tokens: FULL, calls: 0, retries: 0 }
    }
}

impl Balance {
    fn earn(&mut self) {
        self.tokens = (self.tokens + SUCCESS).min(FULL);
    }
}

impl Budget {
    fn change<T>(&self, change: impl FnOnce(&mut Balance) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Pays for another attempt after such an error; false when it cannot be afforded.
    fn take(&self, kind: ErrorKind) -> bool {
        self.change(|balance| {
            let price = if kind == ErrorKind::TimedOut { RETRY_AFTER_TIMEOUT } else { RETRY };
            // Who was told to come back later comes in good order: the queue sees to it.
            let crowded = kind != ErrorKind::RateLimited && balance.retries >= ALWAYS.max(balance.calls / SHARE);
            if crowded || balance.tokens < price {
                return false;
            }
            balance.tokens -= price;
            balance.retries += 1;
            true
        })
    }
}

/// Completes the account of the last try with how its stream ended.
fn note(tries: &mut [Try], error: Option<&Error>, began: Instant) {
    if let Some(last) = tries.last_mut() {
        last.latency += began.elapsed();
        last.error = error.map(Error::kind);
    }
}
