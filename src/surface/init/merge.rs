//! Laying one entry into somebody's settings: what can come of it, and which of an entry's members are ours.
//!
//! Each format has a file of its own that edits text; nothing here touches a file.

use serde_json::{Map, Value};

/// What clients call this server.
pub(super) const NAME: &str = "visiongate";

/// What came of laying an entry into settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Merged {
    /// It is there already.
    Same,
    /// An entry of this name leads elsewhere, and was to be left alone.
    Differs,
    /// The settings with the entry in them.
    With(String),
}

/// What becomes of an entry of this name that leads elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    Refuse,
    Replace,
}

/// Edits the text of settings; the error says why it cannot.
pub(super) type Edit = fn(&str, &str, &Map<String, Value>, Conflict) -> Result<Merged, String>;

/// How a client's settings are written.
pub(super) struct Settings {
    /// The member that holds the servers.
    pub(super) section: &'static str,
    pub(super) edit: Edit,
}

impl Settings {
    /// Lays an entry into the text of settings. Laid into nothing, it is the snippet to show.
    pub(super) fn merge(&self, text: &str, entry: &Map<String, Value>, conflict: Conflict) -> Result<Merged, String> {
        (self.edit)(text, self.section, entry, conflict)
    }
}

/// The members that say which program to start, by any client.
const STARTED: [&str; 6] = ["command", "cmd", "args", "cwd", "env", "env_vars"];
/// The members that say which server to call, by any client.
const CALLED: [&str; 8] =
    ["url", "httpUrl", "uri", "headers", "http_headers", "env_http_headers", "bearer_token_env_var", "env_keys"];

/// Whether an entry leads where ours does. Its user may have added to it: keys, time limits, permissions.
pub(super) fn leads_there(there: &Map<String, Value>, ours: &Map<String, Value>) -> bool {
    let told = ["command", "cmd", "args", "url", "httpUrl", "uri"];
    let told_if_ours = ["type", "headers", "bearer_token_env_var"];
    told.iter().all(|member| there.get(*member) == ours.get(*member))
        && told_if_ours.iter().all(|member| ours.get(*member).is_none_or(|value| there.get(*member) == Some(value)))
}

/// The members of an entry that have to go when ours takes its place: they would lead elsewhere.
pub(super) fn misleading(ours: &Map<String, Value>) -> impl Iterator<Item = &'static str> {
    let starts = STARTED.iter().any(|member| ours.contains_key(*member));
    let others = if starts { &CALLED[..] } else { &STARTED[..] };
    others.iter().copied().chain(["type"]).filter(|member| !ours.contains_key(*member))
}

/// Whether a member is laid over one that is there. What is passed to the program is the user's, once it is there.
pub(super) fn is_laid_over(member: &str) -> bool {
    !matches!(member, "env" | "env_vars" | "enabled" | "timeout" | "description" | "name")
}
