//! MCP over HTTP as people's tools send it, which rmcp alone would turn away; and what rmcp refuses all the same, in our
//! words.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use futures_util::stream::once;
use http::header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::task::spawn_blocking;

use super::{body, images, media, refusal};
use crate::failure::{Code, Failure, Result};
use crate::surface::values;

/// What rmcp wants to be accepted, whatever it answers.
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Bytes of a refusal of rmcp's: one that is longer is not repeated.
const LONGEST_REFUSAL: usize = 1000;

/// A message larger than this is looked through on another thread.
const SMALL: usize = 1 << 20;

/// How a client takes its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    AsItIs,
    AsEvent,
    NotAtAll,
}

/// Completes an `Accept` that would do, because rmcp wants both types named; answers those who take events only with
/// one; and says in JSON-RPC what rmcp refuses in plain text.
pub(super) async fn lenient(mut request: Request, next: Next) -> Response {
    let (method, taken) = (request.method().clone(), taken(request.headers()));
    let is_message = method == Method::POST;
    if taken == Taken::AsItIs || (is_message && taken == Taken::AsEvent) {
        request.headers_mut().insert(ACCEPT, BOTH);
    }
    let says_json = is_json(request.headers());
    if says_json {
        // rmcp knows one spelling.
        request.headers_mut().insert(CONTENT_TYPE, JSON);
    }
    let request = match checked(request).await {
        Ok(request) => request,
        Err(failure) => return refusal::of("/mcp", &failure),
    };
    let response = body::begun(body::size(&request), next.run(request)).await;
    if is_json(response.headers()) {
        let as_one = is_message && taken == Taken::AsEvent && response.status().is_success();
        return if as_one { as_event(response) } else { response };
    }
    match response.status() {
        // It says the same of a wrong type and of what is no message.
        StatusCode::UNSUPPORTED_MEDIA_TYPE if says_json => {
            let failure = Failure::invalid("the body is not a JSON-RPC message");
            refusal::in_rpc(StatusCode::BAD_REQUEST, refusal::PARSE_ERROR, &failure)
        }
        status if status.is_client_error() || status.is_server_error() => refused(&method, response).await,
        _ => response,
    }
}

/// A message that rmcp, which reads it by itself, can read within bounds.
async fn checked(request: Request) -> Result<Request> {
    let (parts, body) = request.into_parts();
    let bytes = images::bytes(Request::new(body)).await?;
    let counting = bytes.clone();
    let check = move || values::check(values::count(&counting), "the body");
    if bytes.len() <= SMALL {
        check()?;
    } else {
        let counted = spawn_blocking(check).await;
        counted.map_err(|_| Failure::new(Code::Internal, "reading the body met a fault of the program"))??;
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// A refusal of rmcp's in the shape of all others, under its own status.
async fn refused(method: &Method, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let failure = match parts.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            Failure::invalid(format!("/mcp does not take {method}")).advise("POST messages to it")
        }
        StatusCode::NOT_ACCEPTABLE => Failure::invalid("the answer would be of a type that is not accepted")
            .advise("send `Accept: application/json, text/event-stream`"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Failure::new(Code::UnsupportedFormat, "the body is not said to be JSON")
            .advise("send `Content-Type: application/json`"),
        status if status.is_server_error() => Failure::new(Code::Internal, "the message could not be worked with"),
        _ => {
            let said = to_bytes(body, LONGEST_REFUSAL).await.unwrap_or_default();
            Failure::invalid(String::from_utf8_lossy(&said))
        }
    };
    let mut response = refusal::in_rpc(parts.status, refusal::INVALID_REQUEST, &failure);
    response.headers_mut().extend(parts.headers.get(ALLOW).map(|allowed| (ALLOW, allowed.clone())));
    response
}

fn taken(headers: &HeaderMap) -> Taken {
    if media::takes(headers, &["*/*", "application/json", "application/*"]).unwrap_or(true) {
        return Taken::AsItIs;
    }
    let as_event = media::takes(headers, &["text/event-stream", "text/*"]).unwrap_or(false);
    if as_event { Taken::AsEvent } else { Taken::NotAtAll }
}

fn is_json(headers: &HeaderMap) -> bool {
    media::is(headers, "application/json")
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
