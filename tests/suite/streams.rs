//! Answers as they are given: through the layers under paused time, through the gateway, and out of a real process; and
//! what becomes of answers that break their form.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use vision_providers::answer::{Answer, AnswerStream, Chunk, Finish, Usage};
use vision_providers::error::{Error, ErrorKind, Result, Retry};
use vision_providers::provider::Provider;
use vision_providers::request::{ModelId, Output, Schema, Task, VisionRequest};
use vision_providers::testkit::{Play, Scripted, Step, Then, Upstream, ctx, request};
use visiongate::gateway::{Ask, Asker};
use visiongate::intake::Door;
use visiongate::layers::cache::{self, Cached, Memory};
use visiongate::layers::limit;
use visiongate::layers::retry::{self, Retrying};
use visiongate::layers::validate::Validated;
use visiongate::metrics::Metrics;
use visiongate::supervisor::Supervisor;
use visiongate::surface::answer;

use super::{PATIENCE, completion, example, gateway, pixtral_at};

const MODEL: &str = "scripted-1";

fn answer(text: &str) -> Answer {
    let usage = Usage { input_tokens: 10, output_tokens: 2, ..Usage::default() };
    Answer { usage: Some(usage), ..Answer::new(text, ModelId::from(MODEL)) }
}

fn speak(deltas: &[&str]) -> Step {
    let said = deltas.iter().map(|delta| Ok(Chunk::Delta((*delta).to_owned())));
    Step::Speak(said.chain([Ok(Chunk::End(Box::new(answer(&deltas.concat()))))]).collect())
}

fn broken(delta: &str, retry: Retry) -> Step {
    let error = Error::new(ErrorKind::Unavailable, "scripted").retry(retry);
    Step::Speak(vec![Ok(Chunk::Delta(delta.into())), Err(error)])
}

async fn heard(stream: Result<AnswerStream>) -> (Vec<String>, Result<Answer>) {
    let mut deltas = Vec::new();
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return (deltas, Err(error)),
    };
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(Chunk::Delta(text)) => deltas.push(text),
            Ok(Chunk::End(answer)) => return (deltas, Ok(*answer)),
            Err(error) => return (deltas, Err(error)),
        }
    }
    panic!("a stream without an end");
}

async fn listen(provider: &Provider) -> (Vec<String>, Result<Answer>) {
    heard(provider.stream(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await).await
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

fn retrying(inner: Scripted) -> Provider {
    Arc::new(Retrying::new(Arc::new(inner), retry::Settings::default()))
}

#[tokio::test(start_paused = true)]
async fn what_fails_before_the_first_word_is_tried_again() {
    let refused = Error::new(ErrorKind::Unavailable, "scripted").retry(Retry::Later(None));
    let at_once = Step::Speak(vec![Err(refused.clone())]);
    let provider = retrying(Scripted::new([Step::Fail(refused), at_once, speak(&["a ", "cat"])]));
    let (deltas, ended) = listen(&provider).await;
    assert_eq!(deltas, ["a ", "cat"]);
    let tries: Vec<_> = ended.expect("an answer").tries.iter().map(|one| one.error).collect();
    assert_eq!(tries, [Some(ErrorKind::Unavailable), Some(ErrorKind::Unavailable), None]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_after_the_first_word_is_not() {
    let inner = Scripted::new([broken("a ", Retry::Later(None)), speak(&["never"])]);
    let calls = inner.calls();
    let (deltas, ended) = listen(&retrying(inner)).await;
    let error = ended.expect_err("it broke");
    assert_eq!((deltas, calls.load(Ordering::SeqCst)), (vec!["a ".to_owned()], 1));
    assert_eq!(error.tries().iter().map(|one| one.error).collect::<Vec<_>>(), [Some(ErrorKind::Unavailable)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_begin_is_given_up_in_time() {
    let provider = retrying(Scripted::new([Step::Hang]));
    let began = Instant::now();
    let (_, ended) = heard(provider.stream(&ctx(Duration::from_secs(55)), &request(MODEL, Task::Ask)).await).await;
    assert_eq!(ended.expect_err("it hangs").kind(), ErrorKind::TimedOut);
    assert_eq!(began.elapsed(), retry::Settings::default().attempt);
}

#[tokio::test]
async fn a_turn_lasts_as_long_as_its_stream() {
    let settings = limit::Settings { concurrency: 1, queue: 0, requests_per_minute: None };
    let provider = super::layers::limited(Arc::new(Scripted::new([speak(&["a ", "cat"])])), settings);
    let mut first = provider.stream(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect("a stream");
    assert!(matches!(first.next().await, Some(Ok(Chunk::Delta(_)))));
    assert_eq!(listen(&provider).await.1.expect_err("no turn").kind(), ErrorKind::Overloaded);
    drop(first);
    assert_eq!(listen(&provider).await.1.expect("a turn").text, "a cat");
}

#[tokio::test]
async fn equal_questions_hear_one_stream_and_later_ones_are_answered_from_memory() {
    let inner = Scripted::new([speak(&["a ", "black ", "cat"])]);
    let calls = inner.calls();
    let provider = cached(inner);
    let mut first = provider.stream(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect("a stream");
    assert!(matches!(first.next().await, Some(Ok(Chunk::Delta(_)))));
    let req = request(MODEL, Task::Ask);
    let calling = ctx(PATIENCE);
    let whole = provider.complete(&calling, &req);
    let ((deltas, second), whole, (_, first)) = tokio::join!(listen(&provider), whole, heard(Ok(first)));
    assert_eq!(deltas.concat(), "a black cat", "a late listener hears everything");
    let texts = [first, second, whole].map(|answered| answered.expect("an answer").text);
    assert_eq!(texts, ["a black cat"; 3]);
    let (deltas, remembered) = listen(&provider).await;
    assert!(remembered.expect("an answer").cached && deltas == ["a black cat"]);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_broken_stream_is_not_remembered() {
    let inner = Scripted::new([broken("half ", Retry::Never), speak(&["whole"])]);
    let provider = cached(inner);
    let (deltas, ended) = listen(&provider).await;
    assert!(ended.is_err() && deltas == ["half "], "{deltas:?}");
    assert_eq!(listen(&provider).await.1.expect("an answer").text, "whole");
}

#[tokio::test]
async fn the_last_listener_who_leaves_ends_the_call() {
    let inner = Scripted::new([speak(&["a ", "cat"])]);
    let dropped = inner.dropped();
    let provider = cached(inner);
    let mut one = provider.stream(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await.expect("a stream");
    assert!(matches!(one.next().await, Some(Ok(Chunk::Delta(_)))));
    drop(one);
    let gone = async {
        while dropped.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("the call ended");
}

fn extract() -> VisionRequest {
    let schema = json!({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]});
    let output = Output::Json(Schema { name: "receipt".into(), value: Arc::new(schema) });
    VisionRequest { output, ..request(MODEL, Task::Extract) }
}

/// A server of chat completions behind the layer that judges answers.
async fn judged(answers: &[&str]) -> (Provider, Upstream) {
    let upstream = Upstream::start(answers.iter().map(|text| Play::json(200, &completion(text)))).await;
    let config = format!("{}[retry]\nattempts = 1\n", pixtral_at(&upstream.url("/v1")));
    let provider = gateway(&config).roster.backends["pixtral"].provider.clone();
    (provider, upstream)
}

#[tokio::test]
async fn a_wrong_answer_is_shown_its_fault_once_and_both_calls_are_paid_for() {
    let (provider, upstream) = judged(&[r#"{"total": "much"}"#, r#"{"total": 25.41}"#]).await;
    let req = VisionRequest { model: ModelId::from("mistral-medium-latest"), ..extract() };
    let answered = provider.complete(&ctx(PATIENCE), &req).await.expect("a repaired answer");
    assert_eq!(answered.text, r#"{"total":25.41}"#);
    let paid: Vec<_> = answered.earlier.iter().chain(&answered.usage).map(|usage| usage.input_tokens).collect();
    assert_eq!(paid, [1210, 1210], "each call is billed on its own");
    let tries: Vec<_> = answered.tries.iter().map(|one| one.error).collect();
    assert_eq!(tries, [Some(ErrorKind::SchemaMismatch), None]);
    assert!(answered.warnings[0].contains("asked for again"), "{:?}", answered.warnings);
    let messages = &upstream.received()[1].body["messages"];
    let turn = |index: usize| (messages[index]["role"].as_str(), messages[index]["content"].to_string());
    assert_eq!(turn(1).0, Some("assistant"));
    assert!(turn(1).1.contains("much"), "the model sees what it said");
    assert!(turn(2).1.contains("total") && turn(2).1.contains("cannot be used"), "and what is wrong with it");
    assert!(messages[0]["content"].to_string().contains("data:image/png"), "and the image");
}

#[tokio::test]
async fn an_answer_that_stays_wrong_is_an_error_with_its_text() {
    let (provider, upstream) = judged(&["Sorry, no.", r#"{"total": "still much"}"#]).await;
    let req = VisionRequest { model: ModelId::from("mistral-medium-latest"), ..extract() };
    let error = provider.complete(&ctx(PATIENCE), &req).await.expect_err("out of form");
    assert_eq!((error.kind(), upstream.calls(), error.tries().len()), (ErrorKind::SchemaMismatch, 2, 2));
    assert!(error.to_string().contains("still much"), "{error}");
}

#[tokio::test]
async fn a_stream_ends_with_the_answer_that_was_judged() {
    let inner = Scripted::new([speak(&[r#"{"total": "#, r#""much"}"#]), speak(&[r#"{"total": 9}"#])]);
    let calls = inner.calls();
    let provider: Provider = Arc::new(Validated::new(Arc::new(inner)));
    let (deltas, ended) = heard(provider.stream(&ctx(PATIENCE), &extract()).await).await;
    assert_eq!(deltas.concat(), r#"{"total": "much"}"#);
    assert_eq!(ended.expect("a repaired answer").text, r#"{"total":9}"#);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_repair_that_fails_leaves_the_first_fault() {
    let wrong = Step::Say(answer(r#"{"total": "much"}"#));
    let inner = Scripted::new([wrong, Step::Fail(Error::new(ErrorKind::RateLimited, "scripted"))]);
    let provider: Provider = Arc::new(Validated::new(Arc::new(inner)));
    let error = provider.complete(&ctx(PATIENCE), &extract()).await.expect_err("out of form");
    assert_eq!(error.kind(), ErrorKind::SchemaMismatch);
    assert!(error.to_string().contains("much"), "{error}");
}

#[tokio::test]
async fn what_a_repair_cost_is_told_even_when_it_fails() {
    let wrong = Step::Say(answer(r#"{"total": "much"}"#));
    let cut = Step::Say(Answer { finish: Finish::Length, ..answer(r#"{"total": "#) });
    let provider: Provider = Arc::new(Validated::new(retrying(Scripted::new([wrong, cut]))));
    let error = provider.complete(&ctx(PATIENCE), &extract()).await.expect_err("out of form");
    assert_eq!((error.kind(), error.tries().len()), (ErrorKind::SchemaMismatch, 2));
}

#[tokio::test(start_paused = true)]
async fn callers_with_more_time_start_anew_when_the_first_one_runs_out() {
    let inner = Scripted::new([Step::Hang]);
    let calls = inner.calls();
    let provider = cached(inner);
    let asking = (1..=5).map(|seconds| {
        let provider = Arc::clone(&provider);
        async move {
            let began = Instant::now();
            let outcome = provider.complete(&ctx(Duration::from_secs(seconds)), &request(MODEL, Task::Ask)).await;
            (outcome.expect_err("it hangs").kind(), began.elapsed().as_secs())
        }
    });
    let outcomes = futures_util::future::join_all(asking).await;
    let expected: Vec<_> = (1..=5).map(|seconds| (ErrorKind::TimedOut, seconds)).collect();
    assert_eq!(outcomes, expected, "everybody is answered when their own time is up");
    assert!(calls.load(Ordering::SeqCst) <= 5);
}

fn event(delta: &Value, finish: &Value) -> String {
    let choice = json!({"index": 0, "delta": {"content": delta}, "finish_reason": finish});
    format!("data: {}\n\n", json!({"model": "mistral-medium-2604", "choices": [choice]}))
}

/// Events that say these pieces and end as they should.
fn events(pieces: &[&str]) -> Vec<Vec<u8>> {
    let mut events: Vec<Vec<u8>> = pieces.iter().map(|piece| event(&json!(piece), &Value::Null).into_bytes()).collect();
    events.push([event(&json!(""), &json!("stop")).as_str(), "data: [DONE]\n\n"].concat().into_bytes());
    events
}

async fn ask_aloud(config: &str, ask: &Ask) -> (Vec<String>, std::result::Result<Value, String>) {
    let gateway = gateway(config);
    let asker = Asker::local(Door::CommandLine);
    let (listener, mut said) = mpsc::channel(100);
    let reply = gateway.ask_aloud(ask, &asker, &listener).await;
    drop(listener);
    let mut pieces = Vec::new();
    while let Some(piece) = said.recv().await {
        pieces.push(piece);
    }
    (pieces, reply.map(|reply| answer::whole(&reply)).map_err(|failure| failure.to_string()))
}

#[tokio::test]
async fn a_description_is_heard_as_text_and_ends_as_a_reply() {
    let pieces = [r#"{"descri"#, r#"ption":"A till "#, r#"receipt","detected_text":"TOTAL\n"#, r#"25.41"}"#];
    let upstream = Upstream::start([Play::events(events(&pieces))]).await;
    let ask = Ask { images: vec![example("receipt.png")].into(), ..Ask::default() };
    let (said, reply) = ask_aloud(&pixtral_at(&upstream.url("/v1")), &ask).await;
    assert!(said.len() >= 3, "{said:?}");
    assert_eq!(said.concat(), "A till receipt\n\nText in the image:\nTOTAL\n25.41");
    let reply = reply.expect("a reply");
    assert_eq!((&reply["description"], &reply["detected_text"]), (&json!("A till receipt"), &json!("TOTAL\n25.41")));
    assert_eq!(upstream.received()[0].body["stream"], true);
}

#[tokio::test]
async fn nobody_else_is_asked_once_something_was_said() {
    let mut half = events(&["A till "]);
    half.pop();
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    let ask = Ask { prompt: Some("What?".into()), images: vec![example("receipt.png")].into(), ..Ask::default() };
    let second = Upstream::start([Play::json(200, &completion("never"))]).await;
    for (then, why) in [(Then::Break, "broke off"), (Then::End, "broke off")] {
        let upstream = Upstream::start([Play::Pieces(headers.clone(), half.clone(), then)]).await;
        let more = format!(
            "[providers.second]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{}\"\n",
            second.url("/v1")
        );
        let config =
            format!("{}{more}", pixtral_at(&upstream.url("/v1"))).replace("fallback = []", "fallback = [\"second\"]");
        let (said, reply) = ask_aloud(&config, &ask).await;
        assert_eq!(said, ["A till "]);
        let failure = reply.expect_err("half an answer");
        assert!(failure.contains("UPSTREAM_ERROR") && failure.contains(why), "{failure}");
    }
    // Before the first word, the next one answers.
    let refusing = Upstream::start([Play::json(401, &json!({"message": "Unauthorized"}))]).await;
    let more = format!(
        "[providers.second]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{}\"\n",
        second.url("/v1")
    );
    let config =
        format!("{}{more}", pixtral_at(&refusing.url("/v1"))).replace("fallback = []", "fallback = [\"second\"]");
    let (said, reply) = ask_aloud(&config, &ask).await;
    assert_eq!((said.concat().as_str(), reply.expect("a reply")["provider"].as_str()), ("never", Some("second")));
}

#[tokio::test]
async fn what_one_model_left_half_said_is_nothing_to_the_next() {
    let half = [r#"{"descr"#];
    let mut pieces = events(&half);
    pieces.pop();
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    let first = Upstream::start([Play::Pieces(headers, pieces, Then::End)]).await;
    let second = Upstream::start([Play::events(events(&[r#"{"description":"A cat.","detected_text":""}"#]))]).await;
    let more = format!(
        "[providers.second]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{}\"\n",
        second.url("/v1")
    );
    let config = format!("{}{more}", pixtral_at(&first.url("/v1"))).replace("fallback = []", "fallback = [\"second\"]");
    let ask = Ask { images: vec![example("receipt.png")].into(), ..Ask::default() };
    let (said, reply) = ask_aloud(&config, &ask).await;
    assert_eq!((said.concat().as_str(), reply.expect("a reply")["provider"].as_str()), ("A cat.", Some("second")));
}

#[tokio::test]
async fn silence_in_the_middle_ends_in_an_error_and_a_closed_socket() {
    let mut half = events(&["A till "]);
    half.pop();
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    let upstream = Upstream::start([Play::Pieces(headers, half, Then::Hang)]).await;
    let config = format!("{}[deadline]\ntotal = \"1s\"\n", pixtral_at(&upstream.url("/v1")));
    let ask = Ask { prompt: Some("What?".into()), images: vec![example("receipt.png")].into(), ..Ask::default() };
    let (said, reply) = ask_aloud(&config, &ask).await;
    assert_eq!(said, ["A till "]);
    assert!(reply.expect_err("silence").contains("UPSTREAM_TIMEOUT"));
    assert!(upstream.has_been_left(1, Duration::from_secs(5)).await);
}

fn command(upstream: &Upstream, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visiongate"));
    command
        .args(args)
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("MISTRAL_API_KEY", "k")
        .env("VISIONGATE_FALLBACK", "[]")
        .env("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", upstream.url("/v1"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_prints_while_it_listens() {
    let upstream = Upstream::start([Play::events(events(&["A till ", "receipt.\n"]))]).await;
    let mut asking = command(&upstream, &["analyze", &example("receipt.png"), "-p", "What?", "--stream"]);
    let output = tokio::task::spawn_blocking(move || asking.output().expect("it runs")).await.expect("output");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "A till receipt.\n\n", "{err}");
    assert!(output.status.success() && err.contains("answered by pixtral/mistral-medium-2604"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_stays_one_document_when_it_is_streamed() {
    let upstream = Upstream::start([Play::json(200, &completion("A till receipt."))]).await;
    let mut asking = command(&upstream, &["analyze", &example("receipt.png"), "-p", "What?", "--stream", "--json"]);
    let output = tokio::task::spawn_blocking(move || asking.output().expect("it runs")).await.expect("output");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(answer["text"], "A till receipt.");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_has_heard_enough_ends_the_call() {
    let mut pieces = events(&["A till "]);
    pieces.pop();
    pieces.extend((0..200).map(|_| event(&json!("and more "), &Value::Null).into_bytes()));
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    let upstream = Upstream::start([Play::Pieces(headers, pieces, Then::Hang)]).await;
    let mut asking = command(&upstream, &["analyze", &example("receipt.png"), "-p", "What?", "--stream"]);
    let mut child = asking.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    drop(child.stdout.take());
    let ended = tokio::task::spawn_blocking(move || child.wait().expect("it ended").code());
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await.expect("at once").expect("a code");
    assert_eq!(ended, Some(0));
    assert!(upstream.has_been_left(1, Duration::from_secs(5)).await);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn whoever_stops_listening_closes_the_vendors_socket() {
    let mut half = events(&["A till "]);
    half.pop();
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    let upstream = Upstream::start([Play::Pieces(headers, half, Then::Hang)]).await;
    let mut asking = command(&upstream, &["analyze", &example("receipt.png"), "-p", "What?", "--stream"]);
    let mut child = asking.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut out = child.stdout.take().expect("a pipe");
    let (mut child, heard) = tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut heard = [0; 7];
        out.read_exact(&mut heard).expect("the first words");
        (child, heard)
    })
    .await
    .expect("a reader");
    assert_eq!(&heard, b"A till ");
    let interrupt = format!("kill -INT {}", child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().expect("a shell").success());
    assert!(upstream.has_been_left(1, Duration::from_secs(5)).await);
    assert_eq!(child.wait().expect("it ended").code(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_to_be_repaired_does_not_wait_for_its_own_turn() {
    let inner = Scripted::new([speak(&[r#"{"total": "much"}"#]), speak(&[r#"{"total": 9}"#])]);
    let settings = limit::Settings { concurrency: 1, ..limit::Settings::default() };
    let provider = super::layers::limited(Arc::new(inner), settings);
    let provider: Provider = Arc::new(Validated::new(provider));
    let (_, ended) = heard(provider.stream(&ctx(PATIENCE), &extract()).await).await;
    assert_eq!(ended.expect("a repaired answer").text, r#"{"total":9}"#);
}
