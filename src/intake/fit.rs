//! Making an image fit a model: cropped, shrunk, upright, opaque and free of metadata; untouched where it already is.
//!
//! What was done is recorded, because a caller should know what the model saw, and boxes must find their way back.

use bytes::Bytes;
use fast_image_resize as fir;
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageEncoder as _, ImageFormat, RgbImage};
use vision_providers::answer::Rect;
use vision_providers::image::{Format, Image};
use vision_providers::model::ModelCard;
use vision_providers::request::Detail;

use super::container::Plain;
use super::decode::{self, Header};
use crate::failure::{Code, Failure, Result};

/// Fewer distinct colours (5 bits a channel) in a sample mean a graphic, which PNG keeps sharp and small.
const GRAPHIC_COLOURS: usize = 1000;
const JPEG_QUALITIES: [u8; 3] = [85, 70, 50];

/// A part of the image, in fractions of its width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Region {
    /// A region from `[x0, y0, x1, y1]`, each 0 to 1.
    ///
    /// # Errors
    /// `INVALID_INPUT` when the numbers are not in range and order.
    pub fn new([left, top, right, bottom]: [f64; 4]) -> Result<Self> {
        let inside = [left, top, right, bottom].iter().all(|edge| (0.0..=1.0).contains(edge));
        if !inside || left >= right || top >= bottom {
            return Err(Failure::invalid(
                "reading `region`: it is not x0, y0, x1, y1 with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1",
            )
            .advise("the numbers are fractions of the image's width and height, measured from its top left corner"));
        }
        Ok(Self { left, top, right, bottom })
    }

    /// Its width and height in an image of this size.
    pub(super) fn size_in(&self, width: u32, height: u32) -> (u32, u32) {
        let Rect { left, top, right, bottom } = self.in_pixels(width, height);
        (right - left, bottom - top)
    }

    fn in_pixels(&self, width: u32, height: u32) -> Rect {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a fraction of the side")]
        let edge = |fraction: f64, side: u32| (fraction * f64::from(side)).round() as u32;
        let (left, top) = (edge(self.left, width).min(width - 1), edge(self.top, height).min(height - 1));
        let (right, bottom) = (edge(self.right, width).max(left + 1), edge(self.bottom, height).max(top + 1));
        Rect { left, top, right, bottom }
    }
}

/// What was done to an image, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    FirstFrame,
    Oriented,
    Cropped,
    Flattened,
    Resized,
    Converted,
    Stripped,
}

impl Step {
    /// The word that answers use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstFrame => "first_frame",
            Self::Oriented => "oriented",
            Self::Cropped => "cropped",
            Self::Flattened => "flattened",
            Self::Resized => "resized",
            Self::Converted => "converted",
            Self::Stripped => "stripped",
        }
    }
}

/// How an image is wanted.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The model that will look.
    pub card: ModelCard,
    /// Encoded bytes that this image may have: what the model takes, and its share where all together are bounded.
    pub max_bytes: usize,
    pub detail: Detail,
    pub region: Option<Region>,
}

impl Wish {
    /// The size in pixels at which an image of this size is sent.
    fn target(&self, width: u32, height: u32) -> (u32, u32) {
        self.card.target(width, height, self.detail)
    }
}

/// An image as it will be sent.
#[derive(Debug, Clone)]
pub struct Fitted {
    pub image: Image,
    pub steps: Vec<Step>,
    /// The part of the upright original that it shows.
    shows: Rect,
}

impl Fitted {
    /// Where an area of what was sent lies in the upright original.
    #[must_use]
    pub fn in_original(&self, area: Rect) -> Rect {
        let Rect { left, top, right, bottom } = self.shows;
        let back = |pixels: u32, sent: u32, from: u32, to: u32| {
            let scaled = u64::from(pixels.min(sent)) * u64::from(to - from) + u64::from(sent) / 2;
            from + u32::try_from(scaled / u64::from(sent)).unwrap_or(to - from)
        };
        let (width, height) = (self.image.width(), self.image.height());
        Rect {
            left: back(area.left, width, left, right),
            top: back(area.top, height, top, bottom),
            right: back(area.right, width, left, right),
            bottom: back(area.bottom, height, top, bottom),
        }
    }
}

/// Fits an image. Blocks for as long as decoding and encoding take.
///
/// # Errors
/// When it cannot be decoded, or cannot be made small enough.
pub(super) fn fit(bytes: &Bytes, header: &Header, wish: &Wish, max_pixels: u64) -> Result<Fitted> {
    let whole = Rect { left: 0, top: 0, right: header.width, bottom: header.height };
    let plain = passable(header, wish);
    if let (Some((plain, format)), false) = (&plain, header.alpha) {
        return Ok(passed(plain, *format, header, whole));
    }
    let picture = decode::pixels(bytes, header, max_pixels)?;
    // Screenshots often have an alpha channel that hides nothing.
    if let Some((plain, format)) = plain
        && is_opaque(&picture)
    {
        return Ok(passed(&plain, format, header, whole));
    }
    Work { picture, steps: Vec::new(), shows: whole }.run(header, wish)
}

/// The file itself, when nothing about its pixels has to change.
fn passable(header: &Header, wish: &Wish) -> Option<(Plain, Format)> {
    let format = match header.format {
        ImageFormat::Jpeg => Format::Jpeg,
        ImageFormat::Png => Format::Png,
        ImageFormat::WebP => Format::Webp,
        _ => return None,
    };
    let container = &header.container;
    let unchanged = container.whole
        && container.common
        && !container.animated
        && header.orientation == Orientation::NoTransforms
        && wish.region.is_none()
        && wish.target(header.width, header.height) == (header.width, header.height)
        && wish.card.limits.formats.contains(&format);
    let plain = container.plain.clone().filter(|plain| plain.bytes.len() <= wish.max_bytes)?;
    unchanged.then_some((plain, format))
}

fn passed(plain: &Plain, format: Format, header: &Header, shows: Rect) -> Fitted {
    let steps = if plain.stripped { vec![Step::Stripped] } else { Vec::new() };
    Fitted { image: vouch(plain.bytes.clone(), format, header.width, header.height), steps, shows }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that vouches: the bytes were checked or made here")]
fn vouch(bytes: Bytes, format: Format, width: u32, height: u32) -> Image {
    Image::vouched(bytes, format, width, height)
}

/// A picture on its way through the steps.
struct Work {
    picture: DynamicImage,
    steps: Vec<Step>,
    shows: Rect,
}

impl Work {
    fn run(mut self, header: &Header, wish: &Wish) -> Result<Fitted> {
        if header.container.animated {
            self.steps.push(Step::FirstFrame);
        }
        if let Some(region) = &wish.region {
            self.orient(header.orientation);
            self.crop(region);
            self.flatten();
            self.shrink(wish.target(self.picture.width(), self.picture.height()));
        } else {
            // Turning is cheaper once the picture is small.
            self.flatten();
            self.shrink(wish.target(self.picture.width(), self.picture.height()));
            self.orient(header.orientation);
        }
        let (bytes, format) = self.encode(wish, header.format)?;
        if !is_same(header.format, format) {
            self.steps.push(Step::Converted);
        }
        let image = vouch(bytes, format, self.picture.width(), self.picture.height());
        Ok(Fitted { image, steps: self.steps, shows: self.shows })
    }

    fn orient(&mut self, orientation: Orientation) {
        if orientation != Orientation::NoTransforms {
            self.picture.apply_orientation(orientation);
            self.steps.push(Step::Oriented);
        }
    }

    fn crop(&mut self, region: &Region) {
        let shows = region.in_pixels(self.picture.width(), self.picture.height());
        let (width, height) = (shows.right - shows.left, shows.bottom - shows.top);
        self.picture = self.picture.crop_imm(shows.left, shows.top, width, height);
        self.shows = shows;
        self.steps.push(Step::Cropped);
    }

    /// Lays what is transparent on white, and keeps grey grey: it decodes, shrinks and encodes three times as fast.
    fn flatten(&mut self) {
        let opaque = is_opaque(&self.picture);
        let grey = !self.picture.color().has_color();
        self.picture = match (opaque, grey) {
            (true, true) => DynamicImage::ImageLuma8(self.picture.to_luma8()),
            (true, false) => DynamicImage::ImageRgb8(self.picture.to_rgb8()),
            (false, _) => {
                self.steps.push(Step::Flattened);
                let on_white = on_white(&self.picture.to_rgba8());
                DynamicImage::ImageRgb8(on_white)
            }
        };
    }

    fn shrink(&mut self, (width, height): (u32, u32)) {
        if (width, height) != (self.picture.width(), self.picture.height()) {
            self.picture = resized(&self.picture, width, height);
            self.steps.push(Step::Resized);
        }
    }

    /// Encodes as PNG what is drawn and as JPEG what was photographed or was JPEG before, then gives up quality and at
    /// last size until the model's limit on bytes is met.
    fn encode(&mut self, wish: &Wish, from: ImageFormat) -> Result<(Bytes, Format)> {
        let limits = &wish.card.limits;
        let takes = |format| limits.formats.contains(&format);
        let drawn = from != ImageFormat::Jpeg && is_graphic(&self.picture);
        for attempt in 0..8 {
            if takes(Format::Png) && ((drawn && attempt == 0) || !takes(Format::Jpeg)) {
                let bytes = png(&self.picture)?;
                if bytes.len() <= wish.max_bytes {
                    return Ok((bytes.into(), Format::Png));
                }
            }
            for quality in JPEG_QUALITIES.into_iter().take_while(|_| takes(Format::Jpeg)) {
                let bytes = jpeg(&self.picture, quality)?;
                if bytes.len() <= wish.max_bytes {
                    return Ok((bytes.into(), Format::Jpeg));
                }
            }
            let longest = self.picture.width().max(self.picture.height());
            if longest < 64 {
                break;
            }
            let smaller = |side: u32| (side * 2 / 3).max(1);
            self.shrink((smaller(self.picture.width()), smaller(self.picture.height())));
        }
        let message = format!("the image cannot be made smaller than {} bytes", wish.max_bytes);
        Err(Failure::new(Code::ImageTooLarge, message).advise("crop the image, or choose a model with larger limits"))
    }
}

fn is_same(from: ImageFormat, to: Format) -> bool {
    matches!((from, to), (ImageFormat::Jpeg, Format::Jpeg) | (ImageFormat::Png, Format::Png))
}

fn is_opaque(picture: &DynamicImage) -> bool {
    match picture {
        DynamicImage::ImageLumaA8(pixels) => pixels.pixels().all(|pixel| pixel.0[1] == u8::MAX),
        DynamicImage::ImageRgba8(pixels) => pixels.pixels().all(|pixel| pixel.0[3] == u8::MAX),
        other => !other.color().has_alpha() || other.to_rgba8().pixels().all(|pixel| pixel.0[3] == u8::MAX),
    }
}

fn on_white(picture: &image::RgbaImage) -> RgbImage {
    let mut flat = RgbImage::new(picture.width(), picture.height());
    for (target, source) in flat.pixels_mut().zip(picture.pixels()) {
        let alpha = u32::from(source.0[3]);
        for channel in 0..3 {
            let blended = (u32::from(source.0[channel]) * alpha + 255 * (255 - alpha) + 127) / 255;
            target.0[channel] = u8::try_from(blended).unwrap_or(u8::MAX);
        }
    }
    flat
}

/// Resamples with Lanczos3 on whatever vector unit the processor has.
#[expect(clippy::expect_used, reason = "each says why it cannot happen")]
fn resized(picture: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (kind, source) = match picture {
        DynamicImage::ImageLuma8(pixels) => (fir::PixelType::U8, pixels.as_raw()),
        DynamicImage::ImageRgb8(pixels) => (fir::PixelType::U8x3, pixels.as_raw()),
        other => return resized(&DynamicImage::ImageRgb8(other.to_rgb8()), width, height),
    };
    let source = fir::images::ImageRef::new(picture.width(), picture.height(), source, kind)
        .expect("the buffer holds exactly this picture");
    let mut target = fir::images::Image::new(width, height, kind);
    let options = fir::ResizeOptions::new().resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3));
    fir::Resizer::new().resize(&source, &mut target, &options).expect("both pictures have pixels of one kind");
    let pixels = target.into_vec();
    let made = "the buffer was made for this size";
    match kind {
        fir::PixelType::U8 => DynamicImage::ImageLuma8(GrayImage::from_raw(width, height, pixels).expect(made)),
        _ => DynamicImage::ImageRgb8(RgbImage::from_raw(width, height, pixels).expect(made)),
    }
}

/// Whether a picture has so few colours that it was drawn, not photographed.
fn is_graphic(picture: &DynamicImage) -> bool {
    let step = |side: u32| usize::try_from((side / 256).max(1)).unwrap_or(1);
    let rgb = picture.to_rgb8();
    let mut seen = vec![false; 1 << 15];
    let rows = rgb.rows().step_by(step(rgb.height()));
    for pixel in rows.flat_map(|row| row.step_by(step(picture.width()))) {
        let [red, green, blue] = pixel.0.map(|level| usize::from(level >> 3));
        seen[red << 10 | green << 5 | blue] = true;
    }
    seen.iter().filter(|seen| **seen).count() < GRAPHIC_COLOURS
}

fn png(picture: &DynamicImage) -> Result<Vec<u8>> {
    use image::codecs::png::{CompressionType, FilterType, PngEncoder};
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(picture.as_bytes(), picture.width(), picture.height(), picture.color().into())
        .map_err(|error| encoding(&error))?;
    Ok(bytes)
}

fn jpeg(picture: &DynamicImage, quality: u8) -> Result<Vec<u8>> {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    let (pixels, kind) = match picture {
        DynamicImage::ImageLuma8(pixels) => (pixels.as_raw(), ColorType::Luma),
        DynamicImage::ImageRgb8(pixels) => (pixels.as_raw(), ColorType::Rgb),
        other => return jpeg(&DynamicImage::ImageRgb8(other.to_rgb8()), quality),
    };
    let side = |pixels: u32| u16::try_from(pixels).map_err(|error| encoding(&error));
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(pixels, side(picture.width())?, side(picture.height())?, kind).map_err(|error| encoding(&error))?;
    Ok(bytes)
}

fn encoding(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::Internal, format!("encoding the image: {error}"))
}
