//! What the gateway counts: one place for every name, and labels from closed sets only.
//!
//! Labels are the operator's own names and our own words, never what a caller sent: nobody can fill the memory of a
//! monitoring system by asking for models that do not exist.

mod spend;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use vision_providers::price::MicroUsd;

use self::spend::Spend;
pub use self::spend::Today;

/// What became of one request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// `command_line`, `stdio` or `http`.
    pub door: &'static str,
    /// One of the built-in tasks.
    pub task: &'static str,
    /// `ok`, or the code of the error.
    pub outcome: &'static str,
}

/// What became of one call to a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Attempt {
    pub provider: String,
    /// `ok`, or the kind of the error.
    pub outcome: &'static str,
}

/// A label that is the operator's name for a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByProvider {
    pub provider: String,
}

/// Tokens as a vendor counts them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Tokens {
    pub provider: String,
    /// `input`, `output`, `cached` or `reasoning`; the latter two are parts of the former.
    pub direction: &'static str,
}

/// A provider, or one of its models, that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Resting {
    pub provider: String,
    /// Why: `failing`, `throttled`, `out_of_credit` or `unauthorized`.
    pub cause: &'static str,
}

/// Parts of the time that a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Fetching and recognising images.
    Open,
    /// Making images fit a model.
    Fit,
    /// Waiting for a turn at a provider.
    Queue,
    /// One call to a provider.
    Attempt,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Fit => "fit",
            Self::Queue => "queue",
            Self::Attempt => "attempt",
        }
    }
}

/// What the memory did for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    Hit,
    DiskHit,
    /// Somebody else was asking the same at the same time.
    Shared,
    Miss,
    Bypass,
}

impl Remembered {
    fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::DiskHit => "disk_hit",
            Self::Shared => "shared",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// Why something was turned away before it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    Connections,
    Requests,
    Memory,
    Bodies,
}

impl Shed {
    fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Memory => "memory",
            Self::Bodies => "bodies",
        }
    }
}

/// What is odd about an answer that was given all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    UsageMissing,
    /// Ten times more or less than was to be expected.
    UsageDoubtful,
}

impl Oddity {
    fn name(self) -> &'static str {
        match self {
            Self::UsageMissing => "usage_missing",
            Self::UsageDoubtful => "usage_doubtful",
        }
    }
}

/// How reading the configuration anew ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    Changed,
    Refused,
}

impl Reload {
    fn name(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Refused => "refused",
        }
    }
}

/// A label of one of the sets above.
macro_rules! by {
    ($name:ident, $key:ident) => {
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name {
            $key: &'static str,
        }
    };
}

by!(ByStage, stage);
by!(ByRemembered, result);
by!(ByShed, reason);
by!(ByOddity, kind);
by!(ByReload, outcome);

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// From a millisecond to a minute, each bound twice the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 17))
}

/// Everything that is counted. Clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<Request, Counter>,
    stages: Seconds<ByStage>,
    attempts: Family<Attempt, Counter>,
    attempt_seconds: Seconds<ByProvider>,
    tokens: Family<Tokens, Counter>,
    cost: Family<ByProvider, Counter<f64, AtomicU64>>,
    spend: Spend,
    cache: Family<ByRemembered, Counter>,
    resting: Family<Resting, Gauge>,
    waiting: Family<ByProvider, Gauge>,
    running: Family<ByProvider, Gauge>,
    in_flight: Gauge,
    connections: Gauge,
    shed: Family<ByShed, Counter>,
    oddities: Family<ByOddity, Counter>,
    reloads: Family<ByReload, Counter>,
    panics: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("visiongate");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program", Info::new(version));
        let mut inner = Inner {
            registry: Registry::default(),
            requests: Family::default(),
            stages: Family::new_with_constructor(seconds),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(seconds),
            tokens: Family::default(),
            cost: Family::default(),
            spend: Spend::default(),
            cache: Family::default(),
            resting: Family::default(),
            waiting: Family::default(),
            running: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            shed: Family::default(),
            oddities: Family::default(),
            reloads: Family::default(),
            panics: Counter::default(),
        };
        inner.register(&mut registry);
        inner.registry = registry;
        Self(Arc::new(inner))
    }
}

impl Inner {
    fn register(&self, registry: &mut Registry) {
        let all = &mut *registry;
        all.register("requests", "Requests that came to an end", self.requests.clone());
        all.register_with_unit("stage", "Time by part of a request", Unit::Seconds, self.stages.clone());
        all.register("attempts", "Calls to providers", self.attempts.clone());
        all.register_with_unit("attempt", "Time of calls to providers", Unit::Seconds, self.attempt_seconds.clone());
        all.register("tokens", "Tokens by the vendors' count", self.tokens.clone());
        all.register("cost_usd", "Cost of answers as far as prices are known, in US dollars", self.cost.clone());
        all.register("cache", "What the memory did for questions", self.cache.clone());
        all.register("resting", "Models that are left alone for now", self.resting.clone());
        all.register("provider_waiting", "Calls waiting for a turn at a provider", self.waiting.clone());
        all.register("provider_in_flight", "Calls to a provider in the air", self.running.clone());
        all.register("requests_in_flight", "Requests in the air", self.in_flight.clone());
        all.register("connections", "Connections of clients", self.connections.clone());
        all.register("shed", "What was turned away unread", self.shed.clone());
        all.register("oddities", "Answers that were odd and given all the same", self.oddities.clone());
        all.register("reloads", "Configurations that were read anew", self.reloads.clone());
        all.register("panics", "Faults of this program that were caught", self.panics.clone());
    }
}

impl Metrics {
    /// Everything in the text format of Prometheus and `OpenMetrics`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    /// A request came to its end.
    pub fn request(&self, request: &Request) {
        self.0.requests.get_or_create(request).inc();
    }

    /// A part of a request took so long.
    pub fn stage(&self, stage: Stage, took: Duration) {
        self.0.stages.get_or_create(&ByStage { stage: stage.name() }).observe(took.as_secs_f64());
    }

    /// A call to a provider came to its end.
    pub fn attempt(&self, provider: &str, outcome: &'static str, took: Duration) {
        let provider = provider.to_owned();
        self.0.attempts.get_or_create(&Attempt { provider: provider.clone(), outcome }).inc();
        self.0.attempt_seconds.get_or_create(&ByProvider { provider }).observe(took.as_secs_f64());
        self.stage(Stage::Attempt, took);
    }

    /// A vendor counted so many tokens.
    pub fn tokens(&self, provider: &str, direction: &'static str, tokens: u64) {
        if tokens > 0 {
            self.0.tokens.get_or_create(&Tokens { provider: provider.to_owned(), direction }).inc_by(tokens);
        }
    }

    /// Answers of a provider cost so much.
    pub fn cost(&self, provider: &str, cost: MicroUsd) {
        self.0.cost.get_or_create(&ByProvider { provider: provider.to_owned() }).inc_by(cost.dollars());
        self.0.spend.add(provider, cost);
    }

    /// What answers have cost today.
    #[must_use]
    pub fn today(&self) -> Today {
        self.0.spend.today()
    }

    /// What the memory did for a question.
    pub fn remembered(&self, result: Remembered) {
        self.0.cache.get_or_create(&ByRemembered { result: result.name() }).inc();
    }

    /// Something was turned away.
    pub fn shed(&self, reason: Shed) {
        self.0.shed.get_or_create(&ByShed { reason: reason.name() }).inc();
    }

    /// An answer was odd.
    pub fn odd(&self, kind: Oddity) {
        self.0.oddities.get_or_create(&ByOddity { kind: kind.name() }).inc();
    }

    /// The configuration was read anew.
    pub fn reload(&self, outcome: Reload) {
        self.0.reloads.get_or_create(&ByReload { outcome: outcome.name() }).inc();
    }

    /// A fault of this program was caught.
    pub fn panicked(&self) {
        self.0.panics.inc();
    }

    /// Who rests at the moment: replaces what was said before.
    pub fn resting(&self, resting: impl IntoIterator<Item = Resting>) {
        let mut counts: HashMap<Resting, i64> = HashMap::new();
        resting.into_iter().for_each(|one| *counts.entry(one).or_default() += 1);
        self.0.resting.clear();
        for (one, count) in counts {
            self.0.resting.get_or_create(&one).set(count);
        }
    }

    /// One more request in the air, until what this yields is dropped.
    #[must_use]
    pub fn in_flight(&self) -> Raised {
        Raised::new(&self.0.in_flight)
    }

    /// One more connection.
    #[must_use]
    pub fn connection(&self) -> Raised {
        Raised::new(&self.0.connections)
    }

    /// One more call that waits for its turn at a provider.
    #[must_use]
    pub fn waiting(&self, provider: &str) -> Raised {
        Raised::new(&self.0.waiting.get_or_create(&ByProvider { provider: provider.to_owned() }))
    }

    /// One more call to a provider in the air.
    #[must_use]
    pub fn running(&self, provider: &str) -> Raised {
        Raised::new(&self.0.running.get_or_create(&ByProvider { provider: provider.to_owned() }))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Metrics")
    }
}

/// A gauge that is one higher while this lives.
#[derive(Debug)]
pub struct Raised(Gauge);

impl Raised {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}
