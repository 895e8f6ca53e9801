//! What a backend answered, in terms that no vendor owns.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;

use crate::allowance::Allowance;
use crate::error::{ErrorKind, Result};
use crate::price::MicroUsd;
use crate::request::ModelId;

/// What the vendor counted, in one way of counting for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Everything that went in, images and cached tokens included.
    pub input_tokens: u64,
    /// Everything that came out, hidden reasoning included: it is billed alike.
    pub output_tokens: u64,
    /// The part of the input that was billed at the cache rate.
    pub cached_tokens: u64,
    /// The part of the output that was thought and not said.
    pub reasoning_tokens: u64,
    /// The part of the input that images took, where the vendor says.
    pub image_tokens: Option<u64>,
    /// Pages that were read, where the vendor bills by page.
    pub pages: u64,
    /// Pages that were read and annotated after a schema, which some bill at another price.
    pub annotated_pages: u64,
    /// What the call cost by the vendor's own account.
    pub billed: Option<MicroUsd>,
}

impl Usage {
    /// Two calls for one answer.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens + other.input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            reasoning_tokens: self.reasoning_tokens + other.reasoning_tokens,
            image_tokens: self.image_tokens.zip(other.image_tokens).map(|(one, two)| one + two),
            pages: self.pages + other.pages,
            annotated_pages: self.annotated_pages + other.annotated_pages,
            billed: self.billed.zip(other.billed).map(|(one, two)| MicroUsd(one.0 + two.0)),
        }
    }
}

/// Why the answer ends where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model had said everything.
    Stop,
    /// The token limit cut it.
    Length,
    /// A filter cut it.
    Refusal,
}

impl Finish {
    /// The name used in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Refusal => "refusal",
        }
    }
}

/// A rectangle in pixels: left and top are inside, right and bottom are one past the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    pub left: u32,
    pub top: u32,
    pub right: u32,
    pub bottom: u32,
}

/// A line of text and where it stands, in pixels of the image as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct TextBlock {
    /// Index into the request's images.
    pub image: usize,
    pub text: String,
    pub area: Rect,
    /// 0 to 1, where the backend says.
    pub confidence: Option<f32>,
}

/// One call to a backend and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// `None` when it answered.
    pub error: Option<ErrorKind>,
    /// Without the wait for a turn, where it answered in one piece.
    pub latency: Duration,
}

/// A piece of an answer that is still being given.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    /// Text that follows what came before.
    Delta(String),
    /// The whole answer. Exactly one ends a stream that did not fail, and its text is what counts.
    End(Box<Answer>),
}

/// An answer as it is given: any number of deltas, then one end or one error. Dropping it cancels the call.
pub type AnswerStream = Pin<Box<dyn Stream<Item = Result<Chunk>> + Send>>;

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer's text; JSON text where JSON was asked for.
    pub text: String,
    /// The model that the backend says it used.
    pub model: ModelId,
    /// Absent when the backend reported none.
    pub usage: Option<Usage>,
    /// What earlier calls took that were made for this answer: each is billed on its own.
    pub earlier: Vec<Usage>,
    pub finish: Finish,
    /// Text with places, from backends that know them.
    pub blocks: Vec<TextBlock>,
    /// What the caller should know although the call succeeded.
    pub warnings: Vec<String>,
    /// Something that was asked for is missing, as the warnings say: nobody should remember this answer.
    pub partial: bool,
    /// It was remembered, not asked for anew.
    pub cached: bool,
    /// The calls that were made for it, oldest first.
    pub tries: Vec<Try>,
    /// How long its call waited for a turn before it was made, which says nothing of who answered.
    pub waited: Duration,
    /// What the backend still takes after it, where it says.
    pub allowance: Option<Allowance>,
}

impl Answer {
    /// A plain, finished answer.
    #[must_use]
    pub fn new(text: impl Into<String>, model: ModelId) -> Self {
        Self {
            text: text.into(),
            model,
            usage: None,
            earlier: Vec::new(),
            finish: Finish::Stop,
            blocks: Vec::new(),
            warnings: Vec::new(),
            partial: false,
            cached: false,
            tries: Vec::new(),
            waited: Duration::ZERO,
            allowance: None,
        }
    }

    /// A stream that gives this answer in one piece.
    #[must_use]
    pub fn in_one_piece(self) -> AnswerStream {
        let delta = Ok(Chunk::Delta(self.text.clone()));
        Box::pin(futures_util::stream::iter([delta, Ok(Chunk::End(Box::new(self)))]))
    }
}
