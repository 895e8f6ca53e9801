//! Google's generateContent wire.
//!
//! The model stands in the path, so its name is checked; thoughts are parts like others, and are counted apart from the
//! answer although they are billed with it; a blocked prompt is a success without candidates; and a stream simply ends.
//! <https://ai.google.dev/api/generate-content>, read 2026-11-20.

use serde_json::{Map, Value, json};

use crate::adapters::complaint::{delay, details, no_error_inside, read_error};
use crate::answer::{Answer, Finish, Usage};
use crate::dialect::{GEMINI, enforced, worded};
use crate::document::Document;
use crate::draft::{Draft, broken_off, declined};
use crate::encode::base64;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::frames::{Event, Framing};
use crate::image::Image;
use crate::model::{JsonMode, ModelCard};
use crate::request::{ModelId, Output, Part, Role, VisionRequest};
use crate::tokens::{Level, TokenRule};
use crate::wire::{Delivery, Incoming, Outgoing, Wire, count, event_json, json_post};

/// The wire.
#[derive(Debug, Default)]
pub struct Gemini {
    /// Members that the operator wants in every request.
    pub extra: Map<String, Value>,
}

impl Wire for Gemini {
    fn write(&self, req: &VisionRequest, card: &ModelCard, delivery: Delivery) -> Result<Outgoing> {
        let schema = enforced(req, card.json, &GEMINI).map(|said| said.schema);
        let contents: Vec<Value> = worded(req, schema.is_some())
            .iter()
            .map(|turn| {
                let parts: Vec<Value> = turn.parts.iter().map(|it| part(it, req, card)).collect();
                json!({"role": role(turn.role), "parts": parts})
            })
            .collect();
        let mut body = Map::from_iter([("contents".to_owned(), Value::Array(contents))]);
        if let Some(system) = &req.system {
            body.insert("systemInstruction".into(), json!({"parts": [{"text": system}]}));
        }
        let config = generation_config(req, card, schema);
        if !config.is_empty() {
            body.insert("generationConfig".into(), Value::Object(config));
        }
        body.extend(self.extra.clone());
        let method = match delivery {
            Delivery::Whole => "generateContent",
            Delivery::Streamed => "streamGenerateContent?alt=sse",
        };
        json_post(&format!("/models/{}:{method}", in_path(&req.model)?), &body)
    }

    fn probe(&self) -> Outgoing {
        Outgoing::get("/models?pageSize=1")
    }

    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
        let body = reply.json()?;
        let mut draft = Draft::default();
        // A stream that nobody asked to be one of events is a list of its pieces.
        let pieces = body.as_array().map_or(std::slice::from_ref(&body), Vec::as_slice);
        for piece in pieces {
            read_piece(piece, &mut draft)?;
        }
        if pieces.iter().all(|piece| piece["candidates"].get(0).is_none()) {
            return Err(Error::new(ErrorKind::Empty, "the backend answered without a candidate"));
        }
        draft.answer(&req.model)
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn read_event(&self, event: &Event, draft: &mut Draft) -> Result<()> {
        read_piece(&event_json(event)?, draft)
    }

    /// Google says "check your plan" to whoever was too fast, too: only the name of the quota tells.
    fn read_error(&self, reply: &Incoming) -> Error {
        let error = read_error(reply);
        let body = reply.json().unwrap_or_default();
        let violations = details(&body).filter_map(|detail| detail["violations"].as_array()).flatten();
        let quotas: Vec<&str> = violations.filter_map(|violation| violation["quotaId"].as_str()).collect();
        if quotas.iter().any(|quota| quota.contains("PerDay")) {
            // Whatever wait it suggests: the quota comes back tomorrow.
            let spent = Error::new(ErrorKind::OutOfCredit, error.message());
            return spent.advise("the quota of the day is used up: raise it, or choose another provider");
        }
        if !quotas.is_empty() {
            return Error::new(ErrorKind::RateLimited, error.message()).retry(Retry::Later(delay(&body)));
        }
        error
    }
}

/// The model's name as a segment of the path. It comes from callers, so it must not lead anywhere else.
fn in_path(model: &ModelId) -> Result<&str> {
    let name = model.as_str().strip_prefix("models/").unwrap_or(model.as_str());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain) {
        return Ok(name);
    }
    Err(Error::new(ErrorKind::UnknownModel, format!("{model} cannot be the name of a Gemini model")))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Assistant => "model",
    }
}

fn part(part: &Part, req: &VisionRequest, card: &ModelCard) -> Value {
    match part {
        Part::Text(text) => json!({"text": text}),
        Part::Image(image) => {
            let mut value = inline(image.format().media_type(), image.bytes());
            if let Some(level) = level(image, req, card) {
                value["mediaResolution"] = json!({"level": level});
            }
            value
        }
        Part::Document(document) => inline(Document::MEDIA_TYPE, document.bytes()),
    }
}

fn inline(media_type: &str, bytes: &[u8]) -> Value {
    json!({"inlineData": {"mimeType": media_type, "data": base64(bytes)}})
}

/// The resolution to look with, which decides what the image costs; only models that count by levels take it.
fn level(image: &Image, req: &VisionRequest, card: &ModelCard) -> Option<&'static str> {
    let TokenRule::Levels { .. } = card.tokens else { return None };
    Some(match Level::of(image.width(), image.height(), req.detail) {
        Level::Low => "MEDIA_RESOLUTION_LOW",
        Level::Medium => "MEDIA_RESOLUTION_MEDIUM",
        Level::High => "MEDIA_RESOLUTION_HIGH",
    })
}

fn generation_config(req: &VisionRequest, card: &ModelCard, schema: Option<Value>) -> Map<String, Value> {
    let sampling = &req.sampling;
    let wants_json = matches!(req.output, Output::Json(_)) && card.json != JsonMode::Prompt;
    // Older models take a budget of tokens, newer ones a level: the catalog's words are numbers for the former.
    let thinking = card.parameters.reasoning(sampling.effort).map(|word| match word.parse::<u32>() {
        Ok(budget) => json!({"thinkingBudget": budget}),
        Err(_) => json!({"thinkingLevel": word}),
    });
    let members = [
        ("maxOutputTokens", sampling.max_output_tokens.map(Value::from)),
        ("temperature", sampling.temperature.map(Value::from)),
        ("topP", sampling.top_p.map(Value::from)),
        ("seed", sampling.seed.map(Value::from)),
        ("stopSequences", (!sampling.stop.is_empty()).then(|| json!(sampling.stop))),
        ("responseMimeType", wants_json.then(|| json!("application/json"))),
        ("responseJsonSchema", schema),
        ("thinkingConfig", thinking),
    ];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Reads a response, whole or as one piece of a stream: they have one shape.
fn read_piece(body: &Value, draft: &mut Draft) -> Result<()> {
    no_error_inside(body)?;
    let is_known = |member: &&str| body.get(*member).is_some();
    // An empty list is left out of what Gemini writes.
    if !["candidates", "promptFeedback", "usageMetadata", "modelVersion", "responseId"].iter().any(is_known) {
        return Err(Error::new(ErrorKind::Garbled, "reading the answer: it is not a response of generateContent"));
    }
    if let Some(model) = body["modelVersion"].as_str() {
        draft.model = Some(model.to_owned());
    }
    if let Some(usage) = usage(&body["usageMetadata"]) {
        draft.usage = Some(usage);
    }
    if let Some(reason) = body["promptFeedback"]["blockReason"].as_str() {
        return Err(declined(&format!("the prompt was blocked for {reason}")));
    }
    let candidate = &body["candidates"][0];
    let parts = candidate["content"]["parts"].as_array().into_iter().flatten();
    let spoken = parts.filter(|part| part["thought"] != true).filter_map(|part| part["text"].as_str());
    draft.say(&spoken.collect::<String>());
    draft.finish = match candidate["finishReason"].as_str() {
        None => return Ok(()),
        Some("MAX_TOKENS") => Some(Finish::Length),
        Some("MALFORMED_FUNCTION_CALL" | "UNEXPECTED_TOOL_CALL") => {
            return Err(Error::new(ErrorKind::Empty, "the model called a tool, although it was given none"));
        }
        Some("OTHER" | "FINISH_REASON_UNSPECIFIED" | "NO_IMAGE") if draft.spoken().trim().is_empty() => {
            return Err(broken_off("the backend gives no reason"));
        }
        Some("STOP" | "OTHER" | "FINISH_REASON_UNSPECIFIED" | "NO_IMAGE") => Some(Finish::Stop),
        // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, LANGUAGE, IMAGE_SAFETY and what will be thought of.
        Some(_) => Some(Finish::Refusal),
    };
    Ok(())
}

/// The output includes the thoughts, which are billed alike.
fn usage(usage: &Value) -> Option<Usage> {
    let thoughts = count(&usage["thoughtsTokenCount"]).unwrap_or(0);
    let modalities = usage["promptTokensDetails"].as_array();
    let images = modalities.map(|details| {
        let images = details.iter().filter(|detail| detail["modality"] == "IMAGE");
        images.filter_map(|detail| count(&detail["tokenCount"])).sum()
    });
    Some(Usage {
        input_tokens: count(&usage["promptTokenCount"])?,
        output_tokens: count(&usage["candidatesTokenCount"]).unwrap_or(0) + thoughts,
        cached_tokens: count(&usage["cachedContentTokenCount"]).unwrap_or(0),
        reasoning_tokens: thoughts,
        image_tokens: images,
        ..Usage::default()
    })
}
