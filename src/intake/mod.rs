//! The only way to an image: whatever a caller names is opened under guard, told by its bytes, bounded, and fitted.
//!
//! Nothing here knows a provider; the limits to fit to arrive as data.

mod address;
mod container;
mod data_uri;
mod decode;
pub mod fetch;
pub mod fit;
pub mod path;
mod sniff;
pub mod source;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use image::ImageFormat;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};
use vision_providers::image::Digest;

use crate::failure::{Code, Failure, Result};
use crate::intake::decode::Header;
use crate::intake::fetch::{Fetcher, Networks};
use crate::intake::fit::{Fitted, Wish};
use crate::intake::path::{PathPolicy, Roots};
use crate::intake::sniff::Sniffed;
use crate::intake::source::Source;
use crate::intake::workers::Workers;

/// Through which door a call came: it decides which files it may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The person's own command.
    CommandLine,
    /// A program on this machine, over stdio.
    Stdio,
    /// Anybody who reaches the port.
    Http,
}

/// The bounds and folders of intake.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Encoded bytes per image.
    pub max_bytes: usize,
    /// Pixels per image.
    pub max_pixels: u64,
    pub networks: Networks,
    /// What each guarded door may name.
    pub stdio_roots: Roots,
    pub http_roots: Roots,
    pub home: Option<PathBuf>,
    /// Images prepared at once.
    pub threads: usize,
}

/// An image that was opened: its bytes are here and its header is sound. Its pixels are still encoded.
#[derive(Debug, Clone)]
pub struct Picture {
    source: &'static str,
    bytes: Bytes,
    header: Arc<Header>,
    digest: Digest,
}

impl Picture {
    /// The kind of source: `path`, `url`, `data` or `stdin`.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// The format of the original, in lower case.
    #[must_use]
    pub fn format(&self) -> &'static str {
        match self.header.format {
            ImageFormat::Jpeg => "jpeg",
            ImageFormat::Png => "png",
            ImageFormat::WebP => "webp",
            ImageFormat::Gif => "gif",
            ImageFormat::Tiff => "tiff",
            _ => "bmp",
        }
    }

    /// Width and height in pixels, as the picture is meant to be seen.
    #[must_use]
    pub fn size(&self) -> (u32, u32) {
        (self.header.width, self.header.height)
    }

    /// Encoded bytes of the original.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The digest of the original's bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What a caller should know about the file although it can be used.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.header.container.whole {
            warnings.push("the image file is cut short: parts of the picture are missing".into());
        }
        if self.header.container.animated {
            warnings.push("the file holds more than one picture: only the first frame or page was looked at".into());
        }
        warnings
    }
}

/// Opens and fits images.
#[derive(Debug)]
pub struct Intake {
    settings: Settings,
    fetcher: Fetcher,
    workers: Workers,
}

impl Intake {
    /// Intake within these bounds.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let fetcher = Fetcher::new(settings.networks, settings.max_bytes);
        let workers = Workers::new(settings.threads);
        Self { settings, fetcher, workers }
    }

    /// Opens what a caller named.
    ///
    /// # Errors
    /// The codes of sources, paths, URLs, data URIs and headers; nothing has been spent.
    pub async fn open(&self, named: &str, door: Door, deadline: Instant) -> Result<Picture> {
        let source = Source::parse(named)?;
        let kind = source.kind();
        let guarded = (kind == "path").then(|| self.policy(door));
        let bytes = self.read(source, door, deadline).await?;
        let max_pixels = self.settings.max_pixels;
        let cost = bytes.len() as u64;
        let opening = move || {
            let format = recognise(&bytes, guarded.as_ref())?;
            let header = Arc::new(decode::open(&bytes, format, max_pixels)?);
            let digest = Digest::of(&bytes);
            Ok(Picture { source: kind, bytes, header, digest })
        };
        self.workers.run(deadline, cost, opening).await
    }

    /// Makes an image fit a model.
    ///
    /// # Errors
    /// `IMAGE_CORRUPT` when its pixels cannot be decoded, `IMAGE_TOO_LARGE` when it cannot be made small enough.
    pub async fn fit(&self, picture: &Picture, wish: Wish, deadline: Instant) -> Result<Fitted> {
        let (bytes, header) = (picture.bytes.clone(), Arc::clone(&picture.header));
        let max_pixels = self.settings.max_pixels;
        self.workers.run(deadline, header.memory(), move || fit::fit(&bytes, &header, &wish, max_pixels)).await
    }

    async fn read(&self, source: Source, door: Door, deadline: Instant) -> Result<Bytes> {
        let largest = self.settings.max_bytes;
        match source {
            Source::Url(url) => self.fetcher.fetch(url, deadline).await,
            Source::Data(uri) => {
                let cost = uri.len() as u64;
                self.workers.run(deadline, cost, move || data_uri::decode(&uri, largest).map(Bytes::from)).await
            }
            Source::Path(path) => {
                let (policy, home) = (self.policy(door), self.settings.home.clone());
                let reading = move || policy.read(&path, home.as_deref(), largest as u64).map(Bytes::from);
                self.workers.run(deadline, 0, reading).await
            }
            Source::Stdin if door == Door::CommandLine => read_stdin(largest, deadline).await,
            Source::Stdin => Err(Failure::invalid("`-` means standard input, which only the command line has")),
        }
    }

    fn policy(&self, door: Door) -> PathPolicy {
        match door {
            Door::CommandLine => PathPolicy::Own,
            Door::Stdio => PathPolicy::Roots(self.settings.stdio_roots.clone()),
            Door::Http => PathPolicy::Roots(self.settings.http_roots.clone()),
        }
    }
}

/// Tells the format, or refuses. A file of a guarded folder that is nothing like an image is refused in the words for
/// a file that is not there.
fn recognise(bytes: &Bytes, guarded: Option<&PathPolicy>) -> Result<ImageFormat> {
    match (sniff::sniff(bytes), guarded) {
        (Sniffed::Image(format), _) => Ok(format),
        (Sniffed::Other(name), _) => Err(sniff::unsupported(name)),
        (Sniffed::Unknown, Some(policy @ PathPolicy::Roots(_))) => Err(policy.unsafe_path()),
        (Sniffed::Unknown, _) if bytes.is_empty() => Err(Failure::invalid("the image is empty: it has no bytes")),
        (Sniffed::Unknown, _) => {
            let message = "this is not an image: its first bytes are those of no image format";
            Err(Failure::new(Code::UnsupportedFormat, message).advise("use JPEG, PNG, WebP, GIF, TIFF or BMP"))
        }
    }
}

async fn read_stdin(largest: usize, deadline: Instant) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let mut stdin = tokio::io::stdin().take(largest as u64 + 1);
    match timeout_at(deadline, stdin.read_to_end(&mut bytes)).await {
        Ok(Ok(_)) if bytes.len() > largest => Err(Failure::new(
            Code::ImageTooLarge,
            format!("the image on standard input is larger than {largest} bytes"),
        )),
        Ok(Ok(_)) => Ok(bytes.into()),
        Ok(Err(error)) => Err(Failure::invalid(format!("reading standard input: {error}"))),
        Err(_) => Err(Failure::invalid("reading standard input: nothing arrived in time")),
    }
}
