//! Model cards: what a model can do, takes and costs, as data, and the arithmetic on it.
//!
//! Intake fits images to a card's limits, the plan filters by its abilities, the answer's cost comes from its price.
//! One truth, three readers. The figures live in the catalog, with source and date.

use std::fmt;

use crate::answer::Usage;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Format;
use crate::request::{ModelId, Task, VisionRequest};

/// Millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// The amount in dollars, for people and JSON.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine billion dollars")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

/// Prices in millionths of a US dollar per million tokens: $0.15 per million is 150,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    /// What cached input costs; the input price where the vendor gives no rebate.
    pub cached: u64,
}

impl Price {
    /// The cost of this usage, rounded half up to the micro-dollar.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> MicroUsd {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens - cached;
        let pico = u128::from(fresh) * u128::from(self.input)
            + u128::from(cached) * u128::from(self.cached)
            + u128::from(usage.output_tokens) * u128::from(self.output);
        MicroUsd(u64::try_from((pico + 500_000) / 1_000_000).unwrap_or(u64::MAX))
    }
}

/// How a model counts the tokens of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRule {
    /// Square cells after shrinking to a largest side, plus one token at the end of each row (Mistral).
    Rows { largest_side: u32, cell: u32 },
    /// Images cost nothing: no model looks at them.
    Free,
    /// Nobody outside the vendor can tell.
    Unknown,
}

impl TokenRule {
    /// Tokens for one image of this size, when the rule is known. Sizes are in pixels.
    #[must_use]
    pub fn tokens(&self, width: u32, height: u32) -> Option<u64> {
        match *self {
            Self::Rows { largest_side, cell } => Some(rows(width, height, largest_side, cell)),
            Self::Free => Some(0),
            Self::Unknown => None,
        }
    }
}

/// `mistral_common` 1.13.1, `ImageEncoder._image_to_num_tokens`: shrink so that the longer side fits, round each side
/// half to even as Python does, count cells, and add one break token for each row.
fn rows(width: u32, height: u32, largest_side: u32, cell: u32) -> u64 {
    let ratio = f64::from(width.max(height)) / f64::from(largest_side);
    let shrink = |side: u32| {
        if ratio <= 1.0 {
            return side;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and largest_side")]
        let shrunk = (f64::from(side) / ratio).round_ties_even() as u32;
        shrunk.max(1)
    };
    let across = u64::from(shrink(width).div_ceil(cell));
    let down = u64::from(shrink(height).div_ceil(cell));
    (across + 1) * down
}

/// How much of a size in pixels and bytes a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Images per request.
    pub max_images: usize,
    /// Encoded bytes per image, before base64.
    pub max_bytes: usize,
    /// Pixels along either side that are refused beyond.
    pub max_side: u32,
    /// Pixels along the longer side beyond which the model sees nothing more: larger images are shrunk to it.
    pub target_side: u32,
    /// Formats the backend decodes, the preferred ones first.
    pub formats: Vec<Format>,
}

/// How a model is made to answer in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
        let digits = |range: std::ops::Range<usize>| text.get(range)?.parse::<u32>().ok();
        let shape = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
        let valid = shape && digits(0..4).is_some() && (1..=12).contains(&digits(5..7)?);
        (valid && (1..=31).contains(&digits(8..10)?)).then(|| Self(text.to_owned()))
    }

    /// Today in UTC.
    #[must_use]
    pub fn today() -> Self {
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        Self(now.chars().take(10).collect())
    }
}

impl fmt::Display for Date {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

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
    /// Whether it takes temperature and the like.
    pub sampling: bool,
    pub limits: Limits,
    pub tokens: TokenRule,
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
        let Limits { max_images, max_bytes, max_side, formats, .. } = &self.limits;
        if req.images.len() > *max_images {
            return refuse(ErrorKind::Unsupported, format!("at most {max_images} images, not {}", req.images.len()));
        }
        for image in &req.images {
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

    /// Vendor vectors: `mistral_common` 1.13.1, retrieved 2026-11-20.
    #[test]
    fn mistral_image_tokens_match_the_published_vectors() {
        let modern = TokenRule::Rows { largest_side: 1540, cell: 28 };
        let pixtral = TokenRule::Rows { largest_side: 1024, cell: 16 };
        let check = |rule: TokenRule, width, height, expected| {
            assert_eq!(rule.tokens(width, height), Some(expected), "{rule:?} {width}x{height}");
        };
        check(modern, 1, 1, 2);
        check(modern, 1000, 1000, 1332);
        check(modern, 1280, 720, 1222);
        check(modern, 1920, 1080, 1736);
        check(modern, 2048, 1536, 2352);
        check(modern, 4032, 3024, 2352);
        check(modern, 1170, 2532, 1485);
        check(modern, 1540, 1540, 3080);
        check(pixtral, 1000, 1000, 4032);
        check(pixtral, 1280, 720, 2340);
        check(pixtral, 1920, 1080, 2340);
        check(pixtral, 4032, 3024, 3120);
        check(pixtral, 1024, 1024, 4160);
    }

    #[test]
    fn cost_equals_calculation_by_hand() {
        let medium = Price { input: 1_500_000, output: 7_500_000, cached: 150_000 };
        let usage = |input_tokens, output_tokens, cached_tokens| Usage { input_tokens, output_tokens, cached_tokens };
        assert_eq!(medium.of(&usage(1210, 96, 0)), MicroUsd(2535)); // 1815 + 720
        assert_eq!(medium.of(&usage(1210, 96, 640)), MicroUsd(1671)); // 855 + 96 + 720
        let small = Price { input: 150_000, output: 600_000, cached: 15_000 };
        assert_eq!(small.of(&usage(1, 0, 0)), MicroUsd(0)); // 0.15 rounds down
        assert_eq!(small.of(&usage(10, 0, 0)), MicroUsd(2)); // 1.5 rounds up
        assert_eq!(small.of(&usage(1, 1, 99)), MicroUsd(1)); // absurd cache counts cannot make it negative
    }

    #[test]
    fn dates_sort_and_reject_nonsense() {
        assert!(Date::parse("2026-05-31") < Date::parse("2026-11-20"));
        for text in ["2026-13-01", "2026-1-01", "soon", "2026-05-32", "20260531"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        assert!(Date::today() > Date::parse("2026-01-01").expect("a date"));
    }
}
