//! At most so many calls to one provider at once, so many in a minute, and so many waiting; fewer of them while the
//! provider complains, and none while it wants to be left alone.
//!
//! Who cannot get a turn in time is told at once, and not when the time is over. A dropped call gives its place back,
//! whether it was waiting or running.

mod gate;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use governor::clock::Clock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};
use vision_providers::answer::{Answer, AnswerStream, Chunk};
use vision_providers::error::{Error, ErrorKind, Result, Retry};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, ModelId, VisionRequest};

use self::gate::{Gate, Turn};
use crate::health::{Health, Rest};
use crate::metrics::{Metrics, Stage};

/// How many calls a provider gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Calls running at once, per provider.
    #[schemars(range(min = 1, max = 100_000))]
    pub concurrency: usize,
    /// Calls waiting for their turn, per provider; one more is refused at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub queue: usize,
    /// Calls begun in a minute, per provider. Without it, only the provider's own limits hold.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<NonZeroU32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { concurrency: 16, queue: 256, requests_per_minute: None }
    }
}

/// Of the calls of a minute, this part may begin at once.
const BURST: u32 = 6;

/// The layer.
pub struct Limited {
    inner: Provider,
    health: Arc<Health>,
    gate: Arc<Gate>,
    rate: Option<RateLimiter<NotKeyed, InMemoryState, Now>>,
    waiting: AtomicUsize,
    queue: usize,
    /// Longer than this nobody waits for a provider that wants to be left alone.
    patience: Duration,
    metrics: Metrics,
}

impl Limited {
    /// Bounds the calls to `inner`, whose health says when it wants to be left alone.
    #[must_use]
    pub fn new(inner: Provider, health: Arc<Health>, settings: Settings, patience: Duration, metrics: Metrics) -> Self {
        let quota = |calls: NonZeroU32| {
            let burst = NonZeroU32::new(calls.get() / BURST).unwrap_or(NonZeroU32::MIN);
            RateLimiter::direct_with_clock(Quota::per_minute(calls).allow_burst(burst), Now)
        };
        let gate = Arc::new(Gate::new(settings.concurrency));
        let (rate, waiting, queue) = (settings.requests_per_minute.map(quota), AtomicUsize::new(0), settings.queue);
        Self { inner, health, gate, rate, waiting, queue, patience, metrics }
    }

    async fn turn(&self, ctx: &CallCtx, model: &ModelId) -> Result<Turn> {
        let (_waiting, began) = (self.metrics.waiting(self.inner.id()), Instant::now());
        let turn = self.free_turn(ctx, model).await?;
        self.paced(ctx).await?;
        self.metrics.stage(Stage::Queue, began.elapsed());
        Ok(turn)
    }

    async fn free_turn(&self, ctx: &CallCtx, model: &ModelId) -> Result<Turn> {
        if let Some(rest) = self.health.hold(model) {
            self.bear(rest, ctx)?;
        }
        let turn = match self.gate.free() {
            Some(turn) => turn,
            None => self.queued(ctx, model).await?,
        };
        loop {
            let rest = match self.health.start(model) {
                Err(rest) => self.bear(rest, ctx)?,
                Ok(()) => return Ok(turn),
            };
            sleep(rest).await;
        }
    }

    /// Waits in the queue.
    async fn queued(&self, ctx: &CallCtx, model: &ModelId) -> Result<Turn> {
        let place = Place::take(&self.waiting, self.queue);
        let usual = self.health.usual_latency(model).unwrap_or_default();
        let before = self.waiting.load(Ordering::Relaxed) / self.gate.open().max(1);
        let expected = usual.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX));
        let Some(_place) = place else { return Err(self.overloaded("its queue is full", usual)) };
        if Instant::now() + expected > ctx.deadline {
            return Err(self.overloaded("too many are waiting for it", expected));
        }
        let Ok(turn) = timeout_at(ctx.deadline, self.gate.next()).await else {
            return Err(self.overloaded("no turn came in time", usual));
        };
        // A call that cannot be answered in what is left would be paid for all the same.
        if Instant::now() + usual > ctx.deadline {
            return Err(self.overloaded("its turn came too late", usual));
        }
        Ok(turn)
    }

    /// Waits for the operator's own limit.
    async fn paced(&self, ctx: &CallCtx) -> Result<()> {
        let Some(rate) = &self.rate else { return Ok(()) };
        while let Err(not_until) = rate.check() {
            let wait = not_until.wait_time_from(Now.now());
            if Instant::now() + wait > ctx.deadline {
                return Err(self.overloaded("its calls of this minute are used up", wait));
            }
            sleep(wait).await;
        }
        Ok(())
    }

    /// How long to wait for a provider that wants to be left alone; an error when that is too long.
    fn bear(&self, rest: Rest, ctx: &CallCtx) -> Result<Duration> {
        // A little more, so that those who were told the same do not come back together.
        let wait = rest.left + Duration::from_millis(fastrand::u64(1..100));
        if wait > self.patience || Instant::now() + wait > ctx.deadline {
            return Err(rest.error(self.inner.id()));
        }
        Ok(wait)
    }

    fn overloaded(&self, why: &str, wait: Duration) -> Error {
        Error::new(ErrorKind::Overloaded, format!("waiting for a turn at {}: {why}", self.inner.id()))
            .retry(Retry::Spent(Some(wait.max(Duration::from_secs(1)))))
    }
}

impl std::fmt::Debug for Limited {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Limited({:?}, {:?})", self.inner, self.gate)
    }
}

/// The clock of the runtime, which tests can stop.
#[derive(Debug, Clone, Copy)]
struct Now;

#[expect(clippy::disallowed_types, reason = "it comes from the runtime's clock, which can be paused")]
impl Clock for Now {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        Instant::now().into_std()
    }
}

/// A place in the queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let taken = waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(waiting);
        (taken < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VisionProvider for Limited {
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
        let turn = self.turn(ctx, &req.model).await?;
        let outcome = self.inner.complete(ctx, req).await;
        turn.heard(outcome.as_ref().map(|_| ()));
        outcome
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let turn = self.turn(ctx, &req.model).await?;
        let outcome = self.inner.stream(ctx, req).await;
        turn.heard(outcome.as_ref().map(|_| ()));
        // The turn lasts as long as the stream.
        Ok(Box::pin(outcome?.inspect(move |chunk| match chunk {
            Ok(Chunk::Delta(_)) => {}
            Ok(Chunk::End(_)) => turn.heard(Ok(())),
            Err(error) => turn.heard(Err(error)),
        })))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
