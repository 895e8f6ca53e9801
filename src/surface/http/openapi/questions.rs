//! What can be asked, as JSON and as forms.

#![expect(dead_code, reason = "these types describe; what comes is read by `surface::arguments`")]
#![expect(unused_qualifications, reason = "what utoipa writes names types in full")]

use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{
    Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, SchemaFormat, SchemaType, Type,
};

use crate::batch::MOST_ITEMS;

/// Models that any operator can allow to be compared.
const MOST_MODELS: usize = 32;
/// A small picture.
pub(super) const EXAMPLE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAKklEQVR42mM4ISdHU8QwasGoBaMWjFowasGoBaMWjFowasGoBaMWDBULACXLED1gHZEpAAAAAElFTkSuQmCC";

/// A question about one or more images.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AnalyzeRequest {
    /// An https URL, a data URI, the handle of an upload, or a path below the folders that the operator allows.
    #[schema(examples(json!(EXAMPLE)))]
    image: String,
    /// Further images, in the order in which the prompt speaks of them.
    more_images: Option<Vec<String>>,
    /// The question. `describe` and `ocr` need none.
    prompt: Option<String>,
    /// `describe`, `ocr`, `ask`, `extract`, or a task of the operator's. Without it: `extract` with a schema, `ask` with a
    /// prompt, else `describe`.
    task: Option<String>,
    /// A JSON Schema that `data` of the answer follows.
    schema: Option<Map<String, Value>>,
    /// A provider, `provider/model`, or a name of the operator's.
    model: Option<String>,
    /// Whether other models may answer in its place.
    fallback: Option<Fallback>,
    /// Whether the places of text are wanted too, which few models know.
    boxes: Option<bool>,
    detail: Option<Detail>,
    #[schema(schema_with = region)]
    region: Option<Vec<f64>>,
    /// Words for the model besides the question.
    system: Option<String>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    seed: Option<i64>,
    stop: Option<Vec<String>>,
    #[schema(minimum = 1)]
    max_output_tokens: Option<u32>,
    cache: Option<Cache>,
    /// Answers with server-sent events, as `Accept: text/event-stream` does.
    stream: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Fallback {
    Auto,
    None,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Detail {
    Auto,
    Low,
    High,
}

/// `use`: an answer may come from memory. `refresh`: it is asked for anew and remembered. `bypass`: neither.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Cache {
    Use,
    Refresh,
    Bypass,
}

/// The same question to several models.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareRequest {
    #[schema(examples(json!(EXAMPLE)))]
    image: String,
    more_images: Option<Vec<String>>,
    prompt: Option<String>,
    task: Option<String>,
    schema: Option<Map<String, Value>>,
    #[schema(schema_with = models)]
    models: Vec<String>,
    /// The right answer, to score each against; JSON for data.
    expected: Option<String>,
    /// Nobody is asked when all models together may cost more US dollars, by estimates of one call each, or when that cannot
    /// be told.
    #[schema(minimum = 0)]
    max_cost_usd: Option<f64>,
    detail: Option<Detail>,
    #[schema(schema_with = region)]
    region: Option<Vec<f64>>,
    #[schema(minimum = 1)]
    max_output_tokens: Option<u32>,
    /// `bypass` when absent: what was remembered says nothing of how long a model takes.
    cache: Option<Cache>,
    stream: Option<bool>,
}

/// Many questions, each with an answer or an error of its own. What is said beside `items` holds for those that do not say
/// it themselves.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchRequest {
    #[schema(schema_with = items)]
    items: Vec<BatchItem>,
    prompt: Option<String>,
    task: Option<String>,
    schema: Option<Map<String, Value>>,
    model: Option<String>,
    fallback: Option<Fallback>,
    detail: Option<Detail>,
    #[schema(minimum = 1)]
    max_output_tokens: Option<u32>,
    cache: Option<Cache>,
    stream: Option<bool>,
}

/// One item of a batch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchItem {
    #[schema(examples(json!(EXAMPLE)))]
    image: String,
    more_images: Option<Vec<String>>,
    prompt: Option<String>,
    task: Option<String>,
    schema: Option<Map<String, Value>>,
    model: Option<String>,
}

/// A question as a form. Files are images, whatever their fields are called; other fields are those of the JSON.
#[derive(ToSchema)]
pub(super) struct AnalyzeForm {
    #[schema(schema_with = files)]
    image: Vec<u8>,
    #[schema(required = false)]
    prompt: String,
    #[schema(required = false)]
    task: String,
    /// JSON.
    #[schema(required = false)]
    schema: String,
    #[schema(required = false)]
    model: String,
}

/// A comparison as a form.
#[derive(ToSchema)]
pub(super) struct CompareForm {
    #[schema(schema_with = files)]
    image: Vec<u8>,
    /// Names with commas between them.
    models: String,
    #[schema(required = false)]
    prompt: String,
    #[schema(required = false)]
    task: String,
    #[schema(required = false)]
    expected: String,
}

/// A batch as a form: the same question about each file.
#[derive(ToSchema)]
pub(super) struct BatchForm {
    #[schema(schema_with = files)]
    image: Vec<u8>,
    #[schema(required = false)]
    prompt: String,
    #[schema(required = false)]
    task: String,
    #[schema(required = false)]
    model: String,
}

/// An image to be sent ahead.
#[derive(ToSchema)]
pub(super) struct UploadForm {
    #[schema(schema_with = file)]
    image: Vec<u8>,
}

fn items() -> Array {
    let image = ObjectBuilder::new().schema_type(Type::String).description(Some("an image, with the question for all"));
    let item = OneOfBuilder::new().item(image).item(Ref::from_schema_name(BatchItem::name()));
    let items = ArrayBuilder::new().items(item).min_items(Some(1)).max_items(Some(MOST_ITEMS));
    items.examples([json!([{"image": EXAMPLE}])]).build()
}

/// The bytes of a file.
pub(super) fn file() -> Object {
    let bytes = ObjectBuilder::new().schema_type(Type::String);
    bytes.format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary))).build()
}

fn files() -> Array {
    ArrayBuilder::new().items(file()).min_items(Some(1)).build()
}

fn region() -> Array {
    let edge = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0.0)).maximum(Some(1.0));
    let array = ArrayBuilder::new().schema_type(SchemaType::from_iter([Type::Array, Type::Null])).items(edge);
    let words = "only this part of each image, at full resolution: x0, y0, x1, y1";
    array.min_items(Some(4)).max_items(Some(4)).description(Some(words)).build()
}

fn models() -> Array {
    let name = ObjectBuilder::new().schema_type(Type::String);
    let models = ArrayBuilder::new().items(name).min_items(Some(2)).max_items(Some(MOST_MODELS)).unique_items(true);
    models
        .description(Some("whom to ask: as many as the operator allows, 8 when nothing else is said"))
        .examples([json!(["local", "ollama"])])
        .build()
}
