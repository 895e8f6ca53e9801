//! QR codes and bar codes.

use image::GrayImage;
use rxing::{BarcodeFormat, DecodeHints, RXingResult};

use crate::adapters::local::page;
use crate::answer::Rect;

/// Codes are found as well in two megapixels, and eight times as fast as in twelve.
const LARGEST: f64 = 2_000_000.0;

/// How far beside its line a code is looked for again, as a part of its length: more than a line of letters is high.
const ASIDE: f32 = 0.04;

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
    let found = rxing::helpers::detect_multiple_in_luma_with_hints(luma, width, height, &mut hints());
    let mut codes: Vec<Code> = Vec::new();
    for result in found.unwrap_or_default() {
        let area = around(result.getPoints(), factor.min(1.0));
        let code = Code { kind: name(*result.getBarcodeFormat()), text: result.getText().to_owned(), area };
        let is_new = !code.text.is_empty() && !codes.iter().any(|known| known.text == code.text);
        if is_new && (!is_linear(*result.getBarcodeFormat()) || is_seen_again(grey, &result)) {
            codes.push(code);
        }
    }
    codes
}

fn hints() -> DecodeHints {
    DecodeHints { TryHarder: Some(true), ..DecodeHints::default() }
}

/// Whether codes of this kind are read along one line.
fn is_linear(format: BarcodeFormat) -> bool {
    use BarcodeFormat::{CODABAR, CODE_39, CODE_93, CODE_128, EAN_8, EAN_13, ITF, TELEPEN, UPC_A, UPC_E};
    matches!(format, CODABAR | CODE_39 | CODE_93 | CODE_128 | EAN_8 | EAN_13 | ITF | TELEPEN | UPC_A | UPC_E)
}

/// Whether a code that was read along one line says the same a little beside it. Bars are long; what was read into a line
/// of letters or of a table is something else above and below it.
fn is_seen_again(grey: &GrayImage, found: &RXingResult) -> bool {
    let marks = found.getPoints();
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return false };
    let is_upright = (last.x - first.x).abs() >= (last.y - first.y).abs();
    let length = (last.x - first.x).hypot(last.y - first.y);
    let aside = (length * ASIDE).max(3.0);
    let across = if is_upright { first.y.midpoint(last.y) } else { first.x.midpoint(last.x) };
    [across - aside, across + aside].into_iter().any(|place| {
        let band = band(grey, place, is_upright);
        let Some((luma, width, height)) = band else { return false };
        let format = Some(*found.getBarcodeFormat());
        let again = rxing::helpers::detect_in_luma_with_hints(luma, width, height, format, &mut hints());
        again.is_ok_and(|again| again.getText() == found.getText())
    })
}

/// Three lines of a picture around this place, lying; `None` outside of it.
fn band(grey: &GrayImage, place: f32, is_upright: bool) -> Option<(Vec<u8>, u32, u32)> {
    let (width, height) = grey.dimensions();
    let (length, lines) = if is_upright { (width, height) } else { (height, width) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 0 is taken for 0 on purpose")]
    let first = (place as u32).checked_sub(1)?;
    if first + 3 > lines {
        return None;
    }
    let pixel = |along, line| if is_upright { grey.get_pixel(along, line) } else { grey.get_pixel(line, along) };
    let luma = (first..first + 3).flat_map(|line| (0..length).map(move |along| pixel(along, line).0[0]));
    Some((luma.collect(), length, 3))
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

#[cfg(test)]
mod tests {
    use image::{Luma, imageops};

    use super::*;

    /// A picture of the EAN-13 code 4006381333931 with bars of this height.
    fn ean(height: u32) -> GrayImage {
        const LEFT: [&str; 10] = [
            "0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111",
            "0001011",
        ];
        let right = |digit: usize| LEFT[digit].replace('0', "x").replace('1', "0").replace('x', "1");
        let even = |digit: usize| right(digit).chars().rev().collect::<String>();
        let odd = |digit: usize| LEFT[digit].to_owned();
        let first = [odd(0), even(0), odd(6), odd(3), even(8), even(1)].concat();
        let second: String = [3, 3, 3, 9, 3, 1].map(right).concat();
        let bars = format!("101{first}01010{second}101");
        let mut picture = GrayImage::from_pixel(400, 200, Luma([255]));
        for (module, _) in bars.chars().enumerate().filter(|(_, bar)| *bar == '1') {
            let module = u32::try_from(module).expect("less than a hundred");
            for (x, y) in (0..3).flat_map(|x| (0..height).map(move |y| (x, y))) {
                picture.put_pixel(50 + 3 * module + x, 100 - height / 2 + y, Luma([0]));
            }
        }
        picture
    }

    #[test]
    fn bar_codes_are_read_lying_and_standing() {
        for picture in [ean(60), imageops::rotate90(&ean(60))] {
            let found = find(&picture);
            assert_eq!(found.iter().map(|code| code.text.as_str()).collect::<Vec<_>>(), ["4006381333931"]);
        }
    }

    #[test]
    fn what_looks_like_a_bar_code_in_one_line_of_letters_is_none() {
        assert_eq!(find(&ean(6)), [], "no longer than letters are high");
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/receipt.png");
        let receipt = image::open(path).expect("an example").into_luma8();
        let left = imageops::crop_imm(&receipt, 0, 0, receipt.width() / 2, receipt.height()).to_image();
        assert_eq!(find(&left), []);
    }
}
