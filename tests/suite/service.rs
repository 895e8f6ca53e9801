//! The process as those who run it meet it: its configuration changes under load, it is told to stop, and it is watched.

use std::path::Path;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use vision_providers::testkit::{Play, Upstream};

use super::http::{JSON, Server, locally};
use super::{PATIENCE, completion, example};

fn says(text: &str) -> Play {
    Play::json(200, &completion(text))
}

fn after(seconds: u64, play: Play) -> Play {
    Play::Late(Duration::from_secs(seconds), Box::new(play))
}

/// A configuration with one provider at this address.
fn config(upstream: &Upstream, more: &str) -> String {
    format!(
        "default = \"a\"\nfallback = []\n[providers.a]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\n\
         base_url = \"{}\"\n[intake]\nroots = ['{}']\n{more}",
        upstream.url("/v1"),
        super::root().join("examples").display()
    )
}

fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("a file");
}

async fn serving(file: &Path) -> Server {
    Server::start(&[("VISIONGATE_CONFIG", file.display().to_string())]).await
}

/// One question that nobody remembers; the answer, whole.
async fn asked(server: &Server, number: usize) -> Value {
    let question = format!("Question {number}");
    let arguments = json!({"image": example("qr.png"), "prompt": question, "cache": "bypass"});
    let call = json!({"name": "analyze_image", "arguments": arguments});
    let body = json!({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call}).to_string();
    let (status, answer) = server.post(JSON, &body).await;
    assert_eq!((status, &answer["id"]), (200, &json!(number)), "{answer}");
    answer["result"]["structuredContent"].clone()
}

async fn becomes(server: &Server, text: &str, patience: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < patience {
        if asked(server, 0).await["text"] == text {
            return true;
        }
        sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn a_changed_file_is_in_service_within_two_seconds_and_a_broken_one_never() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let (old, new) = (Upstream::start([says("old")]).await, Upstream::start([says("new")]).await);
        write(&file, &config(&old, ""));
        let server = serving(&file).await;
        assert!(becomes(&server, "old", PATIENCE).await);
        let huge = format!("{}# {}\n", config(&new, ""), "x".repeat(2 << 20));
        let half = config(&new, "").split_at(60).0.to_owned();
        let twice = format!("{}[server]\n[server]\n", config(&new, ""));
        for broken in [
            "",
            "default = ",
            "default = \"nobody\"",
            &huge,
            &half,
            &twice,
            "\u{0}\u{1}",
            "[providers.a]\nkind = \"x\"\n",
        ] {
            write(&file, broken);
            sleep(Duration::from_millis(1200)).await;
            assert_eq!(asked(&server, 1).await["text"], "old", "{broken:.40}");
        }
        std::fs::remove_file(&file).expect("it was there");
        sleep(Duration::from_millis(1200)).await;
        assert_eq!(asked(&server, 1).await["text"], "old");
        write(&file, &config(&new, ""));
        assert!(becomes(&server, "new", Duration::from_secs(2)).await);
        let (_, metrics) = server.get("/metrics").await;
        assert!(metrics.contains("visiongate_reloads_total{outcome=\"changed\"} 1"), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn fifty_reloads_a_second_lose_no_request() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let quick = Play::Late(Duration::from_millis(30), Box::new(says("well")));
        let upstream = Upstream::start([quick]).await;
        let good = [config(&upstream, ""), config(&upstream, "[request]\nmax_output_tokens = 100\n")];
        write(&file, &good[0]);
        let server = serving(&file).await;
        let reloading = async {
            for turn in 0..150 {
                let text = if turn % 3 == 2 { "default = " } else { &good[turn % 3] };
                write(&file, text);
                server.signal("HUP");
                sleep(Duration::from_millis(20)).await;
            }
        };
        let asking = async {
            let mut answered = 0;
            for batch in 0..30 {
                let answers = join_all((0..8).map(|call| asked(&server, batch * 8 + call))).await;
                answered += answers.iter().filter(|answer| answer["text"] == "well").count();
            }
            answered
        };
        let (answered, ()) = join(asking, reloading).await;
        assert_eq!((answered, upstream.calls()), (240, 240));
        let (_, metrics) = server.get("/metrics").await;
        assert!(metrics.contains("outcome=\"refused\"") && metrics.contains("outcome=\"changed\""), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn a_hundred_calls_in_the_air_are_all_answered_when_the_process_is_told_to_stop() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let plays = (0..100).map(|call| if call % 2 == 0 { after(3, says("late")) } else { Play::Silence });
        let upstream = Upstream::start(plays).await;
        write(&file, &config(&upstream, "[limit]\nconcurrency = 200\n[deadline]\ntotal = \"300s\"\n"));
        let mut server = serving(&file).await;
        let stopping = async {
            while upstream.calls() < 100 {
                sleep(Duration::from_millis(20)).await;
            }
            server.signal("TERM");
            sleep(Duration::from_millis(300)).await;
            assert!(tokio::net::TcpStream::connect(&server.address).await.is_err(), "it takes nobody else");
            Instant::now()
        };
        let (answers, told) = join(join_all((0..100).map(|call| asked(&server, call))), stopping).await;
        let late = answers.iter().filter(|answer| answer["text"] == "late").count();
        let stopped = answers.iter().filter(|answer| answer["error"]["code"] == "CANCELLED").count();
        assert_eq!((late, stopped), (50, 50));
        let status = timeout(PATIENCE, server.child.wait()).await.expect("it ends").expect("a status");
        assert!(status.success() && told.elapsed() < Duration::from_secs(30), "{status:?} {:?}", told.elapsed());
        assert!(upstream.has_been_left(50, Duration::from_secs(1)).await, "nobody is left hanging");
    })
    .await;
}

#[tokio::test]
async fn being_told_twice_means_now() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let upstream = Upstream::start([Play::Silence]).await;
        write(&file, &config(&upstream, ""));
        let mut server = serving(&file).await;
        let stopping = async {
            while upstream.calls() == 0 {
                sleep(Duration::from_millis(20)).await;
            }
            server.signal("TERM");
            sleep(Duration::from_millis(300)).await;
            server.signal("TERM");
            Instant::now()
        };
        let (answer, told) = join(asked(&server, 1), stopping).await;
        assert_eq!(answer["error"]["code"], "CANCELLED", "{answer}");
        let status = timeout(PATIENCE, server.child.wait()).await.expect("it ends").expect("a status");
        assert!(status.success() && told.elapsed() < Duration::from_secs(3), "{status:?} {:?}", told.elapsed());
    })
    .await;
}

#[tokio::test]
async fn who_watches_sees_how_every_provider_is_and_what_was_counted() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let down = Upstream::start([Play::json(500, &json!({}))]).await;
        let well = Upstream::start([says("well")]).await;
        let more = format!(
            "[providers.b]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\nbase_url = \"{}\"\n",
            well.url("/v1")
        );
        write(&file, &config(&down, &more).replace("fallback = []", "fallback = [\"b\"]"));
        let server = serving(&file).await;
        let ready = |body: &str| serde_json::from_str::<Value>(body).expect("JSON");
        let (status, body) = server.get("/readyz").await;
        assert_eq!((status, &ready(&body)["providers"]["a"]), (200, &json!({"state": "ready"})));
        for call in 0..8 {
            assert_eq!(asked(&server, call).await["text"], "well");
        }
        let (_, body) = server.get("/readyz").await;
        let provider = &ready(&body)["providers"]["a"];
        assert_eq!((&provider["state"], &provider["last_error"]["kind"]), (&json!("failing"), &json!("unavailable")));
        assert!(provider["asked_again_in_s"].as_u64().is_some_and(|wait| (1..=6).contains(&wait)), "{provider}");
        assert_eq!(ready(&body)["providers"]["pixtral"]["state"], "no_key");
        let list = server.call("tools/call", json!({"name": "list_models", "arguments": {}})).await;
        let text = list["result"]["content"][0]["text"].as_str().expect("text");
        assert!(text.contains("failing, asked again in"), "{text}");
        let (status, metrics) = server.get("/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "visiongate_requests_total{door=\"http\",task=\"ask\",outcome=\"ok\"} 8",
            "visiongate_attempts_total{provider=\"a\",outcome=\"unavailable\"} 5",
            "visiongate_attempts_total{provider=\"b\",outcome=\"ok\"} 8",
            "visiongate_tokens_total{provider=\"b\",direction=\"input\"} 9680",
            "visiongate_resting{provider=\"a\",cause=\"failing\"} 1",
            "visiongate_cache_total{result=\"bypass\"}",
            "visiongate_stage_seconds_count{stage=\"fit\"}",
            "visiongate_requests_in_flight 0",
        ] {
            assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
        }
        assert!(!metrics.contains("Question"), "nothing of what was asked");
    })
    .await;
}

#[tokio::test]
async fn who_is_too_much_is_told_before_a_body_is_read_and_when_to_come_back() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let upstream = Upstream::start([Play::Silence]).await;
        write(&file, &config(&upstream, "[server]\nmax_requests = 1\nqueue = 1\n[deadline]\ntotal = \"8s\"\n"));
        let server = serving(&file).await;
        let hurried = async {
            while upstream.calls() == 0 {
                sleep(Duration::from_millis(20)).await;
            }
            // One more waits, and is told after five seconds; the next is told at once, although its body never comes.
            let second = async {
                sleep(Duration::from_millis(500)).await;
                let began = Instant::now();
                let head = "content-length: 1000\r\n";
                let head = format!("POST /mcp HTTP/1.1\r\nhost: {}\r\n{JSON}{head}\r\n", server.address);
                (server.raw(&head).await, began.elapsed())
            };
            let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
            join(server.post(JSON, &body), second).await
        };
        let (_, ((waited, _), (refused, took))) = join(asked(&server, 1), hurried).await;
        assert_eq!(waited, 503);
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 2"), "{refused}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        let (_, metrics) = server.get("/metrics").await;
        assert!(metrics.contains("visiongate_shed_total{reason=\"requests\"} 2"), "{metrics}");
    })
    .await;
}

#[tokio::test]
async fn nobody_is_let_in_while_memory_runs_out() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let upstream = Upstream::start([says("well")]).await;
        write(&file, &config(&upstream, "[server]\nmax_memory = \"1MiB\"\n"));
        let server = serving(&file).await;
        let began = Instant::now();
        let (status, body) = loop {
            let (status, body) = server.get("/readyz").await;
            if status != 200 || began.elapsed() > PATIENCE {
                break (status, body);
            }
            sleep(Duration::from_millis(50)).await;
        };
        assert!(status == 503 && body.contains("out of memory"), "{status} {body}");
        let (status, _) = server.post(JSON, "{}").await;
        assert_eq!((status, upstream.calls()), (503, 0));
    })
    .await;
}

#[tokio::test]
async fn requests_whose_bodies_never_come_hold_up_nobody() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let upstream = Upstream::start([says("well")]).await;
        write(&file, &config(&upstream, "[server]\nmax_requests = 4\nqueue = 1\n"));
        let server = serving(&file).await;
        let mut half = Vec::new();
        for _ in 0..40 {
            let mut stream = tokio::net::TcpStream::connect(&server.address).await.expect("a connection");
            let head =
                format!("POST /mcp HTTP/1.1\r\nhost: {}\r\n{JSON}content-length: 1000\r\n\r\n{{", server.address);
            tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.expect("it reads");
            half.push(stream);
        }
        for call in 0..20 {
            assert_eq!(asked(&server, call).await["text"], "well");
        }
    })
    .await;
}

#[tokio::test]
async fn answers_of_another_backend_under_the_same_name_are_not_remembered() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        let (old, new) = (Upstream::start([says("old")]).await, Upstream::start([says("new")]).await);
        write(&file, &config(&old, ""));
        let server = serving(&file).await;
        let arguments = json!({"image": example("qr.png"), "prompt": "What?"});
        let call = json!({"name": "analyze_image", "arguments": arguments});
        let text = |answer: Value| answer["result"]["structuredContent"]["text"].clone();
        assert_eq!(text(server.call("tools/call", call.clone()).await), "old");
        write(&file, &config(&new, ""));
        server.signal("HUP");
        assert!(becomes(&server, "new", Duration::from_secs(2)).await);
        assert_eq!(text(server.call("tools/call", call).await), "new");
    })
    .await;
}

#[tokio::test]
async fn a_file_that_vanishes_leaves_what_it_said_in_service() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("visiongate");
        std::fs::create_dir(&home).expect("a folder");
        let upstream = Upstream::start([says("well")]).await;
        let file = home.join("config.toml");
        write(&file, &config(&upstream, ""));
        let server = Server::start(&[("XDG_CONFIG_HOME", folder.path().display().to_string())]).await;
        assert!(becomes(&server, "well", PATIENCE).await);
        std::fs::remove_file(&file).expect("it was there");
        server.signal("HUP");
        sleep(Duration::from_millis(1500)).await;
        assert_eq!(asked(&server, 1).await["text"], "well");
    })
    .await;
}

#[tokio::test]
async fn a_key_in_a_file_is_read_anew_when_the_file_changes() {
    locally(async {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, key) = (folder.path().join("config.toml"), folder.path().join("key"));
        let upstream = Upstream::start([says("well")]).await;
        write(&key, "first-key");
        let in_file = format!("key = {{ file = '{}' }}", key.display());
        write(&file, &config(&upstream, "").replace("key = \"none\"", &in_file));
        let server = serving(&file).await;
        assert_eq!(asked(&server, 1).await["text"], "well");
        write(&key, "other-key");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) {
            asked(&server, 1).await;
            if upstream.received().last().is_some_and(|last| last.headers.contains("other-key")) {
                return;
            }
        }
        panic!("the key was not read anew");
    })
    .await;
}
