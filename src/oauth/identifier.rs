//! The name of an issuer or of a protected resource: an address that is kept exactly as it is written.
//!
//! Both are compared as texts, character by character, so a parser must not tidy them up: to some issuers a slash at the
//! end belongs, to others it does not.

use std::fmt;

use url::{Host, Url};

/// The longest name that is taken.
const LONGEST: usize = 512;

/// An https address without query or fragment, and http only on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier {
    text: String,
    url: Url,
}

/// Why a text is no [`Identifier`], or an address none to fetch keys from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit(&'static str);

impl fmt::Display for Unfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for Unfit {}

impl Identifier {
    /// Takes a name as it is written.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        // Whatever else could stand in an address is written in percent signs, or would be tidied up by a parser.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !br#""\<>`{}|^"#.contains(&byte));
        if !is_plain || text.is_empty() || text.len() > LONGEST {
            return Err(Unfit("it must be an address of at most 512 plain characters"));
        }
        let url =
            Url::parse(text).map_err(|_| Unfit("it must be a whole address, such as https://auth.example.com"))?;
        secured(&url)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Unfit("it must have neither `?` nor `#`"));
        }
        Ok(Self { text: text.to_owned(), url })
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where it leads, for making other addresses of it; not for comparing.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Every way to write this name that clients are known to use for the same place: one without a path has a twin with
    /// a slash at its end.
    #[must_use]
    pub fn spellings(&self) -> Vec<String> {
        let text = self.text.clone();
        match text.strip_suffix('/') {
            _ if self.url.path() != "/" => vec![text],
            Some(bare) => vec![bare.to_owned(), text],
            None => vec![format!("{text}/"), text],
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

/// Whether keys and documents about them may come from there.
pub(super) fn secured(url: &Url) -> Result<(), Unfit> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Unfit("it must hold no user name or password"));
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        _ => Err(Unfit("it must be https; http is for this machine only")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_as_it_is_written() {
        for text in ["https://a.example", "https://a.example/", "https://A.example/T/", "http://127.0.0.1:9/x"] {
            assert_eq!(Identifier::parse(text).expect(text).as_str(), text);
        }
    }

    #[test]
    fn what_is_no_safe_address_is_refused() {
        let long = format!("https://a.example/{}", "x".repeat(500));
        let unfit =
            ["", "a.example", "http://a.example", "ftp://a.example", "https://u:p@a.example", "https://a.example?x"];
        let odd = [
            "https://a.example#x",
            " https://a.example",
            "https://a.example/\"",
            "https://ä.example",
            "http://10.0.0.1",
        ];
        for text in
            unfit.into_iter().chain(odd).chain([long.as_str(), "https:\\\\a.example", "http://localhost.example"])
        {
            assert!(Identifier::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_name_without_a_path_has_two_spellings() {
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(Identifier::parse(text).expect(text).spellings(), expected);
        };
        check("https://a.example", &["https://a.example/", "https://a.example"]);
        check("https://a.example/", &["https://a.example", "https://a.example/"]);
        check("https://a.example/mcp", &["https://a.example/mcp"]);
        check("https://a.example/mcp/", &["https://a.example/mcp/"]);
    }
}
