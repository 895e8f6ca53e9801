//! The only way to an image: whatever a caller names is opened under guard, told by its bytes, bounded, and fitted.
//!
//! Nothing here knows a provider; the limits to fit to arrive as data.

mod address;
mod attachment;
mod clipboard;
mod container;
mod data_uri;
mod decode;
pub mod fetch;
pub mod fit;
mod latest;
mod lookalike;
pub mod path;
mod picture;
mod sniff;
pub mod source;
pub mod spelling;
pub mod uploads;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use image::ImageFormat;
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};
use vision_providers::document::Document;
use vision_providers::request::Caller;

pub use self::picture::{FORMATS, Picture, Ready};
use crate::failure::{Code, Failure, Result};
use crate::intake::attachment::Ways;
use crate::intake::clipboard::Clipboard;
use crate::intake::fetch::{Fetcher, Networks};
use crate::intake::fit::Wish;
use crate::intake::path::{PathPolicy, Paths, Root};
use crate::intake::picture::Content;
use crate::intake::sniff::Sniffed;
use crate::intake::source::Source;
use crate::intake::spelling::Machine;
use crate::intake::uploads::{Lent, Upload, Uploads};
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

impl Door {
    /// The name used in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CommandLine => "command_line",
            Self::Stdio => "stdio",
            Self::Http => "http",
        }
    }
}

/// Bytes of pictures that came with calls: the door takes no more of bodies at once.
const LENT: u64 = 512 << 20;
/// Longer no call lasts.
const LENT_FOR: Duration = Duration::from_hours(1);

/// Who names an image, and through which door they came.
#[derive(Debug, Clone)]
pub struct Visitor {
    pub door: Door,
    pub caller: Caller,
    /// Folders of their own, in place of those of the door.
    pub roots: Option<Arc<[Root]>>,
}

impl From<Door> for Visitor {
    /// Whoever is at this machine.
    fn from(door: Door) -> Self {
        Self { door, caller: Caller::local(), roots: None }
    }
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
    pub stdio_roots: Vec<Root>,
    pub http_roots: Vec<Root>,
    pub machine: Machine,
    /// Whether programs on this machine may have what was copied; the person's own command may.
    pub clipboard: bool,
    /// The folders of `latest`.
    pub latest: Vec<PathBuf>,
    /// Images prepared at once.
    pub threads: usize,
}

/// Opens and fits images.
#[derive(Debug)]
pub struct Intake {
    settings: Settings,
    uploads: Arc<Uploads>,
    /// Pictures that came with calls: they push out nothing that was sent ahead.
    lent: Arc<Uploads>,
    fetcher: Fetcher,
    workers: Workers,
    clipboard: Clipboard,
    own_paths: Arc<Paths>,
    stdio_paths: Arc<Paths>,
    http_paths: Arc<Paths>,
}

impl Intake {
    /// Intake within these bounds.
    #[must_use]
    pub fn new(settings: Settings, uploads: Arc<Uploads>) -> Self {
        let fetcher = Fetcher::new(settings.networks, settings.max_bytes);
        let workers = Workers::new(settings.threads);
        let paths = |door, policy| {
            let is_here = door != Door::Http;
            let (clipboard, latest) = (is_here && settings.clipboard, is_here && !settings.latest.is_empty());
            Arc::new(Paths { policy, machine: settings.machine.clone(), ways: Ways { door, clipboard, latest } })
        };
        let lent = uploads::Settings { capacity: LENT, ttl: LENT_FOR };
        Self {
            uploads,
            lent: Arc::new(Uploads::new(lent)),
            fetcher,
            workers,
            clipboard: Clipboard::default(),
            own_paths: paths(Door::CommandLine, PathPolicy::Own),
            stdio_paths: paths(Door::Stdio, PathPolicy::Roots(settings.stdio_roots.clone())),
            http_paths: paths(Door::Http, PathPolicy::Roots(settings.http_roots.clone())),
            settings,
        }
    }

    /// Opens what a caller named.
    ///
    /// # Errors
    /// The codes of sources, paths, URLs, data URIs and headers; nothing has been spent.
    pub async fn open(&self, named: &str, visitor: impl Into<Visitor>, deadline: Instant) -> Result<Picture> {
        let visitor = visitor.into();
        let (door, paths) = (visitor.door, self.paths_of(&visitor));
        if let Some(refusal) = attachment::refusal(named, paths.ways) {
            return Err(refusal);
        }
        let source = Source::parse(named)?;
        let (kind, largest) = (source.kind(), self.settings.max_bytes);
        let mut refusal = None;
        let bytes = match source {
            Source::Url(url) => self.fetcher.fetch(url, deadline).await?,
            Source::Data(uri) => {
                let uri = data_uri::copied(uri).await;
                let cost = uri.len() as u64;
                self.workers.run(deadline, cost, move || data_uri::decode(&uri, largest).map(Bytes::from)).await?
            }
            Source::Path(path) => {
                refusal = paths.refusal_of(&path);
                let reading = move || paths.read(&path, largest as u64).map(Bytes::from);
                self.workers.run(deadline, 0, reading).await?
            }
            Source::Upload(handle) => {
                if let Some(why) = self.lent.why_unusable(&handle, &visitor.caller) {
                    return Err(why);
                }
                let lent = self.lent.get(&handle, &visitor.caller);
                let upload = lent.or_else(|_| self.uploads.get(&handle, &visitor.caller))?;
                return Ok(upload.picture);
            }
            Source::Clipboard => return self.open_clipboard(door, deadline).await,
            Source::Latest(rank) => return self.open_latest(rank, door, deadline).await,
            Source::Stdin if door == Door::CommandLine => read_stdin(largest, deadline).await?,
            Source::Stdin => {
                return Err(Failure::invalid("`-` means standard input, which only the command line has"));
            }
        };
        self.picture(kind, bytes, refusal, deadline).await
    }

    /// Keeps a picture that a caller sends ahead.
    ///
    /// # Errors
    /// The codes of headers and of [`Uploads::keep`].
    pub async fn upload(&self, bytes: Bytes, caller: &Caller, deadline: Instant) -> Result<Upload> {
        let picture = self.received(bytes, deadline).await?;
        self.uploads.keep(picture, caller)
    }

    /// Keeps a picture that comes with a call for as long as the call lasts.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub async fn lend(&self, bytes: Bytes, caller: &Caller, deadline: Instant) -> Result<Lent> {
        let picture = self.received(bytes, deadline).await?;
        self.lent.lend(picture, caller)
    }

    /// Stands for what came with a call and is no picture, so that the rest of the call goes on.
    ///
    /// # Errors
    /// As [`Uploads::lend_unusable`].
    pub fn lend_unusable(&self, why: Failure, caller: &Caller) -> Result<Lent> {
        self.lent.lend_unusable(why, caller)
    }

    async fn received(&self, bytes: Bytes, deadline: Instant) -> Result<Picture> {
        if bytes.len() > self.settings.max_bytes {
            let message = format!("the image has {} bytes: at most {} are taken", bytes.len(), self.settings.max_bytes);
            return Err(Failure::new(Code::ImageTooLarge, message).advise("send a smaller or more compressed one"));
        }
        self.picture("upload", bytes, None, deadline).await
    }

    /// The pictures that were sent ahead.
    #[must_use]
    pub fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Tells what the bytes are. What is nothing like an image is refused in these words, if there are any.
    async fn picture(
        &self,
        source: &'static str,
        bytes: Bytes,
        refusal: Option<Failure>,
        deadline: Instant,
    ) -> Result<Picture> {
        let max_pixels = self.settings.max_pixels;
        let cost = bytes.len() as u64;
        let opening = move || {
            let content = match recognise(&bytes, refusal)? {
                Some(format) => Content::Image(Arc::new(decode::open(&bytes, format, max_pixels)?)),
                None => Content::Document,
            };
            Ok(Picture { source, bytes, content, notes: Vec::new() })
        };
        self.workers.run(deadline, cost, opening).await
    }

    /// Makes an image fit a model. Documents go as they are, or not at all.
    ///
    /// # Errors
    /// `IMAGE_CORRUPT` when its pixels cannot be decoded, `IMAGE_TOO_LARGE` when it cannot be made small enough,
    /// `CAPABILITY_MISSING` when the model takes no documents.
    pub async fn fit(&self, picture: &Picture, wish: Wish, deadline: Instant) -> Result<Ready> {
        let bytes = picture.bytes.clone();
        let Content::Image(header) = &picture.content else {
            return self.workers.run(deadline, bytes.len() as u64, move || document(bytes, &wish)).await;
        };
        let (header, memory) = (Arc::clone(header), header.memory());
        let max_pixels = self.settings.max_pixels;
        let fitting = move || fit::fit(&bytes, &header, &wish, max_pixels).map(Ready::Image);
        self.workers.run(deadline, memory, fitting).await
    }

    /// The paths that a visitor may name: those of the door, or else those of their own folders.
    fn paths_of(&self, visitor: &Visitor) -> Arc<Paths> {
        let usual = self.paths(visitor.door);
        match &visitor.roots {
            None => Arc::clone(usual),
            Some(roots) => Arc::new(Paths { policy: PathPolicy::Roots(roots.to_vec()), ..Paths::clone(usual) }),
        }
    }

    fn paths(&self, door: Door) -> &Arc<Paths> {
        match door {
            Door::CommandLine => &self.own_paths,
            Door::Stdio => &self.stdio_paths,
            Door::Http => &self.http_paths,
        }
    }
}

/// A document, for a model that reads it.
#[expect(clippy::disallowed_methods, reason = "intake vouches: these bytes were told to be a PDF")]
fn document(bytes: Bytes, wish: &Wish) -> Result<Ready> {
    let most = wish.card.limits.max_document_bytes;
    let model = &wish.card.id;
    if most == 0 {
        let failure = Failure::new(Code::CapabilityMissing, format!("{model} takes images, not PDF documents"));
        return Err(failure.advise("choose a model that reads documents, or give the pages as images"));
    }
    if wish.region.is_some() {
        return Err(Failure::invalid("`region` is a part of an image: a PDF document has none"));
    }
    if bytes.len() > most {
        let message = format!("the document has {} bytes: {model} takes at most {most}", bytes.len());
        return Err(Failure::new(Code::ImageTooLarge, message).advise("split the document, or choose another model"));
    }
    Ok(Ready::Document(Document::vouched(bytes)))
}

/// Tells the format of an image, `None` for a document, or refuses. A file of a guarded folder that is nothing like an
/// image is refused in the words for a file that is not there.
fn recognise(bytes: &Bytes, refusal: Option<Failure>) -> Result<Option<ImageFormat>> {
    match (sniff::sniff(bytes), refusal) {
        (Sniffed::Image(format), _) => Ok(Some(format)),
        (Sniffed::Document, _) => Ok(None),
        (Sniffed::Other(name), _) => Err(sniff::unsupported(name)),
        (Sniffed::Unknown, Some(refusal)) => Err(refusal),
        (Sniffed::Unknown, _) if bytes.is_empty() => Err(Failure::invalid("the image is empty: it has no bytes")),
        (Sniffed::Unknown, _) => {
            let message = "this is not an image: its first bytes are those of no image format";
            Err(Failure::new(Code::UnsupportedFormat, message).advise("use JPEG, PNG, WebP, GIF, TIFF, BMP or PDF"))
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
