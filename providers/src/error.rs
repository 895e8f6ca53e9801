//! The crate's one error type: what went wrong, whether trying again can help, and the story for people.
//!
//! It is not the error that callers of the gateway see: the gateway maps [`ErrorKind`] to its public codes once, at
//! its edge, so that a vendor's words never decide a caller's program flow.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::allowance::Allowance;
use crate::answer::{Try, Usage};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was, as far as a program has to tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The backend refused the request as malformed: sending it again cannot help.
    InvalidRequest,
    /// The backend cannot do what was asked: another one may.
    Unsupported,
    /// An image or the whole request is larger than the backend takes.
    TooLarge,
    /// An image cannot be decoded.
    Corrupt,
    /// The model or the vendor's filter declined to answer.
    Refused,
    /// The key is missing, wrong or not allowed to do this.
    Unauthorized,
    /// The backend does not serve a model of that name.
    UnknownModel,
    /// Too many requests or tokens in a span of time.
    RateLimited,
    /// The account has no credit left, or met its spending limit.
    OutOfCredit,
    /// No answer within the time that was given.
    TimedOut,
    /// The backend is down, overloaded or cannot be reached.
    Unavailable,
    /// Too many calls are already waiting here.
    Overloaded,
    /// An answer arrived that cannot be understood.
    Garbled,
    /// A well-formed answer arrived with nothing in it.
    Empty,
    /// The token limit was met before anything usable was said.
    Truncated,
    /// JSON arrived that does not follow the schema that was asked for.
    SchemaMismatch,
    /// A fault of this program.
    Internal,
}

impl ErrorKind {
    /// A stable name for logs, metrics and the route of an answer.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too_large",
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
            Self::Unauthorized => "unauthorized",
            Self::UnknownModel => "unknown_model",
            Self::RateLimited => "rate_limited",
            Self::OutOfCredit => "out_of_credit",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Garbled => "garbled",
            Self::Empty => "empty",
            Self::Truncated => "truncated",
            Self::SchemaMismatch => "schema_mismatch",
            Self::Internal => "internal",
        }
    }
}

/// Whether another try at the same backend makes sense. It is decided where the cause is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again, or it might be billed twice.
    Never,
    /// One more try and no other: it may have been billed, or the backend may still be at work.
    Once,
    /// It may pass; the backend may have said how long to wait.
    Later(Option<Duration>),
    /// It was worth trying again, and the tries are used up.
    Spent(Option<Duration>),
}

/// A failure of a provider. Cheap to move; cloning shares the cause.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    maybe_billed: bool,
    message: String,
    advice: Option<String>,
    context: Vec<(&'static str, String)>,
    tries: Vec<Try>,
    spent: Vec<Usage>,
    allowance: Option<Allowance>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure that is final: trying again is pointless.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: Retry::Never,
            maybe_billed: false,
            message: message.into(),
            advice: None,
            context: Vec::new(),
            tries: Vec::new(),
            spent: Vec::new(),
            allowance: None,
            source: None,
        }))
    }

    /// Sets the verdict on trying again. What may be tried only once more may have been billed, whatever is decided later.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self.0.maybe_billed |= retry == Retry::Once;
        self
    }

    /// Says what whoever can act should do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Adds a fact about the circumstances.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.context.push((key, value.into()));
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Records the calls that were made before this verdict.
    #[must_use]
    pub fn after(mut self, tries: Vec<Try>) -> Self {
        self.0.tries = tries;
        self
    }

    /// Records what a call took whose answer was of no use.
    #[must_use]
    pub fn spending(mut self, usage: Option<Usage>) -> Self {
        self.0.spent.extend(usage);
        self
    }

    /// What calls took whose answers were of no use.
    #[must_use]
    pub fn spent(&self) -> &[Usage] {
        &self.0.spent
    }

    /// Records what the backend still takes, where it said.
    #[must_use]
    pub fn leaving(mut self, allowance: Option<Allowance>) -> Self {
        self.0.allowance = allowance;
        self
    }

    /// What the backend still takes, where it said.
    #[must_use]
    pub fn allowance(&self) -> Option<Allowance> {
        self.0.allowance
    }

    /// The same without this text, which vendors echo and nobody may read.
    #[must_use]
    pub fn without(mut self, secret: &str) -> Self {
        if secret.len() >= 4 {
            let inner = &mut *self.0;
            let texts = inner.context.iter_mut().map(|(_, value)| value).chain(&mut inner.advice);
            for text in texts.chain([&mut inner.message]) {
                *text = text.replace(secret, "…");
            }
        }
        self
    }

    /// The same without runs of words that somebody said: vendors repeat what they were asked, and what people ask is
    /// nobody else's business.
    #[must_use]
    pub fn without_echo(mut self, said: &str) -> Self {
        self.0.message = without_runs(&self.0.message, said);
        self
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again makes sense.
    #[must_use]
    pub fn retry_verdict(&self) -> Retry {
        self.0.retry
    }

    /// Whether the backend may have done the work and bill it, although nobody got an answer.
    #[must_use]
    pub fn is_maybe_billed(&self) -> bool {
        self.0.maybe_billed || self.0.kind == ErrorKind::TimedOut
    }

    /// Records that a call before this one may be billed.
    #[must_use]
    pub fn and_maybe_billed(mut self) -> Self {
        self.0.maybe_billed = true;
        self
    }

    /// What was attempted and what went wrong, without context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, when something can be done.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    /// The calls that were made before this verdict, oldest first.
    #[must_use]
    pub fn tries(&self) -> &[Try] {
        &self.0.tries
    }
}

/// Words in a row that make an echo.
const RUN: usize = 4;

fn without_runs(text: &str, said: &str) -> String {
    let plain = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let spoken: Vec<String> = said.split_whitespace().map(plain).collect();
    // A word or two stands in many a message, ours included.
    let run = if spoken.len() < 2 || said.trim().len() < 12 { 0 } else { RUN.min(spoken.len()) };
    let numbers = |word: &&String| word.chars().filter(char::is_ascii_digit).count() >= 4;
    let numbers: HashSet<&str> = spoken.iter().filter(numbers).map(String::as_str).collect();
    let runs: HashSet<&[String]> = if run == 0 { HashSet::new() } else { spoken.windows(run).collect() };
    let words: Vec<&str> = text.split_whitespace().collect();
    let plains: Vec<String> = words.iter().map(|word| plain(word)).collect();
    let mut echoed = vec![false; words.len()];
    for at in 0..(plains.len() + 1).saturating_sub(run.max(1)) {
        if runs.contains(&plains[at..at + run]) {
            echoed[at..at + run].fill(true);
        }
    }
    for (echoed, word) in echoed.iter_mut().zip(&plains) {
        *echoed |= numbers.contains(word.as_str());
    }
    if !echoed.contains(&true) {
        return text.to_owned();
    }
    let kept = words.iter().zip(&echoed).map(|(word, echoed)| if *echoed { "…" } else { word });
    let mut kept: Vec<&str> = kept.collect();
    kept.dedup_by(|one, two| *one == "…" && *two == "…");
    kept.join(" ")
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.message)?;
        if self.0.context.is_empty() {
            return Ok(());
        }
        out.write_str(" (")?;
        for (index, (key, value)) in self.0.context.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(out, "{comma}{key}: {value}")?;
        }
        out.write_str(")")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {:?}: {self}", self.0.kind.name(), self.0.retry)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_not_repeated() {
        let error =
            Error::new(ErrorKind::InvalidRequest, "400: bad prompt \"The patient Jane Roe has X.\" was refused");
        let hushed = error.without_echo("Note: the patient Jane Roe has X. What now?");
        assert_eq!(hushed.message(), "400: bad prompt … was refused");
        let error = Error::new(ErrorKind::InvalidRequest, "cannot read 078-05-1120 here");
        assert_eq!(error.without_echo("My number is 078-05-1120, thanks").message(), "cannot read … here");
        let error = Error::new(ErrorKind::InvalidRequest, "the image is too large");
        assert_eq!(error.clone().without_echo("What is in the image?").message(), error.message());
        assert_eq!(error.clone().without_echo("").message(), error.message());
    }
}
