//! Mistral's OCR wire: a document or an image in; pages with text, tables and places out; and a schema filled in from
//! the whole of it, where one is given.
//!
//! It reads and extracts, and does not pretend to describe or to answer. It does not stream.
//! <https://docs.mistral.ai/api/#tag/ocr>, read 2026-11-20.

use serde_json::{Map, Value, json};

use crate::adapters::complaint::no_error_inside;
use crate::adapters::pixtral::read_refusal;
use crate::answer::{Answer, Rect, TextBlock, Usage};
use crate::dialect::schema_format;
use crate::draft::Draft;
use crate::encode::{document_uri, image_uri};
use crate::error::{Error, ErrorKind, Result};
use crate::frames::{Event, Framing};
use crate::model::ModelCard;
use crate::request::{Output, Part, Task, VisionRequest};
use crate::wire::{Delivery, Incoming, Outgoing, Wire, count, json_post};

/// The wire.
#[derive(Debug, Default)]
pub struct MistralOcr {
    /// Members that the operator wants in every request.
    pub extra: Map<String, Value>,
}

impl Wire for MistralOcr {
    fn write(&self, req: &VisionRequest, card: &ModelCard, _: Delivery) -> Result<Outgoing> {
        let mut body = Map::new();
        body.insert("model".into(), json!(req.model.as_str()));
        body.insert("document".into(), document(req)?);
        body.insert("include_image_base64".into(), Value::Bool(false));
        if card.boxes {
            body.insert("include_blocks".into(), Value::Bool(true));
        }
        let mut wrapped = false;
        if let (Task::Extract, Output::Json(schema)) = (req.task, &req.output) {
            let format = schema_format(schema).ok_or_else(|| {
                Error::new(ErrorKind::Unsupported, format!("{} takes no such schema", req.model))
                    .advise("give a schema of an object, or choose another model")
            })?;
            wrapped = format.wrapped;
            body.insert("document_annotation_format".into(), format.schema);
            body.insert("document_annotation_prompt".into(), json!(req.texts().collect::<Vec<_>>().join("\n")));
        }
        body.extend(self.extra.clone());
        Ok(Outgoing { wrapped, ..json_post("/ocr", &body)? })
    }

    fn probe(&self) -> Outgoing {
        Outgoing::get("/models")
    }

    fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
        let body = reply.json()?;
        no_error_inside(&body)?;
        let Some(pages) = body["pages"].as_array() else {
            return Err(Error::new(ErrorKind::Garbled, "reading the answer: it has no pages"));
        };
        let mut draft = Draft::default();
        draft.model = body["model"].as_str().map(str::to_owned);
        draft.usage = usage(&body["usage_info"], req.task);
        let read: Vec<String> = pages.iter().map(page_text).filter(|text| !text.is_empty()).collect();
        let text = read.join("\n\n");
        let said = match (&req.output, req.task) {
            (Output::Json(_), Task::Extract) => annotation(&body["document_annotation"])?,
            (Output::Json(_), _) => json!({"detected_text": text}).to_string(),
            (Output::Text, _) => text,
        };
        draft.say(&said);
        if let Some(image) = req.images().next() {
            let size = (image.width(), image.height());
            draft.blocks = pages.iter().flat_map(|page| blocks(page, size)).collect();
        }
        draft.answer(&req.model)
    }

    /// A thousand pages, with each block of them said twice.
    fn longest_answer(&self) -> usize {
        32 << 20
    }

    fn framing(&self) -> Framing {
        Framing::Whole
    }

    fn read_event(&self, _: &Event, _: &mut Draft) -> Result<()> {
        Err(Error::new(ErrorKind::Internal, "reading a stream of a backend that has none"))
    }

    fn read_error(&self, reply: &Incoming) -> Error {
        read_refusal(reply)
    }
}

/// The one thing to read: the wire takes no more.
fn document(req: &VisionRequest) -> Result<Value> {
    let mut pictures = req.parts().filter_map(|part| match part {
        Part::Image(image) => Some(json!({"type": "image_url", "image_url": image_uri(image)})),
        Part::Document(document) => Some(
            json!({"type": "document_url", "document_url": document_uri(document), "document_name": "document.pdf"}),
        ),
        Part::Text(_) => None,
    });
    match (pictures.next(), pictures.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(Error::new(ErrorKind::Unsupported, format!("{} takes one image or document", req.model))),
    }
}

/// The filled-in schema is JSON inside a string.
fn annotation(value: &Value) -> Result<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        Value::Object(_) => Ok(value.to_string()),
        _ => Err(Error::new(ErrorKind::Empty, "the backend read the document but did not fill in the schema")),
    }
}

/// The text of a page, with its tables in their places and without its pictures, which nobody asked for.
fn page_text(page: &Value) -> String {
    let mut text = page["markdown"].as_str().unwrap_or_default().to_owned();
    let members = |key: &str| page[key].as_array().into_iter().flatten();
    for table in members("tables") {
        if let (Some(id), Some(content)) = (table["id"].as_str(), table["content"].as_str()) {
            text = text.replace(&format!("[{id}]({id})"), content);
        }
    }
    for image in members("images") {
        if let Some(id) = image["id"].as_str() {
            text = text.replace(&format!("![{id}]({id})"), "");
        }
    }
    let edges = [page["header"].as_str(), Some(text.trim()), page["footer"].as_str()];
    edges.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The blocks of a page, in pixels of the image of this size: pages have pixels of their own.
fn blocks(page: &Value, (width, height): (u32, u32)) -> Vec<TextBlock> {
    let side = |key: &str| page["dimensions"][key].as_f64().filter(|pixels| *pixels >= 1.0);
    let (Some(across), Some(down)) = (side("width"), side("height")) else { return Vec::new() };
    let area = |block: &Value| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the side")]
        let edge = |key: &str, of: f64, side: u32| {
            let side = f64::from(side);
            Some((block[key].as_f64()? / of * side).round().clamp(0.0, side) as u32)
        };
        Some(Rect {
            left: edge("top_left_x", across, width)?,
            top: edge("top_left_y", down, height)?,
            right: edge("bottom_right_x", across, width)?,
            bottom: edge("bottom_right_y", down, height)?,
        })
    };
    let all = page["blocks"].as_array().into_iter().flatten();
    let with_text = all.filter_map(|block| Some((block, block["content"].as_str().filter(|text| !text.is_empty())?)));
    with_text
        .filter_map(|(block, text)| {
            Some(TextBlock { image: 0, text: text.to_owned(), area: area(block)?, confidence: None })
        })
        .collect()
}

fn usage(info: &Value, task: Task) -> Option<Usage> {
    let pages = count(&info["pages_processed"])?;
    let annotated = task == Task::Extract;
    let (pages, annotated_pages) = if annotated { (0, pages) } else { (pages, 0) };
    Some(Usage { pages, annotated_pages, ..Usage::default() })
}
