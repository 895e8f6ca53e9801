//! The operator's rules as typed data: what a request must be like, and who is asked then.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use super::plan::Wanted;

/// One of the operator's rules.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// All of these must hold.
    #[serde(default)]
    pub when: When,
    /// Who is asked: models in this order, or a strategy over them.
    #[serde(rename = "use")]
    pub choice: Use,
    /// The images of such requests stay on this machine, whoever is named and whatever fails.
    #[serde(default)]
    pub local_only: bool,
    /// Such requests go to providers with all of these tags only, whoever is named and whatever fails.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// Conditions of a rule; what is absent always holds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    pub task: Option<OneOf>,
    /// The name that the caller asked for. It need not be a model: the rule gives it a meaning.
    pub model: Option<OneOf>,
    pub caller: Option<OneOf>,
    /// Images and documents.
    pub images: Option<Between>,
    /// Pixels of the largest image.
    pub pixels: Option<Between>,
    /// Encoded bytes of all images and documents together.
    pub bytes: Option<Between>,
    /// Any of the images is of one of these: jpeg, png, webp, gif, tiff, bmp, pdf.
    pub format: Option<OneOf>,
    /// Whether the answer has to follow a schema.
    pub schema: Option<bool>,
    /// Whether the answer is wanted while it is being given.
    pub stream: Option<bool>,
    /// US dollars that the request is likely to cost at the model that is asked for, or at the default. A request whose
    /// cost cannot be told meets no bound.
    pub cost_usd: Option<Between>,
}

/// One value, or any of several.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOf {
    One(String),
    Any(Vec<String>),
}

impl OneOf {
    /// The values.
    #[must_use]
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Any(values) => values,
        }
    }

    fn holds(&self, value: &str) -> bool {
        self.values().iter().any(|one| one == value)
    }
}

/// Bounds that are part of what they bound.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Between {
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl Between {
    fn holds(&self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Use {
    /// In this order.
    Models(Vec<String>),
    Ranked(Ranked),
}

/// A strategy over models.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ranked {
    pub strategy: Strategy,
    pub models: Vec<String>,
    /// `weighted` only: the share of each model, in the order of `models`.
    #[serde(default)]
    pub weights: Vec<u32>,
}

/// How the order is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    First,
    Cheapest,
    Fastest,
    Weighted,
    RoundRobin,
    Hedged,
}

impl Strategy {
    /// The name used in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::Weighted => "weighted",
            Self::RoundRobin => "round_robin",
            Self::Hedged => "hedged",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Use {
    /// The models, in the order in which they are written.
    #[must_use]
    pub fn models(&self) -> &[String] {
        match self {
            Self::Models(models) => models,
            Self::Ranked(ranked) => &ranked.models,
        }
    }

    /// The strategy.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        match self {
            Self::Models(_) => Strategy::First,
            Self::Ranked(ranked) => ranked.strategy,
        }
    }
}

impl Rule {
    /// The tag of providers that are on this machine.
    pub const LOCAL: &'static str = "local";

    /// The tags that it demands.
    pub fn demands(&self) -> impl Iterator<Item = &str> {
        let local = self.local_only.then_some(Self::LOCAL);
        self.tags.iter().map(String::as_str).chain(local)
    }

    /// Whether it can be judged before the images are there.
    #[must_use]
    pub fn looks_at_pictures(&self) -> bool {
        let When { pixels, bytes, format, cost_usd, .. } = &self.when;
        pixels.is_some() || bytes.is_some() || format.is_some() || cost_usd.is_some()
    }

    /// Whether all of its conditions hold but for the name that was asked for. `cost` is what the request is likely to
    /// cost, in US dollars.
    pub(super) fn is_about(&self, wanted: &Wanted<'_>, cost: impl FnOnce() -> Option<f64>) -> bool {
        let When { task, model: _, caller, images, pixels, bytes, format, schema, stream, cost_usd } = &self.when;
        let one = |condition: &Option<OneOf>, value: &str| condition.as_ref().is_none_or(|it| it.holds(value));
        #[expect(clippy::cast_precision_loss, reason = "pixels and bytes are far below 2^52")]
        let bound = |condition: &Option<Between>, value: u64| condition.is_none_or(|it| it.holds(value as f64));
        let formats = &wanted.formats;
        one(task, wanted.name)
            && one(caller, wanted.caller)
            && bound(images, wanted.images as u64)
            && bound(pixels, wanted.largest())
            && bound(bytes, wanted.bytes as u64)
            && format.as_ref().is_none_or(|it| formats.iter().any(|format| it.holds(format)))
            && schema.is_none_or(|schema| schema == wanted.schema)
            && stream.is_none_or(|stream| stream == wanted.streamed)
            && cost_usd.is_none_or(|bounds| cost().is_some_and(|cost| bounds.holds(cost)))
    }

    /// Whether it chooses for a request that it is about: one that names a model is chosen for by rules about that name.
    pub(super) fn chooses(&self, asked: Option<&str>) -> bool {
        match (&self.when.model, asked) {
            (None, None) => true,
            (Some(names), Some(name)) => names.holds(name),
            _ => false,
        }
    }

    /// Whether it gives this name a meaning.
    pub(super) fn names(&self, name: &str) -> bool {
        self.when.model.as_ref().is_some_and(|names| names.holds(name))
    }
}
