//! MCP over stdio with the real process: both eras, cancellation down to the vendor's socket, messages too long.

use base64::Engine as _;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rmcp::ServiceExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use vision_providers::testkit::{Play, Scripted, Step, Upstream};
use visiongate::access::Access;
use visiongate::assemble::Workshop;
use visiongate::intake::Door;
use visiongate::layers::cache::{Cached, Memory};
use visiongate::live::{Live, Running};
use visiongate::metrics::Metrics;
use visiongate::router::roster::{Backend, KeyState, Origin};
use visiongate::supervisor::Supervisor;
use visiongate::surface::mcp::Mcp;

use super::{PATIENCE, described, example};

/// A client on the other end of the pipes.
pub(crate) struct Client {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    _home: tempfile::TempDir,
}

impl Client {
    pub(crate) fn start(envs: &[(&str, String)]) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_visiongate"));
        command.arg("mcp").current_dir(super::root()).env_remove("MISTRAL_API_KEY").env("XDG_CONFIG_HOME", home.path());
        command.envs(envs.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { input: child.stdin.take(), child, output, _home: home }
    }

    pub(crate) fn with_mistral(upstream: &Upstream) -> Self {
        Self::start(&[
            ("MISTRAL_API_KEY", "key-for-a-test".into()),
            ("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", upstream.url("/v1")),
            ("VISIONGATE_FALLBACK", "[]".into()),
        ])
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    async fn send_text(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    /// Sends a line, whatever it holds.
    pub(crate) async fn send_bytes(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("an open pipe");
        input.write_all(line).await.expect("it reads");
        input.write_all(b"\n").await.expect("it reads");
        input.flush().await.expect("it reads");
    }

    /// Its input, for whoever writes while somebody else reads.
    pub(crate) fn take_input(&mut self) -> ChildStdin {
        self.input.take().expect("an open pipe")
    }

    /// The next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.output.next_line()).await.expect("an answer in time").expect("a line");
        serde_json::from_str(&line.expect("it still writes")).expect("one JSON message a line")
    }

    /// The answer to a request, with notifications in between left out.
    pub(crate) async fn call(&mut self, id: i64, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        loop {
            let message = self.next().await;
            if message["id"] == id {
                return message;
            }
        }
    }

    pub(crate) async fn shake_hands(&mut self) -> Value {
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answer = self.call(0, "initialize", params).await;
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        answer
    }

    async fn exit_code(mut self) -> Option<i32> {
        drop(self.input.take());
        timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("a status").code()
    }
}

fn modern(mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}
    });
    params
}

pub(crate) fn analyze(arguments: &Value) -> Value {
    json!({"name": "analyze_image", "arguments": arguments})
}

#[tokio::test]
async fn the_older_handshake_lists_and_calls_the_tools() {
    let mut client = Client::start(&[]);
    let hello = client.shake_hands().await;
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(hello["result"]["serverInfo"]["name"], "visiongate");
    let listed = client.call(1, "tools/list", json!({})).await;
    let names: Vec<_> =
        listed["result"]["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["analyze_image", "compare_models", "analyze_batch", "vision_chat", "list_models"]);
    let answer = client.call(2, "tools/call", analyze(&json!({"image": example("receipt.png")}))).await;
    let result = &answer["result"];
    assert_ne!(result["isError"], true, "{result}");
    assert!(result["content"][0]["text"].as_str().expect("text").contains("TOTAL EUR 25.41"));
    assert!(result["structuredContent"]["detected_text"].as_str().expect("text").contains("TOTAL EUR 25.41"));
    assert!(result["structuredContent"].get("route").is_none());
    assert_eq!(result["_meta"]["images"][0]["width"], 620);
    assert_eq!(result["_meta"]["content_is_untrusted"], true);
    assert_eq!(client.exit_code().await, Some(0));
}

#[tokio::test]
async fn the_stateless_era_needs_no_handshake() {
    let mut client = Client::start(&[]);
    let discovered = client.call(1, "server/discover", modern(json!({}))).await;
    assert!(discovered["result"]["supportedVersions"].to_string().contains("2026-07-28"), "{discovered}");
    let listed = client.call(2, "tools/list", modern(json!({}))).await;
    assert_eq!(listed["result"]["tools"].as_array().expect("tools").len(), 5);
    assert_eq!(listed["result"]["cacheScope"], "public");
    let answer = client.call(3, "tools/call", modern(json!({"name": "list_models", "arguments": {}}))).await;
    assert_eq!(answer["result"]["resultType"], "complete");
    assert_eq!(answer["result"]["structuredContent"]["default"], "pixtral");
    assert_eq!(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "visiongate");
}

#[tokio::test]
async fn the_list_of_tools_is_small_and_plain() {
    let mut client = Client::start(&[]);
    client.shake_hands().await;
    let listed = client.call(1, "tools/list", json!({})).await["result"].clone();
    assert!(listed.to_string().len() < 6144, "{} bytes", listed.to_string().len());
    for tool in listed["tools"].as_array().expect("tools") {
        assert_eq!(tool["annotations"]["readOnlyHint"], true);
        assert_eq!(tool["annotations"]["destructiveHint"], false);
        let schema = &tool["inputSchema"];
        assert_eq!(schema["type"], "object");
        for banned in ["anyOf", "oneOf", "allOf", "not", "if"] {
            assert!(schema.get(banned).is_none(), "{banned}");
        }
        for (name, property) in schema["properties"].as_object().expect("properties") {
            assert_plain(property, name);
        }
    }
}

/// No unions, no formats, and every array says what is in it.
fn assert_plain(schema: &Value, name: &str) {
    assert!(schema["type"].is_string() && schema.get("format").is_none(), "{name}: {schema}");
    assert_eq!(schema["type"] == "array", schema.get("items").is_some(), "{name}");
    if let Some(items) = schema.get("items") {
        assert_plain(items, name);
    }
    for (inner, property) in schema["properties"].as_object().into_iter().flatten() {
        assert_plain(property, &format!("{name}.{inner}"));
    }
}

#[tokio::test]
async fn failures_are_errors_of_the_tool_with_code_and_advice_in_both_places() {
    let mut client = Client::start(&[]);
    client.shake_hands().await;
    let cases = [
        (json!({"image": "/etc/hostname.png"}), "UNSAFE_PATH"),
        (json!({"image": "../../../../etc/passwd"}), "UNSAFE_PATH"),
        (json!({"image": "http://169.254.169.254/latest"}), "URL_BLOCKED"),
        (json!({"image": "data:image/png;base64,AAAA"}), "UNSUPPORTED_FORMAT"),
        (json!({"image": "[Image #1]"}), "INVALID_INPUT"),
        (json!({"image": 5}), "INVALID_INPUT"),
        (json!({}), "INVALID_INPUT"),
        (json!({"image": example("qr.png"), "prompt": "What?", "model": "local"}), "CAPABILITY_MISSING"),
        (json!({"image": example("qr.png"), "model": "gpt"}), "MODEL_NOT_FOUND"),
    ];
    for (id, (arguments, code)) in (1..).zip(cases) {
        let result = client.call(id, "tools/call", analyze(&arguments)).await["result"].clone();
        assert_eq!(result["isError"], true, "{arguments}: {result}");
        assert_eq!(result["structuredContent"]["error"]["code"], code, "{arguments}: {result}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().expect("text")).expect("JSON");
        assert_eq!(text, result["structuredContent"]);
    }
    let unknown = client.call(99, "tools/call", json!({"name": "draw", "arguments": {}})).await;
    assert_eq!(unknown["error"]["code"], -32602);
}

#[tokio::test]
async fn cancelling_reaches_the_vendors_socket_within_a_second() {
    let upstream = Upstream::start([Play::Silence, Play::json(200, &described("A receipt.", ""))]).await;
    let mut client = Client::with_mistral(&upstream);
    client.shake_hands().await;
    client.send(&json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": analyze(&json!({"image": example("receipt.png")}))})).await;
    while upstream.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7, "reason": "enough"}})).await;
    assert!(upstream.has_been_left(1, Duration::from_secs(1)).await, "the vendor was left hanging");
    let answer = client.call(8, "tools/call", analyze(&json!({"image": example("receipt.png")}))).await;
    assert_eq!(answer["result"]["structuredContent"]["description"], "A receipt.");
}

#[tokio::test]
async fn progress_is_sent_while_a_model_thinks_and_only_when_asked_for() {
    let slow = Play::Late(Duration::from_secs(5), Box::new(Play::json(200, &described("A receipt.", ""))));
    let upstream = Upstream::start([slow]).await;
    let mut client = Client::with_mistral(&upstream);
    client.shake_hands().await;
    let mut params = analyze(&json!({"image": example("receipt.png")}));
    params["_meta"] = json!({"progressToken": "p1"});
    client.send(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})).await;
    let mut progress = Vec::new();
    let answer = loop {
        let message = client.next().await;
        if message["id"] == 1 {
            break message;
        }
        assert_eq!(
            (&message["method"], &message["params"]["progressToken"]),
            (&json!("notifications/progress"), &json!("p1"))
        );
        progress.push(message["params"]["progress"].as_f64().expect("a number"));
    };
    assert_eq!(answer["result"]["structuredContent"]["description"], "A receipt.");
    assert!(progress.len() >= 2 && progress.is_sorted_by(|one, other| one < other), "{progress:?}");
}

#[tokio::test]
async fn a_message_that_is_too_long_is_answered_and_the_next_one_works() {
    let mut client = Client::start(&[]);
    client.shake_hands().await;
    let image = format!("data:image/png;base64,{}", "A".repeat(60 << 20));
    let began = Instant::now();
    let message =
        json!({"jsonrpc": "2.0", "method": "tools/call", "params": analyze(&json!({"image": image})), "id": 41});
    client.send(&message).await;
    let answer = client.next().await;
    assert_eq!(
        (&answer["id"], answer["error"]["message"].to_string().contains("48 MiB")),
        (&json!(41), true),
        "{answer}"
    );
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(client.call(42, "tools/list", json!({})).await["id"], 42);
}

#[tokio::test]
async fn a_large_message_within_the_limit_is_worked_with() {
    let byte = |value: u32| u8::try_from(value % 256).expect("a byte");
    let noise =
        image::RgbImage::from_fn(1700, 1700, |x, y| image::Rgb([byte(x * y), byte(x ^ y), byte(x * 31 + y * 17)]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    noise.write_to(&mut bytes, image::ImageFormat::Bmp).expect("a picture");
    let uri = format!("data:image/bmp;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes.into_inner()));
    assert!(uri.len() > 11 << 20, "{} bytes", uri.len());
    let upstream = Upstream::start([Play::json(200, &described("Noise.", ""))]).await;
    let mut client = Client::with_mistral(&upstream);
    client.shake_hands().await;
    let answer = client.call(1, "tools/call", analyze(&json!({"image": uri}))).await;
    assert_eq!(answer["result"]["structuredContent"]["description"], "Noise.", "{}", answer["result"]["content"]);
    assert_eq!(answer["result"]["_meta"]["images"][0]["sent"]["width"], 1540);
}

#[tokio::test]
async fn nonsense_is_survived() {
    let mut client = Client::start(&[]);
    for line in [
        "",
        "not json",
        "\u{feff}",
        "[]",
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/unknown\"}",
        "{}",
        "7",
        "\u{1}\u{2}",
    ] {
        client.send_text(line).await;
    }
    // Well-formed JSON that is no message is answered: a batch, an empty object, a number.
    for _ in 0..3 {
        assert_eq!(client.next().await["error"]["code"], -32600);
    }
    for early in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 3, "result": {}}),
    ] {
        client.send(&early).await;
        client.call(5, "ping", json!({})).await;
        client.send(&early).await;
    }
    client.shake_hands().await;
    let wrong = client.call(7, "tools/call", json!({"name": "analyze_image", "arguments": [1]})).await;
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
    assert_eq!(client.call(8, "no/such/method", json!({})).await["error"]["code"], -32601);
    assert_eq!(client.call(6, "tools/list", json!({})).await["id"], 6);
    assert_eq!(client.exit_code().await, Some(0));
}

/// A gateway whose only provider is this one, bare or behind a cache.
pub(crate) fn over(provider: vision_providers::provider::Provider) -> visiongate::gateway::Gateway {
    let mut gateway = super::gateway("");
    let (kind, key, origin) = ("scripted".into(), KeyState::NotNeeded, Origin::Operator);
    let backend = Backend {
        provider,
        kind,
        key,
        origin,
        health: super::layers::healthy(),
        tags: Vec::new(),
        elsewhere: Vec::new(),
    };
    gateway.roster.backends = BTreeMap::from([("scripted".to_owned(), backend)]);
    gateway.roster.default = "scripted".into();
    gateway.roster.fallback = Vec::new();
    gateway
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_lives_on() {
    let scripted = || Arc::new(Scripted::new([Step::Panic]));
    let memory = Memory::new(visiongate::layers::cache::Settings::default(), None);
    let cached = Arc::new(Cached::new(scripted(), [0; 32], memory, Supervisor::default(), Metrics::default()));
    for provider in [scripted() as vision_providers::provider::Provider, cached] {
        let running = Running {
            gateway: over(provider),
            access: Access::default(),
            loaded: visiongate::config::load(None).expect("defaults"),
        };
        let serving = Live::with(None, Workshop::new(Supervisor::default()), running);
        let mcp = Mcp::new(Arc::new(serving), Door::Stdio, CancellationToken::new());
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let serving = async move { mcp.serve(tokio::io::split(theirs)).await.expect("a handshake").waiting().await };
        let asking = async move {
            let (input, mut output) = tokio::io::split(ours);
            let mut lines = BufReader::new(input).lines();
            let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
            let calls = [
                ("initialize", hello),
                ("tools/call", analyze(&json!({"image": example("qr.png")}))),
                ("tools/list", json!({})),
            ];
            let mut answers = Vec::new();
            for (id, (method, params)) in (0..).zip(calls) {
                let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
                output.write_all(format!("{message}\n").as_bytes()).await.expect("it reads");
                let line =
                    timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("a line").expect("a line");
                answers.push(serde_json::from_str::<Value>(&line).expect("JSON"));
            }
            assert_eq!(answers[1]["result"]["structuredContent"]["error"]["code"], "INTERNAL", "{}", answers[1]);
            assert_eq!(answers[2]["id"], 2);
        };
        let (_, ()) = tokio::join!(serving, asking);
    }
}

#[tokio::test]
async fn a_last_line_without_an_end_is_answered() {
    let mut client = Client::start(&[]);
    let mut input = client.input.take().expect("an open pipe");
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"ping\"}").await.expect("it reads");
    drop(input);
    assert_eq!(client.next().await["id"], 5);
}

#[tokio::test]
async fn being_told_to_stop_ends_the_process_at_once_and_well() {
    let mut client = Client::start(&[]);
    client.shake_hands().await;
    let id = client.child.id().expect("it runs").to_string();
    let began = Instant::now();
    let killed = std::process::Command::new("sh").args(["-c", "kill -TERM $0", &id]).status().expect("a shell runs");
    assert!(killed.success());
    let status = timeout(PATIENCE, client.child.wait()).await.expect("it ends").expect("a status");
    assert_eq!(status.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test]
async fn whoever_is_being_answered_when_the_end_comes_is_answered_to_the_end() {
    for (told, at_once) in [(false, false), (false, true), (true, false)] {
        let slow = Play::Late(Duration::from_secs(7), Box::new(Play::json(200, &described("Late.", ""))));
        let upstream = Upstream::start([slow]).await;
        let mut client = Client::start(&[
            ("MISTRAL_API_KEY", "k".into()),
            ("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", upstream.url("/v1")),
        ]);
        client.shake_hands().await;
        let call = analyze(&json!({"image": example("qr.png"), "cache": "bypass"}));
        client.send(&json!({"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": call})).await;
        while upstream.calls() == 0 && !at_once {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if told {
            let id = client.child.id().expect("it runs").to_string();
            std::process::Command::new("sh").args(["-c", "kill -TERM $0", &id]).status().expect("a shell runs");
        } else {
            drop(client.input.take());
        }
        let answer = client.next().await;
        assert_eq!(
            (&answer["id"], &answer["result"]["structuredContent"]["description"]),
            (&json!(4), &json!("Late."))
        );
        let status = timeout(PATIENCE, client.child.wait()).await.expect("it ends").expect("a status");
        assert_eq!(status.code(), Some(0));
    }
}
