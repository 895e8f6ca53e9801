//! Pictures as the text that travels inside JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::document::Document;
use crate::image::Image;

/// The bytes in base64.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The image as a data URI.
pub(crate) fn image_uri(image: &Image) -> String {
    data_uri(image.format().media_type(), image.bytes())
}

/// The document as a data URI.
pub(crate) fn document_uri(document: &Document) -> String {
    data_uri(Document::MEDIA_TYPE, document.bytes())
}

fn data_uri(media_type: &str, bytes: &[u8]) -> String {
    let mut uri = String::with_capacity(32 + bytes.len() * 4 / 3);
    uri.push_str("data:");
    uri.push_str(media_type);
    uri.push_str(";base64,");
    STANDARD.encode_string(bytes, &mut uri);
    uri
}
