//! Long runs as real processes: batches and evaluations that are killed, resumed, limited and refused.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::sleep;
use vision_providers::testkit::{Play, Received, Upstream, image};

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
fn number(received: &Received) -> String {
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
async fn what_is_wrong_with_a_set_is_said_before_anybody_is_asked() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "").await;
        let good = json!({"image": example("qr.png"), "prompt": "Number 1?", "expected": "1"});
        for (name, line, said) in [
            ("metric.jsonl", json!({"image": "a.png", "metric": "anlss", "expected": "x"}), "did you mean `anls`?"),
            ("truth.jsonl", json!({"image": "a.png", "metric": "exact"}), "needs an expected text"),
            ("field.jsonl", json!({"image": "a.png", "expcted": "x"}), "unknown field"),
        ] {
            stage.write(name, [good.clone(), line]);
            let (code, _, err) = stage.run(&["eval", name, "--models", "a/x", "--out", "run"]).await;
            assert!(code == Some(2) && err.contains("line 2") && err.contains(said), "{err}");
        }
        stage.write("set.jsonl", [good]);
        for (models, said) in [
            ("a/x,a/x", "named twice"),
            ("a/\u{1b}x\u{202e},a/\u{1b}x\u{202e}", "`a/x` is named twice"),
            ("nobody/x", "nobody"),
        ] {
            let (code, _, err) = stage.run(&["eval", "set.jsonl", "--models", models, "--out", "run"]).await;
            assert!(code == Some(2) && err.contains(said), "{err}");
        }
        let (code, out, _) =
            stage.run(&["eval", "set.jsonl", "--models", "a/m", "--out", "run", "--dry-run", "--json"]).await;
        let foretold: Value = serde_json::from_str(&out).expect("one document");
        assert_eq!((code, &foretold["models"][0]["calls"]), (Some(0), &json!(1)), "{foretold}");
        assert!(foretold["models"][0]["max_cost_usd"].as_f64().is_some_and(|most| most > 0.001), "{foretold}");
        for (condition, judge, said) in [
            ("cer=0.1", None, "name one of score, anls, "),
            ("judged=0.5", None, "name who judges with --judge"),
            ("cer=0.1", Some("a/judge"), "judged, "),
        ] {
            for option in ["--fail-under", "--max-regression"] {
                let judge = judge.into_iter().flat_map(|judge| ["--judge", judge]);
                let args = ["eval", "set.jsonl", "--models", "a/x,a/y", "--out", "run", option, condition];
                let (code, _, err) = stage.run(&args.into_iter().chain(judge).collect::<Vec<_>>()).await;
                assert!(code == Some(2) && err.contains("is measured by") && err.contains(said), "{err}");
            }
        }
        assert_eq!(stage.upstream.calls(), 0);
        assert!(!stage.path("run").exists(), "nothing is written either");
        std::fs::create_dir(stage.path("run")).expect("a folder");
        stage.write("run/results.jsonl", []);
        let (code, _, err) = stage.run(&["eval", "no-such-set.jsonl", "--models", "a/x", "--out", "run"]).await;
        assert!(code == Some(2) && err.contains("there is a run already") && err.contains("--resume"), "{err}");
    })
    .await;
}

/// A vendor with models of known accuracy: `pN` answers rightly to N of a hundred questions.
fn planted() -> Play {
    Play::decide(|received, _| {
        let said = number(received);
        let (model, number) = said.split_once(' ').expect("both");
        let share: u32 =
            model.trim_start_matches('p').split('-').next().and_then(|it| it.parse().ok()).expect("a share");
        let salt = if model.ends_with("-b") { 7919 } else { 104_729 };
        let draw = number.parse::<u32>().expect("a number").wrapping_mul(2_654_435_761).wrapping_add(salt) >> 8;
        let right = draw % 100 < share;
        let text = if right { number.to_owned() } else { "I cannot tell.".to_owned() };
        Play::json(200, &completion(&text))
    })
}

#[tokio::test]
async fn models_of_known_accuracy_are_put_in_their_order_and_conditions_hold() {
    locally(async {
        let stage = Stage::new(planted(), "").await;
        for mark in 0..200 {
            let picture = image(16, 16, mark);
            std::fs::write(stage.path(&format!("{mark}.png")), picture.bytes()).expect("a picture");
        }
        let item = |number: u32| {
            json!({"id": number.to_string(), "image": format!("{number}.png"), "prompt": format!("Number {number}?"),
                "expected": number.to_string(), "metric": "exact", "tags": [if number.is_multiple_of(2) { "even" } else { "odd" }]})
        };
        stage.write("set.jsonl", (0..200).map(item));
        let models = "a/p50,a/p90,a/p90-b,a/p20";
        let args = ["eval", "set.jsonl", "--models", models, "--out", "run", "--json", "-q"];
        let (code, out, err) = stage.run(&args).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        assert_eq!(code, Some(0), "{err}");
        assert_eq!((&summary["order"][2], &summary["order"][3]), (&json!("a/p50"), &json!("a/p20")), "{summary}");
        let report = std::fs::read_to_string(stage.path("run/report.html")).expect("a report");
        assert!(report.contains("not distinguishable") && report.contains("a/p90-b"));
        let table = std::fs::read_to_string(stage.path("run/summary.csv")).expect("a table");
        assert_eq!(table.lines().count(), 5, "{table}");
        let groups = summary["not_distinguishable"].as_array().expect("groups");
        assert_eq!(groups[0].as_array().map(Vec::len), Some(2), "the two equal ones: {groups:?}");
        for (place, truth) in [(0, 0.5), (1, 0.9), (2, 0.9), (3, 0.2)] {
            let score = &summary["models"][place]["score"];
            let (low, high) = (score["low"].as_f64().expect("low"), score["high"].as_f64().expect("high"));
            assert!(low <= truth && truth <= high, "{place}: {score}");
        }
        assert_eq!(summary["images"], json!(200));
        let again = [&args[..], &["--resume", "--fail-under", "score=0.4", "--max-regression", "exact=0.1"]].concat();
        let calls = stage.upstream.calls();
        let (code, out, err) = stage.run(&again).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        assert_eq!((code, stage.upstream.calls()), (Some(1), calls), "nobody is asked for conditions");
        let unmet: Vec<&str> = summary["failed"].as_array().expect("conditions").iter().filter_map(Value::as_str).collect();
        assert_eq!(unmet.len(), 2, "{unmet:?}");
        assert!(unmet.iter().all(|why| why.starts_with("a/p20: ")), "{unmet:?}");
        let against = ["eval", "set.jsonl", "--models", models, "--out", "next", "--against", "run",
            "--max-regression", "score=0.01", "-q"];
        let (code, _, err) = stage.run(&against).await;
        assert_eq!(code, Some(0), "the same models are no worse than before: {err}");
    })
    .await;
}

#[tokio::test]
async fn a_judge_decides_is_marked_and_is_not_asked_twice() {
    locally(async {
        let judges = Play::decide(|received, _| {
            let body = received.body.to_string();
            if received.body["model"] == "judge" {
                let right = body.contains("given_answer\\\\\\\":\\\\\\\"twenty")
                    || body.contains("\\\"given_answer\\\":\\\"twenty");
                return Play::json(200, &completion(&json!({"reason": "It says so.", "correct": right}).to_string()));
            }
            Play::json(200, &completion(if received.body["model"] == "good" { "twenty" } else { "thirty" }))
        });
        let stage = Stage::new(judges, "").await;
        stage.write("set.jsonl", (0..3).map(|number| {
            json!({"image": example("qr.png"), "prompt": format!("How many, {number}?"), "expected": "20"})
        }));
        let args = ["eval", "set.jsonl", "--models", "a/good,a/bad", "--judge", "a/judge", "--out", "run", "--json"];
        let (code, out, err) = stage.run(&args).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        let score = |place: usize| summary["models"][place]["metrics"]["judged"]["mean"].as_f64();
        assert_eq!((code, score(0), score(1)), (Some(0), Some(1.0), Some(0.0)), "{summary}");
        assert!(lines(&stage.path("run/results.jsonl")).iter().all(|line| line["judged"]["reason"] == "It says so."));
        let calls = stage.upstream.calls();
        assert_eq!(calls, 12);
        let (code, _, err) = stage.run(&[&args[..], &["--resume"]].concat()).await;
        assert_eq!((code, stage.upstream.calls()), (Some(0), calls), "{err}");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_set_is_no_models_fault_and_fails_the_run() {
    locally(async {
        let stage = Stage::new(Play::json(200, &completion("25.41")), "").await;
        std::fs::write(stage.path("broken.png"), b"\x89PNG\r\n\x1a\n and no more").expect("a file");
        // Its header can be read, and its pixels cannot.
        std::fs::copy(example("qr.png"), stage.path("cut.png")).expect("a copy");
        let cut = std::fs::File::options().write(true).open(stage.path("cut.png")).expect("a file");
        cut.set_len(600).expect("it is cut");
        let images = [example("qr.png"), "missing.png".into(), "broken.png".into(), "cut.png".into()];
        stage.write(
            "set.jsonl",
            images.into_iter().map(|image| json!({"image": image, "prompt": "Total?", "expected": "25.41"})),
        );
        let args = ["eval", "set.jsonl", "--models", "a/m,a/n", "--out", "run"];
        let (code, out, err) = stage.run(&args).await;
        assert_eq!((code, stage.upstream.calls()), (Some(1), 2), "{err}");
        assert!(err.contains("warning: 3 questions could not be put to every model"), "{err}");
        assert!(err.contains("a/n: the cost of 0 of 1 calls is known"), "{err}");
        let row = out.lines().find(|line| line.starts_with("a/m")).expect("a row");
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert!(cells[1] == "1.000" && cells[4] == "1" && cells[6] == "0/1", "{out}");
        assert!(out.contains("what this set can show: Nothing."), "{out}");
        let (_, out, err) = stage.run(&[&args[..], &["--resume", "--json"]].concat()).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        let model = &summary["models"][1];
        assert_eq!((&model["score"]["mean"], &model["error_rate"]), (&json!(1.0), &json!(0.0)), "{model}");
        assert_eq!((&model["not_askable"], &summary["questions_not_askable"]), (&json!(3), &json!(3)), "{summary}");
        let versus = &model["versus_baseline"];
        assert!(versus["detectable"].is_null() && versus["detectable_why"].is_string(), "{versus}");
        let report = std::fs::read_to_string(stage.path("run/report.html")).expect("a report");
        assert!(report.contains("Could not be asked"));
    })
    .await;
}

#[tokio::test]
async fn an_earlier_run_about_other_pictures_is_not_compared_and_no_condition_passes_for_that() {
    locally(async {
        let stage = Stage::new(Play::json(200, &completion("25.41")), "").await;
        let picture = stage.path("a.png");
        stage.write("set.jsonl", [json!({"image": "a.png", "prompt": "Total?", "expected": "25.41"})]);
        let run = |out: &'static str| ["eval", "set.jsonl", "--models", "a/m", "--json", "--out", out];
        let against = ["--against", "first", "--max-regression", "score=0.5"];
        std::fs::copy(example("qr.png"), &picture).expect("a copy");
        let (code, _, err) = stage.run(&run("first")).await;
        assert_eq!(code, Some(0), "{err}");
        let (code, out, _) = stage.run(&[&run("same")[..], &against].concat()).await;
        let summary: Value = serde_json::from_str(&out).expect("one document");
        assert_eq!((code, &summary["warnings"]), (Some(0), &json!([])), "{summary}");
        std::fs::copy(example("receipt.png"), &picture).expect("a copy");
        let (code, out, _) = stage.run(&[&run("other")[..], &against].concat()).await;
        let summary: Value = serde_json::from_str(&out).expect("one document");
        let failed = "a/m: no question can be compared by score with the earlier run";
        assert_eq!((code, &summary["failed"]), (Some(1), &json!([failed])), "{summary}");
        let warned = summary["warnings"][0].as_str().expect("a warning");
        assert!(warned.starts_with("1 of 1 questions was about other pictures"), "{warned}");
        let report = std::fs::read_to_string(stage.path("other/report.html")).expect("a report");
        assert!(report.contains("about other pictures in the earlier run"));
    })
    .await;
}

#[tokio::test]
async fn a_judge_that_does_not_answer_leaves_a_run_incomplete_and_another_picture_is_judged_anew() {
    locally(async {
        let judges = Play::decide(|received, place| {
            if received.body["model"] == "judge" {
                let verdict = json!({"reason": "It says so.", "correct": true}).to_string();
                return if place == 1 {
                    Play::json(400, &json!({"error": {"message": "no"}}))
                } else {
                    Play::json(200, &completion(&verdict))
                };
            }
            Play::json(200, &completion("twenty"))
        });
        let stage = Stage::new(judges, "").await;
        let picture = stage.path("a.png");
        std::fs::copy(example("qr.png"), &picture).expect("a copy");
        stage.write("set.jsonl", [json!({"image": "a.png", "prompt": "How many?", "expected": "20"})]);
        let args = ["eval", "set.jsonl", "--models", "a/m", "--judge", "a/judge", "--out", "run", "--json", "--resume"];
        let (code, out, err) = stage.run(&args).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        assert_eq!((code, &summary["answers_not_judged"]), (Some(1), &json!(1)), "{summary}");
        let reason = &summary["reasons"][0];
        assert_eq!((&reason["asked"], &reason["code"]), (&json!("judge"), &json!("INVALID_INPUT")), "{summary}");
        let report = std::fs::read_to_string(stage.path("run/report.html")).expect("a report");
        assert!(report.contains("<strong>Incomplete.</strong> 1\u{a0}answer has no verdict"));
        for (calls, other) in [(3, false), (3, false), (5, true)] {
            if other {
                std::fs::copy(example("receipt.png"), &picture).expect("a copy");
            }
            let (code, _, err) = stage.run(&args).await;
            assert_eq!((code, stage.upstream.calls()), (Some(0), calls), "{err}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_judge_that_is_stopped_is_told_of_and_failures_alone_decide_nothing() {
    locally(async {
        let answers = Play::decide(|received, _| {
            let text = received.body.to_string();
            if text.contains("Number 0") || text.contains("Number 1") {
                return Play::json(400, &json!({"error": {"message": "no \u{1b}such\u{202e} thing"}}));
            }
            Play::json(200, &completion("twenty"))
        });
        let dear = "[[providers.a.models]]\nid = \"judge\"\ntokens = { rule = \"flat\", tokens = 1000 }\n\
             price = { input = 100000.0, output = 2.0 }\n";
        let stage = Stage::new(answers, dear).await;
        stage.write(
            "set.jsonl",
            (0..6).map(
                |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?"), "expected": "20"}),
            ),
        );
        let args = [
            "eval",
            "set.jsonl",
            "--models",
            "a/m",
            "--judge",
            "a/judge",
            "--out",
            "run",
            "--max-cost",
            "1",
            "--fail-under",
            "score=0",
        ];
        let (code, out, err) = stage.run(&args).await;
        assert_eq!(code, Some(1), "{err}");
        for said in [
            "stopped: the next question might have cost more",
            "2 calls failed with INVALID_INPUT, the first: ",
            "4 verdicts not asked for",
            "4 answers have no verdict",
            "failed: a/m: score is not known while verdicts are missing",
        ] {
            assert!(err.contains(said), "{said}: {err}");
        }
        assert!(!err.contains(['\u{1b}', '\u{202e}']) && out.contains("a/m    -"), "{out} {err}");
        let report = std::fs::read_to_string(stage.path("run/report.html")).expect("a report");
        assert!(report.contains("--max-cost leaves. 4\u{a0}verdicts are missing.") && !report.contains("0\u{a0}calls"));
        let (code, out, err) = stage.run(&[&args[..], &["--resume", "--json"]].concat()).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        assert_eq!(
            (code, &summary["stopped"], &summary["answers_not_judged"]),
            (Some(1), &json!("max_cost"), &json!(4))
        );
        assert_eq!((&summary["models"][0]["score"], &summary["reasons"][0]["asked"]), (&Value::Null, &json!("models")));
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
