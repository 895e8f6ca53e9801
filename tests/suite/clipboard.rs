//! The clipboard of a real desktop: the program beside other programs that copied something, or that hang. Where there is
//! no X server to start (`Xvfb`, and `xclip` to copy with), only what needs none is looked at.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::example;

/// An X server of our own, and the programs that copied something to its clipboard.
struct Desktop {
    server: Child,
    display: String,
    owner: Option<Child>,
}

impl Desktop {
    /// `None` where the programs are missing, which in CI is a fault.
    #[expect(clippy::disallowed_methods, reason = "a test, and not the program, wants to know where it runs")]
    fn start() -> Option<Self> {
        let desktop = Self::started();
        assert!(desktop.is_some() || std::env::var_os("CI").is_none(), "Xvfb and xclip are needed");
        desktop
    }

    fn started() -> Option<Self> {
        Command::new("xclip").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
        let mut command = Command::new("Xvfb");
        // It would forget everything whenever nobody is connected.
        command.args(["-displayfd", "1", "-screen", "0", "64x64x24", "-nolisten", "tcp", "-noreset"]);
        let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        let mut number = String::new();
        BufReader::new(server.stdout.take()?).read_line(&mut number).ok()?;
        let desktop = Self { server, display: format!(":{}", number.trim()), owner: None };
        number.trim().parse::<u32>().is_ok().then_some(desktop)
    }

    fn xclip(&self, form: &str, direction: &str) -> Command {
        let mut command = Command::new("xclip");
        command.args(["-display", &self.display, "-selection", "clipboard", "-quiet", "-t", form, direction]);
        command.stderr(Stdio::null());
        command
    }

    /// Copies these bytes as a program would, and returns when they can be had.
    fn copy(&mut self, form: &str, bytes: &[u8]) {
        let mut owner = self.xclip(form, "-i").stdin(Stdio::piped()).spawn().expect("xclip runs");
        owner.stdin.take().expect("its input").write_all(bytes).expect("it reads");
        self.stop_owner();
        self.owner = Some(owner);
        let began = Instant::now();
        while self.xclip(form, "-o").output().expect("xclip runs").stdout != bytes {
            assert!(began.elapsed() < Duration::from_secs(20), "nothing can be copied");
        }
    }

    fn stop_owner(&mut self) {
        if let Some(mut owner) = self.owner.take() {
            let _ = owner.kill();
            let _ = owner.wait();
        }
    }

    fn analyze(&self) -> Value {
        analyze(&[("DISPLAY", &self.display)])
    }

    fn refusal(&self) -> String {
        let error = &self.analyze()["error"];
        format!("{} {}", error["message"], error["advice"])
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.stop_owner();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn analyze(environment: &[(&str, &str)]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_visiongate"));
    command.args(["analyze", "clipboard", "--model", "local", "--json"]);
    command.env_remove("WAYLAND_DISPLAY").env_remove("DISPLAY").env("XDG_CONFIG_HOME", "/nonexistent");
    let output = command.envs(environment.iter().copied()).output().expect("it runs");
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

#[test]
fn without_a_desktop_there_is_no_clipboard() {
    let answer = analyze(&[]);
    assert_eq!(answer["error"]["code"], "INVALID_INPUT", "{answer}");
    let message = answer["error"]["message"].as_str().expect("words");
    assert!(message.contains("there is none that can be reached"), "{message}");
}

#[test]
fn what_was_copied_is_the_image() {
    let Some(mut desktop) = Desktop::start() else { return };
    assert!(desktop.refusal().contains("it holds no image"), "{}", desktop.refusal());
    let picture = example("qr.png");
    let mut bytes = Vec::new();
    File::open(&picture).and_then(|mut file| file.read_to_end(&mut bytes)).expect("an example");
    desktop.copy("image/png", &bytes);
    let answer = desktop.analyze();
    assert_eq!(answer["images"][0]["source"], "clipboard", "{answer}");
    assert!(answer["description"].as_str().expect("words").contains("ticket=4711"), "{answer}");
    desktop.copy("text/uri-list", format!("file://{picture}\r\n").as_bytes());
    let answer = desktop.analyze();
    assert_eq!(answer["images"][0]["source"], "clipboard", "{answer}");
    assert!(answer["warnings"].to_string().contains(&format!("the clipboard holds the file {picture}")), "{answer}");
}

#[test]
fn what_is_no_image_is_said_to_be_none() {
    let Some(mut desktop) = Desktop::start() else { return };
    desktop.copy("text/uri-list", b"file:///a.png\r\nfile:///b.png\r\n");
    assert!(desktop.refusal().contains("it holds 2 files"), "{}", desktop.refusal());
    desktop.copy("image/png", b"this is no image");
    assert!(desktop.refusal().contains("cannot be decoded"), "{}", desktop.refusal());
    desktop.copy("UTF8_STRING", b"hunter2");
    let said = desktop.refusal();
    assert!(said.contains("it holds text") && !said.contains("hunter2"), "{said}");
    desktop.copy("UTF8_STRING", b"https://example.org/hunter2.png");
    let said = desktop.refusal();
    assert!(said.contains("the text is an address") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_program_that_hangs_is_not_waited_for() {
    let Some(mut desktop) = Desktop::start() else { return };
    desktop.copy("image/png", b"whatever");
    let owner = desktop.owner.as_ref().expect("somebody copied").id().to_string();
    let signal = |signal: &str| Command::new("kill").args([signal, &owner]).status().expect("kill runs");
    assert!(signal("-STOP").success());
    let began = Instant::now();
    let said = desktop.refusal();
    assert!(said.contains("does not hand it over"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(signal("-CONT").success());
}
