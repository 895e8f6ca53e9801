//! Holds an answer to the form that was asked for, so that nothing else is remembered or delivered.
//!
//! A model whose answer is wrong is shown its fault once and asked again; if that does not help, the answer is an error
//! that holds the text it gave. Models wrap JSON in fences and prose, and token limits cut it; what can be saved
//! without inventing anything is. The text of an answer that passes is compact JSON.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use serde_json::{Map, Value, json};
use tokio::time::timeout_at;
use vision_providers::answer::{Answer, AnswerStream, Chunk, Finish, Try};
use vision_providers::dialect::json_in;
use vision_providers::error::{Error, ErrorKind, Result};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CallCtx, Message, Output, Role, Schema, Task, VisionRequest};

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
        self.judge(ctx, req).verdict(answer).await
    }

    /// Deltas pass as they are: what counts is the text of the end, which is judged.
    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let stream = self.inner.stream(ctx, req).await?;
        let judge = self.judge(ctx, req);
        Ok(Box::pin(stream.then(move |chunk| {
            let judge = judge.clone();
            async move {
                match chunk? {
                    Chunk::End(answer) => Ok(Chunk::End(Box::new(judge.verdict(*answer).await?))),
                    delta @ Chunk::Delta(_) => Ok(delta),
                }
            }
        })))
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}

impl Validated {
    fn judge(&self, ctx: &CallCtx, req: &VisionRequest) -> Judge {
        Judge { inner: Provider::clone(&self.inner), ctx: ctx.clone(), req: req.clone() }
    }
}

/// Judges the answer to one request, and asks once more where it is wrong.
#[derive(Clone)]
struct Judge {
    inner: Provider,
    ctx: CallCtx,
    req: VisionRequest,
}

impl Judge {
    async fn verdict(self, answer: Answer) -> Result<Answer> {
        let first = match self.check(answer).await? {
            Verdict::Right(answer) => return Ok(answer),
            Verdict::Wrong(wrong) => wrong,
        };
        let mut tries = marked(first.answer.tries.clone());
        // When the second call fails, or has nothing usable, it is the first answer that there is something to say about.
        let second = match self.inner.complete(&self.ctx, &self.repaired(&first)).await {
            Ok(second) => second,
            Err(error) => {
                tries.extend_from_slice(error.tries());
                return Err(first.error(tries).spending(first.answer.usage));
            }
        };
        let (earlier, later, second_tries) = (first.answer.usage, second.usage, second.tries.clone());
        let wrong = match self.check(second).await {
            Ok(Verdict::Right(mut answer)) => {
                tries.append(&mut answer.tries);
                if earlier.is_none() != answer.usage.is_none() {
                    answer.warnings.push("one of the calls reported no usage: the cost is not complete".into());
                }
                answer.earlier.extend(earlier);
                let fault = &first.fault;
                answer
                    .warnings
                    .push(format!("the first answer did not follow the schema ({fault}): it was asked for again"));
                return Ok(Answer { tries, ..answer });
            }
            Ok(Verdict::Wrong(second)) => second,
            Err(_) => first,
        };
        tries.extend(marked(second_tries));
        Err(wrong.error(tries).spending(earlier).spending(later))
    }

    /// The same conversation, with the wrong answer in it and what is wrong about it.
    fn repaired(&self, wrong: &Wrong) -> VisionRequest {
        let mut req = self.req.clone();
        let said: String = wrong.answer.text.chars().take(LONGEST_REPEATED).collect();
        let words = format!(
            "This answer cannot be used: {}. Look again, and answer only with JSON that follows the schema.",
            wrong.fault
        );
        req.messages.push(Message::text(Role::Assistant, said));
        req.messages.push(Message::text(Role::User, words));
        req
    }

    async fn check(&self, answer: Answer) -> Result<Verdict> {
        let Output::Json(schema) = &self.req.output else { return Ok(Verdict::Right(answer)) };
        let (schema, task) = (schema.clone(), self.req.task);
        let checking = tokio::task::spawn_blocking(move || validated(answer, &schema, task));
        let broken = |_| Error::new(ErrorKind::Internal, "checking the answer's form");
        let late = |_| Error::new(ErrorKind::TimedOut, "checking the answer's form: it takes too long");
        timeout_at(self.ctx.deadline, checking).await.map_err(late)?.map_err(broken)?
    }
}

/// Characters of a wrong answer that the model is shown again.
const LONGEST_REPEATED: usize = 20_000;
/// Characters of a wrong answer that an error shows.
const LONGEST_SHOWN: usize = 1000;

/// Tokens of what a model is sent beyond the first question when its answer, which had so many at most, was wrong.
#[must_use]
pub fn repair_words(longest: u64) -> u64 {
    // A character may be a token of its own, and what is wrong has to be said.
    longest.min(LONGEST_REPEATED as u64) + 200
}

/// What became of an answer.
enum Verdict {
    Right(Answer),
    Wrong(Wrong),
}

/// An answer that does not follow its schema.
struct Wrong {
    answer: Answer,
    fault: String,
}

impl Wrong {
    fn error(&self, tries: Vec<Try>) -> Error {
        let text = &self.answer.text;
        let shown: String = text.chars().take(LONGEST_SHOWN).collect();
        let cut = if shown.len() < text.len() { "…" } else { "" };
        Error::new(ErrorKind::SchemaMismatch, format!("the answer does not follow the schema: {}", self.fault))
            .with("answer", format!("{shown}{cut}"))
            .advise("simplify the schema, or choose a model that enforces schemas")
            .after(tries)
    }
}

/// The tries of a call that was answered, with the answer found wanting.
fn marked(mut tries: Vec<Try>) -> Vec<Try> {
    if let Some(last) = tries.last_mut() {
        last.error = Some(ErrorKind::SchemaMismatch);
    }
    tries
}

fn validated(answer: Answer, schema: &Schema, task: Task) -> Result<Verdict> {
    let cut = answer.finish != Finish::Stop;
    let tries = answer.tries.clone();
    let mut found = json_in(&answer.text);
    if found.is_empty() && cut {
        found.extend(mended(&answer.text, task));
    }
    let compiled = schema::compile(&schema.value);
    let mut faults = Vec::new();
    for value in &found {
        match compiled.as_ref().map_err(String::clone).and_then(|compiled| compiled.check(value)) {
            Ok(()) if is_empty(value, task) => {
                let error = Error::new(ErrorKind::Empty, "the backend answered with an empty description");
                return Err(error.after(tries));
            }
            Ok(()) => {
                let mut answer = Answer { text: value.to_string(), ..answer };
                answer.warnings.extend(compiled.ok().and_then(|compiled| compiled.warning()));
                return Ok(Verdict::Right(answer));
            }
            Err(fault) => faults.push(fault),
        }
    }
    if found.is_empty() && answer.finish == Finish::Refusal {
        let error = Error::new(ErrorKind::Refused, "the vendor's filter cut the answer before it was usable");
        return Err(error.after(tries));
    }
    // A server without a JSON mode answered in prose. For our own tasks that is an answer all the same, cut or not.
    if matches!(task, Task::Describe | Task::Ocr) && is_prose(&answer.text) {
        return Ok(Verdict::Right(prose(answer, task)));
    }
    if found.is_empty() && cut {
        return Err(Error::new(ErrorKind::Truncated, "the answer was cut before its JSON was complete")
            .advise("raise the limit on output tokens, or ask for less")
            .after(tries));
    }
    let fault = faults.into_iter().next().unwrap_or_else(|| "it is not JSON".into());
    Ok(Verdict::Wrong(Wrong { answer, fault }))
}

/// Whether a text was never meant to be JSON.
fn is_prose(text: &str) -> bool {
    !text.trim_start().starts_with(['{', '`']) && serde_json::from_str::<Value>(text).is_err()
}

/// Plain words as the answer to one of our own tasks.
fn prose(answer: Answer, task: Task) -> Answer {
    let words = answer.text.trim();
    let (value, warning) = if task == Task::Ocr {
        (json!({"detected_text": words}), "`detected_text` may hold words of its own")
    } else {
        (json!({"description": words, "detected_text": ""}), "`detected_text` is not complete")
    };
    let mut answer = Answer { text: value.to_string(), partial: true, ..answer };
    answer.warnings.push(format!("the model did not keep to the form that was asked for: {warning}"));
    answer
}

/// An empty `detected_text` is a fact about an image; a description that says nothing is none.
fn is_empty(value: &Value, task: Task) -> bool {
    let blank = |key: &str| value[key].as_str().is_none_or(|text| text.trim().is_empty());
    task == Task::Describe && blank("description") && blank("detected_text")
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use vision_providers::request::ModelId;

    fn outcome(text: &str, finish: Finish, task: Task) -> Result<(String, Finish), ErrorKind> {
        let key = if task == Task::Extract { "total" } else { "description" };
        let value = json!({"type": "object", "properties": {key: {"type": "string"}}, "required": [key]});
        let schema = Schema { name: "test".into(), value: Arc::new(value) };
        let answer = Answer { finish, ..Answer::new(text, ModelId::from("m")) };
        match validated(answer, &schema, task) {
            Ok(Verdict::Right(answer)) => Ok((answer.text, answer.finish)),
            Ok(Verdict::Wrong(_)) => Err(ErrorKind::SchemaMismatch),
            Err(error) => Err(error.kind()),
        }
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
    fn an_answer_says_to_which_patterns_it_was_not_held() {
        let value = json!({"properties": {"total": {"type": "string", "pattern": "^(?![-+.]*$)[0-9.]*$"}}});
        let schema = Schema { name: "test".into(), value: Arc::new(value) };
        let answer = Answer::new(r#"{"total":"9"}"#, ModelId::from("m"));
        let Ok(Verdict::Right(answer)) = validated(answer, &schema, Task::Extract) else { panic!("it is right") };
        assert!(answer.warnings.iter().any(|warning| warning.contains("^(?![-+.]*$)")), "{:?}", answer.warnings);
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
        let (text, _) = outcome("The values [1, 2] and {x}.", Finish::Stop, Task::Describe).expect("text");
        assert!(text.contains("The values [1, 2] and {x}."));
        let (text, _) = outcome("TOTAL 9.00", Finish::Stop, Task::Ocr).expect("text");
        assert_eq!(text, r#"{"detected_text":"TOTAL 9.00"}"#);
    }
}
