//! QR codes and bar codes.

use image::GrayImage;
use rxing::{BarcodeFormat, DecodeHints};

use crate::adapters::local::page;
use crate::answer::Rect;

/// Codes are found as well in two megapixels, and eight times as fast as in twelve.
const LARGEST: f64 = 2_000_000.0;

/// A code and what it says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Code {
    pub(super) kind: &'static str,
    pub(super) text: String,
    /// Where it stands, with a margin, in pixels of the image.
    area: Rect,
}

impl Code {
    /// Whether the middle of this area lies in the code, as that of letters read into its pattern does.
    pub(super) fn holds(&self, area: Rect) -> bool {
        let (across, down) = (area.left.midpoint(area.right), area.top.midpoint(area.bottom));
        (self.area.left..=self.area.right).contains(&across) && (self.area.top..=self.area.bottom).contains(&down)
    }
}

/// The codes that can be read in a picture. None found does not mean that there is none.
pub(super) fn find(grey: &GrayImage) -> Vec<Code> {
    let pixels = f64::from(grey.width()) * f64::from(grey.height());
    let factor = (LARGEST / pixels).sqrt();
    let shrunk = (factor < 1.0).then(|| page::scaled(grey, factor));
    let grey = shrunk.as_ref().unwrap_or(grey);
    let (luma, width, height) = (grey.as_raw().clone(), grey.width(), grey.height());
    let mut hints = DecodeHints { TryHarder: Some(true), ..DecodeHints::default() };
    let found = rxing::helpers::detect_multiple_in_luma_with_hints(luma, width, height, &mut hints);
    let mut codes: Vec<Code> = Vec::new();
    for result in found.unwrap_or_default() {
        let area = around(result.getPoints(), factor.min(1.0));
        let code = Code { kind: name(*result.getBarcodeFormat()), text: result.getText().to_owned(), area };
        if !code.text.is_empty() && !codes.iter().any(|known| known.text == code.text) {
            codes.push(code);
        }
    }
    codes
}

/// The area that a code's marks span, and a fifth of it on every side.
fn around(marks: &[rxing::Point], factor: f64) -> Rect {
    let span = |values: Vec<f32>| {
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(0.0, f32::max);
        (low.min(high), high)
    };
    let (left, right) = span(marks.iter().map(|mark| mark.x).collect());
    let (top, bottom) = span(marks.iter().map(|mark| mark.y).collect());
    let margin = 0.2 * (right - left).max(bottom - top);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what images measure")]
    let edge = |place: f32| (f64::from(place) / factor).clamp(0.0, 65_535.0) as u32;
    Rect {
        left: edge(left - margin),
        top: edge(top - margin),
        right: edge(right + margin),
        bottom: edge(bottom + margin),
    }
}

fn name(format: BarcodeFormat) -> &'static str {
    match format {
        BarcodeFormat::QR_CODE | BarcodeFormat::MICRO_QR_CODE | BarcodeFormat::RECTANGULAR_MICRO_QR_CODE => "QR code",
        BarcodeFormat::AZTEC => "Aztec code",
        BarcodeFormat::DATA_MATRIX => "Data Matrix code",
        BarcodeFormat::PDF_417 => "PDF417 code",
        BarcodeFormat::EAN_13 => "EAN-13 bar code",
        BarcodeFormat::EAN_8 => "EAN-8 bar code",
        BarcodeFormat::UPC_A | BarcodeFormat::UPC_E => "UPC bar code",
        BarcodeFormat::CODE_128 => "Code 128 bar code",
        BarcodeFormat::CODE_39 => "Code 39 bar code",
        BarcodeFormat::ITF => "ITF bar code",
        _ => "bar code",
    }
}
