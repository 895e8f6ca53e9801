//! What answers have cost today, as far as prices are known: since midnight (UTC), or since the program began.
//!
//! One day of one process and no more: sums over longer times are for whoever collects the counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vision_providers::price::MicroUsd;

const DAY: u64 = 24 * 60 * 60;

/// What a day has cost so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Today {
    pub since: SystemTime,
    /// By the operator's names; who cost nothing has no entry.
    pub by_provider: BTreeMap<String, MicroUsd>,
}

impl Today {
    /// All providers together.
    #[must_use]
    pub fn total(&self) -> MicroUsd {
        MicroUsd(self.by_provider.values().map(|cost| cost.0).sum())
    }

    /// Since when it is counted, as RFC 3339 has it.
    #[must_use]
    pub fn since(&self) -> String {
        humantime::format_rfc3339_seconds(self.since).to_string()
    }

    fn new(since: SystemTime) -> Self {
        Self { since, by_provider: BTreeMap::new() }
    }

    /// Begins anew when another day has begun. A clock that is set back begins nothing.
    fn turn(&mut self, now: SystemTime) {
        let midnight = midnight(now);
        if self.since < midnight {
            *self = Self::new(midnight);
        }
    }
}

fn midnight(now: SystemTime) -> SystemTime {
    let days = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY);
    UNIX_EPOCH + Duration::from_secs(days * DAY)
}

/// The account of the day.
pub(super) struct Spend(Mutex<Today>);

impl Default for Spend {
    fn default() -> Self {
        Self(Mutex::new(Today::new(SystemTime::now())))
    }
}

impl Spend {
    pub(super) fn add(&self, provider: &str, cost: MicroUsd) {
        let mut today = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        today.turn(SystemTime::now());
        today.by_provider.entry(provider.to_owned()).or_default().0 += cost.0;
    }

    pub(super) fn today(&self) -> Today {
        let mut today = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        today.turn(SystemTime::now());
        today.clone()
    }
}

impl fmt::Debug for Spend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Spend")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_and_not_before() {
        let at = |text: &str| humantime::parse_rfc3339(text).expect("a time");
        let mut today = Today::new(at("2026-11-20T14:03:00Z"));
        today.by_provider.insert("a".into(), MicroUsd(1500));
        today.by_provider.insert("b".into(), MicroUsd(20));
        today.turn(at("2026-11-20T23:59:59Z"));
        assert_eq!((today.total(), today.since().as_str()), (MicroUsd(1520), "2026-11-20T14:03:00Z"));
        let before = today.clone();
        today.turn(at("2026-11-19T10:00:00Z"));
        assert_eq!(today, before);
        today.turn(at("2026-11-22T00:00:00Z"));
        assert_eq!(today, Today::new(at("2026-11-22T00:00:00Z")));
    }
}
