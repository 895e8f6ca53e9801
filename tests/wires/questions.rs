//! The questions that exchanges are about, and how exchanges are kept: shared by the tests that replay them and by the
//! program that records them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use vision_providers::answer::{Answer, Chunk};
use vision_providers::catalog::Catalog;
use vision_providers::error::Error;
use vision_providers::model::ModelCard;
use vision_providers::provider::Provider;
use vision_providers::request::{Detail, Message, Output, Part, Role, Sampling, Schema, Task, VisionRequest};
use vision_providers::testkit::{Play, Then, about, ctx, document, image, request};

const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

/// The questions that are put to vendors, by the name of their file.
pub(crate) const QUESTIONS: [&str; 7] = ["text", "images", "schema", "turns", "stream", "ocr", "document"];

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/wires/exchanges")
}

/// The model that a question to this kind is about: its default, or any name where it has none.
pub(crate) fn model(kind: &str) -> String {
    let catalog = Catalog::built_in().expect("the catalog");
    let preset = catalog.preset(kind).expect("the preset");
    preset.model.as_ref().map_or_else(|| "some-model".to_owned(), ToString::to_string)
}

/// The question of this name.
pub(crate) fn question(name: &str, card: &ModelCard) -> VisionRequest {
    let mut req = request(card.id.as_str(), Task::Ask);
    match name {
        "images" => {
            req.system = Some("Answer in one sentence.".into());
            req.messages = vec![about(vec![image(32, 32, 1), image(20, 20, 9)], "What differs?")];
            req.detail = Detail::Low;
            req.sampling = Sampling {
                temperature: Some(0.2),
                top_p: Some(0.9),
                seed: Some(7),
                max_output_tokens: Some(600),
                stop: vec!["###".into()],
                ..Sampling::default()
            };
        }
        "schema" => {
            let schema = json!({"type": "object", "properties": {"same": {"type": "boolean"}, "why": {"type": "string"}},
                "required": ["same", "why"], "additionalProperties": false});
            req.task = Task::Extract;
            req.output = Output::Json(Schema { name: "comparison".into(), value: Arc::new(schema) });
        }
        "turns" => {
            req.messages.push(Message::text(Role::Assistant, "A till receipt."));
            req.messages.push(Message::text(Role::User, "And what is the total?"));
        }
        "ocr" => req.task = Task::Ocr,
        "document" => {
            req.task = if card.tasks.contains(&Task::Ask) { Task::Ask } else { Task::Ocr };
            let document = Part::Document(document(b"%PDF-1.7\n1 0 obj\n"));
            req.messages = vec![Message::question(vec![document], "What is the total?")];
        }
        _ => {}
    }
    req
}

/// The reply of an exchange, as a server plays it.
pub(crate) fn play(reply: &Value) -> Play {
    let headers = headers(&reply["headers"]);
    if let Some(pieces) = reply["pieces"].as_array() {
        let pieces = pieces.iter().map(|piece| piece.as_str().expect("text").as_bytes().to_vec()).collect();
        return Play::Pieces(headers, pieces, Then::End);
    }
    let status = u16::try_from(reply["status"].as_u64().expect("a status")).expect("a status");
    let body = match &reply["body"] {
        Value::String(page) => page.clone().into_bytes(),
        body => body.to_string().into_bytes(),
    };
    Play::Reply(status, headers, body)
}

fn headers(value: &Value) -> Vec<(&'static str, String)> {
    let all = value.as_object().into_iter().flatten();
    // Names live as long as a test program does.
    all.map(|(name, value)| (&*name.clone().leak(), value.as_str().expect("text").to_owned())).collect()
}

/// Listens to a stream to its end: what was said, and how it ended.
pub(crate) async fn listen(provider: &Provider, req: &VisionRequest) -> (String, Result<Answer, Error>) {
    let mut said = String::new();
    let mut stream = match provider.stream(&ctx(PATIENCE), req).await {
        Ok(stream) => stream,
        Err(error) => return (said, Err(error)),
    };
    while let Some(chunk) = stream.next().await {
        match chunk {
            Ok(Chunk::Delta(text)) => said.push_str(&text),
            Ok(Chunk::End(answer)) => return (said, Ok(*answer)),
            Err(error) => return (said, Err(error)),
        }
    }
    panic!("a stream without an end");
}

/// Puts the question of this name, and hears how it ends.
pub(crate) async fn outcome(name: &str, provider: &Provider, req: &VisionRequest) -> Result<Answer, Error> {
    if name != "stream" {
        return provider.complete(&ctx(PATIENCE), req).await;
    }
    let (said, ended) = listen(provider, req).await;
    if let Ok(answer) = &ended {
        assert_eq!(said, answer.text, "what was said is not what the end holds");
    }
    ended
}

/// An answer in the terms of the files.
pub(crate) fn told(answer: &Answer) -> Value {
    let mut value = json!({"text": answer.text, "model": answer.model.as_str(), "finish": answer.finish.name()});
    if let Some(usage) = answer.usage {
        value["usage"] = json!({"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens});
        for (name, count) in [("cached_tokens", usage.cached_tokens), ("pages", usage.pages + usage.annotated_pages)] {
            if count > 0 {
                value["usage"][name] = json!(count);
            }
        }
    }
    if !answer.warnings.is_empty() {
        value["warnings"] = json!(answer.warnings.len());
    }
    value
}

/// Writes an exchange with its members in the order in which they are read.
pub(crate) fn write(kind: &str, name: &str, exchange: &Value) {
    let members = ["origin", "request", "reply", "answer"];
    let members: Vec<String> = members
        .iter()
        .filter_map(|member| {
            let value = exchange.get(member)?;
            let text = serde_json::to_string_pretty(value).expect("JSON").replace('\n', "\n  ");
            Some(format!("  \"{member}\": {text}"))
        })
        .collect();
    let path = folder().join(kind).join(format!("{name}.json"));
    std::fs::write(path, format!("{{\n{}\n}}\n", members.join(",\n"))).expect("a file");
}
