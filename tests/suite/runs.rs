//! Long runs as real processes: batches and evaluations that are killed, resumed and told to end; and comparisons.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;
use vision_providers::testkit::{Play, Received, Upstream};

use super::http::locally;
use super::{completion, config_file, example};

/// How long a question is being answered.
const ANSWERING: Duration = Duration::from_millis(20);

/// A vendor that answers every question by its number, and a configuration with models at it.
pub(super) struct Stage {
    folder: TempDir,
    config: PathBuf,
    pub(super) upstream: Upstream,
}

impl Stage {
    pub(super) async fn new(play: Play, more: &str) -> Self {
        let upstream = Upstream::start([play]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let toml = format!(
            "default = \"a\"\nfallback = []\n[providers.a]\nkind = \"openai-compatible\"\nmodel = \"m\"\nkey = \"none\"\n\
             base_url = \"{}\"\n[[providers.a.models]]\nid = \"m\"\ntokens = {{ rule = \"flat\", tokens = 1000 }}\n\
             price = {{ input = 1.0, output = 2.0 }}\n{more}",
            upstream.url("/v1")
        );
        let config = config_file(folder.path(), &toml);
        Self { folder, config, upstream }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, lines: impl IntoIterator<Item = Value>) {
        let text = lines.into_iter().map(|line| line.to_string() + "\n").collect::<String>();
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_visiongate"));
        command.args(args).current_dir(self.folder.path()).env("VISIONGATE_CONFIG", &self.config);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    pub(super) async fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(args).output().await.expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// The numbers of the questions that were asked, in their order.
    fn asked(&self) -> Vec<String> {
        self.upstream.received().iter().map(number).collect()
    }
}

/// Whole lines of a file; a torn one does not count.
pub(super) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The number in a question, with the model that was asked.
pub(super) fn number(received: &Received) -> String {
    let body = received.body.to_string();
    let digits = body.split("Number ").nth(1).expect("a number");
    let number: String = digits.chars().take_while(char::is_ascii_digit).collect();
    format!("{} {number}", received.body["model"].as_str().expect("a model"))
}

pub(super) fn answers_by_number() -> Play {
    Play::decide(|received, _| {
        let said = number(received);
        Play::json(200, &completion(said.split(' ').next_back().expect("a number"))).after(ANSWERING)
    })
}

/// Kills a command at twenty random moments, lets it end, and checks that nothing that was written was paid for again.
/// `key` says of a line which call it is of.
async fn killed_twenty_times(stage: &Stage, args: &[&str], out: &str, key: impl Fn(&Value) -> String) {
    let out = stage.path(out);
    let mut random = fastrand::Rng::with_seed(5);
    let mut resumed: Vec<&str> = args.to_vec();
    // How many calls there had been when a process was killed, and which had been written by then.
    let mut written: Vec<(usize, HashSet<String>)> = Vec::new();
    for _ in 0..20 {
        let mut child = stage.command(&resumed).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        sleep(Duration::from_millis(random.u64(60..400))).await;
        child.kill().await.expect("it is killed");
        written.push((stage.upstream.calls(), lines(&out).iter().map(&key).collect()));
        if out.exists() && resumed.len() == args.len() {
            resumed.push("--resume");
        }
    }
    let early = written.iter().filter(|(calls, _)| *calls > 0).count();
    assert!(early > 3, "the run was killed while it went on: {written:?}");
    let (code, _, err) = stage.run(&resumed).await;
    assert_eq!(code, Some(0), "{err}");
    let asked = stage.asked();
    for (calls, written) in &written {
        let again: Vec<&String> = asked.iter().skip(*calls).filter(|call| written.contains(*call)).collect();
        assert!(again.is_empty(), "paid for and written, and asked again: {again:?}");
    }
}

#[tokio::test]
async fn a_batch_that_is_killed_twenty_times_loses_and_repeats_nothing() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "").await;
        let question = |number| json!({"id": format!("m {number}"), "image": example("qr.png"), "prompt": format!("Number {number}?")});
        stage.write("questions.jsonl", (0..400).map(question));
        let args = ["batch", "questions.jsonl", "--out", "out.jsonl", "--jobs", "4", "-q"];
        killed_twenty_times(&stage, &args, "out.jsonl", |line| line["id"].as_str().expect("an id").to_owned()).await;
        let lines = lines(&stage.path("out.jsonl"));
        let said: HashMap<&str, &Value> =
            lines.iter().map(|line| (line["id"].as_str().expect("an id"), &line["text"])).collect();
        assert_eq!((lines.len(), said.len()), (400, 400), "every item once");
        for number in 0..400 {
            assert_eq!(said[format!("m {number}").as_str()], &json!(number.to_string()));
        }
    })
    .await;
}

#[tokio::test]
async fn an_evaluation_that_is_killed_twenty_times_loses_and_repeats_nothing() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "").await;
        let item = |number: u32| {
            json!({"id": number.to_string(), "image": example("qr.png"), "prompt": format!("Number {number}?"),
                "expected": number.to_string(), "metric": "exact"})
        };
        stage.write("set.jsonl", (0..150).map(item));
        let args = ["eval", "set.jsonl", "--models", "a/x,a/y", "--out", "run", "--jobs", "4", "-q"];
        let key = |line: &Value| {
            let model = line["model_asked"].as_str().expect("a model").trim_start_matches("a/");
            format!("{model} {}", line["item"].as_str().expect("an item"))
        };
        killed_twenty_times(&stage, &args, "run/results.jsonl", key).await;
        let lines = lines(&stage.path("run/results.jsonl"));
        let calls: HashSet<String> = lines.iter().map(key).collect();
        assert_eq!((lines.len(), calls.len()), (300, 300), "every call once");
        assert!(lines.iter().all(|line| line["score"] == json!(1.0)), "{}", lines[0]);
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_is_told_to_end_waits_for_what_was_asked() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "").await;
        let question = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?")});
        stage.write("questions.jsonl", (0..2000).map(question));
        let args = ["batch", "questions.jsonl", "--out", "out.jsonl", "--jobs", "3", "--json"];
        let child = stage.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        while stage.upstream.calls() < 20 {
            sleep(Duration::from_millis(10)).await;
        }
        let process = child.id().expect("a process").to_string();
        Command::new("kill").args(["-TERM", &process]).status().await.expect("told");
        let output = child.wait_with_output().await.expect("it ends");
        let summary: Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!((output.status.code(), &summary["stopped"]), (Some(1), &json!("told")), "{summary}");
        let lines = lines(&stage.path("out.jsonl"));
        assert_eq!(lines.len(), stage.upstream.calls(), "every call that was begun is written");
        assert_eq!(summary["not_asked"].as_u64(), Some(2000 - lines.len() as u64));
    })
    .await;
}

#[tokio::test]
async fn why_questions_failed_is_said_once_for_each_reason() {
    let refused = || Play::json(400, &json!({"error": {"message": "no such parameter"}}));
    let stage = Stage::new(Play::decide(move |_, _| refused()), "").await;
    let image = example("qr.png");
    let questions =
        (0..3).map(|number| json!({"id": number.to_string(), "image": image, "prompt": format!("Number {number}")}));
    stage.write("set.jsonl", questions.chain([json!({"id": "text", "image": "set.jsonl", "prompt": "Number 9"})]));
    let (code, _, err) = stage.run(&["batch", "set.jsonl", "--out", "out.jsonl", "--jobs", "1"]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("3 failed with INVALID_INPUT, the first: a/m: ") && err.contains("no such parameter"),
        "{err}"
    );
    assert!(err.contains("1 failed with UNSUPPORTED_FORMAT: this is not an image"), "{err}");
    let (_, out, _) = stage.run(&["batch", "set.jsonl", "--out", "out.jsonl", "--resume", "--json"]).await;
    let summary: Value = serde_json::from_str(&out).expect("JSON");
    let reasons = summary["reasons"].as_array().expect("reasons");
    let failed =
        |code: &str| reasons.iter().find(|reason| reason["code"] == code).map(|reason| reason["failed"].clone());
    assert_eq!((failed("INVALID_INPUT"), failed("UNSUPPORTED_FORMAT")), (Some(json!(3)), Some(json!(1))), "{summary}");
}

#[tokio::test]
async fn equal_files_are_asked_about_once_whatever_they_are_called() {
    locally(async {
        let says = Play::json(200, &completion("Seen.")).after(ANSWERING);
        let stage = Stage::new(says, "[cache]\ncapacity = \"0B\"\n").await;
        let folder = stage.path("in");
        std::fs::create_dir_all(folder.join("deep/.hidden")).expect("folders");
        for name in ["a.png", "b.PNG", "deep/c.png", "deep/.hidden/d.png", "note.txt"] {
            std::fs::copy(example("qr.png"), folder.join(name)).expect("a copy");
        }
        std::fs::copy(example("receipt.png"), folder.join("other.png")).expect("a copy");
        let args = ["batch", "in", "--out", "out.jsonl", "-p", "What?"];
        let (code, _, err) = stage.run(&args).await;
        assert_eq!((code, stage.upstream.calls()), (Some(0), 2), "{err}");
        let found = lines(&stage.path("out.jsonl"));
        let ids: HashSet<&str> = found.iter().filter_map(|line| line["id"].as_str()).collect();
        assert_eq!(ids, HashSet::from(["in/a.png", "in/b.PNG", "in/deep/c.png", "in/other.png"]));
        let same: Vec<&Value> = found.iter().filter(|line| line.get("same_as").is_some()).collect();
        assert_eq!(same.len(), 2);
        assert!(same.iter().all(|line| line["cost_usd"] == json!(0.0) && line["text"] == "Seen."), "{same:?}");
        // Nor in the next run.
        std::fs::copy(example("qr.png"), folder.join("late.png")).expect("a copy");
        let resumed = [&args[..], &["--resume"]].concat();
        let (code, _, err) = stage.run(&resumed).await;
        assert_eq!((code, stage.upstream.calls(), lines(&stage.path("out.jsonl")).len()), (Some(0), 2, 5), "{err}");
        let (code, _, err) = stage.run(&["batch", "in", "--out", "out.jsonl", "-p", "Else?", "--resume"]).await;
        assert!(code == Some(2) && err.contains("was asked something else"), "{err}");
    })
    .await;
}

#[tokio::test]
async fn a_comparison_that_is_told_to_end_shows_what_came() {
    locally(async {
        let answers = Play::decide(|received, _| match received.body["model"].as_str() {
            Some("quick") => Play::json(200, &completion("TOTAL 25.41")),
            _ => Play::json(200, &completion("too late")).after(Duration::from_mins(1)),
        });
        let stage = Stage::new(answers, "").await;
        let args = ["compare", &example("receipt.png"), "--models", "a/slow,a/quick", "-p", "Total?", "--json"];
        let child = stage.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
        while stage.upstream.calls() < 2 {
            sleep(Duration::from_millis(10)).await;
        }
        // The quick answer is on its way.
        sleep(Duration::from_secs(2)).await;
        Command::new("kill").args(["-INT", &child.id().expect("a process").to_string()]).status().await.expect("told");
        let output = child.wait_with_output().await.expect("it ends");
        let value: Value = serde_json::from_slice(&output.stdout).expect("one document");
        assert_eq!((output.status.code(), &value["answers"][1]["text"]), (Some(1), &json!("TOTAL 25.41")), "{value}");
        assert_eq!(value["answers"][0]["error"]["code"], "CANCELLED", "{value}");
    })
    .await;
}

#[tokio::test]
async fn a_comparison_shows_two_answers_and_one_error_and_is_done() {
    locally(async {
        let answers = Play::decide(|received, _| match received.body["model"].as_str() {
            Some("one") => Play::json(200, &completion("TOTAL 25.41")),
            Some("two") => Play::json(200, &completion("TOTAL 25.47")),
            _ => Play::json(400, &json!({"error": {"message": "no such thing"}})),
        });
        let stage = Stage::new(answers, "").await;
        let receipt = example("receipt.png");
        let args = ["compare", &receipt, "--models", "a/one,a/two,a/broken", "-p", "Total?", "--expect", "TOTAL 25.41"];
        let (code, out, err) = stage.run(&[&args[..], &["--json"]].concat()).await;
        let value: Value = serde_json::from_str(&out).expect(&err);
        assert_eq!(
            (code, &value["answers"][0]["text"], &value["answers"][0]["score"]),
            (Some(0), &json!("TOTAL 25.41"), &json!(1.0))
        );
        assert_eq!(value["answers"][1]["text"], "TOTAL 25.47");
        assert_eq!(value["answers"][2]["error"]["code"], "INVALID_INPUT", "{value}");
        assert_eq!(value["agreement"]["pairs"][0]["differences"], json!([{"texts": ["25.41", "25.47"]}]));
        let (code, out, _) = stage.run(&[&args[..], &["--html", "seen.html"]].concat()).await;
        let html = std::fs::read_to_string(stage.path("seen.html")).expect("a report");
        assert!(
            html.contains("<ins>25.47</ins>") && html.contains("INVALID_INPUT") && html.contains("data:image/jpeg"),
            "{html}"
        );
        assert!(code == Some(0) && out.contains("a/one / a/two: `25.41` / `25.47`"), "{out}");
        let calls = stage.upstream.calls();
        let priced = ["compare", &receipt, "--models", "a/m,a/m2", "-p", "Total?", "--max-cost", "0.001"];
        let (code, _, err) = stage.run(&priced).await;
        assert!(code == Some(1) && err.contains("BUDGET_EXCEEDED"), "{err}");
        assert_eq!(stage.upstream.calls(), calls, "nobody was asked");
        let (code, _, _) = stage.run(&["compare", &receipt, "--models", "a/broken,a/worse", "-p", "Total?"]).await;
        assert_eq!(code, Some(1), "no answer at all is no comparison");
    })
    .await;
}

#[tokio::test]
async fn a_picture_that_is_another_one_now_is_asked_about_again() {
    locally(async {
        let stage = Stage::new(Play::json(200, &completion("25.41")), "").await;
        let picture = stage.path("a.png");
        std::fs::copy(example("qr.png"), &picture).expect("a copy");
        stage.write("set.jsonl", [json!({"image": "a.png", "prompt": "Total?", "expected": "25.41"})]);
        let batch = ["batch", "a.png", "--out", "out.jsonl", "-p", "Total?", "-q", "--resume"];
        let eval = ["eval", "set.jsonl", "--models", "a/m", "--out", "run", "-q", "--resume"];
        for (place, calls) in [2, 2, 4].into_iter().enumerate() {
            if place == 2 {
                std::fs::copy(example("receipt.png"), &picture).expect("a copy");
            }
            for args in [&batch[..], &eval[..]] {
                let (code, _, err) = stage.run(args).await;
                assert_eq!(code, Some(0), "{err}");
            }
            assert_eq!(stage.upstream.calls(), calls, "run {place}");
        }
        assert_eq!(lines(&stage.path("out.jsonl")).len(), 1);
        assert_eq!(lines(&stage.path("run/results.jsonl")).len(), 1);
    })
    .await;
}
