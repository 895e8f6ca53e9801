//! Where each client keeps its settings, on Linux, macOS and Windows.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use super::client::Client;

/// A file to write to, and what it must not lead out of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    /// A project's folder, whose links others have made: none may lead out of it.
    pub(super) project: Option<PathBuf>,
}

impl Place {
    /// A file among the user's own settings, where links are the user's too.
    pub(super) fn of_the_user(file: PathBuf) -> Self {
        Self { file, project: None }
    }

    fn in_project(project: &Path, below: &str) -> Self {
        Self { file: project.join(below), project: Some(project.to_owned()) }
    }
}

/// The systems that clients keep their settings on differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Linux,
    Mac,
    Windows,
}

/// The folders below which clients keep their settings.
#[derive(Debug, Clone)]
pub(super) struct Folders {
    system: System,
    home: PathBuf,
    /// `~/.config` or what stands for it; on Windows, the roaming part of the profile.
    config: PathBuf,
    /// The part of a Windows profile that stays on its machine.
    local: PathBuf,
    /// The folder that the command was called in.
    project: PathBuf,
    /// Where Codex was told to live.
    codex: Option<PathBuf>,
}

impl Folders {
    /// The folders of whoever calls.
    pub(super) fn of_the_user() -> Result<Self, String> {
        let user = etcetera::choose_base_strategy().map_err(|_| "no home folder is known to write to".to_owned())?;
        let project = std::env::current_dir().map_err(|error| format!("finding out the working directory: {error}"))?;
        let system = if cfg!(windows) {
            System::Windows
        } else if cfg!(target_os = "macos") {
            System::Mac
        } else {
            System::Linux
        };
        Ok(Self {
            system,
            home: user.home_dir().to_owned(),
            config: user.config_dir(),
            local: user.cache_dir(),
            project,
            codex: codex_home(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "this variable is another program's, and no setting of this one")]
fn codex_home() -> Option<PathBuf> {
    std::env::var_os("CODEX_HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

impl Client {
    /// Where this client's settings are.
    pub(super) fn place(self, folders: &Folders) -> Place {
        let Folders { system, home, config, project, .. } = folders;
        let file = match (self, system) {
            (Self::ClaudeCode, _) => return Place::in_project(project, ".mcp.json"),
            (Self::Vscode, _) => return Place::in_project(project, ".vscode/mcp.json"),
            (Self::ClaudeDesktop, System::Mac) => home.join("Library/Application Support/Claude").join(CLAUDE_DESKTOP),
            (Self::ClaudeDesktop, System::Windows) => {
                packaged(&folders.local).unwrap_or_else(|| config.join("Claude")).join(CLAUDE_DESKTOP)
            }
            (Self::ClaudeDesktop, System::Linux) => config.join("Claude").join(CLAUDE_DESKTOP),
            (Self::Cursor, _) => home.join(".cursor/mcp.json"),
            (Self::Codex, _) => folders.codex.clone().unwrap_or_else(|| home.join(".codex")).join("config.toml"),
            (Self::GeminiCli, _) => home.join(".gemini/settings.json"),
            (Self::Zed, System::Windows) => config.join("Zed").join("settings.json"),
            // On macOS it does not look at XDG_CONFIG_HOME.
            (Self::Zed, System::Mac) => home.join(".config/zed/settings.json"),
            (Self::Zed, System::Linux) => config.join("zed/settings.json"),
            (Self::Goose, System::Windows) => config.join("Block").join("goose").join("config").join("config.yaml"),
            (Self::Goose, _) => config.join("goose/config.yaml"),
        };
        Place::of_the_user(file)
    }
}

const CLAUDE_DESKTOP: &str = "claude_desktop_config.json";

/// Where Claude Desktop keeps its settings when Windows runs it from a package, as it does since 2026: it is shown a
/// roaming folder of its own, and never sees the user's. <https://github.com/anthropics/claude-code/issues/25579>
fn packaged(local: &Path) -> Option<PathBuf> {
    let packages = std::fs::read_dir(local.join("Packages")).ok()?.flatten();
    let mut claude: Vec<PathBuf> = packages
        .filter(|package| package.file_name().to_string_lossy().starts_with("Claude_"))
        .map(|package| package.path().join("LocalCache").join("Roaming").join("Claude"))
        .collect();
    // A package that has been run comes before one that has not.
    claude.sort_by_key(|folder| (!folder.is_dir(), folder.clone()));
    claude.into_iter().next()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    fn folders(system: System, local: &Path) -> Folders {
        Folders {
            system,
            home: "/home/u".into(),
            config: "/home/u/.config".into(),
            local: local.to_owned(),
            project: "/project".into(),
            codex: None,
        }
    }

    fn check(system: System, expected: [&str; 8]) {
        let folders = folders(system, Path::new("/nowhere"));
        for (client, expected) in Client::value_variants().iter().zip(expected) {
            assert_eq!(client.place(&folders).file, Path::new(expected), "{client:?}");
        }
    }

    #[test]
    fn every_client_has_its_place_on_every_system() {
        check(
            System::Linux,
            [
                "/home/u/.config/Claude/claude_desktop_config.json",
                "/project/.mcp.json",
                "/home/u/.cursor/mcp.json",
                "/project/.vscode/mcp.json",
                "/home/u/.codex/config.toml",
                "/home/u/.gemini/settings.json",
                "/home/u/.config/zed/settings.json",
                "/home/u/.config/goose/config.yaml",
            ],
        );
        check(
            System::Mac,
            [
                "/home/u/Library/Application Support/Claude/claude_desktop_config.json",
                "/project/.mcp.json",
                "/home/u/.cursor/mcp.json",
                "/project/.vscode/mcp.json",
                "/home/u/.codex/config.toml",
                "/home/u/.gemini/settings.json",
                "/home/u/.config/zed/settings.json",
                "/home/u/.config/goose/config.yaml",
            ],
        );
        check(
            System::Windows,
            [
                "/home/u/.config/Claude/claude_desktop_config.json",
                "/project/.mcp.json",
                "/home/u/.cursor/mcp.json",
                "/project/.vscode/mcp.json",
                "/home/u/.codex/config.toml",
                "/home/u/.gemini/settings.json",
                "/home/u/.config/Zed/settings.json",
                "/home/u/.config/Block/goose/config/config.yaml",
            ],
        );
    }

    #[test]
    fn a_packaged_claude_desktop_is_found() {
        let local = tempfile::tempdir().expect("a folder");
        let packages = local.path().join("Packages");
        for package in ["Claude_aaa", "Other_x"] {
            std::fs::create_dir_all(packages.join(package)).expect("a folder");
        }
        let run = packages.join("Claude_pzs/LocalCache/Roaming/Claude");
        std::fs::create_dir_all(&run).expect("a folder");
        let place = Client::ClaudeDesktop.place(&folders(System::Windows, local.path()));
        assert_eq!(place.file, run.join(CLAUDE_DESKTOP));
    }

    #[test]
    fn codex_lives_where_it_was_told_to() {
        let folders = Folders { codex: Some("/elsewhere".into()), ..folders(System::Linux, Path::new("/nowhere")) };
        assert_eq!(Client::Codex.place(&folders).file, Path::new("/elsewhere/config.toml"));
    }
}
