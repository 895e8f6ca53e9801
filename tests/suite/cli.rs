//! The command line as a real process: data on standard output, the rest on standard error, documented exit codes.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use vision_providers::testkit::{Play, Upstream};

use super::{described, example};

fn visiongate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visiongate"));
    command.args(args).env_remove("MISTRAL_API_KEY").env("XDG_CONFIG_HOME", "/nonexistent");
    command
}

fn run(args: &[&str]) -> (Output, String, String) {
    let output = visiongate(args).output().expect("it runs");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    (output, out, err)
}

#[test]
fn with_nothing_set_up_the_example_receipt_is_read() {
    let (output, out, err) = run(&["analyze", &example("receipt.png")]);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.contains("TOTAL EUR 25.41"), "{out}");
    assert!(err.contains("MISTRAL_API_KEY is not set") && err.contains("answered by local/tesseract"), "{err}");
}

#[test]
fn json_is_one_document_and_errors_are_too() {
    let (output, out, _) = run(&["analyze", &example("receipt.png"), "--task", "ocr", "--json"]);
    let answer: Value = serde_json::from_str(&out).expect("one JSON document");
    assert_eq!((output.status.code(), &answer["task"]), (Some(0), &Value::from("ocr")));
    let total =
        answer["blocks"].as_array().expect("blocks").iter().find(|block| block["text"].to_string().contains("TOTAL"));
    let edges: Vec<u64> =
        total.expect("the total")["box"].as_array().expect("a box").iter().filter_map(Value::as_u64).collect();
    assert!(edges[2] <= 620 && edges[3] <= 1000 && edges[1] > 500, "{edges:?}");
    let (output, out, _) = run(&["analyze", "missing.png", "--json"]);
    let error: Value = serde_json::from_str(&out).expect("one JSON document");
    assert_eq!((output.status.code(), &error["error"]["code"]), (Some(1), &Value::from("INVALID_INPUT")));
}

#[test]
fn whose_key_is_there_is_named_where_the_default_has_none() {
    let hint = |keys: &[(&str, &str)], more: &[&str]| {
        let question = ["analyze", &example("qr.png"), "-p", "What?"];
        let mut command = visiongate(&[&question, more].concat());
        let output = command.envs(keys.iter().copied()).output().expect("it runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let with_keys = hint(&[("OPENAI_API_KEY", "x"), ("GROQ_API_KEY", "x")], &[]);
    assert!(with_keys.contains("a key is there for groq, openai; or"), "{with_keys}");
    let without = hint(&[], &[]);
    assert!(without.contains("hint: the operator has to set MISTRAL_API_KEY"), "{without}");
    let boxes = hint(&[("OPENAI_API_KEY", "x")], &["--boxes"]);
    assert!(
        boxes.contains("hint: the operator has to set MISTRAL_API_KEY"),
        "who could not do it is not named: {boxes}"
    );
}

#[test]
fn a_server_that_nobody_uses_may_be_down() {
    let code = |command: &mut Command| command.output().expect("it runs").status.code();
    assert_eq!(code(&mut visiongate(&["check", "--live"])), Some(0));
    let nowhere = ("VISIONGATE_PROVIDERS__OLLAMA__BASE_URL", "http://127.0.0.1:9");
    assert_eq!(code(visiongate(&["check", "--live"]).env(nowhere.0, nowhere.1)), Some(1));
}

#[test]
fn newer_prices_come_from_a_file_and_go_into_a_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let prices = folder.path().join("prices.json");
    let row = r#"{"mistral/mistral-small-latest": {"input_cost_per_token": 2e-7, "output_cost_per_token": 6e-7},
        "gpt-6-luna": {"input_cost_per_token": 1e-7, "output_cost_per_token": 5e-7, "cache_read_input_token_cost": 1e-8}}"#;
    std::fs::write(&prices, row).expect("a file");
    let (output, out, err) = run(&["prices", &prices.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(err.contains("2 models were compared"), "{err}");
    let config = folder.path().join("config.toml");
    std::fs::write(&config, &out).expect("a file");
    let (_, models, err) = run(&["--config", &config.display().to_string(), "models"]);
    assert!(models.contains("pixtral/mistral-small-2603") && models.contains("$0.2 in, $0.6 out"), "{err}{models}");
    assert!(models.contains("pixtral/mistral-medium-latest"), "the default model stays the first: {models}");
    let (output, _, err) = run(&["prices", &config.display().to_string()]);
    assert_eq!(output.status.code(), Some(1), "{err}");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for args in [
        &["analyze"][..],
        &["analyse", "x"],
        &["analyze", "x", "--detail", "ultra"],
        &["--config", "/no/such", "models"],
        &["analyze", "x", "--region", "0,0,1"],
        &["analyze", "x", "--schema", "/no/such/schema"],
    ] {
        assert_eq!(run(args).0.status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn standard_input_is_an_image() {
    let receipt = std::fs::File::open(example("qr.png")).expect("an example");
    let output = visiongate(&["analyze", "-", "--json"]).stdin(Stdio::from(receipt)).output().expect("it runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["images"][0]["source"], "stdin");
    assert!(answer["description"].as_str().expect("text").contains("ticket=4711"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scripted_mistral_is_reached_by_environment_alone_and_the_key_is_never_shown() {
    let upstream = Upstream::start([Play::json(200, &described("A till receipt.", "TOTAL"))]).await;
    let url = upstream.url("/v1");
    let output = tokio::task::spawn_blocking(move || {
        let mut command = visiongate(&["analyze", &example("receipt.png"), "--json", "--verbose"]);
        command.env("MISTRAL_API_KEY", "key-for-a-test").env("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", url);
        command.output().expect("it runs")
    });
    let output = output.await.expect("it ends");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (&answer["description"], &answer["provider"]),
        (&Value::from("A till receipt."), &Value::from("pixtral"))
    );
    assert!(upstream.received()[0].headers.contains("authorization: bearer key-for-a-test"));
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("key-for-a-test") && !said.contains("iVBOR"), "a secret was shown: {said}");
}

#[test]
fn models_shows_abilities_prices_and_keys() {
    let (_, out, _) = run(&["models", "--json"]);
    let list: Value = serde_json::from_str(&out).expect("JSON");
    let pixtral =
        list["providers"].as_array().expect("providers").iter().find(|it| it["name"] == "pixtral").expect("pixtral");
    assert_eq!(pixtral["key"], "missing (MISTRAL_API_KEY)");
    assert_eq!(pixtral["models"][0]["model"], "pixtral/mistral-medium-latest");
    assert_eq!(pixtral["models"][0]["price_usd_per_million"]["input"], 1.5);
    let (output, out, _) = run(&["models"]);
    assert!(output.status.success() && out.contains("retired 2026-05-31, replaced by mistral-medium-3-5"), "{out}");
}

#[test]
fn init_prints_a_starter_and_snippets_and_never_overwrites() {
    let (_, starter, _) = run(&["init"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = super::config_file(folder.path(), &starter);
    assert_eq!(run(&["--config", &file.display().to_string(), "check"]).0.status.code(), Some(0));
    for client in ["claude-desktop", "claude-code", "cursor", "vscode", "codex", "gemini-cli", "zed", "goose"] {
        let (output, out, _) = run(&["init", "--client", client]);
        assert!(output.status.success() && out.contains("visiongate") && out.contains("mcp"), "{client}: {out}");
    }
    let (_, out, _) = run(&["init", "--client", "cursor"]);
    let snippet: Value = serde_json::from_str(&out).expect("JSON");
    assert!(snippet["mcpServers"]["visiongate"]["command"].as_str().expect("a path").starts_with('/'));
    let write = || {
        let mut command = visiongate(&["init", "--write"]);
        command.env("XDG_CONFIG_HOME", folder.path()).output().expect("it runs").status.code()
    };
    assert_eq!((write(), write()), (Some(0), Some(1)));
}

#[test]
fn serving_other_machines_without_authentication_is_refused_with_a_hint() {
    let (output, _, err) = run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err.contains("allow_unauthenticated"), "{err}");
}
