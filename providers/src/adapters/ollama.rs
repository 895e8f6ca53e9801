//! Ollama's own chat wire. Its compatible one separates pictures from the words about them, sets a temperature of its
//! own and has no way to widen the context.
//!
//! The context is set with every request: the server's usual 4,096 tokens are less than a few pictures take, and it cuts
//! a longer prompt without a word. <https://github.com/ollama/ollama/blob/main/docs/api.md>, read 2026-08-21.

use serde_json::{Map, Value, json};

use crate::adapters::complaint::{no_error_inside, read_error};
use crate::answer::{Answer, Finish, Usage};
use crate::dialect::worded;
use crate::draft::Draft;
use crate::encode::base64;
use crate::error::{Error, ErrorKind, Result};
use crate::frames::{Event, Framing};
use crate::model::{JsonMode, ModelCard};
use crate::request::{Message, Output, VisionRequest};
use crate::wire::{Delivery, Incoming, Outgoing, Wire, count, event_json, json_post};

/// The smallest context that is asked for, in tokens.
const LEAST_CONTEXT: u64 = 8192;
/// What an image may take where nobody can tell: the most that common models make of one at our sizes.
const IMAGE: u64 = 2800;
/// The answer's share of the context when nobody says how long it may be.
const ANSWER: u64 = 4096;

/// The wire.
#[derive(Debug, Default)]
pub struct Ollama {
    /// Members that the operator wants in every request; `options` are added to those that are sent anyway.
    pub extra: Map<String, Value>,
}

impl Wire for Ollama {
    fn write(&self, req: &VisionRequest, card: &ModelCard, delivery: Delivery) -> Result<Outgoing> {
        let format = format(req, card.json);
        let enforced = format.as_ref().is_some_and(Value::is_object);
        let system = req.system.iter().map(|text| json!({"role": "system", "content": text}));
        let turns = worded(req, enforced);
        let messages: Vec<Value> = system.chain(turns.iter().map(message)).collect();
        let mut body = Map::new();
        body.insert("model".into(), json!(req.model.as_str()));
        body.insert("messages".into(), Value::Array(messages));
        body.insert("stream".into(), Value::Bool(delivery == Delivery::Streamed));
        body.insert("options".into(), Value::Object(options(req, card)));
        body.extend(format.map(|format| ("format".to_owned(), format)));
        body.extend(think(card, req).map(|think| ("think".to_owned(), think)));
        for (name, value) in &self.extra {
            match (body.get_mut(name), value) {
                (Some(Value::Object(own)), Value::Object(more)) => own.extend(more.clone()),
                _ => {
                    body.insert(name.clone(), value.clone());
                }
            }
        }
        json_post("/api/chat", &body)
    }

    fn probe(&self) -> Outgoing {
        Outgoing::get("/api/tags")
    }

    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
        let mut draft = Draft::default();
        read_line(&reply.json()?, &mut draft)?;
        draft.answer(&req.model)
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn read_event(&self, event: &Event, draft: &mut Draft) -> Result<()> {
        read_line(&event_json(event)?, draft)
    }

    fn read_error(&self, reply: &Incoming) -> Error {
        let error = read_error(reply);
        match error.kind() {
            ErrorKind::UnknownModel => error.advise("install it with `ollama pull`, or choose one that is installed"),
            _ => error,
        }
    }
}

fn format(req: &VisionRequest, mode: JsonMode) -> Option<Value> {
    match (&req.output, mode) {
        (Output::Json(schema), JsonMode::Schema) => Some((*schema.value).clone()),
        (Output::Json(_), JsonMode::Object) => Some(json!("json")),
        _ => None,
    }
}

/// A turn: its words as one text, its pictures beside them.
fn message(turn: &Message) -> Value {
    let words: Vec<&str> = turn.texts().collect();
    let images: Vec<String> = turn.images().map(|image| base64(image.bytes())).collect();
    let mut message = json!({"role": turn.role.name(), "content": words.join("\n")});
    if !images.is_empty() {
        message["images"] = json!(images);
    }
    message
}

fn options(req: &VisionRequest, card: &ModelCard) -> Map<String, Value> {
    let sampling = &req.sampling;
    let members = [
        ("num_ctx", Some(json!(context(req, card)))),
        ("num_predict", sampling.max_output_tokens.map(Value::from)),
        ("temperature", sampling.temperature.map(Value::from)),
        ("top_p", sampling.top_p.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        ("stop", (!sampling.stop.is_empty()).then(|| json!(sampling.stop))),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Tokens that question and answer may take together, in steps that let the server keep the model loaded.
fn context(req: &VisionRequest, card: &ModelCard) -> u64 {
    let images: u64 =
        req.images().map(|it| card.tokens.tokens(it.width(), it.height(), req.detail).unwrap_or(IMAGE)).sum();
    let words = u64::try_from(req.characters()).unwrap_or(u64::MAX) / 2;
    let answer = req.sampling.max_output_tokens.map_or(ANSWER, u64::from);
    let needed = (images + words + answer).next_multiple_of(4096).max(LEAST_CONTEXT);
    card.limits.context.map_or(needed, |most| needed.min(most))
}

/// `true`, `false`, or the level that the catalog names.
fn think(card: &ModelCard, req: &VisionRequest) -> Option<Value> {
    let word = card.parameters.reasoning(req.sampling.effort)?;
    Some(word.parse::<bool>().map_or_else(|_| json!(word), Value::Bool))
}

/// Reads a reply, whole or as one line of a stream: they have one shape.
fn read_line(body: &Value, draft: &mut Draft) -> Result<()> {
    no_error_inside(body)?;
    if !body.is_object() {
        return Err(Error::new(ErrorKind::Garbled, "reading the answer: it is not a reply of Ollama's chat"));
    }
    if let Some(model) = body["model"].as_str() {
        draft.model = Some(model.to_owned());
    }
    draft.say(body["message"]["content"].as_str().unwrap_or_default());
    if body["done"] == true {
        draft.done = true;
        draft.finish = Some(if body["done_reason"] == "length" { Finish::Length } else { Finish::Stop });
        draft.usage = usage(body);
    }
    Ok(())
}

/// The count of the prompt is missing when all of it was remembered.
fn usage(body: &Value) -> Option<Usage> {
    Some(Usage {
        input_tokens: count(&body["prompt_eval_count"]).unwrap_or(0),
        output_tokens: count(&body["eval_count"])?,
        ..Usage::default()
    })
}
