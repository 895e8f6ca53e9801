//! How large a report may become, in bytes: questions are written one after another until there is no room left.

use std::fmt;

use askama::Template;

use super::items::OneItem;
use super::unwritten;
use crate::failure::Result;

/// Bytes of a report that mail takes and a phone opens. What is not about single questions is far smaller: models, tags,
/// measures, codes and names are bounded in number and length.
pub(super) const MOST: usize = 25_000_000;
const REST: usize = 3_000_000;
/// Bytes of all pictures, which must not take the room of what was said.
const PICTURES: usize = 12_000_000;

/// What is left for questions.
pub(super) struct Room {
    bytes: usize,
    pictures: usize,
    /// Whether a question went without its pictures.
    pub(super) is_short_of_pictures: bool,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: MOST - REST, pictures: PICTURES, is_short_of_pictures: false }
    }
}

/// A question as it stands in the page, escaped.
pub(super) struct Written(String);

impl fmt::Display for Written {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// It comes from a template, which escaped it.
impl askama::filters::HtmlSafe for Written {}

#[derive(Template)]
#[template(path = "question.html")]
struct Question {
    item: OneItem,
    is_single: bool,
}

impl Room {
    /// Writes a question; nothing when it does not fit any more. Without its pictures, when only they do not.
    pub(super) fn write(&mut self, mut item: OneItem, is_single: bool) -> Result<Option<Written>> {
        let pictures: usize = item.pictures.iter().map(|picture| picture.uri.len()).sum();
        if pictures > self.pictures {
            self.is_short_of_pictures = true;
            item.pictures.clear();
        } else {
            self.pictures -= pictures;
        }
        let text = Question { item, is_single }.render().map_err(|error| unwritten(&error))?;
        let left = self.bytes.checked_sub(text.len());
        self.bytes = left.unwrap_or(0);
        Ok(left.map(|_| Written(text)))
    }
}
