//! Leaves a backend alone that does not answer: its health is told how every call ended, and asked before the next.
//!
//! It lies inside the queue, so that those who wait their turn do not go on to a backend that has failed meanwhile. A
//! dropped call says nothing about the backend, and lets the next one probe.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::time::Instant;
use vision_providers::allowance::Allowance;
use vision_providers::answer::{Answer, AnswerStream, Chunk};
use vision_providers::error::{Error, Result};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, VisionRequest};

use crate::health::{Health, Pass};
use crate::metrics::{Metrics, Raised};

/// The layer.
#[derive(Debug)]
pub struct Guarded {
    inner: Provider,
    health: Arc<Health>,
    metrics: Metrics,
}

impl Guarded {
    /// Keeps the health of `inner`.
    #[must_use]
    pub fn new(inner: Provider, health: Arc<Health>, metrics: Metrics) -> Self {
        Self { inner, health, metrics }
    }

    fn attempt(&self, req: &VisionRequest) -> Result<Attempt> {
        let id = self.inner.id();
        let pass = self.health.admit(&req.model).map_err(|rest| rest.error(id))?;
        let (metrics, provider) = (self.metrics.clone(), id.to_owned());
        let running = metrics.running(id);
        Ok(Attempt { pass: Some(pass), metrics, provider, began: Instant::now(), _running: running })
    }
}

/// One call in the air.
struct Attempt {
    pass: Option<Pass>,
    metrics: Metrics,
    provider: String,
    began: Instant,
    _running: Raised,
}

impl Attempt {
    fn end(&mut self, outcome: Result<Option<Allowance>, &Error>) {
        let Some(pass) = self.pass.take() else { return };
        let name = outcome.err().map_or("ok", |error| error.kind().name());
        self.metrics.attempt(&self.provider, name, self.began.elapsed());
        pass.settle(outcome);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.pass.is_some() {
            self.metrics.attempt(&self.provider, "cancelled", self.began.elapsed());
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VisionProvider for Guarded {
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
        let mut attempt = self.attempt(req)?;
        let outcome = self.inner.complete(ctx, req).await;
        attempt.end(outcome.as_ref().map(|answer| answer.allowance));
        outcome
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let mut attempt = self.attempt(req)?;
        let stream = match self.inner.stream(ctx, req).await {
            Ok(stream) => stream,
            Err(error) => {
                attempt.end(Err(&error));
                return Err(error);
            }
        };
        let judged = stream.inspect(move |chunk| {
            let outcome = match chunk {
                Ok(Chunk::Delta(_)) => return,
                Ok(Chunk::End(answer)) => Ok(answer.allowance),
                Err(error) => Err(error),
            };
            attempt.end(outcome);
        });
        Ok(Box::pin(judged))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
