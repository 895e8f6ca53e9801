//! Schemas that would take their reader's time, memory or stack, each held to what is done about it.

use serde_json::{Map, json};
use tokio::time::Instant;

use super::*;

const UNEVALUATED: [&str; 2] = ["unevaluatedProperties", "unevaluatedItems"];

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
fn patterns_cannot_take_for_ever() {
    let schema = json!({"type": "string", "pattern": "^(a+)+$"});
    let compiled = compile(&schema).expect("a schema");
    assert!(compiled.check(&json!(format!("{}!", "a".repeat(10_000)))).is_err());
}

#[test]
fn references_lead_nowhere_else_and_never_in_a_circle() {
    for target in ["https://example.org/s.json", "file:///etc/passwd", "#/$defs/none", "#", "other"] {
        assert!(compile(&json!({"$ref": target})).is_err(), "{target}");
    }
    let mutual = |a| json!({"$ref": "#/$defs/a", "$defs": {"a": a, "b": {"not": {"$ref": "#/$defs/a"}}}});
    let beside = mutual(json!({"dependentSchemas": {"x": {"$ref": "#/$defs/b"}}}));
    assert!(compile(&beside).expect_err("a circle").contains("leads back to itself"));
    assert!(compile(&mutual(json!({"items": {"$ref": "#/$defs/b"}}))).is_ok(), "values end");
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
    let hidden = |name: &str| {
        let mut definitions = harmless(40);
        let inner = json!({name: "http://json-schema.org/draft-07/schema#", "$defs": doubling(40, "#/$defs"), "allOf": [{"$ref": "#/$defs/a0"}]});
        definitions.insert("evil".into(), inner);
        definitions
    };
    for name in ["$id", "id", "$anchor", "$dynamicAnchor"] {
        let draft = if name == "id" {
            "http://json-schema.org/draft-04/schema#"
        } else {
            "https://json-schema.org/draft/2020-12/schema"
        };
        for target in ["#/$defs/evil", "#/$defs/evil/allOf/0"] {
            let refused = compile(&json!({"$schema": draft, "$ref": target, "$defs": hidden(name)})).expect_err(name);
            assert!(refused.contains("at the top of a schema only"), "{name}: {refused}");
        }
    }
    let encoded = json!({"$ref": "#/%24defs/a0", "$defs": doubling(40, "#/%24defs"), "%24defs": harmless(40)});
    assert!(compile(&encoded).expect_err("two spellings of one").contains("deep"));
    // This one is left out, wherever a schema can stand; where none should, it is refused.
    let dialect = compile(&json!({"$ref": "#/$defs/evil", "$defs": hidden("$schema")})).expect("harmless");
    assert!(dialect.check(&json!({})).is_ok());
    let elsewhere = json!({"$ref": "#/x/evil/allOf/0", "x": hidden("$schema"), "$defs": harmless(40)});
    assert!(compile(&elsewhere).expect_err("no keyword").contains("at the top of a schema only"));
    // Its references would lead into the dialect's own schema.
    let taken = json!({"$id": "https://json-schema.org/draft/2020-12/schema", "$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}});
    assert!(compile(&taken).expect("a schema").check(&json!(5)).is_err());
}

#[test]
fn properties_may_have_the_names_of_keywords() {
    let members: Map<String, Value> =
        ["$id", "id", "$anchor", "$ref", "$schema", "$defs", "pattern", "patternProperties"]
            .into_iter()
            .map(|name| (name.to_owned(), json!({"type": "string"})))
            .collect();
    let schema = json!({"$id": "https://example.org/s", "properties": members, "examples": [{"id": "x"}]});
    let compiled = compile(&schema).expect("a schema");
    assert!(compiled.check(&json!({"id": "x", "$defs": "y"})).is_ok() && compiled.check(&json!({"$defs": 5})).is_err());
    let hidden =
        json!({"properties": {"$defs": {"allOf": [{"$ref": "#/$defs/a0"}]}}, "$defs": doubling(40, "#/$defs")});
    assert!(compile(&hidden).is_err(), "they are no definitions");
}

#[test]
fn references_do_not_add_up_to_a_height_that_nobody_can_climb() {
    let tower = |next: &str| (0..20).fold(json!({"$ref": next}), |inner, _| json!({"not": inner}));
    let (a, b) = (tower("#/$defs/b"), tower("#/$defs/c"));
    let schema = json!({"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/a"}], "$defs": {"a": a, "b": b, "c": true}});
    assert!(compile(&schema).expect_err("too deep").contains("deep"));
}

#[test]
fn patterns_count_for_what_they_cost() {
    let began = Instant::now();
    let many = |pattern: &str, count: usize| {
        let member = |index| (format!("p{index}"), json!({"type": "string", "pattern": format!("{pattern}{index}")}));
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

/// The longest that compiling a schema and holding a value to it may take on a machine that does much else, without
/// optimization.
const LONG: Duration = Duration::from_mins(1);

/// A list in a list, and so on.
fn deep(levels: usize) -> Value {
    (0..levels).fold(json!([]), |inner, _| json!([inner, inner.is_array()]))
}

/// A schema that leads to itself so many times on each level, by this keyword.
fn recursive(times: usize, keyword: &str) -> Value {
    let step = if ["properties", "patternProperties"].contains(&keyword) {
        json!({keyword: {"a": {"$ref": "#"}}})
    } else {
        json!({keyword: {"$ref": "#"}})
    };
    json!({"allOf": vec![step; times]})
}

#[test]
fn what_leads_to_itself_several_times_is_bounded_by_what_is_held_to_it() {
    let began = Instant::now();
    let objects = (0..120).fold(json!(1), |inner, _| json!({"a": inner}));
    for (keyword, value) in [
        ("items", deep(120)),
        ("contains", deep(120)),
        ("unevaluatedItems", deep(120)),
        ("properties", objects.clone()),
        ("patternProperties", objects.clone()),
        ("additionalProperties", objects.clone()),
        ("unevaluatedProperties", objects),
    ] {
        for times in [2, 3, 20] {
            let compiled = compile(&recursive(times, keyword)).expect("finite on finite values");
            let fault = compiled.check(&value).expect_err("for ever");
            assert!(fault.contains("steps") || fault.contains("deep"), "{times} {keyword}: {fault}");
        }
    }
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

/// As much as is let through: the most steps at each value, and as many values as that leaves.
#[test]
fn what_is_let_through_takes_seconds() {
    let objects = |levels| (0..levels).fold(json!({"b": 1}), |inner, _| json!({"a": inner, "b": 1}));
    let lists = |levels| (0..levels).fold(json!([]), |inner, _| json!([inner]));
    let tree = |times| json!({"allOf": vec![json!({"properties": {"a": {"$ref": "#"}, "b": {"const": 1}}}); times]});
    let either = json!({"anyOf": [{"type": "null"}, {"enum": [1, "y", [2]]}, {"type": "string"}]});
    let many = json!({"items": {"allOf": vec![either; 200]}});
    let again = (0..2).fold(
        json!({"properties": {"b": true}}),
        |inner, _| json!({"anyOf": [{"type": "null"}, inner], "unevaluatedProperties": {"$ref": "#"}}),
    );
    let definition = |level| json!({"allOf": vec![json!({"items": {"$ref": format!("#/$defs/d{level}")}}); 2]});
    let mut definitions: Map<String, Value> =
        (0..20).map(|level| (format!("d{level}"), definition(level + 1))).collect();
    definitions.insert("d20".into(), json!(true));
    let shared = json!({"$ref": "#/$defs/d0", "$defs": definitions});
    let unique = json!({"items": {"$ref": "#"}, "uniqueItems": true});
    let pattern = json!({"items": {"pattern": "^([a-z]+[0-9]*)+$"}});
    for (schema, value) in [
        (tree(2), objects(20)),
        (tree(20), objects(3)),
        (shared, lists(20)),
        (many, json!(vec!["y"; 10_000])),
        (again, objects(3)),
        (unique, json!(vec![deep(30); 30])),
        (pattern, json!(vec!["abcdefgh9".repeat(1000); 500])),
    ] {
        let compiled = compile(&schema).expect("a schema");
        let began = Instant::now();
        let outcome = compiled.check(&value);
        let steps = compiled.estimate.of_value(&value);
        assert!(!outcome.is_err_and(|fault| fault.contains("steps")), "{steps:?} are taken");
        assert!(began.elapsed() < LONG, "{:?} for {steps:?} steps", began.elapsed());
    }
}

#[test]
fn neither_schemas_nor_values_use_up_the_stack() {
    // As high as is let through, and what is higher.
    let tower = |height: usize| {
        (0..height).fold(json!({"items": {"$ref": "#"}, "minItems": 1}), |inner, _| json!({"anyOf": [inner]}))
    };
    let outcome = |height| compile(&tower(height)).expect("a schema").check(&deep(110)).expect_err("an empty list");
    assert!(outcome(5).contains("not valid under any"), "{}", outcome(5));
    for height in [6, 30] {
        assert!(outcome(height).contains("nested too deep"), "{}", outcome(height));
    }
    // Definitions that lead one to the next, each at the end of a long way down.
    let chain = |length: usize, way: usize| {
        let step =
            |index| (0..way).fold(json!({"$ref": format!("#/$defs/d{index}")}), |inner, _| json!({"items": inner}));
        let definitions = (0..length).map(|index| (format!("d{index}"), step((index + 1) % length)));
        json!({"$ref": "#/$defs/d0", "$defs": definitions.collect::<Map<_, _>>()})
    };
    for (length, way) in [(1500, 1), (40, 30), (2, 30)] {
        let compiled = compile(&chain(length, way)).expect("a schema");
        assert!(compiled.check(&deep(100)).is_ok());
    }
    assert!(compile(&(0..100).fold(json!(true), |inner, _| json!({"items": inner}))).is_err());
}

#[test]
fn what_is_used_often_is_compiled_once() {
    let began = Instant::now();
    let wide: Map<String, Value> = (0..800).map(|index| (format!("p{index}"), json!({"type": "string"}))).collect();
    // Each reference to it is spelled in another way.
    let spelled = |index: usize| {
        let letters = "definition".chars().enumerate();
        let spelled = letters
            .map(|(at, letter)| if index >> at & 1 == 1 { format!("%{:x}", letter as u32) } else { letter.into() });
        json!({"$ref": format!("#/$defs/{}", spelled.collect::<String>())})
    };
    let uses: Map<String, Value> = (0..1000).map(|index| (format!("u{index}"), spelled(index))).collect();
    assert!(compile(&json!({"properties": uses, "$defs": {"definition": {"properties": wide}}})).is_ok());
    // Twice as many ways on every level, to one and the same.
    let both = |index| json!({"properties": {"a": {"$ref": format!("#/$defs/d{index}")}, "b": {"$ref": format!("#/$defs/d{index}")}}});
    let mut definitions: Map<String, Value> = (0..500).map(|index| (format!("d{index}"), both(index + 1))).collect();
    definitions.insert("d500".into(), json!(true));
    assert!(compile(&json!({"$ref": "#/$defs/d0", "$defs": definitions})).is_ok());
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}
