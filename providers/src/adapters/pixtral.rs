//! Mistral's dialect of the chat wire, under the name of the model that made it known: the default provider.
//!
//! Mistral answers any field that it does not know with 422, so only fields of its own API description are written:
//! `random_seed`, `max_tokens`, no `stream_options`, no `detail`. Hosted Pixtral models are retired; their ids are
//! rewritten by the catalog's successors, with a warning. Self-hosted Pixtral keeps its id.
//! <https://docs.mistral.ai/api/>, read 2026-11-20.

use http::HeaderMap;

use crate::adapters::chat::Chat;
use crate::adapters::complaint::read_error;
use crate::answer::Answer;
use crate::draft::Draft;
use crate::error::{Error, ErrorKind, Result};
use crate::frames::{Event, Framing};
use crate::model::ModelCard;
use crate::request::VisionRequest;
use crate::wire::{Delivery, Incoming, Outgoing, Wire};

/// Set on answers of models that will be retired: a Unix time in seconds, or a date.
const DEPRECATION: &str = "x-model-deprecation-timestamp";

/// Mistral's wire.
#[derive(Debug)]
pub struct Pixtral(pub Chat);

impl Wire for Pixtral {
    fn write(&self, req: &VisionRequest, card: &ModelCard, delivery: Delivery) -> Result<Outgoing> {
        self.0.write(req, card, delivery)
    }

    fn probe(&self) -> Outgoing {
        self.0.probe()
    }

    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
        self.0.read(req, reply)
    }

    fn notices(&self, req: &VisionRequest, headers: &HeaderMap) -> Option<String> {
        let day = deprecation_day(headers.get(DEPRECATION)?.to_str().ok()?);
        Some(format!("the vendor will retire {} on {day}: choose a successor", req.model))
    }

    fn framing(&self) -> Framing {
        self.0.framing()
    }

    fn read_event(&self, event: &Event, draft: &mut Draft) -> Result<()> {
        self.0.read_event(event, draft)
    }

    fn read_error(&self, reply: &Incoming) -> Error {
        read_refusal(reply)
    }
}

/// Reads an error of Mistral's, whichever of its interfaces gave it.
pub(crate) fn read_refusal(reply: &Incoming) -> Error {
    let error = read_error(reply);
    if error.kind() == ErrorKind::RateLimited { limited(error, &reply.headers) } else { error }
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
