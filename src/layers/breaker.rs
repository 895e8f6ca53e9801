//! Leaves a backend alone that does not answer: its health is told how every call ended, and asked before the next.
//!
//! It lies inside the queue, so that those who wait their turn do not go on to a backend that has failed meanwhile. A
//! dropped call says nothing about the backend, and lets the next one probe.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use vision_providers::answer::{Answer, AnswerStream, Chunk};
use vision_providers::error::Result;
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, VisionRequest};

use crate::health::{Health, Pass};

/// The layer.
#[derive(Debug)]
pub struct Guarded {
    inner: Provider,
    health: Arc<Health>,
}

impl Guarded {
    /// Keeps the health of `inner`.
    #[must_use]
    pub fn new(inner: Provider, health: Arc<Health>) -> Self {
        Self { inner, health }
    }

    fn pass(&self, req: &VisionRequest) -> Result<Pass> {
        self.health.admit(&req.model).map_err(|rest| rest.error(self.inner.id()))
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
        let pass = self.pass(req)?;
        let outcome = self.inner.complete(ctx, req).await;
        pass.settle(outcome.as_ref().map(|answer| answer.allowance));
        outcome
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let mut pass = Some(self.pass(req)?);
        let stream = match self.inner.stream(ctx, req).await {
            Ok(stream) => stream,
            Err(error) => {
                pass.take().into_iter().for_each(|pass| pass.settle(Err(&error)));
                return Err(error);
            }
        };
        let judged = stream.inspect(move |chunk| {
            let outcome = match chunk {
                Ok(Chunk::Delta(_)) => return,
                Ok(Chunk::End(answer)) => Ok(answer.allowance),
                Err(error) => Err(error),
            };
            pass.take().into_iter().for_each(|pass| pass.settle(outcome));
        });
        Ok(Box::pin(judged))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
