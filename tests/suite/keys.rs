//! Callers who prove who they are: what a key opens, what it does not, and what nobody sees without one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use vision_providers::testkit::{Play, Upstream};

use super::client::{data_uri, example_bytes, rest};
use super::http::{Server, locally};
use super::rest::{config, serving};
use super::{PATIENCE, completion, config_file, example};

/// A new key, and its digest, as the program makes them.
fn made(name: &str) -> (String, String) {
    let made = Command::new(env!("CARGO_BIN_EXE_visiongate")).args(["keys", "new", name, "--json"]).output();
    let made: Value = serde_json::from_slice(&made.expect("it runs").stdout).expect("JSON");
    (made["key"].as_str().expect("a key").to_owned(), made["hash"].as_str().expect("a digest").to_owned())
}

/// A caller with a key and with these settings more, as a header and as a piece of configuration.
pub(crate) fn caller(name: &str, more: &str) -> (String, String) {
    let (key, digest) = made(name);
    (format!("authorization: Bearer {key}\r\n"), format!("[server.keys.{name}]\nhash = \"{digest}\"\n{more}"))
}

async fn server_of(folder: &Path, keys: &[&str]) -> (Upstream, Server) {
    let upstream = Upstream::start([Play::json(200, &completion("Seen."))]).await;
    let server = serving(folder, &config(&upstream, &upstream, &keys.concat())).await;
    (upstream, server)
}

fn question(prompt: &str) -> Value {
    json!({"image": data_uri("qr.png"), "prompt": prompt})
}

#[tokio::test]
async fn nobody_is_let_in_without_a_key_and_only_as_bearer() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, keys) = caller("alice", "");
        let (upstream, server) = server_of(folder.path(), &[&keys]).await;
        let key = alice.trim_start_matches("authorization: Bearer ").trim_end();
        let refused = [
            (String::new(), "Bearer realm=\"visiongate\""),
            ("authorization: Bearer vg_wrong\r\n".to_owned(), "error=\"invalid_token\""),
            (format!("authorization: Bearer {key}x\r\n"), "error=\"invalid_token\""),
            ("authorization: Bearer\r\n".to_owned(), "error=\"invalid_token\""),
            (format!("{alice}{alice}"), "error=\"invalid_token\""),
            (format!("authorization: Basic {key}\r\n"), "error=\"invalid_token\""),
            (format!("authorization: {key}\r\n"), "error=\"invalid_token\""),
            (format!("x-api-key: {key}\r\n"), "Bearer realm=\"visiongate\""),
        ];
        for (headers, challenge) in refused {
            for path in ["/v1/analyze", "/v1/images", "/v1/chat/completions", "/mcp"] {
                let answer = server.post_json(path, &headers, &question("What?")).await;
                assert_eq!(answer.status, 401, "{path} {headers:?}");
                assert!(answer.header("www-authenticate").is_some_and(|it| it.contains(challenge)), "{answer:?}");
                let told = answer.json().to_string();
                assert!(told.contains("UNAUTHENTICATED") && !told.contains(key), "{told}");
            }
            for path in ["/v1/models", "/v1/models/a", "/metrics"] {
                assert_eq!(server.request(&format!("GET {path}"), &headers, b"").await.status, 401, "{path}");
            }
        }
        let openai = server.post_json("/v1/chat/completions", "", &json!({})).await;
        assert_eq!(
            (&openai.json()["error"]["type"], openai.header("x-should-retry")),
            (&json!("authentication_error"), Some("false"))
        );
        assert_eq!(server.post_json("/v1/analyze", &alice, &question("What?")).await.status, 200);
        let lower = alice.replace("Bearer", "bearer");
        assert_eq!(server.post_json("/v1/analyze", &lower, &question("What?")).await.status, 200);
        assert_eq!(server.request("GET /metrics", &alice, b"").await.status, 200);
        assert_eq!(upstream.calls(), 1);
    })
    .await;
}

#[tokio::test]
async fn health_is_everybodys_and_what_it_says_of_providers_is_not() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, keys) = caller("alice", "");
        let (_upstream, server) = server_of(folder.path(), &[&keys]).await;
        assert_eq!(server.request("GET /healthz", "", b"").await.text(), "ok");
        for headers in ["", "authorization: Bearer vg_wrong\r\n"] {
            let ready = server.request("GET /readyz", headers, b"").await;
            assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready"})));
        }
        let ready = server.request("GET /readyz", &alice, b"").await.json();
        assert_eq!(ready["providers"]["a"]["state"], "ready", "{ready}");
    })
    .await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told_before_anything_of_the_body_is_read() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (_, keys) = caller("alice", "");
        let (_upstream, server) = server_of(folder.path(), &[&keys]).await;
        for path in ["/v1/analyze", "/v1/images", "/v1/chat/completions", "/mcp"] {
            let began = Instant::now();
            let line = format!("POST {path}");
            let mut stream = server.begin(&line, "content-length: 40000000\r\n", b"").await;
            let answer = timeout(Duration::from_secs(2), rest(&mut stream)).await.expect("at once");
            assert_eq!(answer.status, 401, "{path} after {:?}", began.elapsed());
            assert_eq!(answer.header("connection"), Some("close"));
            // Whoever sends all the same can still read why.
            let answer = server.request(&line, "", &vec![b' '; 20 << 20]).await;
            assert_eq!(answer.status, 401, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_key_for_some_models_gets_no_other_by_any_way() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, first) = caller("alice", "models = [\"a\"]\n");
        let (bob, second) = caller("bob", "models = [\"local\"]\n");
        let broken = Upstream::start([Play::json(500, &json!({"error": {"message": "broken"}}))]).await;
        let other = Upstream::start([Play::json(200, &completion("Never."))]).await;
        let toml = config(&broken, &other, &format!("{first}{second}")).replace("fallback = []", "fallback = [\"b\"]");
        let server = serving(folder.path(), &toml).await;
        let with = |model: &str| json!({"image": data_uri("qr.png"), "prompt": "What?", "model": model});
        for model in ["b", "b/m", "local", "b/unheard-of"] {
            let answer = server.post_json("/v1/analyze", &alice, &with(model)).await;
            assert_eq!((answer.status, answer.code().as_str()), (403, "FORBIDDEN"), "{model}");
        }
        let chat = json!({"model": "b", "messages": [{"role": "user", "content": "Hello?"}]});
        let answer = server.post_json("/v1/chat/completions", &alice, &chat).await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (403, &json!("permission_error")));
        let compare = json!({"image": data_uri("qr.png"), "models": ["a", "b"]});
        assert_eq!(server.post_json("/v1/compare", &alice, &compare).await.code(), "FORBIDDEN");
        let batch = json!({"items": [with("b")]});
        let batch = server.post_json("/v1/batch", &alice, &batch).await.json();
        assert_eq!(batch["items"][0]["error"]["code"], "FORBIDDEN", "{batch}");
        for body in [with("a"), question("And by default?")] {
            let answer = server.post_json("/v1/analyze", &alice, &body).await;
            assert_eq!(answer.code(), "UPSTREAM_ERROR", "nobody of the fallback answers: {}", answer.text());
        }
        assert!(broken.calls() > 0);
        assert_eq!(other.calls(), 0, "a forbidden model was asked");
        // Whose default is not theirs gets what is theirs, or a refusal, and never the default.
        let before = broken.calls();
        let answer = server.post_json("/v1/analyze", &bob, &question("What?")).await;
        assert!(answer.status != 200 || answer.json()["provider"] == "local", "{}", answer.text());
        assert_eq!((broken.calls(), other.calls()), (before, 0));
    })
    .await;
}

#[tokio::test]
async fn a_caller_sees_only_the_models_that_are_theirs() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, first) = caller("alice", "models = [\"a\"]\n");
        let (bob, second) = caller("bob", "tags = [\"eu\"]\n");
        let tagged = "[providers.c]\nkind = \"openai-compatible\"\nmodel = \"n\"\nkey = \"none\"\n\
            base_url = \"http://127.0.0.1:9/v1\"\ntags = [\"eu\"]\n[aliases]\nmine = \"a/m\"\nother = \"b/m\"\n";
        let (upstream, server) = server_of(folder.path(), &[tagged, &first, &second]).await;
        let names = async |headers: &str| {
            let listed = server.request("GET /v1/models", headers, b"").await.json();
            let names = listed["data"].as_array().expect("models").iter();
            names.map(|model| model["id"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
        };
        let alices = names(&alice).await;
        assert!(alices.contains(&"a/m".to_owned()) && alices.contains(&"mine".to_owned()), "{alices:?}");
        assert!(
            !alices.iter().any(|name| name.starts_with('b') || ["local", "other", "private"].contains(&name.as_str())),
            "{alices:?}"
        );
        let bobs = names(&bob).await;
        assert!(bobs.contains(&"c/n".to_owned()) && !bobs.iter().any(|name| name.starts_with('a')), "{bobs:?}");
        assert_eq!(server.request("GET /v1/models/b", &alice, b"").await.status, 404);
        assert_eq!(server.request("GET /v1/models/a", &alice, b"").await.status, 200);
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_models"}});
        let listed = server.post_json("/mcp", &alice, &call).await.json();
        let providers = listed["result"]["structuredContent"]["providers"].as_array().expect("providers").iter();
        assert_eq!(providers.map(|it| it["name"].clone()).collect::<Vec<_>>(), ["a"], "{listed}");
        let listed = &listed["result"]["structuredContent"];
        assert!(listed.get("default").is_none_or(|default| default == "a"), "{listed}");
        assert_eq!(listed["aliases"], json!({"mine": "a/m"}), "names of others' models are nobody's business");
        assert!(listed.get("routes").is_none(), "no rule leads to a model of theirs: {listed}");
        // Neither errors nor answers nor health say who else there is, and what is not theirs is like what is nowhere.
        let unknown = json!({"image": data_uri("qr.png"), "prompt": "What?", "model": "bb"});
        let refused = server.post_json("/v1/analyze", &alice, &unknown).await;
        assert_eq!((refused.status, refused.code().as_str()), (403, "FORBIDDEN"));
        let advice = refused.json()["error"]["advice"].as_str().expect("advice").to_owned();
        assert!(advice.contains("a/m") && !advice.contains("b/m") && !advice.contains("other"), "{advice}");
        let read = |uri: &str| json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri}});
        for uri in ["vision://health", "vision://models"] {
            let read = server.post_json("/mcp", &alice, &read(uri)).await.text();
            assert!(read.contains("\\\"a\\\"") && !read.contains("\\\"b\\\"") && !read.contains("\\\"c\\\""), "{read}");
        }
        let figures = server.request("GET /metrics", &alice, b"").await;
        assert_eq!(figures.code(), "FORBIDDEN", "figures are of all callers");
        let other = json!({"image": data_uri("qr.png"), "model": "a"});
        assert_eq!(server.post_json("/v1/analyze", &bob, &other).await.code(), "FORBIDDEN");
        assert_eq!(upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_caller_learns_nothing_of_others_models_and_names() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, first) = caller("alice", "models = [\"a/m\"]\n");
        let (bob, second) = caller("bob", "");
        let broken = Upstream::start([Play::json(500, &json!({"error": {"message": "broken"}}))]).await;
        let rule = "[[routes]]\nwhen = { model = \"hidden-route\" }\nuse = [\"b\"]\n\
            [[providers.a.models]]\nid = \"secret\"\n[aliases]\nhidden-alias = \"b/m\"\n";
        let toml = config(&broken, &broken, "").replace("fallback = []", "fallback = []\n[breaker]\nfailures = 1");
        let toml = format!("{toml}{rule}{first}{second}");
        let server = serving(folder.path(), &toml).await;
        let with = |model: &str| json!({"image": data_uri("qr.png"), "prompt": "What?", "model": model});
        assert_eq!(server.post_json("/v1/analyze", &bob, &with("a/secret")).await.code(), "UPSTREAM_ERROR");
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_models"}});
        let health = async |headers: &str| {
            let ready = server.request("GET /readyz", headers, b"").await.text();
            ready + &server.post_json("/mcp", headers, &list).await.text()
        };
        assert!(health(&bob).await.contains("\"secret\""), "{}", health(&bob).await);
        let told = health(&alice).await;
        assert!(!told.contains("secret") && !told.contains("last_error") && !told.contains("failing"), "{told}");
        // Names that lead elsewhere are answered like names that nothing has.
        let refused = async |path: &str, body: Value, name: &str| {
            let answer = server.post_json(path, &alice, &body).await;
            (answer.status, answer.text().replace(&format!("`{name}`"), "NAME"))
        };
        let compared = |one: &str, other: &str| json!({"image": data_uri("qr.png"), "models": [one, other]});
        for name in ["hidden-route", "hidden-alias", "b", "b/m", "a/secret"] {
            let unknown = refused("/v1/analyze", with("unheard-of"), "unheard-of").await;
            assert_eq!(refused("/v1/analyze", with(name), name).await, unknown, "{name}");
            let unknown = refused("/v1/compare", compared("a/m", "unheard-of"), "unheard-of").await;
            assert_eq!(refused("/v1/compare", compared("a/m", name), name).await, unknown, "{name}");
        }
        let unknown = refused("/v1/compare", compared("unheard-of", "b/m"), "unheard-of").await;
        assert_eq!(refused("/v1/compare", compared("hidden-alias", "b/m"), "hidden-alias").await, unknown);
    })
    .await;
}

#[tokio::test]
async fn models_of_a_comparison_are_counted_before_anything_is_fetched() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, keys) = caller("alice", "requests_per_minute = 3\n");
        let (upstream, server) = server_of(folder.path(), &[&keys]).await;
        let with = |image: &str| json!({"image": image, "prompt": "What?", "models": ["a", "b"]});
        // One that cannot be opened is counted too.
        let broken = server.post_json("/v1/compare", &alice, &with("data:image/png;base64,AAAA")).await;
        assert_ne!(broken.code(), "RATE_LIMITED");
        let answer = server.post_json("/v1/compare", &alice, &with(&data_uri("qr.png"))).await.json();
        let codes = answer["answers"].as_array().expect("answers").iter().map(|it| it["error"]["code"].clone());
        assert_eq!(codes.collect::<Vec<_>>(), [Value::Null, json!("RATE_LIMITED")], "{answer}");
        // What would be refused as an image is not looked at any more.
        let refused = server.post_json("/v1/compare", &alice, &with("data:image/png;base64,AAAA")).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"), "{}", refused.text());
        assert_eq!(upstream.calls(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_caller_with_a_folder_reads_there_and_nowhere_else() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (own, shared) = (folder.path().join("alice"), folder.path().join("all"));
        for place in [&own, &shared] {
            std::fs::create_dir(place).expect("a folder");
            std::fs::copy(example("qr.png"), place.join("qr.png")).expect("a copy");
        }
        let (alice, first) = caller("alice", &format!("roots = ['{}']\n", own.display()));
        let (bob, second) = caller("bob", "");
        let (carol, third) = caller("carol", "roots = []\n");
        let roots = format!("[intake]\nroots = ['{}']\n", shared.display());
        let (_upstream, server) = server_of(folder.path(), &[&roots, &first, &second, &third]).await;
        let theirs = own.join("qr.png").display().to_string();
        let everybodys = shared.join("qr.png").display().to_string();
        let roundabout = own.join("../all/qr.png").display().to_string();
        for (who, headers, path, status) in [
            ("alice", &alice, &theirs, 200),
            ("alice", &alice, &everybodys, 403),
            ("alice", &alice, &roundabout, 403),
            ("bob", &bob, &theirs, 403),
            ("bob", &bob, &everybodys, 200),
            ("carol", &carol, &theirs, 403),
            ("carol", &carol, &everybodys, 403),
        ] {
            let answer = server.post_json("/v1/analyze", headers, &json!({"image": path, "prompt": "What?"})).await;
            assert_eq!(answer.status, status, "{who} {path}: {}", answer.text());
        }
    })
    .await;
}

#[tokio::test]
async fn a_caller_who_asks_too_often_is_told_when_to_come_back() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, first) = caller("alice", "requests_per_minute = 20\n");
        let (bob, second) = caller("bob", "requests_per_minute = 20\n");
        let (upstream, server) = server_of(folder.path(), &[&first, &second]).await;
        let items = json!({"items": vec![json!({"image": data_uri("qr.png")}); 10], "prompt": "What?"});
        let batch = server.post_json("/v1/batch", &alice, &items).await.json();
        assert_eq!((&batch["succeeded"], &batch["failed"]), (&json!(8), &json!(2)), "each item counts: {batch}");
        assert_eq!(batch["items"][9]["error"]["code"], "RATE_LIMITED", "{batch}");
        let answer = server.post_json("/v1/analyze", &alice, &question("Again?")).await;
        assert_eq!((answer.status, answer.code().as_str()), (429, "RATE_LIMITED"));
        let wait: u64 = answer.header("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=3).contains(&wait), "{wait}");
        let chat = json!({"messages": [{"role": "user", "content": "Hello?"}]});
        let openai = server.post_json("/v1/chat/completions", &alice, &chat).await;
        assert_eq!((openai.status, openai.header("x-should-retry")), (429, Some("true")));
        assert_eq!(
            server.post_json("/v1/analyze", &bob, &question("Mine?")).await.status,
            200,
            "limits are each caller's"
        );
        sleep(Duration::from_secs(wait)).await;
        assert_eq!(server.post_json("/v1/analyze", &alice, &question("Now?")).await.status, 200);
        assert_eq!(upstream.calls(), 3);
    })
    .await;
}

#[tokio::test]
async fn images_that_are_sent_ahead_count_as_questions() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, first) = caller("alice", "requests_per_minute = 20\n");
        let (bob, second) = caller("bob", "requests_per_minute = 20\n");
        let (upstream, server) = server_of(folder.path(), &[&first, &second]).await;
        let image = example_bytes("qr.png");
        for _ in 0..8 {
            server.upload(&alice, &image).await;
        }
        let refused = server.request("POST /v1/images", &alice, &image).await;
        assert_eq!((refused.status, refused.code().as_str()), (429, "RATE_LIMITED"));
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        assert_eq!(server.post_json("/v1/analyze", &alice, &question("What?")).await.code(), "RATE_LIMITED");
        server.upload(&bob, &image).await;
        assert_eq!(upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn callers_share_neither_answers_nor_uploads() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let ((alice, first), (bob, second)) = (caller("alice", ""), caller("bob", ""));
        let (upstream, server) = server_of(folder.path(), &[&first, &second]).await;
        for (headers, cached) in [(&alice, false), (&alice, true), (&bob, false), (&bob, true)] {
            let answer = server.post_json("/v1/analyze", headers, &question("What?")).await.json();
            assert_eq!(answer["cached"], cached, "{answer}");
        }
        assert_eq!(upstream.calls(), 2);
        let handle = server.upload(&alice, &example_bytes("qr.png")).await;
        let asked = json!({"image": handle, "prompt": "Mine?"});
        let theirs = server.post_json("/v1/analyze", &bob, &asked).await;
        let unknown = server.post_json("/v1/analyze", &bob, &json!({"image": "img_AAAAAAAAAAAAAAAAAAAAAAAA"})).await;
        assert_eq!((theirs.status, theirs.code()), (400, unknown.code()), "one cannot tell whether it is there");
        assert_eq!(server.post_json("/v1/analyze", &alice, &asked).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn one_caller_who_asks_much_does_not_keep_others_waiting() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let ((alice, first), (bob, second)) = (caller("alice", ""), caller("bob", ""));
        let slow = Play::json(200, &completion("Seen.")).after(Duration::from_secs(3));
        let upstream = Upstream::start([slow]).await;
        let keys = format!("[limit]\nconcurrency = 4\n{first}{second}");
        let server = serving(folder.path(), &config(&upstream, &upstream, &keys)).await;
        let ask = async |headers: &str, prompt: String| {
            server.post_json("/v1/analyze", headers, &question(&prompt)).await.status
        };
        let many = futures_util::future::join_all((0..12).map(|number| ask(&alice, format!("Alice's {number}"))));
        let one = async {
            while upstream.calls() < 3 {
                sleep(Duration::from_millis(10)).await;
            }
            ask(&bob, "Bob's".to_owned()).await
        };
        let (many, one) = tokio::join!(many, one);
        assert!(one == 200 && many.iter().all(|status| *status == 200), "{one} {many:?}");
        let place = upstream.received().iter().position(|received| received.body.to_string().contains("Bob's"));
        assert_eq!(place, Some(3), "the turn that was kept free is taken at once");
    })
    .await;
}

#[tokio::test]
async fn one_caller_who_asks_much_does_not_fill_the_door_for_others() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let ((alice, first), (bob, second)) = (caller("alice", ""), caller("bob", ""));
        let upstream = Upstream::start([Play::decide(|received, _| {
            let slow = received.body.to_string().contains("Alice's");
            Play::json(200, &completion("Seen.")).after(Duration::from_secs(if slow { 3 } else { 0 }))
        })])
        .await;
        let keys = format!("[server]\nmax_requests = 4\nqueue = 4\n{first}{second}");
        let server = serving(folder.path(), &config(&upstream, &upstream, &keys)).await;
        let ask = async |headers: &str, prompt: String| {
            let answer = server.post_json("/v1/analyze", headers, &question(&prompt)).await;
            (answer.status, answer.header("retry-after").map(str::to_owned))
        };
        let many = futures_util::future::join_all((0..12).map(|number| ask(&alice, format!("Alice's {number}"))));
        let few = async {
            while upstream.calls() < 3 {
                sleep(Duration::from_millis(10)).await;
            }
            let began = Instant::now();
            let mut answered = Vec::new();
            for number in 0..3 {
                answered.push(ask(&bob, format!("Bob's {number}")).await.0);
            }
            (answered, began.elapsed())
        };
        let (many, (few, took)) = tokio::join!(many, few);
        assert_eq!(few, [200; 3]);
        assert!(took < Duration::from_millis(2500), "while all of Alice's turns were taken: {took:?}");
        let refused: Vec<_> = many.iter().filter(|(status, _)| *status != 200).collect();
        assert_eq!(refused.len(), 6, "three turns and three places are hers: {many:?}");
        assert!(refused.iter().all(|(status, wait)| *status == 503 && wait.as_deref() == Some("2")), "{many:?}");
    })
    .await;
}

#[tokio::test]
async fn a_key_that_is_taken_away_opens_nothing_any_more() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let ((alice, first), (bob, second)) = (caller("alice", ""), caller("bob", ""));
        let (upstream, server) = server_of(folder.path(), &[&first, &second]).await;
        let listed = async |headers: &str| server.request("GET /v1/models", headers, b"").await.status;
        assert_eq!((listed(&alice).await, listed(&bob).await), (200, 200));
        config_file(folder.path(), &config(&upstream, &upstream, &second));
        server.signal("HUP");
        let refused = async {
            while listed(&alice).await != 401 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(2), refused).await.expect("it is refused soon");
        assert_eq!((listed(&alice).await, listed(&bob).await), (401, 200));
    })
    .await;
}

#[test]
fn a_new_key_is_printed_once_with_its_digest_for_the_configuration() {
    let new = |name: &str| {
        Command::new(env!("CARGO_BIN_EXE_visiongate")).args(["keys", "new", name]).output().expect("it runs")
    };
    let made = new("alice");
    let (key, told) = (String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    assert!(made.status.success() && key.starts_with("vg_") && key.lines().count() == 1, "{key}");
    assert!(told.contains("[server.keys.\"alice\"]\nhash = \"blake3:") && !told.contains(key.trim()), "{told}");
    assert_ne!(new("alice").stdout, made.stdout);
    for name in ["", "local", "a b", "ö", &"x".repeat(65)] {
        assert_eq!(new(name).status.code(), Some(2), "{name:?}");
    }
}

#[tokio::test]
async fn other_machines_are_served_only_where_callers_prove_who_they_are() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, keys) = caller("alice", "");
        let serve = |toml: &str| {
            let file = config_file(folder.path(), toml);
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_visiongate"));
            command.args(["serve", "--listen", "0.0.0.0:0"]).env("VISIONGATE_CONFIG", file).kill_on_drop(true);
            command
        };
        let refused = timeout(PATIENCE, serve("").output()).await.expect("at once").expect("it ends");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert!(told.contains("visiongate keys new") && told.contains("server.allow_unauthenticated"), "{told}");
        let file = config_file(folder.path(), &format!("{keys}\n[server]\nlisten = \"0.0.0.0:0\"\n"));
        let mut server = Server::start_with(&[], &[("VISIONGATE_CONFIG", file.display().to_string())]).await;
        server.address = server.address.replace("0.0.0.0", "127.0.0.1");
        assert_eq!(server.request("GET /v1/models", "", b"").await.status, 401);
        assert_eq!(server.request("GET /v1/models", &alice, b"").await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn pages_of_configured_origins_may_ask_and_no_others() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (alice, keys) = caller("alice", "");
        let origins = format!("[server]\nallowed_origins = [\"https://app.example\"]\n{keys}");
        let (_upstream, server) = server_of(folder.path(), &[&origins]).await;
        let wish =
            "access-control-request-method: POST\r\naccess-control-request-headers: authorization, content-type\r\n";
        for path in ["/v1/analyze", "/v1/images", "/v1/chat/completions", "/v1/models", "/mcp"] {
            let line = format!("OPTIONS {path}");
            let preflight = server.request(&line, &format!("origin: https://app.example\r\n{wish}"), b"").await;
            assert_eq!(preflight.status, 204, "{path}: {preflight:?}");
            assert_eq!(preflight.header("access-control-allow-origin"), Some("https://app.example"), "{path}");
            let allowed = preflight.header("access-control-allow-headers").unwrap_or_default();
            assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{path}: {preflight:?}");
            assert!(preflight.header("access-control-allow-methods").is_some_and(|it| it.contains("POST")));
            let foreign = server.request(&line, &format!("origin: https://evil.example\r\n{wish}"), b"").await;
            assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, None), "{path}");
            // Pages of this machine are let in, and read nothing across origins.
            let local = server.request(&line, &format!("origin: http://localhost:5173\r\n{wish}"), b"").await;
            assert_eq!(local.header("access-control-allow-origin"), None, "{path}: {local:?}");
        }
        let page = format!("origin: https://app.example\r\n{alice}");
        let answer = server.post_json("/v1/analyze", &page, &question("What?")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("https://app.example")));
        assert!(answer.header("access-control-expose-headers").is_some_and(|it| it.contains("x-visiongate-warning")));
        let refused = server.post_json("/v1/analyze", "origin: https://app.example\r\n", &question("What?")).await;
        assert_eq!(
            (refused.status, refused.header("access-control-allow-origin")),
            (401, Some("https://app.example")),
            "and it can read why"
        );
        let foreign = server
            .post_json("/v1/analyze", &format!("origin: https://evil.example\r\n{alice}"), &question("What?"))
            .await;
        assert_eq!((foreign.status, foreign.code().as_str()), (403, "FORBIDDEN"));
    })
    .await;
}
