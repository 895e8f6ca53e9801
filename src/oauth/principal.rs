//! Who is calling, under a name that is safe wherever names go.

use std::fmt::Write as _;

use super::claims::Claims;
use super::rejection::Rejection;
use super::settings::{Settings, is_scope};

/// A longer subject, as it is written below, goes by its digest.
const LONGEST: usize = 128;

/// Somebody whose token was found good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// `SUBJECT@ISSUER`, with anything unusual in the subject in percent signs. No two callers have the same one, whatever
    /// they call themselves; it has no spaces or controls and at most 641 characters. There can be very many of them, so
    /// it is nothing to label metrics with.
    pub name: String,
    /// What was granted to them.
    pub scopes: Vec<String>,
}

impl Principal {
    /// Whom these claims stand for, if what was granted to them is enough.
    pub(super) fn of(claims: &Claims, settings: &Settings) -> Result<Self, Rejection> {
        let subject = claims.text(&settings.name_claim).filter(|subject| !subject.is_empty());
        let subject = subject.ok_or(Rejection::Malformed("the token does not say whom it stands for"))?;
        let scopes: Vec<String> = claims.scopes().filter(|scope| is_scope(scope)).map(str::to_owned).collect();
        if !settings.scopes.iter().all(|needed| scopes.contains(needed)) {
            return Err(Rejection::InsufficientScope);
        }
        // Subjects are unique with their issuer only (RFC 7519, section 4.1.2).
        Ok(Self { name: format!("{}@{}", written(subject), settings.issuer), scopes })
    }
}

/// A subject in characters that mean nothing anywhere. `@` and `#` stand for nothing but themselves, so that no subject
/// can be written like another one, with or without its issuer.
fn written(subject: &str) -> String {
    let mut name = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            name.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
        if name.len() > LONGEST {
            return format!("#{}", blake3::hash(subject.as_bytes()).to_hex());
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_subjects_are_written_alike() {
        let (long, longer) = ("x".repeat(128), "x".repeat(129));
        let digest = format!("#{}", blake3::hash(longer.as_bytes()).to_hex());
        let check = |subject: &str, expected: &str| assert_eq!(written(subject), expected);
        check("248289761001", "248289761001");
        check("auth0|65f0", "auth0%7C65f0");
        check("ada@example.com", "ada%40example.com");
        check("ada%40example.com", "ada%2540example.com");
        check("Ädä\r\n\u{202e}", "%C3%84d%C3%A4%0D%0A%E2%80%AE");
        check("a b", "a%20b");
        check("a_b", "a_b");
        check(&long, &long);
        check(&longer, &digest);
        check(&digest, &format!("%23{}", &digest[1..]));
        assert!(written(&"ä".repeat(4000)).len() == digest.len());
    }
}
