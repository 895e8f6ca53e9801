//! Callers' JSON schemas in the dialects that vendors enforce, without changing which answers are right.
//!
//! Each keyword of JSON Schema only narrows, so one that a vendor does not know may be left out of what it enforces: the
//! gateway holds every answer to the caller's own schema anyway. What may not happen is that a dialect forbids an
//! answer that the caller allows. A schema that cannot be said without that is not enforced but asked for in words.

use serde_json::{Map, Value, json};

use crate::answer::Answer;
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

impl Dialect {
    /// The schema in this dialect; `None` when saying it would forbid answers that the caller allows.
    pub(crate) fn say(&self, schema: &Value) -> Option<Value> {
        let said = self.node(schema, true)?;
        let is_object = said["type"] == "object";
        if is_object || self.objects == Objects::Any { Some(said) } else { wrapped(said) }
    }

    fn node(&self, schema: &Value, apart: bool) -> Option<Value> {
        let Value::Object(members) = schema else {
            return (self.objects == Objects::Any).then(|| schema.clone());
        };
        let mut said = Map::new();
        let mut limits = Vec::new();
        for (name, value) in members {
            let known = self.keeps.contains(&name.as_str());
            match name.as_str() {
                "$ref" if !value.as_str()?.starts_with("#/$defs/") => return None,
                "properties" | "$defs" | "definitions" if known => {
                    let inner = value.as_object()?.iter();
                    let inner = inner.map(|(key, inner)| Some((key.clone(), self.node(inner, apart)?)));
                    said.insert(name.clone(), Value::Object(inner.collect::<Option<_>>()?));
                }
                "items" if known => {
                    said.insert(name.clone(), self.node(value, apart)?);
                }
                "anyOf" | "oneOf" | "prefixItems" if known => {
                    let inner = value.as_array()?.iter().map(|inner| self.node(inner, false));
                    said.insert(name.clone(), Value::Array(inner.collect::<Option<_>>()?));
                }
                "const" if !known => {
                    said.insert("enum".into(), json!([value]));
                }
                _ if known => {
                    said.insert(name.clone(), value.clone());
                }
                word if REMARKS.contains(&word) => {}
                word if LIMITS.contains(&word) => limits.push(format!("{word}: {value}")),
                // Without this, the rest would say something else.
                _ if self.objects != Objects::Any => return None,
                _ => {}
            }
        }
        describe(&mut said, &limits);
        if is_object(schema) { self.object(schema, said, apart) } else { Some(Value::Object(said)) }
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
            // In one of several alternatives, a null could not be told from a member that is not there.
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

/// The properties of an object that may be absent.
fn optional(schema: &Value) -> impl Iterator<Item = &str> {
    let required = schema["required"].as_array();
    let is_required = move |name: &str| required.is_some_and(|names| names.iter().any(|it| it == name));
    let names = schema["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    names.filter(move |name| !is_required(name))
}

/// The answer in the caller's own terms: without the wrapping of [`Dialect::say`], and with members absent where null
/// was said for want of another way.
pub(crate) fn settled(output: &Output, answer: Answer) -> Answer {
    let Output::Json(Schema { value: schema, .. }) = output else { return answer };
    let Ok(mut value) = serde_json::from_str::<Value>(&answer.text) else { return answer };
    let before = value.clone();
    if !is_object(schema) && value.as_object().is_some_and(|members| members.len() == 1) {
        value = value.get_mut("value").map_or(before.clone(), Value::take);
    }
    without_nulls(schema, schema, &mut value);
    if value == before { answer } else { Answer { text: value.to_string(), ..answer } }
}

fn without_nulls(root: &Value, schema: &Value, value: &mut Value) {
    let schema = resolved(root, schema);
    match value {
        Value::Object(members) => {
            let absent: Vec<&str> = optional(schema)
                .filter(|name| members.get(*name).is_some_and(Value::is_null))
                .filter(|name| !takes_null(root, &schema["properties"][*name]))
                .collect();
            for name in absent {
                members.remove(name);
            }
            for (name, member) in members {
                if let Some(inner) = schema["properties"].get(name) {
                    without_nulls(root, inner, member);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                for item in items {
                    without_nulls(root, inner, item);
                }
            }
        }
        _ => {}
    }
}

fn takes_null(root: &Value, schema: &Value) -> bool {
    let schema = resolved(root, schema);
    let any = |key: &str| schema[key].as_array().is_some_and(|inner| inner.iter().any(|it| takes_null(root, it)));
    let names_null = |kind: &Value| kind == "null";
    match (&schema["type"], &schema["enum"]) {
        (Value::String(kind), _) => kind == "null",
        (Value::Array(kinds), _) => kinds.iter().any(names_null),
        (_, Value::Array(values)) => values.iter().any(Value::is_null),
        _ => any("anyOf") || any("oneOf") || !["anyOf", "oneOf", "const"].iter().any(|key| schema.get(*key).is_some()),
    }
}

/// What a schema refers to. The gateway admits no circles; eight steps are more than anybody writes.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    (0..8).fold(schema, |schema, _| {
        let target = schema["$ref"].as_str().and_then(|target| root.pointer(target.strip_prefix('#')?));
        target.unwrap_or(schema)
    })
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
pub(crate) fn enforced(req: &VisionRequest, mode: JsonMode, dialect: &Dialect) -> Option<Value> {
    match &req.output {
        Output::Json(schema) if mode == JsonMode::Schema => dialect.say(&schema.value),
        _ => None,
    }
}

/// A schema as chat completions name it: strict where its dialect can say all of it, else as it is, which vendors follow
/// less closely. `None` for what is no object at its top: servers refuse it, strict or not.
pub(crate) fn schema_format(schema: &Schema) -> Option<Value> {
    let (value, strict) = match STRICT.say(&schema.value) {
        Some(value) => (value, true),
        None => ((*schema.value).clone(), false),
    };
    let format = json!({"name": schema.name, "strict": strict, "schema": value});
    (value["type"] == "object").then(|| json!({"type": "json_schema", "json_schema": format}))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::request::ModelId;

    fn closed(properties: &Value, required: &[&str]) -> Value {
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    fn settle(schema: &Value, text: &str) -> String {
        let output = Output::Json(Schema { name: "x".into(), value: Arc::new(schema.clone()) });
        settled(&output, Answer::new(text, ModelId::from("m"))).text
    }

    #[test]
    fn what_is_strict_already_is_left_alone() {
        let inner = closed(&json!({"b": {"type": ["string", "null"]}}), &["b"]);
        let schema = closed(&json!({"a": {"type": "array", "items": inner, "minItems": 1}}), &["a"]);
        assert_eq!(STRICT.say(&schema), Some(schema.clone()));
        let without = closed(&json!({"a": {"type": "array", "items": inner, "description": "(minItems: 1)"}}), &["a"]);
        assert_eq!(CLAUDE.say(&schema), Some(without));
        assert_eq!(GEMINI.say(&schema), Some(schema));
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
        assert_eq!(GEMINI.say(&open), Some(json!({"type": "object", "properties": {"a": {"enum": [1]}}})));
    }

    #[test]
    fn what_may_be_absent_may_be_null_and_is_absent_again_in_the_answer() {
        let line = closed(&json!({"text": {"type": "string"}, "amount": {"$ref": "#/$defs/money"}}), &["text"]);
        let mut schema = closed(
            &json!({"total": {"$ref": "#/$defs/money"}, "note": {"type": ["string", "null"]}, "lines": {"type": "array", "items": line}}),
            &["lines"],
        );
        schema["$defs"] = json!({"money": {"type": "number"}});
        let said = STRICT.say(&schema).expect("can be said");
        assert_eq!(said["required"], json!(["lines", "note", "total"]));
        assert_eq!(said["properties"]["total"], json!({"anyOf": [{"$ref": "#/$defs/money"}, {"type": "null"}]}));
        assert_eq!(said["properties"]["lines"]["items"]["required"], json!(["amount", "text"]));
        assert_eq!(CLAUDE.say(&schema).expect("can be said")["required"], json!(["lines"]));
        let answer = r#"{"lines":[{"text":"a","amount":null},{"text":"b","amount":2}],"note":null,"total":null}"#;
        assert_eq!(settle(&schema, answer), r#"{"lines":[{"text":"a"},{"amount":2,"text":"b"}],"note":null}"#);
        let alternative = closed(&json!({"a": {"anyOf": [line, {"type": "null"}]}}), &["a"]);
        assert_eq!(STRICT.say(&alternative), None);
    }

    #[test]
    fn what_is_no_object_travels_inside_one() {
        let schema = json!({"type": "array", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": "string"}}});
        let said = STRICT.say(&schema).expect("can be said");
        assert_eq!(said["properties"]["value"], json!({"type": "array", "items": {"$ref": "#/$defs/a"}}));
        assert_eq!(said["$defs"]["a"], json!({"type": "string"}));
        assert_eq!(settle(&schema, r#"{"value":["x"]}"#), r#"["x"]"#);
        assert_eq!(settle(&schema, r#"["x"]"#), r#"["x"]"#);
        assert_eq!(settle(&schema, "no json"), "no json");
    }

    #[test]
    fn an_answer_keeps_the_words_it_was_given_when_nothing_has_to_change() {
        let schema = closed(&json!({"a": {"type": "number"}}), &["a"]);
        assert_eq!(settle(&schema, "{ \"a\": 1.50 }"), "{ \"a\": 1.50 }");
    }
}
