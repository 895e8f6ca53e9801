//! An answer in the making: what wires read from a reply or from the events of a stream, and the one place that judges
//! whether it is an answer.

use crate::answer::{Answer, Finish, TextBlock, Usage};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::request::ModelId;

/// What a backend has said so far.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub text: String,
    /// The model by the backend's own account.
    pub model: Option<String>,
    pub usage: Option<Usage>,
    /// Absent until the backend says that it has ended.
    pub finish: Option<Finish>,
    /// Nothing comes after this: the connection need not be read to its end.
    pub done: bool,
    pub blocks: Vec<TextBlock>,
    pub warnings: Vec<String>,
}

impl Draft {
    /// The text without the thoughts that servers without a reasoning parser leave in front of it. Never shrinks as a
    /// stream goes on.
    #[must_use]
    pub fn spoken(&self) -> &str {
        const OPEN: &str = "<think>";
        let text = self.text.trim_start();
        match text.strip_prefix(OPEN).map(|thought| thought.split_once("</think>")) {
            Some(Some((_, said))) => said.trim_start(),
            Some(None) => "",
            // It may become a thought yet.
            None if self.finish.is_none() && OPEN.starts_with(text) => "",
            None => &self.text,
        }
    }

    /// The answer that this draft is.
    ///
    /// # Errors
    /// When nothing was said; why, depends on how it ended.
    pub fn answer(self, asked: &ModelId) -> Result<Answer> {
        let finish = self.finish.unwrap_or(Finish::Stop);
        let ended = Self { finish: Some(finish), ..self };
        let text = ended.spoken().to_owned();
        if text.trim().is_empty() {
            return Err(nothing_said(finish));
        }
        let model = ended.model.filter(|name| !name.is_empty());
        let model = model.map_or_else(|| asked.clone(), |name| ModelId::from(name.as_str()));
        let (usage, blocks, warnings) = (ended.usage, ended.blocks, ended.warnings);
        Ok(Answer { usage, finish, blocks, warnings, ..Answer::new(text, model) })
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

/// The model declined, in its own words.
pub(crate) fn declined(words: &str) -> Error {
    Error::new(ErrorKind::Refused, format!("the model declined: {}", crate::wire::quoted(words)))
}

/// The backend broke off. What it said so far is half an answer, which is none; it may have been billed.
pub(crate) fn broken_off(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the answer broke off before its end: {why}")).retry(Retry::Never)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thoughts_are_not_spoken_and_nothing_spoken_is_taken_back() {
        let whole = " <think>hm <b> </think>\n a < b";
        let mut draft = Draft::default();
        let mut spoken = String::new();
        for character in whole.chars() {
            draft.text.push(character);
            assert!(draft.spoken().starts_with(&spoken), "{:?} took back {spoken:?}", draft.text);
            draft.spoken().clone_into(&mut spoken);
        }
        assert_eq!(spoken, "a < b");
        for plain in ["a", "<b>", "<thin ice>", "  x"] {
            let draft = Draft { text: plain.into(), ..Draft::default() };
            assert_eq!(draft.spoken(), plain);
        }
        let short = Draft { text: "<th".into(), finish: Some(Finish::Stop), ..Draft::default() };
        assert_eq!(short.spoken(), "<th");
    }

    #[test]
    fn a_draft_that_says_nothing_is_no_answer() {
        let kind = |finish| {
            let draft = Draft { text: " \n".into(), finish, ..Draft::default() };
            draft.answer(&ModelId::from("m")).expect_err("nothing").kind()
        };
        assert_eq!(kind(None), ErrorKind::Empty);
        assert_eq!(kind(Some(Finish::Length)), ErrorKind::Truncated);
        assert_eq!(kind(Some(Finish::Refusal)), ErrorKind::Refused);
    }
}
