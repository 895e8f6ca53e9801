//! Reading chat completion requests as leniently as OpenAI does: what is not known is passed over, and what is known and
//! cannot be done is said.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vision_providers::request::{Effort, Sampling};

use crate::failure::{Failure, Result};
use crate::gateway::Ask;
use crate::surface::conversation;

/// A request that was understood.
pub(super) struct Wanted {
    pub(super) ask: Ask,
    pub(super) stream: bool,
    /// Whether a stream ends with what it took.
    pub(super) with_usage: bool,
    /// Parameters that would change the answer and that nobody here can take.
    pub(super) dropped: Vec<&'static str>,
}

/// Parameters that would change the answer, and the values that change nothing.
const UNABLE: [(&str, &[&str]); 16] = [
    ("audio", &[]),
    ("frequency_penalty", &["0", "0.0"]),
    ("function_call", &["\"none\""]),
    ("functions", &["[]"]),
    ("logit_bias", &["{}"]),
    ("logprobs", &["false"]),
    ("modalities", &["[\"text\"]"]),
    ("n", &["1"]),
    ("parallel_tool_calls", &["true", "false"]),
    ("prediction", &[]),
    ("presence_penalty", &["0", "0.0"]),
    ("tool_choice", &["\"none\"", "\"auto\""]),
    ("tools", &["[]"]),
    ("top_logprobs", &["0"]),
    ("verbosity", &["\"medium\""]),
    ("web_search_options", &[]),
];

/// Names for whatever the gateway would choose by itself.
const DEFAULT: [&str; 2] = ["default", "auto"];

/// Reads a request.
///
/// # Errors
/// `INVALID_INPUT` naming what cannot be understood.
pub(super) fn wanted(body: Value) -> Result<Wanted> {
    let Value::Object(mut body) = body else { return Err(Failure::invalid("the body must be a JSON object")) };
    // They may be as large as images are.
    let heard = conversation::read(body.remove("messages").unwrap_or_default())?;
    let model = text(&body, "model")?.filter(|name| !DEFAULT.contains(&name.as_str()));
    let ask = Ask {
        conversation: heard.turns,
        system: heard.system,
        detail: heard.detail,
        schema: schema(body.remove("response_format"))?,
        model,
        sampling: sampling(&body)?,
        notes: heard.notes,
        ..Ask::default()
    };
    let with_usage = body.get("stream_options").is_some_and(|options| options["include_usage"] == true);
    Ok(Wanted { ask, stream: flag(&body, "stream")?, with_usage, dropped: dropped(&body) })
}

fn dropped(body: &Map<String, Value>) -> Vec<&'static str> {
    // Compared and not written: it may be of any size.
    let is = |value: &Value, idle: &str| serde_json::from_str::<Value>(idle).is_ok_and(|idle| idle == *value);
    let is_wanted = |name: &str, idle: &[&str]| {
        let value = body.get(name).filter(|value| !value.is_null());
        value.is_some_and(|value| !idle.iter().any(|idle| is(value, idle)))
    };
    UNABLE.iter().filter(|(name, idle)| is_wanted(name, idle)).map(|(name, _)| *name).collect()
}

fn sampling(body: &Map<String, Value>) -> Result<Sampling> {
    let most = match said(body, "max_completion_tokens") {
        Some(_) => count(body, "max_completion_tokens")?,
        None => count(body, "max_tokens")?,
    };
    Ok(Sampling {
        temperature: number(body, "temperature")?,
        top_p: number(body, "top_p")?,
        seed: said(body, "seed")
            .map(|seed| seed.as_i64().ok_or_else(|| wrong("seed", "a whole number")))
            .transpose()?,
        max_output_tokens: most,
        stop: stop(body)?,
        effort: effort(text(body, "reasoning_effort")?.as_deref())?,
    })
}

fn effort(word: Option<&str>) -> Result<Effort> {
    match word {
        None | Some("none" | "minimal") => Ok(Effort::Least),
        Some("low") => Ok(Effort::Low),
        Some("medium") => Ok(Effort::Medium),
        Some("high" | "xhigh") => Ok(Effort::High),
        Some(_) => Err(wrong("reasoning_effort", "none, minimal, low, medium or high")),
    }
}

fn schema(format: Option<Value>) -> Result<Option<Arc<Value>>> {
    let Some(mut format) = format.filter(|format| !format.is_null()) else { return Ok(None) };
    match format["type"].as_str() {
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Arc::new(json!({"type": "object"})))),
        Some("json_schema") => match format.pointer_mut("/json_schema/schema").map(Value::take) {
            Some(schema @ Value::Object(_)) => Ok(Some(Arc::new(schema))),
            _ => Err(wrong("response_format.json_schema.schema", "a JSON Schema")),
        },
        _ => Err(wrong("response_format.type", "text, json_object or json_schema")),
    }
}

fn stop(body: &Map<String, Value>) -> Result<Vec<String>> {
    match said(body, "stop") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(texts)) => {
            let texts = texts.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<_>>();
            texts.ok_or_else(|| wrong("stop", "a text or an array of texts"))
        }
        Some(_) => Err(wrong("stop", "a text or an array of texts")),
    }
}

/// What a member says, unless that is nothing.
fn said<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|value| !value.is_null())
}

fn text(body: &Map<String, Value>, name: &str) -> Result<Option<String>> {
    match said(body, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(wrong(name, "a string")),
    }
}

fn number(body: &Map<String, Value>, name: &str) -> Result<Option<f64>> {
    said(body, name).map(|value| value.as_f64().ok_or_else(|| wrong(name, "a number"))).transpose()
}

fn count(body: &Map<String, Value>, name: &str) -> Result<Option<u32>> {
    let whole = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
    said(body, name).map(|value| whole(value).ok_or_else(|| wrong(name, "a whole number above 0"))).transpose()
}

fn flag(body: &Map<String, Value>, name: &str) -> Result<bool> {
    said(body, name).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| wrong(name, "true or false")))
}

fn wrong(name: &str, expected: &str) -> Failure {
    Failure::invalid(format!("`{name}` must be {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(members: &Value) -> Value {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}]});
        body.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        body
    }

    #[test]
    fn what_changes_nothing_is_passed_over_and_what_would_is_named() {
        let idle = json!({"n": 1, "presence_penalty": 0, "tools": [], "user": "u", "store": true, "nonsense": {}, "logprobs": null});
        assert!(wanted(with(&idle)).expect("read").dropped.is_empty());
        let telling = json!({"n": 2, "tools": [{"type": "function"}], "logit_bias": {"5": 1}});
        assert_eq!(wanted(with(&telling)).expect("read").dropped, ["logit_bias", "n", "tools"]);
    }

    #[test]
    fn parameters_are_read_under_old_and_new_names() {
        let read = wanted(with(
            &json!({"max_tokens": 5, "max_completion_tokens": 7, "stop": "END", "reasoning_effort": "low",
            "stream": true, "stream_options": {"include_usage": true}, "model": "default",
            "response_format": {"type": "json_object"}}),
        ));
        let read = read.expect("read");
        assert_eq!(read.ask.sampling.max_output_tokens, Some(7));
        assert_eq!((read.ask.sampling.stop, read.ask.sampling.effort), (vec!["END".to_owned()], Effort::Low));
        assert_eq!((read.stream, read.with_usage, read.ask.model), (true, true, None));
        assert_eq!(read.ask.schema.as_deref(), Some(&json!({"type": "object"})));
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let check = |members: Value, expected: &str| {
            let message = wanted(with(&members)).err().expect(expected).message;
            assert!(message.contains(expected), "{message}");
        };
        check(json!({"model": 5}), "`model` must be a string");
        check(json!({"messages": 5}), "`messages` must be an array");
        check(json!({"temperature": "hot"}), "`temperature` must be a number");
        check(json!({"max_tokens": 0}), "`max_tokens` must be a whole number above 0");
        check(json!({"stop": [1]}), "`stop` must be");
        check(json!({"stream": "yes"}), "`stream` must be true or false");
        check(json!({"reasoning_effort": "much"}), "`reasoning_effort` must be");
        check(json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}), "json_schema.schema");
    }
}
