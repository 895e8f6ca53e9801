//! The plan of a request: candidates in the order they will be tried, and those that were passed over, with reasons.

use std::sync::atomic::Ordering;
use std::time::Duration;

use vision_providers::estimate::{Estimate, Outline};
use vision_providers::request::Task;

use super::roster::{Candidate, KeyState, Roster};
use super::rules::{Rule, Strategy, Use};
use super::strategy;
use crate::failure::{Code, Failure, Result};
use crate::health::{BRIEFLY, Cause, Rest};
use crate::rights::Rights;

/// What a request is, as far as planning goes.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The model that the caller named, if any.
    pub model: Option<&'a str>,
    /// Whether somebody else may answer when the chosen one cannot.
    pub fallback: Fallback,
    /// The task's name, which rules match on.
    pub name: &'a str,
    pub task: Task,
    pub caller: &'a str,
    pub rights: &'a Rights,
    pub schema: bool,
    pub streamed: bool,
    /// The places of text are wanted too.
    pub boxes: bool,
    /// Images and documents.
    pub images: usize,
    /// Encoded bytes of all of them.
    pub bytes: usize,
    /// Encoded bytes of each document.
    pub documents: Vec<usize>,
    pub formats: Vec<&'static str>,
    pub outline: Outline,
    /// Of the images: what is the same for the same images.
    pub mark: u64,
    pub time_left: Duration,
}

impl Wanted<'_> {
    /// Pixels of the largest image.
    pub(super) fn largest(&self) -> u64 {
        let pixels = |(width, height): &(u32, u32)| u64::from(*width) * u64::from(*height);
        self.outline.sizes.iter().map(pixels).max().unwrap_or(0)
    }
}

/// Whether somebody else may answer when the chosen one cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// Those of the configuration.
    #[default]
    Auto,
    Never,
}

/// A model that is not asked, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub model: String,
    pub reason: Reason,
    /// How many candidates come before it in the order of preference; `None` when nobody asked for it in particular.
    pub before: Option<usize>,
}

/// Why a model is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It has no key; where it was looked for.
    NoKey(String),
    /// It cannot do what is asked.
    Unable(String),
    /// A rule keeps such requests away from it; the tag that it lacks.
    Kept(String),
    /// It is left alone for a while.
    Resting(Rest),
}

impl Reason {
    /// The name used in routes.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoKey(_) => "no_key",
            Self::Unable(_) => "unable",
            Self::Kept(_) => "kept",
            Self::Resting(rest) => rest.cause.name(),
        }
    }
}

impl Skipped {
    /// One sentence for the caller.
    #[must_use]
    pub fn warning(&self) -> String {
        let why = match &self.reason {
            Reason::NoKey(place) => format!("it has no key ({place} is not set)"),
            Reason::Unable(why) => why.clone(),
            Reason::Kept(tag) => format!("a rule keeps such images with providers that are `{tag}`"),
            Reason::Resting(rest) => rest.why(),
        };
        format!("{} was not asked: {why}", self.model)
    }
}

/// Who will be asked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The model that was asked for, as the caller, a rule or the configuration names it.
    pub requested: String,
    /// The model that the caller's name means by itself, if it means one.
    pub named: Option<String>,
    /// Which rule chose: `request`, `routes[N]` or `default`.
    pub rule: String,
    pub strategy: Strategy,
    /// Tags that every candidate has, because rules demand it.
    pub demands: Vec<String>,
    pub candidates: Vec<Candidate>,
    pub skipped: Vec<Skipped>,
    /// Whether somebody was left out whom this caller may not ask. Who that is stays unsaid.
    pub forbidden: bool,
    /// How long the first is waited for before the second is asked as well.
    pub hedge: Option<Duration>,
}

/// A model that has not shown its usual worst yet is waited for so long before another one is asked as well.
const UNKNOWN_WORST: Duration = Duration::from_secs(5);

/// What decides for a request.
struct Choice<'a> {
    rule: Option<(usize, &'a Rule)>,
    names: Vec<&'a str>,
    strategy: Strategy,
}

impl Roster {
    /// Whether the name that was asked for is one that this caller may ask.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND`, `FORBIDDEN`.
    pub fn check_name(&self, wanted: &Wanted<'_>) -> Result<()> {
        self.check_rights(wanted)?;
        let Some(name) = wanted.model.filter(|name| !self.rules.iter().any(|rule| rule.names(name))) else {
            return Ok(());
        };
        self.resolve(name).map(drop)
    }

    /// Whether a request can be planned at all, as far as that can be said before its images are there.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn check(&self, wanted: &Wanted<'_>) -> Result<()> {
        self.check_rights(wanted)?;
        let choice = self.choice(wanted);
        let may_be_chosen = wanted.model.is_some_and(|name| self.rules.iter().any(|rule| rule.names(name)));
        if choice.rule.is_none() && !may_be_chosen {
            choice.names.iter().try_for_each(|name| self.resolve(name).map(drop))?;
        }
        if self.rules.iter().any(Rule::looks_at_pictures) {
            return Ok(());
        }
        self.sorted(wanted, &choice, 0).map(drop)
    }

    /// Plans a request.
    ///
    /// # Errors
    /// `MODEL_NOT_FOUND` when the caller names what does not exist, `CAPABILITY_MISSING` when nobody can do it,
    /// `FORBIDDEN` when those who could are kept out by a rule, `NO_PROVIDER` when somebody could but for a key or for
    /// being left alone now.
    pub fn plan(&self, wanted: &Wanted<'_>) -> Result<Plan> {
        let choice = self.choice(wanted);
        let counter = choice.rule.and_then(|(index, _)| self.turns.get(index));
        let turn = counter.map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed));
        self.sorted(wanted, &choice, turn)
    }

    /// The plan that a request would have, without taking its turn where models take turns.
    ///
    /// # Errors
    /// As [`Self::plan`].
    pub fn outlook(&self, wanted: &Wanted<'_>) -> Result<Plan> {
        self.sorted(wanted, &self.choice(wanted), 0)
    }

    fn sorted(&self, wanted: &Wanted<'_>, choice: &Choice<'_>, turn: usize) -> Result<Plan> {
        let mut plan = Plan {
            requested: String::new(),
            named: wanted.model.and_then(|name| self.resolve(name).ok()).map(|candidate| candidate.name()),
            rule: match choice.rule {
                Some((index, _)) => format!("routes[{index}]"),
                None if wanted.model.is_some() => "request".into(),
                None => "default".into(),
            },
            strategy: choice.strategy,
            demands: self.demands(wanted),
            candidates: Vec::new(),
            skipped: Vec::new(),
            forbidden: false,
            hedge: None,
        };
        let mut able = Vec::new();
        for (index, name) in choice.names.iter().enumerate() {
            self.consider(name, wanted, &mut plan, &mut able, weight(choice, index))?;
        }
        plan.candidates = strategy::rank(choice.strategy, able, wanted, turn);
        if wanted.fallback == Fallback::Auto {
            let mut able = Vec::new();
            for name in &self.fallback {
                self.consider(name, wanted, &mut plan, &mut able, 0)?;
            }
            let stand_in = |(candidate, _)| Candidate { stands_in: true, ..candidate };
            plan.candidates.extend(able.into_iter().map(stand_in));
        }
        self.leave_alone_who_rests(wanted, &mut plan);
        // A default that is not this caller's is not named to them either.
        let is_ranked = choice.strategy != Strategy::First;
        let first = plan.candidates.first().filter(|it| plan.forbidden || (is_ranked && !it.stands_in));
        let asked = wanted.model.map(str::to_owned).or_else(|| first.map(Candidate::name));
        plan.requested = asked.unwrap_or_else(|| choice.names.first().copied().unwrap_or(&self.default).to_owned());
        if plan.candidates.is_empty() {
            return Err(self.nobody(&plan, wanted));
        }
        let chosen = plan.candidates.iter().filter(|candidate| !candidate.stands_in).count();
        if choice.strategy == Strategy::Hedged && chosen > 1 {
            let first = plan.candidates.first();
            let worst = first.and_then(|first| first.health.usual_worst(&first.model));
            plan.hedge = Some(worst.unwrap_or(UNKNOWN_WORST));
        }
        Ok(plan)
    }

    /// Why nobody can be asked, with who else could be: whose key is there has been set up, though no rule leads there.
    fn nobody(&self, plan: &Plan, wanted: &Wanted<'_>) -> Failure {
        let with_key = self.backends.iter().filter(|(_, backend)| matches!(backend.key, KeyState::Present));
        let could = |name: &&str| {
            let candidate = self.resolve(name).ok().filter(|candidate| self.allows(wanted.rights, candidate));
            candidate.is_some_and(|candidate| self.unfitness(&candidate, wanted, &plan.demands).is_none())
        };
        let others: Vec<&str> = with_key.map(|(name, _)| name.as_str()).filter(could).collect();
        nobody(plan, wanted, &others)
    }

    /// Puts a model among those who are able, or among those who are not asked.
    fn consider(
        &self,
        name: &str,
        wanted: &Wanted<'_>,
        plan: &mut Plan,
        able: &mut Vec<(Candidate, u32)>,
        weight: u32,
    ) -> Result<()> {
        let candidate = self.resolve(name)?;
        let full = candidate.name();
        let known = plan.candidates.iter().chain(able.iter().map(|(candidate, _)| candidate)).map(Candidate::name);
        if known.chain(plan.skipped.iter().map(|it| it.model.clone())).any(|known| known == full) {
            return Ok(());
        }
        if !self.allows(wanted.rights, &candidate) {
            plan.forbidden = true;
            return Ok(());
        }
        match self.unfitness(&candidate, wanted, &plan.demands) {
            None => able.push((candidate, weight)),
            Some(reason) => {
                // Of many that were offered, nobody asked for this one.
                let particular = plan.strategy == Strategy::First || !plan.candidates.is_empty();
                let before = particular.then_some(plan.candidates.len() + able.len());
                plan.skipped.push(Skipped { model: full, reason, before });
            }
        }
        Ok(())
    }

    fn leave_alone_who_rests(&self, wanted: &Wanted<'_>, plan: &mut Plan) {
        let particular = plan.strategy == Strategy::First;
        let longest = self.patience.min(wanted.time_left);
        // A little patience is cheaper than another model, and much of it is not.
        let patience = if plan.candidates.len() > 1 { longest.min(BRIEFLY) } else { longest };
        let waits = |rest: &Rest, patience| rest.cause == Cause::Throttled && rest.left <= patience;
        let (mut kept, mut soonest) = (Vec::new(), None::<(Rest, Candidate)>);
        for candidate in plan.candidates.drain(..) {
            match candidate.health.rest(&candidate.model).filter(|rest| !waits(rest, patience)) {
                None => kept.push(candidate),
                Some(rest) => {
                    let before = particular.then_some(kept.len());
                    plan.skipped.push(Skipped { model: candidate.name(), reason: Reason::Resting(rest), before });
                    let is_sooner = soonest.as_ref().is_none_or(|(other, _)| rest.left < other.left);
                    soonest = Some((rest, candidate)).filter(|_| waits(&rest, longest) && is_sooner).or(soonest);
                }
            }
        }
        // With nobody else left, whoever is back first is waited for after all.
        if let Some((_, candidate)) = soonest.filter(|_| kept.is_empty()) {
            plan.skipped.retain(|skipped| skipped.model != candidate.name());
            kept.push(candidate);
        }
        plan.candidates = kept;
    }

    /// The first rule that chooses, else the name that was asked for, else the default.
    fn choice<'a>(&'a self, wanted: &Wanted<'a>) -> Choice<'a> {
        let chooses = |rule: &Rule| rule.chooses(wanted.model) && rule.is_about(wanted, || self.cost(wanted));
        if let Some((index, rule)) = self.rules.iter().enumerate().find(|(_, rule)| chooses(rule)) {
            let names = rule.choice.models().iter().map(String::as_str).collect();
            return Choice { rule: Some((index, rule)), names, strategy: rule.choice.strategy() };
        }
        let names = vec![wanted.model.unwrap_or(&self.default)];
        Choice { rule: None, names, strategy: Strategy::First }
    }

    /// The tags that rules about this request demand, whoever chooses.
    fn demands(&self, wanted: &Wanted<'_>) -> Vec<String> {
        let named = |rule: &Rule| rule.when.model.is_none() || rule.chooses(wanted.model);
        let about = |rule: &&Rule| {
            named(rule) && rule.demands().next().is_some() && rule.is_about(wanted, || self.cost(wanted))
        };
        let mut demands: Vec<String> =
            self.rules.iter().filter(about).flat_map(Rule::demands).map(str::to_owned).collect();
        demands.sort();
        demands.dedup();
        demands
    }

    /// US dollars that a request is likely to cost at the model that was asked for, or at the default.
    fn cost(&self, wanted: &Wanted<'_>) -> Option<f64> {
        let named = wanted.model.filter(|name| !self.rules.iter().any(|rule| rule.names(name)));
        let candidate = self.resolve(named.unwrap_or(&self.default)).ok()?;
        let estimate = Estimate::from_outline(&wanted.outline.fitted(&candidate.card), &candidate.card)?;
        Some(estimate.likely?.dollars())
    }

    fn unfitness(&self, candidate: &Candidate, wanted: &Wanted<'_>, demands: &[String]) -> Option<Reason> {
        let backend = self.backends.get(candidate.provider.id())?;
        if let Some(lacking) = demands.iter().find(|tag| !backend.has(tag, &candidate.model)) {
            return Some(Reason::Kept(lacking.clone()));
        }
        if let KeyState::Missing(place) = &backend.key {
            return Some(Reason::NoKey(place.clone()));
        }
        inability(candidate, wanted).map(Reason::Unable)
    }
}

impl Roster {
    /// Whether a caller with these rights may ask a model.
    #[must_use]
    pub fn allows(&self, rights: &Rights, candidate: &Candidate) -> bool {
        let backend = self.backends.get(candidate.provider.id());
        let has = |tag: &String| backend.is_some_and(|it| it.has(tag, &candidate.model));
        rights.allow(candidate.provider.id(), candidate.model.as_str()) && rights.tags.iter().all(has)
    }

    /// Whoever names a model that is not theirs should learn so, and not be given another one.
    fn check_rights(&self, wanted: &Wanted<'_>) -> Result<()> {
        let Some(name) = wanted.model.filter(|_| wanted.rights.are_restricted()) else { return Ok(()) };
        if self.leads_to_allowed(name, wanted.rights) {
            return Ok(());
        }
        // In the same words for names that nothing has: what others may ask is not this caller's business.
        let failure = Failure::new(Code::Forbidden, format!("this key does not allow a model called `{name}`"));
        Err(failure.advise(format!("choose one of {}", self.names_for(wanted.rights).join(", "))))
    }
}

fn weight(choice: &Choice<'_>, index: usize) -> u32 {
    match choice.rule.map(|(_, rule)| &rule.choice) {
        Some(Use::Ranked(ranked)) => ranked.weights.get(index).copied().unwrap_or(1),
        _ => 1,
    }
}

/// What of a request is beyond a model, if anything is.
fn inability(candidate: &Candidate, wanted: &Wanted<'_>) -> Option<String> {
    let card = &candidate.card;
    let limits = &card.limits;
    if !card.tasks.contains(&wanted.task) {
        return Some(format!("it cannot do the task `{}`", wanted.task.name()));
    }
    if wanted.images > limits.max_images {
        return Some(format!("it takes at most {} images, not {}", limits.max_images, wanted.images));
    }
    if wanted.boxes && !card.boxes {
        return Some("it cannot say where text stands".into());
    }
    if !wanted.documents.is_empty() && limits.max_document_bytes == 0 {
        return Some("it takes images, not PDF documents".into());
    }
    if wanted.documents.iter().any(|bytes| *bytes > limits.max_document_bytes) {
        return Some(format!("it takes documents of at most {} bytes", limits.max_document_bytes));
    }
    if wanted.documents.iter().sum::<usize>() > limits.max_total_bytes {
        return Some(format!("it takes documents of at most {} bytes together", limits.max_total_bytes));
    }
    let context = limits.context?;
    let estimate = Estimate::from_outline(&wanted.outline.fitted(card), card)?;
    let tokens = estimate.input_tokens;
    (tokens > context).then(|| format!("it takes at most {context} tokens, and this would be about {tokens}"))
}

fn nobody(plan: &Plan, wanted: &Wanted<'_>, others: &[&str]) -> Failure {
    let reasons: Vec<String> = plan.skipped.iter().map(Skipped::warning).collect();
    let message = format!("nobody can do the task `{}` now: {}", wanted.name, reasons.join("; "));
    let rests = plan.skipped.iter().filter_map(|skipped| match &skipped.reason {
        Reason::Resting(rest) => Some(rest.left),
        _ => None,
    });
    if let Some(soonest) = rests.min() {
        let failure = Failure::new(Code::NoProvider, message).advise("try again later, or choose another model");
        return Failure { retry_after: Some(soonest), ..failure.retryable() };
    }
    let missing = plan.skipped.iter().find_map(|skipped| match &skipped.reason {
        Reason::NoKey(place) => Some(place),
        _ => None,
    });
    if let Some(place) = missing {
        let advice = match others {
            [] => format!("the operator has to set {place}"),
            others => format!(
                "name another model: a key is there for {}; or the operator has to set {place}, or another `default`",
                others.join(", ")
            ),
        };
        return Failure::new(Code::NoProvider, message).advise(advice);
    }
    if plan.forbidden && plan.skipped.is_empty() {
        let message = format!("this key allows no model that could do the task `{}`", wanted.name);
        return Failure::new(Code::Forbidden, message).advise("ask the operator for one");
    }
    if plan.skipped.iter().all(|skipped| matches!(skipped.reason, Reason::Kept(_))) {
        let advice = format!("name a model of a provider that is `{}`", plan.demands.join("` and `"));
        return Failure::new(Code::Forbidden, message).advise(advice);
    }
    Failure::new(Code::CapabilityMissing, message).advise("choose another model, or the tasks describe or ocr")
}
