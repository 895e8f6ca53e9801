//! Entries in clients' settings: made, kept, replaced, and left alone where that is safer.

use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::LoadableYamlNode as _;
use serde_json::{Value, json};

use super::{Home, PROGRAM, names, read};

const CLIENTS: [&str; 8] = ["claude-desktop", "claude-code", "cursor", "vscode", "codex", "gemini-cli", "zed", "goose"];

/// Settings as data, read by another parser than the one that edits them where there is one.
fn parsed(client: &str, text: &str) -> Value {
    match client {
        "codex" => {
            let table: toml::Table = toml::from_str(text).expect("TOML");
            serde_json::to_value(table).expect("JSON")
        }
        "goose" => {
            let documents = saphyr::Yaml::load_from_str(text).expect("YAML");
            documents.first().map_or(Value::Null, yaml)
        }
        _ => serde_json::from_str(&without_comments(text)).expect("JSON"),
    }
}

fn yaml(node: &saphyr::Yaml<'_>) -> Value {
    if let Some(members) = node.as_mapping() {
        return members
            .iter()
            .map(|(name, value)| (name.as_str().unwrap_or_default().to_owned(), yaml(value)))
            .collect();
    }
    if let Some(items) = node.as_vec() {
        return items.iter().map(yaml).collect();
    }
    node.as_str()
        .map(Value::from)
        .or_else(|| node.as_bool().map(Value::from))
        .or_else(|| node.as_integer().map(Value::from))
        .unwrap_or_default()
}

/// The comments of these tests stand at the ends of lines.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split(" //").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The entry for this server, wherever a client keeps its servers.
fn entry(client: &str, text: &str) -> Value {
    let section = match client {
        "vscode" => "servers",
        "codex" => "mcp_servers",
        "zed" => "context_servers",
        "goose" => "extensions",
        _ => "mcpServers",
    };
    parsed(client, text)[section]["visiongate"].clone()
}

#[test]
fn every_snippet_parses_and_names_the_program_by_its_full_path() {
    let home = Home::new();
    for client in CLIENTS {
        let ran = home.init(client, &[]);
        let entry = entry(client, &ran.out);
        let program = if client == "goose" { "cmd" } else { "command" };
        let path = PathBuf::from(entry[program].as_str().unwrap_or_else(|| panic!("{client}: {}", ran.out)));
        assert!(path.is_absolute() && path.canonicalize().ok() == Path::new(PROGRAM).canonicalize().ok(), "{client}");
        assert_eq!((ran.code, &entry["args"]), (Some(0), &json!(["mcp"])), "{client}");
        assert!(!home.place(client).exists(), "{client}: nothing is written without --write");
    }
}

#[test]
fn a_server_that_runs_already_is_reached_with_the_key_of_a_variable() {
    let home = Home::new();
    let expected = [
        (
            "claude-code",
            json!({"type": "http", "url": "https://v.example/mcp", "headers": {"Authorization": "Bearer ${MCP_VISIONGATE_KEY:-}"}}),
        ),
        (
            "cursor",
            json!({"url": "https://v.example/mcp", "headers": {"Authorization": "Bearer ${env:MCP_VISIONGATE_KEY}"}}),
        ),
        (
            "vscode",
            json!({"type": "http", "url": "https://v.example/mcp", "headers": {"Authorization": "Bearer ${env:MCP_VISIONGATE_KEY}"}}),
        ),
        ("codex", json!({"url": "https://v.example/mcp", "bearer_token_env_var": "MCP_VISIONGATE_KEY"})),
        (
            "gemini-cli",
            json!({"httpUrl": "https://v.example/mcp", "headers": {"Authorization": "Bearer $MCP_VISIONGATE_KEY"}}),
        ),
        ("zed", json!({"url": "https://v.example/mcp"})),
        (
            "goose",
            json!({
                "type": "streamable_http", "name": "visiongate", "description": "Looks at images", "enabled": true,
                "uri": "https://v.example/mcp", "timeout": 300, "env_keys": ["MCP_VISIONGATE_KEY"],
                "headers": {"Authorization": "Bearer $MCP_VISIONGATE_KEY"},
            }),
        ),
    ];
    for (client, expected) in expected {
        let ran = home.init(client, &["--url", "https://v.example/mcp"]);
        assert_eq!((ran.code, entry(client, &ran.out)), (Some(0), expected), "{client}");
        let local = home.init(client, &["--url", "http://127.0.0.1:8765/mcp"]);
        assert!(!local.out.contains("KEY"), "this machine asks for no key: {}", local.out);
        let named = home.init(client, &["--url", "http://127.0.0.1:8765/mcp", "--key-env", "MINE"]);
        assert_eq!(named.out.contains("MINE"), client != "zed", "{client}: {}", named.out);
    }
    let desktop = home.init("claude-desktop", &["--url", "https://v.example/mcp"]);
    assert!(desktop.code == Some(2) && desktop.err.contains("Connectors"), "{}", desktop.err);
    for wrong in
        [&["--url", "https://key@v.example/mcp"][..], &["--url", "v.example"], &["--key-env", "sk-1"], &["--force"]]
    {
        assert_eq!(home.init("cursor", wrong).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn the_variable_of_the_key_is_no_key_of_the_configuration() {
    let mut command = Command::new(PROGRAM);
    command.arg("check").env("XDG_CONFIG_HOME", "/nonexistent").env("MCP_VISIONGATE_KEY", "x");
    assert_eq!(command.output().expect("it runs").status.code(), Some(0));
}

#[test]
fn settings_that_are_not_there_are_made_and_a_second_time_changes_nothing() {
    let home = Home::new();
    for client in CLIENTS {
        let place = home.place(client);
        let first = home.init(client, &["--write"]);
        assert!(first.code == Some(0) && first.err.contains("wrote "), "{client}: {}", first.err);
        let text = read(&place);
        assert_eq!(text, home.init(client, &[]).out, "{client}");
        let second = home.init(client, &["--write"]);
        assert!(second.code == Some(0) && second.err.contains("has it already"), "{client}: {}", second.err);
        assert_eq!(read(&place), text);
        let beside = names(place.parent().expect("a folder"));
        assert!(!beside.iter().any(|name| name.contains(".bak") || name.contains(".visiongate-")), "{beside:?}");
    }
}

#[test]
fn an_entry_starts_the_configuration_that_is_used_and_names_its_key() {
    let home = Home::new();
    let file = home.project().join("own.toml");
    for (text, variable) in [
        ("default = \"openai\"", "OPENAI_API_KEY"),
        ("default = \"small\"\n[aliases]\nsmall = \"groq/x\"", "GROQ_API_KEY"),
        ("default = \"pixtral\"\n[providers.pixtral]\nkey = { env = \"MINE\" }", "MINE"),
        ("default = \"cheapest\"", "MISTRAL_API_KEY"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let ran = home.init("cursor", &["--config", "own.toml"]);
        let entry = entry("cursor", &ran.out);
        assert_eq!(entry["args"], json!(["--config", file, "mcp"]));
        assert_eq!(entry["env"], json!({variable: format!("${{env:{variable}}}")}), "{text}");
        assert!(ran.err.contains(variable), "{}", ran.err);
    }
    std::fs::write(&file, "default = \"ollama\"").expect("a file");
    let ran = home.init("cursor", &["--config", "own.toml"]);
    assert_eq!(
        (&entry("cursor", &ran.out)["env"], ran.err.contains("needs no key")),
        (&json!({}), true),
        "{}",
        ran.err
    );
    let missing = home.init("cursor", &["--config", "none.toml"]);
    assert!(missing.code == Some(1) && missing.err.contains("there is no such file"), "{}", missing.err);
    // The user's own file is found without being named; where it is broken, `check` is the one to say so.
    let own = home.0.path().join(".config/visiongate/config.toml");
    std::fs::create_dir_all(own.parent().expect("a folder")).expect("a folder");
    for (text, variable) in [("default = \"openai\"", "OPENAI_API_KEY"), ("default = 7", "MISTRAL_API_KEY")] {
        std::fs::write(&own, text).expect("a file");
        let entry = entry("cursor", &home.init("cursor", &[]).out);
        assert_eq!((&entry["args"], &entry["env"][variable].is_string()), (&json!(["mcp"]), &true), "{entry}");
    }
}

#[test]
fn an_entry_that_lacks_the_variable_of_a_key_is_said_to() {
    let home = Home::new();
    assert_eq!(home.init("cursor", &["--write"]).code, Some(0));
    let before = read(&home.place("cursor"));
    let ran = home.init("cursor", &["--write", "--key-env", "OPENAI_API_KEY"]);
    assert!(ran.err.contains("has it already, without OPENAI_API_KEY"), "{}", ran.err);
    assert_eq!(read(&home.place("cursor")), before);
}

/// What somebody has in a client's settings, up to where an entry is added, and from there on.
fn settings_of(client: &str) -> (String, String) {
    let json = |section: &str| {
        let head = format!(
            "{{\n    \"theme\":  \"dark\", // mine\n    \"{section}\": {{\n        \"other\": {{ \"command\": \"x\" }}"
        );
        (head, "\n    },\n    \"a\": [1,2]\n}\n".to_owned())
    };
    match client {
        "codex" => ("model = 'm' # mine\n\n[mcp_servers.other]\ncommand='x'\n".into(), "\n[tui]\na = [ 1,2 ]\n".into()),
        "goose" => ("A: 1 # mine\nextensions:\n".into(), "  other:\n    cmd: x\n    args:\n    - y\nB: 'z'\n".into()),
        "vscode" => json("servers"),
        "zed" => json("context_servers"),
        _ => json("mcpServers"),
    }
}

#[test]
fn other_settings_stay_to_the_byte_and_as_they_were_beside() {
    let home = Home::new();
    for client in CLIENTS {
        let (head, tail) = settings_of(client);
        let before = format!("{head}{tail}");
        let place = home.with_settings(client, &before);
        let ran = home.init(client, &["--write"]);
        assert_eq!(ran.code, Some(0), "{client}: {}", ran.err);
        let after = read(&place);
        assert!(after.starts_with(&head) && after.ends_with(&tail), "{client}: {after}");
        assert_eq!(entry(client, &after), entry(client, &home.init(client, &[]).out), "{client}: {after}");
        let mut without = parsed(client, &after);
        for section in without.as_object_mut().expect("an object").values_mut().filter_map(Value::as_object_mut) {
            section.shift_remove("visiongate");
        }
        assert_eq!(without, parsed(client, &before), "{client}");
        let kept = place.with_file_name(format!("{}.bak", place.file_name().expect("a name").to_string_lossy()));
        assert_eq!(read(&kept), before, "{client}");
        assert!(home.init(client, &["--write"]).err.contains("has it already"), "{client}");
        assert_eq!((read(&place), kept.with_extension("bak2").exists()), (after, false), "{client}");
    }
}

#[test]
fn what_cannot_be_read_is_left_alone_and_the_entry_is_shown() {
    let home = Home::new();
    for client in CLIENTS {
        let broken = if client == "goose" { "extensions: [\n" } else { "{ \"a\": " };
        let place = home.with_settings(client, broken);
        for more in [&["--write"][..], &["--write", "--force"]] {
            let ran = home.init(client, more);
            assert_eq!((ran.code, read(&place).as_str()), (Some(1), broken), "{client}");
            assert!(
                ran.err.contains("is left alone") && entry(client, &ran.out)["args"][0] == "mcp",
                "{client}: {}",
                ran.err
            );
        }
        assert!(!names(place.parent().expect("a folder")).iter().any(|name| name.contains(".bak")), "{client}");
    }
}

#[test]
fn an_entry_that_leads_elsewhere_is_replaced_by_force_and_keeps_what_is_its_users() {
    let home = Home::new();
    let old = r#"{"mcpServers": {"visiongate": {"command": "/old", "args": ["mcp"], "env": {"MISTRAL_API_KEY": "mine"}, "disabled": true}}}"#;
    let place = home.with_settings("cursor", old);
    std::fs::write(place.with_extension("json.bak"), "an older copy").expect("a file");
    let refused = home.init("cursor", &["--write"]);
    assert_eq!((refused.code, read(&place).as_str()), (Some(1), old));
    assert!(refused.err.contains("--force"), "{}", refused.err);
    assert_eq!(home.init("cursor", &["--write", "--force"]).code, Some(0));
    let entry = entry("cursor", &read(&place));
    assert!(entry["command"].as_str().is_some_and(|path| path.ends_with("visiongate")), "{entry}");
    assert_eq!((&entry["env"]["MISTRAL_API_KEY"], &entry["disabled"]), (&json!("mine"), &json!(true)));
    assert_eq!(read(&place.with_extension("json.bak")), "an older copy");
    assert_eq!(read(&place.with_extension("json.bak2")), old);
}

#[cfg(unix)]
#[test]
fn permissions_stay_and_links_of_the_user_are_followed() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let home = Home::new();
    let place = home.place("cursor");
    let elsewhere = home.0.path().join("dotfiles.json");
    std::fs::write(&elsewhere, "{}").expect("a file");
    std::fs::set_permissions(&elsewhere, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
    std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
    symlink(&elsewhere, &place).expect("a link");
    assert_eq!(home.init("cursor", &["--write"]).code, Some(0));
    assert!(place.symlink_metadata().expect("it is there").is_symlink());
    assert!(read(&elsewhere).contains("visiongate"));
    for file in [&elsewhere, &elsewhere.with_extension("json.bak")] {
        let mode = std::fs::metadata(file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{}", file.display());
    }
}

#[cfg(unix)]
#[test]
fn an_administrator_takes_no_file_away_from_its_owner() {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let home = Home::new();
    let place = home.with_settings("cursor", "{}");
    // Whoever is no administrator cannot give files away; theirs stay theirs all the same.
    let _ = chown(&place, Some(4321), Some(4322));
    let owner = |file: &Path| std::fs::metadata(file).map(|about| (about.uid(), about.gid())).expect("it is there");
    let before = owner(&place);
    let ran = home.init("cursor", &["--write"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(read(&place).contains("visiongate"));
    assert_eq!((owner(&place), owner(&place.with_extension("json.bak"))), (before, before));
}

#[cfg(unix)]
#[test]
fn doubtful_places_are_refused() {
    use std::os::unix::fs::symlink;
    let home = Home::new();
    let outside = home.0.path().join("outside.json");
    std::fs::write(&outside, "{}").expect("a file");
    let refused = |client: &str, why: &str| {
        let ran = home.init(client, &["--write"]);
        assert!(ran.code == Some(1) && ran.err.contains(why), "{client}: {}", ran.err);
        assert!(!ran.out.is_empty(), "{client}: the entry is shown");
    };
    symlink(&outside, home.project().join(".mcp.json")).expect("a link");
    refused("claude-code", "leads out of the project");
    symlink(home.0.path(), home.project().join(".vscode")).expect("a link");
    refused("vscode", "leads out of the project");
    assert_eq!((read(&outside).as_str(), home.0.path().join("mcp.json").exists()), ("{}", false));

    let cursor = home.place("cursor");
    std::fs::create_dir_all(&cursor).expect("a folder");
    refused("cursor", "no regular file");
    let gemini = home.place("gemini-cli");
    std::fs::create_dir_all(gemini.parent().expect("a folder")).expect("a folder");
    symlink("/nonexistent", &gemini).expect("a link");
    refused("gemini-cli", "leads nowhere");
    let zed = home.with_settings("zed", "{}");
    let mut permissions = std::fs::metadata(&zed).expect("it is there").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&zed, permissions).expect("it is ours");
    refused("zed", "write-protected");
    // A file where the folder should be: not even an administrator can write below it.
    std::fs::write(home.place("codex").parent().expect("a folder"), "").expect("a file");
    let codex = home.init("codex", &["--write"]);
    assert!(codex.code == Some(1) && codex.out.contains("mcp_servers"), "{}", codex.err);
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_read_only_is_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let place = home.with_settings("cursor", "{}");
    let folder = place.parent().expect("a folder");
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o555)).expect("it is ours");
    // An administrator can write all the same.
    let everything = std::fs::write(folder.join("probe"), "").is_ok();
    let ran = home.init("cursor", &["--write"]);
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    assert_eq!(ran.code, Some(i32::from(!everything)), "{}", ran.err);
    assert_eq!(read(&place).contains("visiongate"), everything);
    assert!(!names(folder).iter().any(|name| name.starts_with(".visiongate-")));
}
