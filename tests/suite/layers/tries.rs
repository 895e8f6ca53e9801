//! What is tried again, how often and when: the retries of a scripted provider under paused time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use vision_providers::error::{ErrorKind, Retry};
use vision_providers::request::{CallCtx, Task};
use vision_providers::testkit::{Scripted, Step, ctx, request};

use super::super::PATIENCE;
use super::{MODEL, ask, fail, retrying, say};

#[tokio::test(start_paused = true)]
async fn retries_503_then_answers_and_accounts_for_both() {
    let provider = retrying(Scripted::new([fail(ErrorKind::Unavailable, Retry::Later(None)), say("fine")]));
    let answer = provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect("an answer");
    let tries: Vec<_> = answer.tries.iter().map(|one| one.error).collect();
    assert_eq!(tries, [Some(ErrorKind::Unavailable), None]);
}

#[tokio::test(start_paused = true)]
async fn a_hint_to_wait_is_honoured() {
    let hint = Duration::from_secs(2);
    let provider = retrying(Scripted::new([fail(ErrorKind::RateLimited, Retry::Later(Some(hint))), say("fine")]));
    let began = Instant::now();
    provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect("an answer");
    assert!((2.0..2.5).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_hint_beyond_patience_or_deadline_ends_the_tries_at_once() {
    for (hint, patience) in [(86_400, 55), (20, 10)] {
        let hint = Duration::from_secs(hint);
        let scripted = Scripted::new([fail(ErrorKind::RateLimited, Retry::Later(Some(hint)))]);
        let calls = scripted.calls();
        let began = Instant::now();
        let error = retrying(scripted)
            .complete(&ctx(Duration::from_secs(patience)), &request(MODEL, Task::Ask))
            .await
            .expect_err("no patience");
        assert_eq!(error.retry_verdict(), Retry::Spent(Some(hint)));
        assert_eq!((calls.load(Ordering::SeqCst), began.elapsed()), (1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_outage_costs_three_calls_and_pauses_between() {
    let scripted = Scripted::new([fail(ErrorKind::Unavailable, Retry::Later(None))]);
    let calls = scripted.calls();
    let began = Instant::now();
    let error = retrying(scripted).complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect_err("down");
    assert_eq!((error.retry_verdict(), error.tries().len()), (Retry::Spent(None), 3));
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_or_may_have_been_billed_is_not_tried_again() {
    for kind in [
        ErrorKind::InvalidRequest,
        ErrorKind::Unauthorized,
        ErrorKind::Refused,
        ErrorKind::Garbled,
        ErrorKind::TimedOut,
    ] {
        let scripted = Scripted::new([fail(kind, Retry::Never), say("too late")]);
        let calls = scripted.calls();
        let error = retrying(scripted).complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect_err("final");
        assert_eq!((error.kind(), calls.load(Ordering::SeqCst)), (kind, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn when_everything_fails_trying_again_runs_out() {
    let scripted = Scripted::new([fail(ErrorKind::Unavailable, Retry::Later(None))]);
    let calls = scripted.calls();
    let provider = retrying(scripted);
    for _ in 0..300 {
        ask(&provider).await.expect_err("down");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 300 + 100, "500 tokens at 5 each");
}

#[tokio::test(start_paused = true)]
async fn one_in_five_calls_tries_again_at_once() {
    let scripted = Scripted::new([fail(ErrorKind::Unavailable, Retry::Later(None))]);
    let calls = scripted.calls();
    let provider = retrying(scripted);
    join_all((0..50).map(|_| ask(&provider))).await;
    let calls = calls.load(Ordering::SeqCst);
    assert!((53..=80).contains(&calls), "{calls}");
}

#[tokio::test(start_paused = true)]
async fn nobody_else_to_ask_means_no_time_to_save() {
    let provider = retrying(Scripted::new([Step::After(Duration::from_secs(40), "late".into())]));
    let patience = Duration::from_secs(55);
    let last = CallCtx { last: true, ..ctx(patience) };
    assert_eq!(provider.complete(&last, &request(MODEL, Task::Ask)).await.expect("an answer").text, "late");
    let began = Instant::now();
    provider.stream(&ctx(patience), &request(MODEL, Task::Ask)).await.err().expect("somebody else may be quicker");
    assert_eq!(began.elapsed(), Duration::from_secs(25));
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_billed_stays_so_whatever_comes_after_it() {
    let (passing, broken) = (Retry::Later(None), Retry::Once);
    for (verdicts, expected) in
        [(vec![passing], false), (vec![broken], true), (vec![broken, passing], true), (vec![passing, broken], true)]
    {
        let case = format!("{verdicts:?}");
        let steps = verdicts.into_iter().map(|verdict| fail(ErrorKind::Unavailable, verdict));
        let error = ask(&retrying(Scripted::new(steps))).await.expect_err("down");
        assert_eq!(error.is_maybe_billed(), expected, "{case}: {error:?}");
    }
}
