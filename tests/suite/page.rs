//! The page over real sockets: who gets it, what guards it, what it loads, and what `/v1/status` tells whom.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vision_providers::testkit::{Play, Upstream};

use super::client::data_uri;
use super::http::{Server, locally};
use super::keys::caller;
use super::rest::{config, serving};
use super::{completion, root};

/// What both providers cost, and what everybody asks of them.
const PRICES: &str = "[[providers.a.models]]\nid = \"m\"\nprice = { input = 1000.0, output = 1000.0 }\n";

#[tokio::test]
async fn everybody_gets_the_page_and_nothing_in_it_leads_elsewhere() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let upstream = Upstream::start([Play::Silence]).await;
        let server = serving(folder.path(), &config(&upstream, &upstream, &caller("alice", "").1)).await;
        let mut found = BTreeSet::from(["/".to_owned()]);
        let mut seen = BTreeSet::new();
        while let Some(path) = found.difference(&seen).next().cloned() {
            let file = server.request(&format!("GET {path}"), "", b"").await;
            assert_eq!(file.status, 200, "{path}");
            let kind = match path.rsplit('.').next() {
                Some("css") => "text/css; charset=utf-8",
                Some("js") => "text/javascript; charset=utf-8",
                Some("svg") => "image/svg+xml",
                _ => "text/html; charset=utf-8",
            };
            assert_eq!(file.header("content-type"), Some(kind), "{path}");
            let policy = file.header("content-security-policy").expect("a policy").to_owned();
            for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
                assert!(policy.contains(rule) && !policy.contains("unsafe"), "{policy}");
            }
            assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(file.header("referrer-policy"), Some("no-referrer"));
            let text = file.text();
            for sink in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", "https://"]
            {
                assert!(!text.contains(sink), "{path} has {sink}");
            }
            let linked =
                ["href=\"page/", "src=\"page/", "from \"./"].into_iter().flat_map(|mark| text.split(mark).skip(1));
            found.extend(linked.filter_map(|rest| Some(format!("/page/{}", rest.split('"').next()?))));
            seen.insert(path);
        }
        let kept = std::fs::read_dir(root().join("src/surface/http/page")).expect("a folder").count();
        assert_eq!(seen.len(), kept - 1, "each file but mod.rs is served, and something leads to it: {seen:?}");
        assert_eq!(server.request("GET /v1/models", "", b"").await.status, 401);
    })
    .await;
}

#[tokio::test]
async fn a_page_that_the_browser_has_is_not_sent_again() {
    locally(async {
        let server = Server::start(&[]).await;
        let page = server.request("GET /", "", b"").await;
        let tag = page.header("etag").expect("a tag").to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            let again = server.begin("GET /", &format!("if-none-match: {known}\r\n"), b"").await;
            let again = super::client::rest(&mut { again }).await;
            assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
            assert_eq!(again.header("etag"), Some(&*tag));
            assert!(again.header("content-security-policy").is_some());
        }
        let changed = server.request("GET /", "if-none-match: \"other\"\r\n", b"").await;
        assert_eq!((changed.status, changed.body.len()), (200, page.body.len()));
        let head =
            server.raw(&format!("HEAD / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address)).await;
        let length = format!("content-length: {}\r\n", page.body.len());
        assert!(head.starts_with("HTTP/1.1 200") && head.to_lowercase().contains(&length), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        assert_eq!(server.request("POST /", "", b"").await.status, 405);
    })
    .await;
}

#[tokio::test]
async fn the_page_works_under_the_names_of_this_server_and_no_other() {
    locally(async {
        let hosts = "[\"vision.example.com\"]";
        let server = Server::start(&[("VISIONGATE_SERVER__ALLOWED_HOSTS", hosts.into())]).await;
        for (headers, status) in [
            ("host: vision.example.com\r\n", 200),
            ("host: vision.example.com\r\norigin: https://vision.example.com\r\n", 200),
            ("host: vision.example.com\r\norigin: http://Vision.Example.com\r\n", 200),
            ("host: vision.example.com:8443\r\norigin: https://vision.example.com:8443\r\n", 200),
            ("host: vision.example.com\r\norigin: https://vision.example.com:8443\r\n", 403),
            ("host: vision.example.com\r\norigin: https://evil.example\r\n", 403),
            ("host: vision.example.com\r\norigin: ftp://vision.example.com\r\n", 403),
            ("host: vision.example.com\r\norigin: null\r\n", 403),
            // Somebody's DNS leads here: their page is of their name, and so is the request.
            ("host: evil.example\r\norigin: http://evil.example\r\n", 403),
            ("host: evil.example\r\n", 403),
        ] {
            for path in ["/", "/v1/status"] {
                assert_eq!(
                    server.request(&format!("GET {path}"), headers, b"").await.status,
                    status,
                    "{path} {headers}"
                );
            }
        }
    })
    .await;
}

#[tokio::test]
async fn status_tells_everybody_of_their_providers_and_of_money_only_who_may_see_all() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let upstream = Upstream::start([Play::json(200, &completion("Seen."))]).await;
        let ((alice, all), (bob, some)) = (caller("alice", ""), caller("bob", "models = [\"b\"]\n"));
        let server = serving(folder.path(), &config(&upstream, &upstream, &[PRICES, &all, &some].concat())).await;
        assert_eq!(server.request("GET /v1/status", "", b"").await.status, 401);
        let told = async |headers: &str| server.request("GET /v1/status", headers, b"").await.json();
        let before = told(&alice).await;
        assert_eq!((&before["spend_today_usd"], &before["version"]), (&json!(0.0), &json!(env!("CARGO_PKG_VERSION"))));
        for _ in 0..2 {
            let asked = json!({"image": data_uri("qr.png"), "prompt": "What?", "model": "a", "cache": "bypass"});
            let answer = server.post_json("/v1/analyze", &alice, &asked).await.json();
            assert!(answer["cost_usd"].as_f64().is_some_and(|cost| cost > 0.0), "{answer}");
        }
        let asked = json!({"image": data_uri("qr.png"), "prompt": "What?", "model": "a", "cache": "bypass"});
        let cost = server.post_json("/v1/analyze", &alice, &asked).await.json()["cost_usd"].as_f64().expect("a cost");
        let after = told(&alice).await;
        let near = |value: &Value, expected: f64| value.as_f64().is_some_and(|value| (value - expected).abs() < 1e-9);
        assert!(near(&after["spend_today_usd"], 3.0 * cost), "{after}");
        assert!(near(&after["providers"]["a"]["spend_today_usd"], 3.0 * cost), "{after}");
        assert!(after["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{after}");
        assert!(after["tasks"].as_array().expect("tasks").contains(&json!("invoice")), "{after}");
        assert_eq!(after["compare"], json!({"max_models": 8}), "{after}");
        let restricted = told(&bob).await;
        assert_eq!(restricted["compare"], after["compare"], "the bound is everybody's: {restricted}");
        assert_eq!(restricted["providers"], json!({"b": {"state": "ready"}}));
        assert!(restricted.get("spend_today_usd").is_none() && restricted.get("since").is_none(), "{restricted}");
    })
    .await;
}

#[tokio::test]
async fn names_of_models_say_what_they_lead_to_and_cost() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let upstream = Upstream::start([Play::Silence]).await;
        let more = format!("[aliases]\nquick = \"a\"\n{PRICES}");
        let server = serving(folder.path(), &config(&upstream, &upstream, &more)).await;
        let listed = server.request("GET /v1/models", "", b"").await.json();
        let of = |id: &str| {
            let models = listed["data"].as_array().expect("models");
            models.iter().find(|model| model["id"] == id).map(|model| model["visiongate"].clone()).expect("a model")
        };
        assert_eq!(of("quick")["model"], "a/m");
        assert_eq!(of("a")["price_usd_per_million"]["input"], 1000.0);
        assert!(of("b/m").get("price_usd_per_million").is_none(), "{listed}");
        // A rule leads to one model or another.
        assert_eq!(of("cheapest"), Value::Null);
    })
    .await;
}
