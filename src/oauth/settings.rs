//! Whose tokens count, and what has to stand in them.

use std::time::Duration;

use url::Url;

use super::identifier::{Identifier, secured};

/// More leeway than this is no difference between clocks any more.
const MOST_LEEWAY: Duration = Duration::from_mins(10);

/// Whose tokens count, and what has to stand in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who signs the tokens, exactly as its own documents and the tokens write it.
    pub issuer: Identifier,
    /// Names under which tokens are meant for us; one of them has to stand in `aud`.
    pub audience: Vec<String>,
    /// Where the issuer's keys are; its own documents say so when this is absent.
    pub jwks: Option<Url>,
    /// Scopes that a token needs, all of them. None implies another.
    pub scopes: Vec<String>,
    /// The claim that says who is calling. A name that people can change or that nobody verified, as `email` is with many
    /// issuers, is none to tell callers apart by.
    pub name_claim: String,
    /// How far the clocks of issuer and gateway may differ.
    pub leeway: Duration,
    /// A proxy on the way to the issuer; those of the environment are not used, and this machine is reached without one.
    pub proxy: Option<Url>,
}

/// One thing that is wrong with settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The field of [`Settings`].
    pub key: &'static str,
    pub message: &'static str,
}

impl Settings {
    /// What is recommended for tokens of this issuer that are meant for this resource.
    #[must_use]
    pub fn new(issuer: Identifier, resource: &Identifier) -> Self {
        Self {
            issuer,
            audience: resource.spellings(),
            jwks: None,
            scopes: Vec::new(),
            name_claim: "sub".to_owned(),
            leeway: Duration::from_mins(1),
            proxy: None,
        }
    }

    /// Everything that is wrong, for the operator to read. Nobody gets in by wrong settings; they only keep everybody out.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let no_audience = self.audience.is_empty() || self.audience.iter().any(String::is_empty);
        let checks = [
            ("audience", no_audience, "it must name what tokens are meant for, such as https://mcp.example.com/mcp"),
            (
                "jwks",
                self.jwks.as_ref().is_some_and(|url| secured(url).is_err()),
                "it must be https, without a password",
            ),
            (
                "scopes",
                !self.scopes.iter().all(|scope| is_scope(scope)),
                "a scope has no spaces, quotes or backslashes",
            ),
            ("name_claim", self.name_claim.is_empty(), "it must name a claim, such as `sub`"),
            ("leeway", self.leeway > MOST_LEEWAY, "it must be at most 10 minutes"),
        ];
        checks
            .into_iter()
            .filter(|(_, is_wrong, _)| *is_wrong)
            .map(|(key, _, message)| Fault { key, message })
            .collect()
    }
}

/// Whether this is one scope by the grammar of RFC 6749, section 3.3.
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let parse = |text| Identifier::parse(text).expect(text);
        Settings::new(parse("https://auth.example.com"), &parse("https://mcp.example.com/mcp"))
    }

    #[test]
    fn what_is_recommended_has_no_faults() {
        assert_eq!(settings().faults(), []);
        assert_eq!(settings().audience, ["https://mcp.example.com/mcp"]);
    }

    #[test]
    fn all_faults_are_found_in_one_look() {
        let wrong = Settings {
            audience: vec![String::new()],
            jwks: Some("http://keys.example.com".parse().expect("a url")),
            scopes: vec!["vision read".to_owned()],
            name_claim: String::new(),
            leeway: Duration::from_secs(601),
            ..settings()
        };
        let keys: Vec<&str> = wrong.faults().into_iter().map(|fault| fault.key).collect();
        assert_eq!(keys, ["audience", "jwks", "scopes", "name_claim", "leeway"]);
    }
}
