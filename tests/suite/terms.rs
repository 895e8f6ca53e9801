//! What long runs are held to: their money, their turns, their files and their patience.

use std::time::Duration;

use serde_json::{Value, json};
use vision_providers::testkit::Play;

use super::http::locally;
use super::runs::{Stage, answers_by_number, lines};
use super::{completion, example};

#[tokio::test]
async fn a_run_ends_before_it_costs_more_than_it_may() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "").await;
        let question = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?")});
        stage.write("questions.jsonl", (0..50).map(question));
        // An answer costs 0.0014 by its usage, and at most 0.0021 or so with 500 tokens of output.
        let args =
            ["batch", "questions.jsonl", "--out", "out.jsonl", "--max-tokens", "500", "--max-cost", "0.01", "--json"];
        let (code, out, err) = stage.run(&args).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        let cost = summary["cost_usd"].as_f64().expect("a cost");
        assert_eq!((code, &summary["stopped"]), (Some(1), &json!("max_cost")), "{summary}");
        assert!(cost <= 0.01 && cost > 0.007, "{summary}");
        assert_eq!(stage.upstream.calls(), lines(&stage.path("out.jsonl")).len());
        let more = [&args[..6], &["--resume", "--max-cost", "1", "--json"]].concat();
        let (code, out, err) = stage.run(&more).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        assert_eq!((code, stage.upstream.calls()), (Some(0), 50), "{summary}");
        assert!((summary["cost_usd"].as_f64().expect("a cost") - 50.0 * 0.001_402).abs() < 1e-9, "{summary}");
    })
    .await;
}

#[tokio::test]
async fn a_wrong_key_ends_a_run_after_a_few_questions() {
    locally(async {
        let refuses = Play::json(401, &json!({"error": {"message": "wrong key"}}));
        let stage = Stage::new(refuses, "").await;
        let question = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?")});
        stage.write("questions.jsonl", (0..500).map(question));
        let (code, _, err) = stage.run(&["batch", "questions.jsonl", "--out", "out.jsonl", "--jobs", "2"]).await;
        assert_eq!(code, Some(1));
        assert!(err.contains("stopped: one question after another fails alike"), "{err}");
        assert!(lines(&stage.path("out.jsonl")).len() < 20, "{err}");
    })
    .await;
}

#[tokio::test]
async fn answers_that_come_to_nothing_are_paid_for_too() {
    locally(async {
        let stage = Stage::new(Play::json(200, &completion("")), "").await;
        let question = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?")});
        stage.write("questions.jsonl", (0..40).map(question));
        let args = ["batch", "questions.jsonl", "--out", "out.jsonl", "--max-tokens", "500", "--jobs", "1"];
        let limited = [&args[..], &["--max-cost", "0.01", "--json"]].concat();
        let billed = |calls: usize| f64::from(u32::try_from(calls).expect("few")) * 0.001_402;
        // A third run has to know what the lines have cost that the second one replaced.
        for more in [&[][..], &["--resume"], &["--resume"]] {
            let (code, out, err) = stage.run(&[&limited[..], more].concat()).await;
            let summary: Value = serde_json::from_str(&out).expect(&err);
            let cost = summary["cost_usd"].as_f64().expect("a cost");
            assert_eq!((code, &summary["stopped"]), (Some(1), &json!("max_cost")), "{summary}");
            assert!((cost - billed(stage.upstream.calls())).abs() < 1e-9 && cost <= 0.01, "{summary}");
            let lines = lines(&stage.path("out.jsonl"));
            assert!(lines.iter().all(|line| line["error"]["code"] == "EMPTY_RESPONSE"), "{lines:?}");
            assert_eq!(lines.len(), stage.upstream.calls(), "what failed is in the file until it is asked again");
        }
    })
    .await;
}

/// A schema for one member, and answers that follow it or do not.
fn total() -> Value {
    json!({"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]})
}

#[tokio::test]
async fn an_answer_that_is_asked_for_twice_is_within_the_limit_too() {
    locally(async {
        // Whatever is not asked for again is wrong.
        let stage = Stage::new(
            Play::decide(|received, _| {
                let again = received.body.to_string().contains("This answer cannot be used");
                Play::json(200, &completion(if again { "{\"total\": 9}" } else { "{\"sum\": 9}" }))
            }),
            "",
        )
        .await;
        let question =
            |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?"), "schema": total()});
        stage.write("questions.jsonl", (0..40).map(question));
        let args =
            ["batch", "questions.jsonl", "--out", "out.jsonl", "--max-tokens", "500", "--max-cost", "0.02", "--json"];
        let (code, out, err) = stage.run(&args).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        let cost = summary["cost_usd"].as_f64().expect("a cost");
        assert_eq!(
            (code, &summary["stopped"], &summary["failed"]),
            (Some(1), &json!("max_cost"), &json!(0)),
            "{summary}"
        );
        assert!(cost <= 0.02 && cost > 0.01, "{summary}");
        assert_eq!(stage.upstream.calls(), 2 * lines(&stage.path("out.jsonl")).len(), "each was asked for twice");
        stage.write("total.json", [total()]);
        let ask = ["compare", &example("qr.png"), "--models", "a/m,a/m2", "-p", "Total?", "--max-tokens", "500"];
        let calls = stage.upstream.calls();
        let (code, _, err) = stage.run(&[&ask[..], &["--schema", "total.json", "--max-cost", "0.006"]].concat()).await;
        assert!(code == Some(1) && err.contains("BUDGET_EXCEEDED"), "{err}");
        assert_eq!(stage.upstream.calls(), calls, "two answers of 0.0021 each, and each perhaps twice");
    })
    .await;
}

#[tokio::test]
async fn money_is_set_aside_for_everybody_who_may_be_asked() {
    locally(async {
        let more = "[[providers.a.models]]\nid = \"n\"\ntokens = { rule = \"flat\", tokens = 1000 }\n\
                    price = { input = 1.0, output = 2.0 }\n[aliases]\nsecond = \"a/n\"\n";
        let stage = Stage::new(
            Play::decide(|received, _| {
                let says = if received.body["model"] == "m" { "" } else { "9" };
                Play::json(200, &completion(says))
            }),
            more,
        )
        .await;
        let config = std::fs::read_to_string(stage.path("config.toml")).expect("a configuration");
        let config = config.replace("fallback = []", "fallback = [\"second\"]");
        std::fs::write(stage.path("config.toml"), config).expect("written");
        let question = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?")});
        stage.write("questions.jsonl", (0..40).map(question));
        let args = [
            "batch",
            "questions.jsonl",
            "--out",
            "out.jsonl",
            "--max-tokens",
            "500",
            "--jobs",
            "3",
            "--max-cost",
            "0.02",
            "--json",
        ];
        let (code, out, err) = stage.run(&args).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        let cost = summary["cost_usd"].as_f64().expect("a cost");
        assert_eq!((code, &summary["stopped"]), (Some(1), &json!("max_cost")), "{summary}");
        assert!(cost <= 0.02 && cost > 0.01, "{summary}");
        assert!(stage.upstream.calls() > lines(&stage.path("out.jsonl")).len(), "answers of no use were billed, too");
    })
    .await;
}

#[tokio::test]
async fn a_limit_refuses_what_has_no_price() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "[providers.b]\nkind = \"openai-compatible\"\nkey = \"none\"\nmodel = \"free\"\nbase_url = \"http://127.0.0.1:1/v1\"\n").await;
        stage.write("set.jsonl", [json!({"image": example("qr.png"), "prompt": "Number 1?", "expected": "1"})]);
        let args = ["eval", "set.jsonl", "--models", "a/m,b/free", "--out", "run"];
        let (code, _, err) = stage.run(&[&args[..], &["--max-cost", "1"]].concat()).await;
        assert!(code == Some(1) && err.contains("what `b/free` costs is not known"), "{err}");
        assert_eq!(stage.upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_has_no_time_for_hours_ends_a_run() {
    locally(async {
        let busy = Play::json(429, &json!({"error": {"message": "slow down"}})).header("retry-after", "3600");
        let stage = Stage::new(busy, "").await;
        let question = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?")});
        stage.write("questions.jsonl", (0..500).map(question));
        let (code, _, err) = stage.run(&["batch", "questions.jsonl", "--out", "out.jsonl", "--jobs", "2"]).await;
        assert!(code == Some(1) && err.contains("stopped: one question after another fails alike"), "{err}");
        assert!(lines(&stage.path("out.jsonl")).len() < 20, "{err}");
    })
    .await;
}

#[tokio::test]
async fn questions_that_wait_for_the_answer_of_another_are_in_nobodys_way() {
    locally(async {
        // The first answer comes when the other picture was asked about.
        let (asked, other) = tokio::sync::watch::channel(false);
        let stage = Stage::new(
            Play::decide(move |received, _| {
                let is_other = received.body.to_string().contains("Other?");
                if is_other {
                    asked.send_replace(true);
                }
                let wait = if is_other { Duration::ZERO } else { Duration::from_secs(2) };
                Play::json(200, &completion("Seen.")).after(wait)
            }),
            "[cache]\ncapacity = \"0B\"\n",
        )
        .await;
        let same = (0..8).map(|number| json!({"id": number, "image": example("qr.png"), "prompt": "Same?"}));
        let question = json!({"id": "other", "image": example("receipt.png"), "prompt": "Other?"});
        stage.write("questions.jsonl", same.chain([question]));
        let args = ["batch", "questions.jsonl", "--out", "out.jsonl", "--jobs", "2", "-q"];
        let (code, _, err) = stage.run(&args).await;
        assert_eq!((code, stage.upstream.calls(), *other.borrow()), (Some(0), 2, true), "{err}");
        assert_eq!(lines(&stage.path("out.jsonl"))[0]["id"], "other", "it was answered while the first was waited for");
    })
    .await;
}

#[tokio::test]
async fn waiting_for_a_turn_is_no_slowness_of_the_model() {
    locally(async {
        let pause = Duration::from_millis(60);
        let slow = Play::decide(move |_, _| Play::json(200, &completion("9")).after(pause));
        let stage = Stage::new(slow, "").await;
        let config = std::fs::read_to_string(stage.path("config.toml")).expect("a configuration");
        let limited = config.replace("key = \"none\"\n", "key = \"none\"\nlimit = { concurrency = 1 }\n");
        std::fs::write(stage.path("config.toml"), limited).expect("written");
        let item = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?"), "expected": "9"});
        stage.write("set.jsonl", (0..8).map(item));
        let args = ["eval", "set.jsonl", "--models", "a/m", "--out", "run", "--jobs", "8", "--json"];
        let (code, out, err) = stage.run(&args).await;
        assert_eq!(code, Some(0), "{err}");
        let longest = |pointer: &str| {
            let lines = lines(&stage.path("run/results.jsonl"));
            lines.iter().filter_map(|line| line.pointer(pointer)?.as_f64()).fold(0.0, f64::max)
        };
        let (whole, own) = (longest("/latency_ms"), longest("/route/attempts/0/latency_ms"));
        assert!(
            whole - own >= 5.0 * 60.0,
            "the last one waited for seven others: {whole} ms, of which {own} ms its own"
        );
        let summary: Value = serde_json::from_str(&out).expect("one document");
        let told = summary.pointer("/models/0/latency_ms/p99").and_then(Value::as_f64).expect("a latency");
        assert!(told <= own, "{summary}");
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn whatever_lies_in_a_folder_is_asked_about_or_told_of() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    locally(async {
        let stage = Stage::new(Play::json(200, &completion("Seen.")), "").await;
        let (folder, elsewhere) = (stage.path("in"), stage.path("elsewhere"));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::create_dir_all(&elsewhere).expect("a folder");
        std::fs::copy(example("qr.png"), folder.join("a.png")).expect("a copy");
        std::fs::copy(example("qr.png"), folder.join(OsStr::from_bytes(b"b\xff.png"))).expect("a copy");
        std::fs::copy(example("receipt.png"), elsewhere.join("c.png")).expect("a copy");
        symlink(elsewhere.join("c.png"), folder.join("c.png")).expect("a link");
        symlink(&elsewhere, folder.join("more")).expect("a link");
        symlink("nothing.png", folder.join("d.png")).expect("a link");
        let (code, out, err) = stage.run(&["batch", "in", "--out", "out.jsonl", "-p", "What?", "--json"]).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        assert_eq!((code, &summary["answered"]), (Some(0), &json!(2)), "{summary}");
        let told = summary["left_out"].to_string();
        for said in ["is not UTF-8", "in/more is a link to a folder", "in/d.png is a link to no file"] {
            assert!(told.contains(said) && err.contains(said), "{said}: {summary} {err}");
        }
        let (code, _, err) = stage.run(&["batch", "in/[x].png", "--out", "two.jsonl", "-p", "What?"]).await;
        assert!(code == Some(2) && err.contains("[[]"), "{err}");
    })
    .await;
}

#[tokio::test]
async fn one_model_is_not_compared_with_itself() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "[aliases]\nfast = \"a/m\"\n").await;
        stage.write("set.jsonl", [json!({"image": example("qr.png"), "prompt": "Number 1?", "expected": "1"})]);
        let (code, _, err) = stage.run(&["eval", "set.jsonl", "--models", "a/m,fast", "--out", "run"]).await;
        assert!(code == Some(2) && err.contains("`a/m` and `fast` are the same model"), "{err}");
        for models in ["a/m", "a/m,fast"] {
            let (code, _, err) = stage.run(&["compare", &example("qr.png"), "--models", models]).await;
            assert!(code == Some(2) && err.contains("INVALID_INPUT"), "{err}");
        }
        assert_eq!(stage.upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_was_answered_outlives_other_settings_other_names_and_missing_files() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "[aliases]\nfast = \"a/one\"\n").await;
        let picture = stage.path("a.png");
        std::fs::copy(example("qr.png"), &picture).expect("a copy");
        let item = |number| json!({"image": "a.png", "prompt": format!("Number {number}?"), "expected": "1"});
        stage.write("set.jsonl", (0..4).map(item));
        let args = ["eval", "set.jsonl", "--models", "fast", "--out", "run", "--resume", "-q"];
        let other = [&args[..], &["--temperature", "0.5", "--max-cost", "0.0001"]].concat();
        for (args, code, calls) in [(&args[..], 0, 4), (&other[..], 1, 4), (&args[..], 0, 4)] {
            let (found, _, err) = stage.run(args).await;
            assert_eq!((found, stage.upstream.calls()), (Some(code), calls), "{args:?}: {err}");
        }
        // Under the same name, another model has not been asked yet.
        let config = std::fs::read_to_string(stage.path("config.toml")).expect("a configuration");
        std::fs::write(stage.path("config.toml"), config.replace("a/one", "a/two")).expect("written");
        let (code, _, err) = stage.run(&args).await;
        assert_eq!((code, stage.upstream.calls()), (Some(0), 8), "{err}");
        let report = std::fs::read_to_string(stage.path("run/report.html")).expect("a report");
        assert!(report.contains("a/two") && lines(&stage.path("run/results.jsonl")).len() == 8);
        std::fs::remove_file(&picture).expect("removed");
        let (code, _, err) = stage.run(&args).await;
        assert_eq!((code, stage.upstream.calls()), (Some(1), 8), "what is not there cannot be asked about: {err}");
    })
    .await;
}

#[tokio::test]
async fn equal_questions_are_known_by_whatever_name_they_had() {
    locally(async {
        let stage = Stage::new(answers_by_number(), "[cache]\ncapacity = \"0B\"\n").await;
        let question = |id: &str| json!({"id": id, "image": example("qr.png"), "prompt": "Number 1?"});
        stage.write("one.jsonl", [question("old")]);
        stage.write("two.jsonl", [question("new")]);
        for inputs in ["one.jsonl", "two.jsonl"] {
            let (code, _, err) = stage.run(&["batch", inputs, "--out", "out.jsonl", "--resume", "-q"]).await;
            assert_eq!((code, stage.upstream.calls()), (Some(0), 1), "{err}");
        }
        assert_eq!(lines(&stage.path("out.jsonl"))[1]["same_as"], "old");
    })
    .await;
}

#[tokio::test]
async fn calls_that_were_cut_off_or_made_no_sense_count_for_the_limit() {
    locally(async {
        let cut = Play::decide(|_, call| match call % 2 {
            0 => Play::json(504, &json!({"error": {"message": "upstream request timeout"}})),
            _ => Play::json(200, &completion("9")),
        });
        let senseless = Play::json(200, &json!("no answer of the dialect"));
        for play in [cut, senseless] {
            let stage = Stage::new(play, "").await;
            let question = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?")});
            stage.write("questions.jsonl", (0..40).map(question));
            let args = ["batch", "questions.jsonl", "--out", "out.jsonl", "--max-tokens", "500", "--jobs", "1"];
            let limited = [&args[..], &["--max-cost", "0.008", "--json"]].concat();
            let mut calls = 0;
            for more in [&[][..], &["--resume"]] {
                let (code, out, err) = stage.run(&[&limited[..], more].concat()).await;
                let summary: Value = serde_json::from_str(&out).expect(&err);
                assert_eq!((code, &summary["stopped"]), (Some(1), &json!("max_cost")), "{summary}");
                let cost = summary["cost_usd"].as_f64().expect("a cost");
                assert!(cost > 0.003 && cost <= 0.008, "{summary}");
                assert!(calls == 0 || stage.upstream.calls() <= calls + 2, "the second run knows of the first");
                calls = stage.upstream.calls();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_model_that_nobody_hopes_for_is_left_and_the_others_go_on() {
    locally(async {
        let stage = Stage::new(
            Play::decide(|received, _| match received.body["model"].as_str() {
                Some("bad") => Play::json(401, &json!({"error": {"message": "wrong key for this model"}})),
                _ => Play::json(200, &completion("9")),
            }),
            "",
        )
        .await;
        let item = |number| json!({"image": example("qr.png"), "prompt": format!("Number {number}?"), "expected": "9"});
        stage.write("set.jsonl", (0..60).map(item));
        let args = ["eval", "set.jsonl", "--models", "a/good,a/bad", "--out", "run", "--jobs", "4", "--json"];
        let (code, out, err) = stage.run(&args).await;
        let summary: Value = serde_json::from_str(&out).expect(&err);
        assert_eq!((code, &summary["stopped"]), (Some(1), &json!("hopeless")), "{summary}");
        let lines = lines(&stage.path("run/results.jsonl"));
        let of = |model: &str| lines.iter().filter(|line| line["model_asked"] == model).count();
        assert_eq!(of("a/good"), 60);
        assert!((10..20).contains(&of("a/bad")), "{}", of("a/bad"));
    })
    .await;
}
