//! The messages wire of Anthropic, which Bedrock and some local servers speak too.
//!
//! `max_tokens` is demanded there; system stands beside the messages; pictures come first, as everywhere. Input tokens
//! are counted without those from the cache, so they are added up. <https://docs.anthropic.com/en/api/messages>, read
//! 2026-11-20.

use serde_json::{Map, Value, json};

use crate::adapters::complaint::{no_error_inside, read_error};
use crate::answer::{Answer, Finish, Usage};
use crate::dialect::{CLAUDE, enforced, worded};
use crate::document::Document;
use crate::draft::{Draft, declined};
use crate::encode::base64;
use crate::error::{Error, ErrorKind, Result};
use crate::frames::{Event, Framing};
use crate::model::ModelCard;
use crate::request::{Part, VisionRequest};
use crate::wire::{Delivery, Incoming, Outgoing, Wire, count, event_json, json_post};

/// Sent when nobody says how long the answer may be: the field is demanded.
const MAX_TOKENS: u32 = 4096;

/// Words of the catalog that are no level of effort: "do not think", and "say nothing of it", which means the same to
/// models that refuse the former.
const DISABLED: &str = "disabled";
const OFF: &str = "off";

/// The wire.
#[derive(Debug, Default)]
pub struct Anthropic {
    /// Members that the operator wants in every request.
    pub extra: Map<String, Value>,
}

impl Wire for Anthropic {
    fn write(&self, req: &VisionRequest, card: &ModelCard, delivery: Delivery) -> Result<Outgoing> {
        let sampling = &req.sampling;
        let said = enforced(req, card.json, &CLAUDE);
        let wrapped = said.as_ref().is_some_and(|said| said.wrapped);
        let messages: Vec<Value> = worded(req, said.is_some())
            .iter()
            .map(|turn| json!({"role": turn.role.name(), "content": turn.parts.iter().map(part).collect::<Vec<_>>()}))
            .collect();
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            body.extend(value.map(|value| (name.to_owned(), value)));
        };
        put("model", Some(json!(req.model.as_str())));
        put("max_tokens", Some(json!(sampling.max_output_tokens.unwrap_or(MAX_TOKENS))));
        put("system", req.system.as_deref().map(Value::from));
        put("messages", Some(Value::Array(messages)));
        put("temperature", sampling.temperature.map(Value::from));
        put("top_p", sampling.top_p.map(Value::from));
        put("stop_sequences", (!sampling.stop.is_empty()).then(|| json!(sampling.stop)));
        let effort = card.parameters.reasoning(sampling.effort);
        let can_be_off = card.parameters.reasoning.first().is_some_and(|word| [DISABLED, OFF].contains(&word.as_str()));
        put("thinking", (effort == Some(DISABLED)).then(|| json!({"type": DISABLED})));
        let mut output = Map::new();
        if let Some(effort) = effort.filter(|word| ![DISABLED, OFF].contains(word)) {
            output.insert("effort".into(), json!(effort));
            // Models that need not think are told to; the others always do.
            put("thinking", can_be_off.then(|| json!({"type": "adaptive"})));
        }
        if let Some(said) = said {
            output.insert("format".into(), json!({"type": "json_schema", "schema": said.schema}));
        }
        put("output_config", (!output.is_empty()).then_some(Value::Object(output)));
        put("stream", Some(Value::Bool(delivery == Delivery::Streamed)));
        body.extend(self.extra.clone());
        Ok(Outgoing { wrapped, ..json_post("/messages", &body)? })
    }

    fn probe(&self) -> Outgoing {
        Outgoing::get("/models")
    }

    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
        let body = reply.json()?;
        no_error_inside(&body)?;
        let Some(blocks) = body["content"].as_array() else {
            return Err(Error::new(ErrorKind::Garbled, "reading the answer: it is not a message"));
        };
        let mut draft = Draft::default();
        read_head(&body, &mut draft);
        let texts = blocks.iter().filter(|block| block["type"] == "text").filter_map(|block| block["text"].as_str());
        draft.say(&texts.collect::<String>());
        read_end(&body, &mut draft)?;
        draft.answer(&req.model)
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn read_event(&self, event: &Event, draft: &mut Draft) -> Result<()> {
        let body = event_json(event)?;
        match body["type"].as_str() {
            Some("message_start") => read_head(&body["message"], draft),
            Some("content_block_start") if body["content_block"]["type"] == "text" => {
                draft.say(body["content_block"]["text"].as_str().unwrap_or_default());
            }
            Some("content_block_delta") if body["delta"]["type"] == "text_delta" => {
                draft.say(body["delta"]["text"].as_str().unwrap_or_default());
            }
            Some("message_delta") => {
                // The figures here are totals, and those of the start that it does not repeat still hold.
                let output = count(&body["usage"]["output_tokens"]);
                if let (Some(usage), Some(output)) = (&mut draft.usage, output) {
                    usage.output_tokens = output;
                }
                if let Some(usage) = usage(&body["usage"]).filter(|usage| usage.input_tokens > 0) {
                    draft.usage = Some(usage);
                }
                read_end(&body["delta"], draft)?;
            }
            Some("message_stop") => draft.done = true,
            _ => no_error_inside(&body)?,
        }
        Ok(())
    }

    fn read_error(&self, reply: &Incoming) -> Error {
        read_error(reply)
    }
}

fn part(part: &Part) -> Value {
    let source =
        |media_type: &str, bytes: &[u8]| json!({"type": "base64", "media_type": media_type, "data": base64(bytes)});
    match part {
        Part::Text(text) => json!({"type": "text", "text": text}),
        Part::Image(image) => {
            json!({"type": "image", "source": source(image.format().media_type(), image.bytes())})
        }
        Part::Document(document) => {
            json!({"type": "document", "source": source(Document::MEDIA_TYPE, document.bytes())})
        }
    }
}

fn read_head(message: &Value, draft: &mut Draft) {
    draft.model = message["model"].as_str().map(str::to_owned);
    draft.usage = usage(&message["usage"]);
}

fn read_end(message: &Value, draft: &mut Draft) -> Result<()> {
    draft.finish = match message["stop_reason"].as_str() {
        None => return Ok(()),
        Some("max_tokens" | "model_context_window_exceeded") => Some(Finish::Length),
        Some("refusal") if draft.spoken().trim().is_empty() => {
            let why = &message["stop_details"];
            let why = [&why["explanation"], &why["category"]].into_iter().find_map(Value::as_str);
            return Err(declined(why.unwrap_or("it gave no reason")));
        }
        Some("refusal") => Some(Finish::Refusal),
        Some("tool_use") => {
            return Err(Error::new(ErrorKind::Empty, "the model called a tool, although it was given none"));
        }
        Some(_) => Some(Finish::Stop),
    };
    Ok(())
}

fn usage(usage: &Value) -> Option<Usage> {
    let fresh = count(&usage["input_tokens"])?;
    let cached = count(&usage["cache_read_input_tokens"]).unwrap_or(0);
    let written = count(&usage["cache_creation_input_tokens"]).unwrap_or(0);
    Some(Usage {
        input_tokens: fresh + cached + written,
        output_tokens: count(&usage["output_tokens"]).unwrap_or(0),
        cached_tokens: cached,
        reasoning_tokens: count(&usage["output_tokens_details"]["thinking_tokens"]).unwrap_or(0),
        ..Usage::default()
    })
}
