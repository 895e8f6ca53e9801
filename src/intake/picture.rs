//! An image or document that was opened, and as it will be sent. What it shows is looked at by nobody here.

use std::sync::Arc;

use bytes::Bytes;
use image::ImageFormat;
use vision_providers::document::Document;
use vision_providers::request::Part;

use super::decode::Header;
use super::fit::{Fitted, Region};

/// An image or document that was opened: its bytes are here and its header is sound. Pixels are still encoded.
#[derive(Debug, Clone)]
pub struct Picture {
    pub(super) source: &'static str,
    pub(super) bytes: Bytes,
    pub(super) content: Content,
    /// What a caller should know of where it came from.
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Image(Arc<Header>),
    /// Nothing here looks inside: its pages are the vendor's to read.
    Document,
}

/// The formats that pictures have.
pub const FORMATS: [&str; 7] = ["jpeg", "png", "webp", "gif", "tiff", "bmp", "pdf"];

/// A picture as it will be sent.
#[derive(Debug, Clone)]
pub enum Ready {
    Image(Fitted),
    Document(Document),
}

impl Ready {
    /// The piece of a conversation that shows it.
    #[must_use]
    pub fn part(&self) -> Part {
        match self {
            Self::Image(fitted) => Part::Image(fitted.image.clone()),
            Self::Document(document) => Part::Document(document.clone()),
        }
    }
}

impl Picture {
    /// The kind of source: `path`, `url`, `data`, `stdin`, `clipboard` or `latest`.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// The format of the original, in lower case.
    #[must_use]
    pub fn format(&self) -> &'static str {
        let Content::Image(header) = &self.content else { return "pdf" };
        match header.format {
            ImageFormat::Jpeg => "jpeg",
            ImageFormat::Png => "png",
            ImageFormat::WebP => "webp",
            ImageFormat::Gif => "gif",
            ImageFormat::Tiff => "tiff",
            _ => "bmp",
        }
    }

    /// Width and height in pixels, as the picture is meant to be seen; documents have none.
    #[must_use]
    pub fn size(&self) -> Option<(u32, u32)> {
        match &self.content {
            Content::Image(header) => Some((header.width, header.height)),
            Content::Document => None,
        }
    }

    /// Width and height in pixels of what a model is shown of it, before it is made to fit.
    #[must_use]
    pub fn shown(&self, region: Option<&Region>) -> Option<(u32, u32)> {
        let (width, height) = self.size()?;
        Some(region.map_or((width, height), |region| region.size_in(width, height)))
    }

    /// A number that is the same for the same file, whatever it is called.
    #[must_use]
    pub fn mark(&self) -> u64 {
        const HEAD: usize = 32 << 10;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.bytes.len().to_le_bytes());
        hasher.update(self.bytes.get(..HEAD).unwrap_or(&self.bytes));
        hasher.finalize().as_bytes().iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
    }

    /// Encoded bytes of the original.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The file as it came.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.bytes
    }

    /// What a caller should know about the file although it can be used.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.notes.clone();
        let Content::Image(header) = &self.content else { return warnings };
        if !header.container.whole {
            warnings.push("the image file is cut short: parts of the picture are missing".into());
        }
        if header.container.animated {
            warnings.push("the file holds more than one picture: only the first frame or page was looked at".into());
        }
        warnings
    }

    pub(super) fn is_whole(&self) -> bool {
        match &self.content {
            Content::Image(header) => header.container.whole,
            Content::Document => true,
        }
    }

    pub(super) fn noting(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }
}
