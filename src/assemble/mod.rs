//! From a configuration to a gateway. The order of layers is written here, and nowhere else.

mod callers;
mod checks;
mod folders;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::{Host, Url};
use vision_providers::adapters::{self, local};
use vision_providers::catalog::{Catalog, Preset, WireKind};
use vision_providers::http::{Auth, Patience, VendorHttp};
use vision_providers::provider::Provider;
use vision_providers::request::{ModelId, Task};

use self::checks::Faults;
use crate::access::{Access, Bearers};
use crate::config::{self, Config, Fault, FoundKey, Loaded, ProviderConfig};
use crate::gateway::{Gateway, Settings};
use crate::health::Health;
use crate::intake::fetch::Networks;
use crate::intake::uploads::{self, Uploads};
use crate::intake::{self, Intake};
use crate::layers::breaker::Guarded;
use crate::layers::cache::{Cached, Memory};
use crate::layers::limit::{Limited, Turnstile};
use crate::layers::observe::Observed;
use crate::layers::retry::Retrying;
use crate::layers::trace::Traced;
use crate::layers::validate::Validated;
use crate::layers::{cache, retry};
use crate::metrics::Metrics;
use crate::rights::Pace;
use crate::router::roster::{Backend, KeyState, Origin, Roster};
use crate::router::rules::Rule;
use crate::schema;
use crate::spans::Vendor;
use crate::store::disk::{self, Disk};
use crate::supervisor::Supervisor;
use crate::tasks::{Preset as TaskPreset, Presets};

/// Builds gateways, one after the other, and keeps what outlives a reload: connections, answers, and whatever is known
/// of providers whose settings stay the same.
#[derive(Debug)]
pub struct Workshop {
    supervisor: Supervisor,
    pub metrics: Metrics,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    http: Option<Part<VendorHttp>>,
    memory: Option<Part<Memory>>,
    intake: Option<Part<Arc<Intake>>>,
    uploads: Option<Part<Arc<Uploads>>>,
    paces: BTreeMap<String, Part<Arc<Pace>>>,
    bearers: Option<Part<Arc<Bearers>>>,
    upkeep: BTreeMap<String, Part<Upkeep>>,
    stacks: BTreeMap<String, Part<Provider>>,
}

/// A part, and what it was made for.
#[derive(Debug, Clone)]
struct Part<T> {
    made_for: blake3::Hash,
    part: T,
}

/// What is known of a provider and what it may be asked: it stays for as long as the provider is the same one, whatever
/// else is changed about asking it.
#[derive(Debug, Clone)]
struct Upkeep {
    health: Arc<Health>,
    turnstile: Arc<Turnstile>,
}

/// The part there is, if it was made for the same, else a new one.
fn kept<T: Clone>(old: Option<&Part<T>>, settings: &str, make: impl FnOnce() -> T) -> Part<T> {
    // A digest, because settings may hold secrets.
    let made_for = blake3::hash(settings.as_bytes());
    old.filter(|old| old.made_for == made_for).cloned().unwrap_or_else(|| Part { made_for, part: make() })
}

/// Builds the gateway that a configuration describes.
///
/// # Errors
/// As [`Workshop::gateway`].
pub fn gateway(loaded: &Loaded, supervisor: &Supervisor) -> Result<Gateway, Vec<Fault>> {
    Workshop::new(supervisor.clone()).gateway(loaded)
}

impl Workshop {
    /// With nothing in it yet.
    #[must_use]
    pub fn new(supervisor: Supervisor) -> Self {
        Self { supervisor, metrics: Metrics::default(), kept: Mutex::default() }
    }

    /// Builds the gateway that a configuration describes. What cannot be built changes nothing.
    ///
    /// # Errors
    /// Every fault of meaning: unknown kinds and models, addresses that are none, schemas that are none.
    pub fn gateway(&self, loaded: &Loaded) -> Result<Gateway, Vec<Fault>> {
        self.build(loaded).map(|(gateway, _)| gateway)
    }

    /// Builds the gateway that a configuration describes, and says whom HTTP lets in.
    ///
    /// # Errors
    /// As [`Self::gateway`].
    pub fn build(&self, loaded: &Loaded) -> Result<(Gateway, Access), Vec<Fault>> {
        let mut faults = Faults { loaded, found: loaded.faults.clone() };
        let config = &loaded.config;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (backends, mut new) = self.backends(&kept, config, &mut faults);
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
        checks::check_names(&roster, &presets, &mut faults);
        let access = Access {
            keyring: callers::keyring(&mut new, config, &roster, &mut faults),
            oauth: callers::bearers(&mut new, config, &roster, &self.supervisor, &mut faults),
        };
        checks::check_surfaces(config, &mut faults);
        checks::check_bounds(config, &mut faults);
        if !faults.found.is_empty() {
            return Err(faults.found);
        }
        let settings = Settings {
            total: config.deadline.total.0,
            max_output_tokens: config.request.max_output_tokens,
            retries: config.retry.attempts.saturating_sub(1),
            most_compared: config.compare.max_models,
        };
        let is_same =
            kept.memory.as_ref().zip(new.memory.as_ref()).is_some_and(|(old, new)| old.made_for == new.made_for);
        if let Some(memory) = new.memory.as_ref().filter(|_| !is_same) {
            memory.part.tidy();
        }
        *kept = new;
        let config::UploadsConfig { capacity, ttl } = &config.uploads;
        let uploads = uploads::Settings { capacity: capacity.0, ttl: ttl.0 };
        let uploads = self::kept(kept.uploads.as_ref(), &format!("{uploads:?}"), || Arc::new(Uploads::new(uploads)));
        let intake = intake_settings(config);
        let made_for = format!("{intake:?} {}", uploads.made_for);
        let intake =
            self::kept(kept.intake.as_ref(), &made_for, || Arc::new(Intake::new(intake, Arc::clone(&uploads.part))));
        kept.uploads = Some(uploads);
        kept.intake = Some(intake.clone());
        Ok((Gateway { roster, intake: intake.part, presets, settings, metrics: self.metrics.clone() }, access))
    }

    #[expect(clippy::expect_used, reason = "it says why it cannot happen")]
    fn backends(&self, old: &Kept, config: &Config, faults: &mut Faults<'_>) -> (BTreeMap<String, Backend>, Kept) {
        let catalog = Catalog::built_in().expect("a test reads the built-in catalog");
        let proxy = config.http.proxy.as_deref().and_then(|proxy| faults.parsed("http.proxy", Url::parse(proxy)));
        let http = kept(old.http.as_ref(), &format!("{proxy:?}"), || VendorHttp::new(proxy));
        let disk = disk_settings(config, faults);
        let memory = kept(old.memory.as_ref(), &format!("{:?}", config.cache), || self.memory(config, disk));
        let (mut backends, mut upkeeps, mut stacks) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (name, own) in &config.providers {
            let key = format!("providers.{name}");
            let Some(preset) = catalog.preset(&own.kind) else {
                let message = match own.kind.as_str() {
                    "" => "the key `kind` is missing".to_owned(),
                    wrong => format!("there is no kind called `{wrong}`"),
                };
                faults.add(&format!("{key}.kind"), message, Some(kinds(&catalog, &own.kind)));
                continue;
            };
            let found = config::find_key(own.key.as_ref(), preset.key_env.as_deref());
            let Some(settings) = settings(name, own, config, &found, faults) else { continue };
            let adapter = match adapters::build(preset, settings, &http.part) {
                Ok(adapter) => adapter,
                Err(message) => {
                    faults.add(&key, message, None);
                    continue;
                }
            };
            let upkeep = upkeep(old.upkeep.get(name), own, config, &found);
            let Config { retry, deadline, .. } = config;
            let made_for = format!(
                "{own:?} {} {retry:?} {deadline:?} {} {} {}",
                found.exposed(),
                http.made_for,
                memory.made_for,
                upkeep.made_for
            );
            let stack = kept(old.stacks.get(name), &made_for, || {
                let vendor = vendor(own, preset);
                self.layered(adapter, own, vendor, config, &upkeep.part, &memory.part)
            });
            let (provider, health) = (Provider::clone(&stack.part), Arc::clone(&upkeep.part.health));
            upkeeps.insert(name.clone(), upkeep);
            stacks.insert(name.clone(), stack);
            let (kind, key, origin) = (preset.kind.clone(), key_state(found), origin(faults.loaded, name));
            let tags = tags(own, preset);
            backends.insert(
                name.clone(),
                Backend { provider, kind, key, origin, health, tags, elsewhere: preset.elsewhere.clone() },
            );
        }
        let (intake, uploads, paces) = (old.intake.clone(), old.uploads.clone(), old.paces.clone());
        let (http, memory, bearers) = (Some(http), Some(memory), old.bearers.clone());
        (backends, Kept { http, memory, intake, uploads, paces, bearers, upkeep: upkeeps, stacks })
    }

    /// The layers around an adapter, from the inside out.
    fn layered(
        &self,
        adapter: Provider,
        own: &ProviderConfig,
        vendor: Vendor,
        config: &Config,
        upkeep: &Upkeep,
        memory: &Memory,
    ) -> Provider {
        let longest_wait = config.retry.longest_wait.0;
        let attempt = own.deadline.attempt.unwrap_or(config.deadline.attempt).0;
        let retry = retry::Settings { attempts: config.retry.attempts, attempt, longest_wait };
        let Upkeep { health, turnstile } = upkeep.clone();
        let metrics = || self.metrics.clone();
        // Innermost, so that whoever waited for a turn learns what became of those before.
        let provider: Provider = Arc::new(Guarded::new(adapter, Arc::clone(&health), metrics()));
        // Every try takes a turn, so that tries cannot exceed the bound either.
        let provider = Arc::new(Limited::new(provider, health, turnstile, longest_wait, metrics()));
        let provider = Arc::new(Retrying::new(provider, retry));
        // Outside of retry: an answer out of form was paid for, and the same question would be paid for again.
        let provider = Arc::new(Validated::new(provider));
        // Outside of everything that is done for one question, and inside of what answers without asking.
        let provider = Arc::new(Traced::new(provider, vendor));
        // Outside of validation: only answers in form are remembered.
        let supervisor = self.supervisor.clone();
        let provider = Arc::new(Cached::new(provider, identity(own), memory.clone(), supervisor, metrics()));
        // Outermost, so that it sees remembered answers too.
        Arc::new(Observed::new(provider))
    }

    fn memory(&self, config: &Config, disk: Option<disk::Settings>) -> Memory {
        let settings = cache::Settings { capacity: config.cache.capacity.0, ttl: config.cache.ttl.0 };
        Memory::new(settings, disk.map(|settings| Disk::open(settings, &self.supervisor)))
    }
}

/// What makes a backend the one that it is. Its key may change, and so may the time that it is given.
fn identity(own: &ProviderConfig) -> cache::Key {
    let ProviderConfig { kind, base_url, headers, quirks, extra_body, languages, program, .. } = own;
    let settings = format!("{kind} {base_url:?} {headers:?} {quirks:?} {extra_body:?} {languages:?} {program:?}");
    *blake3::hash(settings.as_bytes()).as_bytes()
}

/// What is known of a provider, if it is still the same one.
fn upkeep(old: Option<&Part<Upkeep>>, own: &ProviderConfig, config: &Config, key: &FoundKey) -> Part<Upkeep> {
    let (limit, attempt) =
        (own.limit.unwrap_or(config.limit), own.deadline.attempt.unwrap_or(config.deadline.attempt).0);
    let (kind, base_url, breaker) = (&own.kind, &own.base_url, &config.breaker);
    let made_for = format!("{kind} {base_url:?} {} {limit:?} {breaker:?}", key.exposed());
    kept(old, &made_for, || Upkeep {
        health: Arc::new(Health::new(breaker.settings(attempt))),
        turnstile: Arc::new(Turnstile::new(limit)),
    })
}

fn disk_settings(config: &Config, faults: &mut Faults<'_>) -> Option<disk::Settings> {
    let disk = config.cache.disk.as_ref()?;
    if !disk.path.is_absolute() {
        faults.add("cache.disk.path", format!("{} is not an absolute path", disk.path.display()), None);
    }
    Some(disk::Settings { folder: disk.path.clone(), capacity: disk.capacity.0, ttl: config.cache.ttl.0 })
}

/// What routes can demand of a provider: the operator's words, and whether it is on this machine.
fn tags(provider: &ProviderConfig, preset: &Preset) -> Vec<String> {
    let base_url = base_url(provider, preset);
    let is_here = preset.wire == WireKind::Local || base_url.as_ref().is_some_and(is_loopback);
    let mut tags = provider.tags.clone();
    tags.extend(is_here.then(|| Rule::LOCAL.to_owned()));
    tags
}

fn base_url(provider: &ProviderConfig, preset: &Preset) -> Option<Url> {
    provider.base_url.as_deref().and_then(|url| Url::parse(url).ok()).or_else(|| preset.base_url.clone())
}

/// How traces call a provider.
fn vendor(provider: &ProviderConfig, preset: &Preset) -> Vendor {
    let server = base_url(provider, preset);
    let server = server.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
    Vendor { name: preset.trace_name.clone(), server }
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
    let near = config::nearest(catalog.kinds(), wrong, 3).filter(|_| !wrong.is_empty());
    near.map_or_else(all, |near| format!("did you mean `{near}`?"))
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

fn intake_settings(config: &Config) -> intake::Settings {
    let roots = folders::roots(&config.intake);
    intake::Settings {
        max_bytes: usize::try_from(config.intake.max_bytes.0).unwrap_or(usize::MAX),
        max_pixels: config.intake.max_pixels,
        networks: if config.intake.allow_private_networks { Networks::PrivateToo } else { Networks::PublicOnly },
        stdio_roots: if roots.is_empty() { folders::usual_roots() } else { roots.clone() },
        http_roots: roots,
        machine: folders::machine(),
        clipboard: config.intake.clipboard,
        latest: folders::latest(&config.intake),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    }
}
