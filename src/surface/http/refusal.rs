//! Errors over HTTP: one failure, in the shape that whoever called a route reads.

use axum::response::{IntoResponse as _, Response};
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::failure::{Code, Failure};
use crate::surface::answer;

/// Told to OpenAI's clients, which repeat failed calls by themselves otherwise.
const SHOULD_RETRY: &str = "x-should-retry";
/// Parameters of a request that nobody read.
pub(super) const DROPPED: &str = "x-visiongate-dropped";
/// What to know about an answer.
pub(super) const WARNING: &str = "x-visiongate-warning";
/// Headers that pages of other origins may read.
pub(super) const EXPOSED: &str = "x-visiongate-dropped, x-visiongate-warning, retry-after, www-authenticate";
/// JSON-RPC's code for a request that cannot be worked with.
pub(super) const INVALID_REQUEST: i32 = -32600;
/// And for one that cannot be read.
pub(super) const PARSE_ERROR: i32 = -32700;

/// A failure as the callers of this path read it.
pub(super) fn of(path: &str, failure: &Failure) -> Response {
    with_status(path, failure.code.status(), failure)
}

/// The same under another status.
pub(super) fn with_status(path: &str, status: u16, failure: &Failure) -> Response {
    let body = match path {
        "/mcp" => rpc(INVALID_REQUEST, failure),
        _ if speaks_openai(path) => openai(status, failure),
        _ => answer::error(failure),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    let headers = response.headers_mut();
    let wait = failure.retry_after.map(|wait| wait.as_millis().div_ceil(1000).to_string());
    let wait = wait.or_else(|| (failure.code == Code::Overloaded).then(|| "2".to_owned()));
    if let Some(wait) = wait.and_then(|wait| HeaderValue::try_from(wait).ok()) {
        headers.insert(RETRY_AFTER, wait);
    }
    if speaks_openai(path) {
        // They obey without asking anybody: whether a call is worth paying for twice is for people to say.
        let again = failure.retryable && !failure.maybe_billed;
        headers.insert(SHOULD_RETRY, HeaderValue::from_static(if again { "true" } else { "false" }));
    }
    response
}

/// Whether OpenAI's clients call this path.
pub(super) fn speaks_openai(path: &str) -> bool {
    path == "/v1/chat/completions" || path == "/v1/models" || path.starts_with("/v1/models/")
}

/// A failure in JSON-RPC's shape, under this status and this code of JSON-RPC.
pub(super) fn in_rpc(status: StatusCode, code: i32, failure: &Failure) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], rpc(code, failure).to_string()).into_response()
}

/// An error in JSON-RPC's shape, of a message whose id nobody read, with ours inside.
fn rpc(code: i32, failure: &Failure) -> Value {
    let error = json!({"code": code, "message": said(failure), "data": answer::error(failure)["error"]});
    json!({"jsonrpc": "2.0", "id": null, "error": error})
}

/// An error in OpenAI's shape, with ours beside it.
pub(super) fn openai(status: u16, failure: &Failure) -> Value {
    let kind = match (failure.code, status) {
        (Code::BudgetExceeded, _) => "insufficient_quota",
        (_, 401) => "authentication_error",
        (_, 403) => "permission_error",
        (_, 429) => "rate_limit_error",
        (_, 400..=499) => "invalid_request_error",
        _ => "server_error",
    };
    let error =
        json!({"message": said(failure), "type": kind, "param": null, "code": failure.code.name().to_lowercase()});
    json!({"error": error, "visiongate": answer::error(failure)["error"]})
}

fn said(failure: &Failure) -> String {
    failure.advice.as_ref().map_or_else(|| failure.message.clone(), |advice| format!("{}; {advice}", failure.message))
}

/// What was not read of this request must not be taken for the next one.
pub(super) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
