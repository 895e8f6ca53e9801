//! What became of one call, read back from its line. Lines have the shape that answers have on every surface; what a line
//! lacks is simply not known.

use serde_json::Value;

use crate::failure::Code;

/// One call of one model about one item.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub item: String,
    /// As it was asked for.
    pub model: String,
    /// From 0.
    pub repeat: u32,
    /// The digest of what was asked.
    pub question: Option<String>,
    /// Of the images that were opened.
    pub images: Option<String>,
    pub outcome: Outcome,
    /// The model that answered, by its own account: `provider/model`.
    pub answered_by: Option<String>,
    /// What the calls took that brought the answer, without waits of ours before and between them.
    pub latency_ms: Option<f64>,
    pub cost_usd: Option<f64>,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cached: bool,
    pub warnings: Vec<String>,
    /// Width, height and bytes of what was sent, for people to read.
    pub sent: Vec<String>,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What was said, and whether that was all of it.
    Said { text: String, finish: Finish },
    /// A code and a message.
    Failed { code: String, message: String },
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    Whole,
    Cut,
    Refused,
}

/// The kinds of calls that brought no good answer, told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    Error,
    Refusal,
    Truncation,
    /// An answer came, and is not of the form that was asked for.
    Invalid,
}

impl Record {
    /// Reads a line; nothing when it is not one of ours.
    #[must_use]
    pub fn read(line: &Value) -> Option<Self> {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let outcome = match &line["error"] {
            Value::Null => Outcome::Said { text: said(line)?, finish: finish(line["finish_reason"].as_str()) },
            error => Outcome::Failed {
                code: error["code"].as_str()?.to_owned(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            },
        };
        let tokens = |name: &str| line["usage"][name].as_u64().unwrap_or(0);
        let listed = |value: &Value| value.as_array().cloned().unwrap_or_default();
        Some(Self {
            item: text("item")?,
            model: text("model_asked")?,
            repeat: line["repeat"].as_u64().and_then(|repeat| u32::try_from(repeat).ok())?,
            question: text("question"),
            images: text("images_blake3"),
            outcome,
            answered_by: text("provider").zip(text("model")).map(|(provider, model)| format!("{provider}/{model}")),
            latency_ms: answering(line).or_else(|| line["latency_ms"].as_f64()),
            cost_usd: line["cost_usd"].as_f64(),
            input_tokens: tokens("input_tokens"),
            output_tokens: tokens("output_tokens"),
            cached: line["cached"].as_bool().unwrap_or(false),
            warnings: listed(&line["warnings"]).iter().filter_map(|it| it.as_str().map(str::to_owned)).collect(),
            sent: listed(&line["images"]).iter().map(|image| shape(&image["sent"])).collect(),
        })
    }

    /// Whether this says no more than that the call is yet to be made.
    #[must_use]
    pub fn is_left(&self) -> bool {
        matches!(&self.outcome, Outcome::Failed { code, .. } if code == Code::Cancelled.name())
    }

    /// What was said, where something was.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Said { text, .. } => Some(text),
            Outcome::Failed { .. } => None,
        }
    }

    /// Whether nobody was asked, because its question or its pictures cannot be used. Pictures are opened before anybody is
    /// asked, and their digest is in the line from then on; whether they can be decoded shows when they are fitted to the
    /// first model. What a vendor says of a picture that was decoded here is another matter.
    #[must_use]
    pub fn was_not_put(&self) -> bool {
        const UNREADABLE: [&str; 3] = ["IMAGE_CORRUPT", "UNSUPPORTED_FORMAT", "IMAGE_TOO_LARGE"];
        let Outcome::Failed { code, message } = &self.outcome else { return false };
        let is_ours = message.starts_with("decoding the image: ");
        self.images.is_none() || (is_ours && UNREADABLE.contains(&code.as_str()))
    }

    /// Whether a vendor may have billed it: what was answered anew, what says what it cost, and what failed after a model
    /// had begun to work.
    #[must_use]
    pub fn may_be_billed(&self) -> bool {
        const BILLED: [&str; 6] =
            ["REFUSED", "TRUNCATED", "SCHEMA_MISMATCH", "BAD_UPSTREAM_RESPONSE", "EMPTY_RESPONSE", "UPSTREAM_TIMEOUT"];
        match &self.outcome {
            _ if self.cached => false,
            Outcome::Said { .. } => true,
            Outcome::Failed { code, .. } => self.cost_usd.is_some() || BILLED.contains(&code.as_str()),
        }
    }

    /// What kept this from being a good answer, whatever it says.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        match &self.outcome {
            Outcome::Said { finish: Finish::Whole, .. } => None,
            Outcome::Said { finish: Finish::Cut, .. } => Some(Fault::Truncation),
            Outcome::Said { finish: Finish::Refused, .. } => Some(Fault::Refusal),
            Outcome::Failed { code, .. } => Some(match code.as_str() {
                "REFUSED" => Fault::Refusal,
                "TRUNCATED" => Fault::Truncation,
                "SCHEMA_MISMATCH" | "BAD_UPSTREAM_RESPONSE" | "EMPTY_RESPONSE" => Fault::Invalid,
                _ => Fault::Error,
            }),
        }
    }
}

/// What an answer says, as it is measured: a description without the text that was read, data as JSON.
fn said(line: &Value) -> Option<String> {
    let text = ["text", "description", "detected_text"].into_iter().find_map(|name| line[name].as_str());
    text.map(str::to_owned).or_else(|| line.get("data").map(Value::to_string))
}

/// Milliseconds of the calls that an answer came from: where the first one broke its form, two.
fn answering(line: &Value) -> Option<f64> {
    let attempts = line["route"]["attempts"].as_array()?.iter();
    let answering = attempts.filter(|attempt| matches!(attempt["outcome"].as_str(), Some("ok" | "schema_mismatch")));
    let times: Vec<f64> = answering.filter_map(|attempt| attempt["latency_ms"].as_f64()).collect();
    (!times.is_empty()).then(|| times.iter().sum())
}

fn finish(reason: Option<&str>) -> Finish {
    match reason {
        Some("length") => Finish::Cut,
        Some("refusal") => Finish::Refused,
        _ => Finish::Whole,
    }
}

fn shape(sent: &Value) -> String {
    let format = sent["format"].as_str().unwrap_or("?");
    let bytes = sent["bytes"].as_u64().unwrap_or(0);
    match (sent["width"].as_u64(), sent["height"].as_u64()) {
        (Some(width), Some(height)) => format!("{width} × {height} {format}, {bytes} bytes"),
        _ => format!("{format}, {bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_read_back() {
        let line = json!({"item": "a", "model_asked": "m", "repeat": 1, "images_blake3": "ff", "task": "ask",
            "text": "25.41", "provider": "p", "model": "m-1", "latency_ms": 12, "cost_usd": 0.5,
            "usage": {"input_tokens": 7, "output_tokens": 2}, "finish_reason": "length", "cached": false,
            "route": {"attempts": [{"outcome": "rate_limited", "latency_ms": 900}, {"outcome": "ok", "latency_ms": 11}]},
            "warnings": ["cut"], "images": [{"sent": {"format": "png", "width": 3, "height": 2, "bytes": 9}}]});
        let record = Record::read(&line).expect("a record");
        assert_eq!((record.said(), record.fault()), (Some("25.41"), Some(Fault::Truncation)));
        assert_eq!(record.latency_ms, Some(11.0), "waiting for others, and again, is no speed of the model's");
        assert_eq!(
            (record.answered_by.as_deref(), record.sent),
            (Some("p/m-1"), vec!["3 × 2 png, 9 bytes".to_owned()])
        );
        let line = json!({"item": "a", "model_asked": "m", "repeat": 0, "error": {"code": "REFUSED", "message": "no"}});
        let record = Record::read(&line).expect("a record");
        assert_eq!((record.said(), record.fault(), record.cost_usd), (None, Some(Fault::Refusal), None));
        assert!(Record::read(&json!({"id": "a batch's line"})).is_none());
    }

    #[test]
    fn what_nobody_was_asked_is_told_from_what_failed_and_what_is_billed_from_what_is_free() {
        let failed = |code: &str, more: Value| {
            let mut line = json!({"item": "a", "model_asked": "m", "repeat": 0, "error": {"code": code}});
            line.as_object_mut().expect("an object").extend(more.as_object().expect("members").clone());
            Record::read(&line).expect("a record")
        };
        let opened = json!({"images_blake3": "ff"});
        assert!(failed("INVALID_INPUT", json!({})).was_not_put(), "a picture that is not there");
        assert!(!failed("INVALID_INPUT", opened.clone()).was_not_put(), "what a vendor says");
        let unread = |message: &str| {
            let line = json!({"item": "a", "model_asked": "m", "repeat": 0, "images_blake3": "ff",
                "error": {"code": "IMAGE_CORRUPT", "message": message}});
            Record::read(&line).expect("a record").was_not_put()
        };
        assert!(unread("decoding the image: unexpected end of file") && !unread("the backend answered 400"));
        assert!(!failed("RATE_LIMITED", opened.clone()).may_be_billed());
        assert!(failed("UPSTREAM_TIMEOUT", opened).may_be_billed());
        assert!(failed("UPSTREAM_ERROR", json!({"cost_usd": 0.1})).may_be_billed());
        let line = json!({"item": "a", "model_asked": "m", "repeat": 0, "text": "x", "cached": true, "cost_usd": 0.0});
        assert!(!Record::read(&line).expect("a record").may_be_billed());
    }
}
