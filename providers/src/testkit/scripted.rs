//! A provider that does what a test tells it to, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::unfold;

use crate::answer::{Answer, AnswerStream, Chunk};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Format;
use crate::model::{JsonMode, Limits, ModelCard};
use crate::parameters::{Parameters, SamplingRule};
use crate::price::Price;
use crate::provider::VisionProvider;
use crate::request::{CallCtx, ModelId, Task, VisionRequest};
use crate::tokens::{Basis, TokenRule};

/// What happens at one call.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a script is short")]
pub enum Step {
    Say(Answer),
    Fail(Error),
    /// Never answers.
    Hang,
    /// Panics.
    Panic,
    /// Answers with this text after so long.
    After(Duration, String),
    /// Gives these pieces, one after the other, and then nothing more.
    Speak(Vec<Result<Chunk>>),
}

/// The provider. Plays its steps in order, and the last one for ever.
#[derive(Debug)]
pub struct Scripted {
    cards: Vec<ModelCard>,
    steps: Mutex<VecDeque<Step>>,
    calls: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

/// A card that allows everything tests do, up to four images of 256 pixels.
#[must_use]
pub fn card(id: &str) -> ModelCard {
    ModelCard {
        id: ModelId::from(id),
        aliases: Vec::new(),
        tasks: Task::ALL.to_vec(),
        boxes: false,
        json: JsonMode::Schema,
        parameters: Parameters {
            sampling: SamplingRule::Always,
            max_temperature: 2.0,
            seed: true,
            stop: 4,
            reasoning: Vec::new(),
        },
        limits: Limits {
            max_images: 4,
            max_bytes: 100_000,
            max_total_bytes: 400_000,
            max_document_bytes: 0,
            max_side: 256,
            target_side: 256,
            low_side: 128,
            max_output_tokens: None,
            context: None,
            formats: vec![Format::Png, Format::Jpeg],
        },
        tokens: TokenRule::Unknown,
        basis: Basis::Assumed,
        price: Some(Price { input: 1_000_000, output: 2_000_000, ..Price::default() }),
        retirement: None,
        source: "a test".into(),
    }
}

impl Scripted {
    /// A provider that plays these steps.
    #[must_use]
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::with_card(card("scripted-1"), steps)
    }

    /// The same with a card of one's own.
    #[must_use]
    pub fn with_card(card: ModelCard, steps: impl IntoIterator<Item = Step>) -> Self {
        let steps = Mutex::new(steps.into_iter().collect());
        Self { cards: vec![card], steps, calls: Arc::default(), dropped: Arc::default() }
    }

    /// How often it was called, shared so that it can be watched from outside.
    #[must_use]
    pub fn calls(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.calls)
    }

    /// How many calls were dropped before they ended.
    #[must_use]
    pub fn dropped(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.dropped)
    }

    fn step(&self) -> Option<Step> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() > 1 { steps.pop_front() } else { steps.front().cloned() }
    }
}

/// Counts a call that did not reach its end.
struct Unfinished {
    dropped: Arc<AtomicUsize>,
    finished: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            self.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl VisionProvider for Scripted {
    fn id(&self) -> &'static str {
        "scripted"
    }

    fn card(&self, model: &str) -> ModelCard {
        let known = self.cards.iter().find(|card| card.is_called(model));
        known.cloned().unwrap_or_else(|| ModelCard { id: ModelId::from(model), ..self.cards[0].clone() })
    }

    fn models(&self) -> &[ModelCard] {
        &self.cards
    }

    async fn complete(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<Answer> {
        let mut stream = self.stream(ctx, req).await?;
        while let Some(chunk) = stream.next().await {
            if let Chunk::End(answer) = chunk? {
                return Ok(*answer);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the script stopped in the middle"))
    }

    #[expect(clippy::panic, reason = "the script says so")]
    async fn stream(&self, _: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        self.card(req.model.as_str()).admit(req)?;
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut call = Unfinished { dropped: self.dropped(), finished: false };
        let chunks = match self.step() {
            Some(Step::Say(answer)) => vec![Ok(Chunk::Delta(answer.text.clone())), Ok(Chunk::End(Box::new(answer)))],
            Some(Step::Speak(chunks)) => chunks,
            Some(Step::Fail(error)) => {
                call.finished = true;
                return Err(error);
            }
            Some(Step::After(pause, text)) => {
                tokio::time::sleep(pause).await;
                vec![Ok(Chunk::End(Box::new(Answer::new(text, req.model.clone()))))]
            }
            Some(Step::Panic) => panic!("scripted"),
            Some(Step::Hang) | None => std::future::pending().await,
        };
        Ok(Box::pin(unfold((chunks.into_iter(), call), |(mut chunks, mut call)| async move {
            // Others get a turn between two pieces, as they would between two packets.
            tokio::task::yield_now().await;
            let chunk = chunks.next();
            call.finished = chunk.as_ref().is_none_or(|chunk| !matches!(chunk, Ok(Chunk::Delta(_))));
            Some((chunk?, (chunks, call)))
        })))
    }

    async fn probe(&self, _: &CallCtx) -> Result<()> {
        Ok(())
    }
}
