//! REST with the real process on a real socket: every call as JSON, as a form and as events, and images sent ahead.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use vision_providers::testkit::{Play, Then, Upstream};

use super::client::{Field, data_uri, example_bytes, is_silent, rest, spoken, until, uri};
use super::http::{Server, locally};
use super::{PATIENCE, completion, config_file, described};

/// A configuration with two models at these addresses.
pub(crate) fn config(first: &Upstream, second: &Upstream, more: &str) -> String {
    let provider = |name: &str, upstream: &Upstream| {
        format!(
            "[providers.{name}]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{}\"\n",
            upstream.url("/v1")
        )
    };
    format!("default = \"a\"\nfallback = []\n{}{}{more}", provider("a", first), provider("b", second))
}

/// A server with this configuration.
pub(crate) async fn serving(folder: &Path, toml: &str) -> Server {
    let file = config_file(folder, toml);
    Server::start(&[("VISIONGATE_CONFIG", file.display().to_string())]).await
}

/// A server with two models at one address, and what else is said.
async fn server_of(upstream: &Upstream, more: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serving(folder.path(), &config(upstream, upstream, more)).await;
    (folder, server)
}

fn says(text: &str) -> Play {
    Play::json(200, &completion(text))
}

/// A stream that says this and then hangs.
fn begins(text: &str) -> Play {
    let kind = vec![("content-type", "text/event-stream".to_owned())];
    Play::Pieces(kind, vec![spoken(&[text]).swap_remove(0)], Then::Hang)
}

const EVENTS: &str = "accept: text/event-stream\r\n";

#[tokio::test]
async fn an_image_is_analyzed_as_json_with_the_whole_account() {
    locally(async {
        let upstream = Upstream::start([Play::json(200, &described("A code.", "hello"))]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let answer = server.post_json("/v1/analyze", "", &json!({"image": data_uri("qr.png")})).await;
        let value = answer.json();
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{value}");
        assert_eq!((&value["description"], &value["detected_text"]), (&json!("A code."), &json!("hello")));
        assert_eq!((&value["provider"], &value["finish_reason"]), (&json!("a"), &json!("stop")));
        assert_eq!(value["route"]["attempts"][0]["outcome"], "ok");
        assert_eq!((&value["images"][0]["source"], &value["images"][0]["format"]), (&json!("data"), &json!("png")));
        // People forget the header, and JSON is JSON.
        let asked = json!({"image": data_uri("qr.png"), "cache": "use"}).to_string();
        let answer = server.request("POST /v1/analyze", "", asked.as_bytes()).await;
        assert_eq!((answer.status, &answer.json()["cached"]), (200, &json!(true)));
        assert_eq!(upstream.calls(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_form_gives_files_and_fields_in_their_order() {
    locally(async {
        let upstream = Upstream::start([says("{\"total\": 25.41}")]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let (receipt, qr, uri) = (example_bytes("receipt.png"), example_bytes("qr.png"), data_uri("qr.png"));
        let schema =
            json!({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}).to_string();
        let fields: [Field<'_>; 8] = [
            ("file", Some("a.png"), &receipt[..]),
            ("prompt", None, b"Which total?"),
            ("schema", None, schema.as_bytes()),
            ("max_output_tokens", None, b"77"),
            ("temperature", None, b"0.5"),
            ("region", None, b"0,0,1,1"),
            ("", Some("b.png"), &qr[..]),
            ("more_images", None, uri.as_bytes()),
        ];
        let answer = server.post_form("/v1/analyze", "", &fields).await;
        let value = answer.json();
        assert_eq!((answer.status, &value["data"]), (200, &json!({"total": 25.41})), "{value}");
        let sources = value["images"].as_array().expect("images").iter().map(|image| image["source"].clone());
        assert_eq!(sources.collect::<Vec<_>>(), ["upload", "upload", "data"], "no image is dropped");
        assert_eq!(value["images"][0]["bytes"], receipt.len());
        let sent = upstream.received().remove(0).body;
        assert_eq!((&sent["max_tokens"], &sent["temperature"]), (&json!(77), &json!(0.5)));
        assert!(sent.to_string().contains("Which total?"), "{sent}");
    })
    .await;
}

#[tokio::test]
async fn files_of_a_form_live_as_long_as_its_call() {
    locally(async {
        let upstream = Upstream::start([says("One.")]).await;
        // Two of these images would not fit.
        let (_folder, server) = server_of(&upstream, "[uploads]\ncapacity = \"100KiB\"\n").await;
        let receipt = example_bytes("receipt.png");
        for number in 0..3 {
            let prompt = format!("How many? {number}");
            let fields = [("image", Some("a.png"), &receipt[..]), ("prompt", None, prompt.as_bytes())];
            let answer = server.post_form("/v1/analyze", "", &fields).await;
            assert_eq!((answer.status, &answer.json()["text"]), (200, &json!("One.")), "{}", answer.text());
        }
        let listed = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/list"}).to_string();
        let (_, listed) = server.post(super::http::JSON, &listed).await;
        assert!(!listed.to_string().contains("img_"), "{listed}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_in_our_shape() {
    locally(async {
        let upstream = Upstream::start([]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let image = data_uri("qr.png");
        for (path, body, status, code) in [
            ("/v1/analyze", "{\"image\": ".to_owned(), 400, "INVALID_INPUT"),
            ("/v1/analyze", "[]".to_owned(), 400, "INVALID_INPUT"),
            ("/v1/analyze", String::new(), 400, "INVALID_INPUT"),
            ("/v1/analyze", json!({}).to_string(), 400, "INVALID_INPUT"),
            ("/v1/analyze", json!({"image": image, "imgae": "x"}).to_string(), 400, "INVALID_INPUT"),
            ("/v1/analyze", json!({"image": image, "stream": "loud"}).to_string(), 400, "INVALID_INPUT"),
            ("/v1/analyze", json!({"image": super::example("qr.png")}).to_string(), 403, "UNSAFE_PATH"),
            ("/v1/analyze", json!({"image": "http://127.0.0.1/a.png"}).to_string(), 403, "URL_BLOCKED"),
            ("/v1/analyze", json!({"image": "-"}).to_string(), 400, "INVALID_INPUT"),
            ("/v1/analyze", json!({"image": image, "model": "nobody"}).to_string(), 404, "MODEL_NOT_FOUND"),
            ("/v1/analyze", json!({"image": uri(b"hello")}).to_string(), 415, "UNSUPPORTED_FORMAT"),
            ("/v1/analyze", json!({"image": uri(b"\x89PNG\r\n\x1a\nhello")}).to_string(), 422, "IMAGE_CORRUPT"),
            ("/v1/compare", json!({"image": image}).to_string(), 400, "INVALID_INPUT"),
            ("/v1/compare", json!({"image": image, "models": ["a"]}).to_string(), 400, "INVALID_INPUT"),
            ("/v1/batch", json!({"items": []}).to_string(), 400, "INVALID_INPUT"),
            ("/v1/batch", json!({"items": vec![image.clone(); 101]}).to_string(), 400, "INVALID_INPUT"),
        ] {
            let answer = server.request(&format!("POST {path}"), "", body.as_bytes()).await;
            assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{path} {body:.80}");
            assert!(answer.json()["error"]["message"].is_string() && answer.json()["error"]["retryable"] == false);
        }
        for (line, status) in
            [("GET /v1/analyze", 405), ("DELETE /v1/images", 405), ("POST /healthz", 405), ("GET /v1/nothing", 404)]
        {
            let answer = server.request(line, "", b"").await;
            assert_eq!((answer.status, answer.code().as_str()), (status, "INVALID_INPUT"), "{line}");
            assert_eq!(answer.header("allow").is_some(), status == 405, "{line}: {answer:?}");
        }
        let broken = server.request("POST /v1/analyze", "content-type: multipart/form-data\r\n", b"x").await;
        assert_eq!((broken.status, broken.code().as_str()), (400, "INVALID_INPUT"));
        let many = vec![("more_images", None, &b"x"[..]); 300];
        assert_eq!(server.post_form("/v1/analyze", "", &many).await.code(), "INVALID_INPUT");
        assert_eq!(upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_answer_is_told_while_it_is_given() {
    locally(async {
        let upstream = Upstream::start([Play::events(spoken(&["A receipt ", "of tea."]))]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let mut asked = json!({"image": data_uri("qr.png"), "prompt": "What is this?", "cache": "bypass"});
        let answer = server.post_json("/v1/analyze", EVENTS, &asked).await;
        let events = answer.events();
        let (last, deltas) = events.split_last().expect("events");
        let text: String = deltas.iter().map(|(_, data)| data["text"].as_str().expect("text")).collect();
        assert_eq!(text, "A receipt of tea.");
        assert!(deltas.iter().all(|(name, _)| name == "delta") && !deltas.is_empty(), "{events:?}");
        assert_eq!((last.0.as_str(), &last.1["text"]), ("answer", &json!("A receipt of tea.")));
        assert_eq!(last.1["route"]["attempts"][0]["outcome"], "ok");
        assert_eq!(
            (answer.header("cache-control"), answer.header("x-accel-buffering")),
            (Some("no-cache"), Some("no"))
        );
        asked["stream"] = json!(true);
        assert_eq!(server.post_json("/v1/analyze", "", &asked).await.events().len(), events.len());
        let qr = example_bytes("qr.png");
        let fields = [("image", Some("a.png"), &qr[..]), ("prompt", None, b"What?"), ("stream", None, b"true")];
        assert_eq!(server.post_form("/v1/analyze", "", &fields).await.events().len(), events.len());
    })
    .await;
}

#[tokio::test]
async fn who_fails_before_the_first_word_says_so_by_status_and_who_fails_later_by_an_event() {
    locally(async {
        let refused = Play::json(400, &json!({"error": {"message": "no"}}));
        let kind = vec![("content-type", "text/event-stream".to_owned())];
        let half = Play::Pieces(kind, vec![spoken(&["Half"]).swap_remove(0)], Then::Break);
        let upstream = Upstream::start([refused, half]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let asked = json!({"image": data_uri("qr.png"), "prompt": "What is this?"});
        let answer = server.post_json("/v1/analyze", EVENTS, &asked).await;
        assert!(answer.status >= 400 && !answer.code().is_empty(), "{}", answer.text());
        let answer = server.post_json("/v1/analyze", EVENTS, &asked).await;
        let events = answer.events();
        assert_eq!((answer.status, events[0].1["text"].as_str()), (200, Some("Half")), "{events:?}");
        let (name, data) = events.last().expect("an end");
        assert_eq!((name.as_str(), &data["error"]["code"]), ("error", &json!("UPSTREAM_ERROR")), "{events:?}");
        let answer = server.post_json("/v1/analyze", EVENTS, &json!({"image": "nothing.png"})).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "UNSAFE_PATH"));
    })
    .await;
}

#[tokio::test]
async fn who_thinks_for_long_has_sent_headers_meanwhile_and_says_in_an_event_how_it_ended() {
    locally(async {
        let upstream = Upstream::start([says("Never.").after(PATIENCE)]).await;
        let (_folder, server) = server_of(&upstream, "[deadline]\ntotal = \"7s\"\n").await;
        let asked = json!({"image": data_uri("qr.png"), "prompt": "What is this?"}).to_string();
        let messages = json!([{"role": "user", "content": "What is this?"}]);
        let chat = json!({"model": "a", "stream": true, "messages": messages}).to_string();
        let told = async |line: &str, headers: &str, body: &str| {
            let began = Instant::now();
            let mut stream = server.begin(line, headers, body.as_bytes()).await;
            let head = until(&mut stream, "\r\n\r\n").await;
            assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
            assert!((5..7).contains(&began.elapsed().as_secs()), "headers after {:?}", began.elapsed());
            head + &until(&mut stream, "\r\n0\r\n\r\n").await
        };
        let (rest, openai) =
            tokio::join!(told("POST /v1/analyze", EVENTS, &asked), told("POST /v1/chat/completions", "", &chat));
        assert!(rest.contains("event: error\n") && rest.contains("\"UPSTREAM_TIMEOUT\""), "{rest}");
        assert!(openai.contains("data: {\"error\":") && openai.contains("\"upstream_timeout\""), "{openai}");
    })
    .await;
}

#[tokio::test]
async fn models_are_compared_whole_and_as_a_form() {
    locally(async {
        let upstream = Upstream::start([says("TOTAL 25.41")]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let asked = json!({"image": data_uri("receipt.png"), "prompt": "Total?", "models": ["a", "b"], "expected": "TOTAL 25.41"});
        let answer = server.post_json("/v1/compare", "", &asked).await;
        let compared = |value: &Value| {
            assert_eq!((&value["answers"][0]["text"], &value["answers"][1]["score"]), (&json!("TOTAL 25.41"), &json!(1.0)), "{value}");
            assert_eq!((&value["answers"][1]["model_requested"], &value["agreement"]["mean"]), (&json!("b"), &json!(1.0)));
        };
        assert_eq!(answer.status, 200);
        compared(&answer.json());
        let receipt = example_bytes("receipt.png");
        let fields =
            [("image", Some("a.png"), &receipt[..]), ("prompt", None, b"Total?"), ("models", None, b"a, b"), ("expected", None, b"TOTAL 25.41")];
        compared(&server.post_form("/v1/compare", "", &fields).await.json());
    })
    .await;
}

#[tokio::test]
async fn a_comparison_is_told_model_by_model_while_it_is_answered() {
    locally(async {
        let slow = Play::events(spoken(&["TOTAL ", "25.41"])).after(Duration::from_millis(600));
        let first = Upstream::start([slow]).await;
        let second = Upstream::start([Play::events(spoken(&["TOTAL ", "25.47"]))]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let server = serving(folder.path(), &config(&first, &second, "")).await;
        let asked = json!({"image": data_uri("receipt.png"), "prompt": "Total?", "models": ["a", "b", "local"],
            "expected": "TOTAL 25.41"});
        let answer = server.post_json("/v1/compare", EVENTS, &asked).await;
        let events = answer.events();
        let said = |model: &str| -> String {
            let of_model = events.iter().filter(|(name, data)| name == "delta" && data["model"] == model);
            of_model.map(|(_, data)| data["text"].as_str().expect("text")).collect()
        };
        assert_eq!(
            (said("a").as_str(), said("b").as_str(), said("local").as_str()),
            ("TOTAL 25.41", "TOTAL 25.47", "")
        );
        let place = |wanted: &str, model: &str, member: &str| {
            events.iter().rposition(|(name, data)| name == wanted && data[member] == model).expect(wanted)
        };
        let results: Vec<&Value> = events.iter().filter(|(name, _)| name == "result").map(|(_, data)| data).collect();
        let order: Vec<_> = results.iter().map(|result| result["index"].as_u64().expect("a place")).collect();
        assert_eq!(order, [2, 1, 0], "each as soon as it is done: {events:?}");
        assert!(place("delta", "a", "model") < place("result", "a", "model_requested"));
        assert!(place("result", "b", "model_requested") < place("delta", "a", "model"), "nobody waits for another");
        let (name, whole) = events.last().expect("an end");
        assert_eq!((name.as_str(), &whole["answers"][0]["text"]), ("answer", &json!("TOTAL 25.41")));
        assert_eq!(whole["agreement"]["mean"], json!(0.909));
        assert_eq!(whole["answers"][2]["error"]["code"], "CAPABILITY_MISSING");
        for mut result in results.into_iter().cloned() {
            let place = result.as_object_mut().and_then(|members| members.remove("index")).expect("a place");
            let answers = whole["answers"].as_array().expect("answers").iter().zip(0_u64..);
            assert_eq!(answers.filter(|(_, at)| place == *at).map(|(it, _)| it).collect::<Vec<_>>(), [&result]);
        }
        let alone = json!({"image": data_uri("qr.png"), "models": ["a"]});
        let refused = server.post_json("/v1/compare", EVENTS, &alone).await;
        assert_eq!(refused.status, 400, "what is refused beforehand says so by its status");
    })
    .await;
}

#[tokio::test]
async fn a_comparison_asks_anew_unless_it_is_told_to_remember() {
    locally(async {
        let upstream = Upstream::start([says("Seen.")]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let mut asked = json!({"image": data_uri("qr.png"), "prompt": "What?", "models": ["a", "b"]});
        for (cache, calls, cached) in
            [(None, 2, false), (None, 4, false), (Some("use"), 6, false), (Some("use"), 6, true), (None, 8, false)]
        {
            asked["cache"] = json!(cache);
            let answers = server.post_json("/v1/compare", "", &asked).await.json()["answers"].clone();
            assert_eq!((&answers[0]["cached"], &answers[1]["cached"]), (&json!(cached), &json!(cached)), "{answers}");
            assert_eq!(upstream.calls(), calls, "{cache:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_comparison_that_may_cost_more_than_it_should_asks_nobody() {
    locally(async {
        let upstream = Upstream::start([says("Seen.")]).await;
        let (_folder, server) = server_of(&upstream, &(priced("a") + &priced("b"))).await;
        // An image of 1000 tokens and 1000 tokens of an answer: more than $0.003 each.
        let mut asked =
            json!({"image": data_uri("qr.png"), "prompt": "What?", "models": ["a", "b"], "max_output_tokens": 1000});
        for (limit, status, code) in [
            (json!(0.006), 402, "BUDGET_EXCEEDED"),
            (json!(0), 402, "BUDGET_EXCEEDED"),
            (json!(-1), 400, "INVALID_INPUT"),
            (json!("much"), 400, "INVALID_INPUT"),
        ] {
            asked["max_cost_usd"] = limit;
            let refused = server.post_json("/v1/compare", EVENTS, &asked).await;
            assert_eq!((refused.status, refused.code().as_str()), (status, code), "{}", refused.text());
        }
        assert_eq!(upstream.calls(), 0);
        asked["max_cost_usd"] = json!("0.007");
        let value = server.post_json("/v1/compare", "", &asked).await.json();
        let costs = value["answers"].as_array().expect("answers").iter().filter_map(|it| it["cost_usd"].as_f64());
        // 1210 tokens in and 96 out, twice.
        assert_eq!((costs.collect::<Vec<_>>(), &value["cost_usd"]), (vec![0.001_402; 2], &json!(0.002_804)), "{value}");
        // Without a price nobody can tell, but what cannot be asked costs nothing.
        let (_folder, server) = server_of(&upstream, &priced("a")).await;
        let refused = server.post_json("/v1/compare", "", &asked).await;
        assert_eq!(refused.code(), "BUDGET_EXCEEDED");
        let message = refused.json()["error"]["message"].to_string();
        assert!(message.contains("what b costs is not known"), "{message}");
        asked["models"] = json!(["a", "local"]);
        let value = server.post_json("/v1/compare", "", &asked).await.json();
        assert_eq!(value["answers"][1]["error"]["code"], "CAPABILITY_MISSING", "{value}");
        assert_eq!(upstream.calls(), 3);
    })
    .await;
}

#[tokio::test]
async fn as_many_models_are_compared_as_the_operator_allows() {
    locally(async {
        let upstream = Upstream::start([says("Seen.")]).await;
        let (_folder, server) = server_of(&upstream, "[compare]\nmax_models = 2\n").await;
        let mut asked = json!({"image": data_uri("qr.png"), "prompt": "What?", "models": ["a", "b", "local"]});
        let refused = server.post_json("/v1/compare", "", &asked).await;
        let message = refused.json()["error"]["message"].to_string();
        assert!(refused.status == 400 && message.contains("from 2 to 2"), "{message}");
        let listed = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
        let (_, listed) = server.post(super::http::JSON, &listed).await;
        assert!(listed.to_string().contains("2 to 2 names"), "{listed}");
        asked["models"] = json!((0..9).map(|number| format!("a/m{number}")).collect::<Vec<_>>());
        let (_folder, server) = server_of(&upstream, "[compare]\nmax_models = 9\n").await;
        let value = server.post_json("/v1/compare", "", &asked).await.json();
        assert_eq!(value["answers"].as_array().map(Vec::len), Some(9), "{value}");
    })
    .await;
}

#[tokio::test]
async fn leaving_a_comparison_leaves_every_vendor() {
    locally(async {
        let (first, second) = (Upstream::start([begins("A rec")]).await, Upstream::start([Play::Silence]).await);
        let folder = tempfile::tempdir().expect("a folder");
        let server = serving(folder.path(), &config(&first, &second, "")).await;
        let asked = json!({"image": data_uri("qr.png"), "prompt": "What?", "models": ["a", "b"]}).to_string();
        let mut stream = server.begin("POST /v1/compare", EVENTS, asked.as_bytes()).await;
        until(&mut stream, "A rec").await;
        while second.calls() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        drop(stream);
        for upstream in [first, second] {
            assert!(upstream.has_been_left(1, Duration::from_secs(1)).await, "a vendor was left hanging");
        }
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_answered_whole_or_item_by_item() {
    locally(async {
        let upstream = Upstream::start([Play::decide(|received, _| {
            let slow = received.body.to_string().contains("Slowly?");
            let pause = Duration::from_millis(if slow { 600 } else { 0 });
            Play::Late(pause, Box::new(says(if slow { "Slow." } else { "Quick." })))
        })])
        .await;
        let (_folder, server) = server_of(&upstream, "").await;
        let image = data_uri("qr.png");
        let items = json!([{"image": image, "prompt": "Slowly?"}, {"image": image}, {"image": "/etc/passwd"}]);
        let asked = json!({"items": items, "prompt": "Quickly?", "cache": "bypass"});
        let value = server.post_json("/v1/batch", "", &asked).await.json();
        assert_eq!((&value["succeeded"], &value["failed"]), (&json!(2), &json!(1)), "{value}");
        let texts = value["items"].as_array().expect("items").iter().map(|item| item["text"].clone());
        assert_eq!(texts.collect::<Vec<_>>(), [json!("Slow."), json!("Quick."), Value::Null]);
        assert_eq!(value["items"][2]["error"]["code"], "UNSAFE_PATH");
        let events = server.post_json("/v1/batch", EVENTS, &asked).await.events();
        let (last, items) = events.split_last().expect("events");
        let mut order: Vec<u64> = items.iter().filter_map(|(_, data)| data["index"].as_u64()).collect();
        assert_eq!((items.len(), order.last()), (3, Some(&0)), "the slow one comes last: {events:?}");
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2]);
        assert!(items.iter().all(|(name, _)| name == "item"));
        assert_eq!((last.0.as_str(), &last.1["succeeded"], &last.1["failed"]), ("answer", &json!(2), &json!(1)));
        let (one, two) = (example_bytes("qr.png"), example_bytes("receipt.png"));
        let fields = [("a", Some("1.png"), &one[..]), ("b", Some("2.png"), &two[..]), ("prompt", None, b"Quickly?")];
        let value = server.post_form("/v1/batch", "", &fields).await.json();
        assert_eq!((&value["succeeded"], &value["items"][1]["text"]), (&json!(2), &json!("Quick.")), "{value}");
    })
    .await;
}

/// A card of a model for this provider: an image is 1000 tokens, and a token costs $1 or $2 a million.
fn priced(provider: &str) -> String {
    format!(
        "[[providers.{provider}.models]]\nid = \"m\"\ntokens = {{ rule = \"flat\", tokens = 1000 }}\n\
         price = {{ input = 1.0, output = 2.0 }}\n"
    )
}

#[tokio::test]
async fn what_a_batch_has_no_time_for_is_not_asked_and_what_was_cut_is_in_its_cost() {
    locally(async {
        let upstream = Upstream::start([Play::decide(|received, _| {
            if received.body.to_string().contains("Quick") { says("Quick.") } else { Play::Silence }
        })])
        .await;
        let (_folder, server) = server_of(&upstream, &format!("[deadline]\ntotal = \"2s\"\n{}", priced("a"))).await;
        let image = data_uri("qr.png");
        // Equal questions would be one call.
        let silent = (0..9).map(|number| json!({"image": image, "prompt": format!("Number {number}?")}));
        let items: Vec<_> = std::iter::once(json!({"image": image, "prompt": "Quick?"})).chain(silent).collect();
        let began = Instant::now();
        let value = server.post_json("/v1/batch", "", &json!({"items": items})).await.json();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!((&value["succeeded"], &value["failed"]), (&json!(1), &json!(9)), "{value}");
        assert_eq!(upstream.calls(), 9, "eight at once, one after the quick one, and nobody after that");
        let items = value["items"].as_array().expect("items");
        assert_eq!(items[0]["cost_usd"], json!(0.001_402));
        for item in &items[1..] {
            let error = &item["error"];
            assert_eq!((&error["code"], &error["retryable"]), (&json!("UPSTREAM_TIMEOUT"), &json!(true)), "{item}");
            assert_eq!(error["advice"], "ask for this item again, with fewer others");
        }
        assert!(items[9].get("cost_usd").is_none(), "it was never asked: {value}");
        // 1000 tokens of the image, some words, and 400 tokens of an answer.
        let cut = items[1]["cost_usd"].as_f64().expect("an estimate");
        assert!((0.0018..0.002).contains(&cut), "{cut}");
        let sum: f64 = items.iter().filter_map(|item| item["cost_usd"].as_f64()).sum();
        assert!((value["cost_usd"].as_f64().expect("a sum") - sum).abs() < 1e-9, "{value}");
        assert!(value["warnings"][0].as_str().is_some_and(|it| it.contains("is an estimate")), "{value}");
    })
    .await;
}

#[tokio::test]
async fn an_item_that_begins_late_leaves_time_for_who_comes_next() {
    locally(async {
        let pause = Duration::from_millis(1500);
        let first = Upstream::start([Play::decide(move |received, _| {
            if received.body.to_string().contains("Last") { Play::Silence } else { says("Slow.").after(pause) }
        })])
        .await;
        let second = Upstream::start([says("From b.")]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let toml =
            config(&first, &second, "[deadline]\ntotal = \"4s\"\n").replace("fallback = []", "fallback = [\"b\"]");
        let server = serving(folder.path(), &toml).await;
        let image = data_uri("qr.png");
        let slow = (0..8).map(|number| json!({"image": image, "prompt": format!("Number {number}?")}));
        let items: Vec<_> = slow.chain([json!({"image": image, "prompt": "Last?"})]).collect();
        let value = server.post_json("/v1/batch", "", &json!({"items": items})).await.json();
        assert_eq!((&value["succeeded"], &value["items"][8]["text"]), (&json!(9), &json!("From b.")), "{value}");
    })
    .await;
}

#[tokio::test]
async fn what_is_said_for_all_items_is_said_once() {
    locally(async {
        let upstream = Upstream::start([says("Seen.")]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let image = data_uri("qr.png");
        // A hundred copies of it would be gigabytes.
        let asked = json!({"items": vec![json!({"image": image}); 100], "prompt": "x".repeat(20 << 20)});
        let began = Instant::now();
        let answer = server.post_json("/v1/batch", "", &asked).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_INPUT"), "{:?}", began.elapsed());
        // An item's own words come first, whatever they are called.
        let asked = json!({"items": [{"image": image, "max_tokens": 5, "question": "Own?"}], "max_output_tokens": 50, "prompt": "All?"});
        assert_eq!(server.post_json("/v1/batch", "", &asked).await.status, 200);
        let sent = upstream.received().remove(0).body;
        assert_eq!(sent["max_tokens"], 5, "{sent:.300}");
        assert!(sent.to_string().contains("Own?") && !sent.to_string().contains("All?"));
    })
    .await;
}

#[tokio::test]
async fn bodies_that_do_not_say_how_long_they_are_take_no_more_room_than_they_have() {
    locally(async {
        let upstream = Upstream::start([says("Seen.").after(Duration::from_secs(2))]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let body = |number: usize| {
            let asked = json!({"image": data_uri("qr.png"), "prompt": format!("Question {number}")}).to_string();
            format!("{:x}\r\n{asked}\r\n0\r\n\r\n", asked.len())
        };
        let head = "transfer-encoding: chunked\r\nconnection: close\r\n";
        let mut streams = Vec::new();
        // Together they would take all the room there is, if each took what it might need.
        for number in 0..14 {
            streams.push(server.begin("POST /v1/analyze", head, body(number).as_bytes()).await);
        }
        for mut stream in streams {
            assert_eq!(timeout(PATIENCE, rest(&mut stream)).await.expect("in time").status, 200);
        }
    })
    .await;
}

#[tokio::test]
async fn leaving_a_stream_leaves_the_vendor_within_a_second() {
    locally(async {
        let upstream = Upstream::start([begins("A rec")]).await;
        let (_folder, server) = server_of(&upstream, "").await;
        let asked = json!({"image": data_uri("qr.png"), "prompt": "What is this?"}).to_string();
        let mut stream = server.begin("POST /v1/analyze", EVENTS, asked.as_bytes()).await;
        until(&mut stream, "A rec").await;
        drop(stream);
        assert!(upstream.has_been_left(1, Duration::from_secs(1)).await, "the vendor was left hanging");
        // And so does leaving before anything was said.
        let silent = Upstream::start([Play::Silence]).await;
        let (_folder, server) = server_of(&silent, "").await;
        let items = json!({"items": [data_uri("qr.png")], "prompt": "What is this?"}).to_string();
        let stream = server.begin("POST /v1/batch", EVENTS, items.as_bytes()).await;
        while silent.calls() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        drop(stream);
        assert!(silent.has_been_left(1, Duration::from_secs(1)).await, "the vendor was left hanging");
    })
    .await;
}

#[tokio::test]
async fn a_stream_keeps_its_turn_until_it_ends() {
    locally(async {
        let upstream = Upstream::start([begins("A rec"), says("Second.")]).await;
        let (_folder, server) = server_of(&upstream, "[server]\nmax_requests = 1\nqueue = 1\n").await;
        let asked = |prompt: &str| json!({"image": data_uri("qr.png"), "prompt": prompt, "cache": "bypass"});
        let mut first = server.begin("POST /v1/analyze", EVENTS, asked("One?").to_string().as_bytes()).await;
        until(&mut first, "A rec").await;
        let mut second = server.begin("POST /v1/analyze", "", asked("Two?").to_string().as_bytes()).await;
        assert!(is_silent(&mut second, Duration::from_millis(700)).await, "the turn is taken");
        let third = server.post_json("/v1/analyze", "", &asked("Three?")).await;
        assert_eq!((third.status, third.code().as_str()), (503, "OVERLOADED"), "and so is the place in the queue");
        assert_eq!(third.header("retry-after"), Some("2"));
        assert_eq!(upstream.calls(), 1);
        drop(first);
        let second = rest(&mut second).await;
        assert_eq!((second.status, &second.json()["text"]), (200, &json!("Second.")));
    })
    .await;
}
