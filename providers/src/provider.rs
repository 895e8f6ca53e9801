//! The trait that every backend and every layer around one implements.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::answer::{Answer, AnswerStream};
use crate::error::Result;
use crate::model::ModelCard;
use crate::request::{CallCtx, VisionRequest};

/// A backend that answers questions about images.
#[async_trait]
pub trait VisionProvider: fmt::Debug + Send + Sync + 'static {
    /// The name that operators gave it in the configuration.
    fn id(&self) -> &str;

    /// What is known about the model that it calls by this name; a card of cautious defaults for a name it has never
    /// heard of, because vendors add models faster than catalogs do.
    fn card(&self, model: &str) -> ModelCard;

    /// The models it has cards for, its default first.
    fn models(&self) -> &[ModelCard];

    /// Answers once. Dropping the future cancels the work, down to the connection or child process.
    async fn complete(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<Answer>;

    /// Answers as the answer comes into being: deltas, then exactly one end or one error. Where nothing streams, the
    /// answer comes in one piece. Dropping the stream cancels the work.
    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream>;

    /// Says cheaply whether the backend can be reached and accepts the key.
    async fn probe(&self, ctx: &CallCtx) -> Result<()>;
}

/// The unit of composition: layers wrap one and are one.
pub type Provider = Arc<dyn VisionProvider>;
