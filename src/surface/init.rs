//! `visiongate init`: a starter configuration, or the snippet that connects an MCP client.
//!
//! It prints. It writes only when told to, and never over a file that is there: other people's settings live in it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;

use super::cli::{print, tell};
use crate::config;

const STARTER: &str = r#"# visiongate: what differs from the built-in configuration. `visiongate check` reads it and reports every fault.

default  = "pixtral"      # who answers: a provider, provider/model, or an alias
fallback = ["local"]      # who is asked next

[providers.pixtral]
key   = { env = "MISTRAL_API_KEY" }
model = "mistral-medium-latest"

# Any server that speaks chat completions:
# [providers.lab]
# kind     = "openai-compatible"
# base_url = "http://localhost:8000/v1"
# model    = "qwen3-vl-8b"
# key      = "none"
"#;

/// The MCP clients whose settings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    ClaudeDesktop,
    ClaudeCode,
    Cursor,
    Vscode,
    Codex,
    GeminiCli,
    Zed,
    Goose,
}

/// Where a client keeps its settings, below the home folder or the project.
enum Place {
    Home(&'static str),
    Project(&'static str),
}

impl Client {
    fn place(self) -> Place {
        match self {
            Self::ClaudeDesktop if cfg!(target_os = "macos") => {
                Place::Home("Library/Application Support/Claude/claude_desktop_config.json")
            }
            Self::ClaudeDesktop => Place::Home(".config/Claude/claude_desktop_config.json"),
            Self::ClaudeCode => Place::Project(".mcp.json"),
            Self::Cursor => Place::Home(".cursor/mcp.json"),
            Self::Vscode => Place::Project(".vscode/mcp.json"),
            Self::Codex => Place::Home(".codex/config.toml"),
            Self::GeminiCli => Place::Home(".gemini/settings.json"),
            Self::Zed => Place::Home(".config/zed/settings.json"),
            Self::Goose => Place::Home(".config/goose/config.yaml"),
        }
    }

    /// The client's settings with this server in them. Clients start servers with little of the user's environment,
    /// so the program is named by its full path.
    fn snippet(self, program: &str) -> String {
        let text = serde_json::Value::from(program).to_string();
        match self {
            Self::ClaudeDesktop | Self::ClaudeCode | Self::Cursor | Self::GeminiCli => format!(
                "{{\n  \"mcpServers\": {{\n    \"visiongate\": {{\n      \"command\": {text},\n      \"args\": [\"mcp\"],\n      \
                 \"env\": {{ \"MISTRAL_API_KEY\": \"\" }}\n    }}\n  }}\n}}"
            ),
            Self::Vscode => format!(
                "{{\n  \"servers\": {{\n    \"visiongate\": {{\n      \"type\": \"stdio\",\n      \"command\": {text},\n      \
                 \"args\": [\"mcp\"]\n    }}\n  }}\n}}"
            ),
            Self::Zed => format!(
                "{{\n  \"context_servers\": {{\n    \"visiongate\": {{\n      \"command\": {text},\n      \"args\": [\"mcp\"],\n      \
                 \"env\": {{}}\n    }}\n  }}\n}}"
            ),
            Self::Codex => {
                format!("[mcp_servers.visiongate]\ncommand = {text}\nargs = [\"mcp\"]\ntool_timeout_sec = 60")
            }
            Self::Goose => format!(
                "extensions:\n  visiongate:\n    type: stdio\n    name: visiongate\n    enabled: true\n    cmd: {text}\n    \
                 args: [mcp]\n    timeout: 60"
            ),
        }
    }
}

/// Prints or writes.
pub fn run(client: Option<Client>, write: bool) -> ExitCode {
    let (text, place) = match client {
        None => (STARTER.trim_end().to_owned(), config::user_file()),
        Some(client) => {
            let program =
                std::env::current_exe().map_or_else(|_| "visiongate".into(), |path| path.display().to_string());
            let place = match client.place() {
                Place::Home(below) => std::env::home_dir().map(|home| home.join(below)),
                Place::Project(below) => Some(PathBuf::from(below)),
            };
            (client.snippet(&program), place)
        }
    };
    let shown = place.as_ref().map_or("your settings".into(), |place| place.display().to_string());
    if !write {
        print(&text);
        tell(&format!("this belongs into {shown}"));
        return ExitCode::SUCCESS;
    }
    match place.map(|place| create(&place, &text)) {
        Some(Ok(())) => {
            tell(&format!("wrote {shown}"));
            ExitCode::SUCCESS
        }
        Some(Err(error)) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            print(&text);
            tell(&format!("error: {shown} exists and is left alone; add what is printed above by hand"));
            ExitCode::FAILURE
        }
        Some(Err(error)) => {
            tell(&format!("error: writing {shown}: {error}"));
            ExitCode::FAILURE
        }
        None => {
            tell("error: no home folder is known to write to");
            ExitCode::FAILURE
        }
    }
}

fn create(place: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(place)?;
    writeln!(file, "{text}")
}
