//! How long a model has taken lately: a mean in which old calls fade, and the usual worst. Bounded, and forgetful.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Calls that are remembered.
const MOST: usize = 128;
/// What is older says nothing about now.
const OLDEST: Duration = Duration::from_mins(5);
/// After this, a call counts half.
const HALF_LIFE: f64 = 60.0;
/// Fewer calls have no usual worst.
const ENOUGH: usize = 20;
/// And fewer answers take no usual time.
const SOME: usize = 5;

/// One call.
#[derive(Debug)]
struct Sample {
    at: Instant,
    latency: Duration,
    answered: bool,
}

/// The latencies of one model, oldest first.
#[derive(Debug, Default)]
pub(super) struct Latencies(VecDeque<Sample>);

impl Latencies {
    /// A call was answered after so long.
    pub(super) fn answered(&mut self, now: Instant, latency: Duration) {
        self.add(Sample { at: now, latency, answered: true });
    }

    /// A call was given up after so long: one that hangs is not quick.
    pub(super) fn given_up(&mut self, now: Instant, latency: Duration) {
        self.add(Sample { at: now, latency, answered: false });
    }

    fn add(&mut self, sample: Sample) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    fn lately(&self, now: Instant) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| now.saturating_duration_since(sample.at) < OLDEST)
    }

    /// The mean, in which a call counts less the older it is; `None` when there was none lately.
    pub(super) fn mean(&self, now: Instant) -> Option<Duration> {
        let mut sum = 0.0;
        let mut weights = 0.0;
        for Sample { at, latency, .. } in self.lately(now) {
            let weight = (-now.saturating_duration_since(*at).as_secs_f64() / HALF_LIFE).exp2();
            sum += weight * latency.as_secs_f64();
            weights += weight;
        }
        (weights > 0.0).then(|| Duration::from_secs_f64(sum / weights))
    }

    /// What 19 of 20 calls were quicker than; `None` when there were too few to tell.
    pub(super) fn usual_worst(&self, now: Instant) -> Option<Duration> {
        let mut latencies: Vec<Duration> = self.lately(now).map(|sample| sample.latency).collect();
        if latencies.len() < ENOUGH {
            return None;
        }
        latencies.sort_unstable();
        latencies.get((latencies.len() * 19).div_ceil(20) - 1).copied()
    }

    /// What half of the answers were quicker than; `None` when there were too few to tell.
    pub(super) fn usual(&self, now: Instant) -> Option<Duration> {
        let answered = self.lately(now).filter(|sample| sample.answered);
        let mut latencies: Vec<Duration> = answered.map(|sample| sample.latency).collect();
        if latencies.len() < SOME {
            return None;
        }
        latencies.sort_unstable();
        latencies.get(latencies.len() / 2).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn old_calls_fade_and_are_forgotten() {
        let now = Instant::now();
        let mut latencies = Latencies::default();
        assert_eq!(latencies.mean(now), None);
        latencies.answered(now, ms(3000));
        let later = now + Duration::from_mins(1);
        latencies.answered(later, ms(1500));
        let mean = latencies.mean(later).expect("a mean").as_millis();
        assert_eq!(mean, 2000);
        assert_eq!(latencies.mean(later + OLDEST), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_usual_worst_needs_twenty_calls_and_leaves_out_the_worst() {
        let now = Instant::now();
        let mut latencies = Latencies::default();
        for call in 1..20 {
            latencies.answered(now, ms(call));
        }
        assert_eq!(latencies.usual_worst(now), None);
        latencies.answered(now, ms(9000));
        assert_eq!(latencies.usual_worst(now), Some(ms(19)));
        for _ in 0..1000 {
            latencies.answered(now, ms(5));
        }
        assert_eq!((latencies.usual_worst(now), latencies.0.len()), (Some(ms(5)), MOST));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_given_up_is_slow_but_says_nothing_of_the_time_that_an_answer_takes() {
        let now = Instant::now();
        let mut latencies = Latencies::default();
        latencies.given_up(now, ms(25_000));
        assert_eq!((latencies.mean(now), latencies.usual(now)), (Some(ms(25_000)), None));
        for _ in 0..5 {
            latencies.answered(now, ms(1000));
        }
        assert_eq!((latencies.mean(now), latencies.usual(now)), (Some(ms(5000)), Some(ms(1000))));
    }
}
