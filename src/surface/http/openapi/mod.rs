//! The description of the HTTP interface: what can be asked, how it is answered, and every way in which it is refused.
//!
//! Its types only describe. Tests hold what the program really takes and says to them.

mod answers;
mod chat;
mod operations;
mod questions;
mod refusals;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ComponentsBuilder, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, RefOr};

/// The name of the one way to prove who one is.
const KEY: &str = "key";
const WORDS: &str = "Images in, one answer of one shape out, whichever model looks at them. The same calls are tools over MCP at \
    `/mcp` (streamable HTTP; POST JSON-RPC messages), and `/` is a page for people with a browser. Errors are one object everywhere, and in OpenAI's shape on the routes \
    that OpenAI's clients call. Members that say nothing are absent, never null. Other spellings that programs and models \
    commonly use (`images`, `image_url`, `question`, `max_tokens`, numbers as text) are understood too.";
const KEY_WORDS: &str =
    "A key that the operator made with `visiongate keys new NAME`. A server without keys asks for none.";

/// The route on which it can be had, by everybody: it holds nothing of this server.
pub(super) fn routes() -> Router {
    let told = Bytes::from(document().to_json().unwrap_or_default());
    Router::new().route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], told.clone())))
}

fn document() -> OpenApi {
    let license = LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("visiongate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(WORDS))
        .license(Some(license))
        .build();
    let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(KEY_WORDS)).build();
    let components =
        ComponentsBuilder::new().schemas_from_iter(schemas()).security_scheme(KEY, SecurityScheme::Http(key)).build();
    OpenApiBuilder::new().info(info).paths(operations::paths()).components(Some(components)).build()
}

/// Every type that anything refers to, by its name.
fn schemas() -> Vec<(String, RefOr<Schema>)> {
    fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
    let mut all = Vec::new();
    add::<questions::AnalyzeRequest>(&mut all);
    add::<questions::CompareRequest>(&mut all);
    add::<questions::BatchRequest>(&mut all);
    add::<questions::BatchItem>(&mut all);
    add::<questions::AnalyzeForm>(&mut all);
    add::<questions::CompareForm>(&mut all);
    add::<questions::BatchForm>(&mut all);
    add::<questions::UploadForm>(&mut all);
    add::<answers::Answer>(&mut all);
    add::<answers::Comparison>(&mut all);
    add::<answers::ComparedDelta>(&mut all);
    add::<answers::ComparedOutcome>(&mut all);
    add::<answers::Batch>(&mut all);
    add::<answers::Delta>(&mut all);
    add::<answers::Summary>(&mut all);
    add::<answers::Upload>(&mut all);
    add::<answers::Readiness>(&mut all);
    add::<answers::Status>(&mut all);
    add::<chat::ChatRequest>(&mut all);
    add::<chat::Message>(&mut all);
    add::<chat::ChatCompletion>(&mut all);
    add::<chat::ChatChunk>(&mut all);
    add::<chat::TextPart>(&mut all);
    add::<chat::ImagePart>(&mut all);
    add::<chat::FilePart>(&mut all);
    add::<chat::ModelList>(&mut all);
    add::<chat::Model>(&mut all);
    add::<refusals::Refusal>(&mut all);
    add::<refusals::OpenAiRefusal>(&mut all);
    all
}
