//! How many values a text of JSON holds, told before it is read. Each takes up to half a kilobyte of memory, and as little
//! as two bytes of the text.
//!
//! Whoever reads JSON of callers asks here first, wherever it stands: in a body, in a field of a form, or in a text that is
//! itself a part of JSON.

use crate::failure::{Failure, Result};

/// Values of JSON in one request.
pub(super) const MOST: usize = 50_000;

/// Refuses what would take too much memory.
///
/// # Errors
/// `INVALID_INPUT` naming what holds too many values.
pub(super) fn check(count: usize, what: &str) -> Result<()> {
    if count <= MOST {
        return Ok(());
    }
    Err(Failure::invalid(format!("{what} has more than {MOST} values")))
}

/// How many values JSON holds, as far as its separators tell. What is no JSON is found out later.
pub(super) fn count(json: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_texts() {
        let counted = [
            (r#"{"image": "data:image/png;base64,AA,[[{{", "stop": [1, 2]}"#, 4),
            (r#"{"a\"b,[": "\\", "c": {}}"#, 3),
            (r"[[[[,,,,", 8),
            ("no JSON at all", 0),
        ];
        for (json, expected) in counted {
            assert_eq!(count(json.as_bytes()), expected, "{json}");
        }
        assert!(check(MOST, "it").is_ok() && check(MOST + 1, "it").is_err());
    }
}
