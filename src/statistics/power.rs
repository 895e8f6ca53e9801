//! How small a difference a set of items can show at all.

use super::interval::{Level, student_quantile};

/// The power that the field plans with: four times in five.
pub const USUAL: f64 = 0.8;

/// The smallest true difference that a two-sided test at this level finds with this power: the standard error of the
/// paired difference, times the sum of both quantiles of Student's distribution.
///
/// Bloom, Evaluation Review 19(5), 1995: 2.8 standard errors for many clusters at 5 % and 80 %. In the unit of the
/// scores; without a degree of freedom no difference can be shown, and it is infinite.
#[must_use]
pub fn detectable(standard_error: f64, freedom: f64, level: Level, power: f64) -> f64 {
    let quantiles = level.student(freedom) + student_quantile(power.clamp(0.5, 0.999), freedom);
    standard_error * quantiles
}

/// What a set can show of a difference with the power that the field plans with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Detectable {
    /// True differences from this one on would be found.
    From(f64),
    /// Not even the greatest difference that scores allow would be found.
    Nothing,
    /// One cluster says nothing about how the next would differ.
    Unknown,
}

impl Detectable {
    /// What is shown at this level where no difference can be greater than `greatest`.
    pub(super) fn of(standard_error: f64, freedom: f64, level: Level, greatest: f64) -> Self {
        match detectable(standard_error, freedom, level, USUAL) {
            found if !found.is_finite() => Self::Unknown,
            found if found > greatest => Self::Nothing,
            found => Self::From(found),
        }
    }

    /// The smallest difference that would be found, where there is one.
    #[must_use]
    pub fn difference(self) -> Option<f64> {
        match self {
            Self::From(difference) => Some(difference),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_nearly_three_standard_errors() {
        let found = detectable(0.01, 1e6, Level::NINETY_FIVE, USUAL);
        assert!((found - 0.028_015_8).abs() < 1e-5, "{found}");
        assert!(detectable(0.01, 19.0, Level::NINETY_FIVE, USUAL) > found);
        assert!(detectable(0.01, 0.0, Level::NINETY_FIVE, USUAL).is_infinite());
    }

    #[test]
    fn no_difference_is_promised_that_cannot_be() {
        let of =
            |error, freedom, comparisons| Detectable::of(error, freedom, Level::NINETY_FIVE.shared(comparisons), 1.0);
        assert!(matches!(of(0.1, 29.0, 1), Detectable::From(least) if least > 0.28 && least < 0.3));
        assert!(of(0.1, 29.0, 28).difference() > of(0.1, 29.0, 1).difference(), "more comparisons show less");
        assert_eq!((of(0.4, 29.0, 1), of(0.3, 29.0, 45)), (Detectable::Nothing, Detectable::Nothing));
        assert_eq!((of(0.1, 0.0, 1), of(0.0, 0.0, 1)), (Detectable::Unknown, Detectable::Unknown));
    }
}
