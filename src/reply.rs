//! The reply: what was answered, by whom, for how much, and how it came about.
//!
//! It composes and cleans; it asks nobody and knows no JSON of any surface.

use std::time::Duration;

use serde_json::Value;
use vision_providers::answer::{Answer, Finish, Rect, TextBlock, Usage};
use vision_providers::estimate::Estimate;
use vision_providers::price::{MicroUsd, Price};
use vision_providers::request::{Output, Task};

use crate::clean;
use crate::failure::{Code, Failure, Result};
use crate::intake::fit::Step;
use crate::intake::{Picture, Ready};
use crate::router::plan::{Plan, Skipped};
use crate::router::roster::Candidate;
use crate::router::rules::Strategy;
use crate::tasks::Question;

/// What the answer says, by task.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Description { description: String, detected_text: String },
    Reading { detected_text: String, blocks: Vec<TextBlock> },
    Text(String),
    Data(Value),
}

/// One call of a candidate, for the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// `provider/model`.
    pub model: String,
    /// `ok`, `cached`, or the kind of error.
    pub outcome: &'static str,
    pub latency: Duration,
}

/// How the answer came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub rule: String,
    /// How the rule puts its models in order; `first` is the order in which they are written.
    pub strategy: Strategy,
    pub attempts: Vec<Attempt>,
    /// Models that were passed over, with the reason.
    pub skipped: Vec<(String, &'static str)>,
    /// What the call was expected to take, where that could be told.
    pub estimate: Option<Estimate>,
}

/// The answer of one candidate, and how it was asked.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Which candidate of the plan.
    pub(crate) index: usize,
    /// Which other one was still being asked, and was left.
    pub(crate) overtaken: Option<usize>,
    pub(crate) ready: Vec<Ready>,
    pub(crate) answer: Answer,
    pub(crate) estimate: Option<Estimate>,
}

/// An image as it came and as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageAccount {
    pub source: &'static str,
    pub original: Shape,
    pub sent: Shape,
    pub steps: Vec<Step>,
}

/// The outside of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub format: &'static str,
    /// Width and height in pixels; documents have none.
    pub size: Option<(u32, u32)>,
    pub bytes: usize,
}

/// One true, structured answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The task's name, as it was asked.
    pub task: String,
    pub content: Content,
    pub provider: String,
    /// The model that answered, by its own account.
    pub model: String,
    pub model_requested: String,
    pub latency: Duration,
    pub usage: Option<Usage>,
    pub cost: Option<MicroUsd>,
    /// What calls that were broken off may have cost beyond that, by estimate.
    pub unconfirmed: MicroUsd,
    pub finish: Finish,
    pub cached: bool,
    pub warnings: Vec<String>,
    pub route: Route,
    pub images: Vec<ImageAccount>,
}

impl Reply {
    /// Adds what was billed for answers that were of no use.
    pub(crate) fn add_lost(&mut self, lost: MicroUsd) {
        if lost > MicroUsd::default() {
            self.cost = self.cost.map(|cost| MicroUsd(cost.0 + lost.0));
            self.warnings.push(format!("${} of the cost went into answers that could not be used", lost.dollars()));
        }
    }

    /// Says what calls may have cost that nobody waited for any more: their vendors may bill them, and nobody knows.
    pub(crate) fn warn_of_cut(&mut self, cut: MicroUsd) {
        self.unconfirmed = cut;
        if cut > MicroUsd::default() {
            let about = cut.dollars();
            self.warnings.push(format!("calls that were broken off may be billed as well, about ${about} by estimate"));
        }
    }
}

/// That a model failed, with the kind of error that its last call came to.
fn with_reason(model: &str, attempts: &[Attempt]) -> String {
    let last = attempts.iter().rfind(|attempt| attempt.model == model);
    last.map_or_else(|| format!("{model} failed"), |last| format!("{model} failed ({})", last.outcome))
}

/// Makes the reply of the candidate that answered, without the times and images that only its caller knows.
///
/// # Errors
/// `BAD_UPSTREAM_RESPONSE` when an answer that passed validation is not JSON after all.
pub(crate) fn compose(question: &Question, plan: &Plan, outcome: &Outcome, attempts: Vec<Attempt>) -> Result<Reply> {
    let Outcome { index, overtaken, ready, answer, estimate } = outcome;
    let index = *index;
    let candidate = &plan.candidates[index];
    // A server may call its model something else; then it is the model that was asked whose price is known.
    let answered = candidate.provider.models().iter().find(|card| card.is_called(answer.model.as_str()));
    let price = answered.and_then(|card| card.price).or(candidate.card.price);
    let mut warnings = answer.warnings.clone();
    let guessed = estimate.filter(|_| answer.usage.is_none()).map(|estimate| estimate.usage(&answer.text));
    if guessed.is_some() {
        warnings.push("the backend reported no usage: tokens and cost are estimates".into());
    }
    let usage = answer.usage.or(guessed);
    let cost = if answer.cached { Some(MicroUsd::default()) } else { cost(price, usage.iter().chain(&answer.earlier)) };
    let usage = usage.map(|usage| answer.earlier.iter().fold(usage, |sum, earlier| sum.and(*earlier)));
    let passed_over = plan.skipped.iter().filter(|skipped| skipped.before.is_some_and(|before| before <= index));
    warnings.extend(passed_over.map(Skipped::warning));
    let failed = plan.candidates.iter().take(index).enumerate().filter(|(index, _)| Some(*index) != *overtaken);
    let failed: Vec<String> = failed.map(|(_, candidate)| with_reason(&candidate.name(), &attempts)).collect();
    if !failed.is_empty() {
        warnings.push(format!("{}: {} answered instead", failed.join(", "), candidate.name()));
    }
    let is_told = !failed.is_empty() || plan.skipped.iter().any(|it| it.before.is_some_and(|before| before <= index));
    if !is_told && (candidate.stands_in || plan.named.as_ref().is_some_and(|named| *named != candidate.name())) {
        let (requested, rule, answered) = (&plan.requested, &plan.rule, candidate.name());
        warnings.push(format!("{requested} was asked for: by {rule}, {answered} answered instead"));
    }
    if let Some(slower) = overtaken.and_then(|index| plan.candidates.get(index)).map(Candidate::name) {
        let answered = candidate.name();
        warnings.push(format!("{slower} was asked too, and left when {answered} answered: its vendor may bill it"));
    }
    if answer.finish == Finish::Length {
        warnings.push("the answer was cut by the token limit: raise `max_output_tokens` to get the rest".into());
    }
    if answer.finish == Finish::Refusal {
        warnings.push("the vendor's filter cut the answer".into());
    }
    let (finish, cached) = (answer.finish, answer.cached);
    let model = clean::text(answer.model.as_str());
    let content = content(question, answer, ready)?;
    Ok(Reply {
        task: question.name.clone(),
        content,
        provider: candidate.provider.id().to_owned(),
        model,
        model_requested: plan.requested.clone(),
        latency: Duration::ZERO,
        usage,
        cost,
        unconfirmed: MicroUsd::default(),
        finish,
        cached,
        warnings: warnings.iter().map(|warning| clean::text(warning)).collect(),
        route: Route {
            rule: plan.rule.clone(),
            strategy: plan.strategy,
            attempts,
            skipped: skipped(plan),
            estimate: *estimate,
        },
        images: Vec::new(),
    })
}

/// What these calls cost, each on its own: prices depend on how long a request is. `None` when that is not known.
fn cost<'a>(price: Option<Price>, calls: impl Iterator<Item = &'a Usage>) -> Option<MicroUsd> {
    // The vendor's own account is better than ours.
    let mut costs = calls.map(|usage| usage.billed.or_else(|| Some(price?.of(usage)))).peekable();
    costs.peek()?;
    costs.try_fold(MicroUsd::default(), |sum, cost| Some(MicroUsd(sum.0 + cost?.0)))
}

fn skipped(plan: &Plan) -> Vec<(String, &'static str)> {
    plan.skipped.iter().map(|skipped| (skipped.model.clone(), skipped.reason.name())).collect()
}

fn content(question: &Question, answer: &Answer, ready: &[Ready]) -> Result<Content> {
    if question.output == Output::Text {
        return Ok(Content::Text(clean::text(&answer.text)));
    }
    let garbled = |_| Failure::new(Code::BadUpstreamResponse, "reading the answer: it is not JSON");
    let data = clean::value(serde_json::from_str(&answer.text).map_err(garbled)?);
    let field = |name: &str| data[name].as_str().unwrap_or_default().trim().to_owned();
    Ok(match question.task {
        Task::Describe => {
            Content::Description { description: field("description"), detected_text: field("detected_text") }
        }
        Task::Ocr => {
            let blocks = answer.blocks.iter().filter_map(|block| placed(block, ready)).collect();
            Content::Reading { detected_text: field("detected_text"), blocks }
        }
        Task::Ask | Task::Extract => Content::Data(data),
    })
}

/// A block in the pixels of the image that the caller named.
fn placed(block: &TextBlock, ready: &[Ready]) -> Option<TextBlock> {
    let mut images = ready.iter().filter_map(|ready| match ready {
        Ready::Image(fitted) => Some(fitted),
        Ready::Document(_) => None,
    });
    let area: Rect = images.nth(block.image)?.in_original(block.area);
    Some(TextBlock { text: clean::text(&block.text), area, ..block.clone() })
}

/// What became of one image or document.
pub(crate) fn account(picture: &Picture, ready: &Ready) -> ImageAccount {
    let original = Shape { format: picture.format(), size: picture.size(), bytes: picture.bytes() };
    let (sent, steps) = match ready {
        Ready::Document(_) => (original, Vec::new()),
        Ready::Image(fitted) => {
            let image = &fitted.image;
            let size = Some((image.width(), image.height()));
            (Shape { format: image.format().name(), size, bytes: image.bytes().len() }, fitted.steps.clone())
        }
    };
    ImageAccount { source: picture.source(), original, sent, steps }
}
