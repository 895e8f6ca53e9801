//! What a chat completion says, whole or in chunks. Absurd members do not destroy a paid answer.

use serde_json::Value;

use crate::adapters::complaint::no_error_inside;
use crate::answer::{Finish, Usage};
use crate::draft::{Draft, broken_off};
use crate::error::{Error, ErrorKind, Result};
use crate::price::MicroUsd;
use crate::wire::count;

/// The model and the usage, which stand outside of the choice.
pub(super) fn head(body: &Value, draft: &mut Draft) {
    if let Some(model) = body["model"].as_str().filter(|name| !name.is_empty()) {
        draft.model = Some(model.to_owned());
    }
    let usages = [&body["usage"], &body["x_groq"]["usage"]];
    if let Some(usage) = usages.into_iter().find_map(usage) {
        draft.usage = Some(usage);
    }
}

/// What a choice says, whole or as a delta, and whether it has ended.
pub(super) fn choice(choice: &Value, said: &Value, draft: &mut Draft) -> Result<()> {
    no_error_inside(choice)?;
    draft.refusal.push_str(said["refusal"].as_str().unwrap_or_default());
    draft.say(&content_text(&said["content"])?);
    let reason = &choice["finish_reason"];
    // Some servers write an empty reason until there is one.
    if reason.is_null() || reason == "" {
        return Ok(());
    }
    draft.finish = match reason.as_str() {
        Some("length" | "model_length") => Some(Finish::Length),
        Some("content_filter") => Some(Finish::Refusal),
        Some("tool_calls" | "function_call") => {
            return Err(Error::new(ErrorKind::Empty, "the model called a tool, although it was given none"));
        }
        Some("error") => return Err(broken_off("the backend reports an error")),
        _ => Some(Finish::Stop),
    };
    Ok(())
}

/// Joins the text parts of a content that is text or a list of chunks; what a model thought is not what it said.
fn content_text(content: &Value) -> Result<String> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(chunks) => {
            let texts =
                chunks.iter().filter(|chunk| chunk["type"] == "text").filter_map(|chunk| chunk["text"].as_str());
            Ok(texts.collect())
        }
        _ => Err(Error::new(ErrorKind::Garbled, "reading the answer: its content is neither text nor a list")),
    }
}

/// Usage as far as its figures make sense.
fn usage(usage: &Value) -> Option<Usage> {
    let (input, output) = (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
    Some(Usage {
        input_tokens: count(&usage["prompt_tokens"])?,
        output_tokens: count(&usage["completion_tokens"])?,
        cached_tokens: count(&input["cached_tokens"]).unwrap_or(0),
        reasoning_tokens: count(&output["reasoning_tokens"]).unwrap_or(0),
        image_tokens: count(&input["image_tokens"]),
        billed: usage["cost"].as_f64().and_then(MicroUsd::from_dollars),
        ..Usage::default()
    })
}
