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

    /// Without the lines that stand in such a place.
    pub(super) fn without(mut self, place: impl Fn(Rect) -> bool) -> Self {
        self.lines.retain(|line| !place(line.area()));
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

    /// This reading, with what another reading of the same image is surer of: line by line, and lines that only the
    /// other one found. The order of this reading is kept.
    pub(super) fn merged(mut self, other: &Self) -> Self {
        let mut free: Vec<&Word> = other.words().collect();
        for line in &mut self.lines {
            let place = Place::around(line.area());
            let (theirs, rest): (Vec<&Word>, Vec<&Word>) = free.into_iter().partition(|word| place.holds(word.area));
            free = rest;
            // A reading that misses characters has to be surer by as much.
            let share = (characters(theirs.iter().copied()) / characters(&line.words)).min(1.0);
            if share >= 0.7 && mean(theirs.iter().copied()) * share > line.confidence() {
                line.words = theirs.into_iter().cloned().collect();
            }
        }
        let missing = |line: &&Line| {
            line.confidence() >= SURE_ENOUGH && !self.lines.iter().any(|own| overlap(own.area(), line.area()))
        };
        for line in other.lines.iter().filter(missing).cloned().collect::<Vec<_>>() {
            let below = self.lines.iter().position(|own| own.area().top > line.area().top);
            self.lines.insert(below.unwrap_or(self.lines.len()), line);
        }
        self
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
        let worth = |word: &Word| match word.confidence {
            sure if sure >= 60.0 => word.length() * (sure / 100.0).powi(2),
            _ => -2.0 * word.length(),
        };
        self.words().map(worth).sum()
    }

    /// This reading with each word spelled as several of the readings agree to spell it, weighed by how sure they are.
    pub(super) fn voted(mut self, readings: &[Self]) -> Self {
        let all: Vec<&Word> = readings.iter().flat_map(Self::words).collect();
        for word in self.lines.iter_mut().flat_map(|line| &mut line.words) {
            let votes: Vec<&Word> = all.iter().copied().filter(|vote| same_place(vote.area, word.area)).collect();
            let supporters = |text: &str| {
                votes.iter().filter(|vote| vote.text == text).map(|vote| vote.confidence).collect::<Vec<f32>>()
            };
            let weight = |vote: &Word| supporters(&vote.text).iter().sum::<f32>();
            let elected = votes.iter().max_by(|one, other| weight(one).total_cmp(&weight(other)));
            let elected = elected.filter(|elected| elected.text != word.text && supporters(&elected.text).len() > 1);
            if let Some(elected) = elected {
                *word = (*elected).clone();
            }
        }
        self
    }

    /// How often the order of lines leads back up the image, as it does between columns.
    pub(super) fn jumps(&self) -> usize {
        let back_up = |pair: &&[Line]| pair[1].area().bottom <= pair[0].area().top;
        self.lines.windows(2).filter(back_up).count()
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

/// A line that only one of two readings found must be this sure to be taken over.
const SURE_ENOUGH: f32 = 50.0;

impl Word {
    fn length(&self) -> f32 {
        f32::from(u16::try_from(self.text.chars().count()).unwrap_or(u16::MAX))
    }
}

fn characters<'a>(words: impl IntoIterator<Item = &'a Word>) -> f32 {
    words.into_iter().map(Word::length).sum()
}

fn mean<'a>(words: impl IntoIterator<Item = &'a Word>) -> f32 {
    let (sum, weight) = words
        .into_iter()
        .fold((0.0, 0.0), |(sum, weight), word| (sum + word.confidence * word.length(), weight + word.length()));
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// Where the words of a line may have their middles in another reading: a little longer than the line and a little
/// thinner, whichever way it runs.
struct Place {
    across: std::ops::RangeInclusive<f64>,
    down: std::ops::RangeInclusive<f64>,
}

impl Place {
    fn around(area: Rect) -> Self {
        let (width, height) = (f64::from(area.right - area.left), f64::from(area.bottom - area.top));
        let thickness = width.min(height);
        let (longer, thinner) = (thickness, -0.1 * thickness);
        let (across, down) = if width >= height { (longer, thinner) } else { (thinner, longer) };
        Self {
            across: f64::from(area.left) - across..=f64::from(area.right) + across,
            down: f64::from(area.top) - down..=f64::from(area.bottom) + down,
        }
    }

    fn holds(&self, area: Rect) -> bool {
        let middle = |low: u32, high: u32| f64::midpoint(f64::from(low), f64::from(high));
        self.across.contains(&middle(area.left, area.right)) && self.down.contains(&middle(area.top, area.bottom))
    }
}

/// Whether two words cover the same ground: most of the wider one, and half of the lower one.
fn same_place(one: Rect, other: Rect) -> bool {
    let shared = |low: u32, high: u32| f64::from(high.saturating_sub(low));
    let across = shared(one.left.max(other.left), one.right.min(other.right));
    let down = shared(one.top.max(other.top), one.bottom.min(other.bottom));
    let width = f64::from((one.right - one.left).max(other.right - other.left));
    let height = f64::from((one.bottom - one.top).min(other.bottom - other.top));
    across > 0.7 * width && down > 0.5 * height
}

/// Whether two lines stand in the same place: they share a third of the thinner one, and some of its length.
fn overlap(one: Rect, other: Rect) -> bool {
    let shared = |low: u32, high: u32, size: u32| high.saturating_sub(low) > size * 3 / 10;
    let down = (one.bottom - one.top).min(other.bottom - other.top);
    let across = (one.right - one.left).min(other.right - other.left);
    let (thin_down, thin_across) = if down <= across { (down, 0) } else { (0, across) };
    shared(one.top.max(other.top), one.bottom.min(other.bottom), thin_down)
        && shared(one.left.max(other.left), one.right.min(other.right), thin_across)
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
    fn the_surer_reading_of_each_line_is_kept() {
        let row = |line: u32, top: u32, confidence: u32, text: &str| {
            format!("5\t1\t1\t1\t{line}\t1\t10\t{top}\t80\t12\t{confidence}\t{text}\n")
        };
        let read = |rows: &[String]| Reading::from_tsv(&rows.concat(), &Page::new(GrayImage::new(200, 100)));
        let first = read(&[row(1, 10, 90, "Milk"), row(2, 50, 40, "T0TAI")]);
        let second =
            read(&[row(1, 11, 70, "Mi1k"), row(2, 30, 80, "Bread"), row(3, 51, 95, "TOTAL"), row(4, 80, 20, "~~~~")]);
        assert_eq!(first.merged(&second).text(), "Milk\nBread\nTOTAL");
    }

    #[test]
    fn words_are_spelled_as_most_readings_have_them() {
        let read = |confidence: u32, text: &str| {
            let row = format!("5\t1\t1\t1\t1\t1\t10\t10\t80\t12\t{confidence}\t{text}\n");
            Reading::from_tsv(&row, &Page::new(GrayImage::new(200, 100)))
        };
        let readings = [read(75, "30.96"), read(60, "30.90"), read(50, "30.90")];
        assert_eq!(readings[0].clone().voted(&readings).text(), "30.90");
    }

    #[test]
    fn nothing_read_is_no_text_and_no_confidence() {
        let reading = Reading::from_tsv("", &Page::new(GrayImage::new(20, 20)));
        assert_eq!((reading.text(), reading.confidence(), reading.median_height()), (String::new(), 0.0, None));
    }
}
