//! Compiling JSON schemas that callers and operators hand in, in the one way that is safe with strangers' schemas.
//!
//! A schema is a program, and a few lines of one can take longer than anybody lives: references that unfold to
//! billions, or patterns that backtrack or become megabytes. So references lead only into the schema itself and never in
//! a circle, nothing in a schema changes what a reference means, the unfolded schema has a largest size in which patterns
//! count for what they cost, and patterns are matched in linear time (which leaves out look-around).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jsonschema::{PatternOptions, Validator};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde_json::Value;

/// Subschemas, counted as often as references repeat them.
const LARGEST: u64 = 2000;
const DEEPEST: usize = 64;
/// A pattern counts as so many subschemas, and as one more for every so many bytes of it.
const PATTERN: u64 = 20;
const PATTERN_BYTES: u64 = 10;
/// Bytes that a compiled pattern may have, and that matching it may take for states which it has seen.
const PATTERN_SIZE: usize = 128 << 10;
const PATTERN_MEMORY: usize = 256 << 10;
/// Subschemas of all schemas that are remembered.
const REMEMBERED: u64 = 10_000;
/// A schema comes back with the answer to its question, and often with the next question.
const REMEMBERED_FOR: Duration = Duration::from_mins(2);

/// Schemas that were compiled lately: each is needed for its question, for every answer to it, and by whoever asks it of
/// many images.
static COMPILED: LazyLock<Cache<blake3::Hash, Compiled>> = LazyLock::new(|| {
    let weight = |_: &blake3::Hash, compiled: &Compiled| compiled.size;
    let cache = Cache::builder().weigher(weight).max_capacity(REMEMBERED).time_to_idle(REMEMBERED_FOR);
    cache.eviction_policy(EvictionPolicy::lru()).build()
});

#[derive(Clone)]
struct Compiled {
    validator: Arc<Validator>,
    size: u32,
}

/// Compiles a schema. That takes up to a second, and nothing when the same schema was compiled a short while ago.
///
/// # Errors
/// Says what is wrong with the schema.
pub fn compile(schema: &Value) -> Result<Arc<Validator>, String> {
    let digest = blake3::hash(schema.to_string().as_bytes());
    let compiled = COMPILED.try_get_with(digest, || compiled(schema));
    compiled.map(|compiled| compiled.validator).map_err(|error| String::clone(&error))
}

fn compiled(schema: &Value) -> Result<Compiled, String> {
    let schema = nameless(schema);
    let mut unfolding = Unfolding { root: &schema, names: names(&schema), known: HashMap::new(), open: Vec::new() };
    let Extent { size, height } = unfolding.extent(&schema, 0)?;
    if size > LARGEST {
        return Err(format!(
            "it unfolds to {size} subschemas, where each pattern counts as {PATTERN} or more: at most {LARGEST} are taken"
        ));
    }
    if height > DEEPEST {
        return Err(too_deep());
    }
    let patterns = PatternOptions::regex().size_limit(PATTERN_SIZE).dfa_size_limit(PATTERN_MEMORY);
    let options = jsonschema::options().with_pattern_options(patterns);
    let validator = options.build(&schema).map_err(|error| explained(error.to_string()))?;
    Ok(Compiled { validator: Arc::new(validator), size: u32::try_from(size).unwrap_or(u32::MAX) })
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

/// What gives a schema a name of its own, from which references inside it are read.
fn names(root: &Value) -> &'static [&'static str] {
    const NAMES: [&str; 5] = ["$id", "$anchor", "$dynamicAnchor", "$schema", "id"];
    // Elsewhere, `id` is a word like others.
    let is_old = root["$schema"].as_str().is_some_and(|dialect| dialect.contains("draft-04"));
    NAMES.get(..if is_old { 5 } else { 4 }).unwrap_or(&NAMES)
}

/// The schema without its own name, which nobody here refers to.
fn nameless(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(members) = &mut schema {
        members.retain(|name, value| !(value.is_string() && ["$id", "id"].contains(&name.as_str())));
    }
    schema
}

/// Keywords that make the validator go through a subschema again.
const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

fn too_deep() -> String {
    format!("it is nested more than {DEEPEST} deep")
}

/// How large a part of a schema is once its references are followed.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    size: u64,
    height: usize,
}

impl Extent {
    fn of(size: u64) -> Self {
        Self { size, height: 0 }
    }

    /// With another part beside what is there already, one below.
    fn with(self, part: Self) -> Self {
        Self { size: self.size.saturating_add(part.size), height: self.height.max(part.height + 1) }
    }
}

/// Measures a schema as validation would meet it.
struct Unfolding<'a> {
    root: &'a Value,
    names: &'static [&'static str],
    /// Extents of what references lead to.
    known: HashMap<&'a str, Extent>,
    /// References that are being followed.
    open: Vec<&'a str>,
}

impl<'a> Unfolding<'a> {
    fn extent(&mut self, node: &'a Value, depth: usize) -> Result<Extent, String> {
        if depth > DEEPEST {
            return Err(too_deep());
        }
        match node {
            Value::Array(items) => {
                items.iter().try_fold(Extent::default(), |sum, item| Ok(sum.with(self.extent(item, depth + 1)?)))
            }
            Value::Object(members) => {
                let extent = members
                    .iter()
                    .try_fold(Extent::of(1), |sum, (name, member)| Ok(sum.with(self.member(name, member, depth)?)));
                // To know what was evaluated, the validator evaluates what lies beside these once more, on every level.
                let is_repeated = UNEVALUATED.iter().any(|name| members.contains_key(*name));
                extent.map(|it: Extent| Extent { size: it.size.saturating_mul(if is_repeated { 3 } else { 1 }), ..it })
            }
            // Yes or no is a schema too.
            Value::Bool(_) => Ok(Extent::of(1)),
            _ => Ok(Extent::default()),
        }
    }

    /// What a member adds. It may be a keyword or the name of a property: what could be either counts as what costs more.
    fn member(&mut self, name: &str, member: &'a Value, depth: usize) -> Result<Extent, String> {
        match (name, member) {
            ("$dynamicRef" | "$recursiveRef", _) => Err("dynamic references are not taken".into()),
            // The validator would read references behind it in another way than this does.
            (name, Value::String(_)) if depth > 0 && self.names.contains(&name) => {
                Err(format!("`{name}` is taken at the top of a schema only"))
            }
            // Definitions count where they are used.
            ("$defs" | "definitions", Value::Object(_)) if depth == 0 => {
                self.extent(member, depth + 1).map(|_| Extent::default())
            }
            ("$ref", Value::String(target)) => self.target(target, depth),
            ("pattern", Value::String(pattern)) => Ok(Extent::of(cost(pattern))),
            ("patternProperties", Value::Object(members)) => {
                let patterns = members.keys().map(|pattern| cost(pattern)).fold(0, u64::saturating_add);
                let extent = self.extent(member, depth + 1)?;
                Ok(Extent { size: extent.size.saturating_add(patterns), ..extent })
            }
            (_, member) => self.extent(member, depth + 1),
        }
    }

    fn target(&mut self, target: &'a str, depth: usize) -> Result<Extent, String> {
        if let Some(extent) = self.known.get(target) {
            return Ok(*extent);
        }
        if self.open.contains(&target) {
            return Err(format!("the reference {target} leads back to itself"));
        }
        // A name that is written in two ways would be found in two places.
        let found = target.strip_prefix('#').filter(|pointer| !pointer.contains('%'));
        let found = found.and_then(|pointer| self.root.pointer(pointer));
        let node = found.ok_or_else(|| format!("the reference {target} leads nowhere inside the schema"))?;
        self.open.push(target);
        let extent = self.extent(node, depth + 1)?;
        self.open.pop();
        self.known.insert(target, extent);
        Ok(extent)
    }
}

/// Subschemas as which a pattern counts.
fn cost(pattern: &str) -> u64 {
    PATTERN + pattern.len() as u64 / PATTERN_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    /// 19 levels took the validator half a minute, 64 would take years.
    #[test]
    fn what_is_gone_through_again_on_every_level_counts_for_that() {
        let nested = |levels: usize, keyword: &str| {
            let leaf = json!({"type": "object", "properties": {"a": {"type": "number"}}});
            (0..levels).fold(leaf, |inner, _| json!({"anyOf": [inner], keyword: false}))
        };
        for keyword in UNEVALUATED {
            assert!(compile(&nested(2, keyword)).is_ok(), "{keyword}");
            assert!(compile(&nested(12, keyword)).is_err(), "{keyword}");
        }
    }

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

    /// A schema that is harmless where its references seem to lead, and endless where they could.
    fn doubling(levels: usize, pointer: &str) -> Map<String, Value> {
        let mut definitions = Map::new();
        for level in 0..levels {
            let next = json!({"$ref": format!("{pointer}/a{}", level + 1)});
            definitions.insert(format!("a{level}"), json!({"allOf": [next, next]}));
        }
        definitions.insert(format!("a{levels}"), json!({"type": "object"}));
        definitions
    }

    fn harmless(levels: usize) -> Map<String, Value> {
        (0..=levels).map(|level| (format!("a{level}"), json!(true))).collect()
    }

    #[test]
    fn nothing_inside_a_schema_changes_what_a_reference_means() {
        for name in ["$id", "id", "$anchor", "$dynamicAnchor", "$schema"] {
            let mut definitions = harmless(40);
            let inner = json!({name: "http://json-schema.org/draft-07/schema#", "$defs": doubling(40, "#/$defs"), "allOf": [{"$ref": "#/$defs/a0"}]});
            definitions.insert("evil".into(), inner);
            let draft = if name == "id" {
                "http://json-schema.org/draft-04/schema#"
            } else {
                "https://json-schema.org/draft/2020-12/schema"
            };
            for target in ["#/$defs/evil", "#/$defs/evil/allOf/0"] {
                let refused =
                    compile(&json!({"$schema": draft, "$ref": target, "$defs": definitions})).expect_err(name);
                assert!(refused.contains("at the top of a schema only"), "{name}: {refused}");
            }
        }
        let encoded = json!({"$ref": "#/%24defs/a0", "$defs": doubling(40, "#/%24defs"), "%24defs": harmless(40)});
        assert!(compile(&encoded).expect_err("two ways").contains("leads nowhere"));
        // Its references would lead into the dialect's own schema.
        let taken = json!({"$id": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}});
        assert!(!compile(&taken).expect("a schema").is_valid(&json!(5)));
    }

    #[test]
    fn properties_may_have_the_names_of_keywords() {
        let members: Map<String, Value> =
            ["$id", "id", "$anchor", "$ref", "$schema", "$defs", "pattern", "patternProperties"]
                .into_iter()
                .map(|name| (name.to_owned(), json!({"type": "string"})))
                .collect();
        let schema = json!({"$id": "https://example.org/s", "properties": members, "examples": [{"id": "x"}]});
        let validator = compile(&schema).expect("a schema");
        assert!(validator.is_valid(&json!({"id": "x", "$defs": "y"})) && !validator.is_valid(&json!({"$defs": 5})));
        let hidden =
            json!({"properties": {"$defs": {"allOf": [{"$ref": "#/$defs/a0"}]}}, "$defs": doubling(40, "#/$defs")});
        assert!(compile(&hidden).is_err(), "they are no definitions");
    }

    #[test]
    fn references_do_not_add_up_to_a_height_that_nobody_can_climb() {
        let tower = |next: &str| (0..50).fold(json!({"$ref": next}), |inner, _| json!({"not": inner}));
        let (a, b) = (tower("#/$defs/b"), tower("#/$defs/c"));
        let schema =
            json!({"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/a"}], "$defs": {"a": a, "b": b, "c": true}});
        assert!(compile(&schema).expect_err("too deep").contains("deep"));
    }

    #[test]
    fn patterns_count_for_what_they_cost() {
        let began = tokio::time::Instant::now();
        let many = |pattern: &str, count: usize| {
            let member =
                |index| (format!("p{index}"), json!({"type": "string", "pattern": format!("{pattern}{index}")}));
            compile(&json!({"properties": (0..count).map(member).collect::<Map<_, _>>()}))
        };
        assert!(many("^[A-Z]{2}[0-9]{4,10}$", 50).is_ok());
        assert!(many("x", 200).expect_err("too many").contains("at most"));
        assert!(many(&"x".repeat(30_000), 1).expect_err("too long").contains("at most"));
        assert!(many(r"\p{L}{80}", 1).expect_err("megabytes").contains("128 KiB at most"));
        let keys: Map<String, Value> = (0..200).map(|index| (format!("^x{index}"), json!(true))).collect();
        assert!(compile(&json!({"patternProperties": keys})).expect_err("too many").contains("at most"));
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[test]
    fn the_same_schema_is_compiled_once() {
        let schema = json!({"type": "string", "pattern": "^once$"});
        let (first, second) = (compile(&schema).expect("a schema"), compile(&schema).expect("a schema"));
        assert!(Arc::ptr_eq(&first, &second));
    }
}
