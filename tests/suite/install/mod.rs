//! What puts the program into a user's world: entries in clients' settings, completions, the manual page, bundles, images.

mod packages;
mod settings;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_visiongate");

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
