//! Every vendor through the whole gateway: switched to by one line, asked for text, a description, the text in an image,
//! data after a schema, and a stream. Replies are those of `tests/wires/exchanges`, with other words in them.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use vision_providers::catalog::Catalog;
use vision_providers::request::CacheMode;
use vision_providers::testkit::{Play, Then, Upstream};
use visiongate::gateway::{Ask, Asker};
use visiongate::intake::Door;
use visiongate::surface::answer;

use super::{example, gateway, root};

const DESCRIBED: &str = r#"{"description":"A till receipt.","detected_text":"TOTAL 25.41"}"#;
const EXTRACTED: &str = r#"{"total":25.41}"#;

fn exchange(kind: &str, name: &str) -> Option<Value> {
    let path = root().join("tests/wires/exchanges").join(kind).join(format!("{name}.json"));
    Some(serde_json::from_str(&std::fs::read_to_string(path).ok()?).expect("JSON"))
}

/// The reply of an exchange, which says this instead of what it says.
fn reply(exchange: &Value, words: Option<&str>) -> Play {
    let reply = &exchange["reply"];
    if let Some(pieces) = reply["pieces"].as_array() {
        let kind = reply["headers"]["content-type"].as_str().expect("a type").to_owned();
        let pieces = pieces.iter().map(|piece| piece.as_str().expect("text").as_bytes().to_vec());
        return Play::Pieces(vec![("content-type", kind)], pieces.collect(), Then::End);
    }
    let mut body = reply["body"].to_string();
    if let Some(words) = words {
        let quoted = |text: &str| json!(text).to_string().trim_matches('"').to_owned();
        let before = quoted(exchange["answer"]["text"].as_str().expect("a text"));
        assert!(body.contains(&before), "the text stands in one piece in the reply");
        body = body.replace(&before, &quoted(words));
    }
    Play::Reply(200, Vec::new(), body.into_bytes())
}

/// The whole configuration that switches to a vendor; tests add the address of a stand-in for it.
fn switched_to(kind: &str, upstream: &Upstream) -> String {
    let catalog = Catalog::built_in().expect("the catalog");
    let preset = catalog.preset(kind).expect("the preset");
    let path = preset.base_url.as_ref().map_or("/v1", |url| url.path().trim_end_matches('/')).to_owned();
    let model = if preset.model.is_none() { "model = \"some-model\"\n" } else { "" };
    format!(
        "default = \"{kind}\"\nfallback = []\n[providers.{kind}]\nkind = \"{kind}\"\nkey = \"none\"\n{model}base_url = \"{}\"\n",
        upstream.url(&path)
    )
}

async fn put(kind: &str, play: Play, ask: Ask) -> Result<Value, String> {
    let upstream = Upstream::start([play]).await;
    let gateway = gateway(&switched_to(kind, &upstream));
    let asker = Asker::local(Door::CommandLine);
    let ask = Ask { images: vec![example("receipt.png")].into(), cache: Some(CacheMode::Bypass), ..ask };
    let reply = gateway.ask(&ask, &asker).await.map_err(|failure| failure.to_string())?;
    Ok(answer::whole(&reply))
}

fn schema() -> Arc<Value> {
    Arc::new(json!({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"],
        "additionalProperties": false}))
}

fn kinds() -> Vec<String> {
    let catalog = Catalog::built_in().expect("the catalog");
    catalog.kinds().filter(|kind| *kind != "local").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_vendor_does_every_task_it_claims() {
    let kinds = kinds();
    assert!(kinds.len() >= 18, "{kinds:?}");
    for kind in &kinds {
        let schema_ask = Ask { schema: Some(schema()), ..Ask::default() };
        let extract = exchange(kind, "schema").expect("an exchange about a schema");
        let extracted = put(kind, reply(&extract, Some(EXTRACTED)), schema_ask).await.expect(kind);
        assert_eq!(extracted["data"], json!({"total": 25.41}), "{kind}");
        let ocr = Ask { task: Some("ocr".into()), ..Ask::default() };
        let Some(text) = exchange(kind, "text") else {
            let read = put(kind, reply(&exchange(kind, "ocr").expect("an exchange"), None), ocr).await.expect(kind);
            assert!(!read["detected_text"].as_str().expect("text").is_empty() && read["blocks"].is_array(), "{read}");
            let refused = put(kind, reply(&extract, None), Ask::default()).await.expect_err("it cannot describe");
            assert!(refused.contains("CAPABILITY_MISSING"), "{refused}");
            continue;
        };
        let question = Ask { prompt: Some("What is this?".into()), ..Ask::default() };
        let asked = put(kind, reply(&text, None), question).await.expect(kind);
        assert_eq!(asked["text"], text["answer"]["text"], "{kind}");
        assert_eq!(asked["finish_reason"], text["answer"]["finish"], "{kind}");
        let described = put(kind, reply(&text, Some(DESCRIBED)), Ask::default()).await.expect(kind);
        assert_eq!(described["description"], "A till receipt.", "{kind}");
        let read = put(kind, reply(&text, Some(r#"{"detected_text":"TOTAL 25.41"}"#)), ocr).await.expect(kind);
        assert_eq!((&read["detected_text"], &read["provider"]), (&json!("TOTAL 25.41"), &json!(kind)));
    }
}

#[tokio::test]
async fn every_vendor_streams() {
    for kind in kinds() {
        let Some(exchange) = exchange(&kind, "stream") else {
            assert_eq!(kind, "mistral-ocr", "{kind} has no stream");
            continue;
        };
        let upstream = Upstream::start([reply(&exchange, None)]).await;
        let gateway = gateway(&switched_to(&kind, &upstream));
        let ask =
            Ask { images: vec![example("receipt.png")].into(), prompt: Some("What is this?".into()), ..Ask::default() };
        let (listener, mut said) = mpsc::channel(100);
        let asker = Asker::local(Door::CommandLine);
        let replied = gateway.ask_aloud(&ask, &asker, &listener).await.expect(&kind);
        drop(listener);
        let mut heard = String::new();
        while let Some(piece) = said.recv().await {
            heard.push_str(&piece);
        }
        assert_eq!(answer::whole(&replied)["text"], exchange["answer"]["text"], "{kind}");
        assert_eq!(json!(heard), exchange["answer"]["text"], "{kind}");
    }
}

/// What the README promises of a server that nobody knows: this much configuration, and everything works.
#[tokio::test]
async fn a_server_that_nobody_knows_is_six_lines() {
    let text = exchange("openai-compatible", "text").expect("an exchange");
    let stream = exchange("openai-compatible", "stream").expect("an exchange");
    let plays = [reply(&text, Some(DESCRIBED)), reply(&text, Some(EXTRACTED)), reply(&stream, None)];
    let upstream = Upstream::start(plays).await;
    let config = format!(
        "default = \"lab\"\n[providers.lab]\nkind = \"openai-compatible\"\nbase_url = \"{}\"\nmodel = \"qwen3-vl-8b\"\nkey = \"none\"\n",
        upstream.url("/v1")
    );
    assert_eq!(config.lines().count(), 6);
    let gateway = gateway(&config);
    let asker = Asker::local(Door::CommandLine);
    let ask = Ask { images: vec![example("receipt.png")].into(), ..Ask::default() };
    let described = answer::whole(&gateway.ask(&ask, &asker).await.expect("a description"));
    assert_eq!((&described["description"], &described["provider"]), (&json!("A till receipt."), &json!("lab")));
    let extract = Ask { schema: Some(schema()), ..ask.clone() };
    let data = answer::whole(&gateway.ask(&extract, &asker).await.expect("data"));
    assert_eq!(data["data"], json!({"total": 25.41}));
    assert_eq!(upstream.received()[1].body["response_format"]["json_schema"]["strict"], true);
    let (listener, mut said) = mpsc::channel(100);
    let question = Ask { prompt: Some("What is this?".into()), ..ask };
    let replied = gateway.ask_aloud(&question, &asker, &listener).await.expect("a stream");
    assert_eq!(answer::whole(&replied)["text"], stream["answer"]["text"]);
    assert!(said.recv().await.is_some() && upstream.received()[2].body["stream"] == true);
}
