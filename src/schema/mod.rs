//! Compiling JSON schemas that callers and operators hand in, and holding values to them, in the one way that is safe with
//! strangers' schemas.
//!
//! A schema is a program, and a few lines of one can take longer than anybody lives: references that unfold to
//! billions, or patterns that backtrack or become megabytes. So references lead only into the schema itself, never in a
//! circle that takes nothing of a value, and nothing in a schema changes what one means; patterns are matched in linear
//! time, and not at all where they look around; and what holding a value to a schema can cost at most is worked out
//! before it is done (`estimate` says how), for any value when the schema is compiled, and for each value again.

mod estimate;
mod graph;
mod keyword;
mod plain;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jsonschema::{PatternOptions, Validator};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::Value;
use vision_providers::wire::quoted;

use self::estimate::Estimate;
use self::graph::Graph;
use self::plain::{Plain, plain};

/// Steps that a schema may take at one value, and all its patterns together.
const LARGEST: u64 = 2000;
/// Schemas that are compiled.
const MOST_COMPILED: u64 = 30_000;
/// Schemas inside of one another, as they are written and as one value meets them. The validator compiles eight definitions
/// inside of one another, and takes some of the stack for each schema.
const DEEPEST: usize = 32;
/// Steps that holding a value to a schema may take: some seconds.
const MOST_STEPS: u64 = 50_000_000;
/// Steps up to which it is told where a value breaks its schema. That takes memory for every fault of every alternative.
const EXPLAINED: u64 = 300_000;
/// Schemas inside of one another that may be open at once: each takes up to a KiB of the stack.
const HIGHEST: usize = 800;
/// Bytes that a compiled pattern may have, and that matching it may take for states which it has seen.
const PATTERN_SIZE: usize = 128 << 10;
const PATTERN_MEMORY: usize = 256 << 10;
/// Schemas and steps of patterns, of all schemas that are remembered.
const REMEMBERED: u64 = 40_000;
/// A schema comes back with the answer to its question, and often with the next question.
const REMEMBERED_FOR: Duration = Duration::from_mins(2);
/// Patterns that a warning shows.
const SHOWN: usize = 3;

/// Schemas that were compiled lately: each is needed for its question, for every answer to it, and by whoever asks it of
/// many images.
static COMPILED: LazyLock<Cache<blake3::Hash, Arc<Compiled>>> = LazyLock::new(|| {
    let weight = |_: &blake3::Hash, compiled: &Arc<Compiled>| compiled.size;
    let cache = Cache::builder().weigher(weight).max_capacity(REMEMBERED).time_to_idle(REMEMBERED_FOR);
    cache.eviction_policy(EvictionPolicy::lru()).build()
});

/// A schema that values can be held to.
#[derive(Debug)]
pub struct Compiled {
    validator: Validator,
    estimate: Estimate,
    unchecked: Vec<String>,
    size: u32,
}

/// Compiles a schema. That takes up to a second, and nothing when the same schema was compiled a short while ago.
///
/// # Errors
/// Says what is wrong with the schema.
pub fn compile(schema: &Value) -> Result<Arc<Compiled>, String> {
    let digest = blake3::hash(schema.to_string().as_bytes());
    let compiled = COMPILED.try_get_with(digest, || compiled(schema).map(Arc::new));
    compiled.map_err(|error| String::clone(&error))
}

fn compiled(schema: &Value) -> Result<Compiled, String> {
    let Plain { schema, unchecked } = plain(schema)?;
    let graph = Graph::of(&schema)?;
    let estimate = Estimate::of(&graph);
    if estimate.highest > DEEPEST {
        return Err(too_deep());
    }
    let size = estimate.widest.max(graph.patterns);
    if size > LARGEST || estimate.compiled > MOST_COMPILED {
        return Err(format!(
            "it unfolds to {} subschemas for one value, where each pattern counts as 20 or more: at most {LARGEST} are taken",
            size.max(estimate.compiled)
        ));
    }
    let patterns = PatternOptions::regex().size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_MEMORY);
    let options = jsonschema::options().with_pattern_options(patterns);
    let validator = options.build(&schema).map_err(|error| explained(error.to_string()))?;
    let size = u32::try_from(estimate.compiled.saturating_add(graph.patterns)).unwrap_or(u32::MAX);
    Ok(Compiled { validator, estimate, unchecked, size })
}

impl Compiled {
    /// Holds a value to the schema.
    ///
    /// # Errors
    /// Says where the value breaks the schema and how, or that finding out would take too long.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let Some((steps, _)) = self.estimate.of_value(value).filter(|(_, height)| *height <= HIGHEST) else {
            return Err("it is nested too deep to be held to the schema".into());
        };
        if steps > MOST_STEPS {
            return Err(format!("to hold it to the schema can take {steps} steps, and {MOST_STEPS} are taken at most"));
        }
        if self.validator.is_valid(value) {
            return Ok(());
        }
        if steps > EXPLAINED {
            return Err("it breaks the schema, and is too large to say where".into());
        }
        self.validator.validate(value).map_err(|error| {
            let (place, why) = (error.instance_path().as_str(), quoted(&error.to_string()));
            if place.is_empty() { why } else { format!("at `{place}`: {why}") }
        })
    }

    /// What values are not held to although the schema says it, for whoever gets the answer.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let shown: Vec<String> =
            self.unchecked.iter().take(SHOWN).map(|pattern| format!("`{}`", quoted(pattern))).collect();
        let more = self.unchecked.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown = shown.join(", ");
        (!shown.is_empty()).then(|| {
            format!("the answer was not held to patterns of the schema that look around or back: {shown}{more}")
        })
    }
}

/// What the library says of a schema, and what it does not say of patterns.
fn explained(error: String) -> String {
    if !error.ends_with("is not a \"regex\"") {
        return error;
    }
    format!(
        "{error} that is taken here: it may not look around, and has {} KiB at most once it is compiled",
        PATTERN_SIZE >> 10
    )
}

fn too_deep() -> String {
    format!("it is nested more than {DEEPEST} deep")
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod generated;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ordinary_schemas_with_references_compile() {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/money"}, "b": {"$ref": "#/$defs/money"}},
            "$defs": {"money": {"type": "string", "pattern": "^[0-9.]+$"}}});
        let compiled = compile(&schema).expect("a schema");
        assert!(compiled.check(&json!({"a": "1.5"})).is_ok());
        assert!(compiled.check(&json!({"b": "x"})).expect_err("a fault").starts_with("at `/b`: "));
        assert_eq!(compiled.warning(), None);
    }

    #[test]
    fn the_same_schema_is_compiled_once() {
        let schema = json!({"type": "string", "pattern": "^once$"});
        let (first, second) = (compile(&schema).expect("a schema"), compile(&schema).expect("a schema"));
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn patterns_that_look_around_are_left_out_and_told_of() {
        let duration = r"^P(?!$)(\d+Y)?(\d+M)?$";
        let member = |pattern: &str| json!({"type": "string", "pattern": pattern});
        let schema = json!({"properties": {"a": member(duration), "b": member(duration), "c": member("^x$"), "d": member("^(?=a)")}});
        let compiled = compile(&schema).expect("a schema");
        assert!(compiled.check(&json!({"a": "no duration"})).is_ok() && compiled.check(&json!({"c": "y"})).is_err());
        let warning = compiled.warning().expect("a warning");
        assert!(warning.contains(duration) && warning.contains("^(?=a)") && !warning.contains("more"), "{warning}");
    }

    #[test]
    fn a_value_that_costs_too_much_is_not_held_to_its_schema() {
        let twice = json!({"allOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]});
        let compiled = compile(&twice).expect("harmless, for what is flat");
        let deep = |levels| (0..levels).fold(json!([]), |inner, _| json!([inner]));
        assert!(compiled.check(&deep(10)).is_ok());
        assert!(compiled.check(&deep(60)).expect_err("for ever").contains("steps"));
        let wide = json!({"items": {"anyOf": [{"type": "number"}, {"type": "null"}]}});
        let fault = compile(&wide).expect("a schema").check(&json!(vec!["x"; 200_000])).expect_err("texts");
        assert!(fault.contains("too large to say where"), "{fault}");
    }
}
