//! Mistral's dialect of the chat wire, under the name of the model that made it known: the default provider.
//!
//! Mistral answers any field that it does not know with 422, so only fields of its own API description are written:
//! `random_seed`, `max_tokens`, no `stream_options`, no `detail`. Hosted Pixtral models are retired; their ids are
//! rewritten by the catalog's successors, with a warning. Self-hosted Pixtral keeps its id.
//! <https://docs.mistral.ai/api/>, read 2026-11-20.

use http::HeaderMap;

use crate::adapters::chat::{Chat, DetailField, ImageUrl, MaxTokens, Quirks, Seed, SystemRole};
use crate::adapters::complaint::read_error;
use crate::answer::Answer;
use crate::error::{Error, ErrorKind, Result};
use crate::model::ModelCard;
use crate::request::VisionRequest;
use crate::wire::{Incoming, Outgoing, Wire};

/// Set on answers of models that will be retired: a Unix time in seconds, or a date.
const DEPRECATION: &str = "x-model-deprecation-timestamp";

/// Mistral's wire.
#[derive(Debug)]
pub struct Pixtral(Chat);

impl Pixtral {
    /// The wire as the vendor documents it.
    #[must_use]
    pub fn new() -> Self {
        Self::with_quirks(Quirks {
            max_tokens: MaxTokens::MaxTokens,
            seed: Seed::RandomSeed,
            image_url: ImageUrl::Object,
            // Accepted there, but without a documented effect: intake chooses the size instead.
            detail: DetailField::Omit,
            system: SystemRole::System,
        })
    }

    /// The wire as another server of Mistral's models wants it.
    #[must_use]
    pub fn with_quirks(quirks: Quirks) -> Self {
        Self(Chat { quirks })
    }
}

impl Default for Pixtral {
    fn default() -> Self {
        Self::new()
    }
}

impl Wire for Pixtral {
    fn write(&self, req: &VisionRequest, card: &ModelCard) -> Result<Outgoing> {
        self.0.write(req, card)
    }

    fn probe(&self) -> Outgoing {
        self.0.probe()
    }

    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
        let mut answer = self.0.read(req, reply)?;
        if let Some(date) = reply.headers.get(DEPRECATION).and_then(|value| value.to_str().ok()) {
            let date = deprecation_day(date);
            answer.warnings.push(format!("the vendor will retire {} on {date}: choose a successor", req.model));
        }
        Ok(answer)
    }

    fn read_error(&self, reply: &Incoming) -> Error {
        let error = read_error(reply);
        if error.kind() == ErrorKind::RateLimited { limited(error, &reply.headers) } else { error }
    }
}

/// What the rate-limit headers add to a refusal: how much is left of what, and whether waiting helps before the month
/// is over.
fn limited(error: Error, headers: &HeaderMap) -> Error {
    const LEFT: [(&str, &str); 3] = [
        ("x-ratelimit-remaining-req-minute", "requests left this minute"),
        ("x-ratelimit-remaining-tokens-minute", "tokens left this minute"),
        ("x-ratelimit-remaining-tokens-month", "tokens left this month"),
    ];
    let left = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let month_is_over = left("x-ratelimit-remaining-tokens-month").is_some_and(|left| left <= 0);
    let error = LEFT.iter().fold(error, |error, (name, words)| match left(name) {
        Some(count) => error.with(words, count.to_string()),
        None => error,
    });
    if month_is_over {
        let spent = Error::new(ErrorKind::OutOfCredit, error.to_string());
        return spent.advise("raise the monthly limit of the Mistral workspace, or choose another provider");
    }
    error
}

/// The day a deprecation header names, as `YYYY-MM-DD` where it can be read.
fn deprecation_day(value: &str) -> String {
    let day = |time: String| time.chars().take(10).collect();
    match value.parse::<u64>() {
        Ok(seconds) if seconds < 253_402_300_800 => {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            day(humantime::format_rfc3339_seconds(time).to_string())
        }
        _ => day(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deprecation_is_read_as_seconds_or_as_a_date() {
        assert_eq!(deprecation_day("1780185600"), "2026-05-31");
        assert_eq!(deprecation_day("2026-05-31T00:00:00Z"), "2026-05-31");
    }
}
