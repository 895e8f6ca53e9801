//! The behaviour suite: what every provider promises, whatever is behind it. Layers are held to it as well.

#![expect(clippy::panic, reason = "a suite says what is wrong by failing")]

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{ctx, image, request};
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
    req.images.push(image(20, 30, 2));
    let answer = provider.complete(&ctx(PATIENCE), &req).await.unwrap_or_else(|error| panic!("JSON: {error:?}"));
    let value: Value = serde_json::from_str(&answer.text).unwrap_or_else(|error| panic!("{error}: {}", answer.text));
    assert!(value["description"].is_string());
}

async fn refuses_what_it_cannot_take(provider: &Provider, expected: Expected<'_>) {
    let card = provider.models()[0].clone();
    let before = (expected.calls)();
    let mut crowded = request(card.id.as_str(), Task::Describe);
    crowded.images = vec![image(32, 32, 3); card.limits.max_images + 1];
    let refused = provider.complete(&ctx(PATIENCE), &crowded).await.map_err(|error| error.kind());
    assert_eq!(refused.err(), Some(ErrorKind::Unsupported), "more images than it takes");
    if card.limits.max_side < 2000 {
        let mut large = request(card.id.as_str(), Task::Describe);
        large.images = vec![image(card.limits.max_side + 1, 16, 4)];
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
    req.images = vec![image(40, 40, 5)];
    let calling = ctx(PATIENCE);
    let mut leaving = Box::pin(provider.complete(&calling, &req));
    let _ = futures_util::poll!(&mut leaving);
    drop(leaving);
    let answer = provider.complete(&calling, &req).await;
    assert!(answer.is_ok(), "after somebody left: {answer:?}");
}
