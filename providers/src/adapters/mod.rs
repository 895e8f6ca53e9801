//! The adapters, and the one visible match that builds a provider from a preset and an operator's settings.
//!
//! Nobody else asks for a vendor's name: differences are data, or a variant of the closed quirks.

pub mod anthropic;
pub mod chat;
mod complaint;
pub mod gemini;
pub mod local;
pub mod mistral_ocr;
pub mod ollama;
pub mod pixtral;

use std::sync::Arc;

use http::HeaderMap;
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use crate::adapters::anthropic::Anthropic;
use crate::adapters::chat::{Chat, Quirks};
use crate::adapters::gemini::Gemini;
use crate::adapters::local::Local;
use crate::adapters::mistral_ocr::MistralOcr;
use crate::adapters::ollama::Ollama;
use crate::adapters::pixtral::Pixtral;
use crate::catalog::{CardSettings, Preset, WireKind};
use crate::http::{Auth, Endpoint, HttpProvider, Patience, VendorHttp};
use crate::model::ModelCard;
use crate::provider::Provider;
use crate::request::ModelId;
use crate::wire::Wire;

/// What an operator says about one provider; what is absent is the preset's.
#[derive(Debug)]
pub struct Settings {
    /// The operator's name for it.
    pub name: String,
    pub base_url: Option<Url>,
    /// How the key travels, where it is not as the preset says.
    pub auth: Option<Auth>,
    pub key: Option<SecretString>,
    pub headers: HeaderMap,
    pub quirks: Option<Quirks>,
    /// Members that every request body has besides the adapter's own.
    pub extra_body: Map<String, Value>,
    /// The default model.
    pub model: Option<ModelId>,
    pub models: Vec<CardSettings>,
    pub patience: Patience,
    pub local: local::Settings,
}

/// Builds a provider.
///
/// # Errors
/// Says in one line what the operator's settings lack or get wrong.
pub fn build(preset: &Preset, settings: Settings, http: &VendorHttp) -> Result<Provider, String> {
    let cards = cards(preset, &settings)?;
    let (quirks, extra) = (settings.quirks.unwrap_or(preset.quirks), settings.extra_body.clone());
    match preset.wire {
        WireKind::Pixtral => remote(Pixtral(Chat { quirks, extra }), preset, settings, cards, http),
        WireKind::Chat => remote(Chat { quirks, extra }, preset, settings, cards, http),
        WireKind::MistralOcr => remote(MistralOcr { extra }, preset, settings, cards, http),
        WireKind::Anthropic => remote(Anthropic { extra }, preset, settings, cards, http),
        WireKind::Gemini => remote(Gemini { extra }, preset, settings, cards, http),
        WireKind::Ollama => remote(Ollama { extra }, preset, settings, cards, http),
        WireKind::Local => Ok(Arc::new(Local::new(settings.name, cards, preset.unknown.clone(), settings.local))),
    }
}

fn remote<W: Wire>(
    wire: W,
    preset: &Preset,
    settings: Settings,
    cards: Vec<ModelCard>,
    http: &VendorHttp,
) -> Result<Provider, String> {
    let base_url = settings
        .base_url
        .or_else(|| preset.base_url.clone())
        .ok_or_else(|| format!("kind `{}` needs a `base_url`", preset.kind))?;
    let auth = settings.auth.unwrap_or_else(|| preset.auth.clone());
    let mut headers = preset.headers.clone();
    headers.extend(settings.headers);
    Ok(Arc::new(HttpProvider {
        id: settings.name,
        wire: Arc::new(wire),
        endpoint: Endpoint { base_url, auth, key: settings.key, headers },
        http: http.clone(),
        patience: settings.patience,
        cards,
        unknown: preset.unknown.clone(),
    }))
}

/// The operator's cards over the catalog's, the default model first.
fn cards(preset: &Preset, settings: &Settings) -> Result<Vec<ModelCard>, String> {
    let mut cards = preset.cards.clone();
    if !is_vendors_own(preset, settings.base_url.as_ref()) {
        // Whoever hosts a model themselves decides how long it lives. Prices stay: most other addresses are proxies.
        for card in &mut cards {
            card.retirement = None;
        }
    }
    for own in &settings.models {
        let at = cards.iter().position(|card| card.is_called(&own.id));
        let base = at.map_or_else(|| preset.unknown.clone(), |index| cards[index].clone());
        let card = own.over(&base)?;
        match at {
            Some(index) => cards[index] = card,
            None => cards.push(card),
        }
    }
    let first = settings.models.first().map(|card| ModelId::from(card.id.as_str()));
    let default = settings.model.clone().or_else(|| preset.model.clone()).or(first);
    let default = default.ok_or_else(|| format!("kind `{}` needs a `model`", preset.kind))?;
    match cards.iter().position(|card| card.is_called(default.as_str())) {
        Some(index) => {
            cards[..=index].rotate_right(1);
            cards[0] = called(cards[0].clone(), default);
        }
        None => cards.insert(0, ModelCard { id: default, ..preset.unknown.clone() }),
    }
    Ok(cards)
}

/// The card under the name by which the operator wants its model called.
fn called(card: ModelCard, name: ModelId) -> ModelCard {
    let names = [card.id.clone()].into_iter().chain(card.aliases.iter().cloned());
    let aliases = names.filter(|other| *other != name).collect();
    ModelCard { id: name, aliases, ..card }
}

fn is_vendors_own(preset: &Preset, base_url: Option<&Url>) -> bool {
    let host = base_url.and_then(Url::host_str);
    host.is_none_or(|host| preset.hosts.iter().any(|own| own == host))
}
