//! Documents that the gateway's intake has vouched for: PDF files, for backends that read them.
//!
//! Nothing here looks inside one: its pages are the vendor's to count.

use std::fmt;

use bytes::Bytes;

use crate::image::Digest;

/// A PDF file. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Document {
    bytes: Bytes,
    digest: Digest,
}

impl Document {
    /// The registered media type.
    pub const MEDIA_TYPE: &str = "application/pdf";

    /// Vouches for these bytes. Only intake may call this; `clippy.toml` bans it elsewhere. Hashes the bytes.
    #[must_use]
    pub fn vouched(bytes: Bytes) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for Document {
    /// Prints the shape only: documents do not belong in logs.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Document({} bytes, {:?})", self.bytes.len(), self.digest)
    }
}
