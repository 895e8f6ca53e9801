//! Each layer over a scripted provider, under paused time, and the behaviour suite over every one of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use vision_providers::answer::{Answer, Finish};
use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::provider::Provider;
use vision_providers::request::{CacheMode, Caller, ModelId, Task};
use vision_providers::testkit::{Expected, Scripted, Step, about, behaves, ctx, image, request};
use visiongate::layers::cache::{self, Cached, Memory};
use visiongate::layers::limit::{self, Limited};
use visiongate::layers::observe::Observed;
use visiongate::layers::retry::{self, Retrying};
use visiongate::layers::validate::Validated;
use visiongate::supervisor::Supervisor;

use super::PATIENCE;

const MODEL: &str = "scripted-1";

fn say(text: &str) -> Step {
    Step::Say(Answer::new(text, ModelId::from(MODEL)))
}

fn fail(kind: ErrorKind, retry: Retry) -> Step {
    Step::Fail(Error::new(kind, "scripted").retry(retry))
}

fn cached(inner: Scripted) -> Provider {
    Arc::new(Cached::new(Arc::new(inner), Memory::new(cache::Settings::default()), Supervisor::default()))
}

fn retrying(inner: Scripted) -> Provider {
    Arc::new(Retrying::new(Arc::new(inner), retry::Settings::default()))
}

#[tokio::test]
async fn every_layer_behaves_like_a_provider() {
    type Wrap = fn(Provider) -> Provider;
    let wraps: [Wrap; 5] = [
        |inner| Arc::new(Limited::new(inner, limit::Settings::default())),
        |inner| Arc::new(Retrying::new(inner, retry::Settings::default())),
        |inner| Arc::new(Validated::new(inner)),
        |inner| Arc::new(Cached::new(inner, Memory::new(cache::Settings::default()), Supervisor::default())),
        |inner| Arc::new(Observed::new(inner)),
    ];
    let script = || Scripted::new([say(r#"{"description":"a cat","detected_text":""}"#)]);
    for wrap in wraps {
        let inner = script();
        let calls = inner.calls();
        behaves(&wrap(Arc::new(inner)), Expected { secret: "secret-key", calls: &|| calls.load(Ordering::SeqCst) })
            .await;
    }
    let inner = script();
    let calls = inner.calls();
    let all = wraps.iter().fold(Arc::new(inner) as Provider, |inner, wrap| wrap(inner));
    behaves(&all, Expected { secret: "secret-key", calls: &|| calls.load(Ordering::SeqCst) }).await;
}

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

#[tokio::test]
async fn the_second_time_is_remembered() {
    let scripted = Scripted::new([say("fine")]);
    let calls = scripted.calls();
    let provider = cached(scripted);
    let first = provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect("an answer");
    let second = provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect("an answer");
    assert_eq!((first.cached, second.cached, calls.load(Ordering::SeqCst)), (false, true, 1));
}

#[tokio::test]
async fn nothing_that_can_change_an_answer_is_left_out_of_the_key() {
    let scripted = Scripted::new([say("fine")]);
    let calls = scripted.calls();
    let provider = cached(scripted);
    let base = request(MODEL, Task::Ask);
    let mut variants = vec![base.clone(); 11];
    variants[1].messages = vec![about(vec![image(32, 32, 1)], "What is that?")];
    variants[2].messages = vec![about(vec![image(32, 32, 2)], "What is this?")];
    variants[3].messages = vec![about(vec![image(32, 32, 1), image(32, 32, 2)], "What is this?")];
    variants[4].messages = vec![about(vec![image(32, 32, 2), image(32, 32, 1)], "What is this?")];
    variants[5].system = Some("Be brief.".into());
    variants[6].sampling.temperature = Some(0.0);
    variants[7].sampling.max_output_tokens = Some(10);
    variants[8].model = ModelId::from("other");
    variants[9].task = Task::Describe;
    variants[10].detail = vision_providers::request::Detail::Low;
    for req in &variants {
        assert!(!provider.complete(&ctx(PATIENCE), req).await.expect("an answer").cached, "{req:?}");
    }
    let stranger = vision_providers::request::CallCtx { caller: Caller::local(), ..ctx(PATIENCE) };
    assert!(provider.complete(&stranger, &base).await.expect("an answer").cached);
    assert_eq!(calls.load(Ordering::SeqCst), variants.len());
}

#[tokio::test]
async fn only_complete_answers_are_remembered() {
    let cut = Answer { finish: Finish::Length, ..Answer::new("half", ModelId::from(MODEL)) };
    let partial = Answer { partial: true, ..Answer::new("part", ModelId::from(MODEL)) };
    let script = [Step::Say(cut), Step::Say(partial), fail(ErrorKind::Empty, Retry::Never), say("fine")];
    let provider = cached(Scripted::new(script));
    let req = request(MODEL, Task::Ask);
    let mut said = Vec::new();
    for _ in 0..5 {
        said.push(provider.complete(&ctx(PATIENCE), &req).await.map(|answer| (answer.text, answer.cached)).ok());
    }
    let fresh = |text: &str| Some((text.to_owned(), false));
    assert_eq!(said, [fresh("half"), fresh("part"), None, fresh("fine"), Some(("fine".into(), true))]);
}

#[tokio::test]
async fn refresh_asks_anew_and_bypass_leaves_no_trace() {
    let provider = cached(Scripted::new([say("one"), say("two"), say("three")]));
    let req = request(MODEL, Task::Ask);
    let mut said = Vec::new();
    for mode in [CacheMode::Use, CacheMode::Bypass, CacheMode::Use, CacheMode::Refresh, CacheMode::Use] {
        let ctx = vision_providers::request::CallCtx { cache: mode, ..ctx(PATIENCE) };
        said.push(provider.complete(&ctx, &req).await.expect("an answer").text);
    }
    assert_eq!(said, ["one", "two", "one", "three", "three"]);
}

#[tokio::test(start_paused = true)]
async fn fifty_equal_calls_at_once_make_one() {
    let scripted = Scripted::new([Step::After(Duration::from_secs(1), "fine".into())]);
    let calls = scripted.calls();
    let provider = cached(scripted);
    let asking = (0..50).map(|_| async { provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await });
    let answers = join_all(asking).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.text == "fine")));
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_neither_kills_nor_restarts_the_call_of_the_others() {
    let scripted = Scripted::new([Step::After(Duration::from_secs(2), "fine".into())]);
    let (calls, dropped) = (scripted.calls(), scripted.dropped());
    let provider = cached(scripted);
    let req = request(MODEL, Task::Ask);
    let (leader, follower) = (ctx(PATIENCE), ctx(PATIENCE));
    let leading = tokio::time::timeout(Duration::from_secs(1), provider.complete(&leader, &req));
    let (left, answered) = tokio::join!(leading, provider.complete(&follower, &req));
    assert!(left.is_err(), "the leader was to leave");
    assert_eq!(answered.expect("an answer").text, "fine");
    assert_eq!((calls.load(Ordering::SeqCst), dropped.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn when_the_last_one_leaves_the_call_is_cancelled() {
    let scripted = Scripted::new([Step::Hang, say("fine")]);
    let (calls, dropped) = (scripted.calls(), scripted.dropped());
    let provider = cached(scripted);
    let req = request(MODEL, Task::Ask);
    let calling = ctx(PATIENCE);
    let both = async { tokio::join!(provider.complete(&calling, &req), provider.complete(&calling, &req)) };
    assert!(tokio::time::timeout(Duration::from_secs(1), both).await.is_err());
    // An aborted task is dropped when the scheduler comes round to it.
    while dropped.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(provider.complete(&calling, &req).await.expect("a new call").text, "fine");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_follower_with_more_time_outlives_the_leaders_deadline() {
    let provider = cached(Scripted::new([Step::After(Duration::from_secs(4), "late".into())]));
    let req = request(MODEL, Task::Ask);
    let (hasty, patient) = (ctx(Duration::from_secs(3)), ctx(Duration::from_secs(30)));
    let (first, second) = tokio::join!(provider.complete(&hasty, &req), provider.complete(&patient, &req));
    assert_eq!(first.expect_err("out of time").kind(), ErrorKind::TimedOut);
    assert_eq!(second.expect("an answer").text, "late");
}

#[tokio::test(start_paused = true)]
async fn calls_beyond_the_bound_wait_and_beyond_the_queue_are_refused() {
    let scripted = Scripted::new([Step::After(Duration::from_secs(1), "fine".into())]);
    let settings = limit::Settings { concurrency: 2, queue: 3 };
    let provider: Provider = Arc::new(Limited::new(Arc::new(scripted), settings));
    let began = Instant::now();
    let asking = (0..7).map(|_| async { provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await });
    let outcomes = join_all(asking).await;
    let refused: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(Error::kind).collect();
    assert_eq!(refused, [ErrorKind::Overloaded; 2]);
    assert_eq!(began.elapsed().as_secs(), 3, "five calls, two at a time, take three seconds");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_turn_does_not_come_gives_up_at_its_deadline() {
    let provider: Provider =
        Arc::new(Limited::new(Arc::new(Scripted::new([Step::Hang])), limit::Settings { concurrency: 1, queue: 9 }));
    let req = request(MODEL, Task::Ask);
    let (long, short) = (ctx(PATIENCE), ctx(Duration::from_secs(1)));
    let waiting = async { tokio::join!(provider.complete(&long, &req), provider.complete(&short, &req)) };
    let mut waiting = Box::pin(waiting);
    assert!(tokio::time::timeout(Duration::from_secs(2), &mut waiting).await.is_err());
    drop(waiting);
    assert!(provider.probe(&ctx(PATIENCE)).await.is_ok());
}
