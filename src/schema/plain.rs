//! A schema as it is compiled: without what means nothing here, and without patterns that cannot be matched in linear
//! time. What is sent to vendors is the caller's own.
//!
//! Generators write patterns that look around (Pydantic for decimals, zod for durations). Running one can take as long as
//! its author likes, so answers are not held to it. What is left out may only let more answers pass: where it would make
//! an alternative match that did not, what turns on that is left out with it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::keyword::{self, Holds};
use super::{DEEPEST, too_deep};

/// What may stand in a reference as it is; the rest is encoded.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'$').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Keywords under which a schema that lets more pass lets fewer answers pass.
const TURNING: [&str; 7] = ["not", "if", "then", "else", "maxContains", "unevaluatedItems", "unevaluatedProperties"];

/// A schema that can be compiled.
pub(super) struct Plain {
    pub(super) schema: Value,
    /// Patterns that answers are not held to.
    pub(super) unchecked: Vec<String>,
}

/// The schema as it is compiled.
///
/// # Errors
/// When it is nested too deep.
pub(super) fn plain(schema: &Value) -> Result<Plain, String> {
    let mut copy = Copy { unchecked: Vec::new(), weaker: false };
    let mut whole = copy.node(schema, 0)?;
    if !copy.unchecked.is_empty() {
        copy = Copy { unchecked: Vec::new(), weaker: true };
        whole = copy.node(schema, 0)?;
    }
    // Nobody here refers to a schema by the name that it has elsewhere.
    if let Value::Object(members) = &mut whole {
        members.retain(|name, value| !(value.is_string() && ["$id", "id"].contains(&name.as_str())));
    }
    Ok(Plain { schema: whole, unchecked: copy.unchecked })
}

struct Copy {
    unchecked: Vec<String>,
    /// Whether what turns on an alternative is left out.
    weaker: bool,
}

impl Copy {
    fn node(&mut self, schema: &Value, depth: usize) -> Result<Value, String> {
        let Value::Object(members) = schema else { return Ok(schema.clone()) };
        if depth > DEEPEST {
            return Err(too_deep());
        }
        let mut copied = Map::new();
        for (word, value) in members {
            match (word.as_str(), value) {
                // Generators repeat it inside of definitions. All of a schema is read as its top says.
                ("$schema", Value::String(_)) if depth > 0 => {}
                ("$ref", Value::String(target)) => {
                    copied.insert(word.clone(), Value::String(reference(target)));
                }
                ("pattern", Value::String(pattern)) if !is_linear(pattern) => {
                    if !self.unchecked.contains(pattern) {
                        self.unchecked.push(pattern.clone());
                    }
                }
                (turning, _) if self.weaker && TURNING.contains(&turning) => {}
                _ => {
                    copied.insert(word.clone(), self.member(word, value, depth)?);
                }
            }
        }
        if self.weaker {
            any_instead_of_one(&mut copied);
        }
        Ok(Value::Object(copied))
    }

    fn member(&mut self, word: &str, value: &Value, depth: usize) -> Result<Value, String> {
        let Some((holds, _)) = keyword::of(word) else { return Ok(value.clone()) };
        match (holds, value) {
            (Holds::Named, Value::Object(members)) => {
                let copied = members.iter().map(|(name, value)| Ok((name.clone(), self.node(value, depth + 1)?)));
                Ok(Value::Object(copied.collect::<Result<_, String>>()?))
            }
            (Holds::Plain, Value::Array(items)) => {
                let copied = items.iter().map(|item| self.node(item, depth + 1));
                Ok(Value::Array(copied.collect::<Result<_, String>>()?))
            }
            _ => self.node(value, depth + 1),
        }
    }
}

/// The same reference, in the one spelling that all who read it understand alike.
fn reference(target: &str) -> String {
    let pointer = target.strip_prefix('#').and_then(|pointer| percent_decode_str(pointer).decode_utf8().ok());
    pointer.map_or_else(|| target.to_owned(), |pointer| format!("#{}", utf8_percent_encode(&pointer, ENCODED)))
}

/// Where an alternative may match that should not, two may.
fn any_instead_of_one(members: &mut Map<String, Value>) {
    let Some(one) = members.remove("oneOf") else { return };
    let any = Value::Object(Map::from_iter([("anyOf".to_owned(), one)]));
    match members.get_mut("allOf").and_then(Value::as_array_mut) {
        Some(all) => all.push(any),
        None => {
            members.insert("allOf".to_owned(), Value::Array(vec![any]));
        }
    }
}

/// Whether a pattern neither looks around nor refers back, which no engine does in linear time.
fn is_linear(pattern: &str) -> bool {
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = match first {
            '\\' => {
                let Some(escaped) = after.chars().next() else { return true };
                if !in_class && (('1'..='9').contains(&escaped) || after.starts_with("k<")) {
                    return false;
                }
                &after[escaped.len_utf8()..]
            }
            '(' if !in_class && ["?=", "?!", "?<=", "?<!"].iter().any(|look| after.starts_with(look)) => return false,
            _ => after,
        };
        in_class = match first {
            '[' => true,
            ']' => false,
            _ => in_class,
        };
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_that_look_around_or_back_are_told_from_those_that_do_not() {
        for linear in ["^[0-9]+$", r"^\(?=x\)$", "[(?=]", r"[\]\1(?!]", "(?:a|b)", "(?<name>a)", r"a\\", r"\d\0", "[^"]
        {
            assert!(is_linear(linear), "{linear}");
        }
        for other in ["^(?!a)b", r"(?=\d)", "(?<=a)b", "(?<!a)b", r"(a)\1", r"(?<n>a)\k<n>", r"\\(?!a)", "[a](?!b)"] {
            assert!(!is_linear(other), "{other}");
        }
    }

    #[test]
    fn what_is_left_out_lets_more_pass_and_never_less() {
        let look = json!({"pattern": "^(?!a)"});
        let (not, either) = (json!({"not": look}), json!({"oneOf": [look, {"type": "string"}]}));
        let plain =
            plain(&json!({"allOf": [not], "properties": {"a": either}, "if": look, "then": false})).expect("a copy");
        assert_eq!(plain.unchecked, ["^(?!a)"]);
        let either = json!({"allOf": [{"anyOf": [{}, {"type": "string"}]}]});
        assert_eq!(plain.schema, json!({"allOf": [{}], "properties": {"a": either}}));
    }

    #[test]
    fn schemas_without_such_patterns_are_left_as_they_are() {
        let schema = json!({"not": {"pattern": "^a"}, "oneOf": [true], "properties": {"$schema": {"pattern": "b"}, "pattern": true},
            "enum": [{"$schema": "x", "pattern": "(?=a)", "$ref": "#/%24defs"}], "$schema": "https://json-schema.org/draft/2020-12/schema"});
        assert_eq!(plain(&schema).expect("a copy").schema, schema);
        let nested = plain(&json!({"$id": "x", "$defs": {"a": {"$schema": "y", "$id": "z"}}})).expect("a copy");
        assert_eq!(nested.schema, json!({"$defs": {"a": {"$id": "z"}}}));
    }

    #[test]
    fn a_reference_has_one_spelling() {
        for spelling in ["#/$defs/A<B>", "#/%24defs/A%3CB%3E", "#/$defs/A%3cB%3e", "#/%24%64efs/%41<B>"] {
            assert_eq!(reference(spelling), "#/$defs/A%3CB%3E");
        }
        assert_eq!(reference("https://example.org/a#/b"), "https://example.org/a#/b");
    }
}
