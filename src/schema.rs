//! Compiling JSON schemas that callers and operators hand in, in the one way that is safe with strangers' schemas.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Compiles a schema. References lead nowhere but into the schema itself, and patterns are matched in linear time, so
/// that none can be made to take for ever.
///
/// # Errors
/// Says what is wrong with the schema.
pub fn compile(schema: &Value) -> Result<Validator, String> {
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex());
    options.build(schema).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patterns_cannot_take_for_ever() {
        let schema = json!({"type": "string", "pattern": "^(a+)+$"});
        let validator = compile(&schema).expect("a schema");
        assert!(!validator.is_valid(&json!(format!("{}!", "a".repeat(10_000)))));
    }

    #[test]
    fn references_lead_nowhere() {
        for target in ["https://example.org/s.json", "file:///etc/passwd"] {
            assert!(compile(&json!({"$ref": target})).is_err(), "{target}");
        }
    }
}
