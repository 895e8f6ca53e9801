//! Wire formats: pure translation between a [`VisionRequest`] and one vendor family's JSON.
//!
//! A wire does no IO and reads no clock, so it can be tested against golden files and fuzzed. Sending is the business
//! of [`crate::http::HttpProvider`] alone.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::answer::Answer;
use crate::error::{Error, ErrorKind, Result, Retry};
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
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            Error::new(ErrorKind::Garbled, "reading the answer: it is not JSON")
                .with("status", self.status.as_u16().to_string())
                .with("bytes", self.body.len().to_string())
                .caused_by(error)
        })
    }
}

/// One wire format, possibly with settings that bend it to a dialect.
pub trait Wire: fmt::Debug + Send + Sync + 'static {
    /// Writes a request to the model of this card. It may base64 megabytes, so it belongs on a thread that may be busy.
    ///
    /// # Errors
    /// When the request cannot be expressed in this format.
    fn write(&self, req: &VisionRequest, card: &ModelCard) -> Result<Outgoing>;

    /// The cheapest request that shows whether the backend is there and takes the key.
    fn probe(&self) -> Outgoing;

    /// Reads the reply to a request that was accepted.
    ///
    /// # Errors
    /// When it is garbled, empty, cut or a refusal.
    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer>;

    /// Reads the reply to a request that was not accepted.
    fn read_error(&self, reply: &Incoming) -> Error {
        error_by_status(reply, "")
    }
}

/// What the status alone says; wires that know more about a vendor's bodies ask it last.
#[must_use]
pub fn error_by_status(reply: &Incoming, said: &str) -> Error {
    let status = reply.status;
    let wait = retry_after(&reply.headers);
    let (kind, retry) = match status.as_u16() {
        401 | 403 => (ErrorKind::Unauthorized, Retry::Never),
        402 => (ErrorKind::OutOfCredit, Retry::Never),
        404 => (ErrorKind::UnknownModel, Retry::Never),
        408 | 504 => (ErrorKind::TimedOut, Retry::Later(wait)),
        413 => (ErrorKind::TooLarge, Retry::Never),
        429 => (ErrorKind::RateLimited, Retry::Later(wait)),
        500..=599 => (ErrorKind::Unavailable, Retry::Later(wait)),
        300..=399 => (ErrorKind::Unavailable, Retry::Never),
        400..=499 => (ErrorKind::InvalidRequest, Retry::Never),
        _ => (ErrorKind::Garbled, Retry::Never),
    };
    let mut message = format!("the backend answered {status}");
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
    }
}
