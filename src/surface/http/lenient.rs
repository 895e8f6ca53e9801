//! MCP over HTTP as people's tools send it, which rmcp alone would turn away.

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use futures_util::stream::once;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::Value;

use super::refusal;

/// What rmcp wants to be accepted, whatever it answers.
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// How a client takes its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    AsItIs,
    AsEvent,
    NotAtAll,
}

/// Completes an `Accept` that would do, because rmcp wants both types named; answers those who take events only with
/// one; and tells a message that does not parse in JSON-RPC.
pub(super) async fn lenient(mut request: Request, next: Next) -> Response {
    let (is_message, taken) = (request.method() == Method::POST, taken(request.headers()));
    if taken == Taken::AsItIs || (is_message && taken == Taken::AsEvent) {
        request.headers_mut().insert(ACCEPT, BOTH);
    }
    let is_json = is_json(request.headers());
    let response = next.run(request).await;
    if is_json && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let body = refusal::rpc(-32700, "the body is not a JSON-RPC message", &Value::Null);
        return (StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    }
    if is_message && taken == Taken::AsEvent && response.status().is_success() && self::is_json(response.headers()) {
        return as_event(response);
    }
    response
}

fn taken(headers: &HeaderMap) -> Taken {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    let has = |kinds: &[&str]| kinds.iter().any(|kind| accept.contains(kind));
    if has(&["*/*", "application/json", "application/*"]) {
        return Taken::AsItIs;
    }
    if has(&["text/event-stream", "text/*"]) { Taken::AsEvent } else { Taken::NotAtAll }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// A message, which is one line of JSON, as the only event of a stream.
fn as_event(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, EVENTS);
    let piece = |text: &'static str| once(async move { Ok(Bytes::from_static(text.as_bytes())) });
    let event = piece("event: message\ndata: ").chain(body.into_data_stream()).chain(piece("\n\n"));
    Response::from_parts(parts, Body::from_stream(event))
}
