//! Media types in headers, which have no case and may carry parameters.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

/// Whether a body is said to be of this type.
pub(super) fn is(headers: &HeaderMap, kind: &str) -> bool {
    let said = headers.get(CONTENT_TYPE).and_then(|said| said.to_str().ok());
    said.is_some_and(|said| essence(said).eq_ignore_ascii_case(kind))
}

/// Whether an answer of one of these types is said to be taken; `None` where nothing is said of any.
pub(super) fn takes(headers: &HeaderMap, kinds: &[&str]) -> Option<bool> {
    let mut said = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|said| said.to_str().ok())
        .flat_map(|said| said.split(','))
        .peekable();
    said.peek()?;
    Some(said.any(|range| !is_refused(range) && kinds.iter().any(|kind| essence(range).eq_ignore_ascii_case(kind))))
}

fn essence(said: &str) -> &str {
    said.split(';').next().unwrap_or_default().trim()
}

/// Whether a range is named to say that it is not wanted: `q=0`.
fn is_refused(range: &str) -> bool {
    let mut parameters = range.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    parameters.any(|(name, value)| name.trim().eq_ignore_ascii_case("q") && value.trim().parse() == Ok(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_type_has_no_case_and_may_have_parameters() {
        let check = |said: &'static str, expected| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(said))]);
            assert_eq!(is(&headers, "application/json"), expected, "{said}");
        };
        check("application/json", true);
        check("Application/JSON; charset=UTF-8", true);
        check(" application/json ;x", true);
        check("application/json-seq", false);
        check("text/plain; application/json", false);
        assert!(!is(&HeaderMap::new(), "application/json"));
    }

    #[test]
    fn what_is_taken_stands_in_any_header_and_any_order() {
        let check = |said: &[&'static str], expected| {
            let headers: HeaderMap = said.iter().map(|said| (ACCEPT, HeaderValue::from_static(said))).collect();
            assert_eq!(takes(&headers, &["text/event-stream", "text/*"]), expected, "{said:?}");
        };
        check(&[], None);
        check(&["application/json, Text/Event-Stream;q=0.5"], Some(true));
        check(&["application/json", "TEXT/*"], Some(true));
        check(&["application/json", "text/event-stream; Q=0.0"], Some(false));
        check(&["text/html"], Some(false));
    }
}
