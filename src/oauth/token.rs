//! A bearer token taken apart: a signed JWT in compact form (RFC 7515), held to what RFC 8725 and RFC 9068 ask of its head.
//!
//! What is read here is not believed yet. Of the head, only the names of the algorithm and of the key are used: keys and
//! addresses of keys that a token brings along are never looked at.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::keys;
use super::rejection::Rejection;

/// Longer tokens are not looked at: a signed token of people with many groups has 4 KiB.
const LONGEST: usize = 8 << 10;
/// The types of token that are taken, in any case. Tokens of another kind by the same issuer, such as those for logging
/// out, say so.
const TYPES: [&str; 3] = ["at+jwt", "application/at+jwt", "JWT"];

/// A token in its parts. It has no `Debug`, so that nobody writes one down by accident.
pub(super) struct Token<'a> {
    header: Header,
    /// What the signature is of.
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default)]
    crit: Value,
}

impl<'a> Token<'a> {
    /// Takes a token apart. One that nobody could verify is refused at once, before any key is asked for.
    pub(super) fn read(text: &'a str) -> Result<Self, Rejection> {
        if text.len() > LONGEST {
            return Err(Rejection::Malformed("the token is longer than 8 KiB"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(NO_JWT)?;
        let (header, payload) = signed.split_once('.').ok_or(NO_JWT)?;
        let header: Header = parsed(header)?;
        if !keys::is_accepted(&header.alg) {
            return Err(Rejection::Malformed("the token is signed in a way that is not accepted"));
        }
        if !header.crit.is_null() {
            return Err(Rejection::Malformed("the token asks for extensions that are not known"));
        }
        if header.typ.as_ref().is_some_and(|typ| !TYPES.iter().any(|taken| typ.eq_ignore_ascii_case(taken))) {
            return Err(Rejection::Malformed("the token is none for access"));
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| NO_JWT)?;
        Ok(Self { header, signed, payload, signature })
    }

    /// The algorithm that it says it is signed with.
    pub(super) fn algorithm(&self) -> &str {
        &self.header.alg
    }

    /// The name of the key that it says it is signed with.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    pub(super) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What it claims, as JSON.
    pub(super) fn payload<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        parsed(self.payload)
    }
}

const NO_JWT: Rejection = Rejection::Malformed("the token is no signed JWT");

fn parsed<T: DeserializeOwned>(part: &str) -> Result<T, Rejection> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| NO_JWT)?;
    serde_json::from_slice(&bytes).map_err(|_| NO_JWT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(header: &str, payload: &str) -> String {
        [header, payload, "signature"].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    #[test]
    fn heads_of_access_tokens_are_taken() {
        let taken = [
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"ES256","typ":"at+jwt","kid":"1"}"#,
            r#"{"alg":"EdDSA","typ":"application/at+JWT","x":[1]}"#,
            r#"{"alg":"PS512","typ":"jwt","crit":null}"#,
        ];
        for header in taken {
            assert!(Token::read(&text(header, "{}")).is_ok(), "{header}");
        }
    }

    #[test]
    fn other_heads_are_refused() {
        let refused = [
            r"{}",
            r"[]",
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"rs256"}"#,
            r#"{"alg":""}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","alg":"none"}"#,
            r#"{"alg":"RS256","kid":7}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","crit":["b64"],"b64":false}"#,
            r#"{"alg":"RS256","typ":"logout+jwt"}"#,
            r#"{"alg":"RS256","typ":"dpop+jwt"}"#,
            r#"{"alg":"RS256","typ":""}"#,
        ];
        for header in refused {
            assert!(matches!(Token::read(&text(header, "{}")), Err(Rejection::Malformed(_))), "{header}");
        }
    }

    #[test]
    fn what_is_no_jwt_is_refused() {
        let good = text(r#"{"alg":"RS256"}"#, "{}");
        let padded = format!("{good}=");
        let refused =
            ["", ".", "..", "...", "a.b.c", "opaque", &good[1..], &padded, &format!("{good}.x"), &format!(".{good}")];
        for text in refused {
            assert!(Token::read(text).is_err(), "{text}");
        }
        let payloads = ["", "null", "[]", "{", "\"x\"", "\u{feff}{}"];
        for payload in payloads {
            let text = text(r#"{"alg":"RS256"}"#, payload);
            let token = Token::read(&text).expect("a head");
            assert!(token.payload::<serde_json::Map<String, Value>>().is_err(), "{payload}");
        }
    }

    #[test]
    fn the_longest_token_has_8_kib() {
        let text = text(r#"{"alg":"RS256"}"#, &"x".repeat(8 << 10));
        let (head, rest) = text.split_at(8 << 10);
        assert!(!matches!(Token::read(head), Err(Rejection::Malformed(text)) if text.contains("8 KiB")));
        let longer = format!("{head}{}", &rest[..1]);
        assert!(matches!(Token::read(&longer), Err(Rejection::Malformed(text)) if text.contains("8 KiB")));
    }
}
