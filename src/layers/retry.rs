//! Tries again what may pass, within the deadline of the call and a bound on each try.
//!
//! Only errors that said so are tried again: a hang or a broken answer may have been billed and is not. A dropped call
//! leaves nothing behind.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};
use vision_providers::answer::{Answer, Try};
use vision_providers::error::{Error, Result, Retry};
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

    /// When to try again after this error, if at all. `made` calls have been made.
    fn next(&self, error: &Error, made: u32, deadline: Instant) -> Result<Instant, Retry> {
        let Retry::Later(hint) = error.retry_verdict() else { return Err(error.retry_verdict()) };
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
        let mut tries = Vec::new();
        loop {
            let began = Instant::now();
            let attempt = ctx.until(began + self.settings.attempt);
            let outcome = self.inner.complete(&attempt, req).await;
            let error = outcome.as_ref().err().map(Error::kind);
            tries.push(Try { error, latency: began.elapsed() });
            let error = match outcome {
                Ok(answer) => return Ok(Answer { tries, ..answer }),
                Err(error) => error,
            };
            let made = u32::try_from(tries.len()).unwrap_or(u32::MAX);
            match self.next(&error, made, ctx.deadline) {
                Ok(next) => sleep_until(next).await,
                Err(verdict) => return Err(error.retry(verdict).after(tries)),
            }
        }
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
