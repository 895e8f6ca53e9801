//! The MCP clients whose settings are known: what each calls an entry's members, and what its user has to know.
//!
//! What each reads is its vendor's word; `place.rs` says where.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::merge::{NAME, Settings};
use super::{json, toml, yaml};

/// The MCP clients whose settings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Client {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    Vscode,
    Codex,
    GeminiCli,
    Zed,
    Goose,
}

/// How a client reaches this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// It starts the program at this full path, with a configuration of its own if any; the provider's key, if it asks
    /// for one, stands in the variable.
    Program { program: String, config: Option<String>, key: Option<String> },
    /// It calls this address; the server's key, if any, stands in the variable.
    Server { url: String, key: Option<String> },
}

/// Why there is no entry for a server that runs already.
pub(super) const NO_REMOTE: &str = "Claude Desktop's settings file knows only servers that it starts: add the address \
    under Settings, Connectors, or leave out --url";

impl Reach {
    /// The variable that an entry names for the key, where it names one.
    pub(super) fn variable_in(&self, entry: &Map<String, Value>) -> Option<&str> {
        let (Self::Program { key, .. } | Self::Server { key, .. }) = self;
        let text = Value::Object(entry.clone()).to_string();
        key.as_deref().filter(|key| text.contains(key))
    }
}

/// What the program is started with.
fn arguments(config: Option<&str>) -> Vec<&str> {
    config.map_or_else(|| vec!["mcp"], |config| vec!["--config", config, "mcp"])
}

/// A word as a shell takes it: paths may hold spaces.
fn shell_word(text: &str) -> String {
    let is_plain = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_./".contains(letter));
    if is_plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl Client {
    /// How its settings are written, and which member holds the servers.
    pub(super) fn settings(self) -> Settings {
        match self {
            Self::ClaudeDesktop | Self::ClaudeCode | Self::Cursor | Self::GeminiCli => {
                Settings { section: "mcpServers", edit: json::merge }
            }
            Self::Vscode => Settings { section: "servers", edit: json::merge },
            Self::Zed => Settings { section: "context_servers", edit: json::merge },
            Self::Codex => Settings { section: "mcp_servers", edit: toml::merge },
            Self::Goose => Settings { section: "extensions", edit: yaml::merge },
        }
    }

    /// The entry for this server; none where the client's settings have no such entries.
    pub(super) fn entry(self, reach: &Reach) -> Option<Map<String, Value>> {
        let entry = match reach {
            Reach::Program { program, config, key } => self.started(program, config.as_deref(), key.as_deref()),
            Reach::Server { url, key } => self.called(url, key.as_deref())?,
        };
        match entry {
            Value::Object(entry) => Some(entry),
            _ => None,
        }
    }

    /// An entry that starts a program. Those who pass on little of their environment are told to pass on the key: by its
    /// name where they can, so that it stands in no file.
    fn started(self, program: &str, config: Option<&str>, key: Option<&str>) -> Value {
        let args = arguments(config);
        let env = |reference: &dyn Fn(&str) -> String| -> Map<String, Value> {
            key.map(|key| (key.to_owned(), json!(reference(key)))).into_iter().collect()
        };
        match self {
            // It is started by the desktop and knows no variables of the shell, so there is nothing to refer to.
            Self::ClaudeDesktop => json!({"command": program, "args": args, "env": env(&|_| String::new())}),
            // Without `:-`, an unset variable would be passed on as these very letters.
            Self::ClaudeCode => json!({"command": program, "args": args, "env": env(&|key| format!("${{{key}:-}}"))}),
            Self::Cursor => json!({"command": program, "args": args, "env": env(&|key| format!("${{env:{key}}}"))}),
            Self::GeminiCli => json!({"command": program, "args": args, "env": env(&|key| format!("${key}"))}),
            Self::Vscode => json!({"type": "stdio", "command": program, "args": args}),
            Self::Zed => json!({"command": program, "args": args, "env": {}}),
            Self::Codex => json!({"command": program, "args": args, "env_vars": key.into_iter().collect::<Vec<_>>()}),
            Self::Goose => json!({
                "type": "stdio", "name": NAME, "description": "Looks at images", "enabled": true, "cmd": program,
                "args": args, "timeout": 300,
            }),
        }
    }

    /// An entry that calls a server.
    fn called(self, url: &str, key: Option<&str>) -> Option<Value> {
        let bearer = |reference: String| json!({"Authorization": format!("Bearer {reference}")});
        let (mut entry, headers) = match self {
            Self::ClaudeDesktop => return None,
            // Without a type, it would take the entry for a program to start.
            Self::ClaudeCode => (json!({"type": "http", "url": url}), key.map(|key| bearer(format!("${{{key}:-}}")))),
            Self::Cursor => (json!({"url": url}), key.map(|key| bearer(format!("${{env:{key}}}")))),
            Self::Vscode => (json!({"type": "http", "url": url}), key.map(|key| bearer(format!("${{env:{key}}}")))),
            Self::GeminiCli => (json!({"httpUrl": url}), key.map(|key| bearer(format!("${key}")))),
            // It sends headers to the letter; a reference would be taken for a key.
            Self::Zed => (json!({"url": url}), None),
            Self::Codex => {
                let mut entry = json!({"url": url});
                if let Some(key) = key {
                    entry["bearer_token_env_var"] = json!(key);
                }
                (entry, None)
            }
            Self::Goose => {
                let mut entry = json!({
                    "type": "streamable_http", "name": NAME, "description": "Looks at images", "enabled": true,
                    "uri": url, "timeout": 300,
                });
                // It looks for the variable in its keyring too.
                if let Some(key) = key {
                    entry["env_keys"] = json!([key]);
                }
                (entry, key.map(|key| bearer(format!("${key}"))))
            }
        };
        if let Some(headers) = headers {
            entry["headers"] = headers;
        }
        Some(entry)
    }

    /// What remains to be done by hand.
    pub(super) fn advice(self, reach: &Reach) -> String {
        match (self, reach) {
            (Self::ClaudeDesktop, Reach::Program { key: Some(key), .. }) => format!(
                "note: Claude Desktop knows no variables of your shell: write the key of {key} into the entry, or its \
                 file into visiongate's configuration (key = {{ file = \"…\" }}); then start it anew"
            ),
            (Self::ClaudeCode, Reach::Program { program, config, .. }) => {
                let quoted: Vec<String> = arguments(config.as_deref()).iter().map(|it| shell_word(it)).collect();
                format!(
                    "note: this is for the project in this folder; for all of yours: claude mcp add --scope user {NAME} \
                     -- '{program}' {}",
                    quoted.join(" ")
                )
            }
            (Self::Vscode, Reach::Program { key: Some(key), .. }) => {
                format!("note: this is for the project in this folder; {key} is taken from VS Code's environment")
            }
            (_, Reach::Program { key: None, .. }) => {
                "note: the provider that is asked by default needs no key here".into()
            }
            (_, Reach::Program { key: Some(key), .. }) => {
                format!("note: set {key} in the environment that starts the client")
            }
            (Self::Zed, Reach::Server { key: Some(_), .. }) => "note: Zed reads no variables in headers: write \
                \"headers\": { \"Authorization\": \"Bearer …\" } into the entry yourself, if the server asks for a key"
                .into(),
            (_, Reach::Server { key: Some(key), .. }) => {
                format!("note: set {key} to the server's key in the environment that starts the client")
            }
            (_, Reach::Server { key: None, .. }) => "note: no key is sent; --key-env names the variable of one".into(),
        }
    }
}
