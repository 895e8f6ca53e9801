//! Texts made comparable: what counts as the same letter, the same word, and how many edits lie between two texts.
//!
//! Everything here takes time in proportion to the length, but for [`edits`], whose lengths are bounded.

use std::collections::HashMap;

use icu_normalizer::ComposingNormalizerBorrowed;
use rapidfuzz::distance::levenshtein;

/// Characters or words of a text between which edits are looked for; the time that takes grows with the product of both
/// lengths, to half a second. What lies behind is counted as wrong, unless both texts begin or end alike.
pub const LONGEST: usize = 50_000;

/// A text without what does not change its reading: compatibility forms (NFKC), case, and the kind and number of white
/// space.
///
/// Case is folded by way of capitals, so that `ß` is `ss` and both small sigmas are one.
#[must_use]
pub fn normalised(text: &str) -> String {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let whole = nfkc.normalize(text);
    let folded: String = whole.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    spaced(&nfkc.normalize(&folded))
}

/// A text whose white space is one space between words, and none around them.
#[must_use]
pub fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The words of a text: what stands between white space, and each character of scripts that are written without it
/// (Chinese, Japanese, Thai, Lao, Khmer, Burmese).
#[must_use]
pub fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().flat_map(pieces).collect()
}

fn pieces(word: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begun = 0;
    for (at, c) in word.char_indices().filter(|(_, c)| is_unspaced(*c)) {
        let end = at + c.len_utf8();
        pieces.extend([word.get(begun..at), word.get(at..end)].into_iter().flatten().filter(|piece| !piece.is_empty()));
        begun = end;
    }
    pieces.extend(word.get(begun..).filter(|rest| !rest.is_empty()));
    pieces
}

/// Whether a character belongs to a script that is written without spaces. Korean has spaces.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// The least number of insertions, deletions and substitutions of characters that make one text the other.
///
/// A character is a Unicode scalar value. Where more than [`LONGEST`] of them differ, the rest counts as so many edits:
/// never fewer than there are.
#[must_use]
pub fn edits(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let (head, rest) = heads(&one, &other);
    levenshtein::distance(head.0.iter().copied(), head.1.iter().copied()) + rest
}

/// The same for words.
#[must_use]
pub fn word_edits(one: &[&str], other: &[&str]) -> usize {
    let (head, rest) = heads(one, other);
    let mut known = HashMap::new();
    let mut numbers = |words: &[&str]| -> Vec<u32> { words.iter().map(|word| number(&mut known, word)).collect() };
    let (one, other) = (numbers(head.0), numbers(head.1));
    levenshtein::distance(one.iter().copied(), other.iter().copied()) + rest
}

fn number(known: &mut HashMap<String, u32>, word: &str) -> u32 {
    let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
    *known.entry(word.to_owned()).or_insert(next)
}

/// What has to be compared of two sequences, and how many edits the rest counts for. What they begin and end with alike
/// needs no edit, so equal sequences of any length are found to be so.
fn heads<'a, T: PartialEq>(one: &'a [T], other: &'a [T]) -> ((&'a [T], &'a [T]), usize) {
    let begins = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (one.get(begins..).unwrap_or_default(), other.get(begins..).unwrap_or_default());
    let ends = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    let head = |all: &'a [T]| all.get(..(all.len() - ends).min(LONGEST)).unwrap_or_default();
    let rest = (one.len().max(other.len()) - ends).saturating_sub(LONGEST);
    ((head(one), head(other)), rest)
}

/// One less the edits between two texts as a share of the longer one, from 0 to 1; white space counts as one space. Two
/// empty texts are the same.
#[must_use]
pub fn similarity(one: &str, other: &str) -> f64 {
    let (one, other) = (spaced(one), spaced(other));
    1.0 - share(edits(&one, &other), one.chars().count().max(other.chars().count()))
}

/// A part of a whole; of nothing, there is no part.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { float(part) / float(whole) }
}

/// A count as a number. Counts beyond 2^32 are not met.
pub(super) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The textbook's table, in quadratic time.
    fn slowly<T: PartialEq>(one: &[T], other: &[T]) -> usize {
        let mut row: Vec<usize> = (0..=other.len()).collect();
        for (i, a) in one.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, b) in other.iter().enumerate() {
                let cost = (diagonal + usize::from(a != b)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], cost);
            }
        }
        row[other.len()]
    }

    #[test]
    fn edits_are_the_textbooks() {
        let mut random = fastrand::Rng::with_seed(7);
        let alphabet: Vec<char> = "ab éß漢字🙂\u{301}\u{5d0}".chars().collect();
        for round in 0..400 {
            let mut draw = || -> String {
                let length = random.usize(0..if round % 10 == 0 { 300 } else { 20 });
                (0..length).map(|_| alphabet[random.usize(0..alphabet.len())]).collect()
            };
            let (one, other) = (draw(), draw());
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(edits(&one, &other), slowly(&chars(&one), &chars(&other)), "{one:?} {other:?}");
            let (one, other) = (words(&one), words(&other));
            assert_eq!(word_edits(&one, &other), slowly(&one, &other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_reads_the_same_is_the_same() {
        for (one, other) in [
            ("CAFE\u{301}", "café"),
            ("Ｔｏｔａｌ\u{a0}25", "total 25"),
            ("STRASSE", "straße"),
            ("ΟΔΟΣ", "οδος"),
            (" a\t\r\n b ", "a b"),
            ("ﬁne", "fine"),
        ] {
            assert_eq!(normalised(one), normalised(other));
        }
        assert_ne!(normalised("a b"), normalised("ab"));
    }

    #[test]
    fn scripts_without_spaces_are_read_by_character() {
        assert_eq!(words("東京Tower 3階"), ["東", "京", "Tower", "3", "階"]);
        assert_eq!(words("안녕 세상 שלום"), ["안녕", "세상", "שלום"]);
        assert!(words(" \n").is_empty());
    }

    #[test]
    fn texts_agree_by_the_edits_between_them() {
        for (one, other, expected) in [
            ("TOTAL  25.41\n", "TOTAL 25.41", 1.0),
            ("abcd", "abce", 0.75),
            ("", "", 1.0),
            ("abc", "", 0.0),
            ("äöü", "äöx", 2.0 / 3.0),
        ] {
            assert!((similarity(one, other) - expected).abs() < 1e-9, "{one:?} {other:?}");
        }
    }

    #[test]
    fn texts_without_end_are_compared_in_bounded_time() {
        let (one, other) = ("a".repeat(3_000_000), "b".repeat(2_000_000));
        assert_eq!(edits(&one, &other), 3_000_000);
        assert_eq!(edits(&one, &format!("{one}.")), 1);
    }
}
