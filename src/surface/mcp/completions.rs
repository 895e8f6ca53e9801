//! Completions: names of models, tasks and providers, while somebody types them.

use rmcp::model::{ArgumentInfo, CompletionInfo, Reference};
use vision_providers::request::Task;

use super::{prompts, resources};
use crate::gateway::{Asker, Gateway};

/// Nobody types more, and what was typed comes back with every name.
const LONGEST_TYPED: usize = 1000;

/// What an argument may be that begins like this.
pub(super) fn of(gateway: &Gateway, asker: &Asker, reference: &Reference, argument: &ArgumentInfo) -> CompletionInfo {
    if argument.value.len() > LONGEST_TYPED {
        return CompletionInfo::default();
    }
    let names = match reference {
        Reference::Prompt(prompt) if prompts::is_argument(gateway, &prompt.name, &argument.name) => {
            match argument.name.as_str() {
                "model" => gateway.roster.names_for(&asker.rights),
                "models" => return further(gateway, asker, &argument.value),
                "task" => tasks(gateway),
                _ => Vec::new(),
            }
        }
        Reference::Resource(template) => match (template.uri.as_str(), argument.name.as_str()) {
            (resources::PROVIDER_TEMPLATE, "provider") => {
                gateway.roster.providers_for(&asker.rights).map(str::to_owned).collect()
            }
            (resources::IMAGE_TEMPLATE, "handle") => {
                gateway.intake.uploads().of(&asker.caller).into_iter().map(|upload| upload.handle).collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    matching(names, &argument.value, "")
}

/// The next of several names that are separated by commas.
fn further(gateway: &Gateway, asker: &Asker, typed: &str) -> CompletionInfo {
    let (before, last) = typed.rsplit_once(',').map_or(("", typed), |(before, last)| (before, last));
    let before = if before.is_empty() { String::new() } else { format!("{before},") };
    matching(gateway.roster.names_for(&asker.rights), last.trim_start(), &before)
}

/// The names that begin as typed, and then those that hold it elsewhere.
fn matching(names: Vec<String>, typed: &str, before: &str) -> CompletionInfo {
    let typed = typed.to_lowercase();
    let (mut first, then): (Vec<String>, Vec<String>) = names
        .into_iter()
        .filter(|name| name.to_lowercase().contains(&typed))
        .partition(|name| name.to_lowercase().starts_with(&typed));
    first.extend(then);
    let total = u32::try_from(first.len()).unwrap_or(u32::MAX);
    let has_more = first.len() > CompletionInfo::MAX_VALUES;
    first.truncate(CompletionInfo::MAX_VALUES);
    let values = first.iter().map(|name| format!("{before}{name}")).collect();
    CompletionInfo::with_pagination(values, Some(total), has_more).unwrap_or_default()
}

fn tasks(gateway: &Gateway) -> Vec<String> {
    Task::ALL.iter().map(|task| task.name().to_owned()).chain(gateway.presets.keys().cloned()).collect()
}
