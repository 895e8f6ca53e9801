//! Settings in TOML: edited as text that keeps its form, comments included.

use serde_json::{Map, Value};
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike};

use super::merge::{Conflict, Merged, NAME, is_laid_over, leads_there, misleading};

/// Lays an entry into settings.
pub(super) fn merge(
    text: &str,
    section: &str,
    entry: &Map<String, Value>,
    conflict: Conflict,
) -> Result<Merged, String> {
    let unreadable = |error: toml_edit::TomlError| format!("it cannot be read as TOML: {}", error.message());
    let mut document: DocumentMut = text.parse().map_err(unreadable)?;
    let is_empty = document.is_empty();
    let servers = document.entry(section).or_insert_with(|| {
        let mut servers = Table::new();
        // Nobody writes `[mcp_servers]` above `[mcp_servers.name]`.
        servers.set_implicit(true);
        Item::Table(servers)
    });
    let inline = servers.is_inline_table();
    let servers = servers.as_table_like_mut().ok_or_else(|| format!("its `{section}` is no table"))?;
    match servers.get_mut(NAME) {
        None => {
            servers.insert(NAME, if inline { inline_entry(entry) } else { table_entry(entry, !is_empty) });
        }
        Some(there) => {
            let there = there.as_table_like_mut().ok_or_else(|| format!("its `{NAME}` is no table"))?;
            if leads_there(&plain(there), entry) {
                return Ok(Merged::Same);
            }
            if conflict == Conflict::Refuse {
                return Ok(Merged::Differs);
            }
            lay_over(there, entry);
        }
    }
    let written = with_line_ends_of(text, document.to_string());
    // An entry can be laid where TOML does not let it be written.
    written.parse::<DocumentMut>().map_err(|_| format!("its `{section}` takes no further table"))?;
    Ok(Merged::With(written))
}

fn lay_over(there: &mut dyn TableLike, entry: &Map<String, Value>) {
    for member in misleading(entry) {
        there.remove(member);
    }
    for (member, value) in entry {
        if is_laid_over(member) || !there.contains_key(member) {
            there.insert(member, Item::Value(written_as(value)));
        }
    }
}

fn table_entry(entry: &Map<String, Value>, apart: bool) -> Item {
    let mut table = Table::new();
    for (member, value) in entry {
        table.insert(member, Item::Value(written_as(value)));
    }
    if apart {
        table.decor_mut().set_prefix("\n");
    }
    Item::Table(table)
}

fn inline_entry(entry: &Map<String, Value>) -> Item {
    let table: InlineTable = entry.iter().map(|(member, value)| (member.as_str(), written_as(value))).collect();
    Item::Value(table.into())
}

fn written_as(value: &Value) -> toml_edit::Value {
    match value {
        Value::Array(items) => items.iter().map(written_as).collect::<Array>().into(),
        Value::Object(members) => {
            let table: InlineTable = members.iter().map(|(name, value)| (name.as_str(), written_as(value))).collect();
            table.into()
        }
        Value::Bool(value) => (*value).into(),
        Value::String(text) => text.as_str().into(),
        // Entries have neither fractions nor nulls.
        Value::Number(number) => number.as_i64().unwrap_or_default().into(),
        Value::Null => "".into(),
    }
}

/// The members of an entry that can say where it leads: text, and lists of text.
fn plain(table: &dyn TableLike) -> Map<String, Value> {
    let read = |item: &Item| {
        let texts = |array: &Array| array.iter().map(|item| item.as_str().map(Value::from)).collect::<Option<Vec<_>>>();
        item.as_str().map(Value::from).or_else(|| item.as_array().and_then(texts).map(Value::from))
    };
    table.iter().map(|(member, item)| (member.to_owned(), read(item).unwrap_or_default())).collect()
}

/// Lines end as most of them did.
fn with_line_ends_of(before: &str, after: String) -> String {
    let (all, windows) = (before.matches('\n').count(), before.matches("\r\n").count());
    if windows * 2 > all { after.replace("\r\n", "\n").replace('\n', "\r\n") } else { after }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn laid_into(text: &str, conflict: Conflict) -> Result<Merged, String> {
        let entry = json!({"command": "/bin/visiongate", "args": ["mcp"], "env_vars": ["MISTRAL_API_KEY"]});
        merge(text, "mcp_servers", entry.as_object().expect("an object"), conflict)
    }

    fn written(text: &str, conflict: Conflict) -> String {
        match laid_into(text, conflict) {
            Ok(Merged::With(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    const ENTRY: &str =
        "[mcp_servers.visiongate]\ncommand = \"/bin/visiongate\"\nargs = [\"mcp\"]\nenv_vars = [\"MISTRAL_API_KEY\"]\n";

    #[test]
    fn what_stood_there_stays_to_the_letter() {
        let servers = "# mine\nmodel   = 'o4'  # fast\n\n[mcp_servers.a]\ncommand=\"x\"\nargs = [ 'b', ] # c\n\n[mcp_servers.a.env]\nK = \"v\"\n";
        assert_eq!(written("", Conflict::Refuse), ENTRY);
        for before in [servers, "model = \"x\"\n", "[tui]\ntheme = \"y\" # z\n"] {
            let after = written(before, Conflict::Refuse);
            assert_eq!(after, format!("{before}\n{ENTRY}"));
            assert_eq!(laid_into(&after, Conflict::Refuse), Ok(Merged::Same));
        }
        // Where the servers are followed by something else, the entry stands among them.
        let between = "[mcp_servers.a]\ncommand = \"x\"\n\n# looks\n[tui]\ntheme = \"y\"\n";
        let after = written(between, Conflict::Refuse);
        assert_eq!(after.replace(&format!("\n{ENTRY}"), ""), between);
        let windows = servers.replace('\n', "\r\n");
        assert_eq!(written(&windows, Conflict::Refuse), format!("{windows}\r\n{}", ENTRY.replace('\n', "\r\n")));
    }

    #[test]
    fn servers_written_otherwise_are_understood() {
        for before in [
            "mcp_servers = { a = { command = \"x\" } }\n",
            "mcp_servers.a.command = \"x\"\nmodel = \"m\"\n",
            "[mcp_servers]\na = { command = \"x\" }\n",
            "[\"mcp_servers\".a]\ncommand = \"x\"\n",
        ] {
            let after = written(before, Conflict::Refuse);
            let read: DocumentMut = after.parse().expect("TOML");
            assert_eq!(read["mcp_servers"]["a"]["command"].as_str(), Some("x"), "{after}");
            assert_eq!(read["mcp_servers"]["visiongate"]["args"][0].as_str(), Some("mcp"), "{after}");
            assert_eq!(laid_into(&after, Conflict::Refuse), Ok(Merged::Same), "{after}");
        }
    }

    #[test]
    fn an_entry_that_leads_elsewhere_is_replaced_only_when_told() {
        let before = "[mcp_servers.visiongate]\nurl = \"https://x/mcp\" # old\nbearer_token_env_var = \"K\"\ntool_timeout_sec = 9 # mine\n";
        assert_eq!(laid_into(before, Conflict::Refuse), Ok(Merged::Differs));
        let after = written(before, Conflict::Replace);
        assert!(after.contains("tool_timeout_sec = 9 # mine") && !after.contains("url"), "{after}");
        assert_eq!(laid_into(&after, Conflict::Refuse), Ok(Merged::Same), "{after}");
    }

    #[test]
    fn what_is_no_such_settings_is_refused() {
        for text in ["a = ", "mcp_servers = 3", "[[mcp_servers]]", "[mcp_servers]\nvisiongate = 1", "[a]\n[a]\n"] {
            assert!(laid_into(text, Conflict::Replace).is_err(), "{text}");
        }
    }
}
