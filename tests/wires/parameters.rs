//! What is sent for the same wishes to models that differ: effort, sampling, resolution, context, and what an operator
//! adds.

use std::sync::Arc;

use serde_json::{Value, json};
use vision_providers::error::ErrorKind;
use vision_providers::request::{Detail, Effort, Output, Sampling, Schema, Task, VisionRequest};
use vision_providers::testkit::{Play, Upstream, about, ctx, image, request};

use super::{PATIENCE, build, completion, settings};

/// The path and body that a model is sent, and what its answer warns of.
async fn sent(kind: &str, req: &VisionRequest) -> (String, Value, Vec<String>) {
    // One reply that every wire can read.
    let mut reply = completion(&json!("fine"));
    let more = json!({"content": [{"type": "text", "text": "fine"}], "stop_reason": "end_turn", "message": {"content": "fine"},
        "done": true, "candidates": [{"content": {"parts": [{"text": "fine"}]}, "finishReason": "STOP"}]});
    reply.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let upstream = Upstream::start([Play::json(200, &reply)]).await;
    let provider = build(kind, settings(Some(upstream.url("/v1")), Some(req.model.as_str())));
    let answer = provider.complete(&ctx(PATIENCE), req).await.expect("an answer");
    let received = upstream.received().remove(0);
    (received.line, received.body, answer.warnings)
}

fn wishing(model: &str, effort: Effort) -> VisionRequest {
    let sampling =
        Sampling { temperature: Some(0.2), seed: Some(7), max_output_tokens: Some(500), effort, ..Sampling::default() };
    VisionRequest { sampling, ..request(model, Task::Ask) }
}

#[tokio::test]
async fn effort_is_the_least_unless_more_is_asked_for_and_goes_by_each_vendors_word() {
    let cases = [
        ("openai", "gpt-6-luna", Effort::Least, "/reasoning_effort", json!("none")),
        ("openai", "gpt-6-luna", Effort::High, "/reasoning_effort", json!("high")),
        ("openai", "gpt-6-astra", Effort::Least, "/reasoning_effort", json!("low")),
        ("openai", "gpt-4o", Effort::Least, "/reasoning_effort", Value::Null),
        ("pixtral", "mistral-small-2603", Effort::Least, "/reasoning_effort", json!("none")),
        ("pixtral", "ministral-8b-2512", Effort::Least, "/reasoning_effort", Value::Null),
        ("anthropic", "claude-haiku-5-5", Effort::Least, "/thinking/type", json!("disabled")),
        ("anthropic", "claude-haiku-5-5", Effort::Medium, "/thinking/type", json!("adaptive")),
        ("anthropic", "claude-haiku-5-5", Effort::Medium, "/output_config/effort", json!("medium")),
        ("anthropic", "claude-opus-5-5", Effort::Least, "/thinking", Value::Null),
        ("anthropic", "claude-opus-5-5", Effort::Least, "/output_config/effort", json!("low")),
        ("gemini", "gemini-3.7-flash", Effort::Least, "/generationConfig/thinkingConfig/thinkingLevel", json!("LOW")),
        ("gemini", "gemini-2.5-flash", Effort::Least, "/generationConfig/thinkingConfig/thinkingBudget", json!(0)),
        ("gemini", "gemini-2.5-flash", Effort::High, "/generationConfig/thinkingConfig/thinkingBudget", json!(24576)),
        ("ollama", "some-thinker", Effort::Least, "/think", json!(false)),
        ("ollama", "some-thinker", Effort::High, "/think", json!("high")),
    ];
    for (kind, model, effort, pointer, expected) in cases {
        let (_, body, _) = sent(kind, &wishing(model, effort)).await;
        let found = body.pointer(pointer).cloned().unwrap_or(Value::Null);
        assert_eq!(found, expected, "{kind}/{model} {effort:?} {pointer} in {body}");
    }
}

#[tokio::test]
async fn sampling_goes_only_to_models_that_take_it_and_what_stays_behind_is_said() {
    let cases = [
        ("openai", "gpt-6-luna", Effort::Least, "/temperature", true, ""),
        ("openai", "gpt-6-luna", Effort::High, "/temperature", false, "temperature"),
        ("openai", "gpt-6-astra", Effort::Least, "/temperature", false, "temperature"),
        ("anthropic", "claude-haiku-4-5", Effort::Least, "/temperature", true, "seed"),
        ("anthropic", "claude-haiku-5-5", Effort::Least, "/temperature", false, "temperature, seed"),
        ("gemini", "gemini-2.5-flash", Effort::Least, "/generationConfig/temperature", true, ""),
        ("gemini", "gemini-3.8-flash", Effort::Least, "/generationConfig/temperature", false, "temperature"),
        ("pixtral", "mistral-small-2603", Effort::Least, "/random_seed", true, ""),
        ("mistralrs", "any", Effort::Least, "/seed", false, "seed"),
        ("ollama", "any", Effort::Least, "/options/seed", true, ""),
    ];
    for (kind, model, effort, pointer, goes, said) in cases {
        let (_, body, warnings) = sent(kind, &wishing(model, effort)).await;
        assert_eq!(body.pointer(pointer).is_some(), goes, "{kind}/{model} {pointer} in {body}");
        assert_eq!(warnings.len(), usize::from(!said.is_empty()), "{kind}/{model}: {warnings:?}");
        assert!(warnings.iter().all(|warning| warning.contains(said)), "{kind}/{model}: {warnings:?}");
    }
    let hot = Sampling { temperature: Some(2.0), ..Sampling::default() };
    let (_, body, warnings) =
        sent("pixtral", &VisionRequest { sampling: hot, ..request("mistral-small-2603", Task::Ask) }).await;
    assert_eq!(body["temperature"], 1.5);
    assert!(warnings[0].contains("lowered"), "{warnings:?}");
}

#[tokio::test]
async fn resolution_is_what_the_vendor_calls_detail() {
    let about_size = |side, detail| VisionRequest {
        messages: vec![about(vec![image(side, side, 1)], "What?")],
        detail,
        ..request("gemini-3.8-flash", Task::Ask)
    };
    for (side, detail, level) in [
        (1000, Detail::Auto, "HIGH"),
        (600, Detail::Auto, "MEDIUM"),
        (64, Detail::Auto, "LOW"),
        (64, Detail::High, "HIGH"),
        (1000, Detail::Low, "LOW"),
    ] {
        let (_, body, _) = sent("gemini", &about_size(side, detail)).await;
        let found = &body["contents"][0]["parts"][0]["mediaResolution"]["level"];
        assert_eq!(*found, format!("MEDIA_RESOLUTION_{level}"), "{side} {detail:?}");
    }
    let older = VisionRequest { model: "gemini-2.5-flash".into(), ..about_size(64, Detail::Low) };
    assert!(sent("gemini", &older).await.1["contents"][0]["parts"][0].get("mediaResolution").is_none());
    let openai = VisionRequest { model: "gpt-6-luna".into(), ..about_size(64, Detail::Auto) };
    let (_, body, _) = sent("openai", &openai).await;
    assert_eq!(
        body["messages"][0]["content"][0]["image_url"]["detail"], "high",
        "never `auto`, which may cost five times"
    );
}

#[tokio::test]
async fn ollamas_context_holds_the_pictures_and_the_answer() {
    let asking = |images: u8, max_output_tokens| {
        let images = (0..images).map(|mark| image(32, 32, mark)).collect();
        let sampling = Sampling { max_output_tokens, ..Sampling::default() };
        VisionRequest { messages: vec![about(images, "What?")], sampling, ..request("any", Task::Ask) }
    };
    for (images, longest, expected) in
        [(1, Some(500), 8192), (1, None, 8192), (4, Some(500), 12_288), (4, Some(9000), 20_480)]
    {
        let (line, body, _) = sent("ollama", &asking(images, longest)).await;
        assert_eq!(body["options"]["num_ctx"], expected, "{images} images, {longest:?}");
        assert_eq!(line, "POST /v1/api/chat");
        assert!(body["messages"][0]["images"][0].as_str().is_some_and(|data| !data.starts_with("data:")));
    }
}

#[tokio::test]
async fn a_model_that_lives_in_the_path_cannot_lead_elsewhere() {
    for name in ["../files", "a/b", "a:b", "a?key=x", "", ".", "a b", "models/../x"] {
        let provider = build("gemini", settings(Some("http://127.0.0.1:1/v1beta".into()), Some("gemini-3.8-flash")));
        let refused = provider.complete(&ctx(PATIENCE), &request(name, Task::Ask)).await.expect_err(name);
        assert_eq!(refused.kind(), ErrorKind::UnknownModel, "{name}");
    }
    let (line, ..) = sent("gemini", &request("models/gemini-3.8-flash", Task::Ask)).await;
    assert_eq!(line, "POST /v1/models/gemini-3.8-flash:generateContent");
}

#[tokio::test]
async fn what_an_operator_adds_is_in_every_body() {
    for (kind, model, own) in
        [("vllm", "m", "messages"), ("anthropic", "claude-haiku-5-5", "messages"), ("ollama", "m", "options")]
    {
        let upstream = Upstream::start([Play::json(400, &json!({}))]).await;
        let mut settings = settings(Some(upstream.url("/v1?api-version=7")), Some(model));
        let extra = json!({"service_tier": "flex", "options": {"num_gpu": 1}});
        settings.extra_body = extra.as_object().expect("an object").clone();
        let _ = build(kind, settings).complete(&ctx(PATIENCE), &request(model, Task::Ask)).await;
        let received = upstream.received().remove(0);
        assert_eq!(received.body["service_tier"], "flex");
        assert_eq!(received.body["options"]["num_gpu"], 1);
        assert!(received.body.get(own).is_some() && received.line.ends_with("?api-version=7"), "{}", received.line);
        assert!(kind != "ollama" || received.body["options"]["num_ctx"] == 8192, "{}", received.body);
    }
}

#[tokio::test]
async fn a_schema_that_is_not_enforced_is_asked_for_in_words() {
    let open = json!({"type": "object", "properties": {"total": {"type": "string"}}});
    let wanting = |model: &str| VisionRequest {
        output: Output::Json(Schema { name: "receipt".into(), value: Arc::new(open.clone()) }),
        ..request(model, Task::Extract)
    };
    // Claude enforces closed objects only, and closing this one would forbid what its caller allows.
    let (_, body, _) = sent("anthropic", &wanting("claude-haiku-5-5")).await;
    assert!(body["output_config"].get("format").is_none(), "{body}");
    assert!(body["messages"][0]["content"].to_string().contains("JSON schema"), "{body}");
    // OpenAI follows it without enforcing it.
    let (_, body, _) = sent("openai", &wanting("gpt-6-luna")).await;
    assert_eq!(body["response_format"]["json_schema"]["strict"], false);
    assert_eq!(body["response_format"]["json_schema"]["schema"], open);
    let (_, body, _) = sent("gemini", &wanting("gemini-3.8-flash")).await;
    assert_eq!(body["generationConfig"]["responseJsonSchema"], open);
    let (_, body, _) = sent("ollama", &wanting("any")).await;
    assert_eq!(body["format"], open);
}
