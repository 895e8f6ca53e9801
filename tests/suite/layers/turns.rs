//! Who waits for a turn, and who is told at once that none will come: the queue of a provider.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use vision_providers::allowance::Allowance;
use vision_providers::answer::Answer;
use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::provider::Provider;
use vision_providers::request::{CallCtx, ModelId, Task};
use vision_providers::testkit::{Scripted, Step, ctx, request};
use visiongate::layers::limit;

use super::super::PATIENCE;
use super::{MODEL, ask, fail, limited, queued, say};

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_bound_wait_and_beyond_the_queue_are_refused() {
    let scripted = Scripted::new([Step::After(Duration::from_secs(1), "fine".into())]);
    let settings = limit::Settings { concurrency: 2, queue: 3, requests_per_minute: None };
    let provider = limited(Arc::new(scripted), settings);
    let began = Instant::now();
    let asking = (0..7).map(|_| async { provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await });
    let outcomes = join_all(asking).await;
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(Error::kind).collect();
    assert_eq!(refused, [ErrorKind::Overloaded; 2]);
    assert_eq!(began.elapsed().as_secs(), 3, "five calls, two at a time, take three seconds");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_does_not_come_gives_up_at_its_deadline() {
    let provider: Provider = limited(
        Arc::new(Scripted::new([Step::Hang])),
        limit::Settings { concurrency: 1, queue: 9, requests_per_minute: None },
    );
    let req = request(MODEL, Task::Ask);
    let (long, short) = (ctx(PATIENCE), ctx(Duration::from_secs(1)));
    let waiting = async { tokio::join!(provider.complete(&long, &req), provider.complete(&short, &req)) };
    let mut waiting = Box::pin(waiting);
    assert!(tokio::time::timeout(Duration::from_secs(2), &mut waiting).await.is_err());
    drop(waiting);
    assert!(provider.probe(&ctx(PATIENCE)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn calls_that_the_vendor_still_takes_are_counted_down() {
    let allowance = Some(Allowance { calls: 3, renewed_in: Duration::from_secs(10) });
    let answer = Answer { allowance, ..Answer::new("fine", ModelId::from(MODEL)) };
    let scripted = Scripted::new([Step::Say(answer), say("fine")]);
    let provider = queued(scripted, limit::Settings::default());
    ask(&provider).await.expect("an answer");
    let began = Instant::now();
    for _ in 0..3 {
        ask(&provider).await.expect("an answer");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    let hurried = ask(&provider).await.expect_err("somebody else can be asked");
    assert_eq!(hurried.kind(), ErrorKind::RateLimited);
    let last = CallCtx { last: true, ..ctx(PATIENCE) };
    provider.complete(&last, &request(MODEL, Task::Ask)).await.expect("an answer");
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_operators_rate_is_kept() {
    let settings = limit::Settings { requests_per_minute: std::num::NonZeroU32::new(60), ..limit::Settings::default() };
    let provider = limited(Arc::new(Scripted::new([say("fine")])), settings);
    let began = Instant::now();
    assert!(join_all((0..30).map(|_| ask(&provider))).await.iter().all(Result::is_ok));
    let elapsed = began.elapsed().as_secs_f64();
    assert!((19.0..22.0).contains(&elapsed), "ten at once, then one a second: {elapsed}");
    let hurried = provider.complete(&ctx(Duration::from_millis(100)), &request(MODEL, Task::Ask)).await;
    assert_eq!(hurried.expect_err("no time").kind(), ErrorKind::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn complaints_halve_what_is_asked_at_once_and_it_grows_again() {
    let complaint = || fail(ErrorKind::RateLimited, Retry::Later(Some(Duration::from_secs(2))));
    let steps = [complaint(), complaint(), complaint(), Step::After(Duration::from_secs(1), "fine".into())];
    let settings = limit::Settings { concurrency: 8, ..limit::Settings::default() };
    let provider = queued(Scripted::new(steps), settings);
    for _ in 0..3 {
        ask(&provider).await.expect_err("a complaint");
    }
    let began = Instant::now();
    assert!(join_all((0..4).map(|_| ask(&provider))).await.iter().all(Result::is_ok));
    assert!(began.elapsed() >= Duration::from_secs(6), "one at a time after the wait: {:?}", began.elapsed());
    for _ in 0..30 {
        ask(&provider).await.expect("an answer");
    }
    let began = Instant::now();
    assert!(join_all((0..8).map(|_| ask(&provider))).await.iter().all(Result::is_ok));
    assert!(began.elapsed() < Duration::from_secs(2), "all at once again: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_could_not_be_answered_in_time_is_told_before_the_time_is_over() {
    let scripted = Scripted::new([Step::After(Duration::from_secs(4), "fine".into())]);
    let calls = scripted.calls();
    let settings = limit::Settings { concurrency: 1, ..limit::Settings::default() };
    let provider = queued(scripted, settings);
    for _ in 0..5 {
        ask(&provider).await.expect("an answer");
    }
    let began = Instant::now();
    let (calling, asking) = (ctx(Duration::from_secs(10)), request(MODEL, Task::Ask));
    let outcomes = join_all((0..20).map(|_| provider.complete(&calling, &asking))).await;
    let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((answered, calls.load(Ordering::SeqCst)), (2, 7), "nobody was asked in vain");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_one_models_limit_takes_no_turn_from_another() {
    let limited_too = fail(ErrorKind::RateLimited, Retry::Later(Some(Duration::from_secs(20))));
    let settings = limit::Settings { concurrency: 2, ..limit::Settings::default() };
    let provider = queued(Scripted::new([limited_too, say("fine")]), settings);
    ask(&provider).await.expect_err("a limit");
    let calling = CallCtx { last: true, ..ctx(PATIENCE) };
    let asking = request(MODEL, Task::Ask);
    let waiting = join_all((0..8).map(|_| provider.complete(&calling, &asking)));
    let other = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let began = Instant::now();
        provider.complete(&ctx(PATIENCE), &request("another-model", Task::Ask)).await.expect("an answer");
        began.elapsed()
    };
    let (waited, took) = futures_util::future::join(waiting, other).await;
    assert!(waited.iter().all(Result::is_ok) && took < Duration::from_millis(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn complaints_about_one_model_narrow_no_other() {
    let complaint = || fail(ErrorKind::RateLimited, Retry::Later(Some(Duration::from_secs(2))));
    let steps = [complaint(), complaint(), complaint(), Step::After(Duration::from_secs(1), "fine".into())];
    let provider = queued(Scripted::new(steps), limit::Settings::default());
    for _ in 0..3 {
        ask(&provider).await.expect_err("a complaint");
    }
    let (calling, other) = (ctx(PATIENCE), request("another-model", Task::Ask));
    let began = Instant::now();
    assert!(join_all((0..16).map(|_| provider.complete(&calling, &other))).await.iter().all(Result::is_ok));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}
