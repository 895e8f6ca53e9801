//! Remembers answers, and lets callers who ask the same at the same time share one call.
//!
//! A call runs in a task of its own that all who wait for it hold together: one who leaves neither ends nor restarts
//! it, and when the last one leaves it is aborted, down to the vendor's socket. Who wants to see the answer come gets
//! what was said so far, and then the rest as it comes. Keys are digests of what was asked and
//! of the bytes that the model saw, never of names or addresses; callers never share. Only complete, finished answers
//! are kept.

mod flight;
mod key;
mod memory;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use vision_providers::answer::{Answer, AnswerStream, Chunk};
use vision_providers::error::{Error, ErrorKind, Result};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CacheMode, CallCtx, VisionRequest};
use vision_providers::wire::Delivery;

use self::flight::{Flight, Flights, Heard, lost};
pub use self::key::Key;
use self::key::key;
pub use self::memory::{LONGEST, Memory, Settings};
use self::memory::{is_worth_remembering, remembered};
use crate::metrics::{Metrics, Remembered};
use crate::supervisor::Supervisor;

/// The layer.
pub struct Cached {
    inner: Provider,
    memory: Memory,
    flights: Flights,
    supervisor: Supervisor,
    metrics: Metrics,
    /// A digest of what makes the backend the one that it is: its name alone may come to mean another one.
    identity: Key,
}

impl Cached {
    /// Remembers the answers of `inner`, a backend of this identity.
    #[must_use]
    pub fn new(inner: Provider, identity: Key, memory: Memory, supervisor: Supervisor, metrics: Metrics) -> Self {
        Self { inner, memory, flights: Flights::default(), supervisor, metrics, identity }
    }

    async fn remembered(&self, key: &Key, ctx: &CallCtx) -> Option<Answer> {
        if ctx.cache != CacheMode::Use {
            return None;
        }
        let answer = self.memory.recent.get(key).await?;
        self.metrics.remembered(Remembered::Hit);
        Some(remembered(&answer))
    }

    /// Joins the call for this key that is in the air, or starts one.
    fn flight(&self, key: Key, ctx: &CallCtx, req: &VisionRequest, delivery: Delivery) -> Arc<Flight> {
        // Declared first, so that it is let go of last: to be the last to let go of a flight takes the lock below.
        let _landed;
        let mut flights = self.flights.lock();
        // A refreshing caller wants an answer that is younger than its question, so it joins nobody. It must not even
        // hold a flight here: to be the last to let go of one takes this very lock.
        if ctx.cache == CacheMode::Use
            && let Some(flight) = flights.get(&(key, ctx.last)).and_then(Weak::upgrade)
        {
            // One that has landed is held by others who are about to leave; its outcome is not for those who come now.
            if flight.heard.borrow().outcome.is_none() {
                self.metrics.remembered(Remembered::Shared);
                return flight;
            }
            _landed = flight;
        }
        let (sender, heard) = watch::channel(Heard::default());
        let (inner, memory, metrics) = (Arc::clone(&self.inner), self.memory.clone(), self.metrics.clone());
        let (ctx, req) = (ctx.clone(), req.clone());
        let (deadline, in_air) = (ctx.deadline, (key, ctx.last));
        let task = self.supervisor.spawn("call", async move {
            // The call that was in the air when its caller looked may have landed since.
            if ctx.cache == CacheMode::Use
                && let Some(answer) = memory.recall(&key).await
            {
                metrics.remembered(Remembered::DiskHit);
                sender.send_modify(|heard| heard.outcome = Some(Ok(answer)));
                return;
            }
            metrics.remembered(Remembered::Miss);
            let answered = match delivery {
                Delivery::Whole => inner.complete(&ctx, &req).await,
                Delivery::Streamed => listened(&inner, &ctx, &req, &sender).await,
            };
            if let Ok(answer) = &answered
                && is_worth_remembering(answer)
            {
                memory.remember(key, answer).await;
            }
            sender.send_modify(|heard| heard.outcome = Some(answered));
        });
        let flight = Arc::new(Flight {
            heard,
            task,
            deadline,
            key: in_air,
            flights: self.flights.clone(),
            billed: AtomicBool::new(false),
        });
        flights.insert(flight.key, Arc::downgrade(&flight));
        flight
    }

    /// A flight that has begun to say something, or has landed.
    async fn airborne(&self, key: Key, ctx: &CallCtx, req: &VisionRequest, delivery: Delivery) -> Result<Arc<Flight>> {
        loop {
            let flight = self.flight(key, ctx, req, delivery);
            let enough = |heard: &Heard| heard.says_more_than(if delivery == Delivery::Whole { usize::MAX } else { 0 });
            let failed = |heard: &Heard| heard.outcome.as_ref().and_then(|outcome| outcome.as_ref().err()).cloned();
            let failed = flight.wait(ctx.deadline, enough, failed).await?;
            // It died of an earlier caller's deadline; ours has not come.
            let (ends, now) = (flight.deadline, Instant::now());
            let died = |error: &Error| error.kind() == ErrorKind::TimedOut && now >= ends && now < ctx.deadline;
            if !failed.as_ref().is_some_and(died) {
                return Ok(flight);
            }
        }
    }
}

/// Passes on what is said while it is said.
async fn listened(
    inner: &Provider,
    ctx: &CallCtx,
    req: &VisionRequest,
    sender: &watch::Sender<Heard>,
) -> Result<Answer> {
    let mut stream = inner.stream(ctx, req).await?;
    while let Some(chunk) = stream.next().await {
        match chunk? {
            Chunk::Delta(text) => sender.send_modify(|heard| heard.said.push_str(&text)),
            Chunk::End(answer) => return Ok(*answer),
        }
    }
    Err(lost())
}

impl fmt::Debug for Cached {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Cached({:?})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VisionProvider for Cached {
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
        if ctx.cache == CacheMode::Bypass {
            self.metrics.remembered(Remembered::Bypass);
            return self.inner.complete(ctx, req).await;
        }
        let key = key(self.inner.id(), &self.identity, ctx, req);
        if let Some(answer) = self.remembered(&key, ctx).await {
            return Ok(answer);
        }
        let flight = self.airborne(key, ctx, req, Delivery::Whole).await?;
        let outcome = flight.heard.borrow().outcome.clone();
        outcome.unwrap_or_else(|| Err(lost())).map(|answer| flight.share(answer))
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        if ctx.cache == CacheMode::Bypass {
            self.metrics.remembered(Remembered::Bypass);
            return self.inner.stream(ctx, req).await;
        }
        let key = key(self.inner.id(), &self.identity, ctx, req);
        if let Some(answer) = self.remembered(&key, ctx).await {
            return Ok(answer.in_one_piece());
        }
        let flight = self.airborne(key, ctx, req, Delivery::Streamed).await?;
        // What fails before it said anything failed to begin.
        let failed = flight.heard.borrow().outcome.as_ref().and_then(|outcome| outcome.as_ref().err().cloned());
        match failed.filter(|_| flight.heard.borrow().said.is_empty()) {
            Some(error) => Err(error),
            None => Ok(flight.listen(ctx.deadline)),
        }
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
