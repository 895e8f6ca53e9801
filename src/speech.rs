//! An answer as people read it while it is being given.
//!
//! Answers to our own tasks travel as JSON; what is passed on of them is the text inside, as it comes, under the heading
//! that the whole answer has too. It is a preview: what counts is the reply at the end. Data after a caller's schema is
//! not previewed: it is judged as a whole, and half of it is of no use.

use std::mem::take;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use vision_providers::request::Task;
use vision_providers::wire::Delivery;

use crate::clean;

/// What stands between a description and the text that was read.
pub const HEADING: &str = "Text in the image:";

/// Bytes that may be held back: enough for any cluster of joined characters.
const LONGEST_HELD: usize = 64;

/// Where pieces of an answer go. A listener who has left is no reason to stop: the reply is still wanted.
pub type Listener = mpsc::Sender<String>;

/// Who hears an answer while it is being given.
#[derive(Debug, Clone, Copy)]
pub enum Audience<'a> {
    Nobody,
    /// Takes what is said for the answer: it cannot be taken back, and nobody else can go on with it.
    Listener(&'a Listener),
    /// Is shown what is said, and waits for the reply: another model may begin anew.
    Onlooker(&'a Listener),
}

impl Audience<'_> {
    /// How the answer is to be had.
    #[must_use]
    pub fn delivery(self) -> Delivery {
        match self {
            Self::Nobody => Delivery::Whole,
            Self::Listener(_) | Self::Onlooker(_) => Delivery::Streamed,
        }
    }
}

/// Passes pieces on to a listener in the form that a task has.
#[derive(Debug)]
pub struct Speech<'a> {
    listener: &'a Listener,
    form: Form,
    /// The end of what was said, while what follows decides whether it may stay.
    held: String,
    begun: bool,
}

#[derive(Debug)]
enum Form {
    /// As it comes.
    Plain,
    Members(Members),
    Silent,
}

impl<'a> Speech<'a> {
    /// Speech about an answer to this task.
    #[must_use]
    pub fn new(listener: &'a Listener, task: Task) -> Self {
        let form = match task {
            Task::Describe | Task::Ocr => Form::Members(Members::default()),
            Task::Ask => Form::Plain,
            Task::Extract => Form::Silent,
        };
        Self { listener, form, held: String::new(), begun: false }
    }

    /// Passes on what can be said after this piece.
    pub async fn say(&mut self, piece: &str, deadline: Instant) {
        let text = match &mut self.form {
            Form::Plain => piece.to_owned(),
            Form::Members(members) => members.read(piece),
            Form::Silent => return,
        };
        let text = take(&mut self.held) + &text;
        // A joiner is kept between two characters of a script that needs it, so both have to be there.
        let end = text.trim_end_matches(|c: char| c > '\u{2ff}').len();
        let last_two = text.char_indices().rev().nth(1).map_or(0, |(at, _)| at);
        let (now, later) = text.split_at(if text.len() - end > LONGEST_HELD { last_two } else { end });
        later.clone_into(&mut self.held);
        self.pass_on(now, deadline).await;
    }

    /// Passes on what was held back.
    pub async fn end(&mut self, deadline: Instant) {
        let rest = take(&mut self.held);
        self.pass_on(&rest, deadline).await;
    }

    async fn pass_on(&mut self, text: &str, deadline: Instant) {
        let text = clean::text(text);
        if !text.is_empty() {
            self.begun = true;
            let _ = timeout_at(deadline, self.listener.send(text)).await;
        }
    }

    /// Whether anything was passed on: nobody else can answer then, because it cannot be taken back.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }
}

/// Takes the strings out of a flat JSON object while it arrives.
#[derive(Debug, Default)]
struct Members {
    place: Place,
    /// The name of the member that is being read.
    name: String,
    /// An escape that has not ended.
    escape: String,
    /// The first half of a character outside of the basic plane.
    high: Option<u32>,
    said_something: bool,
    /// A heading is due before the next character.
    heading: bool,
    fenced: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the object; a fence may stand there.
    #[default]
    Before,
    /// It is no object after all: plain words.
    Words,
    Between,
    Name,
    BeforeValue,
    Value,
    /// A value that is no string.
    Other,
}

impl Members {
    fn read(&mut self, piece: &str) -> String {
        let mut said = String::new();
        for c in piece.chars() {
            match (self.place, c) {
                (Place::Words, c) => said.push(c),
                (Place::Before, '{') | (Place::Other, ',') => self.place = Place::Between,
                (Place::Before, '`') => self.fenced = true,
                (Place::Before, c) if !self.fenced && !c.is_whitespace() => {
                    self.place = Place::Words;
                    said.push(c);
                }
                (Place::Between, '"') => {
                    self.name.clear();
                    self.place = Place::Name;
                }
                (Place::Name, '"') => self.place = Place::BeforeValue,
                (Place::Name, c) => self.name.push(c),
                (Place::BeforeValue, '"') => self.begin_value(),
                (Place::BeforeValue, c) if c != ':' && !c.is_whitespace() => self.place = Place::Other,
                (Place::Value, c) => self.value(c, &mut said),
                _ => {}
            }
        }
        said
    }

    fn begin_value(&mut self) {
        self.place = Place::Value;
        self.heading = self.name == "detected_text" && self.said_something;
    }

    fn value(&mut self, c: char, said: &mut String) {
        let spoken = match (self.escape.is_empty(), c) {
            (true, '"') => {
                self.place = Place::Between;
                None
            }
            (true, '\\') => {
                self.escape.push(c);
                None
            }
            (true, c) => Some(c),
            (false, c) => {
                self.escape.push(c);
                self.escaped()
            }
        };
        let Some(c) = spoken else { return };
        if take(&mut self.heading) {
            said.push_str("\n\n");
            said.push_str(HEADING);
            said.push('\n');
        }
        self.said_something = true;
        said.push(c);
    }

    /// The character that the escape means, once it is complete.
    fn escaped(&mut self) -> Option<char> {
        let kind = self.escape.chars().nth(1)?;
        if kind == 'u' && self.escape.len() < 6 {
            return None;
        }
        let escape = take(&mut self.escape);
        match kind {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' | 'b' | 'f' => None,
            'u' => {
                let code = u32::from_str_radix(escape.get(2..)?, 16).ok()?;
                match (self.high.take(), code) {
                    (_, 0xd800..=0xdbff) => {
                        self.high = Some(code);
                        None
                    }
                    (Some(high), 0xdc00..=0xdfff) => char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + code - 0xdc00),
                    _ => char::from_u32(code),
                }
            }
            other => Some(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        for size in [1, 2, 7, json.len()] {
            let characters: Vec<char> = json.chars().collect();
            let mut members = Members::default();
            let said: String =
                characters.chunks(size).map(|piece| members.read(&piece.iter().collect::<String>())).collect();
            assert_eq!(said, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn the_text_inside_is_passed_on_as_it_comes() {
        check(
            r#"{"description": "A \"till\" receipt \u00e9\ud83d\ude42\\", "detected_text":"TOTAL\n9.00"}"#,
            "A \"till\" receipt é🙂\\\n\nText in the image:\nTOTAL\n9.00",
        );
        check(r#"{"detected_text":"TOTAL"}"#, "TOTAL");
        check(r#"{"description":"A cat","detected_text":""}"#, "A cat");
        check("```json\n{\"description\":\"A cat\"}\n```", "A cat");
        check(r#"{"n": 1, "description":"A cat"}"#, "A cat");
    }

    #[tokio::test]
    async fn joined_characters_stay_joined_across_pieces() {
        let (listener, mut heard) = mpsc::channel(16);
        let mut speech = Speech::new(&listener, Task::Ask);
        let soon = Instant::now() + std::time::Duration::from_secs(5);
        for piece in ["a 👩", "\u{200d}", "💻 and ", "漢字"] {
            speech.say(piece, soon).await;
        }
        speech.end(soon).await;
        drop(listener);
        let mut all = String::new();
        while let Some(text) = heard.recv().await {
            all.push_str(&text);
        }
        assert_eq!(all, "a 👩\u{200d}💻 and 漢字");
    }

    #[test]
    fn plain_words_stay_plain() {
        check(" A cat {on} a mat", "A cat {on} a mat");
    }
}
