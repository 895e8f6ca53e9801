//! Who is left alone, for how long, and who is asked again: the breaker, and what vendors say of their limits.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use vision_providers::error::{ErrorKind, Retry};
use vision_providers::request::{ModelId, Task};
use vision_providers::testkit::{Scripted, Step, ctx, request};
use visiongate::health::Cause;
use visiongate::layers::limit;

use super::super::PATIENCE;
use super::{MODEL, ask, fail, guarded, healthy, queued, say};

#[tokio::test(start_paused = true)]
async fn five_failures_are_enough_and_one_probe_at_a_time_finds_out_that_it_is_well_again() {
    let health = healthy();
    let down = fail(ErrorKind::Unavailable, Retry::Never);
    let scripted = Scripted::new(vec![down; 5].into_iter().chain([Step::After(Duration::from_secs(1), "fine".into())]));
    let calls = scripted.calls();
    let provider = guarded(scripted, &health);
    for _ in 0..10 {
        ask(&provider).await.expect_err("down");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 5);
    let rest = health.rest(&ModelId::from(MODEL)).expect("it rests");
    assert_eq!(rest.cause, Cause::Failing);
    tokio::time::sleep(rest.left).await;
    let outcomes = join_all((0..10).map(|_| ask(&provider))).await;
    assert_eq!((outcomes.iter().filter(|outcome| outcome.is_ok()).count(), calls.load(Ordering::SeqCst)), (1, 6));
    assert!(join_all((0..10).map(|_| ask(&provider))).await.iter().all(Result::is_ok), "full rate at once");
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_caller_left_does_not_block_the_next() {
    let health = healthy();
    let down = fail(ErrorKind::Unavailable, Retry::Never);
    let provider = guarded(Scripted::new(vec![down; 5].into_iter().chain([Step::Hang, say("fine")])), &health);
    for _ in 0..5 {
        ask(&provider).await.expect_err("down");
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), ask(&provider)).await.is_err(), "it hangs");
    assert_eq!(ask(&provider).await.expect("the next probe").text, "fine");
}

#[tokio::test(start_paused = true)]
async fn what_callers_get_wrong_never_opens_the_breaker() {
    let kinds =
        [ErrorKind::InvalidRequest, ErrorKind::TooLarge, ErrorKind::Refused, ErrorKind::Truncated, ErrorKind::Empty];
    for kind in kinds {
        let health = healthy();
        let provider = guarded(Scripted::new([fail(kind, Retry::Never)]), &health);
        for _ in 0..50 {
            ask(&provider).await.expect_err("the caller's fault");
        }
        assert_eq!(health.rest(&ModelId::from(MODEL)), None, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_and_spent_credit_rest_for_the_model_that_was_asked_for() {
    for (kind, hint, cause, at_least) in [
        (ErrorKind::Unauthorized, None, Cause::Unauthorized, 60),
        (ErrorKind::OutOfCredit, None, Cause::OutOfCredit, 300),
        (ErrorKind::OutOfCredit, Some(7200), Cause::OutOfCredit, 7200),
    ] {
        let health = healthy();
        let verdict = Retry::Spent(hint.map(Duration::from_secs));
        let scripted = Scripted::new([fail(kind, verdict), say("fine")]);
        let calls = scripted.calls();
        let provider = guarded(scripted, &health);
        ask(&provider).await.expect_err("the account");
        let error = ask(&provider).await.expect_err("it rests");
        assert_eq!((error.kind(), calls.load(Ordering::SeqCst)), (kind, 1));
        let rest = health.rest(&ModelId::from(MODEL)).expect("it rests");
        assert!(rest.cause == cause && rest.left >= Duration::from_secs(at_least), "{rest:?}");
        let other = provider.complete(&ctx(PATIENCE), &request("another-model", Task::Ask)).await;
        assert!(other.is_ok(), "another model may have credit and a key of its own");
        tokio::time::sleep(rest.left).await;
        ask(&provider).await.expect("an answer");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_calls_before_the_time_that_one_was_told() {
    let wait = Duration::from_secs(3);
    let limited_too = fail(ErrorKind::RateLimited, Retry::Later(Some(wait)));
    let scripted = Scripted::new([limited_too, say("fine")]);
    let calls = scripted.calls();
    let settings = limit::Settings::default();
    let provider = queued(scripted, settings);
    ask(&provider).await.expect_err("a limit");
    let began = Instant::now();
    assert!(join_all((0..40).map(|_| ask(&provider))).await.iter().all(Result::is_ok));
    assert!(began.elapsed() >= wait, "{:?}", began.elapsed());
    assert_eq!(calls.load(Ordering::SeqCst), 41);
    let hurried = provider.complete(&ctx(Duration::from_secs(1)), &request(MODEL, Task::Ask)).await;
    assert!(hurried.is_ok(), "it is over");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_wait_so_long_is_told_at_once_when_to_come_back() {
    let scripted = Scripted::new([fail(ErrorKind::RateLimited, Retry::Later(Some(Duration::from_hours(24))))]);
    let calls = scripted.calls();
    let provider = queued(scripted, limit::Settings::default());
    ask(&provider).await.expect_err("a limit");
    let began = Instant::now();
    let error = ask(&provider).await.expect_err("it is parked");
    assert_eq!(
        (error.kind(), began.elapsed(), calls.load(Ordering::SeqCst)),
        (ErrorKind::RateLimited, Duration::ZERO, 1)
    );
    assert!(matches!(error.retry_verdict(), Retry::Spent(Some(wait)) if wait > Duration::from_secs(86_000)));
}

#[tokio::test(start_paused = true)]
async fn a_slice_of_time_that_is_too_short_for_anybody_is_held_against_nobody() {
    let health = healthy();
    let late = fail(ErrorKind::TimedOut, Retry::Never);
    let provider = guarded(Scripted::new([late]), &health);
    for _ in 0..10 {
        ask(&provider).await.expect_err("no time");
    }
    assert_eq!(health.rest(&ModelId::from(MODEL)), None);
}

#[tokio::test(start_paused = true)]
async fn names_do_not_push_out_who_rests() {
    let health = healthy();
    let provider = guarded(Scripted::new([fail(ErrorKind::Unauthorized, Retry::Never), say("fine")]), &health);
    ask(&provider).await.expect_err("a refused key");
    for number in 0..600 {
        let name = format!("model-{number}");
        provider.complete(&ctx(PATIENCE), &request(&name, Task::Ask)).await.expect("an answer");
    }
    assert!(health.rest(&ModelId::from(MODEL)).is_some());
    assert!(health.models().len() <= 256);
}

#[tokio::test(start_paused = true)]
async fn limits_that_never_say_how_long_are_met_less_and_less() {
    let scripted = Scripted::new([fail(ErrorKind::RateLimited, Retry::Later(None))]);
    let calls = scripted.calls();
    let provider = queued(scripted, limit::Settings::default());
    let began = Instant::now();
    while began.elapsed() < Duration::from_mins(1) {
        ask(&provider).await.expect_err("a limit");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(calls.load(Ordering::SeqCst) <= 9, "{}", calls.load(Ordering::SeqCst));
}
