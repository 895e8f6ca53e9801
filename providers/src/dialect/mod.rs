//! Callers' JSON schemas in the dialects that vendors enforce, without changing which answers are right.
//!
//! Each keyword of JSON Schema only narrows, so one that a vendor does not know may be left out of what it enforces: the
//! gateway holds every answer to the caller's own schema anyway. What may not happen is that a dialect forbids an
//! answer that the caller allows. A schema that cannot be said without that is not enforced but asked for in words.

mod settling;

use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

pub use self::settling::json_in;
pub(crate) use self::settling::settled;
use crate::model::JsonMode;
use crate::request::{Message, Output, Part, Role, Schema, VisionRequest};

/// What a vendor's enforcement knows.
#[derive(Debug)]
pub(crate) struct Dialect {
    /// Keywords that may stay.
    keeps: &'static [&'static str],
    /// Whether every object must be closed, and which members may be absent.
    objects: Objects,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Objects {
    Any,
    /// Closed, and members may be left out.
    Closed,
    /// Closed, and no member may be left out: what may be absent becomes what may be null.
    Whole,
}

/// `OpenAI`'s strict mode, and all who took it over. Structured outputs guide, 2026-08.
pub(crate) const STRICT: Dialect = Dialect {
    keeps: &[
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "description",
        "title",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
    ],
    objects: Objects::Whole,
};

/// Claude's structured outputs: no limits on numbers, lengths or counts. Anthropic's page, 2026-09.
pub(crate) const CLAUDE: Dialect = Dialect {
    keeps: &[
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "anyOf",
        "$ref",
        "$defs",
        "description",
        "title",
    ],
    objects: Objects::Closed,
};

/// Gemini's `responseJsonSchema`. Structured output page, 2026-09.
pub(crate) const GEMINI: Dialect = Dialect {
    keeps: &[
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "enum",
        "anyOf",
        "oneOf",
        "$ref",
        "$defs",
        "format",
        "description",
        "title",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
    ],
    objects: Objects::Any,
};

/// Keywords that say nothing about which values are right.
const REMARKS: [&str; 8] = ["$schema", "$id", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"];
/// Keywords that only narrow what the rest of their schema says, so that the rest still makes sense without them.
const LIMITS: [&str; 16] = [
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "minContains",
    "maxContains",
];

/// A schema in a vendor's dialect.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) schema: Value,
    /// It was put inside an object: vendors enforce nothing else at the top.
    pub(crate) wrapped: bool,
}

impl Dialect {
    /// The schema in this dialect; `None` when saying it would forbid answers that the caller allows.
    pub(crate) fn say(&self, schema: &Value) -> Option<Said> {
        // A definition may be used where several objects are possible, and then a null in it cannot be told apart.
        let apart = !has_rival_objects(schema, schema);
        let said = self.node(schema, &Place { root: schema, apart })?;
        let is_object = said["type"] == "object";
        if is_object || self.objects == Objects::Any {
            return Some(Said { schema: said, wrapped: false });
        }
        Some(Said { schema: wrapped(said)?, wrapped: true })
    }

    fn node(&self, schema: &Value, place: &Place<'_>) -> Option<Value> {
        let Value::Object(members) = schema else {
            return (self.objects == Objects::Any).then(|| schema.clone());
        };
        if let Some(target) = schema.get("$ref") {
            return self.reference(schema, target, place);
        }
        let mut said = Map::new();
        let mut limits = Vec::new();
        for (name, value) in members {
            let known = self.keeps.contains(&name.as_str());
            match name.as_str() {
                "properties" | "$defs" if known => {
                    said.insert(name.clone(), self.members(value, place)?);
                }
                "items" if known => {
                    said.insert(name.clone(), self.node(value, place)?);
                }
                "anyOf" | "oneOf" | "prefixItems" if known => {
                    let inner = value.as_array()?.iter().map(|inner| self.node(inner, place));
                    said.insert(name.clone(), Value::Array(inner.collect::<Option<_>>()?));
                }
                "enum" | "const" if known => self.values(name, value, &mut said, &mut limits),
                _ if known => {
                    said.insert(name.clone(), value.clone());
                }
                "const" => self.values("enum", &json!([value]), &mut said, &mut limits),
                word if REMARKS.contains(&word) => {}
                word if LIMITS.contains(&word) => limits.push(format!("{word}: {value}")),
                // Without this, the rest would say something else.
                _ => return None,
            }
        }
        describe(&mut said, &limits);
        if is_object(schema) {
            return self.object(schema, said, place.apart);
        }
        // Strict modes want to be told a type, or alternatives that have one.
        let told = ["type", "anyOf"].iter().any(|key| said.contains_key(*key));
        (told || self.objects == Objects::Any).then_some(Value::Object(said))
    }

    /// Schemas by name: properties or definitions.
    fn members(&self, schemas: &Value, place: &Place<'_>) -> Option<Value> {
        let said = schemas.as_object()?.iter().map(|(name, schema)| Some((name.clone(), self.node(schema, place)?)));
        Some(Value::Object(said.collect::<Option<_>>()?))
    }

    /// A reference, alone: what stands beside one only narrows it, and vendors refuse it. At the top of a schema the
    /// definitions go with it.
    fn reference(&self, schema: &Value, target: &Value, place: &Place<'_>) -> Option<Value> {
        if !target.as_str()?.starts_with("#/$defs/") {
            return None;
        }
        let mut said = json!({"$ref": target});
        if let Some(definitions) = schema.get("$defs").filter(|_| std::ptr::eq(schema, place.root)) {
            said["$defs"] = self.members(definitions, place)?;
        }
        Some(said)
    }

    /// Possible values, with the type that they have: strict modes want it said, and Gemini knows lists of texts and
    /// numbers only.
    fn values(&self, name: &str, value: &Value, said: &mut Map<String, Value>, limits: &mut Vec<String>) {
        let one = [value.clone()];
        let values = if name == "enum" { value.as_array().map_or(&[][..], Vec::as_slice) } else { &one };
        let mut types: Vec<&str> = values.iter().map(type_of).collect();
        types.sort_unstable();
        types.dedup();
        if !said.contains_key("type") && !types.is_empty() {
            let kind = if types.len() == 1 { json!(types[0]) } else { json!(types) };
            said.insert("type".into(), kind);
        }
        let plain = types.iter().all(|kind| ["string", "number", "integer"].contains(kind));
        if plain || self.objects != Objects::Any {
            said.insert(name.to_owned(), value.clone());
        } else {
            limits.push(format!("{name}: {value}"));
        }
    }

    fn object(&self, schema: &Value, mut said: Map<String, Value>, apart: bool) -> Option<Value> {
        if self.objects == Objects::Any {
            return Some(Value::Object(said));
        }
        if schema["additionalProperties"] != Value::Bool(false) || !schema["type"].is_string() {
            return None;
        }
        let optional: Vec<String> = optional(schema).map(str::to_owned).collect();
        if self.objects == Objects::Whole {
            // Where several objects are possible, a null could not be told from a member that is not there.
            if !optional.is_empty() && !apart {
                return None;
            }
            let properties = said.entry("properties").or_insert_with(|| json!({})).as_object_mut()?;
            for name in &optional {
                let member = properties.get_mut(name)?;
                *member = json!({"anyOf": [member.take(), {"type": "null"}]});
            }
            let names: Vec<String> = properties.keys().cloned().collect();
            said.insert("required".into(), json!(names));
        }
        Some(Value::Object(said))
    }
}

/// Where in a schema a node stands.
struct Place<'a> {
    root: &'a Value,
    /// Nowhere in the schema are two objects possible in one place.
    apart: bool,
}

/// Whether somewhere in the schema one of several objects is possible.
fn has_rival_objects(root: &Value, schema: &Value) -> bool {
    let rivals = ["anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array());
    let mut objects = rivals.map(|list| list.iter().filter(|inner| is_object(resolved(root, inner))).count());
    objects.any(|count| count > 1)
        || match schema {
            Value::Object(members) => members.values().any(|inner| has_rival_objects(root, inner)),
            Value::Array(items) => items.iter().any(|inner| has_rival_objects(root, inner)),
            _ => false,
        }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What is not an object inside one: vendors enforce nothing else at the top.
fn wrapped(mut said: Value) -> Option<Value> {
    let definitions = said.as_object_mut()?.remove("$defs");
    let mut whole = json!({"type": "object", "properties": {"value": said}, "required": ["value"],
        "additionalProperties": false});
    if let Some(definitions) = definitions {
        whole["$defs"] = definitions;
    }
    Some(whole)
}

/// Limits that are not enforced are still worth saying.
fn describe(said: &mut Map<String, Value>, limits: &[String]) {
    if limits.is_empty() {
        return;
    }
    let words = said.get("description").and_then(Value::as_str).map(|words| format!("{words} "));
    said.insert("description".into(), json!(format!("{}({})", words.unwrap_or_default(), limits.join(", "))));
}

fn is_object(schema: &Value) -> bool {
    let names_object = |kind: &Value| kind == "object";
    schema.get("properties").is_some()
        || schema.get("type").is_some_and(|kind| {
            names_object(kind) || kind.as_array().is_some_and(|kinds| kinds.iter().any(names_object))
        })
}

fn required(schema: &Value) -> HashSet<&str> {
    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The properties of an object that may be absent.
fn optional(schema: &Value) -> impl Iterator<Item = &str> {
    let required = required(schema);
    let names = schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    names.filter(move |name| !required.contains(name))
}

/// What a schema refers to. The gateway admits no references that lead to nothing but themselves; eight steps are more than
/// anybody writes.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    (0..8)
        .fold(schema, |schema, _| schema["$ref"].as_str().and_then(|target| target_of(root, target)).unwrap_or(schema))
}

/// What a reference leads to. Names of generic types are encoded in one.
fn target_of<'a>(root: &'a Value, target: &str) -> Option<&'a Value> {
    root.pointer(&percent_decode_str(target.strip_prefix('#')?).decode_utf8().ok()?)
}

/// The conversation as it is sent: when no schema is enforced, its last turn ends by asking for the schema in words.
pub(crate) fn worded(req: &VisionRequest, enforced: bool) -> Vec<Message> {
    let mut messages = req.messages.clone();
    if let (Output::Json(schema), false) = (&req.output, enforced) {
        let words = format!("Answer only with JSON that follows this JSON schema:\n{}", schema.value);
        match messages.last_mut().filter(|last| last.role == Role::User) {
            Some(last) => match last.parts.last_mut() {
                Some(Part::Text(text)) => *text = format!("{text}\n\n{words}"),
                _ => last.parts.push(Part::Text(words)),
            },
            None => messages.push(Message::text(Role::User, words)),
        }
    }
    messages
}

/// The schema to enforce, in the dialect; `None` when there is none, or it can only be asked for in words.
pub(crate) fn enforced(req: &VisionRequest, mode: JsonMode, dialect: &Dialect) -> Option<Said> {
    match &req.output {
        Output::Json(schema) if mode == JsonMode::Schema => dialect.say(&schema.value),
        _ => None,
    }
}

/// A schema as chat completions name it: strict where its dialect can say all of it, else as it is, which vendors follow
/// less closely. `None` for what is no object at its top: servers refuse it, strict or not.
pub(crate) fn schema_format(schema: &Schema) -> Option<Said> {
    let strict = STRICT.say(&schema.value);
    let (strict, said) = match strict {
        Some(said) => (true, said),
        None => (false, Said { schema: (*schema.value).clone(), wrapped: false }),
    };
    let format = json!({"name": schema.name, "strict": strict, "schema": said.schema});
    let format = json!({"type": "json_schema", "json_schema": format});
    (said.schema["type"] == "object").then_some(Said { schema: format, wrapped: said.wrapped })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::answer::Answer;
    use crate::request::ModelId;

    fn closed(properties: &Value, required: &[&str]) -> Value {
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    fn settle(schema: &Value, text: &str) -> String {
        let output = Output::Json(Schema { name: "x".into(), value: Arc::new(schema.clone()) });
        let wrapped = STRICT.say(schema).is_some_and(|said| said.wrapped);
        settled(&output, wrapped, Answer::new(text, ModelId::from("m"))).text
    }

    fn say(dialect: &Dialect, schema: &Value) -> Option<Value> {
        dialect.say(schema).map(|said| said.schema)
    }

    #[test]
    fn what_is_strict_already_is_left_alone() {
        let inner = closed(&json!({"b": {"type": ["string", "null"]}}), &["b"]);
        let schema = closed(&json!({"a": {"type": "array", "items": inner, "minItems": 1}}), &["a"]);
        assert_eq!(say(&STRICT, &schema), Some(schema.clone()));
        let without = closed(&json!({"a": {"type": "array", "items": inner, "description": "(minItems: 1)"}}), &["a"]);
        assert_eq!(say(&CLAUDE, &schema), Some(without));
        assert_eq!(say(&GEMINI, &schema), Some(schema));
    }

    #[test]
    fn open_objects_are_never_closed() {
        for open in [
            json!({"type": "object"}),
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
            json!({"properties": {"a": {}}}),
            closed(&json!({"a": {"type": "object", "additionalProperties": {"type": "string"}}}), &["a"]),
            closed(&json!({"a": {"allOf": [{"type": "string"}]}}), &["a"]),
            closed(&json!({"a": {"$ref": "#/properties/b"}, "b": {"type": "string"}}), &["a", "b"]),
        ] {
            assert_eq!((STRICT.say(&open), CLAUDE.say(&open)), (None, None), "{open}");
        }
        let open = json!({"type": "object", "properties": {"a": {"const": 1}}, "default": {}});
        let said = json!({"type": "object", "properties": {"a": {"type": "integer", "enum": [1]}}});
        assert_eq!(say(&GEMINI, &open), Some(said));
    }

    #[test]
    fn what_may_be_absent_may_be_null_and_is_absent_again_in_the_answer() {
        let line = closed(&json!({"text": {"type": "string"}, "amount": {"$ref": "#/$defs/money"}}), &["text"]);
        let mut schema = closed(
            &json!({"total": {"$ref": "#/$defs/money"}, "note": {"type": ["string", "null"]}, "lines": {"type": "array", "items": line}}),
            &["lines"],
        );
        schema["$defs"] = json!({"money": {"type": "number"}});
        let said = say(&STRICT, &schema).expect("can be said");
        assert_eq!(said["required"], json!(["total", "note", "lines"]));
        assert_eq!(said["properties"]["total"], json!({"anyOf": [{"$ref": "#/$defs/money"}, {"type": "null"}]}));
        assert_eq!(said["properties"]["lines"]["items"]["required"], json!(["text", "amount"]));
        assert_eq!(say(&CLAUDE, &schema).expect("can be said")["required"], json!(["lines"]));
        let answer = r#"{"lines":[{"text":"a","amount":null},{"text":"b","amount":2}],"note":null,"total":null}"#;
        assert_eq!(settle(&schema, answer), r#"{"lines":[{"text":"a"},{"text":"b","amount":2}],"note":null}"#);
    }

    #[test]
    fn a_null_is_told_apart_where_only_one_object_is_possible() {
        let line = closed(&json!({"zip": {"type": "string"}, "street": {"type": "string"}}), &["street"]);
        let mut schema = closed(&json!({"to": {"anyOf": [{"$ref": "#/$defs/line"}, {"type": "null"}]}}), &["to"]);
        schema["$defs"] = json!({"line": line});
        assert!(STRICT.say(&schema).is_some());
        assert_eq!(settle(&schema, r#"{"to":{"street":"a","zip":null}}"#), r#"{"to":{"street":"a"}}"#);
        let other = closed(&json!({"box": {"type": "string"}}), &["box"]);
        schema["properties"]["to"] = json!({"anyOf": [{"$ref": "#/$defs/line"}, other]});
        assert_eq!(STRICT.say(&schema), None);
    }

    #[test]
    fn references_are_followed_in_circles_and_through_encoded_names() {
        let node = closed(
            &json!({"note": {"type": "string"}, "of": {"type": "array", "items": {"$ref": "#/$defs/Node%3CA%3E"}}}),
            &["of"],
        );
        let schema = json!({"type": "object", "properties": {"top": {"$ref": "#/$defs/Node%3CA%3E"}}, "required": ["top"],
            "additionalProperties": false, "$defs": {"Node<A>": node}});
        assert!(STRICT.say(&schema).is_some());
        let answer = r#"{"top":{"note":null,"of":[{"note":null,"of":[]}]}}"#;
        assert_eq!(settle(&schema, answer), r#"{"top":{"of":[{"of":[]}]}}"#);
    }

    #[test]
    fn what_vendors_refuse_is_said_in_another_way() {
        let with = |member: Value| {
            let mut schema = closed(&json!({"a": member}), &["a"]);
            schema["$defs"] = json!({"d": {"type": "string"}});
            schema
        };
        let member = |dialect, member: Value| say(dialect, &with(member)).map(|said| said["properties"]["a"].clone());
        let reference = json!({"$ref": "#/$defs/d", "description": "x"});
        assert_eq!(member(&STRICT, reference.clone()), Some(json!({"$ref": "#/$defs/d"})));
        assert_eq!(member(&GEMINI, reference), Some(json!({"$ref": "#/$defs/d"})));
        assert_eq!(member(&STRICT, json!({"description": "anything"})), None);
        assert_eq!(member(&STRICT, json!({"const": "x"})), Some(json!({"const": "x", "type": "string"})));
        let maybe = json!({"enum": ["x", null]});
        assert_eq!(member(&STRICT, maybe.clone()), Some(json!({"enum": ["x", null], "type": ["null", "string"]})));
        let said = json!({"type": ["null", "string"], "description": "(enum: [\"x\",null])"});
        assert_eq!(member(&GEMINI, maybe), Some(said));
        for unsaid in [
            json!({"type": "object", "additionalProperties": false, "patternProperties": {"^x": {}}}),
            json!({"type": "object", "properties": {"a": {"$ref": "#/definitions/A"}}, "definitions": {"A": {}}}),
            json!({"allOf": [{"type": "object"}]}),
        ] {
            assert_eq!(say(&GEMINI, &unsaid), None, "{unsaid}");
        }
    }

    #[test]
    fn what_is_no_object_travels_inside_one() {
        let schema = json!({"type": "array", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": "string"}}});
        let said = say(&STRICT, &schema).expect("can be said");
        assert_eq!(said["properties"]["value"], json!({"type": "array", "items": {"$ref": "#/$defs/a"}}));
        assert_eq!(said["$defs"]["a"], json!({"type": "string"}));
        assert_eq!(settle(&schema, r#"{"value":["x"]}"#), r#"["x"]"#);
        assert_eq!(settle(&schema, r#"["x"]"#), r#"["x"]"#);
        assert_eq!(settle(&schema, "no json"), "no json");
    }
}
