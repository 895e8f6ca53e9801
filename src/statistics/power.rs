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
}
