//! Chat completions with accents: each quirk changes the body as it says, and a vendor is a table of TOML.

use serde_json::{Value, json};
use vision_providers::adapters::chat::Quirks;
use vision_providers::catalog::CardSettings;
use vision_providers::request::{Detail, Output, Schema, Task};
use vision_providers::testkit::{Expected, Play, Upstream, behaves, ctx, request};

use super::{KEY, PATIENCE, build, completion, provider, settings};

async fn body_with(quirks: Value, json_mode: &str) -> Value {
    let upstream = Upstream::start([Play::json(200, &completion(&json!("{}")))]).await;
    let mut settings = settings(Some(upstream.url("/v1")), Some("lab-model"));
    settings.quirks = Some(serde_json::from_value::<Quirks>(quirks).expect("quirks"));
    let presets = include_str!("../../providers/catalog/presets.toml");
    let at = presets.find("[openai-compatible]").expect("the preset");
    let mut changed = presets.to_owned();
    changed.replace_range(at.., &presets[at..].replacen("json = \"schema\"", &format!("json = \"{json_mode}\""), 1));
    let catalog = vision_providers::catalog::Catalog::read(&changed, "").expect("a catalog");
    let http = vision_providers::http::VendorHttp::new(None);
    let preset = catalog.preset("openai-compatible").expect("the preset");
    let provider = vision_providers::adapters::build(preset, settings, &http).expect("a provider");
    let mut req = request("lab-model", Task::Extract);
    req.system = Some("Be brief.".into());
    req.detail = Detail::Low;
    req.sampling.seed = Some(7);
    req.sampling.max_output_tokens = Some(100);
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    req.output = Output::Json(Schema { name: "extract".into(), value: std::sync::Arc::new(schema) });
    provider.complete(&ctx(PATIENCE), &req).await.expect("an answer");
    upstream.received().remove(0).body
}

#[tokio::test]
async fn the_provider_behaves() {
    let answer = completion(&json!(r#"{"description":"a cat","detected_text":""}"#));
    let upstream = Upstream::start([Play::json(200, &answer)]).await;
    let provider = provider("openai-compatible", &upstream, "lab-model");
    behaves(&provider, Expected { secret: KEY, calls: &|| upstream.calls() }).await;
}

#[tokio::test]
async fn the_common_form_is_what_most_servers_take() {
    insta::assert_json_snapshot!("chat_common", body_with(json!({}), "schema").await);
}

#[tokio::test]
async fn every_quirk_changes_the_body() {
    let quirks = json!({"max_tokens": "max_completion_tokens", "image_url": "plain", "system": "developer"});
    insta::assert_json_snapshot!("chat_quirks", body_with(quirks, "object").await);
    let body = body_with(json!({"detail": "send", "seed": "random_seed"}), "prompt").await;
    assert_eq!(body["messages"][1]["content"][0]["image_url"]["detail"], "low");
    assert_eq!(body["random_seed"], 7);
    assert!(body.get("response_format").is_none(), "{body}");
    let prompt = body["messages"][1]["content"][1]["text"].as_str().expect("a prompt");
    assert!(prompt.contains("JSON schema") && prompt.contains("\"properties\""), "{prompt}");
}

#[tokio::test]
async fn an_unknown_quirk_is_refused() {
    assert!(serde_json::from_value::<Quirks>(json!({"max_token": "max_tokens"})).is_err());
}

#[tokio::test]
async fn a_vendor_that_nobody_knows_is_a_table() {
    let upstream = Upstream::start([Play::json(200, &completion(&json!("fine")))]).await;
    let mut settings = settings(Some(upstream.url("/api/v7/")), None);
    settings.key = None;
    let card =
        json!({"id": "qwen", "limits": {"max_images": 2, "formats": ["png"]}, "price": {"input": 0.2, "output": 0.6}});
    settings.models = vec![serde_json::from_value::<CardSettings>(card).expect("a card")];
    let provider = build("openai-compatible", settings);
    provider.complete(&ctx(PATIENCE), &request("qwen", Task::Ask)).await.expect("an answer");
    let received = upstream.received().remove(0);
    assert_eq!(received.line, "POST /api/v7/chat/completions");
    assert!(!received.headers.contains("authorization"), "{}", received.headers);
    let card = provider.card("qwen");
    assert_eq!((card.limits.max_images, card.limits.target_side), (2, 1568));
    assert_eq!(card.price.map(|price| price.input), Some(200_000));
}

#[tokio::test]
async fn an_operators_card_changes_what_it_names_and_keeps_the_rest() {
    let mut settings = settings(None, Some("mistral-medium-latest"));
    let own = [
        json!({"id": "mistral-medium-latest", "json": "prompt"}),
        json!({"id": "pixtral-large-latest", "price": {"input": 1, "output": 1}}),
    ];
    settings.models = own.map(|card| serde_json::from_value::<CardSettings>(card).expect("a card")).to_vec();
    let provider = build("pixtral", settings);
    assert!(provider.card("mistral-medium-3-5").is_called("mistral-medium-latest"), "the vendor's own name was lost");
    assert!(provider.card("pixtral-large-2411").is_called("mistral-medium-3-5"), "the retirement was lost");
    let upstream = Upstream::start([Play::json(200, &completion(&json!("{\"a\": \"b\"}")))]).await;
    let mut settings = super::settings(Some(upstream.url("/v1")), Some("m"));
    settings.models = vec![serde_json::from_value(json!({"id": "m", "json": "prompt"})).expect("a card")];
    let mut req = request("m", Task::Extract);
    req.output = Output::Json(Schema { name: "x".into(), value: std::sync::Arc::new(json!({"type": "object"})) });
    build("openai-compatible", settings).complete(&ctx(PATIENCE), &req).await.expect("an answer");
    assert!(upstream.received()[0].body.get("response_format").is_none());
}

#[tokio::test]
async fn a_key_may_travel_in_a_header_of_its_own() {
    let upstream = Upstream::start([Play::json(200, &completion(&json!("fine")))]).await;
    let mut settings = settings(Some(upstream.url("/v1")), Some("m"));
    settings.auth = Some(vision_providers::http::Auth::Header("api-key".parse().expect("a name")));
    settings.headers.insert("x-title", "visiongate".parse().expect("a value"));
    build("openai-compatible", settings).complete(&ctx(PATIENCE), &request("m", Task::Ask)).await.expect("an answer");
    let headers = upstream.received().remove(0).headers;
    assert!(headers.contains(&format!("api-key: {KEY}")) && headers.contains("x-title: visiongate"), "{headers}");
    assert!(!headers.contains("authorization"), "{headers}");
}
