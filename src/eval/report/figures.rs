//! Figures as people read them: percent, dollars, times and chances, each with as many digits as say something.

use std::time::Duration;

use crate::statistics::Interval;
use crate::statistics::paired::Difference;

/// What stands where there is nothing to say.
pub(super) const NONE: &str = "–";
/// Between a number and its unit no line breaks.
const SPACE: char = '\u{a0}';

/// A share, such as `87.3 %`.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}{SPACE}%", share * 100.0 + 0.0) } else { NONE.to_owned() }
}

/// Both ends, such as `81.2 to 92.0 %`.
pub(super) fn interval(interval: Interval) -> String {
    if !interval.low.is_finite() || !interval.high.is_finite() {
        return NONE.to_owned();
    }
    format!("{:.1}{SPACE}to{SPACE}{:.1}{SPACE}%", interval.low * 100.0, interval.high * 100.0)
}

/// A difference of shares in points of percent, with its sign.
pub(super) fn points(difference: f64) -> String {
    let rounded = (difference * 1000.0).round() / 10.0;
    if !rounded.is_finite() {
        return NONE.to_owned();
    }
    let sign = if rounded > 0.0 {
        "+"
    } else if rounded < 0.0 {
        "−"
    } else {
        "±"
    };
    format!("{sign}{:.1}", rounded.abs())
}

/// Both ends of a difference in points.
pub(super) fn range(difference: &Difference) -> String {
    format!("{}{SPACE}to{SPACE}{}", points(difference.interval.low), points(difference.interval.high))
}

/// How likely chance alone would have done this.
pub(super) fn chance(probability: f64) -> String {
    match probability {
        p if !p.is_finite() => NONE.to_owned(),
        p if p < 0.001 => "<\u{a0}0.001".to_owned(),
        p if p < 0.1 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// Money: cents where it is much, three digits that count where it is little.
pub(super) fn dollars(amount: f64) -> String {
    // What is added takes the sign from a nought.
    match amount + 0.0 {
        amount if !amount.is_finite() => NONE.to_owned(),
        amount if amount.abs() >= 1000.0 => format!("${}", grouped(&format!("{amount:.0}"))),
        amount if amount.abs() >= 1.0 || amount.abs() < 1e-12 => format!("${amount:.2}"),
        amount => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 12, by the arm above")]
            let zeros = (-amount.abs().log10()).floor() as usize;
            format!("${amount:.*}", (zeros + 3).min(9))
        }
    }
}

/// A time, such as `812 ms` or `2.41 s`.
pub(super) fn milliseconds(time: f64) -> String {
    match time {
        time if !time.is_finite() => NONE.to_owned(),
        time if time < 9.95 => format!("{time:.1}{SPACE}ms"),
        time if time < 999.5 => format!("{time:.0}{SPACE}ms"),
        time if time < 100_000.0 => format!("{:.2}{SPACE}s", time / 1000.0),
        time => Duration::try_from_secs_f64((time / 1000.0).round())
            .map_or_else(|_| NONE.to_owned(), |time| humantime::format_duration(time).to_string()),
    }
}

/// A count with its thousands apart.
pub(super) fn count(count: usize) -> String {
    grouped(&count.to_string())
}

/// The same for sums.
pub(super) fn sum(sum: u64) -> String {
    grouped(&sum.to_string())
}

/// A count and what it is of, in the one or in the many.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{}{SPACE}{}", count(number), if number == 1 { one } else { many })
}

/// A figure for machines that sort by it.
pub(super) fn key(figure: Option<f64>) -> String {
    figure.filter(|figure| figure.is_finite()).map(|figure| figure.to_string()).unwrap_or_default()
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let first = digits.len() % 3;
    let (head, rest) = digits.split_at(first);
    let mut groups: Vec<&str> = if head.is_empty() { Vec::new() } else { vec![head] };
    groups.extend((0..rest.len()).step_by(3).filter_map(|at| rest.get(at..at + 3)));
    format!("{sign}{}", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_say_something() {
        for (found, expected) in [
            (percent(0.8734), "87.3\u{a0}%"),
            (percent(-0.0), "0.0\u{a0}%"),
            (percent(f64::NAN), NONE),
            (points(0.0321), "+3.2"),
            (points(-0.0321), "−3.2"),
            (points(-0.0001), "±0.0"),
            (points(f64::INFINITY), NONE),
            (chance(0.0004), "<\u{a0}0.001"),
            (chance(0.0342), "0.034"),
            (chance(1.0), "1.00"),
            (dollars(0.0), "$0.00"),
            (dollars(-0.0), "$0.00"),
            (dollars(0.000_123_4), "$0.000123"),
            (dollars(0.42), "$0.420"),
            (dollars(12.345), "$12.35"),
            (dollars(1_234_567.8), "$1,234,568"),
            (milliseconds(3.21), "3.2\u{a0}ms"),
            (milliseconds(812.4), "812\u{a0}ms"),
            (milliseconds(2414.0), "2.41\u{a0}s"),
            (milliseconds(125_000.0), "2m 5s"),
            (count(1_234_567), "1,234,567"),
            (count(123), "123"),
            (counted(1, "call", "calls"), "1\u{a0}call"),
        ] {
            assert_eq!(found, expected);
        }
    }
}
