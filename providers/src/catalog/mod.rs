//! Vendors and model cards as data: the built-in catalog, and how an operator's own cards are laid over it.
//!
//! It knows no network and no environment; a preset only names the variable in which its key usually stands.

mod card;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use toml::Table;
use url::Url;

pub use self::card::{AboveSettings, CardSettings, LimitSettings, PriceSettings, TaskSettings};
use crate::adapters::chat::Quirks;
use crate::error::{Error, ErrorKind, Result};
use crate::http::Auth;
use crate::model::ModelCard;
use crate::request::ModelId;

const PRESETS: &str = include_str!("../../catalog/presets.toml");
const MODELS: &str = include_str!("../../catalog/models.toml");

/// Which code speaks to a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireKind {
    Pixtral,
    MistralOcr,
    Chat,
    Anthropic,
    Gemini,
    Ollama,
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
    pub auth: Auth,
    /// Sent with every request.
    pub headers: HeaderMap,
    pub model: Option<ModelId>,
    pub quirks: Quirks,
    /// What stands before the names of its models in `LiteLLM`'s file of prices.
    pub price_prefix: Option<String>,
    /// What traces call it: a well-known name of the conventions for generative models where there is one.
    pub trace_name: String,
    /// Endings of the names of models that a server of this kind passes on to others, wherever it stands.
    pub elsewhere: Vec<String>,
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
        let presets: BTreeMap<String, Table> = toml::from_str(presets).map_err(|error| wrong("presets", &error))?;
        let mut models: BTreeMap<String, Vec<CardSettings>> =
            toml::from_str(models).map_err(|error| wrong("models", &error))?;
        let presets = presets.into_iter().map(|(kind, preset)| {
            let cards = models.remove(&kind).unwrap_or_default();
            let preset = build(&kind, preset, &cards).map_err(|error| wrong(&kind, &error))?;
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

/// The members of a preset's table that are its own; the rest is what is assumed of its models.
const OWN: [&str; 11] = [
    "wire",
    "base_url",
    "hosts",
    "key_env",
    "key_header",
    "headers",
    "model",
    "quirks",
    "price_prefix",
    "trace_name",
    "elsewhere",
];

#[derive(Deserialize)]
struct PresetToml {
    wire: WireKind,
    base_url: Option<Url>,
    #[serde(default)]
    hosts: Vec<String>,
    key_env: Option<String>,
    key_header: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    model: Option<String>,
    #[serde(default)]
    quirks: Quirks,
    price_prefix: Option<String>,
    trace_name: Option<String>,
    #[serde(default)]
    elsewhere: Vec<String>,
}

fn build(kind: &str, table: Table, cards: &[CardSettings]) -> Result<Preset, String> {
    let (own, assumed): (Table, Table) = table.into_iter().partition(|(name, _)| OWN.contains(&name.as_str()));
    let own: PresetToml = own.try_into().map_err(|error: toml::de::Error| error.to_string())?;
    let assumed: CardSettings = assumed.try_into().map_err(|error: toml::de::Error| error.to_string())?;
    let assumed = CardSettings { id: "unknown".into(), ..assumed };
    let unknown = assumed.over(&card::nothing_known())?;
    let limits = &unknown.limits;
    if limits.formats.is_empty() || [limits.max_images, limits.max_bytes].contains(&0) || limits.target_side == 0 {
        return Err("a preset must give all limits".into());
    }
    let mut cards = cards.iter().map(|card| card.over(&unknown)).collect::<Result<Vec<_>, _>>()?;
    let model = own.model.as_deref().map(ModelId::from);
    if let Some(name) = &model
        && !cards.iter().any(|card| card.is_called(name.as_str()))
    {
        cards.insert(0, ModelCard { id: name.clone(), ..unknown.clone() });
    }
    let header = |name: &str| HeaderName::try_from(name).map_err(|error| error.to_string());
    let mut headers = HeaderMap::new();
    for (name, value) in &own.headers {
        headers.insert(header(name)?, HeaderValue::try_from(value).map_err(|error| error.to_string())?);
    }
    Ok(Preset {
        kind: kind.to_owned(),
        wire: own.wire,
        base_url: own.base_url,
        hosts: own.hosts,
        key_env: own.key_env,
        auth: own.key_header.map_or(Ok(Auth::Bearer), |name| header(&name).map(Auth::Header))?,
        headers,
        model,
        quirks: own.quirks,
        price_prefix: own.price_prefix,
        elsewhere: own.elsewhere,
        trace_name: own.trace_name.unwrap_or_else(|| kind.replace('-', "_")),
        cards,
        unknown,
    })
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
