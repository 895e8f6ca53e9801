//! Streams as real servers give them: what counts as an end, what may be asked for again, and modes that do not match.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use vision_providers::answer::Answer;
use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::request::{Task, VisionRequest};
use vision_providers::testkit::{Play, Then, Upstream, ctx, request};

use super::questions::listen;
use super::{PATIENCE, completion, provider};

fn chunk(content: &str, finish: &Value) -> String {
    let choice = json!({"index": 0, "delta": {"content": content}, "finish_reason": finish});
    format!("data: {}\n\n", json!({"model": "m", "choices": [choice]}))
}

fn asking() -> VisionRequest {
    request("lab-model", Task::Ask)
}

async fn streamed(kind: &str, play: Play) -> (String, Result<Answer, Error>) {
    let upstream = Upstream::start([play]).await;
    listen(&provider(kind, &upstream, "lab-model"), &asking()).await
}

#[tokio::test]
async fn heartbeats_after_the_end_do_not_keep_an_answer_from_its_caller() {
    let mut pieces = vec![chunk("a cat", &json!("stop")).into_bytes()];
    pieces.extend((0..40_000).map(|_| b": still here\n\n".to_vec()));
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    let began = Instant::now();
    let (said, ended) = streamed("vllm", Play::Pieces(headers, pieces, Then::Hang)).await;
    let answer = ended.expect("an answer");
    assert_eq!((said.as_str(), answer.text.as_str()), ("a cat", "a cat"));
    assert!(answer.warnings[0].contains("not its stream") && began.elapsed() < Duration::from_secs(15), "{answer:?}");
}

#[tokio::test]
async fn a_reason_on_every_chunk_ends_nothing_while_more_is_said() {
    let pieces = [chunk("a ", &json!("stop")), chunk("black ", &json!("stop")), chunk("cat", &json!("stop"))];
    let (said, ended) = streamed("vllm", Play::events(pieces)).await;
    assert_eq!((said.as_str(), ended.expect("an answer").text.as_str()), ("a black cat", "a black cat"));
}

#[tokio::test]
async fn a_terminator_without_a_reason_is_an_end_with_a_warning() {
    let (_, ended) = streamed("vllm", Play::events([chunk("a cat", &Value::Null), "data: [DONE]\n\n".into()])).await;
    let answer = ended.expect("an answer");
    assert!(answer.partial && answer.warnings[0].contains("complete"), "{answer:?}");
}

#[tokio::test]
async fn what_breaks_after_thoughts_is_not_asked_for_again() {
    let thinking = json!({"model": "m", "choices": [{"delta": {"content": "<think>hm"}, "finish_reason": null}]});
    let overloaded = json!({"error": {"message": "overloaded", "code": 503}});
    for (events, retry) in [
        (vec![format!("data: {thinking}\n\n"), format!("data: {overloaded}\n\n")], Retry::Never),
        (vec![": hello\n\n".to_owned(), format!("data: {overloaded}\n\n")], Retry::Later(None)),
    ] {
        let error = streamed("vllm", Play::events(events)).await.1.expect_err("overloaded");
        assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::Unavailable, retry));
    }
}

#[tokio::test]
async fn a_refusal_is_quoted_whole() {
    let piece =
        |text: &str| format!("data: {}\n\n", json!({"choices": [{"delta": {"refusal": text}, "finish_reason": null}]}));
    let events = [piece("I must "), piece("not say."), chunk("", &json!("stop")), "data: [DONE]\n\n".into()];
    let error = streamed("vllm", Play::events(events)).await.1.expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.message().contains("I must not say."), "{error}");
}

#[tokio::test]
async fn modes_that_do_not_match_are_told_by_the_content_type() {
    // One piece, although a stream was asked for.
    let whole = completion(&json!("a cat")).to_string().into_bytes();
    let json = vec![("content-type", "Application/JSON; charset=utf-8".to_owned())];
    let (said, ended) = streamed("vllm", Play::Pieces(json, vec![whole], Then::End)).await;
    assert_eq!((said.as_str(), ended.expect("an answer").text.as_str()), ("a cat", "a cat"));
    // A stream, although one piece was asked for.
    let events = [chunk("a ", &Value::Null), chunk("cat", &json!("stop"))].concat().into_bytes();
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    let upstream = Upstream::start([Play::Pieces(headers, vec![events], Then::End)]).await;
    let answer = provider("vllm", &upstream, "lab-model").complete(&ctx(PATIENCE), &asking()).await;
    assert_eq!(answer.expect("an answer").text, "a cat");
    // Gemini without events: a list of pieces.
    let piece = |text: &str, finish: Value| json!({"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": finish}]});
    let list = json!([piece("a ", Value::Null), piece("cat", json!("STOP"))]);
    let (said, _) = streamed(
        "gemini",
        Play::Pieces(vec![("content-type", "application/json".into())], vec![list.to_string().into_bytes()], Then::End),
    )
    .await;
    assert_eq!(said, "a cat");
}

#[tokio::test]
async fn a_stream_that_nobody_asked_for_ends_as_any_other() {
    let done = [chunk("a ", &Value::Null), chunk("cat", &json!("stop"))].concat();
    let late_error = format!("{done}data: {}\n\n", json!({"error": {"message": "overloaded", "code": 503}}));
    let terminated = format!("{done}data: [DONE]\n\n");
    let headers = vec![("content-type", "text/event-stream".to_owned())];
    for (events, then) in [(late_error, Then::End), (terminated, Then::Hang)] {
        let upstream = Upstream::start([Play::Pieces(headers.clone(), vec![events.into_bytes()], then)]).await;
        let began = Instant::now();
        let answer = provider("vllm", &upstream, "lab-model").complete(&ctx(PATIENCE), &asking()).await;
        assert_eq!(answer.expect("an answer").text, "a cat");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    let half = chunk("a ", &Value::Null).into_bytes();
    let upstream = Upstream::start([Play::Pieces(headers, vec![half], Then::End)]).await;
    let error = provider("vllm", &upstream, "lab-model").complete(&ctx(PATIENCE), &asking()).await.expect_err("half");
    assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::Unavailable, Retry::Never));
}

#[tokio::test]
async fn an_error_page_that_breaks_off_keeps_its_status() {
    let page = b"HTTP/1.1 503 X\r\ncontent-length: 500\r\n\r\noverload".to_vec();
    let upstream = Upstream::start([Play::Raw(page)]).await;
    let error = provider("vllm", &upstream, "lab-model").complete(&ctx(PATIENCE), &asking()).await.expect_err("503");
    assert_eq!((error.kind(), error.retry_verdict()), (ErrorKind::Unavailable, Retry::Later(None)));
}

#[tokio::test]
async fn an_empty_error_is_none() {
    for empty in [json!({}), json!(""), json!(false), Value::Null] {
        let mut reply = completion(&json!("a cat"));
        reply["error"] = empty;
        let upstream = Upstream::start([Play::json(200, &reply)]).await;
        let answer = provider("vllm", &upstream, "lab-model").complete(&ctx(PATIENCE), &asking()).await;
        assert_eq!(answer.expect("an answer").text, "a cat");
    }
}

#[tokio::test]
async fn what_was_asked_does_not_come_back_in_an_error() {
    let prompt = "The patient Jane Roe has the number 078-05-1120. What is her diagnosis?";
    let echo = json!({"error": {"message": format!("invalid prompt: {prompt} (too personal)")}});
    let upstream = Upstream::start([Play::json(400, &echo)]).await;
    let mut req = asking();
    req.messages = vec![vision_providers::request::Message::question(Vec::new(), prompt)];
    let error = provider("vllm", &upstream, "lab-model").complete(&ctx(PATIENCE), &req).await.expect_err("refused");
    let text = error.to_string();
    assert!(!text.contains("Jane") && !text.contains("078") && text.contains("too personal"), "{text}");
}

#[tokio::test]
async fn a_million_bytes_of_nonsense_are_refused_at_once() {
    let nonsense = format!("{{\"a\":\"{}", "1".repeat(900_000)).into_bytes();
    let upstream = Upstream::start([Play::Reply(200, Vec::new(), nonsense)]).await;
    let began = Instant::now();
    let error =
        provider("vllm", &upstream, "lab-model").complete(&ctx(PATIENCE), &asking()).await.expect_err("nonsense");
    assert_eq!(error.kind(), ErrorKind::Garbled);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
