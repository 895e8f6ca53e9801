//! Tries again what may pass, within the deadline of the call and a bound on each try.
//!
//! Only errors that said so are tried again, and those that may have been billed once: a hang or a broken answer is not.
//! A dropped call leaves nothing behind.

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

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Calls in all, the first included.
    pub attempts: u32,
    /// What one call may take.
    pub attempt: Duration,
    /// The longest that a backend's own hint is waited for; beyond it somebody else should answer.
    pub longest_wait: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { attempts: 3, attempt: Duration::from_secs(40), longest_wait: Duration::from_secs(30) }
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
}

impl Retrying {
    /// Tries `inner` again.
    #[must_use]
    pub fn new(inner: Provider, settings: Settings) -> Self {
        Self { inner, settings }
    }

    fn late(&self) -> Error {
        Error::new(ErrorKind::TimedOut, format!("waiting for {}: it did not begin to answer in time", self.inner.id()))
    }

    /// When to try again after this error, if at all. `made` calls have been made.
    fn next(&self, error: &Error, made: u32, deadline: Instant) -> Result<Instant, Retry> {
        let hint = match error.retry_verdict() {
            Retry::Later(hint) => hint,
            Retry::Once if made < 2 => None,
            Retry::Once => return Err(Retry::Spent(None)),
            verdict @ (Retry::Never | Retry::Spent(_)) => return Err(verdict),
        };
        let spent = Err(Retry::Spent(hint));
        if made >= self.settings.attempts || hint.is_some_and(|hint| hint > self.settings.longest_wait) {
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
        if next < deadline { Ok(next) } else { spent }
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
        let mut attempts = Attempts::new(self, ctx.deadline);
        loop {
            let until = attempts.begin();
            let outcome = self.inner.complete(&ctx.until(until), req).await;
            if let Some(ended) = attempts.settle(outcome).await {
                return ended.map(|answer| Answer { tries: attempts.tries, ..answer });
            }
        }
    }

    /// Only what fails before the first piece is tried again. The bound on a try holds until then; after it, the
    /// deadline of the call.
    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let mut attempts = Attempts::new(self, ctx.deadline);
        let (first, rest) = loop {
            let opening = timeout_at(attempts.begin(), begun(&self.inner, ctx, req)).await;
            let outcome = opening.unwrap_or_else(|_| Err(self.late()));
            if let Some(ended) = attempts.settle(outcome).await {
                break ended?;
            }
        };
        let mut tries = attempts.tries;
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
    deadline: Instant,
    began: Instant,
    tries: Vec<Try>,
}

impl<'a> Attempts<'a> {
    fn new(layer: &'a Retrying, deadline: Instant) -> Self {
        Self { layer, deadline, began: Instant::now(), tries: Vec::new() }
    }

    /// The time by which the attempt that begins now has to end.
    fn begin(&mut self) -> Instant {
        self.began = Instant::now();
        self.deadline.min(self.began + self.layer.settings.attempt)
    }

    /// How it ends, or `None` after the pause before another attempt.
    async fn settle<T>(&mut self, outcome: Result<T>) -> Option<Result<T>> {
        let error = outcome.as_ref().err().map(Error::kind);
        self.tries.push(Try { error, latency: self.began.elapsed() });
        let error = match outcome {
            Ok(answer) => return Some(Ok(answer)),
            Err(error) => error,
        };
        let made = u32::try_from(self.tries.len()).unwrap_or(u32::MAX);
        match self.layer.next(&error, made, self.deadline) {
            Ok(next) => sleep_until(next).await,
            Err(verdict) => return Some(Err(error.retry(verdict).after(self.tries.clone()))),
        }
        None
    }
}

/// Completes the account of the last try with how its stream ended.
fn note(tries: &mut [Try], error: Option<&Error>, began: Instant) {
    if let Some(last) = tries.last_mut() {
        last.latency += began.elapsed();
        last.error = error.map(Error::kind);
    }
}
