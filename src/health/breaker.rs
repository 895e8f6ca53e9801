//! A circuit breaker as bookkeeping: told how calls ended, it says whether the next one may be made. It reads no clock
//! and calls nobody.

use std::time::Duration;

use tokio::time::Instant;

/// When to stop asking, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Settings {
    /// Failures in a row that open it.
    pub(super) failures: u32,
    /// How long it stays open at first; each probe that fails doubles it.
    pub(super) open: Duration,
    /// The longest that it stays open.
    pub(super) longest: Duration,
}

/// Calls of the last seconds that say something about a share of failures: fewer are chance.
const ENOUGH: u32 = 20;
const BUCKETS: usize = 10;
const BUCKET: Duration = Duration::from_secs(1);
/// Up to this much is added at random, so that breakers which opened together do not probe together.
const JITTER: f64 = 0.1;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// One call is under way that decides.
    Probing,
}

/// The breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// Failures since the last success.
    in_a_row: u32,
    /// How often it opened without a success in between.
    openings: u32,
    recent: Recent,
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Closed, in_a_row: 0, openings: 0, recent: Recent::new(now) }
    }

    /// How long nobody is let through; `None` when the next call may be made.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open { until } => Some(until.saturating_duration_since(now)).filter(|rest| !rest.is_zero()),
            // Whoever comes while a probe is under way comes back a little later.
            State::Probing => Some(BUCKET),
        }
    }

    /// Takes the right to make a call. Whoever has it must say how it ended.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(rest) = self.rest(now) {
            Err(rest)
        } else {
            if self.state != State::Closed {
                self.state = State::Probing;
            }
            Ok(())
        }
    }

    /// A call was answered.
    pub(super) fn succeeded(&mut self, now: Instant) {
        self.recent.count(now, false);
        self.in_a_row = 0;
        // One that was under way when it opened says nothing about now.
        if !matches!(self.state, State::Open { .. }) {
            self.state = State::Closed;
            self.openings = 0;
        }
    }

    /// A call failed by the backend's fault.
    pub(super) fn failed(&mut self, now: Instant, settings: Settings) {
        self.recent.count(now, true);
        self.in_a_row = self.in_a_row.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.in_a_row >= settings.failures || self.recent.mostly_failed(now),
            State::Probing => true,
            State::Open { .. } => false,
        };
        if opens {
            let rest = settings.open.saturating_mul(1 << self.openings.min(16)).min(settings.longest);
            self.trip(now, rest);
        }
    }

    /// Opens it for so long, whatever was counted.
    pub(super) fn trip(&mut self, now: Instant, rest: Duration) {
        self.state = State::Open { until: now + rest.mul_f64(1.0 + JITTER * fastrand::f64()) };
        self.openings = self.openings.saturating_add(1);
        self.recent = Recent::new(now);
    }

    /// The call ended without saying anything about the backend: the next one may probe.
    pub(super) fn abandoned(&mut self, now: Instant) {
        if self.state == State::Probing {
            self.state = State::Open { until: now };
        }
    }
}

/// How the calls of the last seconds ended, by second.
#[derive(Debug)]
struct Recent {
    buckets: [(u32, u32); BUCKETS],
    /// The beginning of the newest bucket, which is the first.
    newest: Instant,
}

impl Recent {
    fn new(now: Instant) -> Self {
        Self { buckets: [(0, 0); BUCKETS], newest: now }
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.newest).as_secs();
        let shift = usize::try_from(passed).unwrap_or(BUCKETS).min(BUCKETS);
        self.buckets.rotate_right(shift);
        self.buckets[..shift].fill((0, 0));
        self.newest += BUCKET * u32::try_from(passed).unwrap_or(u32::MAX);
    }

    fn count(&mut self, now: Instant, failed: bool) {
        self.advance(now);
        let (all, failures) = &mut self.buckets[0];
        *all = all.saturating_add(1);
        *failures = failures.saturating_add(u32::from(failed));
    }

    fn mostly_failed(&mut self, now: Instant) -> bool {
        self.advance(now);
        let all: u32 = self.buckets.iter().map(|(all, _)| all).sum();
        let failed: u32 = self.buckets.iter().map(|(_, failed)| failed).sum();
        all >= ENOUGH && failed * 2 >= all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { failures: 5, open: Duration::from_secs(5), longest: Duration::from_secs(20) };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn five_in_a_row_open_it_and_one_probe_closes_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..5 {
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now, SETTINGS);
        }
        let rest = breaker.admit(now).expect_err("open");
        assert!((5.0..=5.5).contains(&rest.as_secs_f64()), "{rest:?}");
        let later = now + seconds(6);
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "one probe at a time");
        breaker.succeeded(later);
        assert_eq!(breaker.rest(later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_probe_that_fails_doubles_the_rest_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..5 {
            breaker.failed(now, SETTINGS);
        }
        for expected in [5.0, 10.0, 20.0, 20.0] {
            let rest = breaker.rest(now).expect("open");
            assert!((expected..=expected * 1.1).contains(&rest.as_secs_f64()), "{rest:?}");
            now += rest;
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now, SETTINGS);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_twenty_open_it_and_half_of_ten_do_not() {
        for (calls, opens) in [(10, false), (22, true)] {
            let now = Instant::now();
            let mut breaker = Breaker::new(now);
            for call in 0..calls {
                if call % 2 == 0 { breaker.succeeded(now) } else { breaker.failed(now, SETTINGS) }
            }
            assert_eq!(breaker.rest(now).is_some(), opens, "{calls} calls");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_long_ago_is_forgotten() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..4 {
            breaker.failed(now, SETTINGS);
            breaker.failed(now, SETTINGS);
            breaker.succeeded(now);
        }
        let later = now + seconds(11);
        for _ in 0..10 {
            breaker.succeeded(later);
            breaker.succeeded(later);
            breaker.failed(later, SETTINGS);
        }
        assert_eq!(breaker.rest(later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_given_up_lets_the_next_one_try() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        breaker.trip(now, seconds(5));
        let later = now + seconds(6);
        assert_eq!(breaker.admit(later), Ok(()));
        breaker.abandoned(later);
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_under_way_when_it_opened_does_not_close_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        breaker.trip(now, seconds(5));
        breaker.succeeded(now);
        assert!(breaker.rest(now).is_some());
    }
}
