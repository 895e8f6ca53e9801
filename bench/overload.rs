//! How much of its rate the server keeps when far more is asked of it than it can do.
//!
//! It starts the program with a provider on loopback that answers after 50 ms, finds out how many photos a second it can
//! answer, and then asks five times as many, each on time and whether or not earlier ones were answered. What counts is
//! a true answer within ten seconds. The load comes from the same machine, so the figures are low and the ratio is fair.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a measurement says what is wrong by failing")]
#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const UPSTREAM: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);
const CLIENTS: usize = 128;
const LENGTH: Duration = Duration::from_secs(20);
const FACTOR: f64 = 5.0;

#[tokio::main]
async fn main() {
    // `cargo test --benches` runs this with an argument of its own, and wants no minutes of load.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let upstream = upstream().await;
    let server = Arc::new(Server::start(upstream).await);
    let saturated = server.saturate().await;
    println!("saturated by {CLIENTS} clients: {saturated:.1} answers/s");
    let began = Instant::now();
    let (asked, good, refused, late) = server.overload(saturated * FACTOR).await;
    // Until the last one was answered: those who waited at the end count for the time that they took.
    let seconds = began.elapsed().as_secs_f64();
    println!("asked {FACTOR} times as much: {:.1}/s", asked as f64 / LENGTH.as_secs_f64());
    println!("answers/s {:.1}, refused {refused}, late or broken {late}", good as f64 / seconds);
    println!("kept of the saturated rate: {:.2}", good as f64 / seconds / saturated);
}

/// A provider that answers everything after a while.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let answer = json!({"model": "m", "choices": [{"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "A street in the evening."}}],
        "usage": {"prompt_tokens": 1200, "completion_tokens": 9}});
    let answer = Bytes::from(answer.to_string());
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let serve = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let answer = answer.clone();
                async move {
                    let _ = request.into_body().collect().await;
                    sleep(UPSTREAM).await;
                    let head = Response::builder().header("content-type", "application/json");
                    Ok::<_, Infallible>(head.body(Full::new(answer)).expect("a response"))
                }
            });
            spawn(async move {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
            });
        }
    });
    address
}

#[expect(clippy::disallowed_methods, reason = "a measurement ends with its process")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

struct Server {
    _child: Child,
    client: reqwest::Client,
    url: String,
    body: Bytes,
}

impl Server {
    async fn start(upstream: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_visiongate"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("VISIONGATE_LOG__FORMAT", "json")
            .env("VISIONGATE_FALLBACK", "[]")
            .env("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", format!("http://{upstream}/v1"))
            .env("MISTRAL_API_KEY", "none")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let line = log.next_line().await.expect("a line").expect("a line");
        let line: Value = serde_json::from_str(&line).expect("a structured log");
        let address = line["fields"]["address"].as_str().expect("an address").to_owned();
        spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let photo = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/photo-rotated.jpg"));
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut photo.expect("an example"), &mut bytes).expect("its bytes");
        let image = format!("data:image/jpeg;base64,{}", base64::engine::general_purpose::STANDARD.encode(bytes));
        let arguments = json!({"image": image, "prompt": "Where is this?", "cache": "bypass"});
        let params = json!({"name": "analyze_image", "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { _child: child, client, url: format!("http://{address}/mcp"), body: body.into() }
    }

    fn ask(&self) -> impl Future<Output = Outcome> + Send + 'static {
        let request = self.client.post(&self.url).header("content-type", "application/json").body(self.body.clone());
        async move {
            let Ok(response) = request.send().await else { return Outcome::Late };
            if response.status() == http::StatusCode::SERVICE_UNAVAILABLE {
                return Outcome::Refused;
            }
            let Ok(body) = response.bytes().await else { return Outcome::Late };
            let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
            match answer["result"]["structuredContent"]["text"].as_str() {
                Some(_) => Outcome::Good,
                None => Outcome::Refused,
            }
        }
    }

    /// Answers a second when every client asks again as soon as it was answered.
    async fn saturate(self: &Arc<Self>) -> f64 {
        let good = Arc::new(AtomicUsize::new(0));
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (good, server) = (Arc::clone(&good), Arc::clone(self));
            clients.spawn(async move {
                while began.elapsed() < LENGTH {
                    if server.ask().await == Outcome::Good {
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        clients.join_all().await;
        good.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
    }

    /// Asks so often a second; how often it was asked, answered, refused, and neither in time.
    async fn overload(&self, rate: f64) -> (usize, usize, usize, usize) {
        let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let began = Instant::now();
        let mut calls = JoinSet::new();
        let mut asked = 0;
        while began.elapsed() < LENGTH {
            ticks.tick().await;
            calls.spawn(self.ask());
            asked += 1;
        }
        let outcomes = calls.join_all().await;
        let count = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
        (asked, count(Outcome::Good), count(Outcome::Refused), count(Outcome::Late))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Good,
    Refused,
    Late,
}
