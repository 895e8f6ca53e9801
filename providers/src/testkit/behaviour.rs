//! The behaviour suite: what every provider promises, whatever is behind it. Layers are held to it as well.

#![expect(clippy::panic, reason = "a suite says what is wrong by failing")]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{about, ctx, image, request};
use crate::answer::Chunk;
use crate::error::ErrorKind;
use crate::provider::Provider;
use crate::request::{Output, Schema, Task};

/// What the suite has to know of the provider under test.
#[derive(Clone, Copy)]
pub struct Expected<'a> {
    /// A text that must never show, such as its key.
    pub secret: &'a str,
    /// Calls that reached the backend so far.
    pub calls: &'a (dyn Fn() -> usize + Sync),
}

const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the suite. The backend has to answer every question with the JSON text
/// `{"description": "…", "detected_text": "…"}`.
///
/// # Panics
/// When a promise is broken.
pub async fn behaves(provider: &Provider, expected: Expected<'_>) {
    knows_its_models(provider);
    answers_one_image(provider).await;
    answers_in_json(provider).await;
    streams_to_exactly_one_end(provider).await;
    refuses_what_it_cannot_take(provider, expected).await;
    survives_a_caller_who_leaves(provider).await;
    let shown = format!("{provider:?}");
    assert!(!shown.contains(expected.secret), "Debug shows the secret: {shown}");
}

fn knows_its_models(provider: &Provider) {
    let default = provider.models().first().unwrap_or_else(|| panic!("{} has no model", provider.id()));
    assert_eq!(provider.card(default.id.as_str()).id, default.id);
    assert_eq!(provider.card("never-heard-of").id.as_str(), "never-heard-of");
    assert!(!provider.id().is_empty());
}

fn default_model(provider: &Provider) -> String {
    provider.models()[0].id.to_string()
}

async fn answers_one_image(provider: &Provider) {
    let req = request(&default_model(provider), Task::Describe);
    let answer = provider.complete(&ctx(PATIENCE), &req).await.unwrap_or_else(|error| panic!("one image: {error:?}"));
    assert!(!answer.text.trim().is_empty(), "an empty success");
    assert!(!answer.model.as_str().is_empty());
}

async fn answers_in_json(provider: &Provider) {
    let mut req = request(&default_model(provider), Task::Describe);
    let schema = json!({"type": "object", "properties": {"description": {"type": "string"}, "detected_text": {"type": "string"}},
        "required": ["description", "detected_text"], "additionalProperties": false});
    req.output = Output::Json(Schema { name: "describe".into(), value: Arc::new(schema) });
    req.messages = vec![about(vec![image(32, 32, 1), image(20, 30, 2)], "What are these?")];
    let answer = provider.complete(&ctx(PATIENCE), &req).await.unwrap_or_else(|error| panic!("JSON: {error:?}"));
    let value: Value = serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text));
    assert!(value["description"].is_string());
}

async fn streams_to_exactly_one_end(provider: &Provider) {
    let req = request(&default_model(provider), Task::Describe);
    let opened = provider.stream(&ctx(PATIENCE), &req).await;
    let mut stream = opened.unwrap_or_else(|error| panic!("a stream: {error:?}"));
    let (mut said, mut ends) = (String::new(), Vec::new());
    while let Some(chunk) = stream.next().await {
        match chunk.unwrap_or_else(|error| panic!("in a stream: {error:?}")) {
            Chunk::Delta(text) => {
                assert!(ends.is_empty(), "something was said after the end: {text}");
                said.push_str(&text);
            }
            Chunk::End(answer) => ends.push(answer),
        }
    }
    assert_eq!(ends.len(), 1, "a stream has one end");
    assert!(!ends[0].text.trim().is_empty() && !said.trim().is_empty(), "an empty success");
}

async fn refuses_what_it_cannot_take(provider: &Provider, expected: Expected<'_>) {
    let card = provider.models()[0].clone();
    let before = (expected.calls)();
    let mut crowded = request(card.id.as_str(), Task::Describe);
    crowded.messages = vec![about(vec![image(32, 32, 3); card.limits.max_images + 1], "Which?")];
    let refused = provider.complete(&ctx(PATIENCE), &crowded).await.map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::Unsupported), "more images than it takes");
    if card.limits.max_side < 2000 {
        let mut large = request(card.id.as_str(), Task::Describe);
        large.messages = vec![about(vec![image(card.limits.max_side + 1, 16, 4)], "What?")];
        let refused = provider.complete(&ctx(PATIENCE), &large).await.map_err(|error| error.kind());
        assert_eq!(refused.err(), Some(ErrorKind::TooLarge), "a larger image than it takes");
    }
    for task in Task::ALL.into_iter().filter(|task| !card.tasks.contains(task)) {
        let refused = provider.complete(&ctx(PATIENCE), &request(card.id.as_str(), task)).await;
        assert_eq!(refused.map_err(|error| error.kind()).err(), Some(ErrorKind::Unsupported), "{task:?}");
    }
    assert_eq!((expected.calls)(), before, "what cannot be taken was sent all the same");
}

async fn survives_a_caller_who_leaves(provider: &Provider) {
    let mut req = request(&default_model(provider), Task::Describe);
    req.messages = vec![about(vec![image(40, 40, 5)], "What?")];
    let calling = ctx(PATIENCE);
    let mut leaving = Box::pin(provider.complete(&calling, &req));
    let _ = futures_util::poll!(&mut leaving);
    drop(leaving);
    let answer = provider.complete(&calling, &req).await;
    assert!(answer.is_ok(), "after somebody left: {answer:?}");
}
