//! Model cards: what a model can do, takes and costs, as data, and the arithmetic on it.
//!
//! Intake fits images to a card's limits, the plan filters by its abilities, the answer's cost comes from its price.
//! One truth, three readers. The figures live in the catalog, with source and date.

use std::fmt;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::image::Format;
use crate::parameters::Parameters;
use crate::price::Price;
use crate::request::{Detail, ModelId, Sampling, Task, VisionRequest};
use crate::tokens::{Basis, TokenRule};

/// How much of a size in pixels and bytes a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Images per request.
    pub max_images: usize,
    /// Encoded bytes per image, before base64.
    pub max_bytes: usize,
    /// Encoded bytes of all images and documents of a request together, before base64.
    pub max_total_bytes: usize,
    /// Bytes of a PDF; 0 for models that read none.
    pub max_document_bytes: usize,
    /// Pixels along either side that are refused beyond.
    pub max_side: u32,
    /// Pixels along the longer side beyond which the model sees nothing more: larger images are shrunk to it.
    pub target_side: u32,
    /// The same where little detail is wanted.
    pub low_side: u32,
    /// The most tokens that the model can say, where known.
    pub max_output_tokens: Option<u32>,
    /// Tokens of question and answer together, where known.
    pub context: Option<u64>,
    /// Formats the backend decodes, the preferred ones first.
    pub formats: Vec<Format>,
}

/// Shrinks so that the longer side fits.
fn fitted(width: u32, height: u32, largest: u32) -> (u32, u32) {
    let longest = u64::from(width.max(height));
    if longest <= u64::from(largest) {
        return (width, height);
    }
    let side = |side: u32| (u64::from(side) * u64::from(largest) + longest / 2) / longest;
    let side = |pixels: u32| u32::try_from(side(pixels)).unwrap_or(largest).max(1);
    (side(width), side(height))
}

/// How a model is made to answer in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonMode {
    /// The backend enforces a schema.
    Schema,
    /// The backend promises JSON but knows no schema; the schema goes into the prompt.
    Object,
    /// Only the prompt can ask for it.
    Prompt,
}

/// A calendar day, written `YYYY-MM-DD`, which sorts as time does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(String);

impl Date {
    /// Reads `YYYY-MM-DD`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let midnight = humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok()?;
        (Self::of(midnight).0 == text).then(|| Self(text.to_owned()))
    }

    /// Today in UTC.
    #[must_use]
    pub fn today() -> Self {
        Self::of(SystemTime::now())
    }

    /// The day on which this time falls, in UTC.
    fn of(time: SystemTime) -> Self {
        Self(humantime::format_rfc3339_seconds(time).to_string().chars().take(10).collect())
    }

    /// The day that comes so many days later.
    #[must_use]
    pub fn plus(&self, days: u32) -> Self {
        let midnight = humantime::parse_rfc3339(&format!("{}T00:00:00Z", self.0)).unwrap_or(SystemTime::UNIX_EPOCH);
        Self::of(midnight + Duration::from_hours(24) * days)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Days before a retirement on which answers begin to warn of it.
const SOON: u32 = 90;

/// The end of a model's life at its vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retirement {
    /// The first day on which calls fail.
    pub on: Date,
    /// What the vendor names as its replacement.
    pub successor: Option<ModelId>,
}

/// Everything known about one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCard {
    pub id: ModelId,
    /// Other names the backend knows it by.
    pub aliases: Vec<ModelId>,
    pub tasks: Vec<Task>,
    /// Whether it can say where text stands.
    pub boxes: bool,
    pub json: JsonMode,
    pub parameters: Parameters,
    pub limits: Limits,
    pub tokens: TokenRule,
    /// How sure the rule is.
    pub basis: Basis,
    /// Absent when unknown: then no cost is claimed.
    pub price: Option<Price>,
    pub retirement: Option<Retirement>,
    /// Where the figures come from and of which day they are.
    pub source: String,
}

impl ModelCard {
    /// Whether the backend calls this model by that name.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.id.as_str() == name || self.aliases.iter().any(|alias| alias.as_str() == name)
    }

    /// The retirement, when it has come to pass by `today`.
    #[must_use]
    pub fn retired_by(&self, today: &Date) -> Option<&Retirement> {
        self.retirement.as_ref().filter(|retirement| retirement.on <= *today)
    }

    /// The retirement that comes soon after `today`.
    #[must_use]
    pub fn retires_soon(&self, today: &Date) -> Option<&Retirement> {
        let soon = today.plus(SOON);
        self.retirement.as_ref().filter(|retirement| *today < retirement.on && retirement.on <= soon)
    }

    /// The size in pixels at which an image of this size should be sent: what the model sees of it, and no more.
    #[must_use]
    pub fn target(&self, width: u32, height: u32, detail: Detail) -> (u32, u32) {
        let side = match detail {
            Detail::Low => self.limits.low_side.min(self.limits.target_side),
            Detail::Auto | Detail::High => self.limits.target_side,
        };
        let (width, height) = fitted(width, height, side.min(self.limits.max_side));
        self.tokens.seen(width, height, detail)
    }

    /// What of the wanted parameters is sent to this model, and a sentence for each that is not, or not as it was wanted.
    #[must_use]
    pub fn parameters_for(&self, wanted: &Sampling) -> (Sampling, Vec<String>) {
        let (mut sent, mut notes) = self.parameters.fit(wanted);
        let longest = self.limits.max_output_tokens.unwrap_or(u32::MAX);
        if let Some(tokens) = sent.max_output_tokens {
            if tokens > longest {
                notes.push(format!("an answer of {tokens} tokens is longer than the model's {longest}"));
            }
            sent.max_output_tokens = Some(tokens.saturating_add(self.parameters.headroom(wanted.effort)).min(longest));
        }
        (sent, notes)
    }

    /// Refuses early, by name and number, what the backend would refuse late.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a task, number of images or format that it does not take;
    /// [`ErrorKind::TooLarge`] for an image beyond its limits.
    pub fn admit(&self, req: &VisionRequest) -> Result<()> {
        let refuse = |kind, why: String| Err(Error::new(kind, format!("{} takes {why}", self.id)));
        if !self.tasks.contains(&req.task) {
            let can: Vec<_> = self.tasks.iter().map(|task| task.name()).collect();
            return refuse(ErrorKind::Unsupported, format!("the tasks {}, not {}", can.join(", "), req.task.name()));
        }
        let Limits { max_images, max_bytes, max_total_bytes, max_document_bytes, max_side, formats, .. } = &self.limits;
        let count = req.images().count();
        if count > *max_images {
            return refuse(ErrorKind::Unsupported, format!("at most {max_images} images, not {count}"));
        }
        for document in req.documents() {
            let bytes = document.bytes().len();
            if *max_document_bytes == 0 {
                return refuse(ErrorKind::Unsupported, "no documents".into());
            }
            if bytes > *max_document_bytes {
                return refuse(
                    ErrorKind::TooLarge,
                    format!("documents of at most {max_document_bytes} bytes, not {bytes}"),
                );
            }
        }
        if req.picture_bytes() > *max_total_bytes {
            let bytes = req.picture_bytes();
            return refuse(ErrorKind::TooLarge, format!("at most {max_total_bytes} bytes in all, not {bytes}"));
        }
        for image in req.images() {
            if !formats.contains(&image.format()) {
                let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
                return refuse(
                    ErrorKind::Unsupported,
                    format!("images as {}, not {}", names.join(", "), image.format().name()),
                );
            }
            if image.bytes().len() > *max_bytes {
                let bytes = image.bytes().len();
                return refuse(ErrorKind::TooLarge, format!("at most {max_bytes} bytes an image, not {bytes}"));
            }
            if image.width().max(image.height()) > *max_side {
                let (width, height) = (image.width(), image.height());
                return refuse(ErrorKind::TooLarge, format!("at most {max_side} pixels a side, not {width}x{height}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::card;
    use crate::tokens::TokenRule;

    #[test]
    fn images_are_fitted_to_what_the_model_sees() {
        let mut card = card("m");
        card.limits.target_side = 2048;
        card.limits.max_side = 8000;
        card.limits.low_side = 512;
        card.tokens = TokenRule::Patches { largest_side: 2048, most: 2500, per_mille: 1000 };
        assert_eq!(card.target(4032, 3024, Detail::Auto), (1824, 1368));
        assert_eq!(card.target(4032, 3024, Detail::Low), (512, 384));
        assert_eq!(card.target(640, 480, Detail::Auto), (640, 480));
        card.tokens = TokenRule::Unknown;
        assert_eq!(card.target(4032, 3024, Detail::High), (2048, 1536));
    }

    #[test]
    fn a_retirement_is_announced_before_it_comes() {
        let day = |text: &str| Date::parse(text).expect("a date");
        let mut card = card("m");
        card.retirement = Some(Retirement { on: day("2026-12-11"), successor: None });
        let soon = |today: &str| card.retires_soon(&day(today)).is_some();
        assert_eq!(["2026-08-01", "2026-09-12", "2026-12-10", "2026-12-11"].map(soon), [false, true, true, false]);
        assert!(card.retired_by(&day("2026-12-11")).is_some());
    }

    #[test]
    fn dates_sort_and_reject_nonsense() {
        assert!(Date::parse("2026-05-31") < Date::parse("2026-11-20"));
        for text in ["2026-13-01", "2026-1-01", "soon", "2026-05-32", "2026-02-30", "20260531", "2026-05-31T"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        assert!(Date::today() > Date::parse("2026-01-01").expect("a date"));
        assert_eq!(Date::parse("2026-11-20").map(|day| day.plus(101)), Date::parse("2027-03-01"));
    }
}
