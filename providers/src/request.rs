//! What is asked of a backend, and the circumstances of asking: two types, so that nothing circumstantial can enter
//! a cache key.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::Instant;

use crate::document::Document;
use crate::image::Image;

/// The name of a model as its backend knows it. An open string: vendors add models weekly.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(Arc<str>);

impl ModelId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ModelId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The kinds of work that backends can or cannot do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Say what the image shows and which text stands in it.
    Describe,
    /// Read the text.
    Ocr,
    /// Answer a free question.
    Ask,
    /// Fill in a JSON schema.
    Extract,
}

impl Task {
    /// Every task, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Describe, Self::Ocr, Self::Ask, Self::Extract];

    /// The task of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }

    /// The name used in requests, answers and the catalog.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Ocr => "ocr",
            Self::Ask => "ask",
            Self::Extract => "extract",
        }
    }
}

/// A JSON schema that an answer must follow.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// A short identifier that some vendors demand beside the schema.
    pub name: String,
    /// The schema itself.
    pub value: Arc<Value>,
}

/// The form in which the answer is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Prose.
    Text,
    /// JSON that follows this schema.
    Json(Schema),
}

/// How closely the model should look, where it has a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Detail {
    /// Whatever is recommended for the model.
    #[default]
    Auto,
    /// Small and cheap.
    Low,
    /// As much as the model can use.
    High,
}

/// How hard a model should think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Effort {
    /// As little as the model can: looking rarely needs thought, and thought is billed.
    #[default]
    Least,
    Low,
    Medium,
    High,
}

impl Effort {
    /// The name that most vendors give it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Least => "least",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Parameters of generation. Absent means that nothing is sent and the vendor's default holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub seed: Option<i64>,
    /// The most tokens the answer may have; thoughts come on top.
    pub max_output_tokens: Option<u32>,
    pub stop: Vec<String>,
    pub effort: Effort,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    User,
    Assistant,
}

impl Role {
    /// The name that most vendors give it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A piece of what is said.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    Text(String),
    Image(Image),
    Document(Document),
}

/// What pictures are called when they are numbered.
const LABELS: [&str; 2] = ["Image", "Document"];

/// Whether a text is the number that we gave to a picture, and nobody's words.
pub(crate) fn is_label(text: &str) -> bool {
    let number = text.strip_suffix(':').and_then(|text| text.split_once(' '));
    number.is_some_and(|(kind, number)| LABELS.contains(&kind) && number.parse::<u8>().is_ok())
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub role: Role,
    /// In the order in which the model should see them.
    pub parts: Vec<Part>,
}

impl Message {
    /// Words.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, parts: vec![Part::Text(text.into())] }
    }

    /// What is said in words, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The images, in order.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.parts.iter().filter_map(|part| match part {
            Part::Image(image) => Some(image),
            _ => None,
        })
    }

    /// A question about pictures: they come first, as vendors advise, and have numbers when there are several.
    #[must_use]
    pub fn question(pictures: Vec<Part>, prompt: impl Into<String>) -> Self {
        let many = pictures.len() > 1;
        let mut parts = Vec::new();
        for (index, picture) in pictures.into_iter().enumerate() {
            if many {
                let kind = if matches!(picture, Part::Document(_)) { LABELS[1] } else { LABELS[0] };
                parts.push(Part::Text(format!("{kind} {}:", index + 1)));
            }
            parts.push(picture);
        }
        parts.push(Part::Text(prompt.into()));
        Self { role: Role::User, parts }
    }
}

/// One question about one or more images: everything that can change the answer, and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionRequest {
    pub model: ModelId,
    pub task: Task,
    /// Standing instructions, where the caller gave any.
    pub system: Option<String>,
    /// The conversation so far; the last turn is the user's.
    pub messages: Vec<Message>,
    pub output: Output,
    pub detail: Detail,
    pub sampling: Sampling,
}

impl VisionRequest {
    /// Every piece of the conversation, in order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.messages.iter().flat_map(|message| &message.parts)
    }

    /// Everything that is said in words, in order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.messages.iter().flat_map(Message::texts)
    }

    /// The images, in the order in which the conversation shows them.
    pub fn images(&self) -> impl Iterator<Item = &Image> {
        self.messages.iter().flat_map(Message::images)
    }

    /// The documents, in the order in which the conversation shows them.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.parts().filter_map(|part| match part {
            Part::Document(document) => Some(document),
            _ => None,
        })
    }

    /// Encoded bytes of all images and documents together: the measure of how much work sending it is.
    #[must_use]
    pub fn picture_bytes(&self) -> usize {
        let images: usize = self.images().map(|image| image.bytes().len()).sum();
        images + self.documents().map(|document| document.bytes().len()).sum::<usize>()
    }

    /// Characters of everything that is said in words.
    #[must_use]
    pub fn characters(&self) -> usize {
        let said = self.texts().map(|text| text.chars().count());
        said.sum::<usize>() + self.system.as_ref().map_or(0, |text| text.chars().count())
    }
}

/// Who asks: keeps callers' answers and budgets apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Caller(Option<Arc<str>>);

impl Caller {
    /// The person at this machine, who needs no key.
    #[must_use]
    pub fn local() -> Self {
        Self(None)
    }

    /// Somebody who has proved to be of this name.
    #[must_use]
    pub fn named(name: Arc<str>) -> Self {
        Self(Some(name))
    }

    /// A name for keys and logs; `local` for the person at this machine.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_deref().unwrap_or("local")
    }
}

/// What a call may do with remembered answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// Take a remembered answer, else remember the new one.
    #[default]
    Use,
    /// Ask anew and remember the answer.
    Refresh,
    /// Neither look nor remember.
    Bypass,
}

/// The circumstances of a call: they may change how long it takes and who pays, never what is answered.
#[derive(Debug, Clone)]
pub struct CallCtx {
    /// Ties log lines of one call together.
    pub request_id: Arc<str>,
    pub caller: Caller,
    /// When the answer is worth nothing any more.
    pub deadline: Instant,
    pub cache: CacheMode,
    /// How often a call that failed may be made again in all.
    pub retries: u32,
    /// Whether nobody else is asked after this: then there is nothing to save time for.
    pub last: bool,
}

impl CallCtx {
    /// The same call with an earlier deadline; a later one is ignored.
    #[must_use]
    pub fn until(&self, deadline: Instant) -> Self {
        Self { deadline: self.deadline.min(deadline), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{document, image};

    #[test]
    fn several_pictures_are_numbered_and_come_first() {
        let pictures = vec![Part::Image(image(16, 16, 1)), Part::Document(document(b"%PDF-1.7"))];
        let question = Message::question(pictures, "Image 3: which?");
        let said: Vec<&str> = question
            .parts
            .iter()
            .filter_map(|part| if let Part::Text(text) = part { Some(text.as_str()) } else { None })
            .collect();
        assert_eq!(said, ["Image 1:", "Document 2:", "Image 3: which?"]);
        assert_eq!(said.iter().map(|text| is_label(text)).collect::<Vec<_>>(), [true, true, false]);
        let alone = Message::question(vec![Part::Image(image(16, 16, 1))], "What?");
        assert_eq!(alone.parts.len(), 2);
    }
}
