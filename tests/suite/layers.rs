//! Each layer over a scripted provider, under paused time, and the behaviour suite over every one of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use vision_providers::allowance::Allowance;
use vision_providers::answer::{Answer, Finish};
use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::provider::Provider;
use vision_providers::request::{CacheMode, CallCtx, Caller, ModelId, Task};
use vision_providers::testkit::{Expected, Scripted, Step, about, behaves, ctx, image, request};
use visiongate::health::{self, Cause, Health};
use visiongate::layers::breaker::Guarded;
use visiongate::layers::cache::{self, Cached, Memory};
use visiongate::layers::limit::{self, Limited, Turnstile};
use visiongate::layers::observe::Observed;
use visiongate::layers::retry::{self, Retrying};
use visiongate::layers::validate::Validated;
use visiongate::metrics::Metrics;
use visiongate::store::disk::{self, Disk};
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
    Arc::new(Cached::new(
        Arc::new(inner),
        [0; 32],
        Memory::new(cache::Settings::default(), None),
        Supervisor::default(),
        Metrics::default(),
    ))
}

pub(crate) fn healthy() -> Arc<Health> {
    Arc::new(Health::new(health::Settings::default()))
}

pub(crate) fn limited(inner: Provider, settings: limit::Settings) -> Provider {
    Arc::new(Limited::new(inner, healthy(), Arc::new(Turnstile::new(settings)), PATIENCE, Metrics::default()))
}

fn retrying(inner: Scripted) -> Provider {
    Arc::new(Retrying::new(Arc::new(inner), retry::Settings::default()))
}

#[tokio::test]
async fn every_layer_behaves_like_a_provider() {
    type Wrap = fn(Provider) -> Provider;
    let wraps: [Wrap; 6] = [
        |inner| limited(inner, limit::Settings::default()),
        |inner| Arc::new(Guarded::new(inner, healthy(), Metrics::default())),
        |inner| Arc::new(Retrying::new(inner, retry::Settings::default())),
        |inner| Arc::new(Validated::new(inner)),
        |inner| {
            Arc::new(Cached::new(
                inner,
                [0; 32],
                Memory::new(cache::Settings::default(), None),
                Supervisor::default(),
                Metrics::default(),
            ))
        },
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
    let stranger = CallCtx { caller: Caller::local(), ..ctx(PATIENCE) };
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
        let ctx = CallCtx { cache: mode, ..ctx(PATIENCE) };
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

/// A queue before a breaker, which share the health of `inner`.
fn queued(inner: Scripted, settings: limit::Settings) -> Provider {
    let health = healthy();
    let provider = guarded(inner, &health);
    Arc::new(Limited::new(provider, health, Arc::new(Turnstile::new(settings)), PATIENCE, Metrics::default()))
}

fn guarded(inner: Scripted, health: &Arc<Health>) -> Provider {
    Arc::new(Guarded::new(Arc::new(inner), Arc::clone(health), Metrics::default()))
}

async fn ask(provider: &Provider) -> Result<Answer, Error> {
    provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await
}

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
    for kind in [ErrorKind::InvalidRequest, ErrorKind::TooLarge, ErrorKind::Refused, ErrorKind::Truncated] {
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

#[tokio::test]
async fn the_disk_remembers_for_the_next_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let supervisor = Supervisor::default();
    let settings = || {
        let (folder, ttl) = (folder.path().join("answers"), Duration::from_hours(1));
        Disk::open(disk::Settings { folder, capacity: 1 << 20, ttl }, &supervisor)
    };
    let remembering = |inner: Scripted| -> Provider {
        let memory = Memory::new(cache::Settings::default(), Some(settings()));
        Arc::new(Cached::new(Arc::new(inner), [0; 32], memory, supervisor.clone(), Metrics::default()))
    };
    assert!(!ask(&remembering(Scripted::new([say("fine")]))).await.expect("an answer").cached);
    supervisor.drained(PATIENCE).await;
    let second = Scripted::new([say("asked anew")]);
    let calls = second.calls();
    let answer = ask(&remembering(second)).await.expect("an answer");
    assert_eq!((answer.text.as_str(), answer.cached, calls.load(Ordering::SeqCst)), ("fine", true, 0));
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

#[tokio::test(start_paused = true)]
async fn whoever_has_more_time_joins_nobody_who_has_less() {
    let inner = Scripted::new([Step::After(Duration::from_secs(30), "fine".into())]);
    let calls = inner.calls();
    let provider = cached(inner);
    let hurried = ctx(Duration::from_secs(10));
    let patient = CallCtx { last: true, ..ctx(Duration::from_secs(55)) };
    let asking = request(MODEL, Task::Ask);
    let (first, second) =
        futures_util::future::join(provider.complete(&hurried, &asking), provider.complete(&patient, &asking)).await;
    assert_eq!(first.expect_err("no time").kind(), ErrorKind::TimedOut);
    assert_eq!((second.expect("an answer").text.as_str(), calls.load(Ordering::SeqCst)), ("fine", 2));
}
