//! JSON in answers: whether it is any, whether it keeps to a schema, and what it says.

use std::sync::Arc;

use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::schema::{self, Compiled};

/// A schema that answers are held to.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Compiled>);

impl Schema {
    /// Compiles a schema in the safe way of [`schema::compile`].
    ///
    /// # Errors
    /// `INVALID_INPUT` where it cannot be used.
    pub fn new(schema: &Value) -> Result<Self> {
        schema::compile(schema)
            .map(Self)
            .map_err(|wrong| Failure::invalid(format!("the schema cannot be used: {wrong}")))
    }

    /// Whether an answer is JSON that keeps to the schema. Prose around it makes it no JSON.
    #[must_use]
    pub fn accepts(&self, answer: &str) -> bool {
        strictly(answer).is_some_and(|value| self.0.check(&value).is_ok())
    }
}

/// Whether an answer is one JSON document, as programs read it: without prose or a fence around it.
#[must_use]
pub fn is_valid(answer: &str) -> bool {
    strictly(answer).is_some()
}

fn strictly(answer: &str) -> Option<Value> {
    serde_json::from_str(answer).ok()
}

/// What an answer says, to be compared by its content: a document, also one in a fence (three backticks) with prose
/// around it.
#[must_use]
pub fn read(answer: &str) -> Option<Value> {
    strictly(answer).or_else(|| {
        let (_, fenced) = answer.split_once("```")?;
        let (inside, _) = fenced.split_once("```")?;
        strictly(inside.trim_start_matches(|c: char| c.is_ascii_alphanumeric()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn validity_is_strict_and_reading_is_not() {
        let fenced = "Here you are:\n```json\n{\"a\": 1}\n```\nAnything else?";
        assert!(is_valid(" {\"a\": 1}\n") && !is_valid(fenced));
        assert_eq!(read(fenced), Some(json!({"a": 1})));
        for broken in ["", "{'a': 1}", "{\"a\": 1,}", "NaN", "{\"a\": 1} {}", "```json\n{", &"[".repeat(1_000_000)] {
            assert!(!is_valid(broken) && read(broken).is_none(), "{broken:.20}");
        }
    }

    #[test]
    fn schemas_are_kept_to() {
        let schema = Schema::new(&json!({"type": "object", "required": ["a"]})).expect("a schema");
        assert!(schema.accepts("{\"a\": 1}") && !schema.accepts("{}") && !schema.accepts("no"));
        let refused = Schema::new(&json!({"$ref": "https://example.org/s.json"})).expect_err("a stranger's");
        assert!(refused.message.contains("the schema cannot be used"), "{refused}");
    }
}
