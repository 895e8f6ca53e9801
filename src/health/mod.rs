//! The health of a provider: what its calls came to lately, and whether it may be asked now.
//!
//! Layers write it, the router reads it, surfaces show it. It calls nobody. It outlives a reload for as long as its
//! provider's settings stay the same.

mod breaker;
mod latency;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vision_providers::allowance::Allowance;
use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::request::ModelId;

use self::breaker::{Breaker, Ticket};
use self::latency::Latencies;

/// When a model is left to rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Failures in a row after which a model is not asked for a while; so is one of which half of twenty calls in ten
    /// seconds failed.
    pub failures: u32,
    /// How long it is not asked at first; doubled each time that asking again fails.
    pub open: Duration,
    /// The longest that it is not asked.
    pub longest: Duration,
    /// A call that was given less time than this is not held against it.
    pub fair: Duration,
}

impl Settings {
    fn breaker(&self) -> breaker::Settings {
        breaker::Settings { failures: self.failures, open: self.open, longest: self.longest }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            failures: 5,
            open: Duration::from_secs(5),
            longest: Duration::from_secs(20),
            fair: Duration::from_secs(10),
        }
    }
}

/// A key that was refused is tried again after this: operators mend keys without telling us.
const UNAUTHORIZED: breaker::Settings =
    breaker::Settings { failures: 1, open: Duration::from_mins(1), longest: Duration::from_mins(5) };
/// Credit that is used up is looked for again after this, when the vendor does not say when it comes back.
const OUT_OF_CREDIT: breaker::Settings =
    breaker::Settings { failures: 1, open: Duration::from_mins(5), longest: Duration::from_hours(1) };
/// Callers choose models by name, so the names must not fill memory.
const MOST_MODELS: usize = 256;
/// A limit that does not say how long it lasts is respected for so long, and twice as long each time that it is met again.
const SHORTEST_HOLD: Duration = Duration::from_millis(500);
const LONGEST_HOLD: Duration = Duration::from_secs(20);
/// While somebody else can be asked, a provider that wants patience is not waited for longer than this.
pub const BRIEFLY: Duration = Duration::from_secs(5);
/// A failure of this age says nothing about now.
const LATELY: Duration = Duration::from_mins(1);

/// Why nobody is asked for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its calls fail: the breaker is open.
    Failing,
    /// It asked for patience.
    Throttled,
    /// Its account has nothing left.
    OutOfCredit,
    /// It refuses the key.
    Unauthorized,
    /// It does not know the model.
    Unknown,
}

impl Cause {
    /// The name used in answers, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Throttled => "throttled",
            Self::OutOfCredit => "out_of_credit",
            Self::Unauthorized => "unauthorized",
            Self::Unknown => "unknown_model",
        }
    }

    fn kind(self) -> ErrorKind {
        match self {
            Self::Failing => ErrorKind::Unavailable,
            Self::Throttled => ErrorKind::RateLimited,
            Self::OutOfCredit => ErrorKind::OutOfCredit,
            Self::Unauthorized => ErrorKind::Unauthorized,
            Self::Unknown => ErrorKind::UnknownModel,
        }
    }
}

/// A time in which somebody is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    pub cause: Cause,
    pub left: Duration,
}

impl Rest {
    /// One half of a sentence about whoever rests.
    #[must_use]
    pub fn why(&self) -> String {
        let what = match self.cause {
            Cause::Failing => "its last calls failed",
            Cause::Throttled => "it asked for patience",
            Cause::OutOfCredit => "its account has no credit left",
            Cause::Unauthorized => "it refused the key",
            Cause::Unknown => "its provider did not know it",
        };
        format!("{what}, and it is asked again in {} s", self.left.as_millis().div_ceil(1000))
    }

    /// The error of a call that is not made for this reason.
    #[must_use]
    pub fn error(&self, provider: &str) -> Error {
        Error::new(self.cause.kind(), format!("{provider} was not asked: {}", self.why()))
            .retry(Retry::Spent(Some(self.left)))
    }
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    pub model: ModelId,
    pub kind: ErrorKind,
    pub at: Instant,
}

/// The health of one provider.
#[derive(Debug)]
pub struct Health {
    settings: Settings,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    models: HashMap<ModelId, Model>,
    last_error: Option<LastError>,
}

/// What is known of one model. Keys can be refused and credit can be spent for one model alone, and a caller who names a
/// model that is not ours to ask must not take the others from everybody else.
#[derive(Debug)]
struct Model {
    breaker: Breaker,
    /// Why it rests, when it does.
    cause: Cause,
    /// Until when the vendor wants to be left alone.
    held_until: Option<Instant>,
    /// Calls that the vendor still takes until a time, by its own account.
    window: Option<(u64, Instant)>,
    latencies: Latencies,
    /// Requests for patience since the last answer.
    complaints: u32,
    /// When it last failed without an answer since.
    failed: Option<Instant>,
    /// Calls in the air.
    calls: u32,
    last_used: Instant,
}

impl Model {
    fn new(now: Instant) -> Self {
        Self {
            breaker: Breaker::new(now),
            cause: Cause::Failing,
            held_until: None,
            window: None,
            latencies: Latencies::default(),
            complaints: 0,
            failed: None,
            calls: 0,
            last_used: now,
        }
    }

    fn hold(&self, now: Instant) -> Option<Rest> {
        let left = self.held_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(Rest { cause: Cause::Throttled, left })
    }

    fn rest(&self, now: Instant) -> Option<Rest> {
        let resting = self.breaker.rest(now).map(|left| Rest { cause: self.cause, left });
        resting.or_else(|| self.hold(now))
    }

    fn hold_until(&mut self, until: Instant) {
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
    }

    /// Takes one of the calls that the vendor still takes.
    fn start(&mut self, now: Instant) -> Result<(), Rest> {
        if let Some(rest) = self.hold(now) {
            return Err(rest);
        }
        match &mut self.window {
            Some((left, until)) if now < *until && *left == 0 => {
                let until = *until;
                self.hold_until(until);
                Err(Rest { cause: Cause::Throttled, left: until - now })
            }
            Some((left, until)) if now < *until => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn failed(&mut self, now: Instant, began: Instant, ticket: Ticket, error: &Error, settings: &Settings) {
        let hint = match error.retry_verdict() {
            Retry::Later(hint) | Retry::Spent(hint) => hint,
            Retry::Never | Retry::Once => None,
        };
        match error.kind() {
            ErrorKind::Unauthorized => self.rests(now, ticket, Cause::Unauthorized, hint, UNAUTHORIZED),
            ErrorKind::UnknownModel => self.rests(now, ticket, Cause::Unknown, hint, UNAUTHORIZED),
            ErrorKind::OutOfCredit => self.rests(now, ticket, Cause::OutOfCredit, hint, OUT_OF_CREDIT),
            ErrorKind::RateLimited => {
                self.breaker.abandoned(now, ticket);
                // One that never says how long is asked less and less.
                let usual = SHORTEST_HOLD.saturating_mul(1 << self.complaints.min(6)).min(LONGEST_HOLD);
                self.complaints = self.complaints.saturating_add(1);
                self.hold_until(now + hint.unwrap_or(usual));
            }
            // It was not given the time that it takes.
            ErrorKind::TimedOut if now - began < settings.fair => self.breaker.abandoned(now, ticket),
            ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::Garbled => {
                self.cause = Cause::Failing;
                self.failed = Some(now);
                self.breaker.failed(now, ticket, settings.breaker());
                match (error.kind(), hint) {
                    (ErrorKind::TimedOut, _) => self.latencies.given_up(now, now - began),
                    (_, Some(hint)) => self.hold_until(now + hint),
                    _ => {}
                }
            }
            // Somebody else is at fault, or may be: a caller can ask for an answer without words, and must not take the model
            // from everybody by it.
            _ => self.breaker.abandoned(now, ticket),
        }
    }

    /// Rests from now on, for as long as the vendor says.
    fn rests(&mut self, now: Instant, ticket: Ticket, cause: Cause, hint: Option<Duration>, usual: breaker::Settings) {
        self.cause = cause;
        match hint {
            Some(hint) => self.breaker.trip(now, ticket, hint),
            None => self.breaker.failed(now, ticket, usual),
        }
    }
}

impl Health {
    /// Of a provider that nobody has asked yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this model is not asked now, if it is not. One that wants a little patience may be asked, and waited for.
    #[must_use]
    pub fn rest(&self, model: &ModelId) -> Option<Rest> {
        self.known(model, Model::rest).flatten()
    }

    /// How long the vendor wants to be left alone about this model.
    #[must_use]
    pub fn hold(&self, model: &ModelId) -> Option<Rest> {
        self.known(model, Model::hold).flatten()
    }

    fn known<T>(&self, model: &ModelId, look: impl FnOnce(&Model, Instant) -> T) -> Option<T> {
        let now = Instant::now();
        self.state().models.get(model).map(|model| look(model, now))
    }

    /// Takes one of the calls that the vendor still takes, as far as it said how many those are.
    ///
    /// # Errors
    /// How long to wait, when it takes none now.
    pub fn start(&self, model: &ModelId) -> Result<(), Rest> {
        let now = Instant::now();
        self.state().models.get_mut(model).map_or(Ok(()), |model| model.start(now))
    }

    /// Takes the right to call this model.
    ///
    /// # Errors
    /// Why it is not to be called now.
    pub fn admit(self: &Arc<Self>, model: &ModelId) -> Result<Pass, Rest> {
        let now = Instant::now();
        let mut state = self.state();
        let known = state.model(model, now);
        let ticket = known.breaker.admit(now).map_err(|left| Rest { cause: known.cause, left })?;
        known.calls += 1;
        drop(state);
        Ok(Pass { health: Arc::clone(self), model: model.clone(), began: now, ticket, settled: false })
    }

    /// The mean latency of late, in which old calls fade.
    #[must_use]
    pub fn mean_latency(&self, model: &ModelId) -> Option<Duration> {
        self.known(model, |model, now| model.latencies.mean(now)).flatten()
    }

    /// What half of the answers of late were quicker than.
    #[must_use]
    pub fn usual_latency(&self, model: &ModelId) -> Option<Duration> {
        self.known(model, |model, now| model.latencies.usual(now)).flatten()
    }

    /// What 19 of 20 calls of late were quicker than.
    #[must_use]
    pub fn usual_worst(&self, model: &ModelId) -> Option<Duration> {
        self.known(model, |model, now| model.latencies.usual_worst(now)).flatten()
    }

    /// Whether a call to this model is in the air.
    #[must_use]
    pub fn is_being_asked(&self, model: &ModelId) -> bool {
        self.known(model, |model, _| model.calls > 0).unwrap_or(false)
    }

    /// Whether its last call failed, a short while ago.
    #[must_use]
    pub fn failed_lately(&self, model: &ModelId) -> bool {
        let lately = |failed: Instant, now: Instant| now.saturating_duration_since(failed) < LATELY;
        self.known(model, |model, now| model.failed.is_some_and(|failed| lately(failed, now))).unwrap_or(false)
    }

    /// What went wrong last.
    #[must_use]
    pub fn last_error(&self) -> Option<LastError> {
        self.state().last_error.clone()
    }

    /// The models that rest, and those that were called, by name.
    #[must_use]
    pub fn models(&self) -> Vec<ModelId> {
        let mut models: Vec<ModelId> = self.state().models.keys().cloned().collect();
        models.sort();
        models
    }

    fn settle(&self, model: &ModelId, began: Instant, ticket: Ticket, outcome: Result<Option<Allowance>, &Error>) {
        let now = Instant::now();
        let mut state = self.state();
        let known = state.model(model, now);
        let allowance = outcome.unwrap_or_else(Error::allowance);
        if let Some(Allowance { calls, renewed_in }) = allowance {
            known.window = Some((calls, now + renewed_in));
        }
        match outcome {
            Ok(_) => {
                known.breaker.succeeded(now, ticket);
                (known.complaints, known.failed) = (0, None);
                known.latencies.answered(now, now - began);
            }
            Err(error) => {
                known.failed(now, began, ticket, error, &self.settings);
                state.last_error = Some(LastError { model: model.clone(), kind: error.kind(), at: now });
            }
        }
    }
}

impl State {
    fn model(&mut self, model: &ModelId, now: Instant) -> &mut Model {
        if self.models.len() >= MOST_MODELS && !self.models.contains_key(model) {
            // Whoever rests or is being asked is remembered as long as that can be.
            let busy = |model: &Model| model.calls > 0 || model.rest(now).is_some();
            let idlest = self.models.iter().min_by_key(|(_, model)| (busy(model), model.last_used));
            idlest.map(|(name, _)| name.clone()).and_then(|idlest| self.models.remove(&idlest));
        }
        let model = self.models.entry(model.clone()).or_insert_with(|| Model::new(now));
        model.last_used = now;
        model
    }
}

/// The right to make one call. Dropped without a word, it leaves everything as it was.
#[derive(Debug)]
pub struct Pass {
    health: Arc<Health>,
    model: ModelId,
    began: Instant,
    ticket: Ticket,
    settled: bool,
}

impl Pass {
    /// Says how the call ended.
    pub fn settle(mut self, outcome: Result<Option<Allowance>, &Error>) {
        self.settled = true;
        self.health.settle(&self.model, self.began, self.ticket, outcome);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.health.state();
        let model = state.model(&self.model, now);
        model.calls = model.calls.saturating_sub(1);
        if !self.settled {
            model.breaker.abandoned(now, self.ticket);
        }
    }
}
