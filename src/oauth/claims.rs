//! What a token claims, held against what we ask for. By now its signature has been found good.

use std::time::Duration;

use serde_json::{Map, Value};

use super::rejection::Rejection;
use super::settings::Settings;
use super::token::Token;

/// What a token claims.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn of(token: &Token<'_>) -> Result<Self, Rejection> {
        token.payload().map(Self)
    }

    /// Whether the token is by our issuer, for us, and for now.
    pub(super) fn check(&self, settings: &Settings, now: Duration) -> Result<(), Rejection> {
        // Compared as texts: the same address in another spelling is another issuer (RFC 9207, RFC 3986 6.2.1).
        if self.text("iss") != Some(settings.issuer.as_str()) {
            return Err(Rejection::WrongIssuer);
        }
        if !self.audience().any(|name| settings.audience.iter().any(|ours| ours == name)) {
            return Err(Rejection::WrongAudience);
        }
        let expires = self.date("exp")?.ok_or(Rejection::Malformed("the token does not say when it expires"))?;
        if expires.saturating_add(settings.leeway) <= now {
            return Err(Rejection::Expired);
        }
        for begins in [self.date("nbf")?, self.date("iat")?].into_iter().flatten() {
            if now.saturating_add(settings.leeway) < begins {
                return Err(Rejection::NotYet);
            }
        }
        Ok(())
    }

    /// A claim that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// What was granted, in either of the two claims in which issuers say so, as one text or as a list.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        let claims = ["scope", "scp"].into_iter().filter_map(|name| self.0.get(name));
        claims.flat_map(texts).flat_map(|text| text.split(' '))
    }

    fn audience(&self) -> impl Iterator<Item = &str> {
        self.0.get("aud").into_iter().flat_map(texts)
    }

    /// A claim that is a date, in seconds since 1970.
    fn date(&self, name: &str) -> Result<Option<Duration>, Rejection> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let whole = value.as_u64().map(Duration::from_secs);
        let date = whole.or_else(|| Duration::try_from_secs_f64(value.as_f64()?).ok());
        date.map(Some).ok_or(Rejection::Malformed("a date in the token is none"))
    }
}

/// The texts in a claim that holds one or a list of them.
fn texts(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    list.iter().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::identifier::Identifier;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn settings() -> Settings {
        let parse = |text| Identifier::parse(text).expect(text);
        Settings::new(parse("https://auth.example/"), &parse("https://x.example/mcp"))
    }

    fn good() -> Value {
        json!({ "iss": "https://auth.example/", "aud": "https://x.example/mcp", "exp": NOW + 300, "sub": "ada" })
    }

    /// What is said of good claims with these over them; null takes one away.
    fn checked(changes: &Value) -> Result<(), Rejection> {
        let mut claims = good().as_object().expect("an object").clone();
        claims.extend(changes.as_object().expect("an object").clone());
        claims.retain(|_, value| !value.is_null());
        Claims(claims).check(&settings(), Duration::from_secs(NOW))
    }

    #[test]
    fn good_claims_are_good() {
        for changes in
            [json!({}), json!({ "nbf": NOW, "iat": NOW - 5 }), json!({ "aud": ["y", "https://x.example/mcp"] })]
        {
            assert_eq!(checked(&changes), Ok(()), "{changes}");
        }
    }

    #[test]
    fn the_issuer_is_compared_character_by_character() {
        let other =
            [json!("https://auth.example"), json!("https://AUTH.example/"), json!(["https://auth.example/"]), json!(7)];
        for iss in other.into_iter().chain([Value::Null, json!("")]) {
            assert_eq!(checked(&json!({ "iss": iss })), Err(Rejection::WrongIssuer), "{iss}");
        }
    }

    #[test]
    fn a_token_for_somebody_else_is_refused() {
        let other = [
            json!("https://x.example/mcp/"),
            json!("https://x.example"),
            json!([]),
            json!([["https://x.example/mcp"]]),
        ];
        for aud in other.into_iter().chain([Value::Null, json!(""), json!({ "https://x.example/mcp": 1 })]) {
            assert_eq!(checked(&json!({ "aud": aud })), Err(Rejection::WrongAudience), "{aud}");
        }
    }

    #[test]
    fn dates_have_a_minute_of_leeway_and_not_a_second_more() {
        let check =
            |changes: Value, expected: Result<(), Rejection>| assert_eq!(checked(&changes), expected, "{changes}");
        check(json!({ "exp": NOW - 59 }), Ok(()));
        check(json!({ "exp": NOW - 60 }), Err(Rejection::Expired));
        check(json!({ "exp": 1_799_999_940.5 }), Ok(()));
        check(json!({ "exp": 0 }), Err(Rejection::Expired));
        check(json!({ "exp": u64::MAX }), Ok(()));
        check(json!({ "nbf": NOW + 60 }), Ok(()));
        check(json!({ "nbf": NOW + 61 }), Err(Rejection::NotYet));
        check(json!({ "iat": NOW + 60 }), Ok(()));
        check(json!({ "iat": NOW + 61 }), Err(Rejection::NotYet));
        check(json!({ "nbf": u64::MAX }), Err(Rejection::NotYet));
    }

    #[test]
    fn what_is_no_date_is_no_token() {
        for date in [json!("1800000300"), json!(-1), json!(1e300), json!([NOW]), json!(true), json!({})] {
            for name in ["exp", "nbf", "iat"] {
                let outcome = checked(&json!({ name: date }));
                assert!(matches!(outcome, Err(Rejection::Malformed(_))), "{name} {date}: {outcome:?}");
            }
        }
        assert!(matches!(checked(&json!({ "exp": null })), Err(Rejection::Malformed(_))));
    }

    #[test]
    fn by_a_broken_clock_everything_has_expired() {
        let claims = Claims(good().as_object().expect("an object").clone());
        assert_eq!(claims.check(&settings(), Duration::MAX), Err(Rejection::Expired));
    }

    #[test]
    fn scopes_are_read_however_they_are_written() {
        let check = |claims: Value, expected: &[&str]| {
            let claims = Claims(claims.as_object().expect("an object").clone());
            assert_eq!(claims.scopes().filter(|scope| !scope.is_empty()).collect::<Vec<_>>(), expected);
        };
        check(json!({ "scope": "a b" }), &["a", "b"]);
        check(json!({ "scp": ["a", "b"] }), &["a", "b"]);
        check(json!({ "scp": "a  b" }), &["a", "b"]);
        check(json!({ "scope": ["a"], "scp": "b" }), &["a", "b"]);
        check(json!({ "scope": 7, "scp": { "a": 1 } }), &[]);
        check(json!({}), &[]);
    }
}
