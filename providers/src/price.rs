//! Prices, and what a call costs by them: integers throughout, so that sums agree with calculation by hand.

use crate::answer::Usage;

/// Millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// The amount in dollars, for people and JSON.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine billion dollars")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// An amount that a vendor gives in dollars, rounded to the micro-dollar; `None` for nonsense.
    #[must_use]
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        (0.0..1e6).contains(&dollars).then(|| Self((dollars * 1e6).round() as u64))
    }
}

/// Prices in millionths of a US dollar: per million tokens ($0.15 per million is 150,000), and per page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Price {
    pub input: u64,
    pub output: u64,
    /// What cached input costs; the input price where the vendor gives no rebate.
    pub cached: u64,
    /// Prices of long requests, where they differ.
    pub above: Option<Above>,
    /// A page that is read.
    pub page: u64,
    /// A page that is read and annotated after a schema.
    pub annotated_page: u64,
}

/// The prices of a whole request whose input is longer than so many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Above {
    pub tokens: u64,
    pub input: u64,
    pub output: u64,
}

impl Price {
    /// The cost of this usage, rounded half up to the micro-dollar. Cached input of a long request becomes dearer as
    /// fresh input does.
    #[must_use]
    pub fn of(&self, usage: &Usage) -> MicroUsd {
        let cached = usage.cached_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens - cached;
        let (input, output, cached_price) = match self.above.filter(|above| usage.input_tokens > above.tokens) {
            Some(above) if self.input > 0 => {
                let dearer = u128::from(self.cached) * u128::from(above.input) / u128::from(self.input);
                (above.input, above.output, dearer)
            }
            _ => (self.input, self.output, u128::from(self.cached)),
        };
        let pico = u128::from(fresh) * u128::from(input)
            + u128::from(cached) * cached_price
            + u128::from(usage.output_tokens) * u128::from(output);
        let pages = u128::from(usage.pages) * u128::from(self.page)
            + u128::from(usage.annotated_pages) * u128::from(self.annotated_page);
        MicroUsd(u64::try_from((pico + 500_000) / 1_000_000 + pages).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(input_tokens: u64, output_tokens: u64, cached_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens, cached_tokens, ..Usage::default() }
    }

    #[test]
    fn cost_equals_calculation_by_hand() {
        let medium = Price { input: 1_500_000, output: 7_500_000, cached: 150_000, ..Price::default() };
        assert_eq!(medium.of(&usage(1210, 96, 0)), MicroUsd(2535)); // 1815 + 720
        assert_eq!(medium.of(&usage(1210, 96, 640)), MicroUsd(1671)); // 855 + 96 + 720
        let small = Price { input: 150_000, output: 600_000, cached: 15_000, ..Price::default() };
        assert_eq!(small.of(&usage(1, 0, 0)), MicroUsd(0)); // 0.15 rounds down
        assert_eq!(small.of(&usage(10, 0, 0)), MicroUsd(2)); // 1.5 rounds up
        assert_eq!(small.of(&usage(1, 1, 99)), MicroUsd(1)); // absurd cache counts cannot make it negative
    }

    #[test]
    fn long_requests_cost_more_from_the_first_token_on() {
        let above = Above { tokens: 100_000, input: 500_000, output: 2_500_000 };
        let haiku = Price { input: 100_000, output: 500_000, cached: 10_000, above: Some(above), ..Price::default() };
        assert_eq!(haiku.of(&usage(100_000, 1000, 0)), MicroUsd(10_500)); // 10,000 + 500
        assert_eq!(haiku.of(&usage(100_001, 1000, 0)), MicroUsd(52_501)); // 50,000.5 + 2,500
        assert_eq!(haiku.of(&usage(200_000, 0, 100_000)), MicroUsd(55_000)); // 50,000 + 5,000
    }

    #[test]
    fn pages_are_billed_by_the_page() {
        let ocr = Price { page: 4000, annotated_page: 5000, ..Price::default() };
        assert_eq!(ocr.of(&Usage { pages: 3, ..Usage::default() }), MicroUsd(12_000));
        assert_eq!(ocr.of(&Usage { annotated_pages: 2, ..Usage::default() }), MicroUsd(10_000));
    }

    #[test]
    fn a_vendors_dollars_are_taken_when_they_make_sense() {
        assert_eq!(MicroUsd::from_dollars(0.00095), Some(MicroUsd(950)));
        for nonsense in [-1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert_eq!(MicroUsd::from_dollars(nonsense), None);
        }
    }
}
