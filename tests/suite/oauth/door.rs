//! The real server with an issuer on loopback: who is let in by a token, and what the others are told.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vision_providers::testkit::{Play, Upstream};

use super::realm::{METADATA, RESOURCE, Realm};
use super::signer::Signer;
use crate::http::{JSON, Server, locally};
use crate::{config_file, described, example};

const SCOPE: &str = "vision:read";

fn claims(realm: &Realm, changes: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a date").as_secs();
    let dated = realm.claims_with(&json!({"iat": now, "exp": now + 300}));
    let mut claims = dated.as_object().expect("an object").clone();
    claims.extend(changes.as_object().expect("an object").clone());
    Value::Object(claims)
}

async fn server(realm: &Realm, upstream: &Upstream, more: &str) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let issuer = realm.issuer();
    let oauth =
        format!("[server.oauth]\nissuer = \"{issuer}\"\nresource = \"{RESOURCE}\"\nscopes = [\"{SCOPE}\"]\n{more}");
    let provider = format!("[providers.pixtral]\nkey = \"none\"\nbase_url = \"{}\"\n", upstream.url("/v1"));
    let roots = format!("[intake]\nroots = [\"{}\"]\n", crate::root().join("examples").display());
    let file = config_file(folder.path(), &format!("fallback = []\n{provider}{roots}{oauth}"));
    (Server::start(&[("VISIONGATE_CONFIG", file.display().to_string())]).await, folder)
}

fn call() -> String {
    let params = json!({"name": "analyze_image", "arguments": {"image": example("qr.png")}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

#[tokio::test]
async fn a_good_token_lets_its_bearer_in_and_the_vendor_never_sees_it() {
    locally(async {
        let signer = Signer::new("ES256", "one");
        let realm = Realm::with(&[&signer]).await;
        let upstream = Upstream::start([Play::json(200, &described("A code.", ""))]).await;
        let (server, _folder) = server(&realm, &upstream, "").await;
        let token = signer.token("ES256", &claims(&realm, &json!({})));
        let (status, answer) = server.post(&format!("{JSON}authorization: Bearer {token}\r\n"), &call()).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["result"]["structuredContent"]["description"], "A code.", "{answer}");
        let received = upstream.received();
        assert!(!received[0].headers.contains(&token), "{:?}", received[0].headers);
    })
    .await;
}

#[tokio::test]
async fn others_learn_where_to_get_a_token_and_what_is_wrong_with_theirs() {
    locally(async {
        let signer = Signer::new("ES256", "one");
        let realm = Realm::with(&[&signer]).await;
        let upstream = Upstream::start([]).await;
        let (server, _folder) = server(&realm, &upstream, "").await;
        let document = "https://vision.example.com/.well-known/oauth-protected-resource/mcp";
        let token = |changes: &Value| signer.token("ES256", &claims(&realm, changes));
        let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
        for (headers, status, said) in [
            (String::new(), 401, format!("Bearer resource_metadata=\"{document}\", scope=\"{SCOPE}\"")),
            (bearer("nonsense"), 401, "error=\"invalid_token\"".to_owned()),
            (bearer(&token(&json!({"exp": 1000}))), 401, "the token has expired".to_owned()),
            (bearer(&token(&json!({"aud": "https://other.example"}))), 401, "meant for somebody else".to_owned()),
            (bearer(&token(&json!({"scope": "openid"}))), 403, "error=\"insufficient_scope\"".to_owned()),
        ] {
            let head =
                format!("POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-length: 9\r\n{JSON}{headers}\r\n", server.address);
            // The body never comes: whoever is not let in is told so before.
            let answer = server.raw(&head).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers}: {answer}");
            assert!(answer.contains(&said), "{headers}: {answer}");
        }
        assert_eq!(upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn the_document_about_the_resource_is_open_to_everybody() {
    locally(async {
        let realm = Realm::with(&[&Signer::new("ES256", "one")]).await;
        let upstream = Upstream::start([]).await;
        let (server, _folder) = server(&realm, &upstream, "").await;
        for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
            let (status, body) = server.get(path).await;
            let document: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!((status, &document["resource"]), (200, &json!(RESOURCE)), "{path}");
            assert_eq!(document["authorization_servers"], json!([realm.issuer()]));
            assert_eq!(document["scopes_supported"], json!([SCOPE]));
        }
        assert_eq!(server.get("/.well-known/oauth-protected-resource/other").await.0, 404);
        let (status, body) = server.get("/readyz").await;
        assert!(status == 200 && !body.contains("providers"), "{body}");
        assert_eq!(server.get("/metrics").await.0, 401);
    })
    .await;
}

#[tokio::test]
async fn while_the_issuer_is_away_nobody_can_tell_and_nobody_is_to_blame() {
    locally(async {
        let signer = Signer::new("ES256", "one");
        let realm = Realm::new().await;
        realm.publish(METADATA, Play::json(500, &json!({})));
        let upstream = Upstream::start([]).await;
        let (server, _folder) = server(&realm, &upstream, "").await;
        let token = signer.token("ES256", &claims(&realm, &json!({})));
        let (status, answer) = server.post(&format!("{JSON}authorization: Bearer {token}\r\n"), &call()).await;
        assert_eq!(status, 503, "{answer}");
        assert_eq!(answer["error"]["data"]["code"], "OVERLOADED", "{answer}");
    })
    .await;
}

#[tokio::test]
async fn bearers_have_rights_and_each_a_pace_of_their_own() {
    locally(async {
        let signer = Signer::new("ES256", "one");
        let realm = Realm::with(&[&signer]).await;
        let upstream = Upstream::start([Play::decide(|_, _| Play::json(200, &described("A code.", "")))]).await;
        let more = "models = [\"pixtral\"]\nrequests_per_minute = 1\n";
        let (server, _folder) = server(&realm, &upstream, more).await;
        let ask = async |subject: &str, model: &str| {
            let token = signer.token("ES256", &claims(&realm, &json!({"sub": subject})));
            let arguments = json!({"image": example("qr.png"), "model": model});
            let params = json!({"name": "analyze_image", "arguments": arguments});
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
            let (_, answer) = server.post(&format!("{JSON}authorization: Bearer {token}\r\n"), &body).await;
            answer["result"]["structuredContent"].clone()
        };
        assert_eq!(ask("ada", "pixtral").await["description"], "A code.");
        assert_eq!(ask("ada", "pixtral").await["error"]["code"], "RATE_LIMITED");
        assert_eq!(ask("bob", "pixtral").await["description"], "A code.");
        assert_eq!(ask("eve", "openai").await["error"]["code"], "FORBIDDEN");
        assert_eq!(upstream.calls(), 2, "answers are not shared between callers");
    })
    .await;
}
