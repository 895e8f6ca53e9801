//! How it is answered. Members that say nothing are absent.

#![expect(dead_code, reason = "these types describe; what goes is written by `surface::answer`")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::schema::{AllOfBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::refusals::Failed;
use crate::intake::FORMATS;

/// One true answer, and how it came about.
#[derive(ToSchema)]
pub(super) struct Answer {
    /// As it was asked, or as it was understood.
    task: String,
    /// Of `describe`.
    #[schema(required = false)]
    description: String,
    /// Of `describe` and `ocr`.
    #[schema(required = false)]
    detected_text: String,
    /// Of `ocr`, where the model knows places.
    #[schema(required = false)]
    blocks: Vec<Block>,
    /// Of `ask`, and of tasks without a schema.
    #[schema(required = false)]
    text: String,
    /// Of `extract`, and of tasks with a schema.
    #[schema(required = false)]
    data: Value,
    /// Who answered.
    provider: String,
    model: String,
    model_requested: String,
    latency_ms: u64,
    #[schema(required = false)]
    usage: Usage,
    /// Absent when the price is not known.
    #[schema(required = false)]
    cost_usd: f64,
    finish_reason: FinishReason,
    /// Whether it came from memory.
    cached: bool,
    warnings: Vec<String>,
    route: Route,
    images: Vec<Image>,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum FinishReason {
    Stop,
    Length,
    Refusal,
}

/// A line of text and its place.
#[derive(ToSchema)]
struct Block {
    text: String,
    /// Left, top, right and bottom in pixels of the original.
    #[schema(min_items = 4, max_items = 4)]
    r#box: Vec<u32>,
    /// Which image, when it is not the first.
    #[schema(required = false)]
    image: u64,
    #[schema(required = false)]
    confidence: f64,
}

#[derive(ToSchema)]
struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    #[schema(required = false)]
    image_tokens: u64,
    #[schema(required = false)]
    cached_tokens: u64,
    #[schema(required = false)]
    reasoning_tokens: u64,
    #[schema(required = false)]
    pages: u64,
}

/// How the answer came about.
#[derive(ToSchema)]
struct Route {
    /// The rule that chose, or `default`.
    rule: String,
    attempts: Vec<Attempt>,
    #[schema(required = false)]
    strategy: String,
    #[schema(required = false)]
    estimate: Estimate,
    /// Models that were passed over.
    #[schema(required = false)]
    skipped: Vec<Skipped>,
}

#[derive(ToSchema)]
struct Attempt {
    model: String,
    /// `ok`, `cached`, or the kind of error.
    outcome: String,
    latency_ms: u64,
}

/// What the call was expected to take.
#[derive(ToSchema)]
struct Estimate {
    input_tokens: u64,
    image_tokens: u64,
    basis: String,
    #[schema(required = false)]
    max_cost_usd: f64,
    #[schema(required = false)]
    likely_cost_usd: f64,
}

#[derive(ToSchema)]
struct Skipped {
    model: String,
    reason: String,
}

/// An image as it came and as it was sent.
#[derive(ToSchema)]
struct Image {
    /// `url`, `data`, `upload` or `path`.
    source: String,
    #[schema(schema_with = format)]
    format: String,
    #[schema(required = false)]
    width: u32,
    #[schema(required = false)]
    height: u32,
    bytes: u64,
    sent: Sent,
    /// What was done to it.
    steps: Vec<String>,
}

#[derive(ToSchema)]
struct Sent {
    #[schema(schema_with = format)]
    format: String,
    #[schema(required = false)]
    width: u32,
    #[schema(required = false)]
    height: u32,
    bytes: u64,
}

/// What several models answered, and how far they agree.
#[derive(ToSchema)]
pub(super) struct Comparison {
    /// In the order in which they were named.
    #[schema(value_type = Vec<Compared>)]
    answers: Vec<Value>,
    agreement: Agreement,
    /// Of all answers together, as far as prices are known.
    cost_usd: f64,
    /// When a part of the cost is an estimate.
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// What became of one model: an answer or an error, and its score when the right answer was given.
pub(super) struct Compared;

impl ToSchema for Compared {}

impl PartialSchema for Compared {
    fn schema() -> RefOr<Schema> {
        either(of_model(ObjectBuilder::new()).build(), of_model(ObjectBuilder::new())).into()
    }
}

/// The data of an event `result`: what became of one model, and its place among those that were named.
pub(super) struct ComparedOutcome;

impl ToSchema for ComparedOutcome {}

impl PartialSchema for ComparedOutcome {
    fn schema() -> RefOr<Schema> {
        either(of_model(placed()).build(), of_model(placed())).into()
    }
}

fn of_model(object: ObjectBuilder) -> ObjectBuilder {
    let name = ObjectBuilder::new().schema_type(Type::String);
    let score = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).maximum(Some(1));
    object.property("model_requested", name).required("model_requested").property("score", score)
}

fn placed() -> ObjectBuilder {
    let place = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
    ObjectBuilder::new().property("index", place).required("index")
}

/// What became of one item: an answer or an error, and its place.
pub(super) struct BatchOutcome;

impl ToSchema for BatchOutcome {}

impl PartialSchema for BatchOutcome {
    fn schema() -> RefOr<Schema> {
        either(placed().build(), placed()).into()
    }
}

/// An answer or an error, with members more.
fn either(more: Object, failed: ObjectBuilder) -> Schema {
    let answered = AllOfBuilder::new().item(Ref::from_schema_name(Answer::name())).item(more);
    let cost = ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).description(Some("paid all the same"));
    let failed = failed.property("error", Ref::from_schema_name(Failed::name())).required("error");
    let failed = failed.property("cost_usd", cost);
    Schema::OneOf(OneOfBuilder::new().item(answered).item(failed).build())
}

#[derive(ToSchema)]
struct Agreement {
    /// Of every two answers.
    pairs: Vec<Pair>,
    /// From 0 to 1, on average.
    #[schema(required = false)]
    mean: f64,
}

#[derive(ToSchema)]
struct Pair {
    #[schema(min_items = 2, max_items = 2)]
    models: Vec<String>,
    similarity: f64,
    by: Measure,
    /// Characters of each that were compared, where an answer is longer.
    #[schema(required = false)]
    compared_characters: usize,
    /// The first places where they differ.
    #[schema(required = false, max_items = 8)]
    differences: Vec<Difference>,
}

/// A place where two answers differ: a member of data, or what the one says and the other in its place.
#[derive(ToSchema)]
struct Difference {
    /// A JSON pointer.
    #[schema(required = false)]
    path: String,
    #[schema(required = false, min_items = 2, max_items = 2)]
    texts: Vec<String>,
}

/// Data is compared member by member, texts by the edits between them.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
enum Measure {
    Members,
    Edits,
}

/// What became of all items, in their order.
#[derive(ToSchema)]
pub(super) struct Batch {
    succeeded: u64,
    failed: u64,
    /// Of all items together, as far as prices are known.
    cost_usd: f64,
    /// When a part of the cost is an estimate.
    #[schema(required = false)]
    warnings: Vec<String>,
    #[schema(value_type = Vec<BatchOutcome>)]
    items: Vec<Value>,
}

/// The data of an event `delta`: what the model has just said.
#[derive(ToSchema)]
pub(super) struct Delta {
    text: String,
}

/// The data of an event `delta` of a comparison: what one of the models has just said.
#[derive(ToSchema)]
pub(super) struct ComparedDelta {
    /// As it was named.
    model: String,
    text: String,
}

/// The data of the event `answer` that ends a batch.
#[derive(ToSchema)]
pub(super) struct Summary {
    succeeded: u64,
    failed: u64,
    cost_usd: f64,
    #[schema(required = false)]
    warnings: Vec<String>,
}

/// An image that was sent ahead.
#[derive(ToSchema)]
pub(super) struct Upload {
    /// Usable as an image by the same caller.
    #[schema(pattern = "^img_[A-Za-z0-9_-]{24}$")]
    handle: String,
    #[schema(schema_with = format)]
    format: String,
    bytes: u64,
    expires_in_s: u64,
    /// In pixels, as it is meant to be seen; documents have none.
    #[schema(required = false)]
    width: u32,
    #[schema(required = false)]
    height: u32,
}

/// Whether requests are taken.
#[derive(ToSchema)]
pub(super) struct Readiness {
    /// `ready`, or why not.
    status: String,
    /// How every provider is, for callers who are let in.
    #[schema(required = false)]
    providers: BTreeMap<String, ProviderState>,
}

/// How the server is, and what today has cost.
#[derive(ToSchema)]
pub(super) struct Status {
    version: String,
    /// What can be asked for by name: our own tasks, and those of the operator.
    tasks: Vec<String>,
    compare: Comparisons,
    /// The providers that the caller may ask.
    providers: BTreeMap<String, ProviderState>,
    /// Since when spending is counted: midnight (UTC), or the start of the program. Absent for callers who may not ask
    /// everything.
    #[schema(required = false)]
    since: String,
    /// What everybody's answers have cost since then, as far as prices are known. Absent like `since`.
    #[schema(required = false)]
    spend_today_usd: f64,
}

#[derive(ToSchema)]
struct Comparisons {
    /// Models that can be asked the same at once.
    max_models: u64,
}

#[derive(ToSchema)]
struct ProviderState {
    /// `ready`, `no_key`, or why it is left alone.
    state: String,
    #[schema(required = false)]
    asked_again_in_s: u64,
    /// Of its models, where several are left alone.
    #[schema(required = false)]
    models: BTreeMap<String, ModelState>,
    #[schema(required = false)]
    last_error: LastError,
    /// In `/v1/status`, for callers who may ask everything.
    #[schema(required = false)]
    spend_today_usd: f64,
}

/// Why a model is left alone.
#[derive(ToSchema)]
struct ModelState {
    state: String,
    asked_again_in_s: u64,
}

#[derive(ToSchema)]
struct LastError {
    kind: String,
    seconds_ago: u64,
    #[schema(required = false)]
    model: String,
}

fn format() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(FORMATS)).build()
}
