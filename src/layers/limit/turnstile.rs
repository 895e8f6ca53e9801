//! The turns of one provider: how many there are at once and in a minute, and who waits for one. It outlives a reload, so
//! that nobody gets more by changing something else.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use vision_providers::error::{Error, ErrorKind};
use vision_providers::request::{Caller, ModelId};

use super::Settings;
use super::gate::{self, Gate};
use crate::shares::Shares;

/// Of the calls of a minute, this part may begin at once.
const BURST: u32 = 6;
/// Callers choose models by name, so the names must not fill memory.
const MOST_GATES: usize = 256;

/// The turns of one provider.
pub struct Turnstile {
    turns: Arc<Semaphore>,
    most: usize,
    /// Of models whose vendor complained: they get fewer turns, and take none from the others.
    gates: Mutex<HashMap<ModelId, Arc<Gate>>>,
    /// Of callers: none who is known takes all turns, so that nobody waits for one who asks much.
    shares: Shares,
    rate: Option<RateLimiter<NotKeyed, InMemoryState, Now>>,
    waiting: AtomicUsize,
    queue: usize,
}

impl Turnstile {
    /// With all of its turns free.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let quota = |calls: NonZeroU32| {
            let burst = NonZeroU32::new(calls.get() / BURST).unwrap_or(NonZeroU32::MIN);
            RateLimiter::direct_with_clock(Quota::per_minute(calls).allow_burst(burst), Now)
        };
        let most = settings.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            turns: Arc::new(Semaphore::new(most)),
            most,
            gates: Mutex::default(),
            shares: Shares::new(most),
            rate: settings.requests_per_minute.map(quota),
            waiting: AtomicUsize::new(0),
            queue: settings.queue,
        }
    }

    fn gates(&self) -> MutexGuard<'_, HashMap<ModelId, Arc<Gate>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate(&self, model: &ModelId) -> Option<Arc<Gate>> {
        self.gates().get(model).cloned()
    }

    /// A turn for this model and caller, if there is one.
    pub(super) fn free(&self, model: &ModelId, caller: &Caller) -> Option<Turn> {
        let share = match self.shares.of(caller) {
            Some(share) => Some(share.try_acquire_owned().ok()?),
            None => None,
        };
        let gate = match self.gate(model) {
            Some(gate) => Some(gate.free()?),
            None => None,
        };
        let permit = Arc::clone(&self.turns).try_acquire_owned().ok()?;
        Some(Turn { _permit: permit, _gate: gate, _share: share })
    }

    /// The next turn for this model and caller. Those who have their share wait for their own turns, and not before others.
    pub(super) async fn next(&self, model: &ModelId, caller: &Caller) -> Turn {
        let share = match self.shares.of(caller) {
            Some(share) => share.acquire_owned().await.ok(),
            None => None,
        };
        let gate = match self.gate(model) {
            Some(gate) => Some(gate.next().await),
            None => None,
        };
        match Arc::clone(&self.turns).acquire_owned().await {
            Ok(permit) => Turn { _permit: permit, _gate: gate, _share: share },
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// How many are waiting for each turn that there is.
    pub(super) fn crowd(&self, model: &ModelId) -> usize {
        let open = self.gate(model).map_or(self.most, |gate| gate.open().min(self.most));
        self.waiting.load(Ordering::Relaxed) / open.max(1)
    }

    /// A place in the queue, if there is one.
    pub(super) fn place(&self) -> Option<Place<'_>> {
        let taken = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.waiting);
        (taken < self.queue).then_some(place)
    }

    /// How long to wait for the operator's own limit; `None` when a call may begin, which is then counted.
    pub(super) fn pause(&self) -> Option<Duration> {
        let not_until = self.rate.as_ref()?.check().err()?;
        Some(not_until.wait_time_from(Now.now()))
    }

    /// Learns how a call to this model went.
    pub(super) fn heard(&self, model: &ModelId, outcome: Result<(), &Error>) {
        match outcome {
            Ok(()) => self.widen(model),
            Err(error) if error.kind() == ErrorKind::RateLimited => self.narrow(model),
            Err(_) => {}
        }
    }

    /// The vendor complained about too many calls to this model.
    fn narrow(&self, model: &ModelId) {
        let mut gates = self.gates();
        if gates.len() >= MOST_GATES && !gates.contains_key(model) {
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        }
        if gates.len() < MOST_GATES || gates.contains_key(model) {
            gates.entry(model.clone()).or_insert_with(|| Arc::new(Gate::new(self.most))).narrow();
        }
    }

    /// It was content with a call to this model.
    fn widen(&self, model: &ModelId) {
        let mut gates = self.gates();
        if gates.get(model).is_some_and(|gate| gate.widen()) {
            gates.remove(model);
        }
    }
}

impl std::fmt::Debug for Turnstile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Turnstile({} of {})", self.turns.available_permits(), self.most)
    }
}

/// The right to make one call, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    _gate: Option<gate::Turn>,
    _share: Option<OwnedSemaphorePermit>,
}

/// A place in the queue, given back when dropped.
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The clock of the runtime, which tests can stop.
#[derive(Debug, Clone, Copy)]
struct Now;

#[expect(clippy::disallowed_types, reason = "it comes from the runtime's clock, which can be paused")]
impl Clock for Now {
    type Instant = std::time::Instant;

    fn now(&self) -> Self::Instant {
        Instant::now().into_std()
    }
}
