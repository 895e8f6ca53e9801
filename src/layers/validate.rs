//! Holds an answer to the form that was asked for, so that nothing else is remembered or delivered.
//!
//! Models wrap JSON in fences and prose, and token limits cut it; what can be saved without inventing anything is.
//! The text of an answer that passes is compact JSON.

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::time::timeout_at;
use vision_providers::answer::{Answer, Finish};
use vision_providers::error::{Error, ErrorKind, Result};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, Output, Schema, Task, VisionRequest};
use vision_providers::wire::quoted;

use crate::schema;

/// The layer.
#[derive(Debug)]
pub struct Validated {
    inner: Provider,
}

impl Validated {
    /// Holds the answers of `inner` to their form.
    #[must_use]
    pub fn new(inner: Provider) -> Self {
        Self { inner }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VisionProvider for Validated {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn card(&self, model: &str) -> ModelCard {
        self.inner.card(model)
    }

    fn models(&self) -> &[ModelCard] {
        self.inner.models()
    }

    async fn complete(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<Answer> {
        let answer = self.inner.complete(ctx, req).await?;
        let Output::Json(schema) = &req.output else { return Ok(answer) };
        let (schema, task) = (schema.clone(), req.task);
        let checking = tokio::task::spawn_blocking(move || validated(answer, &schema, task));
        let broken = |_| Error::new(ErrorKind::Internal, "checking the answer's form");
        let late = |_| Error::new(ErrorKind::TimedOut, "checking the answer's form: it takes too long");
        timeout_at(ctx.deadline, checking).await.map_err(late)?.map_err(broken)?
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}

fn validated(answer: Answer, schema: &Schema, task: Task) -> Result<Answer> {
    let cut = answer.finish != Finish::Stop;
    let tries = answer.tries.clone();
    let found = find_json(&answer.text).or_else(|| if cut { mended(&answer.text, task) } else { None });
    let value = match found {
        Some(value) => value,
        None if answer.finish == Finish::Refusal => {
            return Err(
                Error::new(ErrorKind::Refused, "the vendor's filter cut the answer before it was usable").after(tries)
            );
        }
        // A server without a JSON mode answered in prose. For a description that is an answer all the same, cut or not.
        None if task == Task::Describe && !answer.text.trim_start().starts_with(['{', '`']) => {
            return Ok(prose(answer));
        }
        None if cut => {
            return Err(Error::new(ErrorKind::Truncated, "the answer was cut before its JSON was complete")
                .advise("raise the limit on output tokens, or ask for less")
                .after(tries));
        }
        None => return Err(mismatch(&answer.text, "it is not JSON").after(tries)),
    };
    if let Err(fault) = check(&value, schema) {
        return Err(mismatch(&answer.text, &fault).after(tries));
    }
    if is_empty(&value, task) {
        return Err(Error::new(ErrorKind::Empty, "the backend answered with an empty description").after(tries));
    }
    Ok(Answer { text: value.to_string(), ..answer })
}

fn prose(answer: Answer) -> Answer {
    let value = serde_json::json!({"description": answer.text.trim(), "detected_text": ""});
    let mut answer = Answer { text: value.to_string(), partial: true, ..answer };
    answer.warnings.push("the model did not tell text apart from description: `detected_text` is not complete".into());
    answer
}

/// An empty `detected_text` is a fact about an image; a description that says nothing is none.
fn is_empty(value: &Value, task: Task) -> bool {
    let blank = |key: &str| value[key].as_str().is_none_or(|text| text.trim().is_empty());
    task == Task::Describe && blank("description") && blank("detected_text")
}

fn mismatch(text: &str, fault: &str) -> Error {
    Error::new(ErrorKind::SchemaMismatch, format!("the answer does not follow the schema: {fault}"))
        .with("answer", quoted(text))
        .advise("simplify the schema, or choose a model that enforces schemas")
}

/// The JSON in an answer: the whole of it, what a fence holds, or what lies between the first and the last brace.
fn find_json(text: &str) -> Option<Value> {
    let text = text.trim();
    let fenced = || {
        let inside = text.split_once("```")?.1;
        let inside = inside.strip_prefix("json").unwrap_or(inside);
        serde_json::from_str(inside.split("```").next()?.trim()).ok()
    };
    let braced = || serde_json::from_str(text.get(text.find('{')?..=text.rfind('}')?)?).ok();
    serde_json::from_str(text).ok().or_else(fenced).or_else(braced).filter(|value: &Value| !value.is_null())
}

/// Closes what a token limit left open in the flat answers of our own schemas. Nothing is added but closing marks and
/// the members that were never begun, as empty.
fn mended(text: &str, task: Task) -> Option<Value> {
    let members: &[&str] = match task {
        Task::Describe => &["description", "detected_text"],
        Task::Ocr => &["detected_text"],
        Task::Ask | Task::Extract => return None,
    };
    let text = without_broken_escape(text.trim_end());
    let bases = [text, text.trim_end_matches(',')];
    let complete = |base: &str, ending: &str| serde_json::from_str::<Value>(&format!("{base}{ending}")).ok();
    let endings = ["\"}", "}", "\"\"}", ":\"\"}", "\":\"\"}"];
    let found = bases.iter().flat_map(|base| endings.map(|ending| complete(base, ending))).find_map(|found| found)?;
    let member = |name: &&str| found[*name].as_str().unwrap_or_default().trim_end().to_owned();
    let whole: Map<String, Value> =
        members.iter().map(|name| ((*name).to_owned(), Value::String(member(name)))).collect();
    let said = whole.values().any(|member| member.as_str() != Some(""));
    said.then_some(Value::Object(whole))
}

/// The cut may fall into an escape: a lone backslash, or the beginning of `\u0000`. What is left of it goes.
fn without_broken_escape(text: &str) -> &str {
    let Some(at) = text.rfind('\\') else { return text };
    let before = text[..at].bytes().rev().take_while(|byte| *byte == b'\\').count();
    let rest = &text[at + 1..];
    let begins = before % 2 == 0;
    if begins && (rest.is_empty() || (rest.starts_with('u') && rest.len() < 5)) { &text[..at] } else { text }
}

fn check(value: &Value, wanted: &Schema) -> Result<(), String> {
    let validator = schema::compile(&wanted.value)?;
    let first = validator.iter_errors(value).next();
    first.map_or(Ok(()), |error| Err(format!("at `{}`: {}", error.instance_path(), quoted(&error.to_string()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;
    use vision_providers::request::ModelId;

    fn outcome(text: &str, finish: Finish, task: Task) -> Result<(String, Finish), ErrorKind> {
        let key = if task == Task::Extract { "total" } else { "description" };
        let value = json!({"type": "object", "properties": {key: {"type": "string"}}, "required": [key]});
        let schema = Schema { name: "test".into(), value: Arc::new(value) };
        let answer = Answer { finish, ..Answer::new(text, ModelId::from("m")) };
        validated(answer, &schema, task).map(|answer| (answer.text, answer.finish)).map_err(|error| error.kind())
    }

    #[test]
    fn json_is_found_in_fences_and_prose() {
        for text in [
            r#"{"total":"9"}"#,
            "```json\n{\"total\": \"9\"}\n```",
            "Here you are:\n```\n{\"total\":\"9\"}\n```\nBye",
            r#"Sure! {"total":"9"} Anything else?"#,
        ] {
            assert_eq!(
                outcome(text, Finish::Stop, Task::Extract),
                Ok((r#"{"total":"9"}"#.into(), Finish::Stop)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_in_form_is_an_error_of_its_own_kind() {
        let check =
            |text: &str, finish, task, expected| assert_eq!(outcome(text, finish, task), Err(expected), "{text}");
        check("I cannot say", Finish::Stop, Task::Extract, ErrorKind::SchemaMismatch);
        check(r#"{"total":9}"#, Finish::Stop, Task::Extract, ErrorKind::SchemaMismatch);
        check("null", Finish::Stop, Task::Extract, ErrorKind::SchemaMismatch);
        check(r#"{"total":"9"#, Finish::Length, Task::Extract, ErrorKind::Truncated);
        check(r#"{"descr"#, Finish::Length, Task::Describe, ErrorKind::Truncated);
        check("Well, ", Finish::Length, Task::Extract, ErrorKind::Truncated);
        check(r#"{"total":"#, Finish::Refusal, Task::Extract, ErrorKind::Refused);
        check(r#"{"description":" "}"#, Finish::Stop, Task::Describe, ErrorKind::Empty);
    }

    #[test]
    fn a_cut_description_keeps_what_was_said() {
        let (text, finish) =
            outcome(r#"{"description":"A till receipt with \"#, Finish::Length, Task::Describe).expect("text");
        assert_eq!(finish, Finish::Length);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("json")["description"], "A till receipt with");
    }

    #[test]
    fn a_description_survives_a_cut_wherever_it_falls() {
        for cut in [
            r#"{"description":"A receipt""#,
            r#"{"description":"A receipt","#,
            r#"{"description":"A receipt","detec"#,
            r#"{"description":"A receipt","detected_text":"#,
            r#"{"description":"A receipt","detected_text":"TOTAL \u00"#,
            "A receipt",
        ] {
            let (text, _) =
                outcome(cut, Finish::Length, Task::Describe).unwrap_or_else(|kind| panic!("{cut}: {kind:?}"));
            assert_eq!(serde_json::from_str::<Value>(&text).expect("json")["description"], "A receipt", "{cut}");
        }
    }

    #[test]
    fn prose_is_a_description_with_a_warning() {
        let (text, _) = outcome("A cat on a mat.", Finish::Stop, Task::Describe).expect("text");
        assert!(text.contains("A cat on a mat."));
    }
}
