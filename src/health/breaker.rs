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
/// A probe that takes longer does not keep others from trying.
const PROBE: Duration = Duration::from_secs(5);
/// Up to this much is added at random, so that breakers which opened together do not probe together.
const JITTER: f64 = 0.1;

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// One call is under way that decides; another one may when it takes too long.
    Probing {
        since: Instant,
    },
}

/// The right to make a call, and what its end will be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket {
    /// Calls that began before the breaker last changed say nothing about now.
    era: u64,
}

/// The breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    /// Counts the changes of state.
    era: u64,
    /// Failures since the last success.
    in_a_row: u32,
    /// How often it opened without a success in between.
    openings: u32,
    recent: Recent,
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Closed, era: 0, in_a_row: 0, openings: 0, recent: Recent::new(now) }
    }

    /// How long nobody is let through; `None` when the next call may be made.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        let until = match self.state {
            State::Closed => return None,
            State::Open { until } => until,
            State::Probing { since } => since + PROBE,
        };
        Some(until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    /// Takes the right to make a call. Whoever has it must say how it ended.
    pub(super) fn admit(&mut self, now: Instant) -> Result<Ticket, Duration> {
        if let Some(rest) = self.rest(now) {
            return Err(rest);
        }
        if self.state != State::Closed {
            self.change(State::Probing { since: now });
        }
        Ok(Ticket { era: self.era })
    }

    /// A call was answered.
    pub(super) fn succeeded(&mut self, now: Instant, ticket: Ticket) {
        if ticket.era != self.era {
            return;
        }
        self.recent.count(now, false);
        self.in_a_row = 0;
        if self.state != State::Closed {
            self.change(State::Closed);
            self.openings = 0;
        }
    }

    /// A call failed by the backend's fault.
    pub(super) fn failed(&mut self, now: Instant, ticket: Ticket, settings: Settings) {
        if ticket.era != self.era {
            return;
        }
        self.recent.count(now, true);
        self.in_a_row = self.in_a_row.saturating_add(1);
        let enough = self.in_a_row >= settings.failures || self.recent.mostly_failed(now);
        if enough || self.state != State::Closed {
            let rest = settings.open.saturating_mul(1 << self.openings.min(16)).min(settings.longest);
            self.trip(now, ticket, rest);
        }
    }

    /// Opens it for so long, whatever was counted.
    pub(super) fn trip(&mut self, now: Instant, ticket: Ticket, rest: Duration) {
        if ticket.era != self.era {
            return;
        }
        self.change(State::Open { until: now + rest.mul_f64(1.0 + JITTER * fastrand::f64()) });
        self.openings = self.openings.saturating_add(1);
        self.recent = Recent::new(now);
    }

    /// The call ended without saying anything about the backend: the next one may probe.
    pub(super) fn abandoned(&mut self, now: Instant, ticket: Ticket) {
        if ticket.era == self.era && self.state != State::Closed {
            self.change(State::Open { until: now });
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.era += 1;
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

    fn failing(breaker: &mut Breaker, now: Instant, calls: u32) {
        for _ in 0..calls {
            let ticket = breaker.admit(now).expect("it lets calls through");
            breaker.failed(now, ticket, SETTINGS);
        }
    }

    fn answering(breaker: &mut Breaker, now: Instant) {
        let ticket = breaker.admit(now).expect("it lets calls through");
        breaker.succeeded(now, ticket);
    }

    #[tokio::test(start_paused = true)]
    async fn five_in_a_row_open_it_and_one_probe_closes_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        failing(&mut breaker, now, 5);
        let rest = breaker.admit(now).expect_err("open");
        assert!((5.0..=5.5).contains(&rest.as_secs_f64()), "{rest:?}");
        let later = now + seconds(6);
        let probe = breaker.admit(later).expect("a probe");
        assert!(breaker.admit(later).is_err(), "one probe at a time");
        breaker.succeeded(later, probe);
        assert_eq!(breaker.rest(later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn each_probe_that_fails_doubles_the_rest_up_to_the_longest() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        failing(&mut breaker, now, 5);
        for expected in [5.0, 10.0, 20.0, 20.0] {
            let rest = breaker.rest(now).expect("open");
            assert!((expected..=expected * 1.1).contains(&rest.as_secs_f64()), "{rest:?}");
            now += rest;
            failing(&mut breaker, now, 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_twenty_open_it_and_half_of_ten_do_not() {
        for (pairs, opens) in [(5, false), (10, true)] {
            let now = Instant::now();
            let mut breaker = Breaker::new(now);
            for _ in 0..pairs {
                answering(&mut breaker, now);
                failing(&mut breaker, now, 1);
            }
            assert_eq!(breaker.rest(now).is_some(), opens, "{pairs} pairs");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_long_ago_is_forgotten() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..4 {
            failing(&mut breaker, now, 2);
            answering(&mut breaker, now);
        }
        let later = now + seconds(11);
        for _ in 0..10 {
            answering(&mut breaker, later);
            answering(&mut breaker, later);
            failing(&mut breaker, later, 1);
        }
        assert_eq!(breaker.rest(later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_given_up_lets_the_next_one_try_and_so_does_one_that_takes_too_long() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        failing(&mut breaker, now, 5);
        let later = now + seconds(6);
        let probe = breaker.admit(later).expect("a probe");
        breaker.abandoned(later, probe);
        let slow = breaker.admit(later).expect("another probe");
        let later = later + seconds(6);
        answering(&mut breaker, later);
        breaker.failed(later, slow, SETTINGS);
        assert_eq!(breaker.rest(later), None, "the slow one is of another time");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_the_rest_do_not_speak_for_the_probe() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        let old: Vec<Ticket> = (0..3).map(|_| breaker.admit(now).expect("a call")).collect();
        failing(&mut breaker, now, 5);
        breaker.succeeded(now, old[0]);
        assert!(breaker.rest(now).is_some(), "it stays open");
        let later = now + seconds(6);
        let probe = breaker.admit(later).expect("a probe");
        breaker.failed(later, old[1], SETTINGS);
        breaker.abandoned(later, old[2]);
        assert!(breaker.admit(later).is_err(), "one probe at a time");
        breaker.succeeded(later, probe);
        assert_eq!(breaker.rest(later), None);
    }
}
