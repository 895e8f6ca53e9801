//! Faults of meaning: names that mean nothing, bounds that make no sense. All of them are found in one run.

use std::net::SocketAddr;

use vision_providers::request::Task;

use crate::config::{Config, Fault, Loaded};
use crate::intake::FORMATS;
use crate::layers::cache;
use crate::router::roster::Roster;
use crate::router::rules::{OneOf, Rule, Strategy, Use};
use crate::surface::calls::TOOLS;
use crate::tasks::Presets;

/// Collects what is wrong.
pub(super) struct Faults<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) found: Vec<Fault>,
}

impl Faults<'_> {
    pub(super) fn add(&mut self, key: &str, message: impl Into<String>, hint: Option<String>) {
        // What has the wrong shape was put aside, and what that leads to is no fault of its own.
        let is_said = |fault: &Fault| fault.key == key || key.starts_with(&format!("{}.", fault.key));
        if self.loaded.faults.iter().any(is_said) {
            return;
        }
        let fault = self.loaded.fault(key, message);
        self.found.push(Fault { hint, ..fault });
    }

    pub(super) fn parsed<T, E: std::fmt::Display>(&mut self, key: &str, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|error| self.add(key, error.to_string(), None)).ok()
    }
}

/// Every name that the configuration mentions must mean something.
pub(super) fn check_names(roster: &Roster, presets: &Presets, faults: &mut Faults<'_>) {
    let mut named = vec![("default".to_owned(), roster.default.clone())];
    named.extend(roster.fallback.iter().map(|name| ("fallback".to_owned(), name.clone())));
    named.extend(roster.aliases.iter().map(|(alias, name)| (format!("aliases.{alias}"), name.clone())));
    for (index, rule) in roster.rules.iter().enumerate() {
        let key = format!("routes.{index}");
        named.extend(rule.choice.models().iter().map(|name| (format!("{key}.use"), name.clone())));
        check_rule(rule, &key, roster, presets, faults);
    }
    for (key, name) in named {
        let head = roster.aliases.get(&name).unwrap_or(&name).split('/').next().unwrap_or_default().to_owned();
        // A provider that is wrong in itself has been reported already.
        if faults.loaded.config.providers.contains_key(&head) {
            continue;
        }
        if let Err(failure) = roster.resolve(&name) {
            faults.add(&key, failure.message, failure.advice);
        }
    }
}

/// Beyond what a memory may last, a time is a slip of the pen, and some libraries panic.
pub(super) fn check_bounds(config: &Config, faults: &mut Faults<'_>) {
    let times = [
        ("cache.ttl", config.cache.ttl),
        ("deadline.total", config.deadline.total),
        ("deadline.attempt", config.deadline.attempt),
        ("deadline.first_byte", config.deadline.first_byte),
        ("deadline.idle", config.deadline.idle),
        ("breaker.open", config.breaker.open),
        ("breaker.longest", config.breaker.longest),
        ("retry.longest_wait", config.retry.longest_wait),
        ("uploads.ttl", config.uploads.ttl),
    ];
    for (key, span) in times {
        if span.0 > cache::LONGEST || span.0.is_zero() {
            faults.add(key, "expected a time above 0 and of at most a year", None);
        }
    }
}

fn check_rule(rule: &Rule, key: &str, roster: &Roster, presets: &Presets, faults: &mut Faults<'_>) {
    let models = rule.choice.models();
    if models.is_empty() {
        faults.add(&format!("{key}.use"), "a rule needs at least one model", None);
    }
    if let Use::Ranked(ranked) = &rule.choice {
        let weights = ranked.weights.len();
        let by_share = ranked.strategy == Strategy::Weighted;
        if by_share && (weights != models.len() || ranked.weights.iter().all(|weight| *weight == 0)) {
            faults.add(&format!("{key}.use.weights"), "expected a share for each model, not all of them 0", None);
        } else if !by_share && weights > 0 {
            faults.add(&format!("{key}.use.weights"), "only the strategy `weighted` has weights", None);
        }
    }
    let known = |task: &&String| Task::named(task).is_some() || presets.contains_key(*task);
    for task in rule.when.task.iter().flat_map(OneOf::values).filter(|task| !known(task)) {
        faults.add(&format!("{key}.when.task"), format!("there is no task called `{task}`"), None);
    }
    for format in rule.when.format.iter().flat_map(OneOf::values).filter(|it| !FORMATS.contains(&it.as_str())) {
        let hint = Some(format!("known are {}", FORMATS.join(", ")));
        faults.add(&format!("{key}.when.format"), format!("there is no format called `{format}`"), hint);
    }
    for tag in
        rule.demands().filter(|tag| !roster.backends.values().any(|backend| backend.tags.iter().any(|it| it == tag)))
    {
        faults.add(&format!("{key}.tags"), format!("no provider has the tag `{tag}`"), None);
    }
}

pub(super) fn check_surfaces(config: &Config, faults: &mut Faults<'_>) {
    if config.server.listen.parse::<SocketAddr>().is_err() {
        faults.add("server.listen", "expected an address and port", Some("write it as \"127.0.0.1:8765\"".into()));
    }
    for tool in config.mcp.tools.iter().flatten() {
        if !TOOLS.contains(&tool.as_str()) {
            faults.add(
                "mcp.tools",
                format!("there is no tool called `{tool}`"),
                Some(format!("known are {}", TOOLS.join(", "))),
            );
        }
    }
    for root in super::folders::expanded(&config.intake.roots) {
        if !root.is_absolute() {
            faults.add("intake.roots", format!("{} is not an absolute path", root.display()), None);
        } else if !root.is_dir() {
            faults.add("intake.roots", format!("there is no folder {}", root.display()), None);
        }
    }
    // Folders of screenshots are made by the first one: what is missing today is no fault.
    for folder in super::folders::latest(&config.intake) {
        if !folder.is_absolute() {
            faults.add("intake.latest", format!("{} is not an absolute path", folder.display()), None);
        }
    }
}
