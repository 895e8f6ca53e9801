//! The server that the conformance suite meets whole: `visiongate serve`, with the suite's fixtures in the place of the tools.
//!
//! The suite calls tools, prompts and resources by names of its own and wants certain answers of them. They stand here,
//! sorted by what they do; everything around them is what callers of the program meet. `run.sh` starts it and `make
//! conformance` runs that; nothing installs it.

mod asks;
mod changes;
mod content;
mod fixtures;
mod prompts;
mod questions;
mod resources;
mod rounds;
mod seal;
mod signs;
mod tasks;
mod tools;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use visiongate::live::Live;
use visiongate::supervisor::Supervisor;
use visiongate::{config, surface, telemetry};

use self::fixtures::{Fixtures, Shared};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, listen] = arguments.as_slice() else { return refuse("usage: conformance CONFIGURATION ADDRESS:PORT") };
    let loaded = match config::load(Some(Path::new(file))) {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&format!("{file}: {faults:?}")),
    };
    let Ok(shared) = Shared::new() else { return refuse("making a key: the system gives no random bytes") };
    telemetry::start(loaded.config.log.level, loaded.config.log.format, None);
    let supervisor = Supervisor::default();
    let live = match Live::start(None, loaded, supervisor.clone()) {
        Ok(live) => Arc::new(live),
        Err(faults) => return refuse(&format!("{file}: {faults:?}")),
    };
    surface::http::run_with(live, Some(listen), supervisor, move || Fixtures::new(shared.clone())).await
}

#[expect(clippy::print_stderr, reason = "whoever starts it wants to know why it did not")]
fn refuse(message: &str) -> ExitCode {
    eprintln!("error: {message}");
    ExitCode::from(2)
}
