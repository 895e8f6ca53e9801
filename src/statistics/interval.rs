//! Intervals of confidence and their level, with the quantiles that they are made with.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Where a figure lies, with the confidence of its level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Interval {
    #[must_use]
    pub fn contains(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// This interval, no wider than what is possible.
    pub(super) fn within(self, low: f64, high: f64) -> Self {
        // What is added takes the sign from a nought.
        Self { low: self.low.clamp(low, high) + 0.0, high: self.high.clamp(low, high) + 0.0 }
    }

    pub(super) fn around(middle: f64, half: f64) -> Self {
        Self { low: middle - half, high: middle + half }
    }
}

/// In how many cases out of all an interval holds what it is about: more than 0, less than 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level(f64);

impl Level {
    /// What the field reports.
    pub const NINETY_FIVE: Self = Self(0.95);

    /// A level between 0 and 1, exclusively.
    #[must_use]
    pub fn new(level: f64) -> Option<Self> {
        (level > 0.0 && level < 1.0).then_some(Self(level))
    }

    /// The level of each of so many statements of which all are to hold together at this one: Bonferroni's, which supposes
    /// nothing about how they hang together.
    #[must_use]
    pub fn shared(self, statements: usize) -> Self {
        Self(1.0 - (1.0 - self.0) / super::sample::float(statements.max(1)))
    }

    /// The share of cases on either side of an interval.
    pub(super) fn tail(self) -> f64 {
        (1.0 - self.0) / 2.0
    }

    /// How many standard errors of a normal distribution lie between the middle and an end.
    pub(super) fn normal(self) -> f64 {
        normal_quantile(1.0 - self.tail())
    }

    /// The same of Student's distribution; without a degree of freedom, there is no end.
    pub(super) fn student(self, freedom: f64) -> f64 {
        student_quantile(1.0 - self.tail(), freedom)
    }
}

/// The value below which a standard normal variable lies with a probability.
pub(super) fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// The probability that a standard normal variable lies below a value.
pub(super) fn normal_probability(value: f64) -> f64 {
    Normal::standard().cdf(value)
}

/// The same for Student's distribution.
pub(super) fn student_quantile(probability: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::INFINITY, |student| student.inverse_cdf(probability))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (found, expected) in [
            (Level::NINETY_FIVE.normal(), 1.959_963_985),
            (Level::NINETY_FIVE.student(1.0), 12.706_204_736),
            (Level::NINETY_FIVE.student(29.0), 2.045_229_642),
            (student_quantile(0.8, 10.0), 0.879_057_829),
            (student_quantile(0.5, 10.0), 0.0),
            (normal_probability(-1.0), 0.158_655_254),
        ] {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
        assert!(Level::NINETY_FIVE.student(0.0).is_infinite());
        assert!((Level::NINETY_FIVE.shared(10).normal() - 2.807_033_768).abs() < 1e-7, "one in two hundred");
        assert!((Level::NINETY_FIVE.shared(0).tail() - Level::NINETY_FIVE.tail()).abs() < 1e-15);
        assert!(Level::new(1.0).is_none() && Level::new(f64::NAN).is_none() && Level::new(0.9).is_some());
    }
}
