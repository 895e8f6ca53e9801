//! Wires and adapters against scripted vendors: what goes out, byte by byte, and what is made of what comes back.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

mod chat;
mod exchanges;
mod hostile;
mod local;
mod mistral_ocr;
mod parameters;
mod pixtral;
mod questions;
mod streams;

use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use vision_providers::adapters::{self, Settings, local as local_adapter};
use vision_providers::catalog::Catalog;
use vision_providers::http::{Patience, VendorHttp};
use vision_providers::provider::Provider;
use vision_providers::request::ModelId;
use vision_providers::testkit::Upstream;

pub(crate) const KEY: &str = "secret-key-of-a-test";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Settings of a provider at this address.
pub(crate) fn settings(base_url: Option<String>, model: Option<&str>) -> Settings {
    Settings {
        name: "under-test".into(),
        base_url: base_url.map(|url| url.parse().expect("an address")),
        auth: None,
        key: Some(SecretString::from(KEY)),
        headers: HeaderMap::new(),
        quirks: None,
        extra_body: Map::new(),
        model: model.map(ModelId::from),
        models: Vec::new(),
        patience: Patience::default(),
        local: local_adapter::Settings::default(),
    }
}

/// Builds a provider of this kind.
pub(crate) fn build(kind: &str, settings: Settings) -> Provider {
    let catalog = Catalog::built_in().expect("the catalog");
    let preset = catalog.preset(kind).expect("the preset");
    adapters::build(preset, settings, &VendorHttp::new(None)).expect("a provider")
}

/// A provider of this kind that talks to a scripted vendor.
pub(crate) fn provider(kind: &str, upstream: &Upstream, model: &str) -> Provider {
    build(kind, settings(Some(upstream.url("/v1")), Some(model)))
}

/// A chat completion that says this.
pub(crate) fn completion(content: &Value) -> Value {
    json!({
        "id": "cmpl-1", "object": "chat.completion", "created": 1_795_200_000, "model": "mistral-medium-2604",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
        "usage": {"prompt_tokens": 1210, "completion_tokens": 96, "total_tokens": 1306}
    })
}
