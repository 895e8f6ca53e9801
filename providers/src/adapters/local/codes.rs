//! QR codes and bar codes.

use image::GrayImage;
use rxing::{BarcodeFormat, DecodeHints};

use crate::adapters::local::page;

/// Codes are found as well in two megapixels, and eight times as fast as in twelve.
const LARGEST: f64 = 2_000_000.0;

/// A code and what it says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Code {
    pub(super) kind: &'static str,
    pub(super) text: String,
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
        let code = Code { kind: name(*result.getBarcodeFormat()), text: result.getText().to_owned() };
        if !code.text.is_empty() && !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
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
