//! Settings in JSON, with or without comments: edited as text that keeps its form, comments included.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstObject, CstObjectProp, CstRootNode};
use serde_json::{Map, Value};

use super::merge::{Conflict, Merged, NAME, is_laid_over, leads_there, misleading};

/// What JSON with comments is to the clients that read it. Whatever is looser may mean something else to them.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Lays an entry into settings.
pub(super) fn merge(
    text: &str,
    section: &str,
    entry: &Map<String, Value>,
    conflict: Conflict,
) -> Result<Merged, String> {
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text),
    };
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let root = CstRootNode::parse(text, &OPTIONS).map_err(|error| format!("it cannot be read as JSON: {error}"))?;
    let top = root.object_value_or_create().ok_or("it holds no object")?;
    let servers = match only(&top, section)? {
        Some(property) => property.object_value().ok_or_else(|| format!("its `{section}` is no object"))?,
        None => top.object_value_or_create(section).ok_or_else(|| format!("`{section}` cannot be added"))?,
    };
    match only(&servers, NAME)? {
        None => {
            servers.append(NAME, input(&Value::Object(entry.clone())));
        }
        Some(property) => {
            let there = property.object_value().ok_or_else(|| format!("its `{NAME}` is no object"))?;
            if leads_there(&plain(&there), entry) {
                return Ok(Merged::Same);
            }
            if conflict == Conflict::Refuse {
                return Ok(Merged::Differs);
            }
            lay_over(&there, entry)?;
        }
    }
    Ok(Merged::With(format!("{mark}{root}")))
}

fn lay_over(there: &CstObject, entry: &Map<String, Value>) -> Result<(), String> {
    for member in misleading(entry) {
        if let Some(property) = only(there, member)? {
            property.remove();
        }
    }
    for (member, value) in entry {
        match only(there, member)? {
            Some(property) if is_laid_over(member) => property.set_value(input(value)),
            Some(_) => {}
            None => {
                there.append(member, input(value));
            }
        }
    }
    Ok(())
}

/// The member of this name. Of several, clients take the one or the other.
fn only(object: &CstObject, name: &str) -> Result<Option<CstObjectProp>, String> {
    let mut named = object.properties().into_iter().filter(|property| property.decoded_name().as_deref() == Some(name));
    let first = named.next();
    match named.next() {
        Some(_) => Err(format!("it has `{name}` twice")),
        None => Ok(first),
    }
}

fn plain(object: &CstObject) -> Map<String, Value> {
    match object.to_serde_value() {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(value) => CstInputValue::Number(value.to_string()),
        Value::String(value) => CstInputValue::String(value.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            CstInputValue::Object(members.iter().map(|(name, value)| (name.clone(), input(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry() -> Map<String, Value> {
        let entry = json!({"command": "/bin/visiongate", "args": ["mcp"], "env": {"MISTRAL_API_KEY": ""}});
        entry.as_object().expect("an object").clone()
    }

    fn laid_into(text: &str, conflict: Conflict) -> Result<Merged, String> {
        merge(text, "mcpServers", &entry(), conflict)
    }

    fn written(text: &str, conflict: Conflict) -> String {
        match laid_into(text, conflict) {
            Ok(Merged::With(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    /// The lines that were added, in the indentation of a file.
    fn lines(indent: &str, end: &str) -> String {
        let lines = [
            "2\"visiongate\": {",
            "3\"command\": \"/bin/visiongate\",",
            "3\"args\": [\"mcp\"],",
            "3\"env\": {",
            "4\"MISTRAL_API_KEY\": \"\"",
            "3}",
            "2}",
        ];
        let indented = lines.map(|line| {
            let (depth, line) = line.split_at(1);
            indent.repeat(depth.parse().expect("a digit")) + line
        });
        indented.join(end) + end
    }

    fn check(before: &str, after: &str) {
        assert_eq!(written(before, Conflict::Refuse), after);
        assert_eq!(laid_into(after, Conflict::Refuse), Ok(Merged::Same), "{after}");
    }

    #[test]
    fn other_servers_comments_and_forms_stay() {
        for (indent, end) in [("  ", "\n"), ("    ", "\n"), ("\t", "\n"), ("  ", "\r\n")] {
            let form = |text: &str| text.replace('>', indent).replace('\n', end);
            let head =
                form("// mine\n{\n>\"theme\":   \"dark\", /* so */\n>\"mcpServers\": {\n>>\"a\": {\"command\": \"x\"}");
            let tail = form("\n>},\n\n>\"z\": [1,2,  3],\n>\"b\": { } // last\n}\n");
            let added = lines(indent, end);
            check(&format!("{head}{tail}"), &format!("{head},{end}{}{tail}", added.trim_end()));
            let marked = format!("\u{feff}{head}{tail}");
            check(&marked, &format!("\u{feff}{head},{end}{}{tail}", added.trim_end()));
            let none = form("{\n>\"z\": 1,\n>\"mcpServers\": {");
            check(&format!("{none}{tail}"), &format!("{none}{end}{}{tail}", added.trim_end()));
        }
        let commas = "{\n  \"mcpServers\": {\n    \"a\": {}, // why\n  },\n}\n";
        let after = written(commas, Conflict::Refuse);
        assert!(after.starts_with("{\n  \"mcpServers\": {\n    \"a\": {}, // why\n    \"visiongate\""), "{after}");
        assert_eq!(laid_into(&after, Conflict::Refuse), Ok(Merged::Same));
    }

    #[test]
    fn settings_without_servers_get_some() {
        for before in ["{}", "{ }\n", "{\"a\":1}", "{\n  \"a\": 1\n}\n", "// none yet\n", "", " \n", "\u{feff}"] {
            let after = written(before, Conflict::Refuse);
            assert_eq!(laid_into(&after, Conflict::Refuse), Ok(Merged::Same), "{after}");
            assert_eq!(after.contains("\"a\""), before.contains("\"a\""), "{before} became {after}");
            assert_eq!(after.contains("// none yet"), before.contains("// none yet"), "{before} became {after}");
        }
        let whole = format!("{{\n  \"mcpServers\": {{\n{}  }}\n}}\n", lines("  ", "\n"));
        assert_eq!(written("", Conflict::Refuse), whole);
        assert_eq!(written("{}\n", Conflict::Refuse), whole);
    }

    #[test]
    fn what_the_user_added_to_the_entry_is_theirs() {
        let filled = r#"{"mcpServers": {"visiongate": {"command": "/bin/visiongate", "args": ["mcp"],
            "env": {"MISTRAL_API_KEY": "mine"}, "disabled": true}}}"#;
        assert_eq!(laid_into(filled, Conflict::Refuse), Ok(Merged::Same));
        let moved = filled.replace("/bin/", "/old/");
        assert_eq!(laid_into(&moved, Conflict::Refuse), Ok(Merged::Differs));
        let after = written(&moved, Conflict::Replace);
        assert_eq!(after, filled, "only the path was wrong");
    }

    #[test]
    fn an_entry_that_called_a_server_no_longer_does() {
        let remote =
            r#"{"mcpServers": {"visiongate": {"type": "http", "url": "https://x/mcp", "headers": {}, "timeout": 5}}}"#;
        let after: Value = serde_json::from_str(&written(remote, Conflict::Replace)).expect("JSON");
        let expected =
            json!({"timeout": 5, "command": "/bin/visiongate", "args": ["mcp"], "env": {"MISTRAL_API_KEY": ""}});
        assert_eq!(after["mcpServers"]["visiongate"], expected);
    }

    #[test]
    fn what_is_no_such_settings_is_refused() {
        for text in [
            "{",
            "[]",
            "3",
            "nonsense",
            "{'a': 1}",
            "{a: 1}",
            "{\"a\": 1 \"b\": 2}",
            "{\"mcpServers\": []}",
            "{\"mcpServers\": null}",
            "{\"mcpServers\": {\"visiongate\": 1}}",
            "{\"mcpServers\": {}, \"mcpServers\": {}}",
            "{} {}",
        ] {
            assert!(laid_into(text, Conflict::Replace).is_err(), "{text}");
        }
    }
}
