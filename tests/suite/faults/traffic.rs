//! Many callers at once before a backend that is down, slow, moody or gone in the middle: cases 39 and 43 to 46, and
//! what crowds are promised.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use vision_providers::testkit::{Play, Received};
use visiongate::failure::Failure;
use visiongate::gateway::Ask;
use visiongate::reply::Reply;

use super::{HASTY, Lab, about_a_dot, outcomes, question, says, text};
use crate::PATIENCE;

/// As many callers at once as there are turns.
const WIDE: &str = "[limit]\nconcurrency = 64\nqueue = 2000\n";

fn down() -> Play {
    Play::json(500, &json!({"error": {"message": "down"}}))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A coin that falls the same way in every run: heads in so many of a hundred throws.
fn coin(throw: usize, of_a_hundred: usize) -> bool {
    let mixed = throw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33) % 100 < of_a_hundred
}

/// So many questions, at most so many of them at once, each a question of its own; how each was answered, and
/// how long it took.
async fn asked(lab: &Lab, calls: usize, at_once: usize) -> Vec<(Result<Reply, Failure>, Duration)> {
    let asking = (0..calls).map(|call| async move {
        let began = Instant::now();
        let answered = lab.ask(&question(&format!("Question {call}"))).await;
        (answered, began.elapsed())
    });
    stream::iter(asking).buffer_unordered(at_once).collect().await
}

/// Case 39.
#[tokio::test]
async fn connections_that_close_unannounced_lose_no_call() {
    let third =
        |_: &Received, number: usize| if number % 3 == 2 { Play::Last(Box::new(says("well"))) } else { says("well") };
    for play in [Play::Last(Box::new(says("well"))), Play::decide(third)] {
        let lab = Lab::with([play], WIDE).await;
        let answers = asked(&lab, 1000, 32).await;
        let made: usize = answers.iter().map(|(reply, _)| outcomes(reply.as_ref().expect("an answer")).len()).sum();
        assert!(answers.iter().all(|(reply, _)| text(reply.as_ref().expect("an answer")) == "well"));
        let (a, b) = lab.calls();
        assert_eq!(b, 0);
        assert!((1000..=made).contains(&a), "{a} calls arrived of {made} that were counted");
    }
}

/// Case 43.
#[tokio::test]
async fn a_slow_tail_costs_no_answer_and_little_time() {
    let tail =
        |_: &Received, number: usize| if coin(number, 5) { says("late").after(ms(3000)) } else { says("from a") };
    let lab = Lab::with([Play::decide(tail)], &format!("{HASTY}{WIDE}")).await;
    let answers = asked(&lab, 1000, 64).await;
    assert!(answers.iter().all(|(reply, _)| reply.is_ok()));
    let mut times: Vec<Duration> = answers.iter().map(|(_, took)| *took).collect();
    times.sort_unstable();
    // An attempt has 700 ms; the rest is a busy machine.
    assert!(times[989] < ms(1700), "{:?}", times[989]);
    assert!((20..=120).contains(&lab.b.calls()), "{}", lab.b.calls());
}

/// Case 44.
#[tokio::test]
async fn half_of_the_calls_failing_makes_no_storm_of_retries_and_starves_nobody() {
    let flaky = Play::decide(|_, number| if coin(number, 50) { down() } else { says("from a") });
    let breaker = "[breaker]\nfailures = 5\nopen = \"50ms\"\nlongest = \"100ms\"\n";
    let lab = Lab::between("openai-compatible", [flaky], [down()], &format!("{HASTY}{WIDE}{breaker}")).await;
    let asking = (0..100).map(|_| async {
        let mut answered = Vec::new();
        for _ in 0..20 {
            answered.push(lab.ask(&question("What is it?")).await.is_ok());
            // Who was refused at once comes back a little later, as people do.
            sleep(ms(20)).await;
        }
        answered
    });
    let answered = join_all(asking).await;
    let all = answered.iter().flatten();
    let (succeeded, questions) = (all.clone().filter(|answered| **answered).count(), all.count());
    let calls = lab.a.calls();
    assert!(calls <= questions + 100 + succeeded / 5, "{calls} calls for {questions} questions");
    // From beginning to end somebody is answered: how many is a matter of luck, as whole rests begin with one coin.
    for part in 0..4 {
        let part = answered.iter().flat_map(|caller| &caller[5 * part..5 * part + 5]);
        assert!(part.filter(|answered| **answered).count() > 0, "{answered:?}");
    }
}

/// A backend that takes five calls a second and as many at once, and how many it took.
fn limiter() -> (Play, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let (bucket, counted) = (Mutex::new((5.0_f64, Instant::now())), Arc::clone(&taken));
    let play = Play::decide(move |received, _| {
        let mut bucket = bucket.lock().expect("nobody panics");
        let (level, since) = *bucket;
        let level = (level + 5.0 * (received.at - since).as_secs_f64()).min(5.0);
        *bucket = (if level >= 1.0 { level - 1.0 } else { level }, received.at);
        if level >= 1.0 {
            counted.fetch_add(1, Ordering::SeqCst);
            return says("from a");
        }
        Play::json(429, &json!({"error": {"message": "slow down"}})).header("retry-after", "1")
    });
    (play, taken)
}

/// Case 45.
#[tokio::test]
async fn a_crowd_before_a_limit_makes_no_storm_and_who_comes_too_late_is_told_when_to_come_back() {
    let (limiter, taken) = limiter();
    // The first gets three quarters of the time: not enough for all at five in a second.
    let lab = Lab::between("openai-compatible", [limiter], [down()], "[deadline]\ntotal = \"20s\"\n").await;
    let answers = asked(&lab, 100, 100).await;
    let (refused, answered): (Vec<_>, Vec<_>) = answers.iter().partition(|(reply, _)| reply.is_err());
    let (taken, calls) = (taken.load(Ordering::SeqCst), lab.a.calls());
    assert_eq!(answered.len(), taken, "what was taken was delivered");
    assert!((50..100).contains(&taken), "{taken} were taken");
    for failure in refused.iter().filter_map(|(reply, _)| reply.as_ref().err()) {
        assert!(failure.retryable && failure.retry_after.is_some(), "{failure:?}");
    }
    assert!(calls * 2 <= taken * 3, "{calls} calls, of which {taken} were taken");
}

/// Case 46.
#[tokio::test]
async fn a_moody_backend_opens_the_breaker_once_in_each_bad_time_and_costs_nobody_an_answer() {
    const PERIOD: Duration = Duration::from_millis(500);
    let began = Instant::now();
    let bad = Arc::new(Mutex::new(Vec::new()));
    let counted = Arc::clone(&bad);
    let moody = Play::decide(move |received, _| {
        let period = usize::try_from((received.at - began).as_millis() / PERIOD.as_millis()).unwrap_or(0);
        let mut bad = counted.lock().expect("nobody panics");
        let periods = bad.len().max(period + 1);
        bad.resize(periods, 0);
        if period % 2 == 0 {
            return says("from a");
        }
        bad[period] += 1;
        down()
    });
    let breaker = "[breaker]\nfailures = 5\nopen = \"200ms\"\nlongest = \"400ms\"\n[retry]\nattempts = 1\n";
    let lab = Lab::with([moody], &format!("{HASTY}{breaker}")).await;
    let (mut calls, mut well, mut good) = (0, 0, vec![Good::default(); 4]);
    while began.elapsed() < 8 * PERIOD {
        calls += 1;
        let from = began.elapsed();
        let reply = lab.ask(&question("What is it?")).await;
        well += usize::from(reply.is_ok());
        let (first, last) = (from.as_millis() / PERIOD.as_millis(), began.elapsed().as_millis() / PERIOD.as_millis());
        let time = usize::try_from(first / 2).ok().filter(|_| first == last && first % 2 == 0);
        if let Some(time) = time.and_then(|time| good.get_mut(time)) {
            let is_back = reply.is_ok_and(|reply| text(&reply) == "from a");
            time.asked += usize::from(is_back);
            time.passed_over += usize::from(!is_back && time.asked > 0);
        }
    }
    assert!(calls > 50 && well * 100 >= calls * 99, "{well} of {calls}");
    let bad = bad.lock().expect("nobody panics");
    // Five failures open it, and a probe or two find out that it is not well. Opening again would take five more.
    assert!(bad.iter().all(|failures| *failures < 10) && bad.iter().any(|failures| *failures >= 5), "{bad:?}");
    // How soon it is back depends on the machine. From then on it is asked every time.
    let all = |count: fn(&Good) -> usize| good.iter().map(count).sum::<usize>();
    let times = good.iter().skip(1).filter(|time| time.asked > 0).count();
    assert!(times > 0 && all(|time| time.passed_over) * 10 <= all(|time| time.asked), "in its good times: {good:?}");
}

/// What became of the questions that fell into one good time of a backend.
#[derive(Debug, Clone, Default)]
struct Good {
    asked: usize,
    /// Of those after the first that it was asked.
    passed_over: usize,
}

/// The second show: an outage under traffic.
#[tokio::test]
async fn an_outage_costs_little_while_it_lasts_and_nothing_when_it_is_over() {
    let is_down = Arc::new(AtomicBool::new(true));
    let told = Arc::clone(&is_down);
    let play = Play::decide(move |_, _| if told.load(Ordering::SeqCst) { down() } else { says("from a") });
    let breaker = "[breaker]\nfailures = 5\nopen = \"300ms\"\nlongest = \"600ms\"\n";
    let lab = Lab::with([play], &format!("{HASTY}{WIDE}{breaker}")).await;
    let learning = asked(&lab, 100, 50).await;
    assert!(learning.iter().all(|(reply, _)| reply.is_ok()), "everybody is answered");
    assert!(lab.a.calls() * 10 <= learning.len() * 12, "{} attempts for {} requests", lab.a.calls(), learning.len());
    let (before, outage) = (lab.a.calls(), Instant::now());
    let mut meanwhile = 0;
    while outage.elapsed() < ms(2000) {
        let answers = asked(&lab, 16, 16).await;
        assert!(answers.iter().all(|(reply, _)| reply.is_ok()), "everybody is answered");
        meanwhile += answers.len();
    }
    let probes = lab.a.calls() - before;
    assert!((1..=8).contains(&probes) && meanwhile > 100, "{probes} probes beside {meanwhile} requests");
    is_down.store(false, Ordering::SeqCst);
    let healed = Instant::now();
    while lab.rest().is_some() || text(&lab.ask(&question("What is it?")).await.expect("an answer")) != "from a" {
        sleep(ms(10)).await;
    }
    let took = healed.elapsed();
    let before = lab.calls();
    asked(&lab, 100, 50).await;
    assert_eq!(lab.calls(), (before.0 + 100, before.1), "the full rate at once");
    // It takes no longer than the longest rest, which the shipped configuration keeps far below half a minute.
    assert!(took < ms(600 + 60 + 300), "{took:?}");
    let shipped = visiongate::config::load(None).expect("the shipped configuration").config.breaker.longest.0;
    assert!(shipped.mul_f64(1.1) < Duration::from_secs(30), "{shipped:?}");
}

/// The second show: half of the calls fail at random.
#[tokio::test]
async fn while_somebody_else_is_well_everybody_is_answered() {
    let flaky = Play::decide(|_, number| match number {
        number if coin(number, 50) => says("from a"),
        number if coin(number, 70) => down(),
        number if coin(number, 80) => Play::Reset,
        _ => Play::json(200, &json!({"choices": []})),
    });
    let lab = Lab::with([flaky], &format!("{HASTY}{WIDE}")).await;
    let answers = asked(&lab, 500, 32).await;
    assert!(answers.iter().all(|(reply, _)| reply.is_ok()));
    let (a, b) = lab.calls();
    assert!(a > 10 && b > 10, "{a} and {b}");
}

/// The third show and case 53: equal questions at the same time.
#[tokio::test]
async fn two_hundred_equal_questions_are_one_call_whoever_leaves() {
    let lab = Lab::with([says("well").after(ms(400))], "").await;
    let ask = |prompt: &str| Ask { prompt: Some(prompt.into()), ..about_a_dot() };
    let everybody = ask("Everybody stays?");
    let answers = join_all((0..200).map(|_| lab.ask(&everybody))).await;
    assert!(answers.iter().all(|reply| text(reply.as_ref().expect("an answer")) == "well"));
    assert_eq!(lab.calls(), (1, 0));
    let some = ask("Some leave?");
    // The first leaves, and every third after it.
    let leaving = (0..200).map(|caller| {
        let patience = if caller % 3 == 0 { ms(100) } else { PATIENCE };
        timeout(patience, lab.ask(&some))
    });
    let answers = join_all(leaving).await;
    assert!(answers[0].is_err(), "it was to leave");
    let answered = answers.iter().flatten().filter(|reply| text(reply.as_ref().expect("an answer")) == "well").count();
    assert_eq!((answered, lab.calls()), (133, (2, 0)));
    assert!(!lab.a.has_been_left(1, ms(50)).await, "nobody broke it off");
}

/// What the question says, in whatever way it is written.
fn asked_for(received: &Received) -> String {
    let told = received.body["messages"].to_string();
    let nonce = told.split("nonce-").nth(1).unwrap_or_default();
    format!("nonce-{}", nonce.chars().take_while(char::is_ascii_digit).collect::<String>())
}

/// The third show: ten thousand questions among faults, and to each its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_questions_among_faults_get_one_answer_each_and_each_its_own() {
    const CALLS: usize = 10_000;
    let echo = |faults: usize| {
        Play::decide(move |received, number| {
            let said = says(&asked_for(received));
            match number {
                number if !coin(number, faults) => said,
                number if coin(number, 30) => down(),
                number if coin(number, 40) => Play::Reset,
                number if coin(number, 50) => Play::Last(Box::new(said)),
                number if coin(number, 60) => Play::json(200, &json!({"choices": []})),
                number if coin(number, 70) => Play::json(429, &Value::Null).header("retry-after-ms", "20"),
                _ => Play::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{".to_vec()),
            }
        })
    };
    let breaker =
        "[breaker]\nfailures = 5\nopen = \"20ms\"\nlongest = \"50ms\"\n[retry]\nattempts = 2\nlongest_wait = \"1s\"\n";
    let lab = Lab::between("openai-compatible", [echo(6)], [echo(2)], &format!("{WIDE}{breaker}")).await;
    let dot = about_a_dot();
    let (lab, dot) = (&lab, &dot);
    let asking = (0..CALLS).map(|call| async move {
        // Longer numbers do not contain shorter ones.
        let nonce = format!("nonce-{:06}", call + 100_000);
        // One in five asks what was asked before, and may be told what was said then.
        let cache = if call % 5 == 0 {
            vision_providers::request::CacheMode::Use
        } else {
            vision_providers::request::CacheMode::Bypass
        };
        let ask = Ask { prompt: Some(format!("Repeat {nonce}")), cache: Some(cache), ..dot.clone() };
        match lab.ask(&ask).await {
            Ok(reply) => {
                assert_eq!(text(&reply), nonce, "an answer to somebody else's question");
                true
            }
            Err(failure) => {
                assert!(failure.retryable && !failure.message.contains("nonce-"), "{failure}");
                false
            }
        }
    });
    let began = Instant::now();
    let ended: Vec<bool> = stream::iter(asking).buffer_unordered(64).collect().await;
    let answered = ended.iter().filter(|answered| **answered).count();
    assert_eq!(ended.len(), CALLS);
    assert!(answered * 100 >= CALLS * 98, "{answered} were answered");
    assert!(began.elapsed() < 4 * PATIENCE, "{:?}", began.elapsed());
    let metrics = lab.gateway.metrics.text();
    assert!(metrics.contains("visiongate_requests_in_flight 0"), "nobody was forgotten");
}

/// A breaker that opens after five failures, for 200 ms at first.
const QUICK: &str = "[breaker]\nfailures = 5\nopen = \"200ms\"\nlongest = \"10s\"\n[retry]\nattempts = 1\n[deadline]\ntotal = \"5s\"\nattempt = \"4s\"\n";

/// Opens the breaker while one call that began before is still in the air, and waits until a probe is due.
async fn open_the_breaker(lab: &Lab) {
    while lab.a.calls() == 0 {
        sleep(ms(1)).await;
    }
    for _ in 0..5 {
        assert_eq!(text(&lab.ask(&question("What is it?")).await.expect("an answer")), "from b");
    }
    let rest = lab.rest().expect("it is open");
    sleep(rest.left).await;
    assert_eq!(lab.rest(), None, "a probe is due");
}

/// Case 7: only the probe says whether somebody is well again.
#[tokio::test]
async fn a_call_from_before_the_rest_does_not_speak_for_the_probe() {
    let plays = Play::decide(|_, number| match number {
        0 => down().after(ms(500)),
        1..=5 => down(),
        _ => says("from a").after(ms(500)),
    });
    let lab = Lab::with([plays], QUICK).await;
    let probing = async {
        open_the_breaker(&lab).await;
        let reply = lab.ask(&question("What is it?")).await.expect("an answer");
        assert_eq!(text(&reply), "from a", "the probe is answered");
        assert_eq!(lab.rest(), None, "who answered the probe is well");
    };
    let before = question("What was it?");
    let _ = tokio::join!(lab.ask(&before), probing);
}

/// Case 7: one probe at a time.
#[tokio::test]
async fn who_leaves_a_call_from_before_the_rest_makes_no_room_for_another_probe() {
    let plays = Play::decide(|_, number| match number {
        0 => Play::Silence,
        1..=5 => down(),
        _ => down().after(ms(800)),
    });
    let lab = Lab::with([plays], QUICK).await;
    let before = question("What was it?");
    let leaving = timeout(ms(500), lab.ask(&before));
    let probing = async {
        open_the_breaker(&lab).await;
        let asking = (0..20).map(|number| {
            let lab = &lab;
            async move {
                sleep(ms(30 * number)).await;
                lab.ask(&question("What is it?")).await.expect("an answer")
            }
        });
        join_all(asking).await;
        assert_eq!(lab.a.calls(), 7, "six calls and one probe");
    };
    let _ = tokio::join!(leaving, probing);
}
