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
    let presets = super::gateway("").presets;
    let schemas: Vec<_> = presets.values().filter_map(|preset| preset.schema.as_ref()).collect();
    assert!(schemas.len() >= 5 && schemas.iter().all(|schema| visiongate::schema::compile(schema).is_ok()));
}

#[tokio::test]
async fn all_faults_of_shape_come_at_once_with_key_and_hint() {
    let found = faults(
        "defalt = \"pixtral\"\nfallback = [\"nobody\"]\n[server]\nlissen = \"x\"\nmax_connections = \"many\"\n[cache]\ncapacity = \"lots\"\n\
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
        // What means nothing is told beside it, for what was put aside as much as for the rest.
        "`providers.lab`: kind `openai-compatible` needs a `model`",
        "`fallback`: there is no model called `nobody`",
    ];
    for line in expected {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("sk-secret"), "a key was shown:\n{text}");
    assert!(found.iter().all(|fault| fault.place.ends_with("config.toml")), "{text}");
    assert_eq!(found.len(), expected.len(), "{text}");
}

#[tokio::test]
async fn unknown_keys_and_wrong_names_are_reported_in_one_run() {
    let text = faults("defalt = \"x\"\nfallback = [\"nobody\"]\n[providers.lab]\nkind = \"vlmm\"\n")
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    for part in ["`defalt`", "`nobody`", "`vlmm`"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

#[tokio::test]
async fn what_is_missing_is_called_missing_and_short_names_are_no_slips_of_each_other() {
    let found = faults("[providers.lab]\nmodel = \"m\"\n[aliases]\na = \"b/c\"\n");
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(text.contains("`providers.lab.kind`: the key `kind` is missing; known are anthropic, "), "{text}");
    assert!(text.contains("there is no model called `b/c`; name a model as provider/model"), "{text}");
}

#[tokio::test]
async fn two_callers_with_one_key_are_a_fault() {
    let (_, digest) = visiongate::keys::generate().expect("randomness");
    let key = |name: &str| format!("[server.keys.{name}]\nhash = \"{digest}\"\n");
    assert_eq!(faults(&key("alice")), []);
    let found = faults(&format!("{}{}", key("alice"), key("bob")));
    let [fault] = &found[..] else { panic!("{found:?}") };
    assert!(fault.key == "server.keys.bob.hash" && fault.message.contains("`alice` has the same"), "{fault:?}");
}

#[tokio::test]
async fn comparisons_have_room_for_two_to_thirty_two_models() {
    for (most, is_fault) in [(1, true), (2, false), (32, false), (33, true)] {
        let found = faults(&format!("[compare]\nmax_models = {most}\n"));
        assert_eq!(found.iter().any(|fault| fault.key == "compare.max_models"), is_fault, "{most}: {found:?}");
    }
}

#[tokio::test]
async fn connections_per_address_are_a_number_that_leaves_some() {
    let folder = tempfile::tempdir().expect("a folder");
    let loaded = config::load(Some(&config_file(folder.path(), ""))).expect("a configuration");
    assert_eq!(loaded.config.server.connections_per_address, 64);
    for (most, is_fault) in [(0, true), (1, false), (5000, false)] {
        let found = faults(&format!("[server]\nconnections_per_address = {most}\n"));
        assert_eq!(found.iter().any(|fault| fault.key == "server.connections_per_address"), is_fault, "{found:?}");
    }
}

#[tokio::test]
async fn a_key_replaces_a_key_and_another_kind_replaces_the_provider() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("key"), "from-a-file\n").expect("a file");
    let key = format!("[providers.pixtral]\nkey = {{ file = {:?} }}\n", folder.path().join("key"));
    let loaded = config::load(Some(&config_file(folder.path(), &key))).expect("a configuration");
    assert_eq!(loaded.faults, []);
    assert!(matches!(loaded.config.providers["pixtral"].key, Some(config::KeyConfig::File(_))));
    let other = "[providers.pixtral]\nkind = \"vllm\"\nmodel = \"m\"\n";
    let loaded = config::load(Some(&config_file(folder.path(), other))).expect("a configuration");
    let pixtral = &loaded.config.providers["pixtral"];
    assert_eq!((&pixtral.key, &pixtral.base_url), (&None, &None), "the old key must not go to the new place");
}

#[tokio::test]
async fn absurd_figures_are_faults_and_not_panics() {
    for toml in [
        "[cache]\nttl = \"999999999d\"\n",
        "[limit]\nconcurrency = 9000000000000000\n",
        "[deadline]\ntotal = \"0s\"\n",
        "[tasks.describe]\nprompt = \"x\"\n",
        "[[providers.pixtral.models]]\nid = \"m\"\nlimits = { target_side = 0 }\n",
    ] {
        assert!(!faults(toml).is_empty(), "{toml}");
    }
    assert_eq!(faults("[aliases]\na = \"b\"\nb = \"local\"\n"), []);
    assert!(!faults("[aliases]\na = \"b\"\nb = \"a\"\n").is_empty());
}

#[tokio::test]
async fn all_faults_of_meaning_come_at_once() {
    let found = faults(
        "default = \"pixtrl\"\nfallback = [\"nobody\"]\n[aliases]\nfast = \"gemni/flash\"\n[server]\nlisten = \"here\"\n\
         [intake]\nroots = [\"relative\", \"/no/such/folder\"]\n[mcp]\ntools = [\"analyse_image\"]\n\
         [providers.lab]\nkind = \"vlmm\"\n[providers.bare]\nkind = \"openai-compatible\"\n[tasks.bad]\nprompt = \"x\"\nschema = \"{\"\n\
         [[routes]]\nwhen = { task = \"sing\" }\nuse = []\n",
    );
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for line in [
        "`default`: there is no model called `pixtrl`; did you mean pixtral?",
        "`fallback`: there is no model called `nobody`",
        "`aliases.fast`: there is no model called `gemni/flash`",
        "`server.listen`: expected an address and port",
        "`intake.roots`: relative is not an absolute path",
        "`intake.roots`: there is no folder /no/such/folder",
        "`mcp.tools`: there is no tool called `analyse_image`",
        "`providers.lab.kind`: there is no kind called `vlmm`; did you mean `vllm`?",
        "`providers.bare`: kind `openai-compatible` needs a `",
        "`tasks.bad.schema`:",
        "`routes.0.use`: a rule needs at least one model",
        "`routes.0.when.task`: there is no task called `sing`",
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
    let platform = [
        ("VISIONGATE_SERVICE_HOST", "10.0.0.1"),
        ("VISIONGATE_PORT", "tcp://10.0.0.1:80"),
        ("VISIONGATE_PORT_80_TCP", "x"),
    ];
    assert_eq!(check(&platform).1, Some(0), "what a container platform sets is none of ours");
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

#[tokio::test]
async fn a_value_of_several_forms_is_told_what_the_form_that_was_meant_lacks() {
    let found = faults(
        "[[routes]]\nwhen = { task = 5, pixels = { mx = 3 } }\nuse = { strategy = \"cheepest\", models = [\"local\"] }\n\
         [[routes]]\nuse = { strategy = \"weighted\", models = [\"local\"] }\n\
         [[routes]]\nuse = { strategy = \"first\", modls = [\"local\"] }\n[[routes]]\nuse = \"local\"\n\
         [[providers.pixtral.models]]\nid = \"m\"\njson = \"nope\"\nsampling = \"sometimes\"\n\
         tokens = { rule = \"rowz\", cell = 3 }\nlimits = { max_imagez = 3 }\n",
    );
    let text = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for line in [
        "`routes.0.when.task`: expected array or string, found a number",
        "`routes.0.when.pixels.mx`: there is no such key; did you mean `max`?",
        "`routes.0.use.strategy`: expected one of first, cheapest, fastest, weighted, round_robin, hedged",
        "`routes.2.use.modls`: there is no such key; did you mean `models`?",
        "`routes.3.use`: expected array or object, found a string",
        "`providers.pixtral.models.0.json`: expected one of schema, object, prompt",
        "`providers.pixtral.models.0.sampling`: expected one of always, never, without_reasoning",
        "`providers.pixtral.models.0.tokens.rule`: expected one of rows, cells,",
        "`providers.pixtral.models.0.limits.max_imagez`: there is no such key; did you mean `max_images`?",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    let weights = faults("[[routes]]\nuse = { strategy = \"weighted\", models = [\"local\"] }\n");
    assert_eq!(weights[0].message, "expected a share for each model, not all of them 0");
    let tags = faults("[[routes]]\nuse = [\"local\"]\ntags = [\"eu\"]\n[providers.openai]\ntags = [\"local\"]\n");
    assert_eq!((tags.len(), tags[0].message.as_str()), (2, "`local` cannot be given"));
}

#[test]
fn folders_of_images_are_one_or_several_and_may_begin_at_home() {
    assert_eq!(faults("[intake]\nlatest = \"~/Pictures\"\nclipboard = true\n"), []);
    assert_eq!(faults("[intake]\nlatest = [\"~/no/such/folder\", \"/tmp\"]\nroots = [\"~\"]\n"), []);
    let wrong = faults("[intake]\nlatest = [\"/tmp\", \"shots\", \"~you/shots\"]\nroots = [\"~/no/such/folder\"]\n");
    let text = wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for line in [
        "`intake.latest`: shots is not an absolute path",
        "`intake.latest`: ~you/shots is not",
        "`intake.roots`: there is no folder /",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!faults("[intake]\nlatest = 7\n").is_empty());
}
