//! At most so many calls to one provider at once, so many in a minute, and so many waiting; fewer of them while the
//! provider complains, and none while it wants to be left alone.
//!
//! Who cannot get a turn in time is told at once, and not when the time is over. A dropped call gives its place back,
//! whether it was waiting or running.

mod gate;
mod turnstile;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};
use vision_providers::answer::{Answer, AnswerStream, Chunk};
use vision_providers::error::{Error, ErrorKind, Result, Retry};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, ModelId, VisionRequest};

pub use self::turnstile::Turnstile;
use self::turnstile::{Place, Turn};
use crate::health::{BRIEFLY, Health, Rest};
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

/// The layer.
#[derive(Debug)]
pub struct Limited {
    inner: Provider,
    health: Arc<Health>,
    turnstile: Arc<Turnstile>,
    /// Longer than this nobody waits for a provider that wants to be left alone.
    patience: Duration,
    metrics: Metrics,
}

impl Limited {
    /// Bounds the calls to `inner`, whose health says when it wants to be left alone.
    #[must_use]
    pub fn new(
        inner: Provider,
        health: Arc<Health>,
        turnstile: Arc<Turnstile>,
        patience: Duration,
        metrics: Metrics,
    ) -> Self {
        Self { inner, health, turnstile, patience, metrics }
    }

    async fn turn(&self, ctx: &CallCtx, model: &ModelId) -> Result<Turn> {
        let (_waiting, began) = (self.metrics.waiting(self.inner.id()), Instant::now());
        let mut place = None;
        let turn = loop {
            // Whoever waits for a vendor's patience waits without a turn: others may have use of it.
            if let Some(rest) = self.health.hold(model) {
                let wait = self.bear(rest, ctx)?;
                self.queue(&mut place)?;
                sleep(wait).await;
                continue;
            }
            let turn = if let Some(turn) = self.turnstile.free(model, &ctx.caller) {
                turn
            } else {
                self.queue(&mut place)?;
                self.queued(ctx, model).await?
            };
            self.paced(ctx).await?;
            if self.health.start(model).is_ok() {
                break turn;
            }
        };
        self.metrics.stage(Stage::Queue, began.elapsed());
        Ok(turn)
    }

    /// Takes a place in the queue, once.
    fn queue<'a>(&'a self, place: &mut Option<Place<'a>>) -> Result<()> {
        if place.is_none() {
            *place = self.turnstile.place();
        }
        match place {
            Some(_) => Ok(()),
            None => Err(self.overloaded("its queue is full", Duration::ZERO)),
        }
    }

    /// Waits in the queue.
    async fn queued(&self, ctx: &CallCtx, model: &ModelId) -> Result<Turn> {
        let usual = self.health.usual_latency(model).unwrap_or_default();
        let before = u32::try_from(self.turnstile.crowd(model)).unwrap_or(u32::MAX);
        let expected = usual.saturating_mul(before);
        if Instant::now() + expected > ctx.deadline {
            return Err(self.overloaded("too many are waiting for it", expected));
        }
        let Ok(turn) = timeout_at(ctx.deadline, self.turnstile.next(model, &ctx.caller)).await else {
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
        while let Some(wait) = self.turnstile.pause() {
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
        let patience = if ctx.last { self.patience } else { self.patience.min(BRIEFLY) };
        if rest.left > patience || Instant::now() + wait > ctx.deadline {
            return Err(rest.error(self.inner.id()));
        }
        Ok(wait)
    }

    fn overloaded(&self, why: &str, wait: Duration) -> Error {
        Error::new(ErrorKind::Overloaded, format!("waiting for a turn at {}: {why}", self.inner.id()))
            .retry(Retry::Spent(Some(wait.max(Duration::from_secs(1)))))
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
        let began = Instant::now();
        let _turn = self.turn(ctx, &req.model).await?;
        let waited = began.elapsed();
        let outcome = self.inner.complete(ctx, req).await;
        self.turnstile.heard(&req.model, outcome.as_ref().map(|_| ()));
        outcome.map(|answer| Answer { waited: answer.waited + waited, ..answer })
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        // The turn lasts until the answer has ended, and not until somebody lets go of the stream: whoever finds the
        // answer wanting asks again while holding it.
        let mut turn = Some(self.turn(ctx, &req.model).await?);
        let outcome = self.inner.stream(ctx, req).await;
        if let Err(error) = &outcome {
            self.turnstile.heard(&req.model, Err(error));
        }
        let (turnstile, model) = (Arc::clone(&self.turnstile), req.model.clone());
        Ok(Box::pin(outcome?.inspect(move |chunk| {
            let ended = match chunk {
                Ok(Chunk::Delta(_)) => return,
                Ok(Chunk::End(_)) => Ok(()),
                Err(error) => Err(error),
            };
            turnstile.heard(&model, ended);
            drop(turn.take());
        })))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
