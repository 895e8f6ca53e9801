//! Background tasks, each named, all of them ended and joined at shutdown. The only place that spawns.

use std::future::Future;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug_span, warn};

/// Owns background tasks. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    tasks: TaskTracker,
    stopping: CancellationToken,
}

impl Supervisor {
    /// Starts a task.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        // Within the span of whoever starts it too, because that of the task is nothing when nobody logs it.
        self.tasks.spawn(task.instrument(debug_span!("task", name)).in_current_span()).abort_handle()
    }

    /// Becomes cancelled when shutdown begins.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Waits until no task is left, but no longer than `patience`, without telling any to stop.
    pub async fn drained(&self, patience: Duration) {
        self.tasks.close();
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
    }

    /// Tells every task to stop and waits for them, but no longer than `patience`.
    pub async fn shut_down(&self, patience: Duration) {
        self.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            warn!(tasks = self.tasks.len(), "background tasks did not stop in time");
        }
    }
}
