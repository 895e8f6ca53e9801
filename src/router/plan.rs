//! The plan of a request: candidates in the order they will be tried, and those that were passed over, with reasons.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use vision_providers::model::ModelCard;
use vision_providers::provider::Provider;
use vision_providers::request::{ModelId, Task};

use crate::failure::{Code, Failure, Result};
use crate::health::Health;

/// A configured provider, and whether it can be asked at all.
#[derive(Debug, Clone)]
pub struct Backend {
    pub provider: Provider,
    /// What the configuration calls its kind.
    pub kind: String,
    pub key: KeyState,
    /// Where its settings come from.
    pub origin: Origin,
    /// What its calls came to lately.
    pub health: Arc<Health>,
}

/// Who configured a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The operator, or at least they said something about it.
    Operator,
    /// It is as it was shipped.
    Shipped,
}

/// Whether a provider has the key that it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// It asks for none.
    NotNeeded,
    Present,
    /// It asks for one and has none; where it was looked for.
    Missing(String),
}

/// One of the operator's rules.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// All of these must hold.
    #[serde(default)]
    pub when: When,
    /// Models to ask, in this order.
    #[serde(rename = "use")]
    pub models: Vec<String>,
}

/// Conditions of a rule; what is absent always holds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    pub task: Option<String>,
}

/// Everything that planning needs to know; it does not change while a gateway lives.
#[derive(Debug, Clone)]
pub struct Roster {
    pub backends: BTreeMap<String, Backend>,
    pub aliases: BTreeMap<String, String>,
    pub rules: Vec<Rule>,
    pub default: String,
    pub fallback: Vec<String>,
}

/// What a request is, as far as planning goes.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The model that the caller named, if any.
    pub model: Option<&'a str>,
    /// The task's name, which rules match on.
    pub name: &'a str,
    pub task: Task,
    pub images: usize,
}

/// A model that may be asked.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub provider: Provider,
    pub model: ModelId,
    pub card: ModelCard,
}

impl Candidate {
    /// `provider/model`, as routes show it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.provider.id(), self.model)
    }
}

/// A model that is not asked, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub model: String,
    pub reason: Reason,
    /// How many candidates come before it in the order of preference.
    pub before: usize,
}

/// Why a model is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It has no key; where it was looked for.
    NoKey(String),
    /// It cannot do what is asked.
    Unable(String),
}

impl Skipped {
    /// One sentence for the caller.
    #[must_use]
    pub fn warning(&self) -> String {
        match &self.reason {
            Reason::NoKey(place) => format!("{} was not asked: it has no key ({place} is not set)", self.model),
            Reason::Unable(why) => format!("{} was not asked: {why}", self.model),
        }
    }
}

/// Who will be asked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The model that was asked for, as the caller, a rule or the configuration names it.
    pub requested: String,
    /// Which rule chose: `request`, `routes[N]` or `default`.
    pub rule: String,
    pub candidates: Vec<Candidate>,
    pub skipped: Vec<Skipped>,
}

impl Roster {
    /// Plans a request.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND` when the caller names what does not exist, `CAPABILITY_MISSING` when nobody can do it,
    /// `NO_PROVIDER` when somebody could but for a key.
    pub fn plan(&self, wanted: Wanted<'_>) -> Result<Plan> {
        let (rule, first) = self.choice(wanted);
        let requested = first.first().cloned().unwrap_or_else(|| self.default.clone());
        let mut plan = Plan { requested, rule, candidates: Vec::new(), skipped: Vec::new() };
        let mut seen = Vec::new();
        for name in first.iter().chain(&self.fallback) {
            let candidate = self.resolve(name)?;
            let full = candidate.name();
            if seen.contains(&full) {
                continue;
            }
            match self.fitness(&candidate, wanted) {
                None => plan.candidates.push(candidate),
                Some(reason) => {
                    let before = plan.candidates.len();
                    plan.skipped.push(Skipped { model: full.clone(), reason, before });
                }
            }
            seen.push(full);
        }
        if plan.candidates.is_empty() { Err(nobody(&plan, wanted)) } else { Ok(plan) }
    }

    /// Whether a provider can be expected to be there: it has its key, or somebody who needs none was told of. A server
    /// that is shipped with the configuration, and to which nothing leads, need not exist.
    #[must_use]
    pub fn expects(&self, name: &str) -> bool {
        let Some(backend) = self.backends.get(name) else { return false };
        match (&backend.key, backend.origin) {
            (KeyState::Missing(_), _) => false,
            (KeyState::Present, _) | (KeyState::NotNeeded, Origin::Operator) => true,
            (KeyState::NotNeeded, Origin::Shipped) => self.mentions(name),
        }
    }

    /// Whether the configuration leads to this provider by itself, and not only when a caller names it.
    fn mentions(&self, provider: &str) -> bool {
        let rules = self.rules.iter().flat_map(|rule| &rule.models);
        let names = [&self.default].into_iter().chain(&self.fallback).chain(self.aliases.values()).chain(rules);
        names.into_iter().any(|name| self.resolve(name).is_ok_and(|candidate| candidate.provider.id() == provider))
    }

    fn choice(&self, wanted: Wanted<'_>) -> (String, Vec<String>) {
        if let Some(model) = wanted.model {
            return ("request".into(), vec![model.to_owned()]);
        }
        let matches = |rule: &&Rule| rule.when.task.as_ref().is_none_or(|task| task == wanted.name);
        match self.rules.iter().enumerate().find(|(_, rule)| matches(rule)) {
            Some((index, rule)) => (format!("routes[{index}]"), rule.models.clone()),
            None => ("default".into(), vec![self.default.clone()]),
        }
    }

    /// Finds what a name means: an alias, a provider, or `provider/model`.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND`, with the names that come nearest.
    pub fn resolve(&self, name: &str) -> Result<Candidate> {
        // An alias may name an alias; one that leads in a circle ends as a name that nothing has.
        let target = (0..8).fold(name, |name, _| self.aliases.get(name).map_or(name, String::as_str));
        let (provider, model) = match target.split_once('/') {
            Some((provider, model)) => (provider, Some(model)),
            None => (target, None),
        };
        let backend = self.backends.get(provider).ok_or_else(|| self.not_found(name))?;
        let default = || backend.provider.models().first().map(|card| card.id.clone());
        let model = model.map(ModelId::from).or_else(default).ok_or_else(|| self.not_found(name))?;
        let card = backend.provider.card(model.as_str());
        Ok(Candidate { provider: backend.provider.clone(), model, card })
    }

    fn fitness(&self, candidate: &Candidate, wanted: Wanted<'_>) -> Option<Reason> {
        let key = self.backends.get(candidate.provider.id()).map(|backend| &backend.key);
        if let Some(KeyState::Missing(place)) = key {
            return Some(Reason::NoKey(place.clone()));
        }
        let card = &candidate.card;
        if !card.tasks.contains(&wanted.task) {
            return Some(Reason::Unable(format!("it cannot do the task `{}`", wanted.task.name())));
        }
        let most = card.limits.max_images;
        (wanted.images > most).then(|| Reason::Unable(format!("it takes at most {most} images, not {}", wanted.images)))
    }

    fn not_found(&self, name: &str) -> Failure {
        let known: Vec<&str> = self.aliases.keys().chain(self.backends.keys()).map(String::as_str).collect();
        let head = name.split('/').next().unwrap_or(name);
        let near =
            known.iter().filter(|known| strsim::damerau_levenshtein(known, head) <= 2).copied().collect::<Vec<_>>();
        let advice = if near.is_empty() {
            format!("name a model as provider/model, provider or alias; known are {}", known.join(", "))
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        Failure::new(Code::ModelNotFound, format!("there is no model called `{name}`")).advise(advice)
    }
}

fn nobody(plan: &Plan, wanted: Wanted<'_>) -> Failure {
    let reasons: Vec<String> = plan.skipped.iter().map(Skipped::warning).collect();
    let missing = plan.skipped.iter().find_map(|skipped| match &skipped.reason {
        Reason::NoKey(place) => Some(place),
        Reason::Unable(_) => None,
    });
    let message = format!("nobody can do the task `{}`: {}", wanted.name, reasons.join("; "));
    match missing {
        Some(place) => Failure::new(Code::NoProvider, message).advise(format!("the operator has to set {place}")),
        None => {
            Failure::new(Code::CapabilityMissing, message).advise("choose another model, or the tasks describe or ocr")
        }
    }
}
