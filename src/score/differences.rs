//! Where two texts differ, for people to look at: runs of words that are the same, left out or put in.

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// Words of a text that are compared one by one; the rest is shown as one run that differs, unless it is the same.
pub const MOST_WORDS: usize = 2000;

/// A stretch of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    Equal(String),
    /// Only the truth has it.
    Deleted(String),
    /// Only the answer has it.
    Inserted(String),
}

/// The difference between a truth and an answer by words and the white space between them.
///
/// All runs but the inserted ones, in order, are the truth; all but the deleted ones are the answer. Characters of
/// scripts without spaces stand for themselves. The time is bounded: of [`MOST_WORDS`] words on, texts differ as a
/// whole.
#[must_use]
pub fn differences(truth: &str, answer: &str) -> Vec<Run> {
    let (truth, answer) = (tokens(truth), tokens(answer));
    let (truth_head, truth_rest) = truth.split_at(truth.len().min(2 * MOST_WORDS));
    let (answer_head, answer_rest) = answer.split_at(answer.len().min(2 * MOST_WORDS));
    let text = |tokens: &[&str]| tokens.concat();
    let mut runs = Runs::default();
    for change in capture_diff_slices(Algorithm::Myers, truth_head, answer_head) {
        let old = truth_head.get(change.old_range()).unwrap_or_default();
        let new = answer_head.get(change.new_range()).unwrap_or_default();
        match change {
            DiffOp::Equal { .. } => runs.push(Run::Equal(text(old))),
            DiffOp::Delete { .. } | DiffOp::Insert { .. } | DiffOp::Replace { .. } => {
                runs.push(Run::Deleted(text(old)));
                runs.push(Run::Inserted(text(new)));
            }
        }
    }
    if truth_rest == answer_rest {
        runs.push(Run::Equal(text(truth_rest)));
    } else {
        runs.push(Run::Deleted(text(truth_rest)));
        runs.push(Run::Inserted(text(answer_rest)));
    }
    runs.0
}

/// A text in pieces: words, and what stands between them.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c: char| c.is_whitespace() != first.is_whitespace()).unwrap_or(rest.len());
        let (token, behind) = rest.split_at(end);
        if first.is_whitespace() {
            tokens.push(token);
        } else {
            tokens.extend(super::text::words(token));
        }
        rest = behind;
    }
    tokens
}

#[derive(Default)]
struct Runs(Vec<Run>);

impl Runs {
    /// Adds a run to the one before it where both are of a kind.
    fn push(&mut self, run: Run) {
        let (Run::Equal(text) | Run::Deleted(text) | Run::Inserted(text)) = &run;
        if text.is_empty() {
            return;
        }
        match (self.0.last_mut(), &run) {
            (Some(Run::Equal(before)), Run::Equal(more))
            | (Some(Run::Deleted(before)), Run::Deleted(more))
            | (Some(Run::Inserted(before)), Run::Inserted(more)) => before.push_str(more),
            _ => self.0.push(run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(truth: &str, answer: &str) -> Vec<Run> {
        let runs = differences(truth, answer);
        let side = |leave_out: fn(&Run) -> bool| -> String {
            let kept = runs.iter().filter(|run| !leave_out(run));
            kept.map(|(Run::Equal(text) | Run::Deleted(text) | Run::Inserted(text))| text.as_str()).collect()
        };
        assert_eq!(side(|run| matches!(run, Run::Inserted(_))), truth);
        assert_eq!(side(|run| matches!(run, Run::Deleted(_))), answer);
        runs
    }

    #[test]
    fn words_that_differ_are_marked_and_both_texts_can_be_read_off() {
        let runs = check("the cat sat", "the dog sat");
        let expected = [
            Run::Equal("the ".into()),
            Run::Deleted("cat".into()),
            Run::Inserted("dog".into()),
            Run::Equal(" sat".into()),
        ];
        assert_eq!(runs, expected);
        assert_eq!(check("東京都", "東京市").len(), 3);
        for (truth, answer) in [("", ""), ("", "a\n b"), ("a", ""), ("  a", "a  "), ("e\u{301} 🙂", "é 🙂")] {
            check(truth, answer);
        }
    }

    #[test]
    fn long_texts_end_in_a_run_of_their_own() {
        let long = "a b ".repeat(100_000);
        assert_eq!(check(&long, &long).len(), 1);
        let other = "c d ".repeat(100_000);
        assert!(check(&long, &other).len() > 1);
    }
}
