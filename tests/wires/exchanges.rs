//! Exchanges with every vendor: for each question the body that goes out, the reply that comes back, and what is made of
//! it; and each vendor's ways to say no.
//!
//! They are data, in `tests/wires/exchanges/KIND/`. Replies were written by hand after the pages that `origin` names, or
//! recorded by an operator (`make record`). With `VISIONGATE_BLESS=1` the bodies that go out are written into the files,
//! to be reviewed like code.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use vision_providers::answer::{Answer, Chunk};
use vision_providers::catalog::Catalog;
use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::model::ModelCard;
use vision_providers::provider::Provider;
use vision_providers::request::{Detail, Message, Output, Part, Role, Sampling, Schema, Task, VisionRequest};
use vision_providers::testkit::{Play, Then, Upstream, about, ctx, document, image, request};

use super::{KEY, PATIENCE, build, settings};

/// The questions that are put to vendors, by the name of their file.
pub(crate) const QUESTIONS: [&str; 7] = ["text", "images", "schema", "turns", "stream", "ocr", "document"];

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/wires/exchanges")
}

/// The kinds that exchanges are kept for.
fn kinds() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).expect("the exchanges").flatten();
    let mut kinds: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    kinds.sort();
    kinds
}

fn read(kind: &str, name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(folder().join(kind).join(format!("{name}.json"))).ok()?;
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{kind}/{name}: {error}")))
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

/// A provider of this kind at this server, below the path that the vendor has.
pub(crate) fn provider_at(kind: &str, upstream: &Upstream) -> Provider {
    let catalog = Catalog::built_in().expect("the catalog");
    let own = catalog.preset(kind).expect("the preset").base_url.clone();
    let path = own.map_or_else(|| "/v1".to_owned(), |url| url.path().trim_end_matches('/').to_owned());
    build(kind, settings(Some(upstream.url(&path)), Some(&model(kind))))
}

fn play(reply: &Value) -> Play {
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
async fn listen(provider: &Provider, req: &VisionRequest) -> (String, Result<Answer, Error>) {
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

async fn outcome(name: &str, provider: &Provider, req: &VisionRequest) -> Result<Answer, Error> {
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

#[tokio::test]
async fn every_exchange_goes_out_and_comes_back_as_written() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for kind in kinds() {
        for name in QUESTIONS {
            let Some(mut exchange) = read(&kind, name) else { continue };
            count += 1;
            let upstream = Upstream::start([play(&exchange["reply"])]).await;
            let provider = provider_at(&kind, &upstream);
            let answered = outcome(name, &provider, &question(name, &provider.models()[0])).await;
            let received = upstream.received().remove(0);
            let sent = json!({"line": received.line, "body": received.body});
            assert!(received.headers.contains(KEY), "{kind}/{name} went without its key");
            if is_blessed() {
                exchange["request"] = sent.clone();
                write(&kind, name, &exchange);
            }
            if sent != exchange["request"] {
                wrong.push(format!("{kind}/{name} sends {sent}"));
            }
            match answered {
                Ok(answer) if told(&answer) == exchange["answer"] => {}
                Ok(answer) => wrong.push(format!("{kind}/{name}: {} {:?}", told(&answer), answer.warnings)),
                Err(error) => wrong.push(format!("{kind}/{name}: {error:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 60, "only {count} exchanges were found");
}

#[expect(clippy::disallowed_methods, reason = "a switch for whoever runs the tests, not a setting")]
fn is_blessed() -> bool {
    std::env::var_os("VISIONGATE_BLESS").is_some()
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

fn expected_retry(text: &str) -> Retry {
    match text.split_once(':') {
        None if text == "never" => Retry::Never,
        None => Retry::Later(None),
        Some((_, seconds)) => Retry::Later(Some(std::time::Duration::from_secs_f64(seconds.parse().expect("seconds")))),
    }
}

fn kind_named(name: &str) -> ErrorKind {
    use ErrorKind as K;
    let all = [
        K::InvalidRequest,
        K::Unsupported,
        K::TooLarge,
        K::Corrupt,
        K::Refused,
        K::Unauthorized,
        K::UnknownModel,
        K::RateLimited,
        K::OutOfCredit,
        K::TimedOut,
        K::Unavailable,
        K::Garbled,
        K::Empty,
        K::Truncated,
    ];
    *all.iter().find(|kind| kind.name() == name).unwrap_or_else(|| panic!("no kind is called {name}"))
}

#[tokio::test]
async fn every_way_to_say_no_is_understood() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for kind in kinds() {
        let errors = read(&kind, "errors").unwrap_or_else(|| panic!("{kind} has no errors"));
        for case in errors.as_array().expect("a list") {
            count += 1;
            let name = format!("{kind}/{}", case["name"].as_str().expect("a name"));
            let upstream = Upstream::start([play(case)]).await;
            let question = if kind == "mistral-ocr" { "ocr" } else { "text" };
            let provider = provider_at(&kind, &upstream);
            let req = self::question(question, &provider.models()[0]);
            let (expected, retry) = (kind_named(case["kind"].as_str().expect("a kind")), &case["retry"]);
            match provider.complete(&ctx(PATIENCE), &req).await {
                Ok(answer) => wrong.push(format!("{name} was taken for an answer: {:?}", answer.text)),
                Err(error) => {
                    let seen = case["seen"].as_str().unwrap_or_default();
                    let right = error.kind() == expected
                        && error.retry_verdict() == expected_retry(retry.as_str().expect("a verdict"))
                        && error.to_string().to_lowercase().contains(seen);
                    if !right {
                        wrong.push(format!("{name}: {error:?}, not {} {retry} {seen:?}", expected.name()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 180, "only {count} errors were found");
}

#[tokio::test]
async fn a_stream_that_goes_wrong_is_an_error() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for kind in kinds() {
        let Some(errors) = read(&kind, "stream_errors") else { continue };
        let content_type = if kind == "ollama" { "application/x-ndjson" } else { "text/event-stream" };
        for case in errors.as_array().expect("a list") {
            count += 1;
            let name = format!("{kind}/{}", case["name"].as_str().expect("a name"));
            let mut reply = Map::new();
            reply.insert("headers".into(), json!({"content-type": content_type}));
            reply.insert("pieces".into(), case["pieces"].clone());
            let upstream = Upstream::start([play(&Value::Object(reply))]).await;
            let provider = provider_at(&kind, &upstream);
            let (said, ended) = listen(&provider, &question("stream", &provider.models()[0])).await;
            let expected = kind_named(case["kind"].as_str().expect("a kind"));
            match ended {
                Ok(answer) => wrong.push(format!("{name} was taken for an answer: {:?}", answer.text)),
                Err(error) if error.kind() != expected => wrong.push(format!("{name}: {error:?}, not {expected:?}")),
                Err(_) if said.is_empty() == (case["text_before"] == true) => {
                    wrong.push(format!("{name} said {said:?} before"));
                }
                Err(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 50, "only {count} streams were found");
}
