//! Exchanges with every vendor: for each question the body that goes out, the reply that comes back, and what is made of
//! it; and each vendor's ways to say no.
//!
//! They are data, in `tests/wires/exchanges/KIND/`. Replies were written by hand after the pages that `origin` names, or
//! recorded by an operator (`make record`). With `VISIONGATE_BLESS=1` the bodies that go out are written into the files,
//! to be reviewed like code.

use serde_json::{Map, Value, json};
use vision_providers::catalog::Catalog;
use vision_providers::error::{ErrorKind, Retry};
use vision_providers::provider::Provider;
use vision_providers::testkit::{Upstream, ctx};

use super::questions::{QUESTIONS, folder, listen, model, outcome, play, question, told, write};
use super::{KEY, PATIENCE, build, settings};

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

/// A provider of this kind at this server, below the path that the vendor has.
pub(crate) fn provider_at(kind: &str, upstream: &Upstream) -> Provider {
    let catalog = Catalog::built_in().expect("the catalog");
    let own = catalog.preset(kind).expect("the preset").base_url.clone();
    let path = own.map_or_else(|| "/v1".to_owned(), |url| url.path().trim_end_matches('/').to_owned());
    build(kind, settings(Some(upstream.url(&path)), Some(&model(kind))))
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

fn expected_retry(text: &str) -> Retry {
    match text.split_once(':') {
        None if text == "never" => Retry::Never,
        None if text == "once" => Retry::Once,
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
