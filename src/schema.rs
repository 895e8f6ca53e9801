//! Compiling JSON schemas that callers and operators hand in, in the one way that is safe with strangers' schemas.
//!
//! A schema is a program, and a few lines of one can take longer than anybody lives: references that unfold to
//! billions, or patterns that backtrack. So references lead only into the schema itself and never in a circle, the
//! unfolded schema has a largest size, and patterns are matched in linear time (which leaves out look-around).

use std::collections::HashMap;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Subschemas, counted as often as references repeat them.
const LARGEST: u64 = 2000;
const DEEPEST: usize = 64;

/// Compiles a schema.
///
/// # Errors
/// Says what is wrong with the schema.
pub fn compile(schema: &Value) -> Result<Validator, String> {
    let size = Unfolding { root: schema, known: HashMap::new(), open: Vec::new() }.size(schema, 0)?;
    if size > LARGEST {
        return Err(format!("it unfolds to {size} subschemas: at most {LARGEST} are taken"));
    }
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    options.build(schema).map_err(|error| error.to_string())
}

/// Measures a schema as validation would meet it.
struct Unfolding<'a> {
    root: &'a Value,
    /// Sizes of what references lead to.
    known: HashMap<&'a str, u64>,
    /// References that are being followed.
    open: Vec<&'a str>,
}

impl<'a> Unfolding<'a> {
    fn size(&mut self, node: &'a Value, depth: usize) -> Result<u64, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        match node {
            Value::Array(items) => {
                items.iter().try_fold(0_u64, |sum, item| Ok(sum.saturating_add(self.size(item, depth + 1)?)))
            }
            Value::Object(members) => {
                let mut sum = 1_u64;
                for (name, member) in members {
                    sum = sum.saturating_add(match (name.as_str(), member) {
                        ("$dynamicRef" | "$recursiveRef", _) => return Err("dynamic references are not taken".into()),
                        ("$ref", Value::String(target)) => self.target(target, depth)?,
                        // Definitions count where they are used.
                        ("$defs" | "definitions", Value::Object(_)) => 0,
                        (_, member) => self.size(member, depth + 1)?,
                    });
                }
                Ok(sum)
            }
            // Yes or no is a schema too.
            Value::Bool(_) => Ok(1),
            _ => Ok(0),
        }
    }

    fn target(&mut self, target: &'a str, depth: usize) -> Result<u64, String> {
        if let Some(size) = self.known.get(target) {
            return Ok(*size);
        }
        if self.open.contains(&target) {
            return Err(format!("the reference {target} leads back to itself"));
        }
        let found = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let node = found.ok_or_else(|| format!("the reference {target} leads nowhere inside the schema"))?;
        self.open.push(target);
        let size = self.size(node, depth + 1)?;
        self.open.pop();
        self.known.insert(target, size);
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    #[test]
    fn ordinary_schemas_with_references_compile() {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/money"}, "b": {"$ref": "#/$defs/money"}},
            "$defs": {"money": {"type": "string", "pattern": "^[0-9.]+$"}}});
        let validator = compile(&schema).expect("a schema");
        assert!(validator.is_valid(&json!({"a": "1.5"})) && !validator.is_valid(&json!({"b": "x"})));
    }

    #[test]
    fn patterns_cannot_take_for_ever() {
        let schema = json!({"type": "string", "pattern": "^(a+)+$"});
        let validator = compile(&schema).expect("a schema");
        assert!(!validator.is_valid(&json!(format!("{}!", "a".repeat(10_000)))));
    }

    #[test]
    fn references_lead_nowhere_else_and_never_in_a_circle() {
        for target in ["https://example.org/s.json", "file:///etc/passwd", "#/$defs/none", "#", "other"] {
            assert!(compile(&json!({"$ref": target})).is_err(), "{target}");
        }
        let mutual = json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}}});
        assert!(compile(&mutual).expect_err("a circle").contains("leads back to itself"));
    }

    #[test]
    fn a_schema_that_unfolds_without_end_is_refused_by_size() {
        let mut definitions = Map::new();
        for level in 0..40 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            definitions.insert(format!("d{level}"), json!({"anyOf": [{"allOf": [next]}, next]}));
        }
        definitions.insert("d40".into(), json!({"type": "string"}));
        let refused = compile(&json!({"$ref": "#/$defs/d0", "$defs": definitions})).expect_err("too large");
        assert!(refused.contains("subschemas") || refused.contains("nested"), "{refused}");
    }
}
