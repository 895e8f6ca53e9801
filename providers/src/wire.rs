//! Wire formats: pure translation between a [`VisionRequest`] and one vendor family's JSON.
//!
//! A wire does no IO and reads no clock, so it can be tested against golden files and fuzzed. Sending is the business
//! of [`crate::http::HttpProvider`] alone.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::answer::Answer;
use crate::draft::Draft;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::frames::{Event, Framing};
use crate::model::ModelCard;
use crate::request::VisionRequest;
use crate::retry_after::retry_after;

/// A request, ready but for address and key.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    pub method: Method,
    /// Appended to the provider's base URL; begins with a slash.
    pub path: String,
    /// JSON; empty for GET.
    pub body: Bytes,
    /// The caller's schema was put inside an object, because the vendor enforces nothing else at the top.
    pub wrapped: bool,
}

impl Outgoing {
    /// A GET of this path.
    #[must_use]
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), body: Bytes::new(), wrapped: false }
    }
}

/// A vendor's reply, read to its end within bounds.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Incoming {
    /// The body as JSON. A byte-order mark is skipped and broken UTF-8 replaced: a paid answer is not thrown away
    /// for a stray byte.
    ///
    /// # Errors
    /// [`ErrorKind::Garbled`] when it is not JSON.
    pub fn json(&self) -> Result<Value> {
        let text = String::from_utf8_lossy(&self.body);
        parse(text.trim_start_matches('\u{feff}')).map_err(|error| {
            Error::new(ErrorKind::Garbled, "reading the answer: it is not JSON")
                .with("status", self.status.as_u16().to_string())
                .with("bytes", self.body.len().to_string())
                .caused_by(error)
        })
    }
}

/// In how many pieces an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Whole,
    Streamed,
}

/// One wire format, possibly with settings that bend it to a dialect.
pub trait Wire: fmt::Debug + Send + Sync + 'static {
    /// Writes a request to the model of this card, which takes the request's sampling. It may base64 megabytes, so it
    /// belongs on a thread that may be busy.
    ///
    /// # Errors
    /// When the request cannot be expressed in this format.
    fn write(&self, req: &VisionRequest, card: &ModelCard, delivery: Delivery) -> Result<Outgoing>;

    /// The cheapest request that shows whether the backend is there and takes the key.
    fn probe(&self) -> Outgoing;

    /// Reads the reply to a request that was accepted.
    ///
    /// # Errors
    /// When it is garbled, empty, cut or a refusal.
    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer>;

    /// How a streamed reply is divided.
    fn framing(&self) -> Framing;

    /// Reads one event of a streamed reply into the draft.
    ///
    /// # Errors
    /// When it is garbled, or is itself an error.
    fn read_event(&self, event: &Event, draft: &mut Draft) -> Result<()>;

    /// The longest answer that is read, in bytes: text, so far more than any model says.
    fn longest_answer(&self) -> usize {
        1 << 20
    }

    /// What the head of a reply says that the caller should know.
    fn notices(&self, _req: &VisionRequest, _headers: &HeaderMap) -> Option<String> {
        None
    }

    /// Reads the reply to a request that was not accepted.
    fn read_error(&self, reply: &Incoming) -> Error {
        error_by_status(reply, "")
    }
}

/// A POST of this JSON.
///
/// # Errors
/// When it cannot be written as JSON, which a test would have shown.
pub fn json_post(path: &str, body: &impl Serialize) -> Result<Outgoing> {
    let body = serde_json::to_vec(body)
        .map_err(|error| Error::new(ErrorKind::Internal, "writing the request as JSON").caused_by(error))?;
    Ok(Outgoing { method: Method::POST, path: path.to_owned(), body: body.into(), wrapped: false })
}

/// The JSON of an event.
///
/// # Errors
/// [`ErrorKind::Garbled`] when it is not JSON.
pub fn event_json(event: &Event) -> Result<Value> {
    parse(&event.data)
        .map_err(|error| Error::new(ErrorKind::Garbled, "reading the stream: an event is not JSON").caused_by(error))
}

/// Reads JSON. A number too large for any machine becomes null: it must not destroy a paid answer.
fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| {
        let sane = without_absurd_numbers(text);
        if sane == text { Err(error) } else { serde_json::from_str(&sane) }
    })
}

fn without_absurd_numbers(text: &str) -> String {
    let mut sane = String::with_capacity(text.len());
    let mut rest = text;
    let (mut quoted, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let taken = if !quoted && (c.is_ascii_digit() || c == '-') {
            rest.find(|c| !is_number(c)).unwrap_or(rest.len())
        } else {
            c.len_utf8()
        };
        let (piece, tail) = rest.split_at(taken.max(1));
        let absurd = piece.len() > 1 && piece.parse::<f64>().is_ok_and(f64::is_infinite);
        sane.push_str(if absurd { "null" } else { piece });
        (quoted, escaped) = match (quoted, escaped, c) {
            (true, true, _) => (true, false),
            (true, false, '\\') => (true, true),
            (_, false, '"') => (!quoted, false),
            _ => (quoted, false),
        };
        rest = tail;
    }
    sane
}

/// A count that a vendor gives, as far as it makes sense: more than a billion tokens is a fault, not a fact.
#[must_use]
pub fn count(value: &Value) -> Option<u64> {
    value.as_u64().filter(|count| *count <= 1_000_000_000)
}

/// What the status alone says; wires that know more about a vendor's bodies ask it last.
#[must_use]
pub fn error_by_status(reply: &Incoming, said: &str) -> Error {
    error_by(reply, format!("the backend answered {}", reply.status), said)
}

/// The same under another heading.
pub(crate) fn error_by(reply: &Incoming, mut message: String, said: &str) -> Error {
    let status = reply.status;
    let wait = retry_after(&reply.headers);
    let (kind, retry) = match status.as_u16() {
        401 | 403 => (ErrorKind::Unauthorized, Retry::Never),
        402 => (ErrorKind::OutOfCredit, wait.map_or(Retry::Never, |wait| Retry::Spent(Some(wait)))),
        404 => (ErrorKind::UnknownModel, Retry::Never),
        408 | 504 | 524 => (ErrorKind::TimedOut, wait.map_or(Retry::Once, |wait| Retry::Later(Some(wait)))),
        413 => (ErrorKind::TooLarge, Retry::Never),
        429 => (ErrorKind::RateLimited, Retry::Later(wait)),
        409 | 424 | 498 | 500..=599 => (ErrorKind::Unavailable, Retry::Later(wait)),
        300..=399 => (ErrorKind::Unavailable, Retry::Never),
        400..=499 => (ErrorKind::InvalidRequest, Retry::Never),
        _ => (ErrorKind::Garbled, Retry::Never),
    };
    if !said.is_empty() {
        message = format!("{message}: {}", quoted(said));
    }
    let error = Error::new(kind, message).retry(retry);
    match kind {
        ErrorKind::Unauthorized => error.advise("check this provider's key in the configuration"),
        ErrorKind::Unavailable if status.is_redirection() => {
            error.advise("redirects are not followed; set `base_url` to the final address")
        }
        _ => error,
    }
}

/// At most 300 characters of what a vendor said, on one line, without anything that looks like a key or like image
/// data: vendors echo both.
#[must_use]
pub fn quoted(said: &str) -> String {
    let mut quote = String::new();
    for word in said.split_whitespace() {
        let secretive = word.len() > 40 || word.starts_with("sk-") || word.contains("base64,");
        let word = if secretive { "…" } else { word };
        if quote.chars().count() + word.chars().count() > 300 {
            quote.push('…');
            break;
        }
        if !quote.is_empty() {
            quote.push(' ');
        }
        quote.extend(word.chars().filter(|c| !c.is_control()));
    }
    quote
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_short_and_hide_keys_and_images() {
        let said = format!("bad key sk-abcdef and data:image/png;base64,{} end\u{1b}[31m", "A".repeat(500));
        assert_eq!(quoted(&said), "bad key … and … end[31m");
        assert!(quoted(&"word ".repeat(500)).chars().count() <= 302);
    }

    #[test]
    fn a_byte_order_mark_and_broken_utf8_do_not_lose_an_answer() {
        let reply = |body: &'static [u8]| Incoming {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from_static(body),
        };
        assert_eq!(reply(b"\xef\xbb\xbf{\"a\":1}").json().expect("json")["a"], 1);
        assert_eq!(reply(b"{\"a\":\"\xff\"}").json().expect("json")["a"], "\u{fffd}");
        assert_eq!(reply(b"<html>").json().expect_err("not json").kind(), ErrorKind::Garbled);
        let absurd = br#"{"a": 1e999, "b": -1e999, "c": "1e999 \"1e999", "d": 1e3}"#;
        let value = reply(absurd).json().expect("json");
        assert_eq!(value, serde_json::json!({"a": null, "b": null, "c": "1e999 \"1e999", "d": 1e3}));
    }
}
