//! A span for each question that is really asked, with what it took: for whoever collects traces.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tracing::{Instrument as _, Span};
use vision_providers::answer::{Answer, AnswerStream, Chunk};
use vision_providers::error::{Error, Result};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, Output, VisionRequest};

use crate::spans::{self, Vendor};

/// The layer.
#[derive(Debug)]
pub struct Traced {
    inner: Provider,
    vendor: Vendor,
}

impl Traced {
    /// Traces the calls to `inner`, which is this vendor's.
    #[must_use]
    pub fn new(inner: Provider, vendor: Vendor) -> Self {
        Self { inner, vendor }
    }

    fn span(&self, req: &VisionRequest) -> Span {
        // Callers can name any model: only what somebody else knows too leaves.
        let is_known = self.inner.models().iter().any(|card| card.is_called(req.model.as_str()));
        let span = spans::inference(&self.vendor, if is_known { req.model.as_str() } else { "_OTHER" });
        let kind = if req.output == Output::Text { "text" } else { "json" };
        span.record("gen_ai.output.type", kind);
        if let Some(tokens) = req.sampling.max_output_tokens {
            span.record("gen_ai.request.max_tokens", i64::from(tokens));
        }
        if let Some(temperature) = req.sampling.temperature {
            span.record("gen_ai.request.temperature", temperature);
        }
        span
    }
}

/// Writes down how a question ended.
fn end(span: &Span, outcome: Result<&Answer, &Error>) {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error) => return spans::failed(span, error.kind().name()),
    };
    span.record("gen_ai.response.model", answer.model.as_str());
    spans::finished(span, answer.finish.name());
    let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    if let Some(usage) = answer.usage {
        span.record("gen_ai.usage.input_tokens", count(usage.input_tokens))
            .record("gen_ai.usage.output_tokens", count(usage.output_tokens))
            .record("gen_ai.usage.cache_read.input_tokens", count(usage.cached_tokens));
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VisionProvider for Traced {
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
        let span = self.span(req);
        let outcome = self.inner.complete(ctx, req).instrument(span.clone()).await;
        end(&span, outcome.as_ref());
        outcome
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let span = self.span(req);
        let stream = match self.inner.stream(ctx, req).instrument(span.clone()).await {
            Ok(stream) => stream,
            Err(error) => {
                end(&span, Err(&error));
                return Err(error);
            }
        };
        Ok(Box::pin(stream.inspect(move |chunk| match chunk {
            Ok(Chunk::Delta(_)) => {}
            Ok(Chunk::End(answer)) => end(&span, Ok(answer)),
            Err(error) => end(&span, Err(error)),
        })))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}
