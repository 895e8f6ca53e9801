//! Dates in several spellings, by value; what can be read in two ways is not guessed.
//!
//! Year first (`2024-03-12`, `2024/3/12`, `20240312`), a month by its English name or its three letters, and with dots
//! (`12.03.2024`) day first: these have one reading. `03/04/2024` has two, and so has `03-04-2024`; a number above 12
//! settles it. A midnight behind a date (`T00:00:00Z`) does not count. Years of two digits are 1969 to 2068, as POSIX
//! reads them.

const LONGEST: usize = 40;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// In which order a data set writes days and months where figures leave it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DateOrder {
    DayFirst,
    MonthFirst,
    /// Nobody said: `03/04/2024` equals only what is written in the same order.
    #[default]
    Unstated,
}

/// A day of the proleptic Gregorian calendar, or one of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Date {
    Certain {
        year: u16,
        month: u8,
        day: u8,
    },
    /// Both readings are days, and differ.
    Ambiguous {
        year: u16,
        first: u8,
        second: u8,
    },
}

/// Reads a text that is a date and nothing else.
#[must_use]
pub fn read(text: &str, order: DateOrder) -> Option<Date> {
    let text = text.trim();
    if text.len() > LONGEST || !text.is_ascii() {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let text = ["t00:00:00z", "t00:00:00", " 00:00:00"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(&text);
    let parts: Vec<&str> = text.split(['-', '/', '.', ' ', ',']).filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [digits] if digits.len() == 8 => certain(number(digits.get(..4)?)?, digits.get(4..6)?, digits.get(6..)?),
        [first, month, day] if first.len() == 4 => certain(number(first)?, &month_number(month), day),
        [first, second, year] => {
            let year = full_year(year)?;
            match (month_named(first), month_named(second)) {
                (Some(month), None) => certain(year, &month.to_string(), ordinal(second)),
                (None, Some(month)) => certain(year, &month.to_string(), ordinal(first)),
                (None, None) if text.contains('.') => certain(year, second, first),
                (None, None) => open(year, number(first)?, number(second)?, order),
                (Some(_), Some(_)) => None,
            }
        }
        _ => None,
    }
}

/// A date whose first two figures are day and month, in one order or the other.
fn open(year: u16, first: u16, second: u16, order: DateOrder) -> Option<Date> {
    let (day_first, month_first) = (day(year, second, first), day(year, first, second));
    match order {
        DateOrder::DayFirst => day_first.or(month_first),
        DateOrder::MonthFirst => month_first.or(day_first),
        DateOrder::Unstated if day_first.is_none() || month_first.is_none() => day_first.or(month_first),
        DateOrder::Unstated if day_first == month_first => day_first,
        DateOrder::Unstated => {
            Some(Date::Ambiguous { year, first: u8::try_from(first).ok()?, second: u8::try_from(second).ok()? })
        }
    }
}

fn certain(year: u16, month: &str, of_month: &str) -> Option<Date> {
    day(year, number(month)?, number(of_month)?)
}

/// A day that the calendar has.
fn day(year: u16, month: u16, day: u16) -> Option<Date> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return None,
    };
    let is_day = (1..=days).contains(&day) && year > 0;
    is_day.then_some(Date::Certain { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? })
}

fn number(digits: &str) -> Option<u16> {
    let is_number = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

fn full_year(digits: &str) -> Option<u16> {
    match (digits.len(), number(digits)?) {
        (4, year) => Some(year),
        (2, year @ 69..) => Some(1900 + year),
        (2, year) => Some(2000 + year),
        _ => None,
    }
}

fn month_number(word: &str) -> String {
    month_named(word).map_or_else(|| word.to_owned(), |month| month.to_string())
}

fn month_named(word: &str) -> Option<usize> {
    let word = if word == "sept" { "sep" } else { word };
    MONTHS.iter().position(|month| *month == word || month.get(..3) == Some(word)).map(|at| at + 1)
}

/// A day without the ending of `1st`, `2nd`, `3rd`, `4th`.
fn ordinal(word: &str) -> &str {
    ["st", "nd", "rd", "th"].iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unstated(text: &str) -> Option<Date> {
        read(text, DateOrder::Unstated)
    }

    #[test]
    fn one_day_has_many_spellings() {
        let day = Some(Date::Certain { year: 2024, month: 3, day: 12 });
        for text in [
            "2024-03-12",
            "2024/3/12",
            "20240312",
            "12.03.2024",
            "12.3.24",
            "12 March 2024",
            "March 12, 2024",
            "Mar 12th, 2024",
            "12-MAR-2024",
            "2024-Mar-12",
            "2024-03-12T00:00:00Z",
        ] {
            assert_eq!(unstated(text), day, "{text}");
        }
        assert_eq!(unstated("13/03/2024"), unstated("2024-03-13"), "no month is the thirteenth");
        assert_eq!(unstated("03/13/2024"), unstated("2024-03-13"));
        assert_eq!(unstated("04/04/2024"), unstated("2024-04-04"), "the same either way");
    }

    #[test]
    fn what_can_be_two_days_is_neither_until_somebody_says_so() {
        assert_eq!(unstated("03/04/2024"), unstated("3-4-24"));
        assert_ne!(unstated("03/04/2024"), unstated("04/03/2024"));
        assert_ne!(unstated("03/04/2024"), unstated("2024-04-03"));
        assert_eq!(read("03/04/2024", DateOrder::DayFirst), unstated("2024-04-03"));
        assert_eq!(read("03/04/2024", DateOrder::MonthFirst), unstated("2024-03-04"));
    }

    #[test]
    fn what_is_no_day_is_none() {
        for text in [
            "",
            "2024",
            "2023-02-29",
            "2024-13-01",
            "31.04.2024",
            "0000-01-01",
            "1/2",
            "12 12 March 2024",
            "March March 2024",
            "2024-03-12T10:15:00Z",
            "1.2.3",
            "99999999",
            "१२.०३.२०२४",
            "12345678901234567890-1-1",
        ] {
            assert_eq!(unstated(text), None, "{text}");
        }
    }
}
