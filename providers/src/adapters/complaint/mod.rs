//! What vendors say when they say no, and what is meant by it.
//!
//! It reads every shape that was seen in the wild and goes by the vendor's own words before its status; it does not know
//! which vendor speaks.

mod phrases;

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::wire::{Incoming, error_by, error_by_status};

/// Reads an error in any of the shapes seen: `error` or the root as text or object, or in a list of one; `message` as
/// text or object; `detail` as text or list.
pub(crate) fn read_error(reply: &Incoming) -> Error {
    let Ok(body) = reply.json() else { return asked_to_wait(error_by_status(reply, ""), &reply.headers) };
    let heading = format!("the backend answered {}", reply.status);
    asked_to_wait(judged(reply, &body, heading), &reply.headers)
}

/// Makes sure that a success is one.
///
/// # Errors
/// The error that it carries inside.
pub(crate) fn no_error_inside(body: &Value) -> Result<()> {
    let first = body.get(0).unwrap_or(body);
    let says = |error: &Value| match error {
        Value::String(text) => !text.trim().is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => false,
    };
    let told = first.get("error").is_some_and(says) || first["object"] == "error";
    if !told {
        return Ok(());
    }
    let reply = Incoming { status: status_inside(body), headers: HeaderMap::new(), body: bytes::Bytes::new() };
    Err(judged(&reply, body, "the backend put an error into its answer".into()))
}

fn judged(reply: &Incoming, body: &Value, heading: String) -> Error {
    let said = complaint(body);
    let error = error_by(reply, heading, &said);
    let tags = tags(reply, body);
    let error = hinted(error, body);
    let Some(kind) = kind_by_words(reply.status.as_u16(), &tags, &said.to_lowercase()) else {
        return if is_quota_of_a_day(&error, &said) { out_of_credit(&error) } else { error };
    };
    let retry = match (kind, error.retry_verdict()) {
        (ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::TimedOut, Retry::Never) => Retry::Later(None),
        (ErrorKind::Unavailable | ErrorKind::RateLimited | ErrorKind::TimedOut | ErrorKind::OutOfCredit, verdict) => {
            verdict
        }
        _ => Retry::Never,
    };
    let error = Error::new(kind, error.message()).retry(retry);
    match kind {
        ErrorKind::OutOfCredit => out_of_credit(&error),
        ErrorKind::UnknownModel => error.advise("choose a model that the backend lists"),
        ErrorKind::Unauthorized => error.advise("check this provider's key in the configuration"),
        ErrorKind::Unsupported => error.advise("choose a model that can, or ask about fewer images"),
        _ if is_quota_of_a_day(&error, &said) => out_of_credit(&error),
        _ => error,
    }
}

fn out_of_credit(error: &Error) -> Error {
    // What is not tried again may still say when there will be credit.
    let verdict = match error.retry_verdict() {
        Retry::Later(Some(wait)) | Retry::Spent(Some(wait)) => Retry::Spent(Some(wait)),
        _ => Retry::Never,
    };
    Error::new(ErrorKind::OutOfCredit, error.message())
        .retry(verdict)
        .advise("top up the vendor account, raise its limits, or choose another provider")
}

/// A limit that only tomorrow lifts is no rate limit. One that says when to come back may be sliding, and is one.
fn is_quota_of_a_day(error: &Error, said: &str) -> bool {
    let said = said.to_lowercase();
    error.kind() == ErrorKind::RateLimited
        && error.retry_verdict() == Retry::Later(None)
        && ["per day", "per-day"].iter().any(|words| said.contains(words))
}

/// The status that an error inside a success names as its code; 502 when it names none.
fn status_inside(body: &Value) -> StatusCode {
    let fault = fault(body);
    let code = [&fault["code"], &fault["status_code"]].into_iter().find_map(Value::as_u64);
    let code = code.and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400);
    code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::BAD_GATEWAY)
}

fn kind_by_words(status: u16, tags: &str, said: &str) -> Option<ErrorKind> {
    let found = phrases::ROWS.iter().find(|(_, statuses, words)| {
        let in_words = statuses.contains(&status);
        words.iter().any(|word| tags.contains(word) || (in_words && said.contains(word)))
    });
    found.map(|(kind, ..)| *kind)
}

/// The vendor's own names for the fault, in lower case.
fn tags(reply: &Incoming, body: &Value) -> String {
    let fault = fault(body);
    let inner = &fault["innererror"];
    let own = [&fault["code"], &fault["type"], &fault["status"], &inner["code"], &fault["details"]["error_code"]];
    let reasons = details(body).filter_map(|detail| detail["reason"].as_str());
    let own = own.into_iter().chain([&body["code"], &body["type"]]).filter_map(Value::as_str);
    // Amazon names it in a header.
    let amazon = reply.headers.get("x-amzn-errortype").and_then(|name| name.to_str().ok());
    own.chain(reasons).chain(amazon).collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Google's list of further facts.
pub(crate) fn details(body: &Value) -> impl Iterator<Item = &Value> {
    fault(body)["details"].as_array().into_iter().flatten()
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
    // A router of requests says in its own words that somebody said no, and keeps what they said beside it.
    match (plain, fault["metadata"]["raw"].as_str()) {
        (Some(text), Some(raw)) => return format!("{text}: {raw}"),
        (Some(text), None) | (None, Some(text)) => return text.to_owned(),
        (None, None) => {}
    }
    let faults = detail.as_array().map(Vec::as_slice).unwrap_or_default();
    let named = faults.iter().map(|fault| {
        let place: Vec<_> = fault["loc"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("{}: {}", place.join("."), fault["msg"].as_str().unwrap_or("refused"))
    });
    named.collect::<Vec<_>>().join("; ")
}

/// The wait that Google asks for in the body.
pub(crate) fn delay(body: &Value) -> Option<Duration> {
    let delay = details(body).find_map(|detail| detail["retryDelay"].as_str());
    let seconds = delay.and_then(|delay| delay.strip_suffix('s')?.parse::<f64>().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

fn hinted(error: Error, body: &Value) -> Error {
    match (error.retry_verdict(), delay(body)) {
        (Retry::Later(None), Some(wait)) => error.retry(Retry::Later(Some(wait))),
        _ => error,
    }
}

/// Some vendors say outright whether trying again makes sense. Only a no is taken: a yes does not undo a bill.
fn asked_to_wait(error: Error, headers: &HeaderMap) -> Error {
    let verdict = headers.get("x-should-retry").and_then(|value| value.to_str().ok());
    if verdict == Some("false") { error.retry(Retry::Never) } else { error }
}
