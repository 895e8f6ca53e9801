//! The date, which the dates in a token are held against. The only place here that reads it: waits and ages are counted by
//! the runtime's clock.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Says how much time has passed since 1970. Clones say the same.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The system's.
    pub(super) fn system() -> Self {
        // A clock that stands before 1970 is broken, and by a broken clock every token has expired.
        Self::of(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::MAX))
    }

    /// One that says what this function says.
    pub(super) fn of(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Clock")
    }
}
