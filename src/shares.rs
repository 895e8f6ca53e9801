//! What callers have to share, such as turns and places in a queue: a quarter of it is kept free of any one of them.
//!
//! Callers whom nobody knows cannot be told apart. They are one crowd, which may have it all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vision_providers::request::Caller;

/// One so-manieth is kept free of whoever has all the rest.
const KEPT_FREE: usize = 4;

/// The share that each caller may have of something.
#[derive(Debug)]
pub struct Shares {
    all: usize,
    by_caller: Mutex<HashMap<Caller, Weak<Semaphore>>>,
}

impl Shares {
    /// Shares of so many.
    #[must_use]
    pub fn new(all: usize) -> Self {
        Self { all, by_caller: Mutex::default() }
    }

    /// What a caller may have at once; `None` where one caller may have it all.
    #[must_use]
    pub fn of(&self, caller: &Caller) -> Option<Arc<Semaphore>> {
        if self.all <= 1 || *caller == Caller::local() {
            return None;
        }
        let mut by_caller = self.by_caller.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = by_caller.get(caller).and_then(Weak::upgrade) {
            return Some(share);
        }
        // Whoever holds and waits for nothing any more has nothing to share.
        by_caller.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.all - (self.all / KEPT_FREE).max(1)));
        by_caller.insert(caller.clone(), Arc::downgrade(&share));
        Some(share)
    }
}

/// So many of something, of which callers hold some for a while.
#[derive(Debug)]
pub struct Pool {
    all: Arc<Semaphore>,
    shares: Shares,
}

impl Pool {
    /// With all of it free.
    #[must_use]
    pub fn new(all: usize) -> Self {
        let all = all.min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(all)), shares: Shares::new(all) }
    }

    /// Whether this caller could have one now.
    #[must_use]
    pub fn is_free(&self, caller: &Caller) -> bool {
        let is_left = |semaphore: &Arc<Semaphore>| semaphore.available_permits() > 0;
        is_left(&self.all) && self.shares.of(caller).as_ref().is_none_or(is_left)
    }

    /// One for this caller, if there is one.
    #[must_use]
    pub fn free(&self, caller: &Caller) -> Option<Held> {
        let share = match self.shares.of(caller) {
            Some(share) => Some(share.try_acquire_owned().ok()?),
            None => None,
        };
        Some(Held { all: Arc::clone(&self.all).try_acquire_owned().ok()?, share })
    }

    /// The next so many for this caller. Those who have their share wait for what they hold themselves, and not before
    /// others. Whoever stops waiting holds nothing.
    pub async fn next(&self, caller: &Caller, many: u32) -> Held {
        let share = match self.shares.of(caller) {
            Some(share) => share.acquire_many_owned(many).await.ok(),
            None => None,
        };
        match Arc::clone(&self.all).acquire_many_owned(many).await {
            Ok(all) => Held { all, share },
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}

/// What a caller holds, given back when dropped.
#[derive(Debug)]
pub struct Held {
    all: OwnedSemaphorePermit,
    share: Option<OwnedSemaphorePermit>,
}

impl Held {
    /// How much it is.
    #[must_use]
    pub fn many(&self) -> usize {
        self.all.num_permits()
    }

    /// Adds what the same caller got of the same pool.
    pub fn add(&mut self, more: Self) {
        self.all.merge(more.all);
        match (&mut self.share, more.share) {
            (Some(share), Some(more)) => share.merge(more),
            (share, more) => *share = share.take().or(more),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn caller(name: &str) -> Caller {
        Caller::named(name.into())
    }

    #[test]
    fn a_quarter_is_kept_free_of_one_caller_and_nothing_of_the_crowd() {
        for (all, most) in [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (256, 192)] {
            let pool = Pool::new(all);
            let taken = |caller: &Caller| std::iter::from_fn(|| pool.free(caller)).collect::<Vec<_>>();
            assert_eq!(taken(&Caller::local()).len(), all);
            let alices = taken(&caller("alice"));
            assert_eq!((alices.len(), pool.is_free(&caller("alice"))), (most, false), "of {all}");
            assert_eq!(taken(&caller("bob")).len(), all - most, "of {all}");
            drop(alices);
            assert!(pool.is_free(&caller("alice")), "and all of it comes back");
        }
        assert!(!Pool::new(0).is_free(&caller("alice")));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_their_share_waits_behind_themselves() {
        let (pool, alice, bob) = (Pool::new(8), caller("alice"), caller("bob"));
        let soon = std::time::Duration::from_secs(1);
        let mut held = pool.next(&alice, 4).await;
        held.add(pool.next(&alice, 2).await);
        assert_eq!(held.many(), 6);
        assert!(timeout(soon, pool.next(&alice, 1)).await.is_err(), "two are free, and not for alice");
        assert_eq!(timeout(soon, pool.next(&bob, 2)).await.expect("at once").many(), 2);
        let (next, ()) = tokio::join!(timeout(soon, pool.next(&alice, 6)), async { drop(held) });
        assert_eq!(next.expect("what was held comes back").many(), 6);
        assert_eq!(pool.shares.by_caller.lock().expect("nobody panics").len(), 2);
        assert!(pool.is_free(&caller("carol")));
        assert_eq!(pool.shares.by_caller.lock().expect("nobody panics").len(), 1, "who left is forgotten");
    }
}
