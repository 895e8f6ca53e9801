//! `visiongate keys new`: makes a key for a caller. It is shown once and kept nowhere; the configuration gets its digest.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::cli::{print, print_json, tell};
use super::question::show_failure;
use crate::keys;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key for a caller of `visiongate serve`, and print it once
    New {
        /// The name under which rules and logs know the caller
        name: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

/// Makes a key.
pub(super) fn run(command: &Command) -> ExitCode {
    let Command::New { name, json } = command;
    if let Err(wrong) = keys::check_name(name) {
        tell(&format!("error: {name}: {wrong}"));
        return ExitCode::from(2);
    }
    let (key, digest) = match keys::generate() {
        Ok(made) => made,
        Err(failure) => {
            show_failure(&failure, *json);
            return ExitCode::FAILURE;
        }
    };
    if *json {
        print_json(&json!({"name": name, "key": key, "hash": digest}));
        return ExitCode::SUCCESS;
    }
    print(&key);
    tell(&format!(
        "this key is shown once; give it to {name}, and put its digest into your configuration:\n\n\
         [server.keys.\"{name}\"]\nhash = \"{digest}\""
    ));
    ExitCode::SUCCESS
}
