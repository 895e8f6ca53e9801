//! MCP over HTTP with the real process on a real socket: good clients, slow ones, foreign ones and broken ones.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use vision_providers::testkit::{Play, Upstream};

use super::client::until;
use super::{PATIENCE, described, example};

/// A server of this program.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) async fn start(envs: &[(&str, String)]) -> Self {
        Self::start_with(&["--listen", "127.0.0.1:0"], envs).await
    }

    pub(crate) async fn start_with(arguments: &[&str], envs: &[(&str, String)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_visiongate"));
        command.arg("serve").args(arguments).env_remove("MISTRAL_API_KEY").env("XDG_CONFIG_HOME", "/nonexistent");
        command.envs(envs.iter().map(|(name, value)| (*name, value))).env("VISIONGATE_LOG__FORMAT", "json");
        command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let line = timeout(PATIENCE, log.next_line()).await.expect("in time").expect("a line").expect("a line");
        let line: Value = serde_json::from_str(&line).expect("a structured log");
        let address = line["fields"]["address"].as_str().expect("an address").to_owned();
        // What else it logs has to go somewhere, or it would stop at a full pipe.
        tokio::task::spawn_local(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Self { child, address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).await.expect("a connection")
    }

    /// Sends raw text and reads until the server closes.
    pub(crate) async fn raw(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Posts to `/mcp` with these headers more; gives status and body.
    pub(crate) async fn post(&self, headers: &str, body: &str) -> (u16, Value) {
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            self.address,
            body.len()
        );
        let answer = self.raw(&format!("{head}{body}")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { body.lines().filter(|line| line.starts_with('{')).collect() } else { body.to_owned() };
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Gets a path; status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer =
            self.raw(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned())
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let status = std::process::Command::new("sh").args(["-c", "kill -$0 $1", name, &id]).status();
        assert!(status.expect("a shell runs").success());
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let (status, answer) = self.post("content-type: application/json\r\n", &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

/// Runs a test with a place for tasks that only read logs.
pub(crate) async fn locally(test: impl Future<Output = ()>) {
    tokio::task::LocalSet::new().run_until(test).await;
}

pub(crate) const JSON: &str = "content-type: application/json\r\n";

fn list() -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string()
}

#[tokio::test]
async fn tools_are_listed_and_called_without_a_session() {
    locally(async {
        let upstream = Upstream::start([Play::json(200, &described("A receipt.", "25.41"))]).await;
        let server = Server::start(&[("MISTRAL_API_KEY", "k".into()), ("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", upstream.url("/v1"))]).await;
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        assert_eq!(server.call("initialize", params).await["result"]["serverInfo"]["name"], "visiongate");
        assert_eq!(server.call("tools/list", json!({})).await["result"]["tools"].as_array().expect("tools").len(), 5);
        let mut png = Vec::new();
        tokio::fs::File::open(example("qr.png")).await.expect("an example").read_to_end(&mut png).await.expect("its bytes");
        let uri = format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png));
        let call = |image: &str| json!({"name": "analyze_image", "arguments": {"image": image}});
        let answer = server.call("tools/call", call(&uri)).await;
        assert_eq!(answer["result"]["structuredContent"]["description"], "A receipt.");
        let answer = server.call("tools/call", call(&example("qr.png"))).await;
        assert_eq!(answer["result"]["structuredContent"]["error"]["code"], "UNSAFE_PATH");
        let modern = "content-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/list\r\n";
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
        let body = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"_meta": meta}}).to_string();
        let (status, answer) = server.post(modern, &body).await;
        assert_eq!((status, &answer["result"]["resultType"]), (200, &json!("complete")), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn the_modern_era_knows_no_handshake() {
    locally(async {
        let server = Server::start(&[]).await;
        let shake = |params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).to_string();
        let modern = format!("{JSON}mcp-protocol-version: 2026-07-28\r\nmcp-method: initialize\r\n");
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
        let (status, answer) = server.post(&modern, &shake(json!({"_meta": meta}))).await;
        assert_eq!((status, &answer["error"]["code"]), (404, &json!(-32601)), "{answer}");
        // Where there is one, a client is told that it does not fit.
        let (_, answer) = server.post(JSON, &shake(json!({"capabilities": {}}))).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    })
    .await;
}

#[tokio::test]
async fn strangers_and_malformed_requests_are_refused_by_status() {
    locally(async {
        let server = Server::start(&[]).await;
        let body = list();
        let host = |host: &str| {
            format!(
                "POST /mcp HTTP/1.1\r\n{host}connection: close\r\ncontent-length: {}\r\n{JSON}\r\n{body}",
                body.len()
            )
        };
        for (hosts, status) in [
            ("host: evil.example\r\n", "403"),
            ("host: 127.0.0.1\r\nhost: evil.example\r\n", "403"),
            ("host: localhost:9999\r\n", "200"),
            ("host: [::1]\r\n", "200"),
            ("host: 127.0.0.1@evil.example\r\n", "403"),
            ("host: localhost.evil.example\r\n", "403"),
        ] {
            let answer = server.raw(&host(hosts)).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{hosts}: {answer}");
        }
        for (named, status) in [("evil.example", "403"), ("localhost", "200"), ("x@localhost", "403")] {
            let line = host("host: localhost\r\n").replace("POST /", &format!("POST http://{named}/"));
            let answer = server.raw(&line).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{named}: {answer}");
        }
        for (headers, status) in [
            (format!("{JSON}origin: https://evil.example\r\n"), 403),
            (format!("{JSON}origin: null\r\n"), 403),
            (format!("{JSON}origin: http://localhost:5173\r\n"), 200),
            (format!("{JSON}origin: http://localhost#evil\r\n"), 403),
            (format!("{JSON}origin: http://localhost/path\r\n"), 403),
            (format!("{JSON}origin: http://evil@localhost\r\n"), 403),
            (format!("{JSON}content-encoding: gzip\r\n"), 415),
            ("content-type: text/plain\r\n".to_owned(), 415),
            ("content-type: Application/JSON;charset=UTF-8\r\n".to_owned(), 200),
            (format!("{JSON}accept: */*\r\n"), 200),
            (format!("{JSON}accept: APPLICATION/json\r\n"), 200),
        ] {
            assert_eq!(server.post(&headers, &body).await.0, status, "{headers}");
        }
        let (status, answer) = server.post(JSON, "{\"jsonrpc\": ").await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(-32700)), "{answer}");
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(server.post(JSON, &deep).await.0, 400);
        assert_eq!(server.post(JSON, &list()).await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn messages_are_answered_whatever_a_client_accepts() {
    locally(async {
        let server = Server::start(&[]).await;
        for (accept, kind) in [
            ("", "application/json"),
            ("accept: */*\r\n", "application/json"),
            ("accept: application/json\r\n", "application/json"),
            ("accept: application/json, text/event-stream\r\n", "application/json"),
            ("accept: text/event-stream\r\n", "text/event-stream"),
            ("accept: text/html\r\naccept: Text/Event-Stream;q=0.9\r\n", "text/event-stream"),
        ] {
            let answer = server.request("POST /mcp", &format!("{JSON}{accept}"), list().as_bytes()).await;
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{accept}");
            let message = if kind == "application/json" { answer.json() } else { answer.events().remove(0).1 };
            assert_eq!(message["result"]["tools"].as_array().map(Vec::len), Some(5), "{accept}: {message}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_of_mcp_is_told_in_its_own_shape() {
    locally(async {
        let server = Server::start(&[]).await;
        let (list, typed) = (list(), |headers: &str| format!("{JSON}{headers}"));
        for (line, headers, body, status, code, ours) in [
            ("GET /mcp", String::new(), "", 405, -32600, "INVALID_INPUT"),
            ("GET /mcp", "accept: text/event-stream\r\n".to_owned(), "", 405, -32600, "INVALID_INPUT"),
            ("DELETE /mcp", String::new(), "", 405, -32600, "INVALID_INPUT"),
            ("PUT /mcp", typed(""), list.as_str(), 405, -32600, "INVALID_INPUT"),
            ("POST /mcp", typed("accept: image/png\r\n"), &list, 406, -32600, "INVALID_INPUT"),
            ("POST /mcp", "content-type: text/plain\r\n".to_owned(), &list, 415, -32600, "UNSUPPORTED_FORMAT"),
            ("POST /mcp", String::new(), &list, 415, -32600, "UNSUPPORTED_FORMAT"),
            ("POST /mcp", typed("content-encoding: gzip\r\n"), &list, 415, -32600, "UNSUPPORTED_FORMAT"),
            ("POST /mcp", typed("mcp-protocol-version: 1999-01-01\r\n"), &list, 400, -32600, "INVALID_INPUT"),
            ("POST /mcp", typed(""), "{\"jsonrpc\": ", 400, -32700, "INVALID_INPUT"),
            ("POST /mcp", typed(""), "[]", 400, -32700, "INVALID_INPUT"),
        ] {
            let answer = server.request(line, &headers, body.as_bytes()).await;
            let told = answer.json();
            assert_eq!((answer.status, answer.header("content-type")), (status, Some("application/json")), "{line}");
            assert_eq!((&told["jsonrpc"], &told["id"]), (&json!("2.0"), &Value::Null), "{line} {headers}");
            let error = &told["error"];
            assert_eq!(
                (&error["code"], &error["data"]["code"]),
                (&json!(code), &json!(ours)),
                "{line} {headers}: {told}"
            );
            assert!(error["message"].as_str().is_some_and(|message| message.len() > 10), "{told}");
            assert_eq!(answer.header("allow"), (status == 405).then_some("POST"), "{line}: {answer:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn clients_that_drag_are_cut_off_while_others_are_served() {
    locally(async {
        let server = Server::start(&[]).await;
        let address = &server.address;
        let shapes = [
            String::new(),
            "POST /mc".to_owned(),
            format!("POST /mcp HTTP/1.1\r\nhost: {address}\r\nx-half"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            format!("POST /mcp HTTP/1.1\r\nhost: {address}\r\n{JSON}content-length: 1000\r\n\r\n{{"),
        ];
        let began = Instant::now();
        let mut streams = Vec::new();
        for shape in &shapes {
            let mut stream = server.connect().await;
            stream.write_all(shape.as_bytes()).await.expect("it reads");
            streams.push(stream);
        }
        assert_eq!(server.post(JSON, &list()).await.0, 200);
        for (stream, shape) in streams.iter_mut().zip(&shapes) {
            let mut rest = Vec::new();
            let closed =
                timeout(Duration::from_secs(16).saturating_sub(began.elapsed()), stream.read_to_end(&mut rest)).await;
            assert!(closed.is_ok(), "still open after {:?}: {shape:?}", began.elapsed());
        }
        assert_eq!(server.post(JSON, &list()).await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_call_and_not_for_ever() {
    locally(async {
        let server = Server::start(&[]).await;
        let mut stream = server.connect().await;
        let ask = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
        for pause in [0, 8] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            stream.write_all(ask.as_bytes()).await.expect("it is kept");
            assert!(until(&mut stream, "\r\n\r\nok").await.starts_with("HTTP/1.1 200"), "after {pause} s");
        }
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(45), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "it is still open");
    })
    .await;
}

#[tokio::test]
async fn who_finds_no_place_is_told_so_and_finds_one_later() {
    locally(async {
        let server = Server::start(&[("VISIONGATE_SERVER__MAX_CONNECTIONS", "1".into())]).await;
        let only = server.connect().await;
        let answer = server.raw("GET /v1/batch HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.to_lowercase().contains("retry-after: 2"), "{answer}");
        assert!(answer.contains("OVERLOADED") && answer.contains("server.connections_per_address"), "{answer}");
        let (status, answer) = server.post(JSON, &list()).await;
        assert_eq!((status, &answer["error"]["data"]["code"]), (503, &json!("OVERLOADED")), "{answer}");
        drop(only);
        let later = async { while server.get("/healthz").await.0 != 200 {} };
        timeout(PATIENCE, later).await.expect("there is a place again");
    })
    .await;
}

#[tokio::test]
async fn sizes_are_bounded() {
    locally(async {
        let server = Server::start(&[]).await;
        let huge = format!(
            "POST /mcp HTTP/1.1\r\nhost: {}\r\n{JSON}x-big: {}\r\ncontent-length: 0\r\n\r\n",
            server.address,
            "x".repeat(64 << 10)
        );
        assert!(server.raw(&huge).await.starts_with("HTTP/1.1 431"), "large headers");
        let many = "x-more: 1\r\n".repeat(100);
        let many = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n{many}\r\n", server.address);
        assert!(server.raw(&many).await.starts_with("HTTP/1.1 431"), "many headers");
        let mut stream = server.connect().await;
        let head =
            format!("POST /mcp HTTP/1.1\r\nhost: {}\r\n{JSON}transfer-encoding: chunked\r\n\r\n", server.address);
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let chunk = [b"100000\r\n".to_vec(), vec![b'1'; 1 << 20], b"\r\n".to_vec()].concat();
        for _ in 0..60 {
            if stream.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert_eq!(server.post(JSON, &list()).await.0, 200);
    })
    .await;
}

#[tokio::test]
async fn leaving_cancels_the_vendors_call_within_a_second() {
    leaving(b"", Duration::from_secs(1)).await;
}

/// hyper does not look for the end behind what was not asked for yet.
#[tokio::test]
async fn leaving_behind_a_request_that_came_too_early_cancels_too() {
    let much = "x".repeat(100_000);
    for early in ["P", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", &much] {
        leaving(early.as_bytes(), Duration::from_secs(2)).await;
    }
}

/// Sends a call and these bytes behind it, and leaves: the vendor is left too, after so long at most.
async fn leaving(early: &[u8], patience: Duration) {
    locally(async {
        let upstream = Upstream::start([Play::Silence]).await;
        let server = Server::start(&[
            ("MISTRAL_API_KEY", "k".into()),
            ("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", upstream.url("/v1")),
            ("VISIONGATE_INTAKE__ROOTS", format!("[\"{}\"]", super::root().join("examples").display())),
        ])
        .await;
        let call = json!({"name": "analyze_image", "arguments": {"image": example("receipt.png")}});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}).to_string();
        let head =
            format!("POST /mcp HTTP/1.1\r\nhost: {}\r\n{JSON}content-length: {}\r\n\r\n", server.address, body.len());
        let mut stream = server.connect().await;
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it reads");
        while upstream.calls() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        stream.write_all(early).await.expect("it takes that much");
        // They arrive before the end does.
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(stream);
        assert!(upstream.has_been_left(1, patience).await, "the vendor was left hanging behind {} bytes", early.len());
    })
    .await;
}

#[tokio::test]
async fn stopping_finishes_what_was_begun() {
    locally(async {
        let slow = Play::Late(Duration::from_secs(2), Box::new(Play::json(200, &described("Late.", ""))));
        let upstream = Upstream::start([slow]).await;
        let mut server = Server::start(&[
            ("MISTRAL_API_KEY", "k".into()),
            ("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", upstream.url("/v1")),
            ("VISIONGATE_INTAKE__ROOTS", format!("[{:?}]", super::root().join("examples"))),
        ])
        .await;
        let id = server.child.id().expect("it runs").to_string();
        let call = json!({"name": "analyze_image", "arguments": {"image": example("receipt.png")}});
        let stop = async {
            while upstream.calls() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let status = Command::new("sh").args(["-c", "kill -TERM $0", &id]).status().await.expect("a shell runs");
            assert!(status.success());
        };
        let (answer, ()) = tokio::join!(server.call("tools/call", call), stop);
        assert_eq!(answer["result"]["structuredContent"]["description"], "Late.");
        let status = timeout(PATIENCE, server.child.wait()).await.expect("it ends").expect("a status");
        assert_eq!(status.code(), Some(0));
    })
    .await;
}
