//! How many calls a vendor still takes before its limit renews, in the headers in which vendors say it.
//!
//! Only what comes with a time is believed: a count without one says nothing about later.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::retry_after::span;

/// What is left of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Calls that are still taken.
    pub calls: u64,
    /// When there are more.
    pub renewed_in: Duration,
}

/// The names of the headers for requests and for tokens: what is left, and when it renews.
const REQUESTS: [(&str, &str); 4] = [
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
];
const TOKENS: [(&str, &str); 4] = [
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
];
/// Windows of this vendor are minutes of the clock, and it does not say when they end.
const BY_MINUTE: [&str; 2] = ["x-ratelimit-remaining-req-minute", "x-ratelimit-remaining-tokens-minute"];
/// A limit that renews later than this is no matter of patience: it is told when it is met.
const LONGEST: Duration = Duration::from_hours(1);

/// Reads what is left. Where several limits are told, the one that is used up counts, else that of requests.
#[must_use]
pub fn allowance(headers: &HeaderMap) -> Option<Allowance> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let now = text("date").and_then(|now| httpdate::parse_http_date(now).ok()).unwrap_or_else(SystemTime::now);
    let count = |name: &str| text(name)?.parse::<u64>().ok();
    let told = |(left, reset): (&str, &str)| {
        let renewed_in = renewal(text(reset)?, now).filter(|wait| *wait <= LONGEST)?;
        Some(Allowance { calls: count(left)?, renewed_in })
    };
    let mut tokens = TOKENS.into_iter().filter_map(told);
    let minute = rest_of_the_minute(now);
    let [requests_left, tokens_left] = BY_MINUTE.map(count);
    let spent = tokens.find(|tokens| tokens.calls == 0);
    let spent = spent.or_else(|| (tokens_left == Some(0)).then_some(Allowance { calls: 0, renewed_in: minute }));
    let by_minute = || requests_left.map(|calls| Allowance { calls, renewed_in: minute });
    spent.or_else(|| REQUESTS.into_iter().find_map(told)).or_else(by_minute)
}

fn rest_of_the_minute(now: SystemTime) -> Duration {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(60 - since.as_secs() % 60)
}

/// When a limit renews: a span, a time of RFC 3339, or seconds or milliseconds since 1970.
fn renewal(text: &str, now: SystemTime) -> Option<Duration> {
    let at = match text.parse::<u64>() {
        Ok(number) if number > 1_000_000_000_000 => Some(SystemTime::UNIX_EPOCH + Duration::from_millis(number)),
        Ok(number) if number > 1_000_000_000 => Some(SystemTime::UNIX_EPOCH + Duration::from_secs(number)),
        _ => humantime::parse_rfc3339_weak(text).ok(),
    };
    match at {
        Some(at) => Some(at.duration_since(now).unwrap_or_default()),
        None => span(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendors_form_is_understood() {
        let check = |pairs: &[(&'static str, &'static str)], expected: Option<(u64, u64)>| {
            let date = ("date", "Fri, 20 Nov 2026 10:00:15 GMT");
            let pairs = pairs.iter().chain([&date]);
            let headers = pairs.map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value")));
            let headers: HeaderMap = headers.collect();
            let found = allowance(&headers);
            let expected = expected.map(|(calls, ms)| Allowance { calls, renewed_in: Duration::from_millis(ms) });
            assert_eq!(found, expected, "{headers:?}");
        };
        check(&[], None);
        check(
            &[("x-ratelimit-remaining-requests", "59"), ("x-ratelimit-reset-requests", "1m0.5s")],
            Some((59, 60_500)),
        );
        check(
            &[
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-reset-requests", "120ms"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "6s"),
            ],
            Some((0, 6000)),
        );
        check(
            &[
                ("anthropic-ratelimit-requests-remaining", "3"),
                ("anthropic-ratelimit-requests-reset", "2026-11-20T10:00:20Z"),
            ],
            Some((3, 5000)),
        );
        check(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795168817000")], Some((0, 2000)));
        check(&[("ratelimit-remaining", "1"), ("ratelimit-reset", "7")], Some((1, 7000)));
        check(&[("x-ratelimit-remaining-req-minute", "4")], Some((4, 45_000)));
        check(
            &[("x-ratelimit-remaining-req-minute", "4"), ("x-ratelimit-remaining-tokens-minute", "0")],
            Some((0, 45_000)),
        );
        check(&[("x-ratelimit-remaining-requests", "3")], None);
        check(&[("x-ratelimit-remaining-requests", "-3"), ("x-ratelimit-reset-requests", "1s")], None);
        check(&[("x-ratelimit-remaining-requests", "3"), ("x-ratelimit-reset-requests", "soon")], None);
        check(&[("x-ratelimit-remaining-requests", "3"), ("x-ratelimit-reset-requests", "24h")], None);
    }
}
