//! Puts the questions of `tests/wires/exchanges` to a real vendor and keeps what it answers, for operators with a key.
//!
//!     record KIND [BASE_URL]
//!
//! The key is taken from the variable that the preset names; it is not written anywhere, and of the reply's headers only
//! those are kept that say something about limits and formats. Review what was written like code: answers differ from
//! run to run, and a question that is answered wrong is a finding.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a program for whoever maintains the tests"
)]

#[path = "../../tests/wires/questions.rs"]
mod questions;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value, json};
use vision_providers::adapters::{self, Settings, local};
use vision_providers::catalog::{Catalog, Preset};
use vision_providers::http::{Auth, Patience, VendorHttp};
use vision_providers::model::Date;
use vision_providers::provider::Provider;
use vision_providers::request::ModelId;
use vision_providers::testkit::{Play, Upstream};

use questions::{QUESTIONS, folder, model, outcome, play, question, told, write};

/// Headers that are worth keeping, by what their names hold.
const KEPT: [&str; 5] = ["content-type", "ratelimit", "retry-after", "should-retry", "deprecation"];

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let kind = args.next().expect("record KIND [BASE_URL]");
    let catalog = Catalog::built_in().expect("the catalog");
    let preset = catalog.preset(&kind).unwrap_or_else(|| panic!("there is no kind called {kind}"));
    let base = args.next().map(|url| url.parse().expect("an address")).or_else(|| preset.base_url.clone());
    let base = base.expect("this kind needs a BASE_URL");
    let vendor = Vendor { preset, base, key: key(preset) };
    for name in QUESTIONS.into_iter().filter(|name| folder().join(&kind).join(format!("{name}.json")).exists()) {
        match vendor.record(name).await {
            Ok(()) => println!("{kind}/{name}: recorded"),
            Err(why) => println!("{kind}/{name}: not recorded: {why}"),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the key of whoever records")]
fn key(preset: &Preset) -> Option<String> {
    let name = preset.key_env.as_ref()?;
    Some(std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set")))
}

struct Vendor<'a> {
    preset: &'a Preset,
    base: url::Url,
    key: Option<String>,
}

impl Vendor<'_> {
    async fn record(&self, name: &str) -> Result<(), String> {
        let kind = &self.preset.kind;
        // What the adapter sends is learnt from a server that says no.
        let ear = Upstream::start([Play::json(400, &json!({}))]).await;
        let card = self.provider(&ear).models()[0].clone();
        let _ = outcome(name, &self.provider(&ear), &question(name, &card)).await;
        let sent = ear.received().into_iter().next().ok_or("the adapter refused the question")?;
        let reply = self.send(&sent.line, &sent.body).await.map_err(|error| error.without_url().to_string())?;
        if reply["status"] != 200 {
            return Err(reply.to_string());
        }
        let vendor_again = Upstream::start([play(&reply)]).await;
        let answered = outcome(name, &self.provider(&vendor_again), &question(name, &card)).await;
        let answer = answered.map_err(|error| format!("{error}: {reply}"))?;
        let origin = format!("recorded by an operator, {}", Date::today());
        let request = json!({"line": sent.line, "body": sent.body});
        write(kind, name, &json!({"origin": origin, "request": request, "reply": reply, "answer": told(&answer)}));
        Ok(())
    }

    /// The adapter, speaking to a server on loopback below the vendor's own path.
    fn provider(&self, upstream: &Upstream) -> Provider {
        let path = self.base.path().trim_end_matches('/');
        let settings = Settings {
            name: "recording".into(),
            base_url: Some(upstream.url(path).parse().expect("an address")),
            auth: None,
            key: self.key.clone().map(SecretString::from),
            headers: http::HeaderMap::new(),
            quirks: None,
            extra_body: Map::new(),
            model: Some(ModelId::from(model(&self.preset.kind).as_str())),
            models: Vec::new(),
            patience: Patience::default(),
            local: local::Settings::default(),
        };
        adapters::build(self.preset, settings, &VendorHttp::new(None)).expect("a provider")
    }

    async fn send(&self, line: &str, body: &Value) -> reqwest::Result<Value> {
        let path = line.strip_prefix("POST ").expect("a POST");
        let mut url = self.base.clone();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        url.set_path(path);
        url.set_query((!query.is_empty()).then_some(query));
        let client = reqwest::Client::builder().timeout(Duration::from_mins(2)).no_proxy().build()?;
        let request = client
            .post(url)
            .headers(self.preset.headers.clone())
            .header("content-type", "application/json")
            .body(body.to_string());
        let mut response = match (&self.key, &self.preset.auth) {
            (None, _) => request,
            (Some(key), Auth::Bearer) => request.bearer_auth(key),
            (Some(key), Auth::Header(name)) => request.header(name, key),
        }
        .send()
        .await?;
        let status = response.status().as_u16();
        let kept = response.headers().iter().filter(|(name, _)| KEPT.iter().any(|part| name.as_str().contains(part)));
        let headers: Map<String, Value> =
            kept.map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default()))).collect();
        let streams =
            headers["content-type"].as_str().is_some_and(|kind| kind.contains("stream") || kind.contains("ndjson"));
        if !streams {
            let body = response.bytes().await?;
            let body: Value = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
            return Ok(json!({"status": status, "headers": headers, "body": body}));
        }
        let mut pieces = Vec::new();
        let mut split = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            split.extend_from_slice(&chunk);
            // A piece is text: what was cut inside a character waits for the rest of it.
            let whole = split.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
            let rest = split.split_off(whole);
            pieces.push(json!(String::from_utf8_lossy(&split)));
            split = rest;
        }
        Ok(json!({"status": status, "headers": headers, "pieces": pieces}))
    }
}
