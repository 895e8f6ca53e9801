//! REST with the real process on a real socket: every call as JSON, as a form and as events, and images sent ahead.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
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
pub(crate) async fn server_of(upstream: &Upstream, more: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = serving(folder.path(), &config(upstream, upstream, more)).await;
    (folder, server)
}

pub(crate) fn says(text: &str) -> Play {
    Play::json(200, &completion(text))
}

/// A stream that says this and then hangs.
pub(crate) fn begins(text: &str) -> Play {
    let kind = vec![("content-type", "text/event-stream".to_owned())];
    Play::Pieces(kind, vec![spoken(&[text]).swap_remove(0)], Then::Hang)
}

pub(crate) const EVENTS: &str = "accept: text/event-stream\r\n";

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
            ("/v1/analyze", format!("\u{feff}{}", json!({"image": "http://127.0.0.1/a.png"})), 403, "URL_BLOCKED"),
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
