//! The rules of the house that a compiler does not know: files that say what they are, floors that import downwards,
//! figures with sources, recordings without keys.

use std::path::{Path, PathBuf};

use vision_providers::catalog::Catalog;

use super::root;

fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                let text = std::fs::read_to_string(&path).expect("a text");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), ending, &mut found);
    assert!(!found.is_empty(), "nothing in {folder}");
    found
}

fn sources() -> Vec<(PathBuf, String)> {
    ["src", "providers/src", "providers/examples", "tests", "bench", "fuzz/fuzz_targets"]
        .into_iter()
        .flat_map(|folder| files(folder, ".rs"))
        .collect()
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} does not", path.display());
    }
}

#[test]
fn no_file_is_named_after_nothing() {
    for (path, _) in sources() {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(
            !["utils", "util", "helpers", "common", "misc", "shared"].contains(&name.as_str()),
            "{}",
            path.display()
        );
    }
}

/// The rooms of the gateway by floor: a room imports from its own floor's siblings only where that is named here.
const FLOORS: [(&str, u8); 33] = [
    ("surface", 7),
    ("live", 6),
    ("assemble", 5),
    ("batch", 5),
    ("bulk", 5),
    ("compare", 5),
    ("eval", 6),
    ("config", 4),
    ("gateway", 4),
    ("reply", 3),
    ("layers", 3),
    ("router", 3),
    ("tasks", 3),
    ("intake", 2),
    ("keys", 3),
    ("oauth", 2),
    ("access", 4),
    ("health", 1),
    ("metrics", 1),
    ("spans", 1),
    ("store", 2),
    ("supervisor", 1),
    ("telemetry", 5),
    ("clean", 1),
    ("speech", 2),
    ("failure", 1),
    ("rights", 2),
    ("schema", 1),
    ("shares", 1),
    ("score", 2),
    ("statistics", 1),
    ("main", 9),
    ("lib", 8),
];

fn floor(room: &str) -> u8 {
    FLOORS
        .iter()
        .find(|(name, _)| *name == room)
        .map_or_else(|| panic!("the room {room} has no floor"), |(_, floor)| *floor)
}

#[test]
fn floors_import_downwards() {
    // The configuration composes the settings of the rooms below it; assembling checks names that surfaces offer.
    const NAMED: [(&str, &str); 3] = [("assemble", "surface"), ("reply", "router"), ("reply", "tasks")];
    let source = root().join("src");
    for (path, text) in files("src", ".rs") {
        let inside = path.strip_prefix(&source).expect("below src");
        let room = inside.components().next().expect("a room").as_os_str().to_string_lossy().replace(".rs", "");
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("use crate::")) {
            let targets: Vec<&str> = match line.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap_or_default().split(',').map(str::trim).collect(),
                None => vec![line],
            };
            for target in targets {
                let target = target.split([':', ';', ' ']).next().unwrap_or_default();
                let down = target == room || floor(target) < floor(&room);
                assert!(down || NAMED.contains(&(room.as_str(), target)), "{} imports {target}", path.display());
            }
        }
    }
}

#[test]
fn providers_know_nothing_of_the_gateway() {
    for (path, text) in files("providers/src", ".rs") {
        for banned in ["rmcp", "axum", "figment", "moka", "std::env::var", "clap"] {
            assert!(
                !text.contains(&format!("use {banned}")) && !text.contains(&format!("{banned}(")),
                "{}: {banned}",
                path.display()
            );
        }
    }
}

#[test]
fn adapters_do_not_import_each_other() {
    for (path, text) in files("providers/src/adapters", ".rs") {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let others = ["anthropic", "chat", "gemini", "local", "mistral_ocr", "ollama", "pixtral"]
            .into_iter()
            .filter(|other| *other != name);
        for other in others {
            let excepted = name == "mod"
                || [("pixtral", "chat"), ("mistral_ocr", "pixtral")].contains(&(name.as_str(), other))
                || path.to_string_lossy().contains("local");
            assert!(
                excepted || !text.contains(&format!("use crate::adapters::{other}")),
                "{} imports {other}",
                path.display()
            );
        }
    }
}

#[test]
fn rmcp_stays_in_its_folder_and_the_door() {
    for (path, text) in files("src", ".rs") {
        let allowed = path.to_string_lossy().contains("surface/mcp") || path.ends_with("surface/http/mod.rs");
        assert!(allowed || !text.contains("rmcp::"), "{}", path.display());
    }
}

/// A clock that is set forward or back ends no wait early or late: deadlines, pauses and rests are counted by the clock of
/// the runtime. Dates are for what comes from outside with a date of its own.
#[test]
fn dates_are_read_only_where_something_has_a_date() {
    // Files that changed, answers on disk, models that retire, what a day has cost, and vendors who say until when.
    const DATED: [&str; 11] = [
        "src/intake/latest.rs",
        "src/live.rs",
        "src/metrics/spend.rs",
        "src/oauth/clock.rs",
        "src/store/disk.rs",
        "src/surface/http/openai/write.rs",
        "src/store/mod.rs",
        "providers/src/adapters/pixtral.rs",
        "providers/src/allowance.rs",
        "providers/src/model.rs",
        "providers/src/retry_after.rs",
    ];
    for (path, text) in files("src", ".rs").into_iter().chain(files("providers/src", ".rs")) {
        let is_dated =
            ["SystemTime", "UNIX_EPOCH", "chrono::", "humantime::Timestamp"].iter().any(|it| text.contains(it));
        let place = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        assert!(!is_dated || DATED.contains(&place.as_str()), "{place} looks at the date");
    }
}

#[test]
fn every_kind_stands_in_the_readme() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    for kind in Catalog::built_in().expect("the catalog").kinds() {
        assert!(readme.contains(&format!("`{kind}`")), "{kind} has no row in the README");
    }
}

#[test]
fn recordings_hold_no_keys() {
    let recordings = files("tests", ".snap").into_iter().chain(files("tests/wires/exchanges", ".json"));
    for (path, text) in recordings {
        for mark in ["\"sk-", " sk-", "Bearer ", "api_key", "\"authorization", "set-cookie"] {
            assert!(!text.contains(mark), "{} holds {mark}", path.display());
        }
    }
}

#[test]
fn no_machine_stands_in_the_project() {
    for folder in ["src", "providers", "tests", "examples", "scripts"] {
        for ending in [".rs", ".md", ".toml", ".sh", ".py", ".mjs"] {
            for (path, text) in walk_quietly(folder, ending) {
                let place = ["/wo", "rk/"].concat();
                assert!(!text.contains(&place), "{} names a path of some machine", path.display());
            }
        }
    }
}

fn walk_quietly(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    std::panic::catch_unwind(|| files(folder, ending)).unwrap_or_default()
}
