//! The chat-completions wire, which `OpenAI` introduced and a hundred servers speak, each with an accent.
//!
//! The accents are a closed set of typed quirks: a vendor that fits them is a few lines of TOML. One that does not gets
//! a file of its own, as [`crate::adapters::pixtral`] did for its errors.

mod quirks;
mod reading;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::quirks::{
    DetailField, DocumentPart, EffortField, ImageUrl, MaxTokens, Quirks, Seed, Store, StreamUsage, SystemRole,
};
use crate::adapters::complaint::{no_error_inside, read_error};
use crate::answer::Answer;
use crate::dialect::{Said, schema_format, worded};
use crate::document::Document;
use crate::draft::Draft;
use crate::encode::{document_uri, image_uri};
use crate::error::{Error, ErrorKind, Result};
use crate::frames::{Event, Framing};
use crate::image::Image;
use crate::model::{JsonMode, ModelCard};
use crate::request::{Detail, Message, Output, Part, VisionRequest};
use crate::wire::{Delivery, Incoming, Outgoing, Wire, event_json, json_post};

/// The wire, spoken with an accent.
#[derive(Debug, Clone, Default)]
pub struct Chat {
    pub quirks: Quirks,
    /// Members that the operator wants in every request.
    pub extra: Map<String, Value>,
}

impl Wire for Chat {
    fn write(&self, req: &VisionRequest, card: &ModelCard, delivery: Delivery) -> Result<Outgoing> {
        let format = format(req, card.json);
        let enforced = format.as_ref().is_some_and(|said| said.schema["type"] == "json_schema");
        let wrapped = format.as_ref().is_some_and(|said| said.wrapped);
        let mut body = Body {
            model: req.model.to_string(),
            messages: self.messages(req, worded(req, enforced)),
            stream: delivery == Delivery::Streamed,
            optional: self.optional(req, card),
        };
        body.optional.extend(format.map(|said| ("response_format".to_owned(), said.schema)));
        if body.stream && self.quirks.stream_usage == StreamUsage::Ask {
            body.optional.insert("stream_options".into(), json!({"include_usage": true}));
        }
        body.optional.extend(self.extra.clone());
        Ok(Outgoing { wrapped, ..json_post("/chat/completions", &body)? })
    }

    fn probe(&self) -> Outgoing {
        Outgoing::get("/models")
    }

    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
        let body = reply.json()?;
        no_error_inside(&body)?;
        if !body["choices"].is_array() {
            return Err(Error::new(ErrorKind::Garbled, "reading the answer: it is not a chat completion"));
        }
        let mut draft = Draft::default();
        reading::head(&body, &mut draft);
        let Some(choice) = body["choices"].get(0) else {
            return Err(Error::new(ErrorKind::Empty, "the backend answered without a choice"));
        };
        reading::choice(choice, &choice["message"], &mut draft)?;
        draft.answer(&req.model)
    }

    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn read_event(&self, event: &Event, draft: &mut Draft) -> Result<()> {
        if event.data.trim() == "[DONE]" {
            draft.done = true;
            return Ok(());
        }
        let body = event_json(event)?;
        no_error_inside(&body)?;
        reading::head(&body, draft);
        // The first chunk of some servers, and the last of most, have no choice.
        let Some(choice) = body["choices"].get(0) else { return Ok(()) };
        reading::choice(choice, &choice["delta"], draft)
    }

    fn read_error(&self, reply: &Incoming) -> Error {
        read_error(reply)
    }
}

/// The `response_format` of a request.
fn format(req: &VisionRequest, mode: JsonMode) -> Option<Said> {
    let Output::Json(schema) = &req.output else { return None };
    match mode {
        JsonMode::Schema => schema_format(schema),
        JsonMode::Object if schema.value["type"] == "object" => {
            Some(Said { schema: json!({"type": "json_object"}), wrapped: false })
        }
        JsonMode::Object | JsonMode::Prompt => None,
    }
}

impl Chat {
    /// Members of the body that are there only when they say something.
    fn optional(&self, req: &VisionRequest, card: &ModelCard) -> Map<String, Value> {
        let sampling = &req.sampling;
        let max_tokens = match self.quirks.max_tokens {
            MaxTokens::MaxTokens => "max_tokens",
            MaxTokens::MaxCompletionTokens => "max_completion_tokens",
        };
        let seed = match self.quirks.seed {
            Seed::Seed => "seed",
            Seed::RandomSeed => "random_seed",
        };
        let effort = card.parameters.reasoning(sampling.effort);
        let (effort_field, effort) = match self.quirks.effort {
            EffortField::ReasoningEffort => ("reasoning_effort", effort.map(Value::from)),
            EffortField::Reasoning => ("reasoning", effort.map(|effort| json!({"effort": effort}))),
        };
        let stop = (!sampling.stop.is_empty()).then(|| json!(sampling.stop));
        let members = [
            (max_tokens, sampling.max_output_tokens.map(Value::from)),
            ("temperature", sampling.temperature.map(Value::from)),
            ("top_p", sampling.top_p.map(Value::from)),
            (seed, sampling.seed.map(Value::from)),
            ("stop", stop),
            (effort_field, effort),
            ("store", (self.quirks.store == Store::Never).then_some(Value::Bool(false))),
        ];
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    fn messages(&self, req: &VisionRequest, turns: Vec<Message>) -> Vec<MessageBody> {
        let system = match self.quirks.system {
            SystemRole::System => "system",
            SystemRole::Developer => "developer",
        };
        let system = req.system.clone().map(|text| MessageBody { role: system, content: Content::Text(text) });
        let turns = turns
            .into_iter()
            .map(|turn| MessageBody { role: turn.role.name(), content: self.content(turn.parts, req.detail) });
        system.into_iter().chain(turns).collect()
    }

    /// Words alone are sent as plain text, which every server takes.
    fn content(&self, parts: Vec<Part>, detail: Detail) -> Content {
        let parts: Vec<PartBody> = parts.into_iter().map(|part| self.part(part, detail)).collect();
        match <[PartBody; 1]>::try_from(parts) {
            Ok([PartBody::Text { text }]) => Content::Text(text),
            Ok([one]) => Content::Parts(vec![one]),
            Err(parts) => Content::Parts(parts),
        }
    }

    fn part(&self, part: Part, detail: Detail) -> PartBody {
        match part {
            Part::Text(text) => PartBody::Text { text },
            Part::Image(image) => PartBody::ImageUrl { image_url: self.image_url(&image, detail) },
            Part::Document(document) => self.document(&document),
        }
    }

    fn document(&self, document: &Document) -> PartBody {
        let uri = document_uri(document);
        match self.quirks.document {
            DocumentPart::DocumentUrl => PartBody::DocumentUrl { document_url: uri },
            DocumentPart::File => PartBody::File { file: json!({"filename": "document.pdf", "file_data": uri}) },
        }
    }

    fn image_url(&self, image: &Image, detail: Detail) -> ImageUrlBody {
        let url = image_uri(image);
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
    messages: Vec<MessageBody>,
    stream: bool,
    #[serde(flatten)]
    optional: Map<String, Value>,
}

#[derive(Serialize)]
struct MessageBody {
    role: &'static str,
    content: Content,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<PartBody>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum PartBody {
    Text { text: String },
    ImageUrl { image_url: ImageUrlBody },
    DocumentUrl { document_url: String },
    File { file: Value },
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
