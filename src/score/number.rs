//! Numbers as people and models write them, read without guessing twice: separators, currencies, percent signs.
//!
//! An answer is text and is never evaluated: what is not a number in one of these spellings is no number.
//!
//! - Groups and decimals: where both `.` and `,` occur, the later one is the decimal mark. A `,` alone groups when
//!   exactly three digits follow and one to three lead (`1,234`), and is a decimal mark otherwise (`12,5`). A `.` alone
//!   is a decimal mark (`1.234`), unless it occurs several times (`1.234.567`). Spaces, apostrophes and `_` group too;
//!   groups after the first have three digits, or two before the last three as in India.
//! - A currency may stand before or behind. Two different currencies are different numbers; one that is left out is no
//!   difference.
//! - `%` is a unit. See [`Number::is_near`].
//! - Brackets around an amount make it negative, as in accounts.

use icu_normalizer::ComposingNormalizerBorrowed;

/// Characters of a number; anything longer is none.
const LONGEST: usize = 64;

/// What stands for which currency, in capitals. Signs that several countries use stand for themselves, after those that
/// end with them.
const CURRENCIES: [(&str, &str); 41] = [
    ("US$", "$"),
    ("A$", "AUD"),
    ("C$", "CAD"),
    ("S$", "SGD"),
    ("R$", "BRL"),
    ("HK$", "HKD"),
    ("USD", "$"),
    ("$", "$"),
    ("EUR", "€"),
    ("€", "€"),
    ("GBP", "£"),
    ("£", "£"),
    ("JPY", "¥"),
    ("円", "¥"),
    ("¥", "¥"),
    ("CNY", "CNY"),
    ("RMB", "CNY"),
    ("元", "CNY"),
    ("CHF", "CHF"),
    ("INR", "₹"),
    ("RS.", "₹"),
    ("RS", "₹"),
    ("₹", "₹"),
    ("MYR", "MYR"),
    ("RM", "MYR"),
    ("IDR", "IDR"),
    ("RP.", "IDR"),
    ("RP", "IDR"),
    ("SGD", "SGD"),
    ("AUD", "AUD"),
    ("CAD", "CAD"),
    ("HKD", "HKD"),
    ("SEK", "SEK"),
    ("NOK", "NOK"),
    ("DKK", "DKK"),
    ("KR", "KR"),
    ("PLN", "PLN"),
    ("ZŁ", "PLN"),
    ("KRW", "₩"),
    ("₩", "₩"),
    ("BRL", "BRL"),
];

/// A number that was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// As it stands, finite: 5 for `5%`.
    pub value: f64,
    pub unit: Unit,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    None,
    Percent,
    /// By its sign, or by its ISO 4217 code where it has no sign of its own.
    Currency(&'static str),
}

/// How far an answer may be from the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// As a share of the truth, 0.05 for 5 %.
    pub relative: f64,
    /// In the unit of the truth. It alone counts where the truth is 0, which has no shares.
    pub absolute: f64,
}

impl Tolerance {
    /// Nothing but what floating point loses.
    pub const EXACT: Self = Self { relative: 0.0, absolute: 1e-9 };
    /// Five per cent: relaxed accuracy of `ChartQA` (Masry and others, <https://arxiv.org/abs/2203.10244>, 2022).
    pub const RELAXED: Self = Self { relative: 0.05, absolute: 1e-9 };

    fn covers(self, truth: f64, answer: f64) -> bool {
        // A little more, so that 1.155 is within 5 % of 1.1 in binary too.
        let within = (self.relative * truth.abs()).max(self.absolute) * (1.0 + 1e-9) + truth.abs() * 1e-12;
        (truth - answer).abs() <= within
    }
}

impl Number {
    /// Whether this answer is within a tolerance of the truth.
    ///
    /// The truth decides the unit. Where both have a percent sign or neither, they are compared as they stand. An
    /// answer without the sign is taken to be in the truth's unit: `5` is right for `5%`, and `0.05` is not. An answer
    /// with the sign is right for a truth without when it is right without the sign, or, where the truth is written as
    /// a share (at most 1), as a share: `5%` is right for `5` and for `0.05`.
    #[must_use]
    pub fn is_near(self, truth: Self, tolerance: Tolerance) -> bool {
        if let (Unit::Currency(one), Unit::Currency(other)) = (self.unit, truth.unit)
            && one != other
        {
            return false;
        }
        let as_share = self.unit == Unit::Percent && truth.unit == Unit::None && truth.value.abs() <= 1.0;
        tolerance.covers(truth.value, self.value) || (as_share && tolerance.covers(truth.value, self.value / 100.0))
    }
}

/// Reads a text that is a number and nothing else; one full stop may follow.
#[must_use]
pub fn read(text: &str) -> Option<Number> {
    let trimmed = text.trim();
    if trimmed.len() > 4 * LONGEST {
        return None;
    }
    let plain = ComposingNormalizerBorrowed::new_nfkc().normalize(trimmed).to_uppercase().replace(['−', '–'], "-");
    if plain.chars().count() > LONGEST {
        return None;
    }
    let (plain, unit) = without_unit(plain.strip_suffix('.').unwrap_or(&plain).trim());
    let (plain, is_negative) = without_sign(&plain);
    // The sign may stand on either side of the currency.
    let (plain, unit) = if unit == Unit::None { without_unit(&plain) } else { (plain, unit) };
    let (plain, is_negative) = if is_negative { (plain, true) } else { without_sign(&plain) };
    let value = magnitude(&plain)?;
    Some(Number { value: if is_negative { -value } else { value }, unit })
}

/// Reads the one number of a text; nothing where it has none, or several that differ.
#[must_use]
pub fn read_within(text: &str) -> Option<Number> {
    if let Some(number) = read(text) {
        return Some(number);
    }
    let mut found: Option<Number> = None;
    for word in text.split_whitespace().filter(|word| word.chars().any(char::is_numeric)) {
        let is_mark = |c: char| matches!(c, ',' | ';' | ':' | '!' | '?' | '"' | '\'' | '*' | '`');
        let word = word.trim_start_matches(is_mark).trim_end_matches(|c| is_mark(c) || c == '.');
        let number = read(word)?;
        if found.is_some_and(|earlier| earlier != number) {
            return None;
        }
        found = Some(number);
    }
    found
}

fn without_unit(text: &str) -> (String, Unit) {
    for sign in ["%", "PERCENT", "PER CENT"] {
        if let Some(rest) = text.strip_suffix(sign) {
            return (rest.trim().to_owned(), Unit::Percent);
        }
    }
    for (name, currency) in CURRENCIES {
        if let Some(rest) = text.strip_prefix(name).or_else(|| text.strip_suffix(name)) {
            return (rest.trim().to_owned(), Unit::Currency(currency));
        }
    }
    (text.to_owned(), Unit::None)
}

fn without_sign(text: &str) -> (String, bool) {
    if let Some(inside) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return (inside.trim().to_owned(), true);
    }
    match text.strip_prefix('-') {
        Some(rest) => (rest.trim().to_owned(), true),
        None => (text.strip_prefix('+').unwrap_or(text).trim().to_owned(), false),
    }
}

/// A number without sign and unit.
fn magnitude(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once('E') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, decimals) = parts(mantissa);
    let whole = ungrouped(whole)?;
    let are_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(decimals) || (whole.is_empty() && decimals.is_empty()) {
        return None;
    }
    let exponent = match exponent {
        Some(exponent) => exponent.parse::<i16>().ok()?,
        None => 0,
    };
    let value: f64 = format!("{whole}.{decimals}e{exponent}").parse().ok()?;
    value.is_finite().then_some(value)
}

/// What stands before and after the decimal mark.
fn parts(text: &str) -> (&str, &str) {
    let (dots, commas) = (text.matches('.').count(), text.matches(',').count());
    let mark = match (dots, commas) {
        (1.., 1..) => text.rfind(['.', ',']),
        (1, 0) => text.find('.'),
        (0, 1) => text.find(',').filter(|at| !groups(text, *at)),
        _ => None,
    };
    mark.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))).unwrap_or((text, ""))
}

/// Whether a lone comma stands where one groups thousands.
fn groups(text: &str, comma: usize) -> bool {
    (1..=3).contains(&comma) && text.len() == comma + 4 && !text.starts_with('0')
}

/// The digits of groups that are as long as groups are, by one separator throughout.
fn ungrouped(whole: &str) -> Option<String> {
    let is_separator = |c: char| matches!(c, '.' | ',' | ' ' | '\'' | '’' | '_');
    let separator = whole.chars().find(|c| is_separator(*c));
    let groups: Vec<&str> = separator.map_or_else(|| vec![whole], |separator| whole.split(separator).collect());
    let are_digits = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit()));
    let are_groups = match groups.as_slice() {
        [_] => true,
        [first, middle @ .., last] => {
            let inner = middle.first().map_or(3, |group| group.len());
            (1..=3).contains(&first.len())
                && last.len() == 3
                && (2..=3).contains(&inner)
                && middle.iter().all(|group| group.len() == inner)
        }
        [] => false,
    };
    (are_digits && are_groups).then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(answer: &str, truth: &str, tolerance: Tolerance) -> bool {
        read(answer).expect(answer).is_near(read(truth).expect(truth), tolerance)
    }

    #[test]
    fn numbers_are_read_in_the_spellings_of_several_countries() {
        for (text, value) in [
            ("1,234", 1234.0),
            ("1.234", 1.234),
            ("1.234,56", 1234.56),
            ("1,234.56", 1234.56),
            ("12,34,567.8", 1_234_567.8),
            ("1.234.567", 1_234_567.0),
            ("1 234 567", 1_234_567.0),
            ("1\u{202f}234,5", 1234.5),
            ("1'234.50", 1234.5),
            ("12,5", 12.5),
            ("0,234", 0.234),
            ("1234,567", 1234.567),
            (".5", 0.5),
            ("5.", 5.0),
            ("-3", -3.0),
            ("−3", -3.0),
            ("(12.50)", -12.5),
            ("１２", 12.0),
            ("1.2e3", 1200.0),
            ("-$5", -5.0),
            ("$-5", -5.0),
            ("RM 9.00", 9.0),
            ("12,50 €", 12.5),
        ] {
            assert!(read(text).is_some_and(|number| (number.value - value).abs() < 1e-9), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn what_is_no_number_is_none() {
        let long = "9".repeat(100_000);
        for text in [
            "",
            " ",
            ".",
            ",",
            "-",
            "%",
            "$",
            "nan",
            "inf",
            "-Infinity",
            "1e999",
            "0x10",
            "1/0",
            "1+1",
            "2**9999",
            "1,23,4",
            "1.2.3",
            "1,,2",
            "12-03-2024",
            "1 2",
            "e5",
            "--5",
            "٣٤x",
            long.as_str(),
        ] {
            assert_eq!(read(text), None, "{text:.20}");
        }
    }

    #[test]
    fn a_percent_sign_is_a_unit() {
        for (answer, truth, expected) in [
            ("5%", "5 %", true),
            ("5", "5%", true),
            ("5 percent", "5", true),
            ("5%", "0.05", true),
            ("0.05", "5%", false),
            ("500%", "5", false),
            ("5%", "0.5", false),
        ] {
            assert_eq!(near(answer, truth, Tolerance::EXACT), expected, "{answer} for {truth}");
        }
    }

    #[test]
    fn tolerance_is_of_the_truth_and_absolute_at_zero() {
        for (answer, truth, expected) in [
            ("105", "100", true),
            ("106", "100", false),
            ("95", "100", true),
            ("1.155", "1.1", true),
            ("-105", "-100", true),
            ("0.0", "0", true),
            ("0.04", "0", false),
        ] {
            assert_eq!(near(answer, truth, Tolerance::RELAXED), expected, "{answer} for {truth}");
        }
        assert!(near("0.04", "0", Tolerance { absolute: 0.05, ..Tolerance::RELAXED }));
    }

    #[test]
    fn currencies_differ_only_where_both_are_named() {
        assert!(near("5 EUR", "€5", Tolerance::EXACT) && near("5", "€5.00", Tolerance::EXACT));
        assert!(!near("$5", "€5", Tolerance::EXACT));
    }

    #[test]
    fn the_one_number_of_a_sentence_is_found() {
        assert_eq!(read_within("The total is **25.41**.").map(|number| number.value), Some(25.41));
        assert_eq!(read_within("42, certainly 42!").map(|number| number.value), Some(42.0));
        for none in ["In 2020 it was 42", "none", "see A4 or 3", "__import__('os').system('1')"] {
            assert_eq!(read_within(none), None, "{none}");
        }
    }
}
