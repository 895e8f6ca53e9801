//! Vendors and model cards as data: the built-in catalog, and how an operator's own cards are laid over it.
//!
//! It knows no network and no environment; a preset only names the variable in which its key usually stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::adapters::chat::Quirks;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Format;
use crate::model::{Date, JsonMode, Limits, ModelCard, Price, Retirement, TokenRule};
use crate::request::{ModelId, Task};

const PRESETS: &str = include_str!("../catalog/presets.toml");
const MODELS: &str = include_str!("../catalog/models.toml");

/// Which code speaks to a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireKind {
    Pixtral,
    Chat,
    Local,
}

/// What is known about a vendor before the operator says anything.
#[derive(Debug, Clone)]
pub struct Preset {
    /// The `kind` that operators write.
    pub kind: String,
    pub wire: WireKind,
    /// Absent where only the operator can know it.
    pub base_url: Option<Url>,
    /// Hosts that are the vendor's own: facts about hosted models, such as retirement, hold only there.
    pub hosts: Vec<String>,
    /// The environment variable that usually holds the key; absent where no key is asked for.
    pub key_env: Option<String>,
    pub model: Option<ModelId>,
    pub quirks: Quirks,
    /// Cards of known models.
    pub cards: Vec<ModelCard>,
    /// What is assumed of any other model.
    pub unknown: ModelCard,
}

/// The presets by kind.
#[derive(Debug, Clone)]
pub struct Catalog {
    presets: BTreeMap<String, Arc<Preset>>,
}

impl Catalog {
    /// The catalog that is built into this library.
    ///
    /// # Errors
    /// When the files it was built from are wrong, which a test rules out.
    pub fn built_in() -> Result<Self> {
        Self::read(PRESETS, MODELS)
    }

    /// Reads a catalog from the text of two TOML files: presets by kind, and lists of model cards by kind.
    ///
    /// # Errors
    /// When a file is not TOML, has unknown keys or figures that make no sense; the message names the place.
    pub fn read(presets: &str, models: &str) -> Result<Self> {
        let wrong = |file: &str, error: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Internal, format!("reading the catalog's {file}: {error}"))
        };
        let presets: BTreeMap<String, PresetToml> =
            toml::from_str(presets).map_err(|error| wrong("presets", &error))?;
        let mut models: BTreeMap<String, Vec<CardSettings>> =
            toml::from_str(models).map_err(|error| wrong("models", &error))?;
        let presets = presets.into_iter().map(|(kind, preset)| {
            let cards = models.remove(&kind).unwrap_or_default();
            let preset = preset.build(&kind, &cards).map_err(|error| wrong(&kind, &error))?;
            Ok((kind, Arc::new(preset)))
        });
        let presets = presets.collect::<Result<BTreeMap<_, _>>>()?;
        match models.into_keys().next() {
            Some(kind) => Err(wrong("models", &format!("no preset is called {kind}"))),
            None => Ok(Self { presets }),
        }
    }

    /// The preset of this kind.
    #[must_use]
    pub fn preset(&self, kind: &str) -> Option<&Arc<Preset>> {
        self.presets.get(kind)
    }

    /// Every kind there is, in alphabetical order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.presets.keys().map(String::as_str)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PresetToml {
    wire: WireKind,
    base_url: Option<Url>,
    #[serde(default)]
    hosts: Vec<String>,
    key_env: Option<String>,
    model: Option<String>,
    #[serde(default)]
    quirks: Quirks,
    json: JsonSettings,
    tasks: Option<Vec<TaskSettings>>,
    boxes: Option<bool>,
    sampling: Option<bool>,
    limits: LimitSettings,
    tokens: Option<TokenSettings>,
    price: Option<PriceSettings>,
    source: String,
    as_of: String,
}

impl PresetToml {
    fn build(self, kind: &str, cards: &[CardSettings]) -> Result<Preset, String> {
        let nothing = ModelCard {
            id: ModelId::from("unknown"),
            aliases: Vec::new(),
            tasks: Task::ALL.to_vec(),
            boxes: false,
            json: JsonMode::Prompt,
            sampling: true,
            limits: Limits { max_images: 0, max_bytes: 0, max_side: 0, target_side: 0, formats: Vec::new() },
            tokens: TokenRule::Unknown,
            price: None,
            retirement: None,
            source: String::new(),
        };
        let unknown = CardSettings {
            id: "unknown".into(),
            tasks: self.tasks,
            boxes: self.boxes,
            json: Some(self.json),
            sampling: self.sampling,
            limits: Some(self.limits),
            tokens: self.tokens,
            price: self.price,
            source: Some(self.source),
            as_of: Some(self.as_of),
            ..CardSettings::default()
        };
        let unknown = unknown.over(&nothing)?;
        if unknown.limits.formats.is_empty() || unknown.limits.max_images == 0 || unknown.limits.target_side == 0 {
            return Err("a preset must give all limits".into());
        }
        let mut model = self.model.as_deref().map(ModelId::from);
        let mut cards = cards.iter().map(|card| card.over(&unknown)).collect::<Result<Vec<_>, _>>()?;
        if let Some(name) = &model
            && !cards.iter().any(|card| card.is_called(name.as_str()))
        {
            cards.insert(0, ModelCard { id: name.clone(), ..unknown.clone() });
        }
        Ok(Preset {
            kind: kind.to_owned(),
            wire: self.wire,
            base_url: self.base_url,
            hosts: self.hosts,
            key_env: self.key_env,
            model: model.take(),
            quirks: self.quirks,
            cards,
            unknown,
        })
    }
}

/// A model card as operators and the catalog write it: only what differs from the provider's assumptions.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CardSettings {
    /// The name the backend knows the model by.
    pub id: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub tasks: Option<Vec<TaskSettings>>,
    pub boxes: Option<bool>,
    pub json: Option<JsonSettings>,
    pub sampling: Option<bool>,
    pub limits: Option<LimitSettings>,
    pub tokens: Option<TokenSettings>,
    /// US dollars per million tokens.
    pub price: Option<PriceSettings>,
    /// The first day on which calls fail, `YYYY-MM-DD`.
    pub retired: Option<String>,
    pub successor: Option<String>,
    /// Where the figures come from.
    pub source: Option<String>,
    /// The day of the figures, `YYYY-MM-DD`.
    pub as_of: Option<String>,
}

/// See [`Task`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskSettings {
    Describe,
    Ocr,
    Ask,
    Extract,
}

/// See [`JsonMode`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JsonSettings {
    Schema,
    Object,
    Prompt,
}

/// See [`Limits`]; what is absent is inherited.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSettings {
    pub max_images: Option<usize>,
    /// Encoded bytes per image, before base64.
    pub max_bytes: Option<usize>,
    /// Pixels.
    pub max_side: Option<u32>,
    /// Pixels.
    pub target_side: Option<u32>,
    pub formats: Option<Vec<FormatSettings>>,
}

/// See [`Format`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormatSettings {
    Jpeg,
    Png,
    Webp,
    Gif,
}

/// See [`TokenRule`].
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenSettings {
    Rows { largest_side: u32, cell: u32 },
    Free,
    Unknown,
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceSettings {
    pub input: f64,
    pub output: f64,
    pub cached: Option<f64>,
}

impl CardSettings {
    /// The card that these settings make of `base`.
    ///
    /// # Errors
    /// Says which figure makes no sense.
    pub fn over(&self, base: &ModelCard) -> Result<ModelCard, String> {
        let id = &self.id;
        if id.is_empty() {
            return Err("a model needs an `id`".into());
        }
        let limits = self.limits.clone().unwrap_or_default();
        let formats = limits.formats.map(|formats| formats.into_iter().map(Format::from).collect());
        if matches!(
            self.tokens,
            Some(TokenSettings::Rows { cell: 0, .. } | TokenSettings::Rows { largest_side: 0, .. })
        ) {
            return Err(format!("model {id}: `tokens` needs sizes above 0"));
        }
        if limits.target_side == Some(0)
            || limits.max_side == Some(0)
            || limits.max_images == Some(0)
            || limits.max_bytes == Some(0)
        {
            return Err(format!("model {id}: `limits` needs sizes above 0"));
        }
        let day = |key: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => Date::parse(text)
                .map(Some)
                .ok_or_else(|| format!("model {id}: `{key}` is not a day such as 2026-11-20: {text}")),
        };
        let retirement = day("retired", &self.retired)?
            .map(|on| Retirement { on, successor: self.successor.as_deref().map(ModelId::from) });
        let as_of = day("as_of", &self.as_of)?;
        let source = match (&self.source, as_of) {
            (Some(source), Some(day)) => format!("{source} ({day})"),
            (Some(source), None) => source.clone(),
            (None, _) => base.source.clone(),
        };
        Ok(ModelCard {
            id: ModelId::from(id.as_str()),
            aliases: self.aliases_over(base),
            tasks: self
                .tasks
                .as_ref()
                .map_or_else(|| base.tasks.clone(), |tasks| tasks.iter().map(|task| (*task).into()).collect()),
            boxes: self.boxes.unwrap_or(base.boxes),
            json: self.json.map_or(base.json, JsonMode::from),
            sampling: self.sampling.unwrap_or(base.sampling),
            limits: Limits {
                max_images: limits.max_images.unwrap_or(base.limits.max_images),
                max_bytes: limits.max_bytes.unwrap_or(base.limits.max_bytes),
                max_side: limits.max_side.unwrap_or(base.limits.max_side),
                target_side: limits.target_side.unwrap_or(base.limits.target_side),
                formats: formats.unwrap_or_else(|| base.limits.formats.clone()),
            },
            tokens: self.tokens.map_or(base.tokens, TokenRule::from),
            price: match self.price {
                Some(price) => Some(price.parse().map_err(|why| format!("model {id}: {why}"))?),
                None => base.price,
            },
            retirement: retirement.or_else(|| base.retirement.clone()),
            source,
        })
    }

    /// Every name of either card but the one that this card goes by.
    fn aliases_over(&self, base: &ModelCard) -> Vec<ModelId> {
        let own = self.aliases.iter().map(|alias| ModelId::from(alias.as_str()));
        let known = base.is_called(&self.id).then(|| [base.id.clone()].into_iter().chain(base.aliases.iter().cloned()));
        let mut aliases: Vec<ModelId> = own.chain(known.into_iter().flatten()).collect();
        aliases.retain(|alias| alias.as_str() != self.id);
        aliases.dedup();
        aliases
    }
}

impl PriceSettings {
    fn parse(self) -> Result<Price, String> {
        let micro = |dollars: f64| match dollars {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
            0.0..1e6 => Ok((dollars * 1e6).round() as u64),
            _ => Err(format!("a price of {dollars} dollars per million tokens makes no sense")),
        };
        let input = micro(self.input)?;
        Ok(Price { input, output: micro(self.output)?, cached: self.cached.map_or(Ok(input), micro)? })
    }
}

impl From<TaskSettings> for Task {
    fn from(task: TaskSettings) -> Self {
        match task {
            TaskSettings::Describe => Self::Describe,
            TaskSettings::Ocr => Self::Ocr,
            TaskSettings::Ask => Self::Ask,
            TaskSettings::Extract => Self::Extract,
        }
    }
}

impl From<JsonSettings> for JsonMode {
    fn from(mode: JsonSettings) -> Self {
        match mode {
            JsonSettings::Schema => Self::Schema,
            JsonSettings::Object => Self::Object,
            JsonSettings::Prompt => Self::Prompt,
        }
    }
}

impl From<FormatSettings> for Format {
    fn from(format: FormatSettings) -> Self {
        match format {
            FormatSettings::Jpeg => Self::Jpeg,
            FormatSettings::Png => Self::Png,
            FormatSettings::Webp => Self::Webp,
            FormatSettings::Gif => Self::Gif,
        }
    }
}

impl From<TokenSettings> for TokenRule {
    fn from(rule: TokenSettings) -> Self {
        match rule {
            TokenSettings::Rows { largest_side, cell } => Self::Rows { largest_side, cell },
            TokenSettings::Free => Self::Free,
            TokenSettings::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalog_is_sound() {
        let catalog = Catalog::built_in().expect("a sound catalog");
        for kind in catalog.kinds() {
            let preset = catalog.preset(kind).expect("listed");
            for card in &preset.cards {
                assert!(card.source.ends_with(')'), "{kind}/{} names no source with a date", card.id);
                let successor = card.retirement.as_ref().and_then(|it| it.successor.as_ref());
                assert!(
                    successor.is_none_or(|name| preset.cards.iter().any(|card| card.is_called(name.as_str()))),
                    "{kind}/{} is succeeded by an unknown model",
                    card.id
                );
            }
        }
    }

    #[test]
    fn wrong_figures_are_refused_with_their_place() {
        let check = |models: &str, expected: &str| {
            let message = Catalog::read(PRESETS, models).expect_err(models).to_string();
            assert!(message.contains(expected), "{message}");
        };
        check("[[pixtral]]\nid = 'x'\nlimits = { max_sied = 3 }", "max_sied");
        check("[[pixtral]]\nid = 'x'\nprice = { input = -1.0, output = 1.0 }", "makes no sense");
        check("[[pixtral]]\nid = 'x'\nretired = 'soon'", "not a day");
        check("[[nobody]]\nid = 'x'", "no preset is called nobody");
    }
}
