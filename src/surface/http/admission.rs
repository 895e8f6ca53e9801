//! Who is let in: at most so many requests at once and so many waiting, and nobody while memory runs out.
//!
//! Of both, a quarter is kept free of any one caller with a key, so that one who asks much is told to come back, and not
//! everybody else.
//!
//! It is asked before a body is read, and gives the turn when the body is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::time::{interval, timeout};
use tracing::{info, warn};
use vision_providers::request::Caller;

use crate::metrics::{Metrics, Shed};
use crate::shares::{Held, Pool};

/// Longer than this nobody waits to be let in: whoever calls has more use of an answer that says so.
const PATIENCE: Duration = Duration::from_secs(5);
/// From this share of the memory on, nobody waits any more.
const HIGH: f64 = 0.85;
/// And from this one on, nobody is let in.
const CRITICAL: f64 = 0.92;
const LOOK: Duration = Duration::from_millis(500);

/// The door.
#[derive(Debug, Clone)]
pub(super) struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    turns: Pool,
    places: Pool,
    memory: AtomicU8,
    metrics: Metrics,
}

impl Admission {
    pub(super) fn new(requests: usize, queue: usize, metrics: Metrics) -> Self {
        let (turns, places) = (Pool::new(requests.max(1)), Pool::new(queue));
        Self(Arc::new(Inner { turns, places, memory: AtomicU8::new(0), metrics }))
    }

    /// The right to be worked on; an error when it does not come in time.
    pub(super) async fn enter(&self, caller: &Caller) -> Result<Held, Shed> {
        let outcome = self.turn(caller).await;
        if let Err(reason) = outcome {
            self.0.metrics.shed(reason);
        }
        outcome
    }

    /// Whether this caller could be let in now or soon.
    pub(super) fn is_open(&self, caller: &Caller) -> Result<(), Shed> {
        let full = !self.0.turns.is_free(caller);
        let outcome = match self.memory() {
            Memory::Critical => Err(Shed::Memory),
            Memory::High if full => Err(Shed::Requests),
            _ if full && !self.0.places.is_free(caller) => Err(Shed::Requests),
            _ => Ok(()),
        };
        outcome.inspect_err(|reason| self.0.metrics.shed(*reason))
    }

    async fn turn(&self, caller: &Caller) -> Result<Held, Shed> {
        let memory = self.memory();
        if memory == Memory::Critical {
            return Err(Shed::Memory);
        }
        if let Some(turn) = self.0.turns.free(caller) {
            return Ok(turn);
        }
        if memory == Memory::High {
            return Err(Shed::Requests);
        }
        let _place = self.0.places.free(caller).ok_or(Shed::Requests)?;
        timeout(PATIENCE, self.0.turns.next(caller, 1)).await.map_err(|_| Shed::Requests)
    }

    /// Whether everybody is refused for now.
    pub(super) fn is_closed(&self) -> bool {
        self.memory() == Memory::Critical
    }

    fn memory(&self) -> Memory {
        match self.0.memory.load(Ordering::Relaxed) {
            0 => Memory::Fine,
            1 => Memory::High,
            _ => Memory::Critical,
        }
    }

    /// Keeps an eye on the memory. Never ends. `most` is what the operator allows; without it, what there is.
    pub(super) async fn watch_memory(self, most: Option<u64>) {
        let Ok(own) = sysinfo::get_current_pid() else { return };
        let mut system = System::new();
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            let Some(share) = used(&mut system, own, most) else { continue };
            let now = match share {
                share if share >= CRITICAL => Memory::Critical,
                share if share >= HIGH => Memory::High,
                _ => Memory::Fine,
            };
            let before = self.memory();
            self.0.memory.store(now as u8, Ordering::Relaxed);
            match (before, now) {
                (Memory::Critical, Memory::Fine | Memory::High) => info!("requests are taken again"),
                (Memory::Fine | Memory::High, Memory::Critical) => warn!("memory runs out: requests are refused"),
                _ => {}
            }
        }
    }
}

/// How much of the memory is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    Fine = 0,
    High = 1,
    Critical = 2,
}

/// The share of the memory that is used: of what the operator allows, of the container's, or of the machine's.
#[expect(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^52")]
fn used(system: &mut System, own: Pid, most: Option<u64>) -> Option<f64> {
    system.refresh_memory();
    let container = system.cgroup_limits().map(|limits| limits.total_memory).filter(|limit| *limit > 0);
    let most = most.or(container).unwrap_or_else(|| system.total_memory());
    let what = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), true, what);
    let used = system.process(own)?.memory();
    (most > 0).then(|| used as f64 / most as f64)
}
