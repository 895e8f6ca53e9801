//! Every way in which a call is refused: by status, with the codes that it stands for, in the shape of its route.

#![expect(dead_code, reason = "these types describe; what goes is written by `http::refusal`")]

use std::collections::BTreeMap;

use utoipa::ToSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, Response, ResponseBuilder};

use crate::failure::Code;

/// Of whoever is let in, and of the server itself.
pub(super) const DOOR: &[Code] = &[Code::Unauthenticated, Code::Forbidden, Code::Overloaded, Code::Internal];
/// Of a body that cannot be read.
pub(super) const BODY: &[Code] = &[Code::InvalidInput, Code::UnsupportedFormat, Code::ImageTooLarge];
/// Of images that come with a call.
pub(super) const FILES: &[Code] = &[Code::ImageCorrupt];
/// Of images that are named.
pub(super) const PICTURES: &[Code] = &[Code::UnsafePath, Code::UrlBlocked, Code::FetchFailed];
/// Of names of models.
pub(super) const NAMES: &[Code] = &[Code::ModelNotFound];
/// Of a limit on what a call may cost.
pub(super) const COSTS: &[Code] = &[Code::BudgetExceeded];
/// Of a limit on how often a caller may ask.
pub(super) const PACE: &[Code] = &[Code::RateLimited];
/// Of whoever answers.
pub(super) const MODELS: &[Code] = &[
    Code::CapabilityMissing,
    Code::RateLimited,
    Code::BudgetExceeded,
    Code::NoProvider,
    Code::UpstreamAuth,
    Code::UpstreamError,
    Code::UpstreamTimeout,
    Code::BadUpstreamResponse,
    Code::EmptyResponse,
    Code::Refused,
    Code::Truncated,
    Code::SchemaMismatch,
];

/// Whose clients call a route.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Ours,
    OpenAi,
}

/// What went wrong.
#[derive(ToSchema)]
#[schema(as = Refusal)]
pub(super) struct Refusal {
    error: Failed,
}

/// What went wrong, and what to do about it.
#[derive(ToSchema)]
#[schema(as = Error)]
pub(super) struct Failed {
    #[schema(schema_with = codes)]
    code: String,
    /// What was attempted and what was wrong.
    message: String,
    /// Whether the same call may succeed later.
    retryable: bool,
    #[schema(required = false)]
    retry_after_s: u64,
    /// What to do, said to whoever can do it.
    #[schema(required = false)]
    advice: String,
}

/// What went wrong in OpenAI's shape, and beside it in ours.
#[derive(ToSchema)]
pub(super) struct OpenAiRefusal {
    error: OpenAiError,
    visiongate: Failed,
}

#[derive(ToSchema)]
struct OpenAiError {
    message: String,
    r#type: Kind,
    #[schema(nullable, required = true)]
    param: Option<String>,
    /// Our code in lower case.
    code: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
enum Kind {
    InvalidRequestError,
    AuthenticationError,
    PermissionError,
    RateLimitError,
    InsufficientQuota,
    ServerError,
}

fn codes() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Code::ALL.map(Code::name))).build()
}

/// The responses that these codes have, by status.
pub(super) fn responses(shape: Shape, codes: &[&[Code]]) -> BTreeMap<String, Response> {
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for code in codes.iter().flat_map(|codes| codes.iter()) {
        by_status.entry(code.status()).or_default().push(code.name());
    }
    if codes.contains(&BODY) {
        // A body that does not arrive in time.
        by_status.entry(408).or_default().push(Code::InvalidInput.name());
    }
    by_status.into_iter().map(|(status, names)| (status.to_string(), response(shape, status, &names))).collect()
}

/// A refusal under one status, for any of these codes.
pub(super) fn response(shape: Shape, status: u16, codes: &[&str]) -> Response {
    let name = if shape == Shape::Ours { Refusal::name() } else { OpenAiRefusal::name() };
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
    let codes = codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ");
    let mut response = ResponseBuilder::new().description(codes).content("application/json", content);
    let header = |kind: Type, words: &str| {
        let schema = ObjectBuilder::new().schema_type(kind);
        HeaderBuilder::new().schema(Some(schema)).description(Some(words)).build()
    };
    if status == 401 {
        response = response.header("WWW-Authenticate", header(Type::String, "how to prove who one is"));
    }
    if matches!(status, 429 | 503) {
        response = response.header("Retry-After", header(Type::Integer, "seconds to wait, where that is known"));
    }
    if shape == Shape::OpenAi {
        response = response.header("x-should-retry", header(Type::String, "`true` or `false`, for OpenAI's clients"));
    }
    response.build()
}
