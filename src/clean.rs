//! Makes model output harmless to show: it is data from a stranger, who may have read it off a hostile picture.

use serde_json::Value;

/// Removes what can steer a terminal, hide text or reverse its order: control characters but line breaks and tabs,
/// bidirectional controls, and invisible characters. Joiners stay where scripts and emoji need them.
#[must_use]
pub fn text(raw: &str) -> String {
    let characters: Vec<char> = raw.chars().collect();
    let joins = |at: usize| {
        let neighbour = |at: Option<usize>| at.and_then(|at| characters.get(at)).is_some_and(|c| *c > '\u{2ff}');
        neighbour(at.checked_sub(1)) && neighbour(Some(at + 1))
    };
    let kept = characters.iter().enumerate().filter(|(at, c)| match **c {
        '\n' | '\t' => true,
        '\u{200c}' | '\u{200d}' => joins(*at),
        c => !c.is_control() && !is_invisible(c),
    });
    kept.map(|(_, c)| *c).collect()
}

/// Cleans every string of a JSON value, names of members included.
#[must_use]
pub fn value(raw: Value) -> Value {
    match raw {
        Value::String(string) => Value::String(text(&string)),
        Value::Array(items) => items.into_iter().map(value).collect(),
        Value::Object(members) => members.into_iter().map(|(name, member)| (text(&name), value(member))).collect(),
        other => other,
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_that_steers_or_hides_remains() {
        assert_eq!(text("a\u{1b}[31mb\0c\r\nd\te"), "a[31mbc\nd\te");
        assert_eq!(text("abc\u{202e}fed\u{200b}g\u{feff}\u{e0041}h"), "abcfedgh");
        assert_eq!(text("pass\u{200d}word"), "password");
    }

    #[test]
    fn scripts_and_emoji_keep_their_joiners() {
        for kept in ["👩\u{200d}💻", "می\u{200c}خواهم", "é漢字🙂"] {
            assert_eq!(text(kept), kept);
        }
    }

    #[test]
    fn values_are_cleaned_throughout() {
        let raw = json!({"a\u{0}": ["x\u{1b}", {"b": "y\u{202e}"}], "n": 1});
        assert_eq!(value(raw), json!({"a": ["x", {"b": "y"}], "n": 1}));
    }
}
