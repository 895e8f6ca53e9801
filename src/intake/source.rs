//! What a caller may name as an image, told apart by its spelling alone.

use url::Url;

use super::spelling::{is_on_drive, unwrapped};
use super::uploads;
use crate::failure::{Code, Failure, Result};

/// Where an image is said to be. Nothing has been opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source<'a> {
    /// A path of this machine, as written.
    Path(String),
    Url(Url),
    /// The part of a data URI behind `data:`, whole, where it stands: it may have many megabytes.
    Data(&'a str),
    Stdin,
    /// The handle of an image that was sent ahead.
    Upload(String),
    /// The image, or the file, that was copied last on this machine.
    Clipboard,
    /// The newest image of the folders that are kept for it; or the second newest, and so on.
    Latest(usize),
}

impl<'a> Source<'a> {
    /// Tells a source by its spelling. Forgives what people and models wrap around paths. A file that is called
    /// `clipboard` or `latest` is named by `./clipboard`, as one that is called `-` is by `./-`.
    ///
    /// # Errors
    /// `INVALID_INPUT` when the text cannot name an image.
    pub fn parse(text: &'a str) -> Result<Self> {
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
        // Clients that read resources know a handle by the address of its resource.
        let handle = text.strip_prefix(uploads::RESOURCE).unwrap_or(text);
        if is_handle(handle) {
            return Ok(Self::Upload(handle.to_owned()));
        }
        if text.eq_ignore_ascii_case("clipboard") {
            return Ok(Self::Clipboard);
        }
        if let Some(rank) = latest(text) {
            return rank.map(Self::Latest);
        }
        match scheme(text).as_deref() {
            Some("data") => Ok(Self::Data(&text[5..])),
            Some("file") => file_path(text).and_then(path),
            Some("http" | "https") => parse_url(text).map(Self::Url),
            Some(scheme) => {
                Err(Failure::new(Code::UrlBlocked, format!("images are not taken from `{scheme}:` addresses"))
                    .advise("use an https URL, a path or a data URI"))
            }
            None => path(text.to_owned()),
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
            Self::Clipboard => "clipboard",
            Self::Latest(_) => "latest",
        }
    }
}

fn path(text: String) -> Result<Source<'static>> {
    const LONGEST: usize = 8 << 10;
    if text.len() > LONGEST {
        let message = format!("reading the image argument: {} bytes are too long for a path", text.len());
        let advice = "write base64 as `data:image/png;base64,…`, or better, give a path or an https URL";
        return Err(Failure::invalid(message).advise(advice));
    }
    Ok(Source::Path(text))
}

/// Whether a text looks like a handle of ours; a file of such a name can be written as `./img_…`.
fn is_handle(text: &str) -> bool {
    let random = text.strip_prefix(uploads::PREFIX).unwrap_or_default();
    random.len() >= 16 && random.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// `latest`, or `latest:2` for the one before it.
fn latest(text: &str) -> Option<Result<usize>> {
    const OLDEST: usize = 10;
    let (word, rank) = text.split_once(':').unwrap_or((text, "1"));
    if !word.eq_ignore_ascii_case("latest") || !rank.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let rank = rank.parse().ok().filter(|rank| (1..=OLDEST).contains(rank));
    Some(rank.ok_or_else(|| Failure::invalid(format!("reading `latest:N`: N is a number from 1 to {OLDEST}"))))
}

/// A URL scheme in lower case, when the text begins like one. One letter and a colon are a Windows drive.
fn scheme(text: &str) -> Option<String> {
    const LONGEST: usize = 20;
    let (head, rest) = text.split_once(':')?;
    let is_scheme =
        (2..=LONGEST).contains(&head.len()) && head.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let scheme = is_scheme.then(|| head.to_ascii_lowercase())?;
    let is_address = match scheme.as_str() {
        "data" => true,
        "file" => rest.starts_with('/'),
        _ => rest.starts_with("//"),
    };
    is_address.then_some(scheme)
}

fn parse_url(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| Failure::invalid(format!("reading the image's URL: {error}")))
}

fn file_path(text: &str) -> Result<String> {
    let rest = text.get("file://".len()..).unwrap_or_default();
    // No URI, but models write it.
    if ["~/", "./", "../", "$HOME/"].iter().any(|head| rest.starts_with(head)) {
        return Ok(rest.to_owned());
    }
    // What begins a query or a fragment elsewhere is a part of the name here, and seldom escaped.
    let url = parse_url(&text.replace('?', "%3F").replace('#', "%23"))?;
    let host = url.host_str().unwrap_or_default();
    // What Windows calls the files of the Linux inside of it.
    if ["wsl.localhost", "wsl$"].contains(&host) {
        return Ok(format!("//{host}{}", url.path()));
    }
    let path = url.to_file_path().ok().filter(|_| host.is_empty() || host == "localhost");
    let path = path.and_then(|path| path.into_os_string().into_string().ok()).filter(|path| !path.contains('\0'));
    let on_drive = |path: &String| path.strip_prefix('/').filter(|path| is_on_drive(path)).map(str::to_owned);
    path.map(|path| on_drive(&path).unwrap_or(path)).ok_or_else(|| {
        Failure::new(Code::UnsafePath, "reading the image's file: URI: it names no path of this machine")
            .advise("write it as file:///absolute/path")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_by_their_spelling() {
        let path = |text: &str| Source::Path(text.into());
        let check = |text: &str, expected: Source<'_>| assert_eq!(Source::parse(text), Ok(expected), "{text}");
        check("-", Source::Stdin);
        check("a b.png", path("a b.png"));
        check("  \"/tmp/a b.png\" ", path("/tmp/a b.png"));
        check("@/tmp/a.png", path("/tmp/a.png"));
        check("file:///tmp/a%20b.png", path("/tmp/a b.png"));
        check("file://localhost/tmp/a.png", path("/tmp/a.png"));
        check("file:/tmp/a.png", path("/tmp/a.png"));
        check("file:///tmp/a #1?.png", path("/tmp/a #1?.png"));
        check("file:///tmp/a%2520b.png", path("/tmp/a%20b.png"));
        check("file:notes.png", path("file:notes.png"));
        check("C://shots/a.png", path("C://shots/a.png"));
        check("FILE:///tmp/a.png", path("/tmp/a.png"));
        check("<file:///tmp/a.png>", path("/tmp/a.png"));
        check("file://~/a b.png", path("~/a b.png"));
        check("file://./a.png", path("./a.png"));
        check("file://wsl.localhost/Ubuntu/a.png", path("//wsl.localhost/Ubuntu/a.png"));
        check("![shot](https://example.org/a.png)", Source::Url("https://example.org/a.png".parse().expect("a URL")));
        check("C:\\shots\\a.png", path("C:\\shots\\a.png"));
        check("notes: final.png", path("notes: final.png"));
        check("img_0123456789abcdef-_", Source::Upload("img_0123456789abcdef-_".into()));
        check("vision://images/img_0123456789abcdef-_", Source::Upload("img_0123456789abcdef-_".into()));
        check("img_2041.jpeg", path("img_2041.jpeg"));
        check("./img_0123456789abcdef-_", path("./img_0123456789abcdef-_"));
        check("clipboard", Source::Clipboard);
        check("\"Clipboard\"", Source::Clipboard);
        check("./clipboard", path("./clipboard"));
        check("clipboard.png", path("clipboard.png"));
        check("latest", Source::Latest(1));
        check("latest:2", Source::Latest(2));
        check("./latest", path("./latest"));
        check("latest: final.png", path("latest: final.png"));
        check("latest.png", path("latest.png"));
        check("DATA:image/png;base64,AAAA", Source::Data("image/png;base64,AAAA"));
        #[cfg(unix)]
        check("file:///C:/a%20b.png", path("C:/a b.png"));
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
        check("file:///tmp/a%00.png", "UNSAFE_PATH");
        check(&"x".repeat(10_000), "INVALID_INPUT");
        check("latest:0", "INVALID_INPUT");
        check("latest:99999999999999999999999", "INVALID_INPUT");
        check("latest:", "INVALID_INPUT");
    }
}
