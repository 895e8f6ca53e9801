//! What the program is shipped in: bundles for clients, their entry in the registry, and the image.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::super::root;
use super::{PROGRAM, Ran, read};

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
