//! Text of strangers on its way into a page: without what hides or reverses text, and no longer than people read.
//!
//! Escaping is not here: the templates escape everything.

use crate::clean;
use crate::score::differences::Run;

/// Characters of an id, a name or a tag: more is nothing that tells things apart.
const LONGEST_LINE: usize = 200;

/// What is shown of a text, and how many characters are not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) runs: Vec<Piece>,
    pub(super) left_out: usize,
}

/// A stretch of text, and the element that marks it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) element: &'static str,
    pub(super) text: String,
}

/// A name in one line.
pub(super) fn line(text: &str) -> String {
    let head: String = text.chars().take(LONGEST_LINE + 1).collect();
    let mut shown: String = clean::text(&head).replace(['\n', '\t'], " ").chars().take(LONGEST_LINE).collect();
    if head.chars().count() > LONGEST_LINE {
        shown.push('…');
    }
    shown
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// A text of at most so many characters.
pub(super) fn text(text: &str, most: usize) -> Shown {
    cut([("span", text)], most)
}

/// Where an answer differs from the truth, in at most so many characters.
pub(super) fn differences(runs: &[Run], most: usize) -> Shown {
    cut(runs.iter().map(piece), most)
}

fn piece(run: &Run) -> (&'static str, &str) {
    match run {
        Run::Equal(text) => ("span", text),
        Run::Deleted(text) => ("del", text),
        Run::Inserted(text) => ("ins", text),
    }
}

fn cut<'a>(pieces: impl IntoIterator<Item = (&'static str, &'a str)>, most: usize) -> Shown {
    let mut shown = Shown::default();
    let mut room = most;
    for (element, whole) in pieces {
        let head: String = whole.chars().take(room).collect();
        let taken = head.chars().count();
        shown.left_out += whole.chars().count() - taken;
        room -= taken;
        let text = clean::text(&head);
        if !text.is_empty() {
            shown.runs.push(Piece { element, text });
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_line() {
        assert_eq!(line("a\nb\u{202e}c\u{1b}[31m"), "a bc[31m");
        let long = line(&"x".repeat(1_000_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (201, true));
    }

    #[test]
    fn long_texts_are_cut_and_say_by_how_much() {
        let runs = [Run::Equal("ab".into()), Run::Deleted("cd".into()), Run::Inserted("e".repeat(1_000_000))];
        let shown = differences(&runs, 6);
        let pieces: Vec<(&str, &str)> = shown.runs.iter().map(|piece| (piece.element, piece.text.as_str())).collect();
        assert_eq!((pieces, shown.left_out), (vec![("span", "ab"), ("del", "cd"), ("ins", "ee")], 999_998));
        assert_eq!(text("é🙂", 5), Shown { runs: vec![Piece { element: "span", text: "é🙂".into() }], left_out: 0 });
        assert_eq!(text("abc", 0).left_out, 3);
    }
}
