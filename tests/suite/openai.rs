//! Chat completions and the list of models as OpenAI's clients expect them, with the real process on a real socket.

use std::time::Duration;

use serde_json::{Value, json};
use vision_providers::testkit::{Play, Then, Upstream};

use super::client::{Answer, data_uri, spoken, until};
use super::http::{Server, locally};
use super::rest::{config, serving};
use super::{completion, example};

const CHAT: &str = "/v1/chat/completions";

async fn server_of(play: Play, more: &str) -> (Upstream, tempfile::TempDir, Server) {
    let upstream = Upstream::start([play]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let server = serving(folder.path(), &config(&upstream, &upstream, more)).await;
    (upstream, folder, server)
}

fn says(text: &str) -> Play {
    Play::json(200, &completion(text))
}

/// A question about an image, with these members more.
fn question(more: &Value) -> Value {
    let image = json!({"type": "image_url", "image_url": {"url": data_uri("qr.png"), "detail": "low"}});
    let text = json!({"type": "text", "text": "What is this?"});
    let mut body = json!({"model": "a", "messages": [{"role": "user", "content": [text, image]}]});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

/// An error in OpenAI's shape: its status, type and code.
fn refused(answer: &Answer) -> (u16, String, String) {
    let value = answer.json();
    let error = &value["error"];
    assert!(error["message"].is_string() && error.get("param").is_some_and(Value::is_null), "{value}");
    assert!(value["visiongate"]["retryable"].is_boolean(), "{value}");
    let retry = if value["visiongate"]["retryable"] == true { "true" } else { "false" };
    assert_eq!(answer.header("x-should-retry"), Some(retry), "{answer:?}");
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (answer.status, text("type"), text("code"))
}

fn error(status: u16, kind: &str, code: &str) -> (u16, String, String) {
    (status, kind.to_owned(), code.to_owned())
}

#[tokio::test]
async fn a_chat_is_completed_whole() {
    locally(async {
        let (upstream, _folder, server) = server_of(says("A code."), "").await;
        let more = json!({"temperature": 0.5, "max_completion_tokens": 40, "seed": 7, "stop": ["END"], "user": "u-1"});
        let answer = server.post_json(CHAT, "", &question(&more)).await;
        let value = answer.json();
        assert_eq!((answer.status, &value["object"]), (200, &json!("chat.completion")), "{value}");
        assert!(value["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")) && value["created"].is_u64());
        let message = json!({"role": "assistant", "content": "A code.", "refusal": null});
        let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": "stop"});
        assert_eq!((&value["choices"], &value["model"]), (&json!([choice]), &json!("a/mistral-medium-2604")));
        let usage = &value["usage"];
        assert_eq!((&usage["prompt_tokens"], &usage["total_tokens"]), (&json!(1210), &json!(1306)), "{value}");
        assert_eq!(value["visiongate"]["route"]["attempts"][0]["outcome"], "ok");
        assert_eq!(answer.header("x-visiongate-dropped"), None, "who the user is changes nothing");
        let sent = upstream.received().remove(0).body;
        assert_eq!((&sent["temperature"], &sent["max_tokens"], &sent["seed"]), (&json!(0.5), &json!(40), &json!(7)));
        assert_eq!(sent["messages"][0]["content"][0], json!({"type": "text", "text": "What is this?"}));
        assert!(sent.get("user").is_none(), "{sent:.300}");
    })
    .await;
}

#[tokio::test]
async fn what_the_system_says_in_the_middle_is_moved_with_a_warning() {
    locally(async {
        let (upstream, _folder, server) = server_of(says("A code."), "").await;
        let mut body = question(&json!({}));
        let system = json!({"role": "developer", "content": "Be brief."});
        body["messages"].as_array_mut().expect("messages").push(system);
        let answer = server.post_json(CHAT, "", &body).await;
        let warning = answer.header("x-visiongate-warning").unwrap_or_default();
        assert!(answer.status == 200 && warning.contains("moved to its beginning"), "{answer:?}");
        assert!(answer.json()["visiongate"]["warnings"][0].as_str().is_some_and(|it| it == warning), "{answer:?}");
        assert_eq!(upstream.received().remove(0).body["messages"][0]["content"], "Be brief.");
    })
    .await;
}

#[tokio::test]
async fn a_chat_is_completed_in_chunks() {
    locally(async {
        let (_upstream, _folder, server) = server_of(Play::events(spoken(&["A ", "code."])), "").await;
        let usage = json!({"stream": true, "stream_options": {"include_usage": true}});
        let answer = server.post_json(CHAT, "", &question(&usage)).await;
        let mut chunks: Vec<Value> = answer.events().into_iter().map(|(_, data)| data).collect();
        assert_eq!(chunks.pop(), Some(json!("[DONE]")));
        assert!(
            chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk" && chunk["id"] == chunks[0]["id"])
        );
        let with_usage = chunks.pop().expect("a chunk");
        assert_eq!((&with_usage["choices"], &with_usage["usage"]["total_tokens"]), (&json!([]), &json!(15)));
        let last = chunks.pop().expect("a chunk");
        assert_eq!((&last["choices"][0]["finish_reason"], &last["choices"][0]["delta"]), (&json!("stop"), &json!({})));
        assert_eq!((&last["model"], &last["visiongate"]["provider"]), (&json!("a/m"), &json!("a")), "{last}");
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let texts = chunks.iter().map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().expect("text"));
        assert_eq!(texts.collect::<String>(), "A code.");
        let answer = server.post_json(CHAT, "", &question(&json!({"stream": true}))).await;
        assert!(!answer.text().contains("\"usage\""), "nobody asked for it: {}", answer.text());
    })
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_in_openais_shape_and_ends() {
    locally(async {
        let kind = vec![("content-type", "text/event-stream".to_owned())];
        let half = Play::Pieces(kind, vec![spoken(&["Half"]).swap_remove(0)], Then::Break);
        let (_upstream, _folder, server) = server_of(half, "").await;
        let answer = server.post_json(CHAT, "", &question(&json!({"stream": true}))).await;
        let events = answer.events();
        let (_, last) = events.last().expect("an end");
        assert_eq!(
            (&last["error"]["type"], &last["error"]["code"]),
            (&json!("server_error"), &json!("upstream_error"))
        );
        let (_upstream, _folder, server) = server_of(Play::json(400, &json!({"error": {"message": "no"}})), "").await;
        let answer = server.post_json(CHAT, "", &question(&json!({"stream": true}))).await;
        assert!(answer.status >= 400, "before the first word a failure is a status: {}", answer.text());
        refused(&answer);
    })
    .await;
}

#[tokio::test]
async fn leaving_a_chat_leaves_the_vendor_within_a_second() {
    locally(async {
        let kind = vec![("content-type", "text/event-stream".to_owned())];
        let half = Play::Pieces(kind, vec![spoken(&["Half"]).swap_remove(0)], Then::Hang);
        let (upstream, _folder, server) = server_of(half, "").await;
        let body = question(&json!({"stream": true})).to_string();
        let mut stream = server.begin(&format!("POST {CHAT}"), "", body.as_bytes()).await;
        until(&mut stream, "Half").await;
        drop(stream);
        assert!(upstream.has_been_left(1, Duration::from_secs(1)).await, "the vendor was left hanging");
    })
    .await;
}

#[tokio::test]
async fn what_is_known_and_cannot_be_done_is_told_in_headers_and_the_rest_is_passed_over() {
    locally(async {
        let (_upstream, _folder, server) = server_of(says("A code."), "").await;
        let more = json!({"n": 3, "tools": [{"type": "function", "function": {"name": "f"}}], "logit_bias": {"50": 1},
            "presence_penalty": 0, "logprobs": false, "metadata": {"a": "b"}, "store": true, "nonsense": [1]});
        let answer = server.post_json(CHAT, "", &question(&more)).await;
        assert_eq!((answer.status, answer.header("x-visiongate-dropped")), (200, Some("logit_bias, n, tools")));
        let streamed = json!({"stream": true, "n": 2});
        let answer = server.post_json(CHAT, "", &question(&streamed)).await;
        assert_eq!(answer.header("x-visiongate-dropped"), Some("n"));
        // Nobody is called by this name, but by a rule of the shipped configuration somebody answers.
        let answer = server.post_json(CHAT, "", &question(&json!({"model": "private"}))).await;
        assert!(answer.status >= 400 || answer.header("x-visiongate-warning").is_some(), "{answer:?}");
    })
    .await;
}

#[tokio::test]
async fn warnings_stand_in_a_header_and_in_our_member() {
    locally(async {
        let first = Upstream::start([Play::json(500, &json!({"error": {"message": "broken"}}))]).await;
        let second = Upstream::start([says("Here.")]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let toml = config(&first, &second, "").replace("fallback = []", "fallback = [\"b\"]");
        let server = serving(folder.path(), &toml).await;
        let answer = server.post_json(CHAT, "", &question(&json!({}))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let warning = answer.header("x-visiongate-warning").unwrap_or_default();
        assert!(warning.contains("b/") && warning.contains("answered instead"), "{warning:?}");
        assert!(answer.json()["visiongate"]["warnings"][0].as_str().is_some_and(|it| it.contains("answered instead")));
        assert_eq!(answer.json()["model"], "b/mistral-medium-2604");
    })
    .await;
}

#[tokio::test]
async fn answers_follow_a_schema_or_are_any_object() {
    locally(async {
        let (upstream, _folder, server) = server_of(says("{\"total\": 25.41}"), "").await;
        let schema = json!({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"],
            "additionalProperties": false});
        let format = json!({"type": "json_schema", "json_schema": {"name": "bill", "schema": schema, "strict": true}});
        let answer = server.post_json(CHAT, "", &question(&json!({"response_format": format}))).await;
        let content = answer.json()["choices"][0]["message"]["content"].as_str().map(str::to_owned);
        assert_eq!(content.as_deref(), Some("{\"total\":25.41}"), "{}", answer.text());
        let any = json!({"response_format": {"type": "json_object"}, "stream": true});
        let answer = server.post_json(CHAT, "", &question(&any)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let sent = upstream.received().remove(0).body;
        assert!(sent.to_string().contains("\"total\""), "{sent:.300}");
    })
    .await;
}

#[tokio::test]
async fn a_conversation_needs_no_image() {
    locally(async {
        let (upstream, _folder, server) = server_of(says("Blue."), "").await;
        let messages = json!([
            {"role": "developer", "content": "One word."},
            {"role": "user", "content": "Name a colour."},
            {"role": "assistant", "content": [{"type": "text", "text": "Red."}]},
            {"role": "user", "content": "Another."}
        ]);
        let answer = server.post_json(CHAT, "", &json!({"model": "default", "messages": messages})).await;
        assert_eq!(answer.json()["choices"][0]["message"]["content"], "Blue.", "{}", answer.text());
        let sent = upstream.received().remove(0).body;
        let roles: Vec<&str> =
            sent["messages"].as_array().expect("messages").iter().filter_map(|it| it["role"].as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
    })
    .await;
}

#[tokio::test]
async fn refusals_are_in_openais_shape_and_say_whether_to_try_again() {
    locally(async {
        let (upstream, _folder, server) = server_of(Play::Silence, "").await;
        let chat = |part: Value| question(&json!({"messages": [{"role": "user", "content": [part]}]}));
        let image = |url: &str| chat(json!({"type": "image_url", "image_url": {"url": url}}));
        let invalid = |code: &str| error(400, "invalid_request_error", code);
        for (body, expected) in [
            ("{".to_owned(), invalid("invalid_input")),
            ("[]".to_owned(), invalid("invalid_input")),
            (json!({"model": "a"}).to_string(), invalid("invalid_input")),
            (question(&json!({"temperature": 9})).to_string(), invalid("invalid_input")),
            (question(&json!({"stream": "yes"})).to_string(), invalid("invalid_input")),
            (question(&json!({"model": "nobody"})).to_string(), error(404, "invalid_request_error", "model_not_found")),
            (chat(json!({"type": "input_audio"})).to_string(), invalid("invalid_input")),
            (image(&example("qr.png")).to_string(), error(403, "permission_error", "unsafe_path")),
            (image("http://127.0.0.1/a.png").to_string(), error(403, "permission_error", "url_blocked")),
            (
                image("data:image/png;base64,iVBORw0KGgpoZWxsbw==").to_string(),
                error(422, "invalid_request_error", "image_corrupt"),
            ),
            (
                image("data:image/png;base64,aGVsbG8=").to_string(),
                error(415, "invalid_request_error", "unsupported_format"),
            ),
        ] {
            let answer = server.request(&format!("POST {CHAT}"), "", body.as_bytes()).await;
            assert_eq!(refused(&answer), expected, "{body:.120}");
        }
        for (line, status) in
            [("GET /v1/chat/completions", 405), ("POST /v1/models", 405), ("GET /v1/models/nobody", 404)]
        {
            assert_eq!(refused(&server.request(line, "", b"").await).0, status, "{line}");
        }
        assert_eq!(upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_vendors_troubles_are_told_apart_and_only_passing_ones_are_to_be_tried_again() {
    locally(async {
        let slow_down = Play::json(429, &json!({"error": {"message": "slow down"}})).header("retry-after", "40");
        let (_upstream, _folder, server) = server_of(slow_down, "").await;
        let answer = server.post_json(CHAT, "", &question(&json!({}))).await;
        assert_eq!(refused(&answer), error(429, "rate_limit_error", "rate_limited"));
        assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u64>().is_ok()), "{answer:?}");
        let (_upstream, _folder, server) = server_of(Play::json(401, &json!({"error": {"message": "key"}})), "").await;
        let answer = server.post_json(CHAT, "", &question(&json!({}))).await;
        assert_eq!(refused(&answer), error(502, "server_error", "upstream_auth"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    })
    .await;
}

#[tokio::test]
async fn no_client_is_told_to_repeat_what_may_have_been_billed() {
    locally(async {
        let broken = || Play::json(500, &json!({"error": {"message": "broken"}}));
        let gateway_timeout = || Play::json(504, &json!({"error": {"message": "upstream request timeout"}}));
        for (first, second, status, again) in [
            (broken(), None, 502, "true"),
            (Play::Silence, None, 504, "false"),
            (gateway_timeout(), None, 504, "false"),
            // It broke after the question was sent.
            (Play::Reset, None, 502, "false"),
            (broken(), Some(Play::Reset), 502, "false"),
            (broken(), Some(Play::Silence), 502, "false"),
            (Play::Silence, Some(broken()), 504, "false"),
        ] {
            let fallback = if second.is_some() { "fallback = [\"b\"]" } else { "fallback = []" };
            let case = format!("{first:?}, then {second:?}");
            let (first, second) = (Upstream::start([first]).await, Upstream::start(second).await);
            let toml = config(&first, &second, "[deadline]\ntotal = \"2s\"\n[retry]\nattempts = 1\n");
            let folder = tempfile::tempdir().expect("a folder");
            let server = serving(folder.path(), &toml.replace("fallback = []", fallback)).await;
            let answer = server.post_json(CHAT, "", &question(&json!({}))).await;
            assert_eq!((answer.status, answer.header("x-should-retry")), (status, Some(again)), "{case}: {answer:?}");
            // People may well ask again.
            assert_eq!(answer.json()["visiongate"]["retryable"], true, "{case}: {}", answer.text());
        }
    })
    .await;
}

#[tokio::test]
async fn models_are_listed_and_found_by_names_with_slashes() {
    locally(async {
        let (_upstream, _folder, server) = server_of(says("x"), "[aliases]\nfast = \"b/m\"\n").await;
        let listed = server.request("GET /v1/models", "", b"").await.json();
        assert_eq!(listed["object"], "list");
        let models = listed["data"].as_array().expect("models");
        let names: Vec<&str> = models.iter().filter_map(|model| model["id"].as_str()).collect();
        for name in ["a", "a/m", "b/m", "fast"] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
        assert!(!names.iter().any(|name| name.starts_with("openai")), "nobody has its key: {names:?}");
        for name in ["a/m", "a%2Fm", "fast"] {
            let found = server.request(&format!("GET /v1/models/{name}"), "", b"").await;
            assert_eq!((found.status, &found.json()["object"]), (200, &json!("model")), "{name}");
        }
        assert_eq!(server.request("GET /v1/models/fast", "", b"").await.json()["owned_by"], "b");
        for name in ["a/other", "openai", "%00", "a//m", ""] {
            let missing = server.request(&format!("GET /v1/models/{name}"), "", b"").await;
            assert_eq!(refused(&missing).0, 404, "{name:?}");
        }
    })
    .await;
}
