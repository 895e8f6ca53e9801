//! From a configuration to a gateway. The order of layers is written here, and nowhere else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::{Host, Url};
use vision_providers::adapters::{self, local};
use vision_providers::catalog::{Catalog, Preset, WireKind};
use vision_providers::http::{Auth, Patience, VendorHttp};
use vision_providers::provider::Provider;
use vision_providers::request::{ModelId, Task};

use crate::config::{self, Config, Fault, FoundKey, Loaded, ProviderConfig};
use crate::gateway::{Gateway, Settings};
use crate::health::Health;
use crate::intake::fetch::Networks;
use crate::intake::path::{Hidden, Root, Roots};
use crate::intake::{self, FORMATS, Intake};
use crate::layers::breaker::Guarded;
use crate::layers::cache::{Cached, Memory};
use crate::layers::limit::Limited;
use crate::layers::observe::Observed;
use crate::layers::retry::Retrying;
use crate::layers::validate::Validated;
use crate::layers::{cache, retry};
use crate::router::roster::{Backend, KeyState, Origin, Roster};
use crate::router::rules::{OneOf, Rule, Strategy, Use};
use crate::schema;
use crate::store::disk::{self, Disk};
use crate::supervisor::Supervisor;
use crate::surface::mcp::TOOLS;
use crate::tasks::{Preset as TaskPreset, Presets};

/// Builds the gateway that a configuration describes.
///
/// # Errors
/// Every fault of meaning: unknown kinds and models, addresses that are none, schemas that are none.
pub fn gateway(loaded: &Loaded, supervisor: &Supervisor) -> Result<Gateway, Vec<Fault>> {
    let mut faults = Faults { loaded, found: loaded.faults.clone() };
    let config = &loaded.config;
    let backends = backends(config, supervisor, &mut faults);
    let presets = presets(config, &mut faults);
    let roster = Roster {
        backends,
        aliases: config.aliases.clone(),
        rules: config.routes.clone(),
        default: config.default.clone(),
        fallback: config.fallback.clone(),
        patience: config.retry.longest_wait.0,
        turns: config.routes.iter().map(|_| AtomicUsize::new(0)).collect(),
    };
    check_names(&roster, &presets, &mut faults);
    check_surfaces(config, &mut faults);
    check_bounds(config, &mut faults);
    if !faults.found.is_empty() {
        return Err(faults.found);
    }
    let settings = Settings {
        total: config.deadline.total.0,
        max_output_tokens: config.request.max_output_tokens,
        retries: config.retry.attempts.saturating_sub(1),
    };
    Ok(Gateway { roster, intake: Intake::new(intake_settings(config)), presets, settings })
}

/// The layers around an adapter, from the inside out.
fn layered(
    adapter: Provider,
    own: &ProviderConfig,
    config: &Config,
    health: &Arc<Health>,
    memory: &Memory,
    supervisor: &Supervisor,
) -> Provider {
    let longest_wait = config.retry.longest_wait.0;
    let attempt = own.deadline.attempt.unwrap_or(config.deadline.attempt).0;
    let retry = retry::Settings { attempts: config.retry.attempts, attempt, longest_wait };
    // Innermost, so that whoever waited for a turn learns what became of those before.
    let provider: Provider = Arc::new(Guarded::new(adapter, Arc::clone(health)));
    // Every try takes a turn, so that tries cannot exceed the bound either.
    let limit = own.limit.unwrap_or(config.limit);
    let provider = Arc::new(Limited::new(provider, Arc::clone(health), limit, longest_wait));
    let provider = Arc::new(Retrying::new(provider, retry));
    // Outside of retry: an answer out of form was paid for, and the same question would be paid for again.
    let provider = Arc::new(Validated::new(provider));
    // Outside of validation: only answers in form are remembered.
    let provider = Arc::new(Cached::new(provider, memory.clone(), supervisor.clone()));
    // Outermost, so that it sees remembered answers too.
    Arc::new(Observed::new(provider))
}

/// Collects what is wrong.
struct Faults<'a> {
    loaded: &'a Loaded,
    found: Vec<Fault>,
}

impl Faults<'_> {
    fn add(&mut self, key: &str, message: impl Into<String>, hint: Option<String>) {
        let fault = self.loaded.fault(key, message);
        self.found.push(Fault { hint, ..fault });
    }

    fn parsed<T, E: std::fmt::Display>(&mut self, key: &str, outcome: Result<T, E>) -> Option<T> {
        outcome.map_err(|error| self.add(key, error.to_string(), None)).ok()
    }
}

#[expect(clippy::expect_used, reason = "it says why it cannot happen")]
fn backends(config: &Config, supervisor: &Supervisor, faults: &mut Faults<'_>) -> BTreeMap<String, Backend> {
    let catalog = Catalog::built_in().expect("a test reads the built-in catalog");
    let proxy = config.http.proxy.as_deref().and_then(|proxy| faults.parsed("http.proxy", Url::parse(proxy)));
    let http = VendorHttp::new(proxy);
    let memory = memory(config, supervisor, faults);
    let mut backends = BTreeMap::new();
    for (name, provider) in &config.providers {
        let key = format!("providers.{name}");
        let Some(preset) = catalog.preset(&provider.kind) else {
            faults.add(
                &format!("{key}.kind"),
                format!("there is no kind called `{}`", provider.kind),
                Some(kinds(&catalog, &provider.kind)),
            );
            continue;
        };
        let found = config::find_key(provider.key.as_ref(), preset.key_env.as_deref());
        let Some(settings) = settings(name, provider, config, &found, faults) else { continue };
        match adapters::build(preset, settings, &http) {
            Ok(adapter) => {
                let tags = tags(provider, preset);
                let health = Arc::new(Health::new(config.breaker.settings()));
                let provider = layered(adapter, provider, config, &health, &memory, supervisor);
                let (kind, key, origin) = (preset.kind.clone(), key_state(found), origin(faults.loaded, name));
                backends.insert(name.clone(), Backend { provider, kind, key, origin, health, tags });
            }
            Err(message) => faults.add(&key, message, None),
        }
    }
    backends
}

fn memory(config: &Config, supervisor: &Supervisor, faults: &mut Faults<'_>) -> Memory {
    let ttl = config.cache.ttl.0;
    let disk = config.cache.disk.as_ref().map(|disk| {
        if !disk.path.is_absolute() {
            faults.add("cache.disk.path", format!("{} is not an absolute path", disk.path.display()), None);
        }
        disk::Settings { folder: disk.path.clone(), capacity: disk.capacity.0, ttl }
    });
    let settings = cache::Settings { capacity: config.cache.capacity.0, ttl };
    Memory::new(settings, disk.map(|settings| Disk::open(settings, supervisor)))
}

/// What routes can demand of a provider: the operator's words, and whether it is on this machine.
fn tags(provider: &ProviderConfig, preset: &Preset) -> Vec<String> {
    let base_url =
        provider.base_url.as_deref().and_then(|url| Url::parse(url).ok()).or_else(|| preset.base_url.clone());
    let is_here = preset.wire == WireKind::Local || base_url.as_ref().is_some_and(is_loopback);
    let mut tags = provider.tags.clone();
    tags.extend(is_here.then(|| Rule::LOCAL.to_owned()));
    tags
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether an operator said anything about a provider.
fn origin(loaded: &Loaded, name: &str) -> Origin {
    let told =
        ["kind", "base_url", "model", "key"].iter().any(|key| !loaded.is_built_in(&format!("providers.{name}.{key}")));
    if told { Origin::Operator } else { Origin::Shipped }
}

fn kinds(catalog: &Catalog, wrong: &str) -> String {
    let all = || format!("known are {}", catalog.kinds().collect::<Vec<_>>().join(", "));
    config::nearest(catalog.kinds(), wrong, 3).map_or_else(all, |near| format!("did you mean `{near}`?"))
}

fn key_state(found: FoundKey) -> KeyState {
    match found {
        FoundKey::NotNeeded => KeyState::NotNeeded,
        FoundKey::Found(_) => KeyState::Present,
        FoundKey::Missing(place) => KeyState::Missing(place),
    }
}

fn settings(
    name: &str,
    provider: &ProviderConfig,
    config: &Config,
    key: &FoundKey,
    faults: &mut Faults<'_>,
) -> Option<adapters::Settings> {
    let path = |field: &str| format!("providers.{name}.{field}");
    if name.is_empty() || name.contains('/') {
        faults.add(&format!("providers.{name}"), "a provider's name is not empty and has no slash", None);
        return None;
    }
    let before = faults.found.len();
    if provider.tags.iter().any(|tag| tag == Rule::LOCAL) {
        let hint = "a provider is `local` by itself when it runs on this machine; choose another word for others";
        faults.add(&path("tags"), "`local` cannot be given", Some(hint.into()));
    }
    let base_url = provider.base_url.as_deref().and_then(|url| faults.parsed(&path("base_url"), Url::parse(url)));
    if base_url.as_ref().is_some_and(|url| !matches!(url.scheme(), "http" | "https")) {
        faults.add(&path("base_url"), "expected an http or https address", None);
    }
    let auth = match &provider.key_header {
        None => None,
        Some(header) => Some(Auth::Header(faults.parsed(&path("key_header"), HeaderName::try_from(header.as_str()))?)),
    };
    let mut headers = HeaderMap::new();
    for (header, value) in &provider.headers {
        let key = path(&format!("headers.{header}"));
        let name = faults.parsed(&key, HeaderName::try_from(header.as_str()));
        let value = faults.parsed(&key, HeaderValue::try_from(value.as_str()));
        headers.extend(name.zip(value));
    }
    let key = match key {
        FoundKey::Found(key) => Some(key.clone()),
        FoundKey::NotNeeded | FoundKey::Missing(_) => None,
    };
    (faults.found.len() == before).then(|| adapters::Settings {
        name: name.to_owned(),
        base_url,
        auth,
        key,
        headers,
        quirks: provider.quirks,
        extra_body: provider.extra_body.clone(),
        model: provider.model.as_deref().map(ModelId::from),
        models: provider.models.clone(),
        patience: Patience {
            first_byte: provider.deadline.first_byte.unwrap_or(config.deadline.first_byte).0,
            idle: provider.deadline.idle.unwrap_or(config.deadline.idle).0,
        },
        local: local_settings(provider),
    })
}

fn local_settings(provider: &ProviderConfig) -> local::Settings {
    let usual = local::Settings::default();
    local::Settings {
        languages: provider.languages.clone().unwrap_or(usual.languages),
        program: provider.program.clone().unwrap_or(usual.program),
        timeout: provider.timeout.map_or(usual.timeout, |span| span.0),
        parallel: usual.parallel,
        environment: config::child_environment(),
    }
}

fn presets(config: &Config, faults: &mut Faults<'_>) -> Presets {
    let mut presets = Presets::new();
    for (name, task) in &config.tasks {
        if Task::named(name).is_some() {
            faults.add(&format!("tasks.{name}"), "this task is built in and cannot be redefined", None);
            continue;
        }
        let key = format!("tasks.{name}.schema");
        let schema = match &task.schema {
            None => None,
            Some(text) => match faults.parsed(&key, serde_json::from_str::<Value>(text)) {
                None => continue,
                Some(schema) => {
                    // Those that are shipped are compiled by a test, and not at every start.
                    let shipped = config::BUILT_IN.contains(text.as_str());
                    if !shipped && let Err(error) = schema::compile(&schema) {
                        faults.add(&key, format!("this is not a JSON schema: {error}"), None);
                    }
                    Some(Arc::new(schema))
                }
            },
        };
        presets.insert(name.clone(), TaskPreset { prompt: task.prompt.clone(), schema });
    }
    presets
}

/// Every name that the configuration mentions must mean something.
fn check_names(roster: &Roster, presets: &Presets, faults: &mut Faults<'_>) {
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
fn check_bounds(config: &Config, faults: &mut Faults<'_>) {
    let times = [
        ("cache.ttl", config.cache.ttl),
        ("deadline.total", config.deadline.total),
        ("deadline.attempt", config.deadline.attempt),
        ("deadline.first_byte", config.deadline.first_byte),
        ("deadline.idle", config.deadline.idle),
        ("breaker.open", config.breaker.open),
        ("breaker.longest", config.breaker.longest),
        ("retry.longest_wait", config.retry.longest_wait),
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

fn check_surfaces(config: &Config, faults: &mut Faults<'_>) {
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
    for root in &config.intake.roots {
        if !root.is_absolute() {
            faults.add("intake.roots", format!("{} is not an absolute path", root.display()), None);
        } else if !root.is_dir() {
            faults.add("intake.roots", format!("there is no folder {}", root.display()), None);
        }
    }
}

fn intake_settings(config: &Config) -> intake::Settings {
    let home = std::env::home_dir();
    let working_directory = std::env::current_dir().ok();
    let configured: Vec<Root> = config.intake.roots.iter().flat_map(|root| spellings(root, Hidden::Allowed)).collect();
    let roots = |roots| Roots { working_directory: working_directory.clone(), home: home.clone(), roots };
    let usual = || {
        let own = [working_directory.clone(), home.clone()].into_iter().flatten();
        let own = own.filter(|folder| is_somebodys(folder, home.as_ref()));
        own.flat_map(|root| spellings(&root, Hidden::Refused)).collect()
    };
    intake::Settings {
        max_bytes: usize::try_from(config.intake.max_bytes.0).unwrap_or(usize::MAX),
        max_pixels: config.intake.max_pixels,
        networks: if config.intake.allow_private_networks { Networks::PrivateToo } else { Networks::PublicOnly },
        stdio_roots: roots(if configured.is_empty() { usual() } else { configured.clone() }),
        http_roots: roots(configured),
        home: home.clone(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Desktop programs start servers in `/`: a folder that holds everybody's homes is no place to open up.
fn is_somebodys(folder: &std::path::Path, home: Option<&PathBuf>) -> bool {
    folder.parent().is_some() && home.is_none_or(|home| !home.starts_with(folder) || home == folder)
}

/// A folder under its real name and under the one that was given: callers may use either.
fn spellings(folder: &std::path::Path, hidden: Hidden) -> Vec<Root> {
    let real = folder.canonicalize().ok().filter(|real| real != folder);
    [Some(folder.to_owned()), real].into_iter().flatten().map(|path| Root { path, hidden }).collect()
}
