//! What a caller may name as an image, told apart by its spelling alone.

use url::Url;

use super::uploads;
use crate::failure::{Code, Failure, Result};

/// Where an image is said to be. Nothing has been opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path of this machine, as written.
    Path(String),
    Url(Url),
    /// The part of a data URI behind `data:`, whole.
    Data(String),
    Stdin,
    /// The handle of an image that was sent ahead.
    Upload(String),
}

impl Source {
    /// Tells a source by its spelling. Forgives what people and models wrap around paths: spaces, quotes, a leading
    /// `@`.
    ///
    /// # Errors
    /// `INVALID_INPUT` when the text cannot name an image.
    pub fn parse(text: &str) -> Result<Self> {
        let text = unwrapped(text);
        if text.is_empty() {
            return Err(Failure::invalid("reading the image argument: it is empty")
                .advise("give an absolute path, an https URL or a data URI; ask the user for one if you have none"));
        }
        if text == "-" {
            return Ok(Self::Stdin);
        }
        if text.contains('\0') {
            return Err(Failure::invalid("reading the image argument: it holds a NUL character"));
        }
        if is_handle(text) {
            return Ok(Self::Upload(text.to_owned()));
        }
        match scheme(text) {
            Some("data") => Ok(Self::Data(text[5..].to_owned())),
            Some("file") => file_path(text).map(Self::Path),
            Some("http" | "https") => parse_url(text).map(Self::Url),
            // One letter and a colon is a Windows drive.
            Some(scheme) if scheme.len() > 1 => {
                Err(Failure::new(Code::UrlBlocked, format!("images are not taken from `{scheme}:` addresses"))
                    .advise("use an https URL, a path or a data URI"))
            }
            _ => placeholder(text).unwrap_or_else(|| Ok(Self::Path(text.to_owned()))),
        }
    }

    /// The word by which answers name this kind of source.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Path(_) => "path",
            Self::Url(_) => "url",
            Self::Data(_) => "data",
            Self::Stdin => "stdin",
            Self::Upload(_) => "upload",
        }
    }
}

fn unwrapped(text: &str) -> &str {
    let mut text = text.trim();
    for quote in ['"', '\'', '`'] {
        text = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).unwrap_or(text).trim();
    }
    text.strip_prefix('@').unwrap_or(text)
}

/// Whether a text looks like a handle of ours; a file of such a name can be written as `./img_…`.
fn is_handle(text: &str) -> bool {
    let random = text.strip_prefix(uploads::PREFIX).unwrap_or_default();
    random.len() >= 16 && random.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// A URL scheme in lower case, when the text begins like one.
fn scheme(text: &str) -> Option<&'static str> {
    const KNOWN: [&str; 4] = ["data", "file", "http", "https"];
    let (head, rest) = text.split_once(':')?;
    let valid = head.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) && !head.is_empty();
    if !valid || (!rest.starts_with("//") && !head.eq_ignore_ascii_case("data")) {
        return None;
    }
    Some(KNOWN.into_iter().find(|known| head.eq_ignore_ascii_case(known)).unwrap_or("other"))
}

fn parse_url(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| Failure::invalid(format!("reading the image's URL: {error}")))
}

fn file_path(text: &str) -> Result<String> {
    let url = parse_url(text)?;
    let local = url.host_str().is_none_or(|host| host.is_empty() || host == "localhost");
    let path = url.to_file_path().ok().filter(|_| local).and_then(|path| path.into_os_string().into_string().ok());
    path.ok_or_else(|| {
        Failure::new(Code::UnsafePath, "reading the image's file: URI: it names no path of this machine")
            .advise("write it as file:///absolute/path")
    })
}

/// `[Image #1]` is how chat programs show an attachment to their model. It is not a path, and models pass it on.
fn placeholder(text: &str) -> Option<Result<Source>> {
    let lower = text.to_lowercase();
    let bracketed = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))?;
    let said = ["image", "screenshot", "unsupported image", "attachment"];
    said.iter().any(|word| bracketed.starts_with(word)).then(|| {
        Err(Failure::invalid(format!("{text} is a placeholder for an attachment, not the image itself"))
            .advise("attachments of a chat do not reach tools: ask the user for the image's file path or https URL"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_by_their_spelling() {
        let path = |text: &str| Source::Path(text.into());
        let check = |text: &str, expected: Source| assert_eq!(Source::parse(text), Ok(expected), "{text}");
        check("-", Source::Stdin);
        check("a b.png", path("a b.png"));
        check("  \"/tmp/a b.png\" ", path("/tmp/a b.png"));
        check("@/tmp/a.png", path("/tmp/a.png"));
        check("file:///tmp/a%20b.png", path("/tmp/a b.png"));
        check("file://localhost/tmp/a.png", path("/tmp/a.png"));
        check("C:\\shots\\a.png", path("C:\\shots\\a.png"));
        check("notes: final.png", path("notes: final.png"));
        check("img_0123456789abcdef-_", Source::Upload("img_0123456789abcdef-_".into()));
        check("img_2041.jpeg", path("img_2041.jpeg"));
        check("./img_0123456789abcdef-_", path("./img_0123456789abcdef-_"));
        check("DATA:image/png;base64,AAAA", Source::Data("image/png;base64,AAAA".into()));
        check("HTTPS://Example.org/a.png", Source::Url("https://example.org/a.png".parse().expect("a URL")));
    }

    #[test]
    fn what_cannot_be_an_image_is_refused_by_code() {
        let check = |text: &str, code: &str| {
            assert_eq!(Source::parse(text).expect_err(text).code.name(), code, "{text}");
        };
        check("", "INVALID_INPUT");
        check("\"\"", "INVALID_INPUT");
        check("a\0b", "INVALID_INPUT");
        check("ftp://example.org/a.png", "URL_BLOCKED");
        check("gopher://example.org/", "URL_BLOCKED");
        check("file://server/share/a.png", "UNSAFE_PATH");
        check("https://", "INVALID_INPUT");
        check("[Image #1]", "INVALID_INPUT");
    }
}
