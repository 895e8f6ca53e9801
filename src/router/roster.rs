//! Everybody who can be asked, and what names mean.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rapidfuzz::distance::damerau_levenshtein;
use vision_providers::model::ModelCard;
use vision_providers::provider::Provider;
use vision_providers::request::ModelId;

use super::rules::{OneOf, Rule};
use crate::failure::{Code, Failure, Result};
use crate::health::Health;
use crate::rights::Rights;

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
    /// What routes can demand of it; `local` when it is on this machine.
    pub tags: Vec<String>,
    /// Words in the names of models that its server does not run itself.
    pub elsewhere: Vec<String>,
}

impl Backend {
    /// Whether this tag is true of a model of this provider. One that its server passes on is not on this machine.
    #[must_use]
    pub fn has(&self, tag: &str, model: &ModelId) -> bool {
        self.tags.iter().any(|own| own == tag) && !(tag == Rule::LOCAL && self.passes_on(model))
    }

    /// Whether a model's name says that it is run elsewhere, in whatever spelling and whatever stands around that word:
    /// what the server makes of odd names is not known here.
    fn passes_on(&self, model: &ModelId) -> bool {
        let mut words = model.as_str().split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| self.elsewhere.iter().any(|elsewhere| elsewhere.eq_ignore_ascii_case(word)))
    }
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

/// Everything that planning needs to know. It does not change while a gateway lives, but for whose turn it is.
#[derive(Debug)]
pub struct Roster {
    pub backends: BTreeMap<String, Backend>,
    pub aliases: BTreeMap<String, String>,
    pub rules: Vec<Rule>,
    pub default: String,
    pub fallback: Vec<String>,
    /// The longest that a provider which asked for patience is waited for.
    pub patience: Duration,
    /// Requests that each rule has chosen for.
    pub turns: Vec<AtomicUsize>,
}

/// A model that may be asked.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub provider: Provider,
    pub model: ModelId,
    pub card: ModelCard,
    pub health: Arc<Health>,
    /// Why it stands where it stands, where a strategy put it there.
    pub why: Option<String>,
    /// Nobody chose it: it stands in for those who cannot.
    pub stands_in: bool,
}

impl Candidate {
    /// `provider/model`, as routes show it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.provider.id(), self.model)
    }
}

impl Roster {
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
        let unnamed = self.rules.iter().filter(|rule| rule.when.model.is_none());
        let rules = unnamed.flat_map(|rule| rule.choice.models());
        let names = [&self.default].into_iter().chain(&self.fallback).chain(self.aliases.values()).chain(rules);
        names.into_iter().any(|name| self.resolve(name).is_ok_and(|candidate| candidate.provider.id() == provider))
    }

    /// Finds what a name means: an alias, a provider, or `provider/model`.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND`, with the names that come nearest.
    pub fn resolve(&self, name: &str) -> Result<Candidate> {
        // An alias may name an alias; one that leads in a circle ends as a name that nothing has.
        let target = (0..8).fold(name, |name, _| self.aliases.get(name).map_or(name, String::as_str));
        let (provider, model) = match target.split_once('/') {
            Some((_, "")) => return Err(self.not_found(name)),
            Some((provider, model)) => (provider, Some(model)),
            None => (target, None),
        };
        let backend = self.backends.get(provider).ok_or_else(|| self.not_found(name))?;
        let default = || backend.provider.models().first().map(|card| card.id.clone());
        let model = model.map(ModelId::from).or_else(default).ok_or_else(|| self.not_found(name))?;
        let card = backend.provider.card(model.as_str());
        let (provider, health) = (backend.provider.clone(), Arc::clone(&backend.health));
        Ok(Candidate { provider, model, card, health, why: None, stands_in: false })
    }

    /// The names that rules give a meaning.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|rule| rule.when.model.as_ref()).flat_map(OneOf::values).map(String::as_str)
    }

    /// Every name by which a caller with these rights can ask for a model that can be expected to be there.
    #[must_use]
    pub fn names_for(&self, rights: &Rights) -> Vec<String> {
        let own = self.aliases.keys().cloned().chain(self.rule_names().map(str::to_owned));
        let usable = self.backends.iter().filter(|(name, _)| self.expects(name));
        let models = usable.flat_map(|(name, backend)| {
            let cards = backend.provider.models().iter().map(move |card| format!("{name}/{}", card.id));
            [name.clone()].into_iter().chain(cards)
        });
        let mut names: Vec<String> = own.chain(models).filter(|name| self.leads_to_allowed(name, rights)).collect();
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// Whether a name means a model that these rights allow; a rule's name, when any of its models is one.
    #[must_use]
    pub fn leads_to_allowed(&self, name: &str, rights: &Rights) -> bool {
        let is_allowed = |name: &str| self.resolve(name).is_ok_and(|candidate| self.allows(rights, &candidate));
        let mut chosen = self.rules.iter().filter(|rule| rule.names(name)).flat_map(|rule| rule.choice.models());
        is_allowed(name) || chosen.any(|model| is_allowed(model))
    }

    /// The providers that a caller with these rights may ask something.
    pub fn providers_for<'a>(&'a self, rights: &'a Rights) -> impl Iterator<Item = &'a str> {
        let has = |backend: &Backend| rights.tags.iter().all(|tag| backend.tags.contains(tag));
        let names = self.backends.iter().filter(move |(_, backend)| has(backend)).map(|(name, _)| name.as_str());
        names.filter(|name| rights.allow_some_of(name))
    }

    fn not_found(&self, name: &str) -> Failure {
        let own = self.aliases.keys().chain(self.backends.keys()).map(String::as_str);
        let known: Vec<&str> = own.chain(self.rule_names()).collect();
        let head = name.split('/').next().unwrap_or(name);
        let near = known.iter().filter(|known| is_near(known, head)).copied().collect::<Vec<_>>();
        let advice = if near.is_empty() {
            format!("name a model as provider/model, provider or alias; known are {}", known.join(", "))
        } else {
            format!("did you mean {}?", near.join(" or "))
        };
        Failure::new(Code::ModelNotFound, format!("there is no model called `{name}`")).advise(advice)
    }
}

/// Whether a name may be a slip of another. Of a short one, nothing would be left after two slips.
fn is_near(known: &str, written: &str) -> bool {
    let slips = damerau_levenshtein::distance(known.chars(), written.chars());
    slips <= 2 && slips * 2 <= known.chars().count()
}
