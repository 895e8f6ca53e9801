//! What is remembered and what is shared: the cache over a scripted provider, and the disk behind it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use vision_providers::answer::{Answer, Finish};
use vision_providers::error::{ErrorKind, Retry};
use vision_providers::provider::Provider;
use vision_providers::request::{CacheMode, CallCtx, Caller, ModelId, Task};
use vision_providers::testkit::{Scripted, Step, about, ctx, image, request};
use visiongate::layers::cache::{self, Cached, Memory};
use visiongate::metrics::Metrics;
use visiongate::store::disk::{self, Disk};
use visiongate::supervisor::Supervisor;

use super::super::PATIENCE;
use super::{MODEL, ask, cached, fail, say};

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
