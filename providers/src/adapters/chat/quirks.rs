//! How servers of chat completions differ: a closed set, so that a vendor stays a row of data.

use schemars::JsonSchema;
use serde::Deserialize;

/// The field that bounds the answer's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokens {
    #[default]
    MaxTokens,
    MaxCompletionTokens,
}

/// The field that seeds sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seed {
    #[default]
    Seed,
    RandomSeed,
}

/// How an image part holds its data URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageUrl {
    /// `{"url": "data:…"}`.
    #[default]
    Object,
    /// The data URI itself.
    Plain,
}

/// Whether the `detail` of an image is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetailField {
    #[default]
    Omit,
    Send,
}

/// Who speaks the standing instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    #[default]
    System,
    Developer,
}

/// How a streaming server comes to report its usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamUsage {
    /// It has to be asked, by `stream_options`.
    #[default]
    Ask,
    /// It does so by itself, or refuses the question.
    Given,
}

/// Whether the server is told not to keep the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    #[default]
    Omit,
    Never,
}

/// The field that says how hard to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffortField {
    #[default]
    ReasoningEffort,
    /// `{"effort": …}` inside `reasoning`.
    Reasoning,
}

/// How a document part holds its data URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DocumentPart {
    /// `file` with `filename` and `file_data`.
    #[default]
    File,
    /// `document_url`.
    DocumentUrl,
}

/// How one server's chat completions differ from the common form. The default is what most servers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    pub max_tokens: MaxTokens,
    pub seed: Seed,
    pub image_url: ImageUrl,
    pub detail: DetailField,
    pub system: SystemRole,
    pub stream_usage: StreamUsage,
    pub store: Store,
    pub effort: EffortField,
    pub document: DocumentPart,
}
