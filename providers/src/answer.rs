//! What a backend answered, in terms that no vendor owns.

use std::time::Duration;

use crate::error::ErrorKind;
use crate::request::ModelId;

/// Tokens that the vendor counted, or that were estimated where it counts none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Everything that went in, images and cached tokens included.
    pub input_tokens: u64,
    /// Everything that came out, hidden reasoning included: it is billed alike.
    pub output_tokens: u64,
    /// The part of the input that was billed at the cache rate.
    pub cached_tokens: u64,
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
    pub latency: Duration,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The answer's text; JSON text where JSON was asked for.
    pub text: String,
    /// The model that the backend says it used.
    pub model: ModelId,
    /// Absent when the backend reported none.
    pub usage: Option<Usage>,
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
}

impl Answer {
    /// A plain, finished answer.
    #[must_use]
    pub fn new(text: impl Into<String>, model: ModelId) -> Self {
        Self {
            text: text.into(),
            model,
            usage: None,
            finish: Finish::Stop,
            blocks: Vec::new(),
            warnings: Vec::new(),
            partial: false,
            cached: false,
            tries: Vec::new(),
        }
    }
}
