//! The file around the pixels: whether it is whole, what it holds beside the picture, and a copy without that.
//!
//! Nothing is decoded here, so passing a good file on costs next to nothing and loses nothing.

use bytes::Bytes;
use image::ImageFormat;
use img_parts::jpeg::{Jpeg, JpegSegment, markers};
use img_parts::png::Png;

/// What was learnt of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Container {
    /// The picture's end is there.
    pub(super) whole: bool,
    /// More than one frame.
    pub(super) animated: bool,
    /// Pixels that every backend understands: 8 bits, grey or colour.
    pub(super) common: bool,
    /// The same picture without metadata; absent where only re-encoding can tell them apart.
    pub(super) plain: Option<Plain>,
}

/// A file that holds a picture and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) bytes: Bytes,
    /// Whether anything had to go.
    pub(super) stripped: bool,
}

/// Looks at a file of this format.
pub(super) fn look(bytes: &Bytes, format: ImageFormat) -> Container {
    match format {
        ImageFormat::Jpeg => jpeg(bytes).unwrap_or_default(),
        ImageFormat::Png => png(bytes).unwrap_or_default(),
        ImageFormat::WebP => webp(bytes),
        ImageFormat::Tiff => Container { whole: true, animated: tiff_pages(bytes) > 1, ..Container::default() },
        ImageFormat::Gif => {
            let (frames, whole) = gif_frames(bytes);
            Container { whole, animated: frames > 1, ..Container::default() }
        }
        _ => Container { whole: true, ..Container::default() },
    }
}

fn jpeg(bytes: &Bytes) -> Option<Container> {
    let mut file = Jpeg::from_bytes(bytes.clone()).ok()?;
    let frame = file.segments().iter().find(|segment| is_frame(segment.marker()))?;
    let (depth, channels) = (*frame.contents().first()?, *frame.contents().get(5)?);
    let common = depth == 8 && matches!(channels, 1 | 3);
    let scan = file.segments().last().filter(|segment| segment.has_entropy())?.clone();
    // The last segment holds the rest of the file: all scans, the end marker, and whatever was put behind it.
    let rest = scan.len_with_entropy() - scan.len();
    let entropy = bytes.slice(bytes.len().checked_sub(rest)?..);
    let Some((end, pure)) = walk_scans(&entropy) else {
        return Some(Container { common, ..Container::default() });
    };
    if !pure {
        // Metadata among the scans: only a fresh encoding is sure to be rid of it.
        return Some(Container { whole: true, common, ..Container::default() });
    }
    let before = file.segments().len();
    file.segments_mut().retain(|segment| !is_metadata(segment));
    let trailing = end < entropy.len();
    if trailing && let Some(last) = file.segments_mut().last_mut() {
        *last = JpegSegment::new_with_entropy(scan.marker(), scan.contents().clone(), entropy.slice(..end));
    }
    let stripped = trailing || file.segments().len() < before;
    let bytes = if stripped { file.encoder().bytes() } else { bytes.clone() };
    Some(Container { whole: true, animated: false, common, plain: Some(Plain { bytes, stripped }) })
}

fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, markers::DHT | markers::JPG | markers::DAC)
}

/// Everything that is not needed to show the picture: EXIF and XMP (places, names, thumbnails), comments, maker notes.
/// The colour profile and Adobe's colour transform stay.
fn is_metadata(segment: &JpegSegment) -> bool {
    match segment.marker() {
        // JFIF may hold a thumbnail behind its twelve bytes of header: width, height, pixels.
        markers::APP0 => !segment.contents().starts_with(b"JFIF\0") || segment.contents().get(12..14) != Some(&[0, 0]),
        markers::APP2 => !segment.contents().starts_with(b"ICC_PROFILE\0"),
        markers::APP14 => !segment.contents().starts_with(b"Adobe"),
        markers::COM | markers::APP1..=markers::APP15 => true,
        _ => false,
    }
}

/// The length of the scans up to and with the end marker, and whether nothing but picture stands among them. Absent
/// when the end never comes.
fn walk_scans(scans: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut pure) = (0, true);
    while let Some(ahead) = scans.get(at..)?.iter().position(|byte| *byte == 0xff) {
        at += ahead;
        match *scans.get(at + 1)? {
            markers::EOI => return Some((at + 2, pure)),
            // A stuffed byte, a restart, or padding.
            0x00 | markers::RST0..=markers::RST7 => at += 2,
            0xff => at += 1,
            marker => {
                pure &= !matches!(marker, markers::APP0..=markers::APP15 | markers::COM);
                let length = scans.get(at + 2..at + 4)?;
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
    None
}

fn png(bytes: &Bytes) -> Option<Container> {
    const KEPT: [&[u8; 4]; 13] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"bKGD", b"pHYs",
        b"cICP",
    ];
    let mut file = Png::from_bytes(bytes.clone()).ok()?;
    let header = file.chunk_by_type(*b"IHDR")?.contents().clone();
    let depth = *header.get(8)?;
    let whole = file.chunk_by_type(*b"IEND").is_some();
    let animated = file.chunk_by_type(*b"acTL").is_some();
    file.chunks_mut().retain(|chunk| KEPT.iter().any(|kind| **kind == chunk.kind()));
    let plain = file.encoder().bytes();
    let stripped = plain.len() != bytes.len();
    let plain = Plain { bytes: if stripped { plain } else { bytes.clone() }, stripped };
    Some(Container { whole, animated, common: depth <= 8, plain: whole.then_some(plain) })
}

/// Only the simple forms are passed on: a lone VP8 or VP8L chunk that ends where the file ends.
fn webp(bytes: &Bytes) -> Container {
    let length = |range| bytes.get(range).and_then(|it: &[u8]| it.try_into().ok()).map(u32::from_le_bytes);
    let (file, chunk) = (length(4..8).unwrap_or(0) as usize, length(16..20).unwrap_or(0) as usize);
    let whole = bytes.len() >= file.saturating_add(8);
    let simple = matches!(bytes.get(12..16), Some(b"VP8 " | b"VP8L"));
    let alone = file == chunk.saturating_add(chunk % 2).saturating_add(12) && bytes.len() == file.saturating_add(8);
    let extended = bytes.get(12..16) == Some(b"VP8X");
    let animated = extended && bytes.get(20).is_some_and(|flags| flags & 2 != 0);
    let plain = (simple && alone).then(|| Plain { bytes: bytes.clone(), stripped: false });
    Container { whole, animated, common: true, plain }
}

/// How many frames a GIF has, as far as ten thousand, and whether its end is there.
fn gif_frames(bytes: &[u8]) -> (usize, bool) {
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let Some(mut at) = bytes.get(10).map(|flags| 13 + table(*flags)) else { return (0, false) };
    let blocks = |mut at: usize| {
        while let Some(length) = bytes.get(at).filter(|length| **length > 0) {
            at += 1 + usize::from(*length);
        }
        at + 1
    };
    let mut frames = 0;
    while frames < 10_000 {
        match bytes.get(at) {
            Some(0x21) => at = blocks(at + 2),
            Some(0x2c) => {
                frames += 1;
                let flags = bytes.get(at + 9).copied().unwrap_or(0);
                at = blocks(at + 11 + table(flags));
            }
            Some(0x3b) => return (frames, true),
            _ => return (frames, false),
        }
    }
    (frames, true)
}

/// How many pages a TIFF has, counting no further than two.
fn tiff_pages(bytes: &[u8]) -> usize {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, length: usize| -> Option<usize> {
        let digits = bytes.get(at..at.checked_add(length)?)?;
        let fold = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
        Some(if little { digits.iter().rev().fold(0, fold) } else { digits.iter().fold(0, fold) })
    };
    let first = number(4, 4).filter(|at| *at > 0);
    let second = first.and_then(|at| number(at + 2 + 12 * number(at, 2)?, 4)).filter(|at| *at > 0);
    usize::from(first.is_some()) + usize::from(second.is_some())
}
