//! Which keywords of JSON Schema hold schemas, and to what of a value those apply: of all drafts at once.
//!
//! What any other keyword holds is data, whatever words stand in it.

use serde_json::Value;

/// To what of a value a schema inside of another one applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applies {
    /// To the value itself.
    Beside,
    /// To its members or items, of which each meets at most one schema under such keywords.
    Below,
    /// To its members or items, of which each may meet every schema under such a keyword.
    BelowEach,
    /// To nothing: references lead there.
    Nowhere,
}

/// How a keyword holds schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// One, or several in a list.
    Plain,
    /// By name.
    Named,
}

/// What a keyword holds; `None` for one that holds data.
pub(super) fn of(word: &str) -> Option<(Holds, Applies)> {
    let found = match word {
        "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "contentSchema" => {
            (Holds::Plain, Applies::Beside)
        }
        "dependentSchemas" | "dependencies" => (Holds::Named, Applies::Beside),
        "items" | "prefixItems" | "additionalItems" | "additionalProperties" => (Holds::Plain, Applies::Below),
        "properties" => (Holds::Named, Applies::Below),
        "contains" | "propertyNames" | "unevaluatedItems" | "unevaluatedProperties" => {
            (Holds::Plain, Applies::BelowEach)
        }
        "patternProperties" => (Holds::Named, Applies::BelowEach),
        "$defs" | "definitions" => (Holds::Named, Applies::Nowhere),
        _ => return None,
    };
    Some(found)
}

/// The schemas that a keyword of this kind has for its value.
pub(super) fn schemas(holds: Holds, value: &Value) -> Vec<&Value> {
    match (holds, value) {
        (Holds::Named, Value::Object(members)) => members.values().collect(),
        (Holds::Plain, Value::Array(items)) => items.iter().collect(),
        _ => vec![value],
    }
}
