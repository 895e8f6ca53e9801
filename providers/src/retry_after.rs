//! How long a vendor asks us to wait, in every form in which vendors say it.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

/// Hints beyond this are kept as this: nobody waits longer inside a request, and callers are told to come back.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Reads `retry-after-ms`, then `retry-after` as seconds, as a date against the reply's own clock, or as a duration
/// such as `1m2.5s`. Anything else, and dates that have passed, count as no hint.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    if let Some(wait) = text("retry-after-ms").and_then(|ms| seconds(ms, 1e3)) {
        return Some(wait);
    }
    let hint = text("retry-after")?;
    if let Ok(date) = httpdate::parse_http_date(hint) {
        let now = text("date").and_then(|now| httpdate::parse_http_date(now).ok()).unwrap_or_else(SystemTime::now);
        return date.duration_since(now).ok().map(|wait| wait.min(LONGEST));
    }
    span(hint)
}

/// A span in seconds, or as Go prints it.
pub(crate) fn span(text: &str) -> Option<Duration> {
    seconds(text, 1.0).or_else(|| compound(text))
}

/// A non-negative decimal number of `1 / per_second` seconds.
fn seconds(text: &str, per_second: f64) -> Option<Duration> {
    let value: f64 = text.parse().ok()?;
    (value.is_finite() && value >= 0.0)
        .then(|| Duration::try_from_secs_f64(value / per_second).unwrap_or(LONGEST).min(LONGEST))
}

/// Durations as Go prints them: `6m0s`, `1m2.5s`, `120ms`.
fn compound(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let number_ends = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_ends);
        let unit_ends = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_ends);
        let factor = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = tail;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(total).unwrap_or(LONGEST).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_hint_is_understood() {
        let check = |pairs: &[(&'static str, &'static str)], expected: Option<u64>| {
            let headers =
                pairs.iter().map(|(name, value)| ((*name).parse().expect("name"), value.parse().expect("value")));
            let wait = retry_after(&headers.collect::<HeaderMap>());
            assert_eq!(wait, expected.map(Duration::from_millis), "{pairs:?}");
        };
        check(&[("retry-after", "2")], Some(2000));
        check(&[("retry-after", "0.5")], Some(500));
        check(&[("retry-after-ms", "120"), ("retry-after", "9")], Some(120));
        check(&[("retry-after", "1m2.5s")], Some(62_500));
        check(&[("retry-after", "120ms")], Some(120));
        check(
            &[("retry-after", "Fri, 20 Nov 2026 10:00:05 GMT"), ("date", "Fri, 20 Nov 2026 10:00:00 GMT")],
            Some(5000),
        );
        check(&[("retry-after", "Fri, 20 Nov 2020 10:00:05 GMT")], None);
        check(&[("retry-after", "1e300")], Some(7 * 24 * 3_600_000));
        check(&[("retry-after", "-3")], None);
        check(&[("retry-after", "soon")], None);
        check(&[("retry-after", "")], None);
        check(&[], None);
    }
}
