//! Why a token lets nobody in, in the words of RFC 6750.

use std::fmt;

use http::StatusCode;

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// It is not what an access token of any issuer looks like; how not is in the text.
    Malformed(&'static str),
    /// The issuer publishes no such key.
    UnknownKey,
    /// Its signature is not by the key that it names.
    BadSignature,
    Expired,
    /// It is not good yet.
    NotYet,
    WrongIssuer,
    WrongAudience,
    /// It is good, but not for this.
    InsufficientScope,
    /// Nobody can tell, because the issuer's keys cannot be had.
    Unavailable,
}

impl Rejection {
    /// Name, HTTP status, error code of RFC 6750 and what it says to people.
    fn row(self) -> (&'static str, StatusCode, Option<&'static str>, &'static str) {
        let invalid = |name, text| (name, StatusCode::UNAUTHORIZED, Some("invalid_token"), text);
        match self {
            Self::Malformed(text) => invalid("malformed", text),
            Self::UnknownKey => {
                invalid("unknown_key", "the token is signed with a key that our issuer does not publish")
            }
            Self::BadSignature => invalid("bad_signature", "the signature of the token does not fit"),
            Self::Expired => invalid("expired", "the token has expired"),
            Self::NotYet => invalid("not_yet", "the token is not valid yet; the clocks may differ"),
            Self::WrongIssuer => invalid("wrong_issuer", "the token is by another issuer than ours"),
            Self::WrongAudience => invalid("wrong_audience", "the token is meant for somebody else"),
            Self::InsufficientScope => (
                "insufficient_scope",
                StatusCode::FORBIDDEN,
                Some("insufficient_scope"),
                "the token lacks a scope that is needed here",
            ),
            Self::Unavailable => (
                "unavailable",
                StatusCode::SERVICE_UNAVAILABLE,
                None,
                "the keys of the issuer cannot be had at the moment",
            ),
        }
    }

    /// One word of a closed set, for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The status to answer with: 401, 403 or 503.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// The `error` of a challenge; none when the token is not at fault.
    #[must_use]
    pub fn error(self) -> Option<&'static str> {
        self.row().2
    }

    /// What to tell the caller. It repeats nothing of the token.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.row().3
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.description())
    }
}

impl std::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rejection_can_stand_in_a_challenge() {
        let rejections = [
            Rejection::Malformed("the token is no signed JWT"),
            Rejection::UnknownKey,
            Rejection::BadSignature,
            Rejection::Expired,
            Rejection::NotYet,
            Rejection::WrongIssuer,
            Rejection::WrongAudience,
            Rejection::InsufficientScope,
            Rejection::Unavailable,
        ];
        for rejection in rejections {
            let is_allowed = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            assert!(rejection.description().bytes().all(is_allowed), "{rejection}");
            let expected = match rejection.status().as_u16() {
                401 => Some("invalid_token"),
                403 => Some("insufficient_scope"),
                503 => None,
                other => panic!("{rejection} has the status {other}"),
            };
            assert_eq!(rejection.error(), expected);
        }
    }
}
