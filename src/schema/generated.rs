//! Schemas as well-known generators write them, each with a value that follows it and one that does not.

use serde_json::{Map, Value, json};

use super::compile;

fn check(schema: &Value, right: &Value, wrong: &Value) {
    let compiled = compile(schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
    assert_eq!(compiled.check(right), Ok(()), "{schema}");
    assert!(compiled.check(wrong).is_err(), "{schema}");
}

#[test]
fn decimals_of_pydantic() {
    let decimal =
        json!({"anyOf": [{"type": "number"}, {"pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", "type": "string"}]});
    let item = json!({"type": "object", "properties": {"price": decimal}, "required": ["price"]});
    let schema = json!({"$defs": {"Item": item}, "type": "object", "properties": {"items": {"items": {"$ref": "#/$defs/Item"}, "type": "array"}}});
    check(&schema, &json!({"items": [{"price": "1.50"}, {"price": 2}]}), &json!({"items": [{"price": true}]}));
    assert!(compile(&schema).expect("a schema").warning().is_some_and(|warning| warning.contains("look around")));
}

#[test]
fn dialects_inside_of_definitions_of_zod() {
    let draft = "https://json-schema.org/draft/2020-12/schema";
    let inner = json!({"$schema": draft, "type": "object", "properties": {"a": {"type": "string"}}});
    let schema = json!({"$schema": draft, "$ref": "#/$defs/A", "$defs": {"A": inner}});
    check(&schema, &json!({"a": "x"}), &json!({"a": 1}));
}

#[test]
fn trees() {
    let node = json!({"type": "object", "properties": {"value": {"type": "string"},
        "children": {"default": [], "items": {"$ref": "#/$defs/Node"}, "type": "array"}}, "required": ["value"]});
    let schema = json!({"$defs": {"Node": node}, "$ref": "#/$defs/Node"});
    let tree = |leaf: Value| json!({"value": "a", "children": [{"value": "b", "children": [{"value": leaf}]}]});
    check(&schema, &tree(json!("c")), &tree(json!(1)));
    let whole = json!({"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "additionalProperties": false});
    check(&whole, &json!({"children": [{"children": []}]}), &json!({"children": [{"x": 1}]}));
    let list = json!({"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]});
    check(&list, &json!({"next": {"next": null}}), &json!({"next": {"next": {}}}));
    // What an expression can be made of, each of it of expressions.
    let pair = |name: &str| {
        json!({"type": "object", "properties": {"kind": {"const": name}, "left": {"$ref": "#"}, "right": {"$ref": "#"}},
        "required": ["kind", "left", "right"]})
    };
    let expression = json!({"anyOf": [{"type": "number"}, pair("add"), pair("subtract"), pair("times"), pair("divide"), pair("power")]});
    let sum = |left: &Value| json!({"kind": "times", "left": left, "right": 1});
    check(&expression, &(0..6).fold(json!(1), |left, _| sum(&left)), &(0..6).fold(json!("x"), |left, _| sum(&left)));
}

#[test]
fn generic_types_in_encoded_references() {
    let definitions = json!({"Page<Item>": {"type": "object", "properties": {"items": {"type": "array"}}}, "a/b~c": {"type": "string"}});
    for (target, right, wrong) in [
        ("Page%3CItem%3E", json!({"items": []}), json!({"items": 1})),
        ("Page<Item>", json!({"items": []}), json!({"items": 1})),
        ("a~1b~0c", json!("x"), json!(1)),
    ] {
        check(&json!({"$ref": format!("#/definitions/{target}"), "definitions": definitions}), &right, &wrong);
    }
}

#[test]
fn words_of_schemas_as_values() {
    let data = json!({"$id": "x", "$schema": "y", "$ref": "#/nowhere", "$anchor": "a", "pattern": "(?=x)", "properties": {"$ref": "#"}});
    let schema = json!({"type": "object", "default": data, "examples": [data],
        "properties": {"same": {"const": data}, "one": {"enum": [data, "$ref"]}}});
    check(&schema, &json!({"same": data, "one": "$ref"}), &json!({"same": {"$id": "x"}}));
    assert_eq!(compile(&schema).expect("a schema").warning(), None);
}

#[test]
fn hundreds_of_properties() {
    let nullable = json!({"anyOf": [{"type": "string"}, {"type": "null"}]});
    let date = json!({"type": "string", "pattern": r"^(?:(?:\d\d[2468][048]|\d\d[13579][26])-02-29|\d{4}-(?:0[1-9]|1[02])-(?:0[1-9]|[12]\d|3[01]))$"});
    let schema = |member: &Value| {
        let members: Map<String, Value> = (0..700).map(|index| (format!("p{index}"), member.clone())).collect();
        json!({"type": "object", "properties": members})
    };
    check(&schema(&nullable), &json!({"p0": null, "p699": "x"}), &json!({"p699": 1}));
    check(&schema(&date), &json!({"p0": "2024-02-29"}), &json!({"p0": "yesterday"}));
    let many: Vec<String> = (0..3000).map(|index| format!("v{index}")).collect();
    check(&json!({"properties": {"a": {"enum": many}}}), &json!({"a": "v2999"}), &json!({"a": "v3000"}));
}
