//! What servers of chat completions say when they say no, and what is meant by it.
//!
//! It reads every shape that was seen in the wild; it does not know which vendor speaks.

use http::StatusCode;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Retry};
use crate::wire::{Incoming, error_by_status};

/// Reads an error in any of the shapes seen: `error` or the root as text or object, `message` as text or object,
/// `detail` as text or list, and errors inside a success.
pub(crate) fn read_error(reply: &Incoming) -> Error {
    let Ok(body) = reply.json() else { return error_by_status(reply, "") };
    let said = complaint(&body);
    let status = if reply.status.is_success() { status_inside(&body) } else { reply.status };
    let error = error_by_status(&Incoming { status, ..reply.clone() }, &said);
    let tags: Vec<&str> = ["code", "type"].iter().filter_map(|key| fault(&body)[*key].as_str()).collect();
    let Some(kind) = kind_by_words(status.as_u16(), &tags.join(" "), &said.to_lowercase()) else { return error };
    let retry = match (kind, error.retry_verdict()) {
        (ErrorKind::Unavailable, Retry::Never) => Retry::Later(None),
        (ErrorKind::Unavailable, later) => later,
        _ => Retry::Never,
    };
    let error = Error::new(kind, error.message()).retry(retry);
    match kind {
        ErrorKind::OutOfCredit => error.advise("top up the vendor account or raise its spending limit"),
        ErrorKind::UnknownModel => error.advise("choose a model that the backend lists"),
        ErrorKind::Unauthorized => error.advise("check this provider's key in the configuration"),
        _ => error,
    }
}

/// The status that an error inside a success names as its code; 502 when it names none.
fn status_inside(body: &Value) -> StatusCode {
    let code = fault(body)["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    code.filter(|code| *code >= 400).and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// What a vendor's words say beyond its status. Tags are its own; its sentences may repeat a caller's, so they only
/// count where the status leaves them room.
fn kind_by_words(status: u16, tags: &str, said: &str) -> Option<ErrorKind> {
    const WORDS: [(ErrorKind, &[u16], &[&str]); 6] = [
        (
            ErrorKind::OutOfCredit,
            &[403, 429],
            &[
                "insufficient_quota",
                "check your plan and billing details",
                "credit_balance",
                "spend limit",
                "spending limit",
            ],
        ),
        (ErrorKind::UnknownModel, &[400, 404], &["invalid_model", "model_not_found", "invalid model"]),
        (ErrorKind::Unavailable, &[429, 503], &["capacity exceeded", "capacity_exceeded", "overloaded", "slow_down"]),
        (ErrorKind::Refused, &[], &["content_policy", "content_filter", "moderation"]),
        (ErrorKind::Unauthorized, &[400], &["invalid_api_key", "incorrect api key"]),
        (ErrorKind::TooLarge, &[400], &["context_length", "too large for model", "exceed_context"]),
    ];
    let found = WORDS.iter().find(|(_, statuses, words)| {
        let in_words = statuses.contains(&status);
        words.iter().any(|word| tags.contains(word) || (in_words && said.contains(word)))
    });
    found.map(|(kind, ..)| *kind)
}

/// The object that describes the fault: `error`, when it is one, else the root.
fn fault(body: &Value) -> &Value {
    let body = body.get(0).unwrap_or(body);
    body.get("error").filter(|error| error.is_object()).unwrap_or(body)
}

/// What the vendor says is wrong, in one line.
fn complaint(body: &Value) -> String {
    let fault = fault(body);
    let message = &fault["message"];
    let detail = if message.is_object() { &message["detail"] } else { &fault["detail"] };
    let plain = [message, detail, &fault["error"]].into_iter().find_map(Value::as_str);
    if let Some(text) = plain {
        return text.to_owned();
    }
    let faults = detail.as_array().map(Vec::as_slice).unwrap_or_default();
    let named = faults.iter().map(|fault| {
        let place: Vec<_> = fault["loc"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("{}: {}", place.join("."), fault["msg"].as_str().unwrap_or("refused"))
    });
    named.collect::<Vec<_>>().join("; ")
}
