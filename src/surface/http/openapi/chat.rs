//! OpenAI's chat completions and models, as far as they are understood and answered here.

#![expect(dead_code, reason = "these types describe; they are read and written by `http::openai`")]
#![expect(unused_qualifications, reason = "what utoipa writes names types in full")]

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{AnyOfBuilder, Array, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, Type};

use super::questions::EXAMPLE;

/// A request for a chat completion. Members that are not listed are passed over; those that would change the answer and that
/// nobody here can take are named in the header `x-visiongate-dropped`.
#[derive(ToSchema)]
pub(super) struct ChatRequest {
    #[schema(schema_with = messages)]
    messages: Vec<Message>,
    /// As `GET /v1/models` lists them; `default` and `auto` leave it to the gateway.
    model: Option<String>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    seed: Option<i64>,
    #[schema(minimum = 1)]
    max_tokens: Option<u32>,
    #[schema(minimum = 1)]
    max_completion_tokens: Option<u32>,
    #[schema(schema_with = stop)]
    stop: Option<Vec<String>>,
    reasoning_effort: Option<Effort>,
    response_format: Option<ResponseFormat>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
}

#[derive(ToSchema)]
struct StreamOptions {
    /// Whether the stream ends with a chunk that tells what it took.
    include_usage: Option<bool>,
}

/// `json_schema` holds the answer to a schema; `json_object` asks for any object.
#[derive(ToSchema)]
struct ResponseFormat {
    r#type: FormatKind,
    #[schema(required = false)]
    json_schema: NamedSchema,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum FormatKind {
    Text,
    JsonObject,
    JsonSchema,
}

#[derive(ToSchema)]
struct NamedSchema {
    #[schema(required = false)]
    name: String,
    schema: Map<String, Value>,
}

#[derive(ToSchema)]
pub(super) struct Message {
    role: Speaker,
    #[schema(schema_with = content)]
    content: Value,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Speaker {
    System,
    Developer,
    User,
    Assistant,
}

#[derive(ToSchema)]
pub(super) struct TextPart {
    #[schema(schema_with = text)]
    r#type: String,
    text: String,
}

#[derive(ToSchema)]
pub(super) struct ImagePart {
    #[schema(schema_with = image_url)]
    r#type: String,
    image_url: ImageUrl,
}

#[derive(ToSchema)]
struct ImageUrl {
    url: String,
    #[schema(required = false)]
    detail: Look,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Look {
    Auto,
    Low,
    High,
    Original,
}

/// A PDF document, for models that read them.
#[derive(ToSchema)]
pub(super) struct FilePart {
    #[schema(schema_with = file)]
    r#type: String,
    file: FileData,
}

#[derive(ToSchema)]
struct FileData {
    /// A data URI.
    file_data: String,
    #[schema(required = false)]
    filename: String,
}

fn messages() -> Array {
    let image = json!({"type": "image_url", "image_url": {"url": EXAMPLE}});
    let example = json!([{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}]);
    let messages = ArrayBuilder::new().items(Ref::from_schema_name(Message::name())).min_items(Some(1));
    let words = "The last one is the user's. Images are https URLs, data URIs, or handles of uploads.";
    messages.description(Some(words)).examples([example]).build()
}

fn word(word: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([word])).build()
}

fn text() -> Object {
    word("text")
}

fn image_url() -> Object {
    word("image_url")
}

fn file() -> Object {
    word("file")
}

fn content() -> Schema {
    let parts = [TextPart::name(), ImagePart::name(), FilePart::name()];
    let part = parts.into_iter().fold(AnyOfBuilder::new(), |any, name| any.item(Ref::from_schema_name(name)));
    let text = ObjectBuilder::new().schema_type(Type::String);
    let parts = ArrayBuilder::new().items(part).min_items(Some(1));
    Schema::OneOf(OneOfBuilder::new().item(text).item(parts).build())
}

fn stop() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let nothing = ObjectBuilder::new().schema_type(Type::Null);
    let texts = ArrayBuilder::new().items(text());
    Schema::AnyOf(AnyOfBuilder::new().item(text()).item(texts).item(nothing).build())
}

/// An answer in OpenAI's shape.
#[derive(ToSchema)]
pub(super) struct ChatCompletion {
    id: String,
    #[schema(schema_with = completion)]
    object: String,
    /// Seconds since 1970.
    created: u64,
    /// Who answered, as `provider/model`.
    model: String,
    #[schema(min_items = 1, max_items = 1)]
    choices: Vec<Choice>,
    #[schema(required = false)]
    usage: ChatUsage,
    #[schema(schema_with = null)]
    system_fingerprint: Value,
    /// What OpenAI's shape has no place for: cost, warnings, route, images.
    visiongate: Map<String, Value>,
}

fn completion() -> Object {
    word("chat.completion")
}

fn null() -> Object {
    ObjectBuilder::new().schema_type(Type::Null).build()
}

#[derive(ToSchema)]
struct Choice {
    index: u64,
    message: Said,
    #[schema(schema_with = null)]
    logprobs: Value,
    finish_reason: Finish,
}

#[derive(ToSchema)]
struct Said {
    role: String,
    content: String,
    #[schema(schema_with = null)]
    refusal: Value,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum Finish {
    Stop,
    Length,
    ContentFilter,
}

#[derive(ToSchema)]
struct ChatUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokens,
    completion_tokens_details: CompletionTokens,
}

#[derive(ToSchema)]
struct PromptTokens {
    cached_tokens: u64,
}

#[derive(ToSchema)]
struct CompletionTokens {
    reasoning_tokens: u64,
}

/// The data of one event of a stream, which ends with `[DONE]`.
#[derive(ToSchema)]
pub(super) struct ChatChunk {
    id: String,
    #[schema(schema_with = chunk)]
    object: String,
    created: u64,
    /// Empty until it is known who answers.
    model: String,
    #[schema(max_items = 1)]
    choices: Vec<ChunkChoice>,
    /// In the chunk before the end, when it was asked for.
    #[schema(required = false)]
    usage: ChatUsage,
    #[schema(schema_with = null)]
    system_fingerprint: Value,
    /// In the chunk that says why the answer ended.
    #[schema(required = false)]
    visiongate: Map<String, Value>,
}

fn chunk() -> Object {
    word("chat.completion.chunk")
}

#[derive(ToSchema)]
struct ChunkChoice {
    index: u64,
    delta: ChunkDelta,
    #[schema(schema_with = null)]
    logprobs: Value,
    #[schema(required = true)]
    finish_reason: Option<Finish>,
}

#[derive(ToSchema)]
struct ChunkDelta {
    #[schema(required = false)]
    role: String,
    #[schema(required = false)]
    content: String,
}

/// Every name by which the caller can ask for a model.
#[derive(ToSchema)]
pub(super) struct ModelList {
    #[schema(schema_with = list)]
    object: String,
    data: Vec<Model>,
}

#[derive(ToSchema)]
pub(super) struct Model {
    id: String,
    #[schema(schema_with = model)]
    object: String,
    created: u64,
    owned_by: String,
    /// Absent for names of rules, which lead to one model or another.
    #[schema(required = false)]
    visiongate: ModelBrief,
}

/// The model that a name leads to.
#[derive(ToSchema)]
struct ModelBrief {
    /// As `provider/model`.
    model: String,
    tasks: Vec<String>,
    /// Absent when no price is known.
    #[schema(required = false)]
    price_usd_per_million: TokenPrice,
    #[schema(required = false)]
    price_usd_per_page: f64,
    /// With data that a schema asks for.
    #[schema(required = false)]
    price_usd_per_annotated_page: f64,
    /// Since when it has been retired.
    #[schema(required = false)]
    retired: String,
    /// When it will be retired.
    #[schema(required = false)]
    retires: String,
    #[schema(required = false)]
    successor: String,
}

/// By a million tokens, in US dollars.
#[derive(ToSchema)]
struct TokenPrice {
    input: f64,
    output: f64,
    cached: f64,
    #[schema(required = false)]
    above: LongPrice,
}

/// Of the whole request, when it has more tokens than these.
#[derive(ToSchema)]
struct LongPrice {
    tokens: u64,
    input: f64,
    output: f64,
}

fn list() -> Object {
    word("list")
}

fn model() -> Object {
    word("model")
}
