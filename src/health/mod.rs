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

use self::breaker::Breaker;
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
}

impl Default for Settings {
    fn default() -> Self {
        Self { failures: 5, open: Duration::from_secs(5), longest: Duration::from_secs(20) }
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
/// A limit that does not say how long it lasts is respected for so long.
const SHORTEST_HOLD: Duration = Duration::from_millis(500);

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
        }
    }

    fn kind(self) -> ErrorKind {
        match self {
            Self::Failing => ErrorKind::Unavailable,
            Self::Throttled => ErrorKind::RateLimited,
            Self::OutOfCredit => ErrorKind::OutOfCredit,
            Self::Unauthorized => ErrorKind::Unauthorized,
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
    settings: breaker::Settings,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What concerns the account, and so all of its models: the key and the credit.
    account: Breaker,
    account_cause: Cause,
    /// Until when the vendor wants to be left alone.
    held_until: Option<Instant>,
    /// Calls that the vendor still takes until a time, by its own account.
    window: Option<(u64, Instant)>,
    models: HashMap<ModelId, Model>,
    last_error: Option<LastError>,
}

#[derive(Debug)]
struct Model {
    breaker: Breaker,
    latencies: Latencies,
    /// Calls in the air.
    calls: u32,
    last_used: Instant,
}

impl Model {
    fn new(now: Instant) -> Self {
        Self { breaker: Breaker::new(now), latencies: Latencies::default(), calls: 0, last_used: now }
    }
}

impl Health {
    /// Of a provider that nobody has asked yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { failures, open, longest } = settings;
        let state = State {
            account: Breaker::new(Instant::now()),
            account_cause: Cause::Unauthorized,
            held_until: None,
            window: None,
            models: HashMap::new(),
            last_error: None,
        };
        Self { settings: breaker::Settings { failures, open, longest }, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this model is not asked now, if it is not. One that wants a little patience may be asked, and waited for.
    #[must_use]
    pub fn rest(&self, model: &ModelId) -> Option<Rest> {
        let now = Instant::now();
        let state = self.state();
        let account = state.account.rest(now).map(|left| Rest { cause: state.account_cause, left });
        let failing = || {
            let left = state.models.get(model)?.breaker.rest(now)?;
            Some(Rest { cause: Cause::Failing, left })
        };
        account.or_else(failing).or_else(|| state.hold(now))
    }

    /// How long the vendor wants to be left alone.
    #[must_use]
    pub fn hold(&self) -> Option<Rest> {
        self.state().hold(Instant::now())
    }

    /// Takes one of the calls that the vendor still takes, as far as it said how many those are.
    ///
    /// # Errors
    /// How long to wait, when it takes none now.
    pub fn start(&self) -> Result<(), Rest> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(rest) = state.hold(now) {
            return Err(rest);
        }
        match &mut state.window {
            Some((left, until)) if now < *until && *left == 0 => {
                let until = *until;
                state.hold_until(until);
                Err(Rest { cause: Cause::Throttled, left: until - now })
            }
            Some((left, until)) if now < *until => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes the right to call this model.
    ///
    /// # Errors
    /// Why it is not to be called now.
    pub fn admit(self: &Arc<Self>, model: &ModelId) -> Result<Pass, Rest> {
        let now = Instant::now();
        let mut state = self.state();
        let cause = state.account_cause;
        state.account.admit(now).map_err(|left| Rest { cause, left })?;
        let admitted = state.model(model, now).breaker.admit(now);
        if let Err(left) = admitted {
            state.account.abandoned(now);
            return Err(Rest { cause: Cause::Failing, left });
        }
        state.model(model, now).calls += 1;
        drop(state);
        Ok(Pass { health: Arc::clone(self), model: model.clone(), began: now, settled: false })
    }

    /// The mean latency of late, in which old calls fade.
    #[must_use]
    pub fn mean_latency(&self, model: &ModelId) -> Option<Duration> {
        let now = Instant::now();
        self.state().models.get(model).and_then(|model| model.latencies.mean(now))
    }

    /// What 19 of 20 calls of late were quicker than.
    #[must_use]
    pub fn usual_worst(&self, model: &ModelId) -> Option<Duration> {
        let now = Instant::now();
        self.state().models.get(model).and_then(|model| model.latencies.usual_worst(now))
    }

    /// Whether a call to this model is in the air.
    #[must_use]
    pub fn is_being_asked(&self, model: &ModelId) -> bool {
        self.state().models.get(model).is_some_and(|model| model.calls > 0)
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

    fn settle(&self, model: &ModelId, began: Instant, outcome: Result<Option<Allowance>, &Error>) {
        let now = Instant::now();
        let mut state = self.state();
        let allowance = match outcome {
            Ok(allowance) => allowance,
            Err(error) => error.allowance(),
        };
        if let Some(allowance) = allowance {
            state.allow(now, allowance);
        }
        match outcome {
            Ok(_) => state.answered(model, now, now - began),
            Err(error) => {
                state.failed(model, now, began, error, self.settings);
                state.last_error = Some(LastError { model: model.clone(), kind: error.kind(), at: now });
            }
        }
    }
}

impl State {
    fn model(&mut self, model: &ModelId, now: Instant) -> &mut Model {
        if self.models.len() >= MOST_MODELS && !self.models.contains_key(model) {
            let oldest = self.models.iter().min_by_key(|(_, model)| model.last_used).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| self.models.remove(&oldest));
        }
        let model = self.models.entry(model.clone()).or_insert_with(|| Model::new(now));
        model.last_used = now;
        model
    }

    fn hold(&self, now: Instant) -> Option<Rest> {
        let left = self.held_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(Rest { cause: Cause::Throttled, left })
    }

    fn hold_until(&mut self, until: Instant) {
        self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
    }

    fn allow(&mut self, now: Instant, Allowance { calls, renewed_in }: Allowance) {
        let until = now + renewed_in;
        self.window = Some((calls, until));
    }

    fn answered(&mut self, model: &ModelId, now: Instant, latency: Duration) {
        self.account.succeeded(now);
        let model = self.model(model, now);
        model.breaker.succeeded(now);
        model.latencies.add(now, latency);
    }

    fn failed(&mut self, model: &ModelId, now: Instant, began: Instant, error: &Error, settings: breaker::Settings) {
        let hint = match error.retry_verdict() {
            Retry::Later(hint) | Retry::Spent(hint) => hint,
            Retry::Never | Retry::Once => None,
        };
        let about_the_account = match error.kind() {
            ErrorKind::Unauthorized => Some((Cause::Unauthorized, UNAUTHORIZED)),
            ErrorKind::OutOfCredit => Some((Cause::OutOfCredit, OUT_OF_CREDIT)),
            _ => None,
        };
        if let Some((cause, settings)) = about_the_account {
            self.account_cause = cause;
            match hint {
                Some(hint) => self.account.trip(now, hint),
                None => self.account.failed(now, settings),
            }
            self.model(model, now).breaker.abandoned(now);
            return;
        }
        self.account.abandoned(now);
        let model = self.model(model, now);
        match error.kind() {
            ErrorKind::RateLimited => {
                model.breaker.abandoned(now);
                self.hold_until(now + hint.unwrap_or(SHORTEST_HOLD));
            }
            ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::Garbled | ErrorKind::Empty => {
                model.breaker.failed(now, settings);
                // One that hangs is not quick.
                if error.kind() == ErrorKind::TimedOut {
                    model.latencies.add(now, now - began);
                }
            }
            // Somebody else is at fault, which says nothing about the backend.
            _ => model.breaker.abandoned(now),
        }
    }
}

/// The right to make one call. Dropped without a word, it leaves everything as it was.
#[derive(Debug)]
pub struct Pass {
    health: Arc<Health>,
    model: ModelId,
    began: Instant,
    settled: bool,
}

impl Pass {
    /// Says how the call ended.
    pub fn settle(mut self, outcome: Result<Option<Allowance>, &Error>) {
        self.settled = true;
        self.health.settle(&self.model, self.began, outcome);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut state = self.health.state();
        let model = state.model(&self.model, now);
        model.calls = model.calls.saturating_sub(1);
        if !self.settled {
            model.breaker.abandoned(now);
            state.account.abandoned(now);
        }
    }
}
