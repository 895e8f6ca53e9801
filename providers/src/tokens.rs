//! How vendors count the tokens of an image, as formulas with parameters: which model uses which is data in the
//! catalog.
//!
//! Each rule also knows the size at which the model sees an image, so that nothing larger need be sent. Sizes are in
//! pixels. The vendors' published vectors are the tests.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::request::Detail;

/// A way of counting, as the catalog and operators write it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenRule {
    /// Square cells after shrinking to a largest side, plus one token at the end of each row (Mistral).
    Rows { largest_side: u32, cell: u32 },
    /// Square cells after shrinking to a largest side and to at most so many cells (Claude).
    Cells { cell: u32, largest_side: u32, most: u64 },
    /// A fixed part, and one for each tile of 512 after shrinking to 2048 and to a shorter side of 768 (`OpenAI` until
    /// GPT-5.1). Little detail costs the fixed part alone.
    Tiles { base: u64, tile: u64 },
    /// Patches of 32 after shrinking to a largest side and to at most so many patches, times a factor in thousandths
    /// (`OpenAI` since GPT-5.2).
    Patches { largest_side: u32, most: u64, per_mille: u64 },
    /// The same for every image, by the resolution that is asked for (Gemini since 3).
    Levels { low: u64, medium: u64, high: u64 },
    /// 258 for a small image, and for each tile of a larger one (Gemini until 2.5).
    Crops,
    /// The same for every image.
    Flat { tokens: u64 },
    /// One more than there are tiles, of which there are at most so many, at so much each (Grok).
    Grid { tile: u32, per_tile: u64, most: u64 },
    /// One to `most` tiles along each side, at so much each (Llama 4).
    Halves { tile: u32, per_tile: u64, most: u64 },
    /// Images cost nothing: no model looks at them.
    Free,
    /// Nobody outside the vendor can tell.
    Unknown,
}

/// How sure a count is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The vendor's own code or formula says so.
    Exact,
    /// The vendor's documentation says so.
    Documented,
    /// Somebody concluded it from a related model.
    Assumed,
}

impl Basis {
    /// The name used in the catalog and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Documented => "documented",
            Self::Assumed => "assumed",
        }
    }
}

/// The resolution at which a model with levels looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Low,
    Medium,
    High,
}

impl Level {
    /// The level for an image: small ones hold nothing that a higher one would show, unless detail is asked for.
    #[must_use]
    pub fn of(width: u32, height: u32, detail: Detail) -> Self {
        match (detail, width.max(height)) {
            (Detail::Low, _) | (Detail::Auto, ..=384) => Self::Low,
            (Detail::Auto, 385..=768) => Self::Medium,
            (Detail::Auto | Detail::High, _) => Self::High,
        }
    }
}

/// The longer side at which little detail is seen by `OpenAI`'s models.
const LOW_SIDE: u32 = 512;

impl TokenRule {
    /// Whether every size lies between 1 and 1,000,000, which the arithmetic below relies on.
    pub(crate) fn is_sensible(self) -> bool {
        let sizes = match self {
            Self::Rows { largest_side, cell } => [largest_side.into(), cell.into(), 1],
            Self::Cells { cell, largest_side, most } => [cell.into(), largest_side.into(), most],
            Self::Tiles { base, tile } => [base, tile, 1],
            Self::Patches { largest_side, most, per_mille } => [largest_side.into(), most, per_mille],
            Self::Levels { low, medium, high } => [low, medium, high],
            Self::Flat { tokens } => [tokens, 1, 1],
            Self::Grid { tile, per_tile, most } | Self::Halves { tile, per_tile, most } => {
                [tile.into(), per_tile, most]
            }
            Self::Crops | Self::Free | Self::Unknown => [1; 3],
        };
        sizes.iter().all(|size| (1..=1_000_000).contains(size))
    }

    /// Tokens for one image of this size, when the rule is known.
    #[must_use]
    pub fn tokens(&self, width: u32, height: u32, detail: Detail) -> Option<u64> {
        let (w, h) = self.seen(width, height, detail);
        let tiles = |side: u32| u64::from(w.div_ceil(side)) * u64::from(h.div_ceil(side));
        Some(match *self {
            Self::Rows { cell, .. } => u64::from(w.div_ceil(cell) + 1) * u64::from(h.div_ceil(cell)),
            Self::Cells { cell, .. } => tiles(cell),
            Self::Tiles { base, .. } if detail == Detail::Low => base,
            Self::Tiles { base, tile } => base + tile * tiles(512),
            Self::Patches { per_mille, .. } => (tiles(32) * per_mille).div_ceil(1000),
            Self::Levels { low, medium, high } => match Level::of(width, height, detail) {
                Level::Low => low,
                Level::Medium => medium,
                Level::High => high,
            },
            Self::Crops if w.max(h) <= 384 => 258,
            Self::Crops => 258 * tiles((w.min(h) * 2 / 3).clamp(256, 768)),
            Self::Flat { tokens } => tokens,
            Self::Grid { tile, per_tile, most } => (tiles(tile).min(most) + 1) * per_tile,
            Self::Halves { tile, per_tile, most } => {
                let along = |side: u32| u64::from(side / tile).clamp(1, most);
                along(w) * along(h) * per_tile
            }
            Self::Free => 0,
            Self::Unknown => return None,
        })
    }

    /// The size at which the model sees an image of this size: a larger one than this is shrunk by the vendor.
    #[must_use]
    pub fn seen(&self, width: u32, height: u32, detail: Detail) -> (u32, u32) {
        match *self {
            Self::Rows { largest_side, .. } => within(width, height, largest_side),
            Self::Cells { cell, largest_side, most } => cells(width, height, cell, largest_side, most),
            Self::Tiles { .. } if detail == Detail::Low => within(width, height, LOW_SIDE),
            Self::Tiles { .. } => {
                let (w, h) = within(width, height, 2048);
                let shorter = w.min(h);
                if shorter <= 768 { (w, h) } else { scaled(w, h, 768.0 / f64::from(shorter)) }
            }
            Self::Patches { most, .. } if detail == Detail::Low => patches(width, height, LOW_SIDE, most),
            Self::Patches { largest_side, most, .. } => patches(width, height, largest_side, most),
            _ => (width, height),
        }
    }
}

/// Shrinks so that the longer side fits, each side rounded half to even as Python does.
/// Mistral: `mistral_common` 1.13.1, `ImageEncoder._image_to_num_tokens`.
fn within(width: u32, height: u32, largest: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= largest { (width, height) } else { divided(width, height, f64::from(longest) / f64::from(largest)) }
}

fn divided(width: u32, height: u32, ratio: f64) -> (u32, u32) {
    (side(f64::from(width) / ratio), side(f64::from(height) / ratio))
}

fn scaled(width: u32, height: u32, factor: f64) -> (u32, u32) {
    (side(f64::from(width) * factor), side(f64::from(height) * factor))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no longer than the side it came from")]
fn side(pixels: f64) -> u32 {
    (pixels.round_ties_even() as u32).max(1)
}

/// The largest size of the same shape, never enlarged, with a longer side within bounds and at most so many cells.
/// Anthropic's vision page, 2026-09.
fn cells(width: u32, height: u32, cell: u32, largest_side: u32, most: u64) -> (u32, u32) {
    let count = |(w, h): (u32, u32)| u64::from(w.div_ceil(cell)) * u64::from(h.div_ceil(cell));
    let longest = width.max(height);
    let whole = (width, height);
    let sized = |long: u32| {
        if long == longest { whole } else { divided(width, height, f64::from(longest) / f64::from(long)) }
    };
    (1..=longest.min(largest_side)).rev().map(sized).find(|size| count(*size) <= most).unwrap_or((1, 1))
}

/// `OpenAI`'s images guide, 2026-08: fit the largest side; above the budget of patches shrink by area, then so that the
/// tighter side holds whole patches.
#[expect(clippy::cast_precision_loss, reason = "budgets are thousands")]
fn patches(width: u32, height: u32, largest_side: u32, most: u64) -> (u32, u32) {
    const PATCH: f64 = 32.0;
    let (w, h) = within(width, height, largest_side);
    if u64::from(w.div_ceil(32)) * u64::from(h.div_ceil(32)) <= most {
        return (w, h);
    }
    let (w, h) = (f64::from(w), f64::from(h));
    let shrink = (PATCH * PATCH * most as f64 / (w * h)).sqrt();
    let whole = |side: f64| (side * shrink / PATCH).floor().max(1.0) / (side * shrink / PATCH);
    let shrink = shrink * whole(w).min(whole(h));
    // The product of exact fractions may fall a hair short of a whole pixel.
    let floor = |side: f64| (side * shrink + 1e-6).floor();
    (side(floor(w)), side(floor(h)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: TokenRule, detail: Detail, cases: &[(u32, u32, u64)]) {
        for &(width, height, expected) in cases {
            let found = rule.tokens(width, height, detail);
            assert_eq!(found, Some(expected), "{rule:?} {detail:?} {width}x{height}");
        }
    }

    /// `mistral_common` 1.13.1, retrieved 2026-11-20.
    #[test]
    fn mistral_image_tokens_match_the_published_vectors() {
        let modern = TokenRule::Rows { largest_side: 1540, cell: 28 };
        let cases = [
            (1, 1, 2),
            (1000, 1000, 1332),
            (1280, 720, 1222),
            (1920, 1080, 1736),
            (2048, 1536, 2352),
            (4032, 3024, 2352),
            (1170, 2532, 1485),
            (1540, 1540, 3080),
        ];
        check(modern, Detail::Auto, &cases);
        let pixtral = TokenRule::Rows { largest_side: 1024, cell: 16 };
        let cases = [(1000, 1000, 4032), (1280, 720, 2340), (1920, 1080, 2340), (4032, 3024, 3120), (1024, 1024, 4160)];
        check(pixtral, Detail::Auto, &cases);
    }

    const STANDARD: TokenRule = TokenRule::Cells { cell: 28, largest_side: 1568, most: 1568 };
    const HIGH: TokenRule = TokenRule::Cells { cell: 28, largest_side: 2576, most: 4784 };

    /// Anthropic's vision page, 2026-09.
    #[test]
    fn claude_image_tokens_match_the_published_vectors() {
        check(HIGH, Detail::Auto, &[(200, 200, 64), (1000, 1000, 1296), (1092, 1092, 1521), (1920, 1080, 2691)]);
        check(HIGH, Detail::Auto, &[(3840, 2160, 4784), (4032, 3024, 4740)]);
        check(STANDARD, Detail::Auto, &[(1920, 1080, 1560), (3840, 2160, 1560), (4032, 3024, 1564)]);
        let seen = |rule: TokenRule, width, height| rule.seen(width, height, Detail::Auto);
        assert_eq!(seen(STANDARD, 1920, 1080), (1456, 819));
        assert_eq!(seen(STANDARD, 1075, 1520), (924, 1307));
        assert_eq!(seen(STANDARD, 4032, 3024), (1270, 952));
        assert_eq!(seen(HIGH, 3840, 2160), (2576, 1449));
    }

    /// `OpenAI`'s images guide, 2026-08.
    #[test]
    fn openai_tiles_match_the_published_vectors() {
        let gpt_4o = TokenRule::Tiles { base: 85, tile: 170 };
        check(gpt_4o, Detail::High, &[(1024, 1024, 765), (2048, 4096, 1105), (1920, 1080, 1105), (4032, 3024, 765)]);
        check(gpt_4o, Detail::Low, &[(1024, 1024, 85), (4032, 3024, 85)]);
        check(TokenRule::Tiles { base: 2833, tile: 5667 }, Detail::High, &[(512, 512, 8500)]);
    }

    /// `OpenAI`'s images guide, 2026-08, and with the factor of `LiteLLM`, 2026-11.
    #[test]
    fn openai_patches_match_the_published_vectors() {
        let mini = TokenRule::Patches { largest_side: 2048, most: 1536, per_mille: 1000 };
        check(mini, Detail::High, &[(1024, 1024, 1024), (1800, 2400, 1452)]);
        assert_eq!(mini.seen(1800, 2400, Detail::High), (1056, 1408));
        let high = TokenRule::Patches { largest_side: 2048, most: 2500, per_mille: 1000 };
        check(high, Detail::High, &[(1920, 1080, 2040), (3840, 2160, 2304), (4032, 3024, 2451)]);
        assert_eq!(high.seen(4032, 3024, Detail::High), (1824, 1368));
        let dearer = TokenRule::Patches { largest_side: 2048, most: 2500, per_mille: 1200 };
        check(dearer, Detail::High, &[(1920, 1080, 2448), (3840, 2160, 2765), (4032, 3024, 2942)]);
        let original = TokenRule::Patches { largest_side: 65_535, most: 30_000, per_mille: 1200 };
        check(original, Detail::High, &[(4032, 3024, 14_364)]);
    }

    /// Google's image understanding and media resolution pages, 2026.
    #[test]
    fn gemini_image_tokens_match_the_published_vectors() {
        check(TokenRule::Crops, Detail::Auto, &[(384, 384, 258), (960, 540, 1548), (1920, 1080, 1548)]);
        check(TokenRule::Crops, Detail::Auto, &[(4032, 3024, 6192)]);
        let levels = TokenRule::Levels { low: 280, medium: 560, high: 1120 };
        check(levels, Detail::High, &[(64, 64, 1120), (4032, 3024, 1120)]);
        check(levels, Detail::Low, &[(4032, 3024, 280)]);
        check(levels, Detail::Auto, &[(64, 64, 280), (600, 400, 560), (1920, 1080, 1120)]);
    }

    /// Section by section: xAI by a secondary source, Groq's vision page, Together for Llama.
    #[test]
    fn tiles_of_others_are_counted_as_described() {
        let grok = TokenRule::Grid { tile: 448, per_tile: 256, most: 6 };
        check(grok, Detail::Auto, &[(448, 448, 512), (896, 448, 768), (4000, 4000, 1792)]);
        check(TokenRule::Flat { tokens: 2048 }, Detail::Auto, &[(1, 1, 2048), (4000, 3000, 2048)]);
        let llama = TokenRule::Halves { tile: 560, per_tile: 1601, most: 2 };
        check(llama, Detail::Auto, &[(500, 500, 1601), (1120, 560, 3202), (4000, 4000, 6404)]);
        assert_eq!(TokenRule::Unknown.tokens(10, 10, Detail::Auto), None);
        assert_eq!(TokenRule::Free.tokens(10, 10, Detail::Auto), Some(0));
    }

    /// Sending what the vendor would shrink to anyway must not change what it counts.
    #[test]
    fn an_image_that_was_fitted_counts_as_before() {
        let rules = [
            TokenRule::Rows { largest_side: 1540, cell: 28 },
            STANDARD,
            HIGH,
            TokenRule::Tiles { base: 85, tile: 170 },
            TokenRule::Patches { largest_side: 2048, most: 2500, per_mille: 1200 },
        ];
        let mut random = 7_u32;
        let mut next = |most: u32| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            1 + (random >> 8) % most
        };
        for _ in 0..500 {
            let (width, height) = (next(9000), next(9000));
            for rule in rules {
                for detail in [Detail::Auto, Detail::Low] {
                    let (w, h) = rule.seen(width, height, detail);
                    assert!(w <= width && h <= height, "{rule:?} enlarges {width}x{height}");
                    assert_eq!(
                        rule.tokens(w, h, detail),
                        rule.tokens(width, height, detail),
                        "{rule:?} {detail:?} {width}x{height}, sent as {w}x{h}"
                    );
                }
            }
        }
    }
}
