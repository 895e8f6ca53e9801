//! An answer in the making: what wires read from a reply or from the events of a stream, and the one place that judges
//! whether it is an answer.

use crate::answer::{Answer, Finish, TextBlock, Usage};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::request::ModelId;

/// What a backend has said so far.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    text: String,
    opening: Opening,
    /// The model by the backend's own account.
    pub model: Option<String>,
    pub usage: Option<Usage>,
    /// Absent until the backend says that it has ended.
    pub finish: Option<Finish>,
    /// Nothing comes after this: the connection need not be read to its end.
    pub done: bool,
    pub blocks: Vec<TextBlock>,
    /// What the model said instead of an answer.
    pub refusal: String,
}

/// Where in the text the answer begins, as far as that is known, and how much of it was looked at for that: a stream
/// comes in thousands of pieces, and none may cost a look at all of them.
#[derive(Debug, Clone, Copy)]
enum Opening {
    /// Only white space so far, or what may become a thought.
    Blank {
        looked_at: usize,
    },
    Thought {
        looked_at: usize,
    },
    /// White space after a thought.
    After {
        looked_at: usize,
    },
    Known {
        start: usize,
    },
}

impl Opening {
    /// What more is known now; `None` when more text is needed to tell.
    fn after(self, text: &str) -> Option<Self> {
        let (open, close) = THOUGHT;
        let skipped = |from: usize| text.len() - text[from..].trim_start().len();
        match self {
            Self::Blank { looked_at } => {
                let at = skipped(looked_at);
                let rest = &text[at..];
                if rest.starts_with(open) {
                    return Some(Self::Thought { looked_at: at + open.len() });
                }
                if open.starts_with(rest) {
                    return (at > looked_at).then_some(Self::Blank { looked_at: at });
                }
                Some(Self::Known { start: 0 })
            }
            Self::Thought { looked_at } => {
                if let Some(found) = text[looked_at..].find(close) {
                    return Some(Self::After { looked_at: looked_at + found + close.len() });
                }
                // The mark itself may have been cut.
                let next = text.floor_char_boundary(text.len().saturating_sub(close.len())).max(looked_at);
                (next > looked_at).then_some(Self::Thought { looked_at: next })
            }
            Self::After { looked_at } => {
                let at = skipped(looked_at);
                if at < text.len() {
                    return Some(Self::Known { start: at });
                }
                (at > looked_at).then_some(Self::After { looked_at: at })
            }
            Self::Known { .. } => None,
        }
    }
}

impl Default for Opening {
    fn default() -> Self {
        Self::Blank { looked_at: 0 }
    }
}

/// The marks around a thought that a server without a reasoning parser leaves in front of an answer.
const THOUGHT: (&str, &str) = ("<think>", "</think>");

impl Draft {
    /// Adds what the backend says next.
    pub fn say(&mut self, piece: &str) {
        self.text.push_str(piece);
        while let Some(opening) = self.opening.after(&self.text) {
            self.opening = opening;
        }
    }

    /// Bytes that were said, thoughts included.
    #[must_use]
    pub fn said(&self) -> usize {
        self.text.len()
    }

    /// The text without the thoughts in front of it. Never shrinks as a stream goes on.
    #[must_use]
    pub fn spoken(&self) -> &str {
        match self.opening {
            Opening::Known { start } => &self.text[start..],
            // It will not become a thought any more.
            Opening::Blank { .. } if self.finish.is_some() => &self.text,
            _ => "",
        }
    }

    /// The answer of a stream that has ended. A connection that just closes is no end; a terminator without a reason may
    /// be one, and the answer says so.
    ///
    /// # Errors
    /// As [`Self::answer`], and when the stream stopped in the middle.
    pub fn whole(self, asked: &ModelId) -> Result<Answer> {
        let reason = self.finish;
        if reason.is_none() && (!self.done || self.spoken().trim().is_empty()) {
            return Err(broken_off("the stream stopped without saying why"));
        }
        let mut answer = self.answer(asked)?;
        if reason.is_none() {
            answer.partial = true;
            answer.warnings.push("the backend did not say whether its answer is complete".into());
        }
        Ok(answer)
    }

    /// The answer that this draft is.
    ///
    /// # Errors
    /// When nothing was said; why, depends on how it ended.
    pub fn answer(self, asked: &ModelId) -> Result<Answer> {
        let finish = self.finish.unwrap_or(Finish::Stop);
        let ended = Self { finish: Some(finish), ..self };
        if !ended.refusal.is_empty() {
            return Err(declined(&ended.refusal).spending(ended.usage));
        }
        let (_, close) = THOUGHT;
        // Some servers keep the opening mark to themselves.
        let text = match ended.spoken().split_once(close) {
            Some((thought, said)) if is_thought(thought, said) => said.trim_start().to_owned(),
            _ => ended.spoken().to_owned(),
        };
        if text.trim().is_empty() {
            return Err(nothing_said(finish).spending(ended.usage));
        }
        let model = ended.model.filter(|name| !name.is_empty());
        let model = model.map_or_else(|| asked.clone(), |name| ModelId::from(name.as_str()));
        let (usage, blocks) = (ended.usage, ended.blocks);
        Ok(Answer { usage, finish, blocks, ..Answer::new(text, model) })
    }
}

/// Whether a closing mark ends a thought that was never opened: it stands alone on its line, behind plain words.
fn is_thought(before: &str, after: &str) -> bool {
    let alone = before.ends_with('\n') && (after.is_empty() || after.starts_with('\n'));
    alone && !before.contains(THOUGHT.0) && !before.trim_start().starts_with(['{', '[', '`'])
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

    fn draft(text: &str, finish: Option<Finish>) -> Draft {
        let mut draft = Draft { finish, ..Draft::default() };
        draft.say(text);
        draft
    }

    #[test]
    fn thoughts_are_not_spoken_and_nothing_spoken_is_taken_back() {
        for (whole, expected) in [
            (" <think>hm <b> é</think>\n a < b", "a < b"),
            ("<think></think>x", "x"),
            ("<think>漢字</thin</think> 字", "字"),
            ("<think>never ends", ""),
            ("<thin ice>", "<thin ice>"),
            ("  x <think>y</think>", "  x <think>y</think>"),
        ] {
            let mut streamed = Draft::default();
            let mut spoken = String::new();
            for character in whole.chars() {
                streamed.say(character.encode_utf8(&mut [0; 4]));
                assert!(streamed.spoken().starts_with(&spoken), "{whole:?} took back {spoken:?}");
                streamed.spoken().clone_into(&mut spoken);
            }
            assert_eq!((spoken.as_str(), draft(whole, None).spoken()), (expected, expected), "{whole:?}");
        }
        assert_eq!(draft("<th", Some(Finish::Stop)).spoken(), "<th");
        assert_eq!(draft("<th", None).spoken(), "");
    }

    #[test]
    fn a_thought_whose_beginning_is_missing_is_no_answer() {
        let answered =
            |text: &str| draft(text, Some(Finish::Stop)).answer(&ModelId::from("m")).expect("an answer").text;
        assert_eq!(answered("hm, a cat.\n</think>\n\na cat"), "a cat");
        for whole in ["the tags <think> and </think>", "a stray `</think>` tag", "{\"a\":\"x\n</think>\n y\"}"] {
            assert_eq!(answered(whole), whole);
        }
    }

    #[test]
    fn a_long_thought_in_small_pieces_is_read_once() {
        let mut draft = draft("<think>", None);
        for _ in 0..200_000 {
            draft.say("x < y ");
        }
        draft.say("</think>done");
        assert_eq!((draft.spoken(), draft.said()), ("done", 1_200_019));
    }

    #[test]
    fn a_draft_that_says_nothing_is_no_answer() {
        let kind = |finish| draft(" \n", finish).answer(&ModelId::from("m")).expect_err("nothing").kind();
        assert_eq!(kind(None), ErrorKind::Empty);
        assert_eq!(kind(Some(Finish::Length)), ErrorKind::Truncated);
        assert_eq!(kind(Some(Finish::Refusal)), ErrorKind::Refused);
    }
}
