//! Settings in YAML: lines are added where that is safe, and nothing is rewritten, because no library keeps comments.
//!
//! It is no parser. It knows the plain form that the client itself writes, and refuses everything else.

use serde_json::{Map, Value};

use super::merge::{Conflict, Merged, NAME};

/// Lays an entry into settings.
pub(super) fn merge(
    text: &str,
    section: &str,
    entry: &Map<String, Value>,
    conflict: Conflict,
) -> Result<Merged, String> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let Some(at) = line_of_section(&lines, section)? else {
        let break_line = if text.is_empty() || text.ends_with('\n') { "" } else { end };
        let block = block(entry, 2, end);
        return Ok(Merged::With(format!("{text}{break_line}{section}:{end}{block}")));
    };
    let (key_line, empty) = without_empty_value(lines[at], section)?;
    let children = children(&lines[at + 1..]);
    let indent = check_children(children, section)?;
    if empty && indent.is_some() {
        return Err(intricate(lines[at]));
    }
    let indent = indent.unwrap_or(2);
    let named = children.iter().position(|line| depth(line) == indent && key(line.trim()) == Some(NAME));
    if let Some(named) = named {
        let leads_there = ["type", "cmd", "uri"]
            .iter()
            .all(|name| member(&children[named + 1..], indent, name) == text_of(entry, name));
        return match (leads_there, conflict) {
            (true, _) => Ok(Merged::Same),
            (false, Conflict::Refuse) => Ok(Merged::Differs),
            (false, Conflict::Replace) => Err(format!("its entry `{NAME}` leads elsewhere, and YAML is not rewritten")),
        };
    }
    let key_line = if key_line.ends_with('\n') { key_line } else { key_line + end };
    let block = block(entry, indent, end);
    Ok(Merged::With(format!("{}{key_line}{block}{}", lines[..at].concat(), lines[at + 1..].concat())))
}

/// Where the section begins. Every line at the left has to be one that is understood, or it might be the section.
fn line_of_section(lines: &[&str], section: &str) -> Result<Option<usize>, String> {
    let mut found = None;
    let mut begun = false;
    for (at, line) in lines.iter().enumerate() {
        let indentation = &line[..line.len() - line.trim_start().len()];
        if indentation.contains('\t') && !is_nothing(line) {
            return Err(intricate(line));
        }
        if is_nothing(line) || !indentation.is_empty() || (!begun && line.trim_end() == "---") {
            continue;
        }
        // A list may stand as far left as the key that it belongs to.
        let is_item = begun && (line.starts_with("- ") || line.trim_end() == "-");
        match key(line.trim_end()) {
            Some(name) if name == section && found.is_some() => return Err(format!("it has `{section}` twice")),
            Some(name) if name == section => found = Some(at),
            Some(_) if is_whole(value(line)) => {}
            None if is_item => {}
            _ => return Err(intricate(line)),
        }
        begun = true;
    }
    Ok(found)
}

/// The line of the section without a value that says that there is nothing in it, and whether it had one.
fn without_empty_value(line: &str, section: &str) -> Result<(String, bool), String> {
    match value(line) {
        "" => Ok((line.to_owned(), false)),
        nothing @ ("{}" | "null" | "~") => Ok((line.replacen(&format!(" {nothing}"), "", 1), true)),
        _ => Err(format!("its `{section}` is written in a form that is not edited here")),
    }
}

/// The lines below a key at the left. A list may stand as far left as its key.
fn children<'a, 'b>(below: &'a [&'b str]) -> &'a [&'b str] {
    let next = below.iter().position(|line| !is_nothing(line) && depth(line) == 0 && !line.starts_with('-'));
    &below[..next.unwrap_or(below.len())]
}

/// How far the entries are indented, if there are any. Every one has to be understood, or it might be ours.
fn check_children(children: &[&str], section: &str) -> Result<Option<usize>, String> {
    let Some(first) = children.iter().find(|line| !is_nothing(line)) else { return Ok(None) };
    let indent = depth(first);
    let mut names = Vec::new();
    for line in children.iter().filter(|line| !is_nothing(line) && depth(line) <= indent) {
        match key(line.trim()) {
            Some(name) if depth(line) == indent && !names.contains(&name) => names.push(name),
            Some(name) if names.contains(&name) => return Err(format!("its `{section}` has `{name}` twice")),
            _ => return Err(intricate(line)),
        }
    }
    Ok(Some(indent))
}

/// A member of the entry whose lines these begin with, when it is plain text.
fn member(below: &[&str], indent: usize, name: &str) -> Option<String> {
    let own = below.iter().take_while(|line| is_nothing(line) || depth(line) > indent).filter(|line| !is_nothing(line));
    let own: Vec<&&str> = own.collect();
    let inner = depth(own.first()?);
    let line = own.iter().find(|line| depth(line) == inner && key(line.trim()) == Some(name))?;
    let value = value(line);
    match value.chars().next()? {
        '"' => serde_json::from_str(value).ok(),
        '\'' => Some(value.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'")),
        _ => Some(value.to_owned()),
    }
}

fn text_of(entry: &Map<String, Value>, name: &str) -> Option<String> {
    entry.get(name)?.as_str().map(ToOwned::to_owned)
}

/// The entry as lines. What JSON writes for text and lists means the same in YAML.
fn block(entry: &Map<String, Value>, indent: usize, end: &str) -> String {
    fn lines(members: &Map<String, Value>, indent: usize, end: &str) -> String {
        let space = " ".repeat(indent);
        let line = |(name, value): (&String, &Value)| match value {
            Value::Object(members) => format!("{space}{name}:{end}{}", lines(members, indent + 2, end)),
            plain => format!("{space}{name}: {plain}{end}"),
        };
        members.iter().map(line).collect()
    }
    format!("{}{NAME}:{end}{}", " ".repeat(indent), lines(entry, indent + 2, end))
}

/// The key of `key:` or `key: value`, when it is written plainly.
fn key(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once(':')?;
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/');
    let plain = !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain);
    (plain && (rest.is_empty() || rest.starts_with(' '))).then_some(name)
}

/// What stands behind the colon, without a comment.
fn value(line: &str) -> &str {
    let behind = line.split_once(':').map_or("", |(_, behind)| behind);
    let behind = behind.split_once(" #").map_or(behind, |(value, _)| value);
    behind.trim()
}

/// Whether a value that needs an end has it on its line.
fn is_whole(value: &str) -> bool {
    let ends = [('[', ']'), ('{', '}'), ('"', '"'), ('\'', '\'')];
    let end = ends.iter().find(|(begin, _)| value.starts_with(*begin)).map(|(_, end)| *end);
    end.is_none_or(|end| value.len() > 1 && value.ends_with(end))
}

fn depth(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Whether a line is blank or a comment.
fn is_nothing(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

fn intricate(line: &str) -> String {
    format!("this line is more YAML than is understood here: {}", line.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BLOCK: &str = "  visiongate:\n    type: \"stdio\"\n    cmd: \"/bin/visiongate\"\n    args: [\"mcp\"]\n    headers:\n      \
                         A: \"b\"\n";

    fn laid_into(text: &str, conflict: Conflict) -> Result<Merged, String> {
        let entry = json!({"type": "stdio", "cmd": "/bin/visiongate", "args": ["mcp"], "headers": {"A": "b"}});
        merge(text, "extensions", entry.as_object().expect("an object"), conflict)
    }

    fn check(before: &str, after: &str) {
        assert_eq!(laid_into(before, Conflict::Refuse), Ok(Merged::With(after.to_owned())));
        assert_eq!(laid_into(after, Conflict::Refuse), Ok(Merged::Same), "{after}");
    }

    #[test]
    fn lines_are_added_and_none_is_changed() {
        check("", &format!("extensions:\n{BLOCK}"));
        check("# mine\nGOOSE_MODEL: x", &format!("# mine\nGOOSE_MODEL: x\nextensions:\n{BLOCK}"));
        check("---\nA: [1, 2]\nL:\n- a\n- b\n", &format!("---\nA: [1, 2]\nL:\n- a\n- b\nextensions:\n{BLOCK}"));
        let other = "  memory:   # mine\n    enabled: true\n    note: |\n      visiongate: no\n\n";
        check(
            &format!("A: 1\nextensions: # all\n{other}B: 'x'\n"),
            &format!("A: 1\nextensions: # all\n{BLOCK}{other}B: 'x'\n"),
        );
        check("extensions: {} # none\nB: 1\n", &format!("extensions: # none\n{BLOCK}B: 1\n"));
        check("extensions:", &format!("extensions:\n{BLOCK}"));
        let deep = "extensions:\r\n    memory:\r\n        enabled: true\r\n";
        let block = BLOCK.replace("\n  ", "\n    ").replacen("  v", "    v", 1).replace('\n', "\r\n");
        check(deep, &format!("extensions:\r\n{block}    memory:\r\n        enabled: true\r\n"));
    }

    #[test]
    fn an_entry_that_the_client_has_written_anew_is_known() {
        let anew = "extensions:\n  visiongate:\n    enabled: true\n    type: stdio\n    cmd: '/bin/visiongate'\n    args:\n    - mcp\n    \
                    envs: {}\n  memory:\n    type: builtin\n";
        assert_eq!(laid_into(anew, Conflict::Refuse), Ok(Merged::Same));
        let moved = anew.replace("/bin", "/old");
        assert_eq!(laid_into(&moved, Conflict::Refuse), Ok(Merged::Differs));
        assert!(laid_into(&moved, Conflict::Replace).is_err());
        let remote = anew.replace("cmd: '/bin/visiongate'", "uri: https://x/mcp");
        assert_eq!(laid_into(&remote, Conflict::Refuse), Ok(Merged::Differs));
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for text in [
            "extensions: [",
            "extensions: { a: { b: 1 } }\n",
            "extensions: &all\n  a: {}\n",
            "extensions:\n- a\n",
            "extensions:\n  - a\n",
            "extensions:\n\ta: 1\n",
            "extensions:\n  \"visiongate\":\n    cmd: x\n",
            "extensions:\n  a:\n    b: 1\n c: 2\n",
            "extensions: {}\n  a: 1\n",
            "extensions:\n  a: {}\n  a: {}\n",
            "\"extensions\":\n  a: {}\n",
            "? extensions\n: {}\n",
            "{extensions: {}}\n",
            "extensions:\nextensions:\n",
            "A: 1\n---\nB: 2\n",
            "A: [1,\n  2]\n",
            "A: \"x\n  y\"\n",
            "just text\n",
            "- a\n",
            "<<: *base\n",
        ] {
            assert!(laid_into(text, Conflict::Replace).is_err(), "{text}");
        }
    }
}
