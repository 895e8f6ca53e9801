//! What a run may cost: nobody is asked before the most that the answer may cost has been set aside.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use vision_providers::price::MicroUsd;

/// What is left of the money for a run.
#[derive(Debug)]
pub(super) struct Purse {
    most: Option<MicroUsd>,
    state: Mutex<State>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    spent: u64,
    set_aside: u64,
}

/// Money that was set aside for one question; what is not spent of it comes back.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    purse: &'a Purse,
    amount: u64,
}

impl Purse {
    /// `spent` is what earlier parts of the run have cost.
    pub(super) fn new(most: Option<MicroUsd>, spent: MicroUsd) -> Self {
        Self { most, state: Mutex::new(State { spent: spent.0, set_aside: 0 }), settled: Notify::new() }
    }

    /// Whether there is a limit, so that costs must be known before.
    pub(super) fn is_limited(&self) -> bool {
        self.most.is_some()
    }

    pub(super) fn spent(&self) -> MicroUsd {
        MicroUsd(self.with(|state| state.spent))
    }

    /// Sets an amount aside. Waits for questions that are being answered, because most cost less than they might;
    /// `None` when all of them are answered and it is still too much.
    pub(super) async fn reserve(&self, amount: MicroUsd) -> Option<Reserved<'_>> {
        loop {
            // Before the look, so that nothing that settles after it is missed.
            let settled = self.settled.notified();
            let (fits, waits) = self.with(|state| {
                let fits =
                    self.most.is_none_or(|most| state.spent.saturating_add(state.set_aside) + amount.0 <= most.0);
                state.set_aside += if fits { amount.0 } else { 0 };
                (fits, state.set_aside > 0)
            });
            match (fits, waits) {
                (true, _) => return Some(Reserved { purse: self, amount: amount.0 }),
                (false, false) => return None,
                (false, true) => settled.await,
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reserved<'_> {
    /// What it has cost in the end.
    pub(super) fn spend(self, cost: MicroUsd) {
        self.purse.with(|state| state.spent = state.spent.saturating_add(cost.0));
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.purse.with(|state| state.set_aside = state.set_aside.saturating_sub(self.amount));
        self.purse.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_set_aside_is_never_more_than_there_is() {
        let purse = Purse::new(Some(MicroUsd(100)), MicroUsd(10));
        let first = purse.reserve(MicroUsd(80)).await.expect("it fits");
        let waiting = purse.reserve(MicroUsd(80));
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending(), "it may fit when the first has cost less");
        first.spend(MicroUsd(10));
        let second = waiting.await.expect("it fits now");
        second.spend(MicroUsd(70));
        assert_eq!(purse.spent(), MicroUsd(90));
        assert!(purse.reserve(MicroUsd(11)).await.is_none());
        assert!(purse.reserve(MicroUsd(10)).await.is_some());
    }

    #[tokio::test]
    async fn without_a_limit_everything_fits() {
        let purse = Purse::new(None, MicroUsd(0));
        let reserved = purse.reserve(MicroUsd(u64::MAX / 2)).await.expect("it fits");
        reserved.spend(MicroUsd(5));
        assert_eq!(purse.spent(), MicroUsd(5));
    }
}
