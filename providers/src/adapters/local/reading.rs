//! What Tesseract read: its table of words, grouped into lines, with a measure of how good the reading is.

use crate::adapters::local::page::Page;
use crate::answer::Rect;

/// A word and how sure Tesseract is of it, 0 to 100.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word {
    text: String,
    confidence: f32,
    area: Rect,
    /// Height on the page that was read, which decides whether a larger page would read better.
    height_as_read: u32,
}

/// Words that stand on one line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    words: Vec<Word>,
    /// The paragraph it belongs to, as Tesseract numbers blocks and paragraphs.
    paragraph: (u32, u32),
}

impl Line {
    pub(super) fn text(&self) -> String {
        self.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Mean over the line's words, weighted by their length.
    pub(super) fn confidence(&self) -> f32 {
        mean(&self.words)
    }

    pub(super) fn area(&self) -> Rect {
        let mut areas = self.words.iter().map(|word| word.area);
        let first = areas.next().unwrap_or(Rect { left: 0, top: 0, right: 0, bottom: 0 });
        areas.fold(first, |all, area| Rect {
            left: all.left.min(area.left),
            top: all.top.min(area.top),
            right: all.right.max(area.right),
            bottom: all.bottom.max(area.bottom),
        })
    }
}

/// The text of one image in reading order, placed in the image's own pixels.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Reading {
    pub(super) lines: Vec<Line>,
}

impl Reading {
    /// Reads Tesseract's TSV of a page. Lines that are not rows of words are skipped.
    pub(super) fn from_tsv(tsv: &str, page: &Page) -> Self {
        let mut lines: Vec<((u32, u32, u32), Line)> = Vec::new();
        for (place, word) in tsv.lines().filter_map(|row| parse_word(row, page)) {
            match lines.last_mut() {
                Some((last, line)) if *last == place => line.words.push(word),
                _ => lines.push((place, Line { words: vec![word], paragraph: (place.0, place.1) })),
            }
        }
        Self { lines: lines.into_iter().map(|(_, line)| line).collect() }
    }

    /// Without the lines that are more likely texture than text.
    pub(super) fn without_noise(mut self) -> Self {
        self.lines.retain(|line| line.confidence() >= 30.0);
        self
    }

    /// The text: a line per line, an empty line between paragraphs.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut paragraph = None;
        for line in &self.lines {
            if !text.is_empty() {
                text.push_str(if paragraph == Some(line.paragraph) { "\n" } else { "\n\n" });
            }
            text.push_str(&line.text());
            paragraph = Some(line.paragraph);
        }
        text
    }

    fn words(&self) -> impl Iterator<Item = &Word> {
        self.lines.iter().flat_map(|line| &line.words)
    }

    /// How many words there are.
    pub(super) fn len(&self) -> usize {
        self.words().count()
    }

    /// Mean over all words, weighted by their length; 0 without words.
    pub(super) fn confidence(&self) -> f32 {
        mean(self.words())
    }

    /// Which of two readings of the same image is better: sure characters count, unsure ones count against.
    pub(super) fn score(&self) -> f32 {
        let characters = |word: &Word| f32::from(u16::try_from(word.text.chars().count()).unwrap_or(u16::MAX));
        let worth = |word: &Word| match word.confidence {
            sure if sure >= 60.0 => characters(word) * (sure / 100.0).powi(2),
            _ => -2.0 * characters(word),
        };
        self.words().map(worth).sum()
    }

    /// The median height of words on the page as it was read, in pixels.
    pub(super) fn median_height(&self) -> Option<u32> {
        let mut heights: Vec<u32> = self.words().map(|word| word.height_as_read).collect();
        heights.sort_unstable();
        heights.get(heights.len() / 2).copied()
    }

    /// The share of the image that words cover, 0 to 1.
    pub(super) fn coverage(&self, width: u32, height: u32) -> f64 {
        let area = |rect: Rect| {
            f64::from(rect.right.saturating_sub(rect.left)) * f64::from(rect.bottom.saturating_sub(rect.top))
        };
        let covered: f64 = self.words().map(|word| area(word.area)).sum();
        (covered / (f64::from(width) * f64::from(height))).min(1.0)
    }
}

fn mean<'a>(words: impl IntoIterator<Item = &'a Word>) -> f32 {
    let (sum, weight) = words.into_iter().fold((0.0, 0.0), |(sum, weight), word| {
        let characters = f32::from(u16::try_from(word.text.chars().count()).unwrap_or(u16::MAX));
        (sum + word.confidence * characters, weight + characters)
    });
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// A row of the table: level, page, block, paragraph, line, word, left, top, width, height, confidence, text.
fn parse_word(row: &str, page: &Page) -> Option<((u32, u32, u32), Word)> {
    const WORD: &str = "5";
    let mut columns = row.splitn(12, '\t');
    if columns.next()? != WORD {
        return None;
    }
    let mut number = || columns.next()?.parse::<u32>().ok();
    let (_page, block, paragraph, line, _word) = (number()?, number()?, number()?, number()?, number()?);
    let (left, top, width, height) = (number()?, number()?, number()?, number()?);
    let confidence: f32 = columns.next()?.parse().ok()?;
    let text = columns.next()?.trim();
    if text.is_empty() || !confidence.is_finite() || confidence < 0.0 {
        return None;
    }
    let area = Rect { left, top, right: left.saturating_add(width), bottom: top.saturating_add(height) };
    let word = Word { text: text.to_owned(), confidence, area: page.in_image(area), height_as_read: height };
    Some(((block, paragraph, line), word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::GrayImage;

    const TSV: &str = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n\
        1\t1\t0\t0\t0\t0\t0\t0\t200\t100\t-1\t\n\
        5\t1\t1\t1\t1\t1\t10\t10\t40\t12\t96.5\tTOTAL\n\
        5\t1\t1\t1\t1\t2\t60\t11\t30\t11\t90.5\t25.41\n\
        5\t1\t1\t1\t2\t1\t10\t30\t20\t12\t95\tThank\n\
        5\t1\t2\t1\t1\t1\t10\t60\t20\t12\t12\t~~\n\
        5\tbroken\n";

    #[test]
    fn words_become_lines_with_text_place_and_confidence() {
        let reading = Reading::from_tsv(TSV, &Page::new(GrayImage::new(200, 100)));
        assert_eq!(reading.text(), "TOTAL 25.41\nThank\n\n~~");
        let line = &reading.lines[0];
        assert_eq!(line.area(), Rect { left: 10, top: 10, right: 90, bottom: 22 });
        assert!((line.confidence() - 93.5).abs() < 0.01);
        assert_eq!(reading.median_height(), Some(12));
        assert_eq!(reading.clone().without_noise().text(), "TOTAL 25.41\nThank");
        assert!(reading.clone().without_noise().score() > reading.score());
    }

    #[test]
    fn nothing_read_is_no_text_and_no_confidence() {
        let reading = Reading::from_tsv("", &Page::new(GrayImage::new(20, 20)));
        assert_eq!((reading.text(), reading.confidence(), reading.median_height()), (String::new(), 0.0, None));
    }
}
