//! How many calls may run at once: as many as the operator says, or fewer since the provider complained.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// A provider that complained is not asked for more at once before it was content for so long.
const CONTENT: Duration = Duration::from_secs(5);
/// From then on, this often.
const GROWTH: Duration = Duration::from_secs(2);
/// Complaints within this time are about the same burst of calls.
const ONE_BURST: Duration = Duration::from_secs(1);
/// The turns that there are at once: all of them, or fewer since the provider complained.
#[derive(Debug)]
pub(super) struct Gate {
    turns: Arc<Semaphore>,
    width: Mutex<Width>,
}

#[derive(Debug)]
struct Width {
    most: usize,
    now: usize,
    /// Turns that are taken and will not come back.
    owed: usize,
    complained: Option<Instant>,
    grew: Instant,
}

impl Gate {
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let width = Width { most, now: most, owed: 0, complained: None, grew: Instant::now() };
        Self { turns: Arc::new(Semaphore::new(most)), width: Mutex::new(width) }
    }

    fn width(&self) -> std::sync::MutexGuard<'_, Width> {
        self.width.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many turns there are now.
    pub(super) fn open(&self) -> usize {
        self.width().now
    }

    /// A turn, if there is one.
    pub(super) fn free(self: &Arc<Self>) -> Option<Turn> {
        Arc::clone(&self.turns).try_acquire_owned().ok().map(|permit| self.turn(permit))
    }

    /// The next turn that there is for whoever is first in the queue.
    pub(super) async fn next(self: &Arc<Self>) -> Turn {
        match Arc::clone(&self.turns).acquire_owned().await {
            Ok(permit) => self.turn(permit),
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    fn turn(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Turn {
        Turn { gate: Arc::clone(self), permit: Some(permit) }
    }

    /// Halves what is asked at once, once for each burst of complaints.
    pub(super) fn narrow(&self) {
        let now = Instant::now();
        let mut width = self.width();
        let again = width.complained.is_none_or(|last| now.saturating_duration_since(last) >= ONE_BURST);
        width.complained = Some(now);
        if again {
            let fewer = (width.now / 2).max(1);
            let taken_away = width.now - fewer;
            width.owed += taken_away - self.turns.forget_permits(taken_away);
            width.now = fewer;
        }
    }

    /// Asks for a quarter more at once, when there were no complaints for long enough. Whether it is as wide as ever.
    pub(super) fn widen(&self) -> bool {
        let now = Instant::now();
        let mut width = self.width();
        let content = width.complained.is_none_or(|last| now.saturating_duration_since(last) >= CONTENT);
        if width.now == width.most || !content || now.saturating_duration_since(width.grew) < GROWTH {
            return width.now == width.most;
        }
        width.grew = now;
        let more = (width.now / 4 + 1).min(width.most - width.now);
        width.now += more;
        let forgiven = more.min(width.owed);
        width.owed -= forgiven;
        self.turns.add_permits(more - forgiven);
        width.now == width.most
    }
}

/// The right to make one call, given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut width = self.gate.width();
        if width.owed > 0 {
            width.owed -= 1;
            self.permit.take().into_iter().for_each(OwnedSemaphorePermit::forget);
        }
    }
}
