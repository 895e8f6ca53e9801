//! The gateway as its users meet it: through its library's doors, and as a real process on real pipes and sockets.

#![expect(clippy::expect_used, clippy::panic, reason = "a test says what is wrong by failing")]

mod cli;
mod client;
mod clipboard;
mod config;
mod evaluations;
mod faults;
mod gateway;
mod hostile;
mod http;
mod inputs;
mod install;
mod intake;
mod keys;
mod layers;
mod mcp;
mod oauth;
mod openai;
mod openapi;
mod page;
mod rest;
mod routes;
mod runs;
mod service;
mod several;
mod streams;
mod terms;
mod tidy;
mod tools;
mod traces;
mod uploads;
mod vendors;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use visiongate::supervisor::Supervisor;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The path of an example image.
pub(crate) fn example(name: &str) -> String {
    root().join("examples").join(name).display().to_string()
}

/// A configuration in a file of its own.
pub(crate) fn config_file(folder: &Path, toml: &str) -> PathBuf {
    let file = folder.join("config.toml");
    std::fs::write(&file, toml).expect("a file");
    file
}

/// A gateway with this configuration over the built-in one.
pub(crate) fn gateway(toml: &str) -> visiongate::gateway::Gateway {
    let folder = tempfile::tempdir().expect("a folder");
    let file = config_file(folder.path(), toml);
    let loaded = visiongate::config::load(Some(&file)).expect("a configuration without faults");
    visiongate::assemble::gateway(&loaded, &Supervisor::default()).expect("a gateway")
}

/// The configuration of a pixtral provider at this address, alone and impatient enough for tests.
pub(crate) fn pixtral_at(base_url: &str) -> String {
    format!("fallback = []\n[providers.pixtral]\nbase_url = \"{base_url}\"\nkey = \"none\"\n")
}

/// Mistral's reply that says this.
pub(crate) fn completion(content: &str) -> Value {
    json!({
        "id": "cmpl-1", "object": "chat.completion", "created": 1_795_200_000, "model": "mistral-medium-2604",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
        "usage": {"prompt_tokens": 1210, "completion_tokens": 96, "total_tokens": 1306}
    })
}

/// Mistral's reply to a request for a description.
pub(crate) fn described(description: &str, detected_text: &str) -> Value {
    completion(&json!({"description": description, "detected_text": detected_text}).to_string())
}
