//! The chat-completions wire, which `OpenAI` introduced and a hundred servers speak, each with an accent.
//!
//! The accents are a closed set of typed quirks: a vendor that fits them is a few lines of TOML. One that does not gets
//! a file of its own, as [`crate::adapters::pixtral`] did for its errors.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::adapters::complaint::read_error;
use crate::answer::{Answer, Finish, Usage};
use crate::error::{Error, ErrorKind, Result};
use crate::image::Image;
use crate::model::{JsonMode, ModelCard};
use crate::request::{Detail, ModelId, Output, Sampling, VisionRequest};
use crate::wire::{Incoming, Outgoing, Wire, quoted};

/// The field that bounds the answer's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokens {
    #[default]
    MaxTokens,
    MaxCompletionTokens,
}

/// The field that seeds sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Seed {
    #[default]
    Seed,
    RandomSeed,
    /// The server knows none.
    None,
}

/// How an image part holds its data URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageUrl {
    /// `{"url": "data:…"}`.
    #[default]
    Object,
    /// The data URI itself.
    Plain,
}

/// Whether the `detail` of an image is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetailField {
    #[default]
    Omit,
    Send,
}

/// Who speaks the standing instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemRole {
    #[default]
    System,
    Developer,
}

/// How one server's chat completions differ from the common form. The default is what most servers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quirks {
    pub max_tokens: MaxTokens,
    pub seed: Seed,
    pub image_url: ImageUrl,
    pub detail: DetailField,
    pub system: SystemRole,
}

/// The wire, spoken with an accent.
#[derive(Debug, Clone)]
pub struct Chat {
    pub quirks: Quirks,
}

impl Wire for Chat {
    fn write(&self, req: &VisionRequest, card: &ModelCard) -> Result<Outgoing> {
        let body = self.body(req, card.json);
        let body = serde_json::to_vec(&body)
            .map_err(|error| Error::new(ErrorKind::Internal, "writing the request as JSON").caused_by(error))?;
        Ok(Outgoing { method: Method::POST, path: "/chat/completions".into(), body: body.into() })
    }

    fn probe(&self) -> Outgoing {
        Outgoing { method: Method::GET, path: "/models".into(), body: Bytes::new() }
    }

    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
        read_answer(&req.model, reply)
    }

    fn read_error(&self, reply: &Incoming) -> Error {
        read_error(reply)
    }
}

impl Chat {
    fn body(&self, req: &VisionRequest, mode: JsonMode) -> Body {
        let Sampling { temperature, top_p, seed, max_output_tokens, stop } = &req.sampling;
        let mut optional = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                optional.insert(name.to_owned(), value);
            }
        };
        put("temperature", temperature.map(Value::from));
        put("top_p", top_p.map(Value::from));
        put("stop", (!stop.is_empty()).then(|| json!(stop)));
        let longest = max_output_tokens.map(Value::from);
        match self.quirks.max_tokens {
            MaxTokens::MaxTokens => put("max_tokens", longest),
            MaxTokens::MaxCompletionTokens => put("max_completion_tokens", longest),
        }
        match self.quirks.seed {
            Seed::Seed => put("seed", seed.map(Value::from)),
            Seed::RandomSeed => put("random_seed", seed.map(Value::from)),
            Seed::None => {}
        }
        let mut prompt = req.prompt.clone();
        if let Output::Json(schema) = &req.output {
            match mode {
                JsonMode::Schema => put(
                    "response_format",
                    Some(json!({"type": "json_schema", "json_schema": {
                        "name": schema.name, "strict": is_strict(&schema.value), "schema": *schema.value }})),
                ),
                JsonMode::Object => put("response_format", Some(json!({"type": "json_object"}))),
                JsonMode::Prompt => {}
            }
            if mode != JsonMode::Schema {
                prompt = format!("{prompt}\n\nAnswer only with JSON that follows this JSON schema:\n{}", schema.value);
            }
        }
        Body { model: req.model.to_string(), messages: self.messages(req, prompt), stream: false, optional }
    }

    fn messages(&self, req: &VisionRequest, prompt: String) -> Vec<Message> {
        let role = match self.quirks.system {
            SystemRole::System => "system",
            SystemRole::Developer => "developer",
        };
        let system = req.system.clone().map(|text| Message { role, content: Content::Text(text) });
        let many = req.images.len() > 1;
        let mut content = Vec::new();
        for (index, image) in req.images.iter().enumerate() {
            if many {
                content.push(Part::Text { text: format!("Image {}:", index + 1) });
            }
            content.push(Part::ImageUrl { image_url: self.image_url(image, req.detail) });
        }
        content.push(Part::Text { text: prompt });
        system.into_iter().chain([Message { role: "user", content: Content::Parts(content) }]).collect()
    }

    fn image_url(&self, image: &Image, detail: Detail) -> ImageUrlBody {
        let mut url = format!("data:{};base64,", image.format().media_type());
        STANDARD.encode_string(image.bytes(), &mut url);
        match self.quirks.image_url {
            ImageUrl::Plain => ImageUrlBody::Plain(url),
            ImageUrl::Object => {
                let detail = match (self.quirks.detail, detail) {
                    (DetailField::Omit, _) => None,
                    (DetailField::Send, Detail::Low) => Some("low"),
                    // `auto` is never sent: on some models it means the full picture at five times the price.
                    (DetailField::Send, Detail::Auto | Detail::High) => Some("high"),
                };
                ImageUrlBody::Object { url, detail }
            }
        }
    }
}

#[derive(Serialize)]
struct Body {
    model: String,
    messages: Vec<Message>,
    stream: bool,
    #[serde(flatten)]
    optional: Map<String, Value>,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    /// Standing instructions: many servers take them as text only.
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
    ImageUrl { image_url: ImageUrlBody },
}

#[derive(Serialize)]
#[serde(untagged)]
enum ImageUrlBody {
    Plain(String),
    Object {
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'static str>,
    },
}

/// Whether a schema meets the vendors' rules for strict mode: every object closed and every property required.
fn is_strict(schema: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return true };
    let is_object = schema.get("type").is_some_and(|kind| {
        kind == "object" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "object"))
    });
    let closed = match schema.get("properties").and_then(Value::as_object) {
        None => !is_object || schema.get("additionalProperties") == Some(&Value::Bool(false)),
        Some(properties) => {
            let required = schema.get("required").and_then(Value::as_array);
            let is_required = |name: &String| required.is_some_and(|names| names.iter().any(|it| it == name));
            schema.get("additionalProperties") == Some(&Value::Bool(false))
                && properties.keys().all(is_required)
                && properties.values().all(is_strict)
        }
    };
    let nested = ["items", "anyOf", "allOf", "oneOf", "$defs"];
    closed
        && nested.iter().filter_map(|key| schema.get(*key)).all(|value| match value {
            Value::Array(list) => list.iter().all(is_strict),
            Value::Object(map) if !map.contains_key("type") => map.values().all(is_strict),
            other => is_strict(other),
        })
}

/// Only what is needed is named, and figures stay raw: a vendor's absurd number must not destroy a paid answer.
#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Option<Said>,
    #[serde(default)]
    finish_reason: Option<Value>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    refusal: Option<Value>,
}

/// Reads a chat completion.
///
/// # Errors
/// When it is not one, has no choice, says nothing, was refused, or carries an error inside a success.
pub(crate) fn read_answer(asked: &ModelId, reply: &Incoming) -> Result<Answer> {
    let text = String::from_utf8_lossy(&reply.body);
    let parsed: Reply = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        Error::new(ErrorKind::Garbled, "reading the answer: it is not a chat completion")
            .with("bytes", reply.body.len().to_string())
            .caused_by(error)
    })?;
    if parsed.error.as_ref().is_some_and(|error| error.get() != "null") {
        return Err(read_error(reply));
    }
    let Some(choice) = parsed.choices.unwrap_or_default().into_iter().next() else {
        return Err(Error::new(ErrorKind::Empty, "the backend answered without a choice"));
    };
    let said = choice.message.unwrap_or(Said { content: None, refusal: None });
    if let Some(refusal) = said.refusal.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty()) {
        return Err(Error::new(ErrorKind::Refused, format!("the model declined: {}", quoted(refusal))));
    }
    let finish = match choice.finish_reason.as_ref().and_then(Value::as_str) {
        Some("length" | "model_length") => Finish::Length,
        Some("content_filter") => Finish::Refusal,
        Some("tool_calls" | "function_call") => {
            return Err(Error::new(ErrorKind::Garbled, "the model called a tool, although it was given none"));
        }
        Some("error") => {
            return Err(Error::new(ErrorKind::Unavailable, "the backend broke off while answering"));
        }
        _ => Finish::Stop,
    };
    let text = spoken(&content_text(said.content)?);
    let usage = parsed.usage.as_deref().and_then(read_usage);
    if text.trim().is_empty() {
        return Err(nothing_said(finish));
    }
    let model = parsed.model.filter(|name| !name.is_empty());
    let model = model.map_or_else(|| asked.clone(), |name| ModelId::from(name.as_str()));
    Ok(Answer { usage, finish, ..Answer::new(text, model) })
}

/// Joins the text parts of a content that is text or a list of chunks; what a model thought is not what it said.
fn content_text(content: Option<Value>) -> Result<String> {
    match content {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(chunks)) => {
            let texts =
                chunks.iter().filter(|chunk| chunk["type"] == "text").filter_map(|chunk| chunk["text"].as_str());
            Ok(texts.collect())
        }
        Some(_) => Err(Error::new(ErrorKind::Garbled, "reading the answer: its content is neither text nor a list")),
    }
}

/// Without the thoughts that servers without a reasoning parser leave in front of an answer.
fn spoken(text: &str) -> String {
    let thought = text.trim_start().strip_prefix("<think>").map(|thought| thought.split_once("</think>"));
    match thought {
        None => text.to_owned(),
        Some(Some((_, said))) => said.trim_start().to_owned(),
        Some(None) => String::new(),
    }
}

fn nothing_said(finish: Finish) -> Error {
    match finish {
        Finish::Length => Error::new(ErrorKind::Truncated, "the token limit was met before the model said anything")
            .advise("raise the limit on output tokens, or choose a model that reasons less"),
        Finish::Refusal => Error::new(ErrorKind::Refused, "the vendor's filter removed the answer"),
        Finish::Stop => Error::new(ErrorKind::Empty, "the backend answered with nothing"),
    }
}

/// Usage as far as its figures make sense; a count beyond a billion tokens is a fault, not a fact.
fn read_usage(raw: &RawValue) -> Option<Usage> {
    let usage: Value = serde_json::from_str(raw.get()).ok()?;
    let count = |value: &Value| value.as_u64().filter(|count| *count <= 1_000_000_000);
    Some(Usage {
        input_tokens: count(&usage["prompt_tokens"])?,
        output_tokens: count(&usage["completion_tokens"])?,
        cached_tokens: count(&usage["prompt_tokens_details"]["cached_tokens"]).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closed_schemas_with_all_properties_required_are_strict() {
        let check = |schema: Value, expected| assert_eq!(is_strict(&schema), expected, "{schema}");
        check(json!({"type": "object", "properties": {}, "additionalProperties": false}), true);
        check(json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}), false);
        check(json!({"type": "object"}), false);
        check(json!({"type": ["object", "null"]}), false);
        let closed = |inner: Value| json!({"type": "object", "properties": {"a": inner}, "required": ["a"], "additionalProperties": false});
        check(closed(json!({"type": "string"})), true);
        check(closed(json!({"type": "array", "items": {"type": "object", "properties": {"b": {}}}})), false);
        check(closed(json!({"type": "array", "items": closed(json!({"type": "number"}))})), true);
    }
}
