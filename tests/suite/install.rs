//! What puts the program into a user's world: entries in clients' settings, completions, the manual page, bundles, images.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use saphyr::LoadableYamlNode as _;
use serde_json::{Value, json};

use super::root;

const PROGRAM: &str = env!("CARGO_BIN_EXE_visiongate");
const CLIENTS: [&str; 8] = ["claude-desktop", "claude-code", "cursor", "vscode", "codex", "gemini-cli", "zed", "goose"];

/// Somebody's home, with nothing in it, and a project that they work in.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(home.path().join("project")).expect("a folder");
        Self(home)
    }

    fn project(&self) -> PathBuf {
        self.0.path().canonicalize().expect("it is there").join("project")
    }

    fn run(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(PROGRAM);
        command.args(args).current_dir(self.project()).env("HOME", self.0.path());
        command.env("XDG_CONFIG_HOME", self.0.path().join(".config")).env_remove("CODEX_HOME");
        Ran::of(command.output().expect("it runs"))
    }

    fn init(&self, client: &str, more: &[&str]) -> Ran {
        self.run(&[&["init", "--client", client], more].concat())
    }

    /// Where the program says that a client's settings are.
    fn place(&self, client: &str) -> PathBuf {
        let told = self.init(client, &[]).err;
        let place = told.split_once("this belongs into ").and_then(|(_, rest)| rest.split_once("; --write"));
        PathBuf::from(place.unwrap_or_else(|| panic!("no place in {told}")).0)
    }

    /// A client's settings as somebody left them.
    fn with_settings(&self, client: &str, text: &str) -> PathBuf {
        let place = self.place(client);
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        std::fs::write(&place, text).expect("a file");
        place
    }
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// How the files of a folder are called.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

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

#[test]
fn each_shell_gets_completions() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = home.run(&["completions", shell]);
        assert!(ran.code == Some(0) && ran.out.contains("analyze") && ran.out.contains("key-env"), "{shell}");
        // What can be checked where the shell is there.
        if ["bash", "zsh", "fish"].contains(&shell) {
            let script = home.0.path().join(shell);
            std::fs::write(&script, &ran.out).expect("a file");
            let checked = Command::new(shell).arg("-n").arg(&script).output();
            assert!(shell != "bash" || checked.is_ok(), "bash is everywhere that these tests are run");
            assert!(checked.as_ref().is_ok_and(|ran| ran.status.success()) || checked.is_err(), "{shell}: {checked:?}");
        }
    }
    assert_eq!(home.run(&["completions", "tcsh"]).code, Some(2));
}

#[test]
fn the_manual_page_says_it_all_and_renders_without_warnings() {
    let home = Home::new();
    let page = home.run(&["man"]);
    assert_eq!(page.code, Some(0), "{}", page.err);
    for section in ["NAME", "SYNOPSIS", "COMMANDS", "OPTIONS", "EXIT STATUS", "FILES", "ENVIRONMENT", "EXAMPLES"] {
        assert!(
            page.out.contains(&format!(".SH \"{section}\"\n")) || page.out.contains(&format!(".SH {section}\n")),
            "{section}"
        );
    }
    for word in ["analyze", "completions", "MISTRAL_API_KEY", "VISIONGATE_CONFIG", "config.toml", "gemini\\-cli"] {
        assert!(page.out.contains(word), "{word}");
    }
    let file = home.0.path().join("visiongate.1");
    std::fs::write(&file, &page.out).expect("a file");
    let path = file.display().to_string();
    // Whichever is there; the page has no date, because nothing says when it was written.
    if let Ok(rendered) = Command::new("groff").args(["-man", "-ww", "-Tascii", &path]).output() {
        let rendered = Ran::of(rendered);
        assert!(rendered.err.is_empty() && rendered.out.contains("It is done."), "{}", rendered.err);
    }
    if let Ok(checked) = Command::new("mandoc").args(["-T", "lint", "-W", "warning", &path]).output() {
        let complaints = Ran::of(checked).out;
        assert!(complaints.lines().all(|line| line.contains("missing date")), "{complaints}");
    }
}

fn package_version() -> String {
    let manifest: toml::Table = toml::from_str(&read(&root().join("Cargo.toml"))).expect("TOML");
    manifest["workspace"]["package"]["version"].as_str().expect("a version").to_owned()
}

fn python(args: &[&str]) -> Ran {
    let output = Command::new("python3").arg(root().join("scripts/bundle.py")).args(args).stdin(Stdio::null()).output();
    Ran::of(output.expect("python3"))
}

/// A bundle of a program that hands over to the real one: that one has a hundred megabytes when it is built for tests.
#[cfg(unix)]
fn bundled(folder: &Path) -> (PathBuf, PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let program = folder.join("visiongate");
    std::fs::write(&program, format!("#!/bin/sh\nexec '{PROGRAM}' \"$@\"\n")).expect("a file");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let packed = python(&["pack", &program.display().to_string(), &folder.display().to_string()]);
    assert_eq!(packed.code, Some(0), "{}", packed.err);
    let bundle = PathBuf::from(packed.out.trim());
    let unpacked = folder.join("unpacked");
    let script = "import os, stat, sys, zipfile\nfor entry in zipfile.ZipFile(sys.argv[1]).infolist():\n    \
                  path = zipfile.ZipFile(sys.argv[1]).extract(entry, sys.argv[2])\n    os.chmod(path, entry.external_attr >> 16 & 0o777)";
    let status = Command::new("python3").args(["-c", script]).arg(&bundle).arg(&unpacked).status();
    assert!(status.expect("python3").success());
    (bundle, unpacked)
}

#[cfg(unix)]
#[test]
fn a_bundle_starts_the_program_and_lists_its_tools() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bundle, unpacked) = bundled(folder.path());
    let manifest: Value = serde_json::from_str(&read(&unpacked.join("manifest.json"))).expect("JSON");
    assert_eq!(manifest["version"], package_version());
    assert!(bundle.to_string_lossy().contains(&package_version()), "{}", bundle.display());
    let server = &manifest["server"];
    // What a client puts in when its user has set nothing.
    let filled = |text: &Value| {
        let text = text.as_str().expect("text").replace("${__dirname}", &unpacked.display().to_string());
        let options = manifest["user_config"].as_object().expect("options");
        options.iter().fold(text, |text, (name, option)| {
            text.replace(&format!("${{user_config.{name}}}"), option["default"].as_str().expect("a default"))
        })
    };
    let mut command = Command::new(filled(&server["mcp_config"]["command"]));
    assert_eq!(unpacked.join(server["entry_point"].as_str().expect("a path")), Path::new(command.get_program()));
    command.args(server["mcp_config"]["args"].as_array().expect("arguments").iter().map(filled));
    for (name, value) in server["mcp_config"]["env"].as_object().expect("variables") {
        let value = filled(value);
        assert!(!value.contains("user_config"), "{name} has no default: {value}");
        command.env(name, value);
    }
    let listed = tools(command.env("HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path()));
    let declared: Vec<&Value> = manifest["tools"].as_array().expect("tools").iter().map(|tool| &tool["name"]).collect();
    let listed: Vec<&Value> = listed.iter().map(|tool| &tool["name"]).collect();
    assert_eq!(declared, listed, "packaging/mcpb/manifest.json lists what the program offers");
}

/// What the program lists over standard input and output.
#[cfg(unix)]
fn tools(command: &mut Command) -> Vec<Value> {
    use std::io::Write as _;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let mut input = child.stdin.take().expect("a pipe");
    for message in [
        json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}),
    ] {
        writeln!(input, "{message}").expect("it reads");
    }
    drop(input);
    let output = Ran::of(child.wait_with_output().expect("it ends")).out;
    let answers: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let listed = answers.iter().find(|answer| answer["id"] == 1).unwrap_or_else(|| panic!("no list in {output}"));
    listed["result"]["tools"].as_array().expect("tools").clone()
}

#[cfg(unix)]
#[test]
fn the_registry_is_told_of_every_bundle() {
    let folder = tempfile::tempdir().expect("a folder");
    let (bundle, _) = bundled(folder.path());
    let place = folder.path().display().to_string();
    let first = std::fs::metadata(&bundle).expect("a bundle").len();
    let other = bundle.with_file_name(format!("visiongate-{}-other-x.mcpb", package_version()));
    std::fs::copy(&bundle, &other).expect("a copy");
    std::fs::write(folder.path().join("visiongate-0.0.9-linux-x86_64.mcpb"), "old").expect("a file");
    let told = python(&["registry", "somebody", &place]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let text = read(Path::new(told.out.trim()));
    let server: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&server["name"], &server["version"]),
        (&json!("io.github.somebody/visiongate"), &json!(package_version()))
    );
    let packages = server["packages"].as_array().expect("packages");
    let kinds: Vec<&Value> = packages.iter().map(|package| &package["registryType"]).collect();
    assert_eq!(kinds, ["mcpb", "mcpb", "oci"]);
    let digest = packages[0]["fileSha256"].as_str().expect("a digest");
    assert!(digest.len() == 64 && digest.trim_matches('0').len() > 32, "{digest}");
    for gap in ["OWNER", "BUNDLE", "0.0.0"] {
        assert!(!text.replace("0.0.0.0", "").contains(gap), "{gap} in {text}");
    }
    // The same program gives the same bundle, or its digest would be worth nothing to whoever builds it again.
    let again = python(&["pack", &folder.path().join("visiongate").display().to_string(), &place]);
    assert_eq!((again.code, std::fs::metadata(&bundle).expect("a bundle").len()), (Some(0), first));
    let told_again = python(&["registry", "somebody", &place]);
    assert_eq!((told_again.code, read(Path::new(told_again.out.trim()))), (Some(0), text));
    assert_eq!(python(&["registry", "a/b", &place]).code, Some(1));
    assert_eq!(python(&["pack", "/bin/true", &place]).code, Some(1), "another program is not packed");
}

/// A build cannot be run where tests are; what it reads, and what others read of it, can be looked at.
#[test]
fn the_image_agrees_with_the_project() {
    let dockerfile = read(&root().join("Dockerfile"));
    let manifest: toml::Table = toml::from_str(&read(&root().join("Cargo.toml"))).expect("TOML");
    let oldest = manifest["workspace"]["package"]["rust-version"].as_str().expect("a version").to_owned();
    assert!(dockerfile.contains(&format!("ARG RUST_VERSION={oldest}\n")), "the oldest compiler that is promised");
    let server: Value = serde_json::from_str(&read(&root().join("packaging/server.json"))).expect("JSON");
    let name = server["name"].as_str().expect("a name").replace("OWNER", "${OWNER}");
    assert!(dockerfile.contains(&format!("io.modelcontextprotocol.server.name=\"{name}\"")), "{name}");
    for line in
        ["USER 10001:10001", "EXPOSE 8765", "ENTRYPOINT [\"visiongate\"]", "VISIONGATE_SERVER__LISTEN=0.0.0.0:8765"]
    {
        assert!(dockerfile.contains(line), "{line}");
    }
    // Whatever Cargo reads of the manifests has to be let in.
    let ignore = read(&root().join(".dockerignore"));
    let mut targets: Vec<String> =
        vec!["src".into(), "providers".into(), "Cargo.toml".into(), "Cargo.lock".into(), "config.toml".into()];
    for kind in ["test", "bench"] {
        for target in manifest[kind].as_array().expect("targets") {
            targets.push(target.get("path").and_then(toml::Value::as_str).map_or("bench".into(), ToOwned::to_owned));
        }
    }
    for target in targets {
        let is_in = |line: &str| line.strip_prefix('!').is_some_and(|allowed| Path::new(&target).starts_with(allowed));
        assert!(ignore.lines().any(is_in), "{target} is not let into the image's build");
    }
}
