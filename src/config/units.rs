//! Sizes and spans of time as people write them.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

/// A number of bytes, written as `256MiB` or as a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// A span of time, written as `55s`, `2m 30s` or `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Text::deserialize(deserializer)? {
            Text::Number(bytes) => Ok(Self(bytes)),
            Text::Text(text) => {
                size(&text).map(Self).ok_or_else(|| D::Error::custom("expected a size such as `256MiB`"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|_| D::Error::custom("expected a time such as `55s`"))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Text(String),
}

fn size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 8] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1000),
        ("KB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
    ];
    let text = text.trim();
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).unwrap_or((text, 1));
    number.trim().parse::<u64>().ok()?.checked_mul(factor)
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": r"^\s*\d{1,12}\s*(KiB|MiB|GiB|kB|KB|MB|GB|B)?\s*$",
            "description": "a size such as 256MiB"
        })
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(\s*\d{1,9}\s*(ms|s|sec|m|min|h|d|days?))+\s*$",
            "description": "a time such as 55s"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_written() {
        let check = |text: &str, expected| assert_eq!(size(text), expected, "{text}");
        check("256MiB", Some(256 << 20));
        check("15 MB", Some(15_000_000));
        check("1000", Some(1000));
        check("7B", Some(7));
        check("", None);
        check("MiB", None);
        check("-1MiB", None);
        check("99999999999999999999GiB", None);
    }
}
