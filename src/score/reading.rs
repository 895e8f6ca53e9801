//! How near a text comes to a true text: the measures of reading and of short answers.
//!
//! All of them take a bounded time, see [`LONGEST`](super::text::LONGEST).

use std::collections::HashMap;

use super::text::{edits, float, normalised, share, spaced, word_edits, words};

/// Whether texts are the same, normalised, and without one full stop at the end.
#[must_use]
pub fn is_exact(truth: &str, answer: &str) -> bool {
    bare(truth) == bare(answer)
}

fn bare(text: &str) -> String {
    let text = normalised(text);
    text.strip_suffix(['.', '。']).unwrap_or(&text).trim_end().to_owned()
}

/// Whether an answer contains a true text, both normalised. Nothing is contained in everything.
#[must_use]
pub fn contains(truth: &str, answer: &str) -> bool {
    normalised(answer).contains(&normalised(truth))
}

/// Average normalised Levenshtein similarity, from 0 to 1, of one answer: one less the edits between both texts in
/// lower case and with single spaces, as a share of the longer one *of these*; 0 below the threshold.
///
/// Biten and others, <https://arxiv.org/abs/1905.13648>, 2019, with the threshold of 0.5; as all evaluators have it, a
/// similarity of just the threshold counts. Two empty texts are the same.
#[must_use]
pub fn anls(truth: &str, answer: &str, threshold: f64) -> f64 {
    let plain = |text: &str| spaced(&text.to_lowercase());
    let (truth, answer) = (plain(truth), plain(answer));
    let similarity = 1.0 - share(edits(&truth, &answer), truth.chars().count().max(answer.chars().count()));
    if similarity < threshold { 0.0 } else { similarity }
}

/// Character error rate, from 0, and above 1 where much was invented: the edits between both texts as a share of the
/// true one's characters, without the white space around them.
///
/// For an empty truth it is the number of characters of the answer, as in jiwer 4 (2025).
#[must_use]
pub fn cer(truth: &str, answer: &str) -> f64 {
    let (truth, answer) = (truth.trim(), answer.trim());
    rate(edits(truth, answer), truth.chars().count())
}

/// Word error rate: the same with words between white space.
#[must_use]
pub fn wer(truth: &str, answer: &str) -> f64 {
    let (truth, answer): (Vec<&str>, Vec<&str>) =
        (truth.split_whitespace().collect(), answer.split_whitespace().collect());
    rate(word_edits(&truth, &answer), truth.len())
}

/// Character error rate of normalised texts.
#[must_use]
pub fn cer_normalised(truth: &str, answer: &str) -> f64 {
    cer(&normalised(truth), &normalised(answer))
}

/// Word error rate of normalised texts, where a character of a script without spaces is a word.
#[must_use]
pub fn wer_normalised(truth: &str, answer: &str) -> f64 {
    let (truth, answer) = (normalised(truth), normalised(answer));
    let (truth, answer) = (words(&truth), words(&answer));
    rate(word_edits(&truth, &answer), truth.len())
}

fn rate(edits: usize, length: usize) -> f64 {
    if length == 0 { float(edits) } else { share(edits, length) }
}

/// Token F1, from 0 to 1: the harmonic mean of the share of the answer's words that the truth has and the other way
/// round, counted as often as they occur. Normalised, without punctuation and without the articles `a`, `an` and `the`.
///
/// Rajpurkar and others (`SQuAD`), <https://arxiv.org/abs/1606.05250>, 2016; where either has no words, 1 if neither
/// has any (`SQuAD` 2). Characters of scripts without spaces are words.
#[must_use]
pub fn token_f1(truth: &str, answer: &str) -> f64 {
    let (truth, answer) = (unpunctuated(truth), unpunctuated(answer));
    let (truth, answer) = (tokens(&truth), tokens(&answer));
    let all = truth.len() + answer.len();
    if all == 0 {
        return 1.0;
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for token in &truth {
        *left.entry(token).or_default() += 1;
    }
    let mut same = 0;
    for token in answer {
        if let Some(count) = left.get_mut(token).filter(|count| **count > 0) {
            *count -= 1;
            same += 1;
        }
    }
    share(2 * same, all)
}

fn unpunctuated(text: &str) -> String {
    normalised(text).chars().filter(|c| !is_punctuation(*c)).collect()
}

fn tokens(text: &str) -> Vec<&str> {
    words(text).into_iter().filter(|word| !matches!(*word, "a" | "an" | "the")).collect()
}

fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}'
            | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{3014}'..='\u{301f}' | '\u{60c}' | '\u{61b}' | '\u{61f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-9, "{one} {other}");
    }

    #[test]
    fn short_answers_are_the_same_but_for_form() {
        assert!(is_exact("Paris", " PARIS. ") && is_exact("東京", "東京。") && is_exact("U.S.A.", "u.s.a"));
        assert!(!is_exact("Paris", "Paris, France") && !is_exact("-5", "5"));
        assert!(contains("25.41", "TOTAL\n25.41 EUR") && !contains("25.41", "25.4"));
    }

    #[test]
    fn error_rates_count_edits_of_the_truth() {
        near(cer("abcd", "abed"), 0.25);
        near(cer("ab", "abcdef"), 2.0);
        near(cer("", "abc"), 3.0);
        near(cer("", " "), 0.0);
        near(cer("abc", ""), 1.0);
        near(wer("the cat sat", "the cat"), 1.0 / 3.0);
        near(wer("a", "a b c"), 2.0);
        near(wer("A b", "a b"), 0.5);
        near(wer_normalised("A  b", "a b"), 0.0);
        near(wer_normalised("東京都", "東京市"), 1.0 / 3.0);
        near(wer("東京都", "東京市"), 1.0);
        near(cer_normalised("Ｔotal", "TOTAL"), 0.0);
    }

    #[test]
    fn token_f1_counts_words_as_often_as_they_occur() {
        near(token_f1("the cat", "A cat!"), 1.0);
        near(token_f1("cat cat", "cat"), 2.0 / 3.0);
        near(token_f1("cat", "dog"), 0.0);
        near(token_f1("the", "..."), 1.0);
        near(token_f1("cat", ""), 0.0);
        near(token_f1("東京", "京都"), 0.5);
    }

    #[test]
    fn anls_forgets_what_is_too_far_away() {
        near(anls("hello", "HELLO ", 0.5), 1.0);
        near(anls("ab", "ax", 0.5), 0.5);
        near(anls("abc", "axx", 0.5), 0.0);
        near(anls("abc", "axx", 0.2), 1.0 / 3.0);
        near(anls("", " ", 0.5), 1.0);
    }
}
