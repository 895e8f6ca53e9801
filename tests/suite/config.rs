//! Configuration: the shipped file is sound, faults come all at once, and the environment wins.

use std::process::Command;

use serde_json::Value;
use visiongate::assemble;
use visiongate::config::{self, Fault};
use visiongate::supervisor::Supervisor;

use super::config_file;

fn faults(toml: &str) -> Vec<Fault> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = config_file(folder.path(), toml);
    match config::load(Some(&file)) {
        Err(faults) => faults,
        Ok(loaded) => assemble::gateway(&loaded, &Supervisor::default()).err().unwrap_or_default(),
    }
}

#[tokio::test]
async fn the_shipped_configuration_is_sound() {
    assert_eq!(faults(""), []);
    assert_eq!(faults(config::BUILT_IN), []);
}

#[tokio::test]
async fn all_faults_of_shape_come_at_once_with_key_and_hint() {
    let found = faults(
        "defalt = \"pixtral\"\n[server]\nlissen = \"x\"\nmax_connections = \"many\"\n[cache]\ncapacity = \"lots\"\n\
         [providers.lab]\nkind = \"openai-compatible\"\nbase_ulr = \"http://x\"\nkey = \"sk-secret\"\n[log]\nlevel = \"loud\"\n",
    );
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let expected = [
        "`defalt`: there is no such key; did you mean `default`?",
        "`server.lissen`: there is no such key; did you mean `listen`?",
        "`server.max_connections`: expected integer, found a string",
        "`cache.capacity`: this is not written as expected; write a size such as \"256MiB\"",
        "`providers.lab.base_ulr`: there is no such key; did you mean `base_url`?",
        "`providers.lab.key`:",
        "`log.level`: expected one of error, warn, info, debug",
    ];
    for line in expected {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("sk-secret"), "a key was shown:\n{text}");
    assert!(found.iter().all(|fault| fault.place.ends_with("config.toml")), "{text}");
    assert_eq!(found.len(), expected.len(), "{text}");
}

#[tokio::test]
async fn all_faults_of_meaning_come_at_once() {
    let found = faults(
        "default = \"pixtrl\"\nfallback = [\"nobody\"]\n[aliases]\nfast = \"gemini/flash\"\n[server]\nlisten = \"here\"\n\
         [intake]\nroots = [\"relative\", \"/no/such/folder\"]\n[mcp]\ntools = [\"analyse_image\"]\n\
         [providers.lab]\nkind = \"vlmm\"\n[providers.bare]\nkind = \"openai-compatible\"\n[tasks.bad]\nprompt = \"x\"\nschema = \"{\"\n\
         [[routes]]\nwhen = { task = \"sing\" }\nuse = []\n",
    );
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for line in [
        "`default`: there is no model called `pixtrl`; did you mean pixtral?",
        "`fallback`: there is no model called `nobody`",
        "`aliases.fast`: there is no model called `gemini/flash`",
        "`server.listen`: expected an address and port",
        "`intake.roots`: relative is not an absolute path",
        "`intake.roots`: there is no folder /no/such/folder",
        "`mcp.tools`: there is no tool called `analyse_image`",
        "`providers.lab.kind`: there is no kind called `vlmm`; did you mean `vllm`?",
        "`providers.bare`: kind `openai-compatible` needs a `",
        "`tasks.bad.schema`:",
        "`routes`: a rule needs at least one model",
        "`routes`: there is no task called `sing`",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_toml_or_not_there_is_said_to_be() {
    assert!(!faults("default = ").is_empty());
    let missing = config::load(Some(std::path::Path::new("/no/such/config.toml"))).expect_err("missing");
    assert!(missing[0].to_string().contains("there is no such file"), "{}", missing[0]);
}

fn check(envs: &[(&str, &str)]) -> (Value, Option<i32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_visiongate"));
    command.args(["check", "--json"]).env_remove("MISTRAL_API_KEY").env("XDG_CONFIG_HOME", folder.path());
    let output = command.envs(envs.iter().copied()).output().expect("it runs");
    let value = serde_json::from_slice(&output.stdout).expect("JSON on standard output");
    (value, output.status.code())
}

#[test]
fn the_environment_sets_any_key_and_its_faults_name_the_variable() {
    let (report, code) = check(&[
        ("VISIONGATE_DEFAULT", "local"),
        ("VISIONGATE_PROVIDERS__PIXTRAL__BASE_URL", "http://127.0.0.1:9/v1"),
        ("VISIONGATE_FALLBACK", "[]"),
        ("MISTRAL_API_KEY", "k"),
    ]);
    assert_eq!((&report["ok"], code), (&Value::Bool(true), Some(0)), "{report}");
    let (report, code) = check(&[("VISIONGATE_DEFALT", "local"), ("VISIONGATE_CACHE__TTL", "never")]);
    assert_eq!(code, Some(2));
    let text = report["faults"].to_string();
    assert!(text.contains("VISIONGATE_DEFALT") && text.contains("did you mean `default`?"), "{text}");
    assert!(text.contains("VISIONGATE_CACHE__TTL"), "{text}");
}

#[test]
fn a_file_is_found_where_the_user_keeps_such_things_but_never_in_the_working_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |config_home: &std::path::Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_visiongate"));
        command.args(["check", "--json"]).current_dir(folder.path()).env("XDG_CONFIG_HOME", config_home);
        command.output().expect("it runs").status.code()
    };
    config_file(folder.path(), "nonsense = 1\n");
    std::fs::create_dir(folder.path().join("visiongate")).expect("a folder");
    assert_eq!(run(&folder.path().join("elsewhere")), Some(0));
    config_file(&folder.path().join("visiongate"), "nonsense = 1\n");
    assert_eq!(run(folder.path()), Some(2));
}
