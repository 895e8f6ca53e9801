//! A log line per call: who was asked, how it ended, how long it took. Never what was asked or answered.

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::{debug, warn};
use vision_providers::answer::Answer;
use vision_providers::error::{ErrorKind, Result};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, VisionRequest};

/// The layer.
#[derive(Debug)]
pub struct Observed {
    inner: Provider,
}

impl Observed {
    /// Writes down how the calls to `inner` end.
    #[must_use]
    pub fn new(inner: Provider) -> Self {
        Self { inner }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VisionProvider for Observed {
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
        let outcome = self.inner.complete(ctx, req).await;
        let (request, provider, model) = (&*ctx.request_id, self.id(), req.model.as_str());
        let (task, images, ms) = (req.task.name(), req.images.len(), began.elapsed().as_millis());
        match &outcome {
            Ok(answer) => {
                let (tries, cached) = (answer.tries.len(), answer.cached);
                debug!(request, provider, model, task, images, ms, tries, cached, outcome = "ok");
            }
            Err(error) => {
                let (tries, kind) = (error.tries().len(), error.kind().name());
                debug!(request, provider, model, task, images, ms, tries, outcome = kind);
                if matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::OutOfCredit) {
                    warn!(provider, "{kind}: the operator has to act");
                }
            }
        }
        outcome
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
