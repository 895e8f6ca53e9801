//! Grey pixels on their way to Tesseract: decoding, size, turning, and how to find the way back to the image.

use fast_image_resize as fir;
use fast_image_resize::images::Image as Pixels;
use image::{DynamicImage, GrayImage, ImageReader, Limits, RgbImage, imageops};

use crate::answer::Rect;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{Format, Image};

/// More pixels than this make Tesseract slower, not better: a page at 200 dpi has about as many.
const LARGEST: f64 = 4_000_000.0;
const LONGEST: u32 = 2600;

/// Decodes an image that intake has vouched for, with bounds all the same.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when the pixels cannot be decoded.
pub(super) fn decode(image: &Image) -> Result<DynamicImage> {
    let format = match image.format() {
        Format::Jpeg => image::ImageFormat::Jpeg,
        Format::Png => image::ImageFormat::Png,
        Format::Webp => image::ImageFormat::WebP,
        Format::Gif => image::ImageFormat::Gif,
    };
    let mut reader = ImageReader::with_format(std::io::Cursor::new(image.bytes()), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(512 << 20);
    reader.limits(limits);
    reader.decode().map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("decoding the image: {error}"))
            .advise("the file is damaged or cut short: get a fresh copy")
    })
}

/// The grey in which text stands out most: the darkest of each pixel's channels on light paper, where ink may be
/// blue or red, and the lightest on dark screens.
pub(super) fn contrast_grey(rgb: &RgbImage) -> GrayImage {
    let light = rgb.pixels().map(|pixel| u64::from(pixel.0[1])).sum::<u64>()
        > 127 * u64::from(rgb.width()) * u64::from(rgb.height());
    let level = |[red, green, blue]: [u8; 3]| if light { red.min(green).min(blue) } else { red.max(green).max(blue) };
    let mut grey = GrayImage::new(rgb.width(), rgb.height());
    for (target, source) in grey.iter_mut().zip(rgb.pixels()) {
        *target = level(source.0);
    }
    grey
}

/// Quarter turns clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    None,
    Quarter,
    Half,
    ThreeQuarters,
}

impl Turn {
    /// The turn of so many degrees clockwise, if it is a whole number of quarters.
    pub(super) fn degrees(degrees: u32) -> Option<Self> {
        Some(match degrees {
            0 => Self::None,
            90 => Self::Quarter,
            180 => Self::Half,
            270 => Self::ThreeQuarters,
            _ => return None,
        })
    }
}

/// A grey picture, and the factor and turn that lead from the image's pixels to its own.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) grey: GrayImage,
    /// Own pixels per pixel of the image.
    scale: f64,
    turn: Turn,
    /// Size of the image's own grid.
    original: (u32, u32),
}

impl Page {
    /// A page of the image's pixels, shrunk to what helps Tesseract.
    pub(super) fn new(grey: GrayImage) -> Self {
        let (width, height) = grey.dimensions();
        let page = Self { grey, scale: 1.0, turn: Turn::None, original: (width, height) };
        let by_area = (LARGEST / (f64::from(width) * f64::from(height))).sqrt();
        let by_side = f64::from(LONGEST) / f64::from(width.max(height));
        let factor = by_area.min(by_side);
        if factor < 1.0 { page.scaled(factor) } else { page }
    }

    /// The same page with `factor` times as many pixels along each side.
    fn scaled(&self, factor: f64) -> Self {
        let grey = scaled(&self.grey, factor);
        Self { grey, scale: self.scale * factor, ..self.clone() }
    }

    /// The same page enlarged and softened by `softness` pixels of the image, which joins the dots of cheap printers.
    pub(super) fn magnified(&self, factor: f64, softness: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a factor has few digits")]
        let sigma = (softness * factor) as f32;
        let grey = imageops::blur(&scaled(&self.grey, factor), sigma);
        Self { grey, scale: self.scale * factor, ..self.clone() }
    }

    /// The same page, turned. A page is turned at most once.
    pub(super) fn turned(&self, turn: Turn) -> Self {
        let grey = match turn {
            Turn::None => self.grey.clone(),
            Turn::Quarter => imageops::rotate90(&self.grey),
            Turn::Half => imageops::rotate180(&self.grey),
            Turn::ThreeQuarters => imageops::rotate270(&self.grey),
        };
        Self { grey, turn, ..self.clone() }
    }

    /// The same page with its background evened out: each pixel relative to the brightest of its surroundings, so
    /// that text in a shadow stands out as well as text in the light.
    pub(super) fn evened(&self) -> Self {
        const CELL: u32 = 24;
        let (width, height) = self.grey.dimensions();
        let (across, down) = (width.div_ceil(CELL), height.div_ceil(CELL));
        let brightest = GrayImage::from_fn(across, down, |x, y| {
            let rows = y * CELL..((y + 1) * CELL).min(height);
            let cell = rows.flat_map(|row| (x * CELL..((x + 1) * CELL).min(width)).map(move |column| (column, row)));
            image::Luma([cell.map(|(column, row)| self.grey.get_pixel(column, row).0[0]).max().unwrap_or(255)])
        });
        let background = resampled(&brightest, width, height, fir::FilterType::Bilinear);
        let mut grey = self.grey.clone();
        for (pixel, light) in grey.iter_mut().zip(background.iter()) {
            let relative = u32::from(*pixel) * 255 / u32::from(*light).max(1);
            *pixel = u8::try_from(relative).unwrap_or(255);
        }
        Self { grey, ..self.clone() }
    }

    /// How far the brightness of the background wanders over the page, in grey levels.
    pub(super) fn shading(&self) -> u8 {
        let coarse = resampled(&self.grey, 16, 16, fir::FilterType::Box);
        let (low, high) = coarse.iter().fold((255, 0), |(low, high), level| (low.min(*level), high.max(*level)));
        high.saturating_sub(low)
    }

    /// The longer side in pixels.
    pub(super) fn longest(&self) -> u32 {
        self.grey.width().max(self.grey.height())
    }

    /// As binary PGM, which Tesseract reads from a pipe without any further decoder.
    pub(super) fn to_pgm(&self) -> Vec<u8> {
        let mut pgm = format!("P5 {} {} 255\n", self.grey.width(), self.grey.height()).into_bytes();
        pgm.extend_from_slice(self.grey.as_raw());
        pgm
    }

    /// Where an area of this page lies in the image.
    pub(super) fn in_image(&self, area: Rect) -> Rect {
        let (width, height) = self.grey.dimensions();
        let Rect { left, top, right, bottom } = area;
        let (left, right) = (left.min(width), right.min(width));
        let (top, bottom) = (top.min(height), bottom.min(height));
        // Undo the turn: a page turned a quarter clockwise has its left edge where the image has its bottom.
        let (left, top, right, bottom) = match self.turn {
            Turn::None => (left, top, right, bottom),
            Turn::Quarter => (top, width - right, bottom, width - left),
            Turn::Half => (width - right, height - bottom, width - left, height - top),
            Turn::ThreeQuarters => (height - bottom, left, height - top, right),
        };
        let back = |pixels: u32, most: u32| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the image's side")]
            let pixels = (f64::from(pixels) / self.scale).round() as u32;
            pixels.min(most)
        };
        let (width, height) = self.original;
        Rect {
            left: back(left, width),
            top: back(top, height),
            right: back(right, width),
            bottom: back(bottom, height),
        }
    }
}

/// A picture with `factor` times as many pixels along each side. Lanczos3 keeps the edges of letters.
pub(super) fn scaled(grey: &GrayImage, factor: f64) -> GrayImage {
    let (width, height) = scaled_size(grey, factor);
    resampled(grey, width, height, fir::FilterType::Lanczos3)
}

fn scaled_size(grey: &GrayImage, factor: f64) -> (u32, u32) {
    let side = |pixels: u32| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sides are small and positive")]
        let side = (f64::from(pixels) * factor).round() as u32;
        side.max(1)
    };
    (side(grey.width()), side(grey.height()))
}

#[expect(clippy::expect_used, reason = "each says why it cannot happen")]
fn resampled(grey: &GrayImage, width: u32, height: u32, filter: fir::FilterType) -> GrayImage {
    let mut target = Pixels::new(width, height, fir::PixelType::U8);
    let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(filter));
    let source = fir::images::ImageRef::new(grey.width(), grey.height(), grey.as_raw(), fir::PixelType::U8)
        .expect("one byte a pixel is what a grey image holds");
    fir::Resizer::new().resize(&source, &mut target, &options).expect("both images are grey, and neither is empty");
    GrayImage::from_raw(width, height, target.into_vec()).expect("the buffer was made for this size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_find_their_way_back_through_turn_and_scale() {
        let page = Page::new(GrayImage::new(100, 60));
        let mark = Rect { left: 10, top: 20, right: 30, bottom: 25 };
        // Where the mark lies after the page was turned, worked out on paper.
        let check = |turn, turned: Rect| assert_eq!(page.turned(turn).in_image(turned), mark, "{turn:?}");
        check(Turn::None, mark);
        check(Turn::Quarter, Rect { left: 35, top: 10, right: 40, bottom: 30 });
        check(Turn::Half, Rect { left: 70, top: 35, right: 90, bottom: 40 });
        check(Turn::ThreeQuarters, Rect { left: 20, top: 70, right: 25, bottom: 90 });
        let doubled = Rect { left: 20, top: 40, right: 60, bottom: 50 };
        assert_eq!(page.magnified(2.0, 0.4).in_image(doubled), mark);
    }

    #[test]
    fn large_pages_are_shrunk_and_still_report_image_pixels() {
        let page = Page::new(GrayImage::new(6000, 2000));
        assert_eq!(page.longest(), 2600);
        let whole = Rect { left: 0, top: 0, right: page.grey.width(), bottom: page.grey.height() };
        assert_eq!(page.in_image(whole), Rect { left: 0, top: 0, right: 6000, bottom: 2000 });
    }

    #[test]
    fn coloured_ink_stands_out_on_paper_and_on_screens() {
        let drawn = |paper: [u8; 3], ink: [u8; 3]| {
            let pixels = RgbImage::from_fn(20, 20, |x, _| image::Rgb(if x == 7 { ink } else { paper }));
            let grey = contrast_grey(&pixels);
            grey.get_pixel(0, 0).0[0].abs_diff(grey.get_pixel(7, 0).0[0])
        };
        assert_eq!(drawn([255, 255, 255], [120, 120, 250]), 135);
        assert_eq!(drawn([10, 10, 20], [60, 60, 240]), 220);
    }

    #[test]
    fn a_shadow_is_evened_out() {
        let grey = GrayImage::from_fn(240, 240, |x, y| {
            let light = 60 + x / 2;
            let ink = (x / 4 + y / 4) % 2 == 0;
            image::Luma([u8::try_from(if ink { light / 3 } else { light }).unwrap_or(255)])
        });
        let page = Page::new(grey);
        assert!(page.shading() > 60, "{}", page.shading());
        assert!(page.evened().shading() < 40, "{}", page.evened().shading());
    }
}
