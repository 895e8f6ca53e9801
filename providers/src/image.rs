//! Image bytes that the gateway's intake has vouched for.
//!
//! It is not a decoder and does no IO: whoever holds an [`Image`] may rely on its format and size being true, its
//! orientation upright and its metadata gone, and need not look again.

use std::fmt;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

/// The file formats that travel to backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Jpeg,
    Png,
    Webp,
    Gif,
}

impl Format {
    /// The registered media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
        }
    }

    /// The lower-case name used in answers and in the catalog.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "jpeg",
            Self::Png => "png",
            Self::Webp => "webp",
            Self::Gif => "gif",
        }
    }
}

/// A BLAKE3 digest of image bytes: what caches and logs know an image by.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The 32 bytes themselves, for building larger digests.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// An upright, metadata-free image whose format and size are known to be true. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Bytes,
    format: Format,
    width: u32,
    height: u32,
    digest: Digest,
}

impl Image {
    /// Vouches for these bytes. Only intake may call this; `clippy.toml` bans it elsewhere. Hashes the bytes, so it
    /// belongs on a thread that may be busy for milliseconds.
    #[must_use]
    pub fn vouched(bytes: Bytes, format: Format, width: u32, height: u32) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, format, width, height, digest }
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The format of the bytes.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Width in pixels, never 0.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels, never 0.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for Image {
    /// Prints the shape only: pictures do not belong in logs.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, width, height, digest, .. } = self;
        write!(out, "Image({} {width}x{height}, {} bytes, {digest:?})", format.name(), self.bytes.len())
    }
}
