//! The gateway's one error: a closed code, what was attempted and went wrong, and advice for whoever can act.
//!
//! Every surface shows the same object. Provider errors become failures here and nowhere else, so what a vendor calls
//! its errors never decides what a caller's program does.

use std::fmt;
use std::time::Duration;

use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::price::MicroUsd;

/// The result of everything in the gateway that can fail.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What went wrong, as programs tell it apart. The names are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    InvalidInput,
    UnsafePath,
    UrlBlocked,
    FetchFailed,
    UnsupportedFormat,
    ImageTooLarge,
    ImageCorrupt,
    ModelNotFound,
    CapabilityMissing,
    Unauthenticated,
    Forbidden,
    RateLimited,
    BudgetExceeded,
    NoProvider,
    UpstreamAuth,
    UpstreamError,
    UpstreamTimeout,
    BadUpstreamResponse,
    EmptyResponse,
    Refused,
    Truncated,
    SchemaMismatch,
    Overloaded,
    Cancelled,
    Internal,
}

impl Code {
    /// Every code there is.
    pub const ALL: [Self; 25] = [
        Self::InvalidInput,
        Self::UnsafePath,
        Self::UrlBlocked,
        Self::FetchFailed,
        Self::UnsupportedFormat,
        Self::ImageTooLarge,
        Self::ImageCorrupt,
        Self::ModelNotFound,
        Self::CapabilityMissing,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::RateLimited,
        Self::BudgetExceeded,
        Self::NoProvider,
        Self::UpstreamAuth,
        Self::UpstreamError,
        Self::UpstreamTimeout,
        Self::BadUpstreamResponse,
        Self::EmptyResponse,
        Self::Refused,
        Self::Truncated,
        Self::SchemaMismatch,
        Self::Overloaded,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The name and the HTTP status of this code.
    fn row(self) -> (&'static str, u16) {
        match self {
            Self::InvalidInput => ("INVALID_INPUT", 400),
            Self::UnsafePath => ("UNSAFE_PATH", 403),
            Self::UrlBlocked => ("URL_BLOCKED", 403),
            Self::FetchFailed => ("FETCH_FAILED", 424),
            Self::UnsupportedFormat => ("UNSUPPORTED_FORMAT", 415),
            Self::ImageTooLarge => ("IMAGE_TOO_LARGE", 413),
            Self::ImageCorrupt => ("IMAGE_CORRUPT", 422),
            Self::ModelNotFound => ("MODEL_NOT_FOUND", 404),
            Self::CapabilityMissing => ("CAPABILITY_MISSING", 422),
            Self::Unauthenticated => ("UNAUTHENTICATED", 401),
            Self::Forbidden => ("FORBIDDEN", 403),
            Self::RateLimited => ("RATE_LIMITED", 429),
            Self::BudgetExceeded => ("BUDGET_EXCEEDED", 402),
            Self::NoProvider => ("NO_PROVIDER", 503),
            Self::UpstreamAuth => ("UPSTREAM_AUTH", 502),
            Self::UpstreamError => ("UPSTREAM_ERROR", 502),
            Self::UpstreamTimeout => ("UPSTREAM_TIMEOUT", 504),
            Self::BadUpstreamResponse => ("BAD_UPSTREAM_RESPONSE", 502),
            Self::EmptyResponse => ("EMPTY_RESPONSE", 502),
            Self::Refused => ("REFUSED", 422),
            Self::Truncated => ("TRUNCATED", 502),
            Self::SchemaMismatch => ("SCHEMA_MISMATCH", 502),
            Self::Overloaded => ("OVERLOADED", 503),
            Self::Cancelled => ("CANCELLED", 499),
            Self::Internal => ("INTERNAL", 500),
        }
    }

    /// The name that callers see.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The status over HTTP.
    #[must_use]
    pub fn status(self) -> u16 {
        self.row().1
    }
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub code: Code,
    /// What was attempted and what was wrong.
    pub message: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether a backend was given work and nobody knows what became of it, because time ran out or the connection broke: a
    /// program that repeats the call by itself may pay twice.
    pub maybe_billed: bool,
    pub retry_after: Option<Duration>,
    /// What to do, said to whoever can do it.
    pub advice: Option<String>,
    /// What was paid all the same, as far as that can be told.
    pub spent: Option<Spent>,
}

/// What calls cost that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub cost: MicroUsd,
    /// Whether calls are in it that were cut off: what their vendor bills for them is not known.
    pub is_estimate: bool,
}

impl Failure {
    /// A failure that trying again does not mend.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (message, retryable, maybe_billed) = (message.into(), false, false);
        Self { code, message, retryable, maybe_billed, retry_after: None, advice: None, spent: None }
    }

    /// The caller sent something that cannot be worked with.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidInput, message)
    }

    /// Says what to do about it.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Says that the same call may succeed later.
    #[must_use]
    pub fn retryable(self) -> Self {
        Self { retryable: true, ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::InvalidRequest => Code::InvalidInput,
            ErrorKind::Unavailable => Code::UpstreamError,
            ErrorKind::Unsupported => Code::CapabilityMissing,
            ErrorKind::TooLarge => Code::ImageTooLarge,
            ErrorKind::Corrupt => Code::ImageCorrupt,
            ErrorKind::Refused => Code::Refused,
            ErrorKind::Unauthorized => Code::UpstreamAuth,
            ErrorKind::UnknownModel => Code::ModelNotFound,
            ErrorKind::RateLimited => Code::RateLimited,
            ErrorKind::OutOfCredit => Code::BudgetExceeded,
            ErrorKind::TimedOut => Code::UpstreamTimeout,
            ErrorKind::Overloaded => Code::Overloaded,
            ErrorKind::Garbled => Code::BadUpstreamResponse,
            ErrorKind::Empty => Code::EmptyResponse,
            ErrorKind::Truncated => Code::Truncated,
            ErrorKind::SchemaMismatch => Code::SchemaMismatch,
            ErrorKind::Internal => Code::Internal,
        };
        let (passing, retry_after) = match error.retry_verdict() {
            Retry::Never => (matches!(code, Code::UpstreamTimeout), None),
            Retry::Once => (true, None),
            Retry::Later(wait) | Retry::Spent(wait) => (true, wait),
        };
        let advice = error.advice().map_or_else(|| advice_for(code, passing), |advice| Some(advice.to_owned()));
        let maybe_billed = error.is_maybe_billed();
        Self { code, message: error.to_string(), retryable: passing, maybe_billed, retry_after, advice, spent: None }
    }
}

fn advice_for(code: Code, passing: bool) -> Option<String> {
    let advice = match code {
        Code::RateLimited => "wait before calling again, or choose another model",
        Code::Refused => "do not repeat the same question; ask differently or choose another model",
        _ if passing => "try again later, or choose another model",
        _ => return None,
    };
    Some(advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_errors_keep_their_verdict_and_gain_a_code() {
        let wait = Duration::from_secs(20);
        let error = Error::new(ErrorKind::RateLimited, "the backend answered 429").retry(Retry::Spent(Some(wait)));
        let failure = Failure::from(error);
        assert_eq!((failure.code.name(), failure.retryable, failure.retry_after), ("RATE_LIMITED", true, Some(wait)));
        let failure = Failure::from(Error::new(ErrorKind::Unauthorized, "the backend answered 401"));
        assert_eq!((failure.code.name(), failure.retryable), ("UPSTREAM_AUTH", false));
    }
}
