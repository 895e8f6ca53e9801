//! The issuer's keys between two looks at what it publishes: when to look again, and what counts meanwhile.
//!
//! However many ask, one look is on its way at a time. It is a task of its own, so callers who leave neither end nor repeat
//! it. Keys that are about to be too old are renewed in passing; once they are too old, callers wait for younger ones, but
//! while the issuer cannot be reached the old ones go on counting for a day. Who sends tokens with made-up keys makes us
//! look once in half a minute, and keeps nobody else waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::issuer::{Fetched, Issuer};
use super::keys::KeySet;
use crate::supervisor::Supervisor;

/// Between the beginnings of two looks.
const PAUSE: Duration = Duration::from_secs(30);
/// The same while there are no keys at all: an issuer that starts after us is found soon.
const PAUSE_WITHOUT: Duration = Duration::from_secs(5);
/// For so long after a look that failed, nobody waits for the next one who has old keys.
const FAILED_LATELY: Duration = Duration::from_mins(1);
/// For so long keys count that are too old, while there are no younger ones to be had.
const STALE: Duration = Duration::from_hours(24);

/// The keys of one issuer. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Keyring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    issuer: Issuer,
    supervisor: Supervisor,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    /// When the last look began.
    begun: Option<Instant>,
    /// When the last look failed, unless it did not.
    failed: Option<Instant>,
    /// Closed when the last look is over, however it ended.
    flight: Option<Flight>,
}

type Flight = watch::Receiver<()>;

#[derive(Debug, Clone)]
struct Held {
    keys: Arc<KeySet>,
    /// From when on younger keys are looked for in passing.
    ripe: Instant,
    /// From when on they are waited for.
    due: Instant,
    /// From when on these do not count any more.
    ends: Instant,
}

/// What there is beyond keys that did not do.
pub(super) enum Younger {
    Keys(Arc<KeySet>),
    /// The issuer was asked just now, and has no others.
    None,
    /// The issuer cannot be asked.
    Unreachable,
}

impl Keyring {
    pub(super) fn new(issuer: Issuer, supervisor: Supervisor) -> Self {
        Self(Arc::new(Inner { issuer, supervisor, state: Mutex::default() }))
    }

    /// The keys that count now; none when there are none to be had before the deadline.
    pub(super) async fn current(&self, deadline: Instant) -> Option<Arc<KeySet>> {
        if let Some(flight) = self.must_wait() {
            landed(flight, deadline).await;
        }
        let held = self.lock().held.clone();
        held.filter(|held| Instant::now() < held.ends).map(|held| held.keys)
    }

    /// Keys other than these, which the issuer is asked for unless it was just now.
    pub(super) async fn younger(&self, than: &Arc<KeySet>, deadline: Instant) -> Younger {
        let flight = {
            let mut state = self.lock();
            match state.other(than) {
                Some(keys) => return Younger::Keys(keys),
                None => self.look(&mut state, PAUSE),
            }
        };
        let in_time = match flight {
            Some(flight) => landed(flight, deadline).await,
            None => true,
        };
        let state = self.lock();
        match state.other(than) {
            Some(keys) => Younger::Keys(keys),
            None if in_time && !state.has_failed_lately() => Younger::None,
            None => Younger::Unreachable,
        }
    }

    /// The look to wait for before keys are used, if any. Starts one when it is time.
    fn must_wait(&self) -> Option<Flight> {
        let now = Instant::now();
        let mut state = self.lock();
        let Some(held) = state.held.clone().filter(|held| now < held.ends) else {
            return self.look(&mut state, PAUSE_WITHOUT);
        };
        if now < held.ripe {
            return None;
        }
        let flight = self.look(&mut state, PAUSE);
        flight.filter(|_| now >= held.due && !state.has_failed_lately())
    }

    /// The look that is on its way, or a new one if the last began long enough ago.
    fn look(&self, state: &mut State, pause: Duration) -> Option<Flight> {
        let now = Instant::now();
        if let Some(flight) = state.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Some(flight.clone());
        }
        if state.begun.is_some_and(|begun| now < begun + pause) {
            return None;
        }
        let (landing, flight) = watch::channel(());
        (state.begun, state.flight) = (Some(now), Some(flight.clone()));
        let ring = self.clone();
        self.0.supervisor.spawn("issuer keys", async move {
            // Let go of last, and also when the task is cut off: that is what those who wait are waiting for.
            let _landing = landing;
            tokio::select! {
                () = ring.0.supervisor.stopping().cancelled() => {}
                outcome = ring.0.issuer.keys() => ring.land(outcome),
            }
        });
        Some(flight)
    }

    fn land(&self, outcome: Result<Fetched, String>) {
        let now = Instant::now();
        let mut state = self.lock();
        match outcome {
            Ok(Fetched { keys, lifetime }) => {
                if keys.is_empty() {
                    warn!("the issuer publishes no key that can be used, so nobody gets in by its tokens");
                }
                if state.failed.is_some() {
                    info!("the issuer's keys can be had again");
                }
                let (ripe, due) = (now + lifetime * 3 / 4, now + lifetime);
                state.held = Some(Held { keys: Arc::new(keys), ripe, due, ends: due + STALE });
                state.failed = None;
            }
            Err(error) => {
                let has_others = state.held.as_ref().is_some_and(|held| now < held.ends);
                warn!(error, has_others, "fetching the issuer's keys failed");
                state.failed = Some(now);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn other(&self, than: &Arc<KeySet>) -> Option<Arc<KeySet>> {
        self.held.as_ref().map(|held| &held.keys).filter(|keys| !Arc::ptr_eq(keys, than)).cloned()
    }

    fn has_failed_lately(&self) -> bool {
        self.failed.is_some_and(|failed| Instant::now() < failed + FAILED_LATELY)
    }
}

/// Waits until a look is over; false when it is not before the deadline.
async fn landed(mut flight: Flight, deadline: Instant) -> bool {
    // Nothing is ever sent: the channel closes.
    timeout_at(deadline, flight.changed()).await.is_ok()
}
