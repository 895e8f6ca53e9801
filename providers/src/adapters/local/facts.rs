//! What can be measured in the pixels: size, colours, and what kind of picture they suggest.

use image::RgbImage;
use image::imageops::{self, FilterType};

/// Colours are counted on a thumbnail of this side: enough to tell a photo from a chart, and a millisecond's work.
const THUMBNAIL: u32 = 256;
/// Photos have thousands of distinct colours (5 bits a channel) on a thumbnail, charts and pages a few hundred.
const MANY_COLOURS: usize = 1000;

/// What kind of picture the pixels suggest. A guess, and said to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Photo,
    Document,
    Chart,
    Screenshot,
    Graphic,
}

impl Kind {
    /// With its article, as it stands in a sentence.
    pub(super) fn phrase(self) -> &'static str {
        match self {
            Self::Photo => "a photo",
            Self::Document => "a document",
            Self::Chart => "a chart or diagram",
            Self::Screenshot => "a screenshot",
            Self::Graphic => "a graphic",
        }
    }
}

/// A colour that covers a noticeable share of the picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Colour {
    pub(super) name: &'static str,
    /// 0 to 1.
    pub(super) share: f64,
}

/// Measurements of one picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    pub(super) width: u32,
    pub(super) height: u32,
    /// The largest shares first; what covers less than 3 % is left out.
    pub(super) colours: Vec<Colour>,
    distinct: usize,
    /// Share of pixels with a clear hue, 0 to 1.
    vivid: f64,
    /// Share of light, hueless pixels, 0 to 1.
    pale: f64,
    /// Share of neighbouring pixels that are alike, 0 to 1: high in what was drawn, low where a lens left its grain.
    flat: f64,
}

impl Facts {
    pub(super) fn of(picture: &RgbImage) -> Self {
        let (width, height) = picture.dimensions();
        let thumbnail = thumbnail(picture);
        let total = f64::from(thumbnail.width()) * f64::from(thumbnail.height());
        let share = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / total;
        let mut cells = vec![false; 1 << 15];
        let mut counts = [0_usize; NAMES.len()];
        let (mut vivid, mut pale) = (0, 0);
        for pixel in thumbnail.pixels() {
            let [red, green, blue] = pixel.0;
            cells[usize::from(red >> 3) << 10 | usize::from(green >> 3) << 5 | usize::from(blue >> 3)] = true;
            counts[nearest(pixel.0)] += 1;
            let (low, high) = (red.min(green).min(blue), red.max(green).max(blue));
            vivid += usize::from(high - low > 60);
            pale += usize::from(high - low < 30 && low > 170);
        }
        let named = NAMES.iter().zip(counts).map(|((name, _), count)| Colour { name, share: share(count) });
        let mut colours: Vec<Colour> = named.filter(|colour| colour.share >= 0.03).collect();
        colours.sort_by(|one, other| other.share.total_cmp(&one.share));
        let distinct = cells.iter().filter(|cell| **cell).count();
        Self { width, height, colours, distinct, vivid: share(vivid), pale: share(pale), flat: flatness(picture) }
    }

    /// A guess at the kind of picture, from its colours and the share of it that text covers.
    pub(super) fn kind(&self, lines: usize, text_share: f64) -> Kind {
        let paper = self.pale > 0.5 && self.vivid < 0.03;
        if paper && lines >= 3 {
            return Kind::Document;
        }
        if self.distinct > MANY_COLOURS || self.flat < 0.5 {
            return Kind::Photo;
        }
        if lines >= 3 && self.vivid > 0.02 && text_share < 0.08 {
            return Kind::Chart;
        }
        if lines >= 8 { Kind::Screenshot } else { Kind::Graphic }
    }
}

/// Compares neighbours along some two hundred rows.
fn flatness(picture: &RgbImage) -> f64 {
    let step = (picture.height() as usize / 200).max(1);
    let (mut alike, mut all) = (0_u32, 0_u32);
    for row in picture.rows().step_by(step) {
        let row: Vec<_> = row.collect();
        let same =
            |pair: &&[&image::Rgb<u8>]| (0..3).all(|channel| pair[0].0[channel].abs_diff(pair[1].0[channel]) <= 1);
        alike = alike.saturating_add(u32::try_from(row.windows(2).filter(same).count()).unwrap_or(u32::MAX));
        all = all.saturating_add(u32::try_from(row.len().saturating_sub(1)).unwrap_or(u32::MAX));
    }
    f64::from(alike) / f64::from(all.max(1))
}

fn thumbnail(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    if width.max(height) <= THUMBNAIL {
        return picture.clone();
    }
    let side = |side: u32| (u64::from(side) * u64::from(THUMBNAIL) / u64::from(width.max(height))).max(1);
    let side = |pixels: u32| u32::try_from(side(pixels)).unwrap_or(THUMBNAIL);
    imageops::resize(picture, side(width), side(height), FilterType::Triangle)
}

const NAMES: [(&str, [u8; 3]); 14] = [
    ("white", [250, 250, 250]),
    ("light grey", [200, 200, 200]),
    ("grey", [130, 130, 130]),
    ("dark grey", [70, 70, 70]),
    ("black", [12, 12, 12]),
    ("red", [205, 40, 40]),
    ("orange", [240, 140, 30]),
    ("yellow", [240, 220, 60]),
    ("green", [60, 150, 60]),
    ("light blue", [150, 200, 235]),
    ("blue", [40, 90, 200]),
    ("purple", [130, 60, 160]),
    ("pink", [240, 150, 190]),
    ("brown", [125, 80, 45]),
];

/// The named colour that is nearest, with green weighed as eyes weigh it.
fn nearest(pixel: [u8; 3]) -> usize {
    let distance = |colour: [u8; 3]| -> u32 {
        let square = |index: usize| u32::from(pixel[index].abs_diff(colour[index])).pow(2);
        2 * square(0) + 4 * square(1) + 3 * square(2)
    };
    let nearest = NAMES.iter().enumerate().min_by_key(|(_, (_, colour))| distance(*colour));
    nearest.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(paint: impl Fn(u32, u32) -> [u8; 3]) -> Facts {
        let picture = RgbImage::from_fn(300, 200, |x, y| image::Rgb(paint(x, y)));
        Facts::of(&picture)
    }

    #[test]
    fn colours_are_named_by_share() {
        let facts = drawn(|x, _| if x < 225 { [255, 255, 255] } else { [200, 30, 30] });
        let names: Vec<_> = facts.colours.iter().map(|colour| colour.name).collect();
        assert_eq!(names, ["white", "red"]);
        assert!((facts.colours[0].share - 0.75).abs() < 0.02, "{:?}", facts.colours);
    }

    #[test]
    fn kinds_follow_colours_and_text() {
        let paper = drawn(|x, y| if (x / 3 + y / 7) % 9 == 0 { [20, 20, 20] } else { [250, 249, 246] });
        assert_eq!(paper.kind(12, 0.2), Kind::Document);
        assert_eq!(paper.kind(0, 0.0), Kind::Graphic);
        let bars = drawn(|x, y| if x % 60 < 25 && y > 80 { [40, 90, 200] } else { [255, 255, 255] });
        assert_eq!(bars.kind(6, 0.03), Kind::Chart);
        let byte = |value: u32| u8::try_from(value % 256).expect("a byte");
        let scene = drawn(|x, y| [byte(x * 7 + y), byte(x + y * 3), byte(x * y / 50)]);
        assert_eq!(scene.kind(0, 0.0), Kind::Photo);
    }
}
