//! At most so many calls to one provider at once, and at most so many waiting.
//!
//! A dropped call gives its place back, whether it was waiting or running.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use vision_providers::answer::{Answer, AnswerStream};
use vision_providers::error::{Error, ErrorKind, Result, Retry};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, VisionRequest};

/// How many calls a provider gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Calls running at once, per provider.
    pub concurrency: usize,
    /// Calls waiting for their turn, per provider; one more is refused at once.
    pub queue: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { concurrency: 16, queue: 256 }
    }
}

/// The layer.
#[derive(Debug)]
pub struct Limited {
    inner: Provider,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
}

impl Limited {
    /// Bounds the calls to `inner`.
    #[must_use]
    pub fn new(inner: Provider, settings: Settings) -> Self {
        let turns = Arc::new(Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS)));
        Self { inner, turns, waiting: AtomicUsize::new(0), queue: settings.queue }
    }

    async fn turn(&self, ctx: &CallCtx) -> Result<OwnedSemaphorePermit> {
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let _place = Place::take(&self.waiting, self.queue).ok_or_else(|| self.overloaded("its queue is full"))?;
        match timeout_at(ctx.deadline, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(self.overloaded("no turn came in time")),
        }
    }

    fn overloaded(&self, why: &str) -> Error {
        Error::new(ErrorKind::Overloaded, format!("waiting for a turn at {}: {why}", self.inner.id()))
            .retry(Retry::Spent(None))
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
        let _turn = self.turn(ctx).await?;
        self.inner.complete(ctx, req).await
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let turn = self.turn(ctx).await?;
        let stream = self.inner.stream(ctx, req).await?;
        // The turn lasts as long as the stream.
        Ok(Box::pin(stream.inspect(move |_| {
            let _ = &turn;
        })))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
