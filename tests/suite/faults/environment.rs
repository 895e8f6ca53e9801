//! A machine that misbehaves: a disk that takes nothing, a process that is killed, a call that panics. Cases 57, 59 and
//! 60; a configuration that breaks and a process that is told to stop are in `service.rs`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use vision_providers::provider::Provider;
use vision_providers::testkit::{Play, Received, Scripted, Step, Upstream};
use visiongate::access::Access;
use visiongate::assemble::Workshop;
use visiongate::gateway::Ask;
use visiongate::intake::Door;
use visiongate::layers::cache::{self, Cached, Memory};
use visiongate::live::{Live, Running};
use visiongate::metrics::Metrics;
use visiongate::supervisor::Supervisor;
use visiongate::surface::mcp::Mcp;

use super::{HASTY, Lab, about_a_dot, asker, says, text};
use crate::http::{JSON, Server, locally};
use crate::mcp::{analyze, over};
use crate::{PATIENCE, config_file, example};

/// A backend that repeats the question.
fn echo(received: &Received, _: usize) -> Play {
    let content = received.body["messages"][1]["content"].as_array();
    let parts = content.into_iter().flatten();
    says(parts.filter_map(|part| part["text"].as_str()).next_back().unwrap_or("nothing"))
}

fn ask(prompt: &str) -> Ask {
    Ask { prompt: Some(prompt.into()), ..about_a_dot() }
}

fn on_disk(folder: &Path) -> String {
    format!("[cache]\ndisk = {{ path = '{}', capacity = \"1MiB\" }}\n", folder.display())
}

/// Case 57.
#[tokio::test]
async fn a_disk_that_takes_nothing_costs_nobody_an_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, vanishing) = (folder.path().join("file"), folder.path().join("vanishing"));
    std::fs::write(&file, "not a folder").expect("a file");
    // Where even the superuser can write nothing.
    for place in [Path::new("/proc/visiongate"), &file, &file.join("below"), &vanishing] {
        let lab = Lab::with([Play::decide(echo)], &format!("{}{HASTY}", on_disk(place))).await;
        for round in 0..3 {
            for number in 0..5 {
                let prompt = format!("Question {number} of {}", round / 2);
                assert_eq!(text(&lab.ask(&ask(&prompt)).await.expect("an answer")), prompt, "{}", place.display());
            }
            let _ = std::fs::remove_dir_all(&vanishing);
        }
        // Five questions, five more, and what was asked twice is remembered in memory.
        assert_eq!(lab.calls(), (10, 0), "{}", place.display());
    }
}

async fn put(server: &Server, number: usize) -> Value {
    let prompt = format!("Question {number}");
    let image = about_a_dot().images[0].clone();
    let call = json!({"name": "analyze_image", "arguments": {"image": image, "prompt": prompt}});
    let body = json!({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}).to_string();
    server.post(JSON, &body).await.1["result"]["structuredContent"].clone()
}

/// Case 59.
#[tokio::test]
async fn whoever_comes_after_one_that_was_killed_finds_only_whole_answers() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let slow = |received: &Received, number: usize| match number % 3 {
            0 => echo(received, number).after(Duration::from_millis(50)),
            _ => echo(received, number),
        };
        let upstream = Upstream::start([Play::decide(slow)]).await;
        let provider = format!(
            "default = \"a\"\nfallback = []\n[providers.a]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{}\"\n",
            upstream.url("/v1")
        );
        let config = format!("{provider}{}", on_disk(&folder.path().join("answers")));
        let file = config_file(folder.path(), &config);
        let envs = [("VISIONGATE_CONFIG", file.display().to_string())];
        let mut server = Server::start(&envs).await;
        join_all((0..40).map(|number| put(&server, number))).await;
        let killing = async {
            while upstream.calls() < 60 {
                tokio::task::yield_now().await;
            }
            server.signal("KILL");
        };
        tokio::join!(join_all((40..120).map(|number| put(&server, number))), killing);
        assert!(!timeout(PATIENCE, server.child.wait()).await.expect("it ends").expect("a status").success());
        let server = Server::start(&envs).await;
        let answers = join_all((0..120).map(|number| put(&server, number))).await;
        for (number, answer) in answers.iter().enumerate() {
            assert_eq!(answer["text"], format!("Question {number}"), "{answer}");
        }
        let remembered = answers.iter().filter(|answer| answer["cached"] == true).count();
        assert!(remembered >= 30, "{remembered}");
    })
    .await;
}

fn scripted() -> Arc<Scripted> {
    let fine = || Step::After(Duration::from_millis(300), "fine".into());
    Arc::new(Scripted::new([fine(), Step::Panic, fine(), fine(), Step::Panic, fine()]))
}

/// Case 60, in a task of the background: the one that equal questions share.
#[tokio::test]
async fn a_panic_behind_one_question_is_an_error_of_that_question_alone() {
    let memory = Memory::new(cache::Settings::default(), None);
    let supervisor = Supervisor::default();
    let gateway = over(Arc::new(Cached::new(scripted(), [0; 32], memory, supervisor.clone(), Metrics::default())));
    for round in 0..2 {
        let asks: Vec<Ask> = (0..3).map(|number| ask(&format!("Question {number} of {round}"))).collect();
        let asker = asker();
        let answers = join_all(asks.iter().map(|ask| gateway.ask(ask, &asker))).await;
        let (well, broken): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.is_ok());
        assert!(well.iter().all(|answer| answer.as_ref().is_ok_and(|reply| text(reply) == "fine")));
        let codes: Vec<&str> =
            broken.iter().filter_map(|answer| answer.as_ref().err()).map(|failure| failure.code.name()).collect();
        assert_eq!((well.len(), codes), (2, vec!["INTERNAL"]), "{round}");
    }
    // What is left behind does not keep the process from ending.
    timeout(PATIENCE, supervisor.shut_down(PATIENCE)).await.expect("nothing hangs");
}

/// Case 60, in the task of the call.
#[tokio::test]
async fn a_panic_in_one_call_leaves_those_beside_it_alone() {
    let provider: Provider = scripted();
    let running = Running {
        gateway: over(provider),
        access: Access::default(),
        loaded: visiongate::config::load(None).expect("defaults"),
    };
    let running = Live::with(None, Workshop::new(Supervisor::default()), running);
    let mcp = Mcp::new(Arc::new(running), Door::Stdio, CancellationToken::new());
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let serving = async move {
        let serving = rmcp::ServiceExt::serve(mcp, tokio::io::split(theirs)).await.expect("a handshake");
        serving.waiting().await
    };
    let asking = async move {
        let (input, mut output) = tokio::io::split(ours);
        let mut lines = BufReader::new(input).lines();
        let mut next = async || {
            let line = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("a line").expect("a line");
            serde_json::from_str::<Value>(&line).expect("JSON")
        };
        let hello =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let message = |id: u64, method: &str, params: Value| {
            format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
        };
        output.write_all(message(0, "initialize", hello).as_bytes()).await.expect("it reads");
        assert_eq!(next().await["id"], 0);
        for round in 0..2 {
            let calls: String = (1..=3)
                .map(|id| {
                    let arguments = json!({"image": example("qr.png"), "prompt": format!("{round} {id}?")});
                    message(10 * round + id, "tools/call", analyze(&arguments))
                })
                .collect();
            output.write_all(calls.as_bytes()).await.expect("it reads");
            let answers = [next().await, next().await, next().await];
            let mut ids: Vec<u64> = answers.iter().filter_map(|answer| answer["id"].as_u64()).collect();
            ids.sort_unstable();
            assert_eq!(ids, [10 * round + 1, 10 * round + 2, 10 * round + 3]);
            let content = answers.each_ref().map(|answer| &answer["result"]["structuredContent"]);
            let fine = content.iter().filter(|content| content["text"] == "fine").count();
            let broken = content.iter().filter(|content| content["error"]["code"] == "INTERNAL").count();
            assert_eq!((fine, broken), (2, 1), "{content:?}");
        }
    };
    let (_, ()) = tokio::join!(serving, asking);
}
