//! A provider that does what a test tells it to, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::image::Format;
use crate::model::{JsonMode, Limits, ModelCard, Price, TokenRule};
use crate::provider::VisionProvider;
use crate::request::{CallCtx, ModelId, Task, VisionRequest};

/// What happens at one call.
#[derive(Debug, Clone)]
pub enum Step {
    Say(Answer),
    Fail(Error),
    /// Never answers.
    Hang,
    /// Panics.
    Panic,
    /// Answers with this text after so long.
    After(Duration, String),
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
        sampling: true,
        limits: Limits {
            max_images: 4,
            max_bytes: 100_000,
            max_side: 256,
            target_side: 256,
            formats: vec![Format::Png, Format::Jpeg],
        },
        tokens: TokenRule::Unknown,
        price: Some(Price { input: 1_000_000, output: 2_000_000, cached: 0 }),
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

    #[expect(clippy::panic, reason = "the script says so")]
    async fn complete(&self, _: &CallCtx, req: &VisionRequest) -> Result<Answer> {
        self.card(req.model.as_str()).admit(req)?;
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut call = Unfinished { dropped: self.dropped(), finished: false };
        let outcome = match self.step() {
            Some(Step::Say(answer)) => Ok(answer),
            Some(Step::Fail(error)) => Err(error),
            Some(Step::After(pause, text)) => {
                tokio::time::sleep(pause).await;
                Ok(Answer::new(text, req.model.clone()))
            }
            Some(Step::Panic) => panic!("scripted"),
            Some(Step::Hang) | None => std::future::pending().await,
        };
        call.finished = true;
        outcome
    }

    async fn probe(&self, _: &CallCtx) -> Result<()> {
        Ok(())
    }
}
