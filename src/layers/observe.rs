//! A log line per call: who was asked, how it ended, how long it took. Never what was asked or answered.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::time::Instant;
use tracing::{debug, warn};
use vision_providers::answer::{Answer, AnswerStream, Chunk};
use vision_providers::error::{Error, ErrorKind, Result};
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
        let call = Observation::begin(self.id(), ctx, req);
        let outcome = self.inner.complete(ctx, req).await;
        call.end(outcome.as_ref());
        outcome
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let call = Observation::begin(self.id(), ctx, req);
        let stream = match self.inner.stream(ctx, req).await {
            Ok(stream) => stream,
            Err(error) => {
                call.end(Err(&error));
                return Err(error);
            }
        };
        let observed = stream.inspect(move |chunk| match chunk {
            Ok(Chunk::Delta(_)) => {}
            Ok(Chunk::End(answer)) => call.end(Ok(answer)),
            Err(error) => call.end(Err(error)),
        });
        Ok(Box::pin(observed))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}

/// What is written down of one call.
struct Observation {
    began: Instant,
    request: std::sync::Arc<str>,
    provider: String,
    model: String,
    task: &'static str,
    images: usize,
}

impl Observation {
    fn begin(provider: &str, ctx: &CallCtx, req: &VisionRequest) -> Self {
        Self {
            began: Instant::now(),
            request: ctx.request_id.clone(),
            provider: provider.to_owned(),
            model: req.model.to_string(),
            task: req.task.name(),
            images: req.images().count(),
        }
    }

    fn end(&self, outcome: Result<&Answer, &Error>) {
        let Self { began, request, provider, model, task, images } = self;
        let (request, ms) = (&**request, began.elapsed().as_millis());
        match outcome {
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
    }
}
