//! An issuer on loopback, which publishes what a test says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use vision_providers::testkit::{Play, Upstream};
use visiongate::oauth::{Identifier, Settings, Verifier};
use visiongate::supervisor::Supervisor;

use super::NOW;
use super::signer::Signer;

pub(super) const METADATA: &str = "/.well-known/oauth-authorization-server";
pub(super) const OPENID: &str = "/.well-known/openid-configuration";
pub(super) const KEYS: &str = "/keys";
pub(super) const RESOURCE: &str = "https://vision.example.com/mcp";

/// The issuer.
pub(super) struct Realm {
    upstream: Upstream,
    pages: Arc<Mutex<HashMap<String, Play>>>,
    /// The path that its name has.
    path: &'static str,
}

impl Realm {
    /// An issuer that publishes nothing yet.
    pub(super) async fn new() -> Self {
        Self::below("").await
    }

    /// One whose name has this path.
    pub(super) async fn below(path: &'static str) -> Self {
        let pages: Arc<Mutex<HashMap<String, Play>>> = Arc::default();
        let served = Arc::clone(&pages);
        let page = Play::decide(move |received, _| {
            let path = received.line.trim_start_matches("GET ");
            let missing = || Play::json(404, &json!({}));
            served.lock().expect("pages").get(path).cloned().unwrap_or_else(missing)
        });
        Self { upstream: Upstream::start([page]).await, pages, path }
    }

    /// One that publishes these keys, and where they are.
    pub(super) async fn with(signers: &[&Signer]) -> Self {
        let realm = Self::new().await;
        realm.publish(METADATA, Play::json(200, &realm.metadata()));
        realm.publish_keys(signers);
        realm
    }

    pub(super) fn publish(&self, path: &str, play: Play) {
        self.pages.lock().expect("pages").insert(path.to_owned(), play);
    }

    pub(super) fn publish_keys(&self, signers: &[&Signer]) {
        self.publish(KEYS, Play::json(200, &keys(signers)));
    }

    pub(super) fn url(&self, path: &str) -> String {
        self.upstream.url(path)
    }

    pub(super) fn issuer(&self) -> String {
        self.url(self.path)
    }

    /// What it says of itself.
    pub(super) fn metadata(&self) -> Value {
        json!({ "issuer": self.issuer(), "jwks_uri": self.url(KEYS), "response_types_supported": ["code"] })
    }

    /// How often it was asked for this page.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.upstream.received().iter().filter(|received| received.line == format!("GET {path}")).count()
    }

    /// How often it was asked for anything.
    pub(super) fn calls(&self) -> usize {
        self.upstream.calls()
    }

    /// Claims of a token that is good for five minutes.
    pub(super) fn claims(&self) -> Value {
        json!({
            "iss": self.issuer(), "aud": RESOURCE, "sub": "ada", "iat": NOW, "exp": NOW + 300, "jti": "1",
            "client_id": "inspector", "scope": "vision:read openid",
        })
    }

    /// These claims with others over them; null takes one away.
    pub(super) fn claims_with(&self, changes: &Value) -> Value {
        let mut claims = self.claims().as_object().expect("an object").clone();
        claims.extend(changes.as_object().expect("an object").clone());
        claims.retain(|_, value| !value.is_null());
        Value::Object(claims)
    }

    pub(super) fn settings(&self) -> Settings {
        let parse = |text: &str| Identifier::parse(text).expect("a name");
        Settings::new(parse(&self.issuer()), &parse(RESOURCE))
    }

    pub(super) fn verifier(&self) -> Verifier {
        verifier(self.settings())
    }
}

/// The document in which keys are published.
pub(super) fn keys(signers: &[&Signer]) -> Value {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() })
}

pub(super) fn verifier(settings: Settings) -> Verifier {
    Verifier::new(settings, Supervisor::default()).with_clock(|| Duration::from_secs(NOW))
}
