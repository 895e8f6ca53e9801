//! The routes: what each does, takes and answers.

use std::borrow::Cow;

use utoipa::ToSchema;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, Paths, PathsBuilder,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, ContentBuilder, Ref, Required, Response, ResponseBuilder};

use super::KEY;
use super::answers::{Answer, Delta};
use super::refusals::{
    BODY, COSTS, DOOR, FILES, MODELS, NAMES, OpenAiRefusal, PACE, PICTURES, Refusal, Shape, response as refusal,
    responses,
};
use super::{answers, chat, questions};
use crate::failure::Code;

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data";
const EVENTS: &str = "text/event-stream";

pub(super) fn paths() -> Paths {
    let (get, post) = (HttpMethod::Get, HttpMethod::Post);
    let rows = [
        ("/v1/analyze", post.clone(), analyze()),
        ("/v1/compare", post.clone(), compare()),
        ("/v1/batch", post.clone(), batch()),
        ("/v1/images", post.clone(), upload()),
        ("/v1/chat/completions", post, chat_completion()),
        ("/v1/models", get.clone(), models()),
        ("/v1/models/{name}", get.clone(), model()),
        ("/v1/status", get.clone(), status()),
        ("/healthz", get.clone(), health()),
        ("/readyz", get.clone(), readiness()),
        ("/metrics", get.clone(), metrics()),
        ("/openapi.json", get.clone(), description()),
        ("/.well-known/oauth-protected-resource", get.clone(), resource("protectedResource")),
        ("/.well-known/oauth-protected-resource/{resource}", get, named_resource()),
    ];
    let add = |paths: PathsBuilder, (path, method, operation)| paths.path(path, PathItem::new(method, operation));
    rows.into_iter().fold(PathsBuilder::new(), add).build()
}

fn analyze() -> OperationBuilder {
    let events = [event("delta", Delta::name()), event("answer", Answer::name()), event("error", Refusal::name())];
    let operation =
        guarded("analyze", "Describes images, reads them, answers a question about them, or fills in a schema.");
    let operation = operation.request_body(Some(json_or_form::<questions::AnalyzeRequest, questions::AnalyzeForm>()));
    refused(
        answered(operation, "200", told::<Answer>("the answer", events)),
        Shape::Ours,
        &[BODY, FILES, PICTURES, NAMES, MODELS],
    )
}

fn compare() -> OperationBuilder {
    let events = [
        event("delta", answers::ComparedDelta::name()),
        event("result", answers::ComparedOutcome::name()),
        event("answer", answers::Comparison::name()),
        event("error", Refusal::name()),
    ];
    let operation = guarded("compare", "Asks several models the same, each on its own.");
    let operation = operation.request_body(Some(json_or_form::<questions::CompareRequest, questions::CompareForm>()));
    let response =
        told::<answers::Comparison>("what became of each model, in the order in which they were named", events);
    refused(answered(operation, "200", response), Shape::Ours, &[BODY, FILES, PICTURES, NAMES, COSTS, PACE])
}

fn batch() -> OperationBuilder {
    let events = [
        event("item", answers::BatchOutcome::name()),
        event("answer", answers::Summary::name()),
        event("error", Refusal::name()),
    ];
    let operation = guarded("batch", "Asks about many images at once; each has an answer or an error of its own.");
    let operation = operation.request_body(Some(json_or_form::<questions::BatchRequest, questions::BatchForm>()));
    refused(
        answered(operation, "200", told::<answers::Batch>("what became of each item", events)),
        Shape::Ours,
        &[BODY, FILES],
    )
}

fn upload() -> OperationBuilder {
    let operation = guarded("upload", "Sends an image or PDF document ahead, to name it by its handle later.");
    let body = RequestBodyBuilder::new()
        .content("application/octet-stream", ContentBuilder::new().schema(Some(questions::file())).build())
        .content(FORM, of::<questions::UploadForm>())
        .description(Some("the bytes as the body, under any content type, or one file of a form"))
        .required(Some(Required::True))
        .build();
    let response = ResponseBuilder::new().description("the handle").content(JSON, of::<answers::Upload>()).build();
    refused(answered(operation.request_body(Some(body)), "201", response), Shape::Ours, &[BODY, FILES, PACE])
}

fn chat_completion() -> OperationBuilder {
    let (done, data) = (ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["[DONE]"])), "data");
    let done = ObjectBuilder::new().property(data, done).required(data);
    let events = [said(chat::ChatChunk::name()), said(OpenAiRefusal::name()), done];
    let operation =
        guarded("createChatCompletion", "The next turn of a conversation with images, as OpenAI's clients ask for it.");
    let body =
        RequestBodyBuilder::new().content(JSON, of::<chat::ChatRequest>()).required(Some(Required::True)).build();
    let response = told::<chat::ChatCompletion>("the answer", events);
    refused(
        answered(operation.request_body(Some(body)), "200", response),
        Shape::OpenAi,
        &[BODY, FILES, PICTURES, NAMES, MODELS],
    )
}

fn models() -> OperationBuilder {
    let response = ResponseBuilder::new().description("the models").content(JSON, of::<chat::ModelList>()).build();
    let operation = guarded("listModels", "Every name by which the caller can ask for a model.");
    refused(answered(operation, "200", response), Shape::OpenAi, &[])
}

fn model() -> OperationBuilder {
    let name = path_parameter("name", "as it is listed, slashes and all");
    let response = ResponseBuilder::new().description("the model").content(JSON, of::<chat::Model>()).build();
    let operation = guarded("retrieveModel", "One of the models.").parameter(name);
    refused(answered(operation, "200", response), Shape::OpenAi, &[NAMES])
}

fn status() -> OperationBuilder {
    let response = ResponseBuilder::new().description("how it is").content(JSON, of::<answers::Status>()).build();
    let operation = guarded("status", "How the server and its providers are, and what today has cost.");
    refused(answered(operation, "200", response), Shape::Ours, &[])
}

fn health() -> OperationBuilder {
    let response = ResponseBuilder::new().description("`ok`").content("text/plain", text()).build();
    answered(open("healthz", "Whether the program runs."), "200", response)
}

fn readiness() -> OperationBuilder {
    let told =
        |words: &str| ResponseBuilder::new().description(words).content(JSON, of::<answers::Readiness>()).build();
    let operation =
        open("readyz", "Whether requests are taken, and for callers who are let in, how every provider is.");
    answered(answered(operation, "200", told("requests are taken")), "503", told("it is stopping, or out of memory"))
}

fn metrics() -> OperationBuilder {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let response = ResponseBuilder::new().description("counters and histograms").content(kind, text()).build();
    let operation = guarded("metrics", "What Prometheus collects.");
    let operation = answered(operation, "200", response);
    let refusals = responses(Shape::Ours, &[&[Code::Unauthenticated, Code::Forbidden]]);
    refusals.into_iter().fold(operation, |operation, (status, response)| operation.response(status, response))
}

fn description() -> OperationBuilder {
    let anything = ContentBuilder::new().schema(Some(ObjectBuilder::new())).build();
    let response = ResponseBuilder::new().description("OpenAPI 3.1").content(JSON, anything).build();
    answered(open("openapi", "This description."), "200", response)
}

/// The document from which clients learn where to get a token.
fn resource(id: &str) -> OperationBuilder {
    let document = ContentBuilder::new().schema(Some(ObjectBuilder::new())).build();
    let response = ResponseBuilder::new().description("the document (RFC 9728)").content(JSON, document).build();
    let operation = open(id, "Whose tokens let callers in, where the operator has named an issuer.");
    let nowhere = refusal(Shape::Ours, 404, &[Code::InvalidInput.name()]);
    answered(operation, "200", response).response("404", nowhere)
}

fn named_resource() -> OperationBuilder {
    resource("protectedResourceByPath").parameter(path_parameter("resource", "the path of the resource"))
}

/// A part of the path.
fn path_parameter(name: &str, words: &str) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(words))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
}

/// A route that asks for a key, where there are any.
fn guarded(id: &str, words: &str) -> OperationBuilder {
    let key = SecurityRequirement::new(KEY, Vec::<String>::new());
    open(id, words).securities(Some([key, SecurityRequirement::default()]))
}

fn open(id: &str, words: &str) -> OperationBuilder {
    Operation::builder().operation_id(Some(id)).summary(Some(words))
}

fn answered(operation: OperationBuilder, status: &str, response: Response) -> OperationBuilder {
    operation.response(status, response)
}

/// Adds what the door refuses to these codes.
fn refused(operation: OperationBuilder, shape: Shape, codes: &[&[Code]]) -> OperationBuilder {
    let responses = responses(shape, &[&[DOOR], codes].concat());
    responses.into_iter().fold(operation, |operation, (status, response)| operation.response(status, response))
}

fn json_or_form<J: ToSchema, F: ToSchema>() -> RequestBody {
    let body = RequestBodyBuilder::new().content(JSON, of::<J>()).content(FORM, of::<F>());
    body.required(Some(Required::True)).build()
}

/// An answer that can be had whole, or told while it is given. In 3.1, the schema of a stream is taken for that of each of
/// its events.
fn told<T: ToSchema>(words: &str, events: impl IntoIterator<Item = ObjectBuilder>) -> Response {
    let any = events.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    let events = ContentBuilder::new().schema(Some(any.description(Some("each event")))).build();
    ResponseBuilder::new().description(words).content(JSON, of::<T>()).content(EVENTS, events).build()
}

/// An event of this name, whose data is JSON of this type.
fn event(name: &str, data: Cow<'static, str>) -> ObjectBuilder {
    let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([name]));
    said(data).property("event", name).required("event")
}

/// An event without a name.
fn said(data: Cow<'static, str>) -> ObjectBuilder {
    let data = Ref::from_schema_name(data);
    let data = ObjectBuilder::new().schema_type(Type::String).content_media_type(JSON).content_schema(Some(data));
    ObjectBuilder::new().property("data", data).required("data")
}

fn of<T: ToSchema>() -> Content {
    ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).build()
}

fn text() -> Content {
    ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build()
}
