//! Hours of faults at random against the gateway, in one process: whether it gives back what it takes.
//!
//!     make soak MINUTES=30
//!
//! Every minute it says how many calls and answers there were, how much memory, how many open files and how many tasks
//! there are. It fails when hardly anybody was answered, when files stay open at its end, and after half an hour or more
//! when memory or files grew after the warm-up. It is no measure of speed: the backends, which misbehave in every way that
//! the scripted server knows, run in the same process.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "a program for whoever maintains the tests")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use vision_providers::request::CacheMode;
use vision_providers::testkit::{Play, Received, Then, Upstream};
use visiongate::gateway::{Ask, Asker, Gateway};
use visiongate::intake::Door;
use visiongate::supervisor::Supervisor;

const MINUTE: Duration = Duration::from_mins(1);
const USUAL_MINUTES: u64 = 120;
/// Shorter runs are too short for a trend.
const ENOUGH_FOR_A_TREND: usize = 30;
/// The part of a run in which caches and pools fill, as one in so many.
const WARM_UP: usize = 3;
const CALLERS: usize = 24;
/// In a minute.
const LEAST_ANSWERS: usize = 100;

/// What there is at one time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// Resident memory in MiB.
    memory: f64,
    files: f64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Tests of all targets start benchmarks too, without this word.
    if !args.iter().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let minutes = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(USUAL_MINUTES);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(soak(minutes))
}

async fn soak(minutes: u64) -> ExitCode {
    let before = sample();
    let (samples, answers) = {
        let upstreams = [Upstream::start([Play::decide(moody)]).await, Upstream::start([Play::decide(moody)]).await];
        let supervisor = Supervisor::default();
        let gateway = Arc::new(gateway(&upstreams, &supervisor));
        let ends = Instant::now() + MINUTE * u32::try_from(minutes).unwrap_or(u32::MAX);
        let answers = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            callers.spawn(call(Arc::clone(&gateway), caller, ends, Arc::clone(&answers)));
        }
        let samples = watch(minutes, &upstreams, &answers).await;
        callers.join_all().await;
        supervisor.shut_down(MINUTE).await;
        (samples, answers.load(Ordering::Relaxed))
    };
    // Sockets close when the tasks that own them come round to it.
    sleep(Duration::from_secs(2)).await;
    let after = sample();
    println!("at the end: {} files open, {} before", after.files, before.files);
    let mut faults = Vec::new();
    // At rest nothing grows, and nothing is shown.
    if answers < samples.len() * LEAST_ANSWERS {
        faults.push(format!("only {answers} answers"));
    }
    if after.files > before.files {
        faults.push(format!("{} files stayed open", after.files - before.files));
    }
    if samples.len() >= ENOUGH_FOR_A_TREND {
        let warm = samples.get(samples.len() / WARM_UP..).unwrap_or_default();
        let (memory, files) = (growth(warm, |sample| sample.memory), growth(warm, |sample| sample.files));
        println!("after the warm-up: {memory:+.2} MiB and {files:+.1} files an hour");
        faults.extend((memory > 1.0).then(|| "memory grows".to_owned()));
        faults.extend((files > 10.0).then(|| "open files grow".to_owned()));
    }
    println!("{}", if faults.is_empty() { "well".to_owned() } else { format!("NOT WELL: {}", faults.join(", ")) });
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says every minute what there is. The least of a minute counts, because the rest is what happens to be in the air.
async fn watch(minutes: u64, upstreams: &[Upstream; 2], answers: &AtomicUsize) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut calls = 0;
    println!("minute   calls answers  memory MiB   files   tasks");
    for minute in 1..=minutes {
        let mut least = Sample { memory: f64::MAX, files: f64::MAX };
        for _ in 0..60 {
            sleep(MINUTE / 60).await;
            let now = sample();
            least = Sample { memory: least.memory.min(now.memory), files: least.files.min(now.files) };
            // What the backends remember is no fault of the gateway.
            calls += upstreams.iter().map(Upstream::forget).sum::<usize>();
        }
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let answers = answers.load(Ordering::Relaxed);
        println!("{minute:6} {calls:7} {answers:7} {:11.1} {:7} {tasks:7}", least.memory, least.files);
        samples.push(least);
    }
    samples
}

fn sample() -> Sample {
    const PAGE: f64 = 4096.0;
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    let files = std::fs::read_dir("/proc/self/fd").expect("Linux").count();
    Sample { memory: pages * PAGE / f64::from(1 << 20), files: f64::from(u32::try_from(files).unwrap_or(u32::MAX)) }
}

/// By how much something grows in an hour: the slope of the line that fits best.
fn growth(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let points: Vec<(f64, f64)> =
        (0_u32..).map(|minute| f64::from(minute) / 60.0).zip(samples.iter().map(of)).collect();
    let count = f64::from(u32::try_from(points.len()).unwrap_or(u32::MAX));
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (mean_hour, mean_value) = (mean(|point| point.0), mean(|point| point.1));
    let covariance: f64 = points.iter().map(|(hour, value)| (hour - mean_hour) * (value - mean_value)).sum();
    let variance: f64 = points.iter().map(|(hour, _)| (hour - mean_hour).powi(2)).sum();
    covariance / variance
}

fn gateway(upstreams: &[Upstream; 2], supervisor: &Supervisor) -> Gateway {
    let provider = |name: &str, upstream: &Upstream| {
        let url = upstream.url("/v1");
        format!(
            "[providers.{name}]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{url}\"\n"
        )
    };
    let [a, b] = upstreams;
    let config = format!(
        "default = \"a\"\nfallback = [\"b\"]\n{}{}[deadline]\ntotal = \"3s\"\nattempt = \"700ms\"\nfirst_byte = \"500ms\"\n\
         idle = \"300ms\"\n[breaker]\nfailures = 5\nopen = \"100ms\"\nlongest = \"1s\"\n[cache]\ncapacity = \"2MiB\"\n",
        provider("a", a),
        provider("b", b)
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, config).expect("a file");
    let loaded = visiongate::config::load(Some(&file)).expect("a configuration without faults");
    visiongate::assemble::gateway(&loaded, supervisor).expect("a gateway")
}

/// One caller after the other, of whom some listen and some leave.
async fn call(gateway: Arc<Gateway>, caller: usize, ends: Instant, answers: Arc<AtomicUsize>) {
    let image = format!("{}/examples/qr.png", env!("CARGO_MANIFEST_DIR"));
    let asker = Asker::local(Door::CommandLine);
    while Instant::now() < ends {
        let number = if fastrand::bool() { fastrand::usize(..50) } else { fastrand::usize(..) };
        let cache = if fastrand::u8(..4) == 0 { CacheMode::Bypass } else { CacheMode::Use };
        let (images, prompt) = (vec![image.clone()], Some(format!("Question {number} of {}", caller % 4)));
        let ask = Ask { images: images.into(), prompt, cache: Some(cache), ..Ask::default() };
        let patience = Duration::from_millis(if fastrand::u8(..10) == 0 { fastrand::u64(1..500) } else { 10_000 });
        let answered = if fastrand::bool() {
            timeout(patience, gateway.ask(&ask, &asker)).await.is_ok_and(|answer| answer.is_ok())
        } else {
            let (listener, mut said) = mpsc::channel(8);
            let hearing = async { while said.recv().await.is_some() {} };
            let asking = async {
                let answer = gateway.ask_aloud(&ask, &asker, &listener).await;
                drop(listener);
                answer
            };
            timeout(patience, async { tokio::join!(asking, hearing) }).await.is_ok_and(|(answer, ())| answer.is_ok())
        };
        answers.fetch_add(usize::from(answered), Ordering::Relaxed);
        sleep(Duration::from_millis(fastrand::u64(5..50))).await;
    }
}

/// A backend that does anything at all.
fn moody(received: &Received, _: usize) -> Play {
    let body = |content: &Value| {
        json!({"model": "m", "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1000, "completion_tokens": 10}})
    };
    let said = body(&json!("word ".repeat(fastrand::usize(1..200))));
    let event = |text: &str, finish: &Value| {
        let choice = json!({"delta": {"content": text}, "finish_reason": finish});
        format!("data: {}\n\n", json!({"choices": [choice]})).into_bytes()
    };
    let kind = || vec![("content-type", "text/event-stream".to_owned())];
    let stream = vec![event("so ", &Value::Null), event("it is", &json!("stop")), b"data: [DONE]\n\n".to_vec()];
    let half = vec![event("so ", &Value::Null)];
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n\r\n").into_bytes();
    match fastrand::u8(..100) {
        0..50 if received.body["stream"] == true => Play::Pieces(kind(), stream, Then::End),
        0..50 => Play::json(200, &said),
        50..55 => Play::json(500, &json!({"error": {"message": "down"}})),
        55..58 => Play::json(429, &json!({})).header("retry-after-ms", "200"),
        // A refused key or a model that is not there would be left alone for minutes, and nothing would happen in them.
        58..60 => Play::json(502, &json!({"error": {"message": "bad gateway"}})),
        60..63 => Play::Reset,
        63..66 => Play::Silence,
        66..68 => Play::Stall,
        68..71 => Play::Pieces(kind(), half.clone(), Then::Break),
        71..73 => Play::Pieces(kind(), half.clone(), Then::Hang),
        73..75 => Play::Pieces(kind(), half, Then::End),
        75..77 => Play::Endless(head("content-length: 1073741824"), vec![b'x'; 64 << 10], Duration::ZERO),
        77..78 => Play::Endless(head("content-type: text/event-stream"), event("more ", &Value::Null), Duration::ZERO),
        78..80 => Play::Endless(head("content-type: text/event-stream"), b": \n".to_vec(), Duration::from_millis(50)),
        80..82 => Play::Drip(head("content-length: 10"), Duration::from_millis(30), Then::Hang),
        82..84 => Play::Raw(b"\x00\x01 what?\r\n\r\n".to_vec()),
        84..86 => Play::json(200, &json!({"choices": []})),
        86..88 => Play::Reply(200, Vec::new(), "[".repeat(50_000).into_bytes()),
        88..90 => Play::json(422, &json!({"error": {"message": "no"}})),
        90..94 => Play::Last(Box::new(Play::json(200, &said))),
        94..96 => Play::Unread(Box::new(Play::Reset)),
        _ => Play::json(200, &said).after(Duration::from_millis(fastrand::u64(..1500))),
    }
}
