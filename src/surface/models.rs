//! Providers and models as callers see them: abilities, limits, prices, and whether the key is there.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vision_providers::model::{Date, JsonMode, ModelCard};
use vision_providers::parameters::SamplingRule;
use vision_providers::price::{MicroUsd, Price};

use crate::gateway::Gateway;
use crate::rights::Rights;
use crate::router::roster::{Backend, Candidate, KeyState};
use crate::surface::health;

/// A list as text: a line for each provider and each of its models.
pub(super) fn text(list: &Value) -> String {
    let mut lines = Vec::new();
    for provider in list["providers"].as_array().into_iter().flatten() {
        let text = |key: &str| provider[key].as_str().unwrap_or_default();
        let rests = provider["health"]["state"].as_str().filter(|state| *state != "ready");
        let rests = rests.map_or_else(String::new, |state| {
            format!(", {state}, asked again in {} s", provider["health"]["asked_again_in_s"])
        });
        lines.push(format!("{} ({}), key: {}{rests}", text("name"), text("kind"), text("key")));
        let models = provider["models"].as_array().into_iter().flatten();
        lines.extend(models.map(|model| format!("  {}", line(model))));
    }
    let routes = list["routes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    if !routes.is_empty() {
        lines.push(format!("names of routes: {}", routes.join(", ")));
    }
    lines.join("\n")
}

fn line(model: &Value) -> String {
    let words = |key: &str| {
        let words = model[key].as_array().into_iter().flatten().filter_map(Value::as_str);
        words.collect::<Vec<_>>().join(" ")
    };
    let price = match (model["price_usd_per_million"].as_object(), model["price_usd_per_page"].as_f64()) {
        (_, Some(page)) => format!("${page} per page"),
        (Some(price), _) => format!("${} in, ${} out per million", price["input"], price["output"]),
        (None, None) => "price unknown".into(),
    };
    let successor = || model["successor"].as_str().map_or_else(String::new, |name| format!(", replaced by {name}"));
    let life = [("retired", "retired"), ("retires", "will be retired")].into_iter().find_map(|(key, words)| {
        let day = model[key].as_str()?;
        Some(format!("; {words} {day}{}", successor()))
    });
    let name = model["model"].as_str().unwrap_or_default();
    format!("{name:<40} {:<24} {price}{}", words("tasks"), life.unwrap_or_default())
}

/// Providers and models as data: everything that is known.
pub(super) fn list(gateway: &Gateway, rights: &Rights) -> Value {
    listed(gateway, rights, |name, backend| provider_json(name, backend, gateway, rights))
}

/// The same for a calling model, which pays for every byte: only models that it can use, and what helps to choose.
pub(super) fn usable(gateway: &Gateway, rights: &Rights) -> Value {
    listed(gateway, rights, |name, backend| {
        let mut provider = provider_json(name, backend, gateway, rights);
        if !gateway.roster.expects(name) {
            provider["models"] = json!([]);
        }
        for model in provider["models"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            for unneeded in ["source", "parameters", "tokens_basis", "json", "aliases", "limits"] {
                model.remove(unneeded);
            }
        }
        if let Some(models) = provider["models"].as_array_mut() {
            models.retain(|model| model.get("retired").is_none());
        }
        provider
    })
}

/// What there is for a caller with these rights. Of what others may ask, they learn nothing.
fn listed(gateway: &Gateway, rights: &Rights, one: impl Fn(&str, &Backend) -> Value) -> Value {
    let roster = &gateway.roster;
    let is_allowed = |name: &str| roster.leads_to_allowed(name, rights);
    let providers = roster.providers_for(rights).filter_map(|name| {
        let mut provider = one(name, roster.backends.get(name)?);
        if let Some(models) = provider["models"].as_array_mut() {
            models.retain(|model| model["model"].as_str().is_some_and(is_allowed));
        }
        Some(provider)
    });
    let fallback: Vec<&String> = roster.fallback.iter().filter(|name| is_allowed(name)).collect();
    let mut list = json!({"fallback": fallback, "providers": providers.collect::<Vec<_>>()});
    if is_allowed(&roster.default) {
        list["default"] = json!(roster.default);
    }
    let aliases: BTreeMap<&String, &String> = roster.aliases.iter().filter(|(alias, _)| is_allowed(alias)).collect();
    if !aliases.is_empty() {
        list["aliases"] = json!(aliases);
    }
    let names: Vec<&str> = roster.rule_names().filter(|name| is_allowed(name)).collect();
    if !names.is_empty() {
        list["routes"] = json!(names);
    }
    list
}

/// One model in a few words, for whoever chooses among names.
pub(super) fn brief(candidate: &Candidate) -> Value {
    let card = &candidate.card;
    let tasks: Vec<&str> = card.tasks.iter().map(|task| task.name()).collect();
    let mut value = json!({"model": candidate.name(), "tasks": tasks});
    if let Some(price) = card.price {
        add_price(&mut value, &price);
    }
    add_retirement(&mut value, card);
    value
}

fn provider_json(name: &str, backend: &Backend, gateway: &Gateway, rights: &Rights) -> Value {
    let key = match &backend.key {
        KeyState::NotNeeded => "not needed".to_owned(),
        KeyState::Present => "present".to_owned(),
        KeyState::Missing(place) => format!("missing ({place})"),
    };
    let models: Vec<Value> = backend.provider.models().iter().map(|card| card_json(name, card)).collect();
    let mut value = json!({"name": name, "kind": backend.kind, "key": key, "models": models});
    let state = health::provider(name, &gateway.roster, rights).unwrap_or_default();
    // What is said by the key already is not said twice.
    if state.get("state").is_some_and(|state| state != "ready" && state != "no_key") || state.contains_key("last_error")
    {
        value["health"] = Value::Object(state);
    }
    value
}

fn card_json(provider: &str, card: &ModelCard) -> Value {
    let limits = &card.limits;
    let formats: Vec<&str> = limits.formats.iter().map(|format| format.name()).collect();
    let tasks: Vec<&str> = card.tasks.iter().map(|task| task.name()).collect();
    let mut value = json!({
        "model": format!("{provider}/{}", card.id),
        "tasks": tasks,
        "boxes": card.boxes,
        "json": json_mode(card.json),
        "parameters": parameters(card),
        "limits": {"max_images": limits.max_images, "max_bytes": limits.max_bytes, "target_side": limits.target_side,
                   "formats": formats},
        "tokens_basis": card.basis.name(),
        "source": card.source,
    });
    for (name, limit) in [
        ("context_tokens", limits.context),
        ("max_output_tokens", limits.max_output_tokens.map(u64::from)),
        ("max_document_bytes", Some(limits.max_document_bytes as u64).filter(|bytes| *bytes > 0)),
    ] {
        if let Some(limit) = limit {
            value["limits"][name] = json!(limit);
        }
    }
    if !card.aliases.is_empty() {
        value["aliases"] = card.aliases.iter().map(|alias| json!(alias.as_str())).collect();
    }
    if let Some(price) = card.price {
        add_price(&mut value, &price);
    }
    add_retirement(&mut value, card);
    value
}

fn add_retirement(value: &mut Value, card: &ModelCard) {
    let Some(retirement) = &card.retirement else { return };
    let key = if card.retired_by(&Date::today()).is_some() { "retired" } else { "retires" };
    value[key] = json!(retirement.on.to_string());
    if let Some(successor) = &retirement.successor {
        value["successor"] = json!(successor.as_str());
    }
}

fn json_mode(mode: JsonMode) -> &'static str {
    match mode {
        JsonMode::Schema => "schema",
        JsonMode::Object => "object",
        JsonMode::Prompt => "prompt",
    }
}

fn parameters(card: &ModelCard) -> Value {
    let own = &card.parameters;
    let sampling = match own.sampling {
        SamplingRule::Always => "always",
        SamplingRule::WithoutReasoning => "without_reasoning",
        SamplingRule::Never => "never",
    };
    json!({"sampling": sampling, "seed": own.seed, "stop": own.stop, "reasoning": own.reasoning})
}

fn add_price(value: &mut Value, price: &Price) {
    let dollars = |micro: u64| MicroUsd(micro).dollars();
    let mut tokens =
        json!({"input": dollars(price.input), "output": dollars(price.output), "cached": dollars(price.cached)});
    if let Some(above) = price.above {
        tokens["above"] =
            json!({"tokens": above.tokens, "input": dollars(above.input), "output": dollars(above.output)});
    }
    value["price_usd_per_million"] = tokens;
    for (name, page) in [("price_usd_per_page", price.page), ("price_usd_per_annotated_page", price.annotated_page)] {
        if page > 0 {
            value[name] = json!(dollars(page));
        }
    }
}
