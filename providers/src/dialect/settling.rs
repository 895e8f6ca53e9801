//! Answers back in the caller's own terms, and the JSON in what a model says.

use std::collections::HashSet;

use serde_json::Value;

use super::{is_object, required, resolved};
use crate::answer::Answer;
use crate::request::{Output, Schema};

/// The answer in the caller's own terms: without the wrapping that its dialect needed, and with members absent where null
/// was said for want of another way. It may take a while, so it belongs on a thread that may be busy.
pub(crate) fn settled(output: &Output, wrapped: bool, answer: Answer) -> Answer {
    let Output::Json(Schema { value: schema, .. }) = output else { return answer };
    let Some(mut value) = whole(&answer.text).or_else(|| fenced(&answer.text)) else { return answer };
    let before = value.clone();
    if wrapped && value.as_object().is_some_and(|members| members.len() == 1) {
        value = value.get_mut("value").map_or(before.clone(), Value::take);
    }
    without_nulls(schema, schema, &mut value);
    if value == before { answer } else { Answer { text: value.to_string(), ..answer } }
}

/// What may be the JSON in a text, the likeliest first: all of it, what a fence holds, what lies between braces, and a
/// list that the text begins or ends with. Lists inside of prose are mostly no answers.
#[must_use]
pub fn json_in(text: &str) -> Vec<Value> {
    let text = text.trim();
    let between =
        |open: char, close: char| serde_json::from_str::<Value>(text.get(text.find(open)?..=text.rfind(close)?)?).ok();
    if let Some(value) = whole(text) {
        return vec![value];
    }
    let at_the_edge = text.starts_with('[') || text.ends_with(']');
    let list = if at_the_edge { between('[', ']') } else { None };
    [fenced(text), between('{', '}'), list].into_iter().flatten().collect()
}

fn whole(text: &str) -> Option<Value> {
    serde_json::from_str(text.trim()).ok()
}

fn fenced(text: &str) -> Option<Value> {
    let inside = text.split_once("```")?.1;
    let inside = inside.strip_prefix("json").unwrap_or(inside);
    whole(inside.split("```").next()?)
}

fn without_nulls(root: &Value, schema: &Value, value: &mut Value) {
    let schema = chosen(root, resolved(root, schema), value);
    match value {
        Value::Object(members) => {
            let Some(properties) = schema["properties"].as_object() else { return };
            let nulls: Vec<String> =
                members.iter().filter(|(_, member)| member.is_null()).map(|(name, _)| name.clone()).collect();
            // Most objects have none, and what a schema requires may be a long list.
            let required = if nulls.is_empty() { HashSet::new() } else { required(schema) };
            for name in nulls.iter().filter(|name| !required.contains(name.as_str())) {
                if properties.get(name).is_some_and(|inner| !takes_null(root, inner)) {
                    members.remove(name);
                }
            }
            for (name, member) in members {
                if let Some(inner) = properties.get(name) {
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

/// The one alternative that a value of this kind can follow, where there is one.
fn chosen<'a>(root: &'a Value, schema: &'a Value, value: &Value) -> &'a Value {
    let alternatives = ["anyOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()).flatten();
    let fits = |inner: &&Value| match value {
        Value::Object(_) => is_object(inner),
        Value::Array(_) => inner.get("items").is_some(),
        _ => false,
    };
    let mut fitting = alternatives.map(|inner| resolved(root, inner)).filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => one,
        _ => schema,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_found_in_fences_and_prose() {
        for (text, expected) in [
            ("```json\n{\"a\": 1}\n```", vec![json!({"a": 1})]),
            ("Sure: [1, 2]", vec![json!([1, 2])]),
            ("As in [1], it is {\"a\": [1]}.", vec![json!({"a": [1]})]),
            ("null", vec![Value::Null]),
            ("The list would be [] here.", vec![]),
            ("The values [1, 2] over time.", vec![]),
        ] {
            let mut found = json_in(text);
            found.dedup();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn an_answer_keeps_the_words_it_was_given_when_nothing_has_to_change() {
        let value = json!({"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]});
        let output = Output::Json(Schema { name: "x".into(), value: value.into() });
        let answer = Answer::new("{ \"a\": 1.50 }", "m".into());
        assert_eq!(settled(&output, false, answer).text, "{ \"a\": 1.50 }");
    }
}
