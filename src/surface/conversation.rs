//! Messages as programs write them for chat completions: roles, and content as text or as parts.

use serde_json::Value;
use vision_providers::request::{Detail, Role};

use crate::failure::{Failure, Result};
use crate::gateway::{Said, Turn};

/// A conversation as it was read.
#[derive(Debug, PartialEq)]
pub(super) struct Heard {
    /// Everything that stands in messages of the system or the developer.
    pub(super) system: Option<String>,
    pub(super) turns: Vec<Turn>,
    /// The closest look that any image asks for.
    pub(super) detail: Detail,
    /// What a caller should know of how it was read.
    pub(super) notes: Vec<String>,
}

const MOVED: &str = "messages of the system stand in the middle of the conversation: they were moved to its beginning";

const DROPPED: &str =
    "the assistant's earlier calls of tools were left out: this gateway looks at images and calls no tools";

/// Reads messages. Turns of the same speaker become one, because some vendors take no two in a row; what the system says
/// comes first, because most vendors take it nowhere else.
///
/// # Errors
/// `INVALID_INPUT` naming the message and what cannot be understood of it.
pub(super) fn read(messages: Value) -> Result<Heard> {
    let wrong = || Failure::invalid("`messages` must be an array of messages with `role` and `content`");
    let Value::Array(messages) = messages else { return Err(wrong()) };
    if messages.is_empty() {
        return Err(wrong());
    }
    let mut system = Vec::new();
    let mut turns: Vec<Turn> = Vec::new();
    let mut details = Vec::new();
    let mut notes = Vec::new();
    for (index, mut message) in messages.into_iter().enumerate() {
        let place = format!("messages[{index}]");
        let said = said(&mut message, &place, &mut details)?;
        if calls_tools(&message) && !notes.contains(&DROPPED) {
            notes.push(DROPPED);
        }
        let role = match message["role"].as_str() {
            Some("system" | "developer") => {
                if !turns.is_empty() && !notes.contains(&MOVED) {
                    notes.push(MOVED);
                }
                system.push(words(&said, &place)?);
                continue;
            }
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            Some(other) => return Err(role_unknown(&place, other)),
            None => return Err(Failure::invalid(format!("`{place}.role` must be user, assistant or system"))),
        };
        if said.is_empty() {
            continue;
        }
        match turns.last_mut().filter(|last| last.role == role) {
            Some(last) => last.said.extend(said),
            None => turns.push(Turn { role, said }),
        }
    }
    if turns.is_empty() {
        return Err(Failure::invalid("the conversation has no message of the user"));
    }
    let system = Some(system.join("\n\n")).filter(|text| !text.trim().is_empty());
    let notes = notes.into_iter().map(str::to_owned).collect();
    Ok(Heard { system, turns, detail: closest(&details), notes })
}

fn role_unknown(place: &str, role: &str) -> Failure {
    let shown: String = role.chars().take(40).collect();
    let failure =
        Failure::invalid(format!("`{place}.role` is `{shown}`: messages are those of user, assistant or system"));
    if matches!(role, "tool" | "function") {
        return failure
            .advise("this gateway looks at images and calls no tools: give the tool's result as a user message");
    }
    failure
}

/// The closest of these looks; as recommended when nobody says anything.
fn closest(details: &[Detail]) -> Detail {
    if details.contains(&Detail::High) {
        return Detail::High;
    }
    let all_low = !details.is_empty() && details.iter().all(|detail| *detail == Detail::Low);
    if all_low { Detail::Low } else { Detail::Auto }
}

/// What a message says. The assistant's may say nothing, beside a refusal or a call of a tool.
fn said(message: &mut Value, place: &str, details: &mut Vec<Detail>) -> Result<Vec<Said>> {
    let parts = member(message, "content");
    if message["role"] != "assistant" {
        return content(parts, place, details);
    }
    let is_nothing = parts.is_null() || parts == "" || parts.as_array().is_some_and(Vec::is_empty);
    let mut said = if is_nothing { Vec::new() } else { content(parts, place, details)? };
    let refusal = text(member(message, "refusal")).filter(|words| !words.is_empty());
    said.extend(refusal.map(Said::Text));
    Ok(said)
}

fn calls_tools(message: &Value) -> bool {
    message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty()) || message["function_call"].is_object()
}

fn content(content: Value, place: &str, details: &mut Vec<Detail>) -> Result<Vec<Said>> {
    match content {
        Value::String(text) => Ok(vec![Said::Text(text)]),
        Value::Array(parts) if !parts.is_empty() => {
            let parts = parts.into_iter().enumerate();
            parts.map(|(at, it)| part(it, &format!("{place}.content[{at}]"), details)).collect()
        }
        _ => Err(Failure::invalid(format!("`{place}.content` must be text or an array of parts"))),
    }
}

fn part(mut part: Value, place: &str, details: &mut Vec<Detail>) -> Result<Said> {
    let missing = |name: &str| Failure::invalid(format!("`{place}.{name}` must be a string"));
    match part["type"].as_str() {
        Some("text" | "input_text" | "output_text") => {
            text(member(&mut part, "text")).map(Said::Text).ok_or_else(|| missing("text"))
        }
        // What the assistant said in place of an answer.
        Some("refusal") => text(member(&mut part, "refusal")).map(Said::Text).ok_or_else(|| missing("refusal")),
        Some("image_url" | "input_image") => {
            let image = member(&mut part, "image_url");
            let detail = image["detail"].as_str().or_else(|| part["detail"].as_str());
            details.push(look(detail, place)?);
            picture(image, "url").ok_or_else(|| missing("image_url"))
        }
        Some("document_url") => {
            picture(member(&mut part, "document_url"), "url").ok_or_else(|| missing("document_url"))
        }
        // How OpenAI's clients send a PDF.
        Some("file" | "input_file") => {
            let file = if part["file"].is_object() { member(&mut part, "file") } else { part };
            picture(file, "file_data").ok_or_else(|| {
                let failure = Failure::invalid(format!("`{place}` names no `file_data`"));
                failure.advise("give the file as a data URI; ids of files at a vendor mean nothing here")
            })
        }
        Some(other) => {
            let shown: String = other.chars().take(40).collect();
            let failure = Failure::invalid(format!("`{place}.type` is `{shown}`"));
            Err(failure.advise("parts are text, image_url, document_url and file"))
        }
        None => Err(missing("type")),
    }
}

/// Takes a member out of an object. It may be an image of many megabytes, which is not copied.
fn member(object: &mut Value, name: &str) -> Value {
    object.get_mut(name).map(Value::take).unwrap_or_default()
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

/// An image or document, as a string or in an object.
fn picture(mut value: Value, name: &str) -> Option<Said> {
    let named = if value.is_object() { member(&mut value, name) } else { value };
    text(named).map(Said::Picture)
}

fn look(detail: Option<&str>, place: &str) -> Result<Detail> {
    match detail {
        None | Some("auto") => Ok(Detail::Auto),
        Some("low") => Ok(Detail::Low),
        // OpenAI's word for more than it shows a model by itself.
        Some("high" | "original") => Ok(Detail::High),
        Some(_) => Err(Failure::invalid(format!("the `detail` of `{place}` must be auto, low or high"))),
    }
}

/// The words of a message that can hold nothing else.
fn words(said: &[Said], place: &str) -> Result<String> {
    let texts: Option<Vec<&str>> = said
        .iter()
        .map(|said| match said {
            Said::Text(text) => Some(text.as_str()),
            Said::Picture(_) => None,
        })
        .collect();
    let wrong = || Failure::invalid(format!("`{place}` is the system's: images stand in the user's messages"));
    texts.map(|texts| texts.join("\n")).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn content_is_read_in_every_form_that_programs_write() {
        let heard = read(json!([
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            {"role": "user", "content": "Look:"},
            {"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": "https://a.test/1.png", "detail": "high"}},
                {"type": "image_url", "image_url": "https://a.test/2.png"},
                {"type": "document_url", "document_url": "https://a.test/3.pdf"},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "x.pdf"}}]},
            {"role": "assistant", "content": "Seen."},
            {"role": "user", "content": [{"type": "text", "text": "And?"}]}
        ]));
        let heard = heard.expect("read");
        assert_eq!(heard.system.as_deref(), Some("Be brief.\n\nBe kind."));
        assert_eq!(heard.notes, [""; 0]);
        assert_eq!(heard.detail, Detail::High);
        let text = |text: &str| Said::Text(text.into());
        let picture = |named: &str| Said::Picture(named.into());
        let turn = |role, said| Turn { role, said };
        let pictures =
            ["https://a.test/1.png", "https://a.test/2.png", "https://a.test/3.pdf", "data:application/pdf;base64,AA"];
        let first = [text("Look:")].into_iter().chain(pictures.map(picture)).collect();
        let turns =
            [turn(Role::User, first), turn(Role::Assistant, vec![text("Seen.")]), turn(Role::User, vec![text("And?")])];
        assert_eq!(heard.turns, turns);
    }

    #[test]
    fn what_the_system_says_later_is_moved_and_that_is_said() {
        let user = json!({"role": "user", "content": "x"});
        let system = json!({"role": "system", "content": "Be brief."});
        let heard = read(json!([system, user, system, user, system])).expect("read");
        assert_eq!(heard.system.as_deref(), Some("Be brief.\n\nBe brief.\n\nBe brief."));
        assert_eq!((heard.turns.len(), heard.notes), (1, vec![MOVED.to_owned()]));
    }

    #[test]
    fn what_an_assistant_said_is_taken_as_vendors_gave_it() {
        let user = json!({"role": "user", "content": "x"});
        let call = json!([{"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}]);
        for (message, said, notes) in [
            (json!({"role": "assistant", "content": null}), None, vec![]),
            (json!({"role": "assistant", "content": null, "tool_calls": call}), None, vec![DROPPED.to_owned()]),
            (
                json!({"role": "assistant", "content": "", "function_call": {"name": "look"}}),
                None,
                vec![DROPPED.to_owned()],
            ),
            (json!({"role": "assistant", "tool_calls": call}), None, vec![DROPPED.to_owned()]),
            (json!({"role": "assistant", "content": "Yes.", "tool_calls": []}), Some("Yes."), vec![]),
            (json!({"role": "assistant", "content": null, "refusal": "I must not."}), Some("I must not."), vec![]),
            (json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}), Some("No."), vec![]),
        ] {
            let heard = read(json!([user, message, message, user])).expect("read");
            let replies = heard.turns.iter().filter(|turn| turn.role == Role::Assistant).flat_map(|turn| &turn.said);
            let expected = said.map(|text| Said::Text(text.into()));
            assert_eq!(replies.collect::<Vec<_>>(), expected.iter().chain(&expected).collect::<Vec<_>>(), "{message}");
            assert_eq!(heard.notes, notes, "{message}");
        }
    }

    #[test]
    fn images_are_moved_and_not_copied() {
        let image = "data:image/png;base64,AAAA".to_owned();
        let there = image.as_ptr();
        let mut messages = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": null}}]}]);
        messages[0]["content"][0]["image_url"]["url"] = Value::String(image);
        let heard = read(messages).expect("read");
        assert!(matches!(&heard.turns[0].said[0], Said::Picture(named) if named.as_ptr() == there), "{heard:?}");
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        let check = |messages: Value, expected: &str| {
            let message = read(messages).expect_err(expected).message;
            assert!(message.contains(expected), "{message}");
        };
        check(json!([]), "`messages` must be an array");
        check(json!("hello"), "`messages` must be an array");
        check(json!([{"role": "user"}]), "`messages[0].content`");
        check(json!([{"role": "king", "content": "x"}]), "`messages[0].role` is `king`");
        check(json!([{"content": "x"}]), "`messages[0].role`");
        check(json!([{"role": "system", "content": "x"}]), "no message of the user");
        check(json!([{"role": "user", "content": [{"type": "image_url"}]}]), "`messages[0].content[0].image_url`");
        check(json!([{"role": "user", "content": [{"type": "input_audio"}]}]), "`input_audio`");
        check(json!([{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]), "no `file_data`");
        let image = json!([{"type": "image_url", "image_url": {"url": "x", "detail": "ultra"}}]);
        check(json!([{"role": "user", "content": image}]), "auto, low or high");
        check(json!([{"role": "system", "content": [{"type": "image_url", "image_url": "x"}]}]), "the system's");
    }
}
