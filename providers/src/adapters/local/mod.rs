//! The provider that needs no key and no network: text by Tesseract, codes, and measurements.
//!
//! It is not a vision model and never pretends to be one: what it says of an image was measured or read, and questions
//! that need eyes are left to others.

mod codes;
mod describe;
mod facts;
mod page;
mod reading;
mod tesseract;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

use crate::adapters::local::codes::Code;
use crate::adapters::local::facts::Facts;
use crate::adapters::local::page::Page;
use crate::adapters::local::reading::Reading;
use crate::adapters::local::tesseract::{OcrError, Tesseract};
use crate::answer::{Answer, AnswerStream, TextBlock, Usage};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;
use crate::model::ModelCard;
use crate::provider::VisionProvider;
use crate::request::{CallCtx, ModelId, Output, Task, VisionRequest};

/// How text is read on this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Tesseract's language codes; each needs its language pack.
    pub languages: Vec<String>,
    /// The Tesseract program: a name to be searched for, or a path.
    pub program: String,
    /// Wall time that the text of one image may take.
    pub timeout: Duration,
    /// Images worked on at once.
    pub parallel: usize,
    /// The only environment that the child process sees.
    pub environment: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        // The system looks into a dozen files to tell, and these settings are made for every provider.
        static CORES: OnceLock<usize> = OnceLock::new();
        let cores = *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from));
        Self {
            languages: vec!["eng".into()],
            program: "tesseract".into(),
            timeout: Duration::from_secs(20),
            parallel: cores.min(4),
            environment: Vec::new(),
        }
    }
}

/// The provider.
pub struct Local {
    id: String,
    cards: Vec<ModelCard>,
    unknown: ModelCard,
    tesseract: Tesseract,
    timeout: Duration,
    permits: Arc<Semaphore>,
}

impl fmt::Debug for Local {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Local({})", self.id)
    }
}

/// One image, looked at.
struct Looked {
    facts: Facts,
    codes: Vec<Code>,
    text: Result<Reading, OcrError>,
}

impl Local {
    /// A provider called `id` that serves these cards.
    #[must_use]
    pub fn new(id: String, cards: Vec<ModelCard>, unknown: ModelCard, settings: Settings) -> Self {
        let permits = Arc::new(Semaphore::new(settings.parallel.max(1)));
        let timeout = settings.timeout;
        Self { id, cards, unknown, tesseract: Tesseract::new(settings), timeout, permits }
    }

    async fn look(&self, ctx: &CallCtx, image: &Image, task: Task) -> Result<Looked> {
        let waiting = timeout_at(ctx.deadline, Arc::clone(&self.permits).acquire_owned());
        let permit = match waiting.await {
            Ok(Ok(permit)) => permit,
            Ok(Err(closed)) => return Err(Error::new(ErrorKind::Internal, "waiting to read text").caused_by(closed)),
            Err(_) => return Err(Error::new(ErrorKind::TimedOut, "waiting for other images to be read")),
        };
        let pixels = image.clone();
        // The permit goes along: dropping this future does not stop the thread.
        let measuring = tokio::task::spawn_blocking(move || (measure(&pixels, task), permit));
        let late = |_| Error::new(ErrorKind::TimedOut, "measuring the image");
        let (measured, permit) = timeout_at(ctx.deadline, measuring)
            .await
            .map_err(late)?
            .map_err(|error| Error::new(ErrorKind::Internal, "measuring the image").caused_by(error))?;
        let (facts, codes, page) = measured?;
        let deadline = ctx.until(tokio::time::Instant::now() + self.timeout).deadline;
        let text = self.tesseract.read(page, deadline).await;
        let text = text.map(|reading| reading.without(|area| codes.iter().any(|code| code.holds(area))));
        drop(permit);
        Ok(Looked { facts, codes, text })
    }
}

/// Says what was seen of all images, in the form that was asked for.
fn answer(req: &VisionRequest, looked: &[Looked]) -> Result<Answer> {
    let mut warnings = Vec::new();
    for error in looked.iter().filter_map(|image| image.text.as_ref().err()) {
        if req.task == Task::Ocr {
            return Err(error.clone().into_error());
        }
        let warning = error.warning();
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    let readings = looked.iter().map(|image| image.text.as_ref().ok());
    let text = readings.clone().flatten().map(Reading::text).collect::<Vec<_>>().join("\n\n");
    let text = text.trim().to_owned();
    let blocks = readings.enumerate().flat_map(|(index, reading)| blocks(index, reading)).collect();
    let description = || describe::describe(looked);
    let said = match (&req.output, req.task) {
        (Output::Json(_), Task::Describe) => json!({"description": description(), "detected_text": text}).to_string(),
        (Output::Json(_), _) => json!({"detected_text": text}).to_string(),
        (Output::Text, Task::Describe) => format!("{}\n\n{text}", description()),
        (Output::Text, _) => text,
    };
    let mut answer = Answer::new(said.trim(), req.model.clone());
    answer.usage = Some(Usage::default());
    answer.blocks = blocks;
    answer.partial = !warnings.is_empty();
    answer.warnings = warnings;
    Ok(answer)
}

fn blocks(image: usize, reading: Option<&Reading>) -> impl Iterator<Item = TextBlock> {
    reading.into_iter().flat_map(|reading| &reading.lines).map(move |line| TextBlock {
        image,
        text: line.text(),
        area: line.area(),
        confidence: Some(line.confidence() / 100.0),
    })
}

/// Everything that needs pixels but no child process.
fn measure(image: &Image, task: Task) -> Result<(Facts, Vec<Code>, Page)> {
    // One conversion serves all: a copy of twelve megapixels is 36 MB.
    let picture = page::decode(image)?.into_rgb8();
    let facts = Facts::of(&picture);
    let grey = page::contrast_grey(&picture);
    let codes = if task == Task::Describe { codes::find(&grey) } else { Vec::new() };
    Ok((facts, codes, Page::new(grey)))
}

#[async_trait]
impl VisionProvider for Local {
    fn id(&self) -> &str {
        &self.id
    }

    fn card(&self, model: &str) -> ModelCard {
        let known = self.cards.iter().find(|card| card.is_called(model));
        known.cloned().unwrap_or_else(|| ModelCard { id: ModelId::from(model), ..self.unknown.clone() })
    }

    fn models(&self) -> &[ModelCard] {
        &self.cards
    }

    async fn complete(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<Answer> {
        if !self.cards.iter().any(|card| card.is_called(req.model.as_str())) {
            let message = format!("{} has no model called {}", self.id, req.model);
            return Err(Error::new(ErrorKind::UnknownModel, message));
        }
        let card = self.card(req.model.as_str());
        card.admit(req)?;
        let mut looked = Vec::new();
        for image in req.images() {
            looked.push(self.look(ctx, image, req.task).await?);
        }
        let mut answer = answer(req, &looked)?;
        answer.warnings.extend(card.parameters.fit(&req.sampling).1);
        Ok(answer)
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        Ok(self.complete(ctx, req).await?.in_one_piece())
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.tesseract.check(ctx.deadline).await.map_err(OcrError::into_error)
    }
}
