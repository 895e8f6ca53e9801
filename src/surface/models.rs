//! Providers and models as callers see them: abilities, limits, prices, and whether the key is there.

use serde_json::{Value, json};
use vision_providers::model::ModelCard;

use crate::gateway::Gateway;
use crate::router::plan::{Backend, KeyState};

/// One model as a line of text.
pub(super) fn line(model: &Value) -> String {
    let words = |key: &str| {
        let words = model[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    let price = match model["price_usd_per_million"].as_object() {
        Some(price) => format!("${} in, ${} out per million", price["input"], price["output"]),
        None => "price unknown".into(),
    };
    let retired = model["retired"].as_str().map(|day| {
        let successor = model["successor"].as_str().unwrap_or("nothing");
        format!("; retired {day}, replaced by {successor}")
    });
    let name = model["model"].as_str().unwrap_or_default();
    format!("{name:<28} {:<28} {price}{}", words("tasks"), retired.unwrap_or_default())
}

/// Providers and models as data, for the command line and for MCP.
pub(super) fn list(gateway: &Gateway) -> Value {
    let providers: Vec<Value> =
        gateway.roster.backends.iter().map(|(name, backend)| provider_json(name, backend)).collect();
    let aliases = &gateway.roster.aliases;
    let mut list =
        json!({"default": gateway.roster.default, "fallback": gateway.roster.fallback, "providers": providers});
    if !aliases.is_empty() {
        list["aliases"] = json!(aliases);
    }
    list
}

fn provider_json(name: &str, backend: &Backend) -> Value {
    let key = match &backend.key {
        KeyState::NotNeeded => "not needed".to_owned(),
        KeyState::Present => "present".to_owned(),
        KeyState::Missing(place) => format!("missing ({place})"),
    };
    let models: Vec<Value> = backend.provider.models().iter().map(|card| card_json(name, card)).collect();
    json!({"name": name, "kind": backend.kind, "key": key, "models": models})
}

fn card_json(provider: &str, card: &ModelCard) -> Value {
    let limits = &card.limits;
    let formats: Vec<&str> = limits.formats.iter().map(|format| format.name()).collect();
    let tasks: Vec<&str> = card.tasks.iter().map(|task| task.name()).collect();
    let mut value = json!({
        "model": format!("{provider}/{}", card.id),
        "tasks": tasks,
        "boxes": card.boxes,
        "limits": {"max_images": limits.max_images, "max_bytes": limits.max_bytes, "target_side": limits.target_side,
                   "formats": formats},
        "source": card.source,
    });
    if !card.aliases.is_empty() {
        value["aliases"] = card.aliases.iter().map(|alias| json!(alias.as_str())).collect();
    }
    if let Some(price) = card.price {
        #[expect(clippy::cast_precision_loss, reason = "prices are far below 2^52 micro-dollars")]
        let dollars = |micro: u64| micro as f64 / 1e6;
        value["price_usd_per_million"] =
            json!({"input": dollars(price.input), "output": dollars(price.output), "cached": dollars(price.cached)});
    }
    if let Some(retirement) = &card.retirement {
        value["retired"] = json!(retirement.on.to_string());
        if let Some(successor) = &retirement.successor {
            value["successor"] = json!(successor.as_str());
        }
    }
    value
}
