//! What a file is, by its first bytes. Names and declared types are not asked: they lie.

use image::ImageFormat;

use crate::failure::{Code, Failure};

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sniffed {
    Image(ImageFormat),
    /// A PDF file, which some models read.
    Document,
    /// A format that people mistake for a usable image, by its name.
    Other(&'static str),
    Unknown,
}

/// Tells what the bytes are.
pub(super) fn sniff(bytes: &[u8]) -> Sniffed {
    const IMAGES: [(&[u8], ImageFormat); 7] = [
        (b"\xff\xd8\xff", ImageFormat::Jpeg),
        (b"\x89PNG\r\n\x1a\n", ImageFormat::Png),
        (b"GIF87a", ImageFormat::Gif),
        (b"GIF89a", ImageFormat::Gif),
        (b"II*\0", ImageFormat::Tiff),
        (b"MM\0*", ImageFormat::Tiff),
        (b"BM", ImageFormat::Bmp),
    ];
    const OTHERS: [(&[u8], &str); 8] = [
        (b"8BPS", "Photoshop"),
        (b"\0\0\0\x0cJXL ", "JPEG XL"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"\0\0\x01\0", "Windows icon"),
        (b"qoif", "QOI"),
        (b"v/1\x01", "OpenEXR"),
        (b"\x1f\x8b", "gzip"),
    ];
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Sniffed::Image(ImageFormat::WebP);
    }
    if let Some((_, format)) = IMAGES.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Sniffed::Image(*format);
    }
    if bytes.starts_with(b"%PDF-") {
        return Sniffed::Document;
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return Sniffed::Other(match bytes.get(8..12) {
            Some(b"avif" | b"avis") => "AVIF",
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"mif1" | b"msf1") => "HEIC",
            _ => "video",
        });
    }
    if let Some((_, name)) = OTHERS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Sniffed::Other(name);
    }
    markup(bytes).map_or(Sniffed::Unknown, Sniffed::Other)
}

fn markup(bytes: &[u8]) -> Option<&'static str> {
    let head = String::from_utf8_lossy(bytes.get(..512).unwrap_or(bytes)).trim_start_matches('\u{feff}').to_lowercase();
    let head = head.trim_start();
    if !head.starts_with('<') {
        return None;
    }
    if head.contains("<svg") {
        return Some("SVG");
    }
    (head.contains("<!doctype html") || head.contains("<html")).then_some("HTML")
}

/// The refusal of a format that is no usable image.
pub(super) fn unsupported(name: &str) -> Failure {
    let advice = match name {
        "HEIC" => "export it as JPEG; on macOS: `sips -s format jpeg in.heic --out out.jpg`",
        "HTML" => "the address leads to a web page; use the address of the image itself",
        _ => "convert it to PNG or JPEG first",
    };
    let message = format!("{name} is not a supported image format: use JPEG, PNG, WebP, GIF, TIFF, BMP or PDF");
    Failure::new(Code::UnsupportedFormat, message).advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_bytes() {
        let check = |bytes: &[u8], expected: Sniffed| assert_eq!(sniff(bytes), expected, "{bytes:?}");
        check(b"\xff\xd8\xff\xe0", Sniffed::Image(ImageFormat::Jpeg));
        check(b"RIFF\x00\x00\x00\x00WEBPVP8 ", Sniffed::Image(ImageFormat::WebP));
        check(b"RIFF\x00\x00\x00\x00WAVE", Sniffed::Unknown);
        check(b"\0\0\0\x18ftypheic", Sniffed::Other("HEIC"));
        check(b"\0\0\0\x18ftypavif", Sniffed::Other("AVIF"));
        check(b"\0\0\0\x18ftypisom", Sniffed::Other("video"));
        check(b"%PDF-1.7", Sniffed::Document);
        check(b"\xef\xbb\xbf  <?xml version='1.0'?><svg/>", Sniffed::Other("SVG"));
        check(b"<!DOCTYPE html><html>", Sniffed::Other("HTML"));
        check(b"root:x:0:0", Sniffed::Unknown);
        check(b"", Sniffed::Unknown);
    }
}
