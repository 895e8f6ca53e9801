//! Evaluations as real processes: sets, judges, conditions and earlier runs.

use serde_json::{Value, json};
use vision_providers::testkit::{Play, image};

use super::http::locally;
use super::runs::{Stage, answers_by_number, lines, number};
use super::{completion, example};

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
