//! From bytes to pixels, with everything that can be refused refused before a pixel exists.

use std::io::Cursor;

use bytes::Bytes;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::container::{self, Container};
use crate::failure::{Code, Failure, Result};

/// Fewer pixels than this along a side crash vision servers, and show nothing.
const SMALLEST_SIDE: u32 = 16;
const LARGEST_SIDE: u32 = 16_384;

/// A file whose header was read and found acceptable; its pixels have not been decoded yet.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) format: ImageFormat,
    /// Size as the picture is meant to be seen.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) orientation: Orientation,
    pub(super) alpha: bool,
    pub(super) container: Container,
}

impl Header {
    /// Bytes of memory that decoding takes, about.
    pub(super) fn memory(&self) -> u64 {
        // The decoder's own buffer, and one more for what is made of it.
        u64::from(self.width) * u64::from(self.height) * 4 * 2
    }
}

/// Reads a header.
///
/// # Errors
/// `IMAGE_CORRUPT` when there is none, `IMAGE_TOO_LARGE` beyond the bounds on pixels, `INVALID_INPUT` when it is too
/// small to show anything.
pub(super) fn open(bytes: &Bytes, format: ImageFormat, max_pixels: u64) -> Result<Header> {
    let mut decoder = reader(bytes, format, max_pixels).into_decoder().map_err(|error| corrupt(&error))?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let alpha = decoder.color_type().has_alpha();
    let container = container::look(bytes, format);
    let sideways = matches!(
        orientation,
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    let (width, height) = if sideways { (height, width) } else { (width, height) };
    Ok(Header { format, width, height, orientation, alpha, container })
}

fn check_size(width: u32, height: u32, max_pixels: u64) -> Result<()> {
    let size = format!("the image is {width}x{height} pixels");
    if width < SMALLEST_SIDE || height < SMALLEST_SIDE {
        let message = format!("{size}: at least {SMALLEST_SIDE} pixels a side are needed to show anything");
        return Err(Failure::invalid(message).advise("use the full image, not an icon or a tracking pixel"));
    }
    if width > LARGEST_SIDE || height > LARGEST_SIDE || u64::from(width) * u64::from(height) > max_pixels {
        let message = format!("{size}: at most {LARGEST_SIDE} a side and {max_pixels} in all are taken");
        return Err(Failure::new(Code::ImageTooLarge, message).advise("crop the image or scale it down"));
    }
    Ok(())
}

/// Decodes the pixels: the first frame, as stored, not yet turned upright.
///
/// # Errors
/// `IMAGE_CORRUPT` when they cannot be decoded.
pub(super) fn pixels(bytes: &Bytes, header: &Header, max_pixels: u64) -> Result<DynamicImage> {
    let mut decoder = reader(bytes, header.format, max_pixels).into_decoder().map_err(|error| corrupt(&error))?;
    // Decoders that were not told when they were made are told now.
    decoder.set_limits(limits(max_pixels)).map_err(|error| corrupt(&error))?;
    DynamicImage::from_decoder(decoder).map_err(|error| corrupt(&error))
}

fn reader(bytes: &Bytes, format: ImageFormat, max_pixels: u64) -> ImageReader<Cursor<Bytes>> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes.clone()), format);
    reader.limits(limits(max_pixels));
    reader
}

fn limits(max_pixels: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST_SIDE);
    limits.max_image_height = Some(LARGEST_SIDE);
    // Eight bytes a pixel is the deepest format there is.
    limits.max_alloc = Some(max_pixels.saturating_mul(8).saturating_add(16 << 20));
    limits
}

fn corrupt(error: &image::ImageError) -> Failure {
    match error {
        image::ImageError::Limits(_) => {
            Failure::new(Code::ImageTooLarge, "decoding the image: it needs too much memory")
                .advise("crop the image or scale it down")
        }
        image::ImageError::Unsupported(_) => {
            Failure::new(Code::UnsupportedFormat, format!("decoding the image: {error}"))
                .advise("convert it to PNG or JPEG first")
        }
        _ => Failure::new(Code::ImageCorrupt, format!("decoding the image: {error}"))
            .advise("the file is damaged or cut short: get a fresh copy"),
    }
}
