//! The state of every provider, for those who watch the program and for those who choose a model.

use serde_json::{Map, Value, json};
use vision_providers::request::ModelId;

use crate::gateway::Gateway;
use crate::health::Rest;
use crate::metrics::Resting;
use crate::rights::Rights;
use crate::router::roster::{Backend, KeyState, Roster};

/// Every provider that such a caller may ask, by name: `ready`, `no_key`, or why it is left alone; what went wrong last; and which models rest.
/// Kinds of errors only: messages may say what nobody else should read.
pub(super) fn providers(gateway: &Gateway, rights: &Rights) -> Value {
    let roster = &gateway.roster;
    let names = roster.providers_for(rights);
    let state = |name: &str| Some((name.to_owned(), Value::Object(provider(name, roster, rights)?)));
    Value::Object(names.filter_map(state).collect())
}

/// The state of one provider, as far as it is that of models which such a caller may ask.
pub(super) fn provider(name: &str, roster: &Roster, rights: &Rights) -> Option<Map<String, Value>> {
    let backend = roster.backends.get(name)?;
    let is_theirs = |model: &ModelId| roster.leads_to_allowed(&format!("{name}/{model}"), rights);
    let mut state = Map::new();
    let rests = rests(backend, is_theirs);
    let word = match (&backend.key, rests.first()) {
        (KeyState::Missing(_), _) => "no_key",
        (_, Some((_, rest))) => rest.cause.name(),
        (_, None) => "ready",
    };
    state.insert("state".into(), json!(word));
    if let Some((_, rest)) = rests.first() {
        state.insert("asked_again_in_s".into(), json!(seconds(rest)));
    }
    if rests.len() > 1 {
        let models = rests.iter().map(|(model, rest)| {
            (model.clone(), json!({"state": rest.cause.name(), "asked_again_in_s": seconds(rest)}))
        });
        state.insert("models".into(), Value::Object(models.collect()));
    }
    if let Some(last) = backend.health.last_error().filter(|last| is_theirs(&last.model)) {
        let mut error = json!({"kind": last.kind.name(), "seconds_ago": last.at.elapsed().as_secs()});
        if is_known(backend, &last.model) {
            error["model"] = json!(last.model.as_str());
        }
        state.insert("last_error".into(), error);
    }
    Some(state)
}

/// Who rests, for the metrics.
pub(super) fn resting(gateway: &Gateway) -> Vec<Resting> {
    let one = |(name, backend): (&String, &Backend)| {
        let provider = name.clone();
        rests(backend, |_| true)
            .into_iter()
            .map(move |(_, rest)| Resting { provider: provider.clone(), cause: rest.cause.name() })
            .collect::<Vec<_>>()
    };
    gateway.roster.backends.iter().flat_map(one).collect()
}

/// Whether the operator or the catalog knows the model. Callers can name others, and what they call them is nobody
/// else's business.
fn is_known(backend: &Backend, model: &ModelId) -> bool {
    backend.provider.models().iter().any(|card| card.is_called(model.as_str()))
}

/// Of these models the default one first, if it rests, and then the others that do.
fn rests(backend: &Backend, is_meant: impl Fn(&ModelId) -> bool) -> Vec<(String, Rest)> {
    let default = backend.provider.models().first().map(|card| card.id.clone());
    let called =
        backend.health.models().into_iter().filter(|model| Some(model) != default.as_ref() && is_known(backend, model));
    let models = default.clone().into_iter().chain(called).filter(|model| is_meant(model));
    models.filter_map(|model| Some((model.to_string(), backend.health.rest(&model)?))).collect()
}

fn seconds(rest: &Rest) -> u64 {
    u64::try_from(rest.left.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}
