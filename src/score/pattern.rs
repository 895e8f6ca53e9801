//! Regular expressions of a data set: strangers' patterns, matched in linear time or refused.

use regex::{Regex, RegexBuilder};

use crate::failure::{Failure, Result};

/// Bytes of a pattern's program; what needs more is refused.
const LARGEST: usize = 1 << 21;
/// Bytes of a pattern.
const LONGEST: usize = 4096;
/// Characters of an answer that are searched.
const SEARCHED: usize = super::text::LONGEST;

/// A pattern that was compiled.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern. It may match anywhere unless it says otherwise (`^`, `$`); it knows no look-around and no
    /// references back.
    ///
    /// # Errors
    /// `INVALID_INPUT` where it is no pattern or too large.
    pub fn new(pattern: &str) -> Result<Self> {
        if pattern.len() > LONGEST {
            return Err(Failure::invalid(format!(
                "a pattern of {} bytes is too long: {LONGEST} are taken",
                pattern.len()
            )));
        }
        let compiled = RegexBuilder::new(pattern).size_limit(LARGEST).dfa_size_limit(LARGEST).nest_limit(50).build();
        compiled.map(Self).map_err(|error| {
            let last = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Failure::invalid(format!("the pattern `{pattern}` cannot be used: {last}")).advise(
                "write it in the syntax of the Rust crate regex, which has no look-around and no references back",
            )
        })
    }

    /// Whether an answer matches; of one without end, the first 50,000 characters are searched.
    #[must_use]
    pub fn matches(&self, answer: &str) -> bool {
        let end = answer.char_indices().nth(SEARCHED).map_or(answer.len(), |(at, _)| at);
        self.0.is_match(answer.get(..end).unwrap_or(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_anywhere_and_in_linear_time() {
        assert!(Pattern::new(r"(?i)total:?\s+\d{2}[.,]\d{2}").expect("a pattern").matches("Sum TOTAL 25,41 EUR"));
        assert!(Pattern::new(r"^\w{1,40}$").is_ok());
        let backtracking = Pattern::new("^(a+)+$").expect("a pattern");
        assert!(!backtracking.matches(&format!("{}!", "a".repeat(40_000))));
    }

    #[test]
    fn what_is_no_pattern_or_too_large_is_refused_with_the_reason() {
        for pattern in ["(", r"(?=a)", r"(a)\1", r"\w{1000}{1000}", &"(".repeat(100), &"a".repeat(5000)] {
            let refused = Pattern::new(pattern).expect_err(pattern);
            assert_eq!(refused.code.name(), "INVALID_INPUT");
        }
    }
}
