//! The bytes inside a data URI, checked rather than guessed.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::task::yield_now;

use crate::failure::{Code, Failure, Result};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// A text of its own for another thread. Others get their turn in between, as many megabytes take milliseconds.
pub(super) async fn copied(uri: &str) -> String {
    const PIECE: usize = 256 << 10;
    let (mut copy, mut rest) = (String::with_capacity(uri.len()), uri);
    while !rest.is_empty() {
        let (piece, left) = rest.split_at(rest.floor_char_boundary(PIECE));
        copy.push_str(piece);
        rest = left;
        yield_now().await;
    }
    copy
}

/// Decodes what follows `data:`. Takes the standard and the URL-safe alphabet, padded or not, with white space.
///
/// # Errors
/// `INVALID_INPUT` when it is not base64, `IMAGE_TOO_LARGE` when it would decode to more than `largest` bytes.
pub(super) fn decode(uri: &str, largest: usize) -> Result<Vec<u8>> {
    let invalid = |why: String| {
        Failure::invalid(format!("reading the data URI: {why}"))
            .advise("models often mangle base64 that they retype: pass the image's path or URL instead")
    };
    let (head, body) = uri.split_once(',').ok_or_else(|| invalid("it has no comma".into()))?;
    if !head.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64")) {
        return Err(invalid("it is not base64".into()));
    }
    let media_type = head.split(';').next().unwrap_or_default().trim();
    if !media_type.is_empty() && media_type.len() > 100 {
        return Err(invalid("its media type is too long".into()));
    }
    if body.len() / 4 * 3 > largest.saturating_add(largest / 8) {
        return Err(too_large(largest));
    }
    let spaced = body.bytes().any(|byte| byte.is_ascii_whitespace());
    let text: Cow<'_, [u8]> =
        if spaced { body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect() } else { body.as_bytes().into() };
    if text.is_empty() {
        return Err(invalid("it holds no data".into()));
    }
    let url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let alphabet = if url_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let bytes = GeneralPurpose::new(alphabet, LENIENT).decode(&text).map_err(|error| invalid(error.to_string()))?;
    if bytes.len() > largest { Err(too_large(largest)) } else { Ok(bytes) }
}

fn too_large(largest: usize) -> Failure {
    Failure::new(Code::ImageTooLarge, format!("the image in the data URI is larger than {largest} bytes"))
        .advise("use a smaller version of the image, or pass its path or URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_honest_form_of_base64_is_read() {
        for uri in [
            "image/png;base64,+/8A",
            ";base64,+/8A",
            "image/png;name=a.png;BASE64,-_8A",
            "x;base64, +/\r\n8A ",
            "x;base64,+/8A==",
        ] {
            let expected: &[u8] = &[0xfb, 0xff, 0x00];
            if uri.ends_with("==") {
                assert!(decode(uri, 100).is_err(), "{uri}");
            } else {
                assert_eq!(decode(uri, 100).as_deref(), Ok(expected), "{uri}");
            }
        }
        assert_eq!(decode("x;base64,AAA", 100).as_deref(), Ok(&[0_u8, 0][..]));
        assert_eq!(decode("x;base64,AAA=", 100).as_deref(), Ok(&[0_u8, 0][..]));
    }

    #[tokio::test]
    async fn a_copy_is_the_same_wherever_it_is_cut() {
        for text in [String::new(), "abc".into(), "é".repeat(300_000), format!("x{}", "🙂".repeat(200_000))] {
            assert_eq!(copied(&text).await, text);
        }
    }

    #[test]
    fn the_rest_is_refused_by_code() {
        let check = |uri: &str, code: &str| {
            assert_eq!(decode(uri, 9).expect_err(uri).code.name(), code, "{uri}");
        };
        check("image/png", "INVALID_INPUT");
        check("image/png,AAAA", "INVALID_INPUT");
        check("image/png;base64,", "INVALID_INPUT");
        check("image/png;base64,AA*A", "INVALID_INPUT");
        check("image/png;base64,A", "INVALID_INPUT");
        check("image/png;base64,+_8A", "INVALID_INPUT");
        check("image/png;base64,AAAAAAAAAAAAAAAA", "IMAGE_TOO_LARGE");
    }
}
