//! Images of every sort through the real intake: what is passed on, what is changed, and what is refused before
//! anything is spent.

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use futures_util::future::join_all;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use tokio::time::Instant;
use vision_providers::image::Format;
use vision_providers::model::{Limits, ModelCard};
use vision_providers::request::Detail;
use vision_providers::testkit::{Play, Upstream, card};
use visiongate::failure::Failure;
use visiongate::intake::fetch::Networks;
use visiongate::intake::fit::{Fitted, Region, Wish};
use visiongate::intake::path::{Hidden, Root};
use visiongate::intake::spelling::Machine;
use visiongate::intake::uploads::{self, Uploads};
use visiongate::intake::{Door, Intake, Picture, Ready, Settings};

use super::example;

fn intake(networks: Networks, roots: Vec<Root>) -> Intake {
    let settings = Settings {
        max_bytes: 2_000_000,
        max_pixels: 4_000_000,
        networks,
        stdio_roots: roots,
        http_roots: Vec::new(),
        machine: Machine::default(),
        clipboard: false,
        latest: Vec::new(),
        threads: 2,
    };
    Intake::new(settings, uploads())
}

pub(crate) fn uploads() -> Arc<Uploads> {
    Arc::new(Uploads::new(uploads::Settings { capacity: 100_000, ttl: Duration::from_mins(10) }))
}

fn open_intake() -> Intake {
    intake(Networks::PrivateToo, Vec::new())
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn open(named: &str) -> Result<Picture, Failure> {
    open_intake().open(named, Door::CommandLine, soon()).await
}

async fn refusal(named: &str) -> &'static str {
    open(named).await.err().map_or("accepted", |failure| failure.code.name())
}

fn wish(target_side: u32, formats: &[Format]) -> Wish {
    let limits = Limits {
        max_bytes: 1_000_000,
        max_side: 10_000,
        target_side,
        low_side: 512,
        formats: formats.to_vec(),
        ..card("m").limits
    };
    Wish { card: ModelCard { limits, ..card("m") }, max_bytes: 1_000_000, detail: Detail::Auto, region: None }
}

async fn fit(picture: &Picture, wish: Wish) -> Fitted {
    match open_intake().fit(picture, wish, soon()).await.expect("a fitted image") {
        Ready::Image(fitted) => fitted,
        Ready::Document(document) => panic!("an image became {document:?}"),
    }
}

fn save(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a file");
    path.display().to_string()
}

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).expect("an encoded picture");
    bytes.into_inner()
}

fn scene(width: u32, height: u32) -> DynamicImage {
    let byte = |value: u32| u8::try_from(value % 256).expect("a byte");
    DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| {
        Rgb([byte(x * 7 + y), byte(x + y * 3), byte(x * y / 50)])
    }))
}

fn steps(fitted: &Fitted) -> Vec<&'static str> {
    fitted.steps.iter().map(|step| step.name()).collect()
}

fn decoded(fitted: &Fitted) -> DynamicImage {
    image::load_from_memory(fitted.image.bytes()).expect("what we made can be read")
}

const BOTH: &[Format] = &[Format::Jpeg, Format::Png];

#[tokio::test]
async fn a_file_that_fits_is_passed_on_untouched() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = encoded(&scene(300, 200), ImageFormat::Png);
    let picture = open(&save(folder.path(), "a.png", &bytes)).await.expect("a picture");
    let fitted = fit(&picture, wish(1000, BOTH)).await;
    assert_eq!((fitted.image.bytes().as_ref(), steps(&fitted)), (bytes.as_slice(), vec![]));
    assert_eq!((picture.size(), picture.format(), picture.source()), (Some((300, 200)), "png", "path"));
}

#[tokio::test]
async fn metadata_goes_and_the_picture_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = encoded(&scene(300, 200), ImageFormat::Jpeg);
    let secret = b"Exif\0\0GPS 48.8584 N 2.2945 E owner@example.org";
    let length = u16::try_from(secret.len() + 2).expect("short").to_be_bytes();
    let tagged = [&plain[..2], &[0xff, 0xe1], &length, secret, &plain[2..], b"trailing private bytes"].concat();
    let picture = open(&save(folder.path(), "a.jpg", &tagged)).await.expect("a picture");
    let fitted = fit(&picture, wish(1000, BOTH)).await;
    let sent = fitted.image.bytes();
    let holds = |needle: &[u8]| sent.windows(needle.len()).any(|window| window == needle);
    assert!(!holds(b"GPS") && !holds(b"owner@") && !holds(b"private"), "metadata was sent");
    assert_eq!(steps(&fitted), ["stripped"]);
    let original = image::load_from_memory(&plain).expect("a picture");
    assert_eq!(decoded(&fitted).to_rgb8(), original.to_rgb8());
}

#[tokio::test]
async fn metadata_does_not_hide_among_scans_or_in_thumbnails() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = encoded(&scene(300, 200), ImageFormat::Jpeg);
    let segment = |marker: u8, body: &[u8]| {
        let length = u16::try_from(body.len() + 2).expect("short").to_be_bytes();
        [&[0xff, marker][..], &length, body].concat()
    };
    let end = plain.len() - 2;
    let secret = b"Exif\0\0GPS-SECRET";
    let late = [&plain[..end], &segment(0xe1, secret), &plain[end..]].concat();
    let comment = [&plain[..end], &segment(0xfe, b"GPS-SECRET"), &plain[end..]].concat();
    let thumbnail =
        [&plain[..2], &segment(0xe0, b"JFIF\0\x01\x01\0\0\x01\0\x01\x02\x02GPS-SECRET.."), &plain[2..]].concat();
    for (name, bytes) in [("late", late), ("comment", comment), ("thumbnail", thumbnail)] {
        let picture = open(&save(folder.path(), name, &bytes)).await.expect(name);
        let fitted = fit(&picture, wish(1000, BOTH)).await;
        let text = String::from_utf8_lossy(fitted.image.bytes()).into_owned();
        assert!(!text.contains("GPS-SECRET"), "{name}: {:?}", steps(&fitted));
        assert_eq!(decoded(&fitted).width(), 300, "{name}");
    }
}

#[tokio::test]
async fn models_with_odd_limits_get_what_they_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let photo = open(&save(folder.path(), "photo.jpg", &encoded(&scene(900, 700), ImageFormat::Jpeg)))
        .await
        .expect("a picture");
    let mut narrow = wish(1568, BOTH);
    narrow.card.limits.max_side = 300;
    assert_eq!(fit(&photo, narrow).await.image.width(), 300);
    let mut png_only = wish(1000, &[Format::Png]);
    png_only.max_bytes = 60_000;
    let fitted = fit(&photo, png_only).await;
    assert!(fitted.image.format() == Format::Png && fitted.image.bytes().len() <= 60_000, "{:?}", fitted.image);
}

#[tokio::test]
async fn pages_and_frames_beyond_the_first_are_announced() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut two_pages = Cursor::new(Vec::new());
    let page = encoded(&scene(40, 30), ImageFormat::Tiff);
    let single = open(&save(folder.path(), "one.tif", &page)).await.expect("a picture");
    assert!(single.warnings().is_empty(), "{:?}", single.warnings());
    // A second directory that repeats the first: what a scanner's second page looks like from outside.
    let first = usize::try_from(u32::from_le_bytes(page[4..8].try_into().expect("four bytes"))).expect("small");
    let entries = usize::from(u16::from_le_bytes([page[first], page[first + 1]]));
    let next = first + 2 + 12 * entries;
    let at = u32::try_from(page.len()).expect("small").to_le_bytes();
    std::io::Write::write_all(
        &mut two_pages,
        &[&page[..next], &at, &page[next + 4..], &page[first..next], &[0; 4]].concat(),
    )
    .expect("memory");
    let double = open(&save(folder.path(), "two.tif", two_pages.get_ref())).await.expect("a picture");
    assert!(double.warnings()[0].contains("only the first frame or page"), "{:?}", double.warnings());
    let trailing = [encoded(&scene(40, 30), ImageFormat::Gif), vec![0]].concat();
    assert!(open(&save(folder.path(), "a.gif", &trailing)).await.expect("a picture").warnings().is_empty());
}

#[tokio::test]
async fn the_rotated_photo_arrives_upright_small_and_without_its_place() {
    let picture = open(&example("photo-rotated.jpg")).await.expect("a picture");
    assert_eq!(picture.size(), Some((1200, 900)));
    let fitted = fit(&picture, wish(600, BOTH)).await;
    assert_eq!((fitted.image.width(), fitted.image.height()), (600, 450));
    assert_eq!(steps(&fitted), ["resized", "oriented"]);
    let text = String::from_utf8_lossy(fitted.image.bytes()).into_owned();
    assert!(!text.contains("Exif") && !text.contains("Ellery"), "metadata was sent");
    // The sky is above the hills only when it is upright.
    let pixels = decoded(&fitted).to_rgb8();
    let blue = |y: u32| (0..600).map(|x| u64::from(pixels.get_pixel(x, y).0[2])).sum::<u64>();
    assert!(blue(10) > blue(440), "the sky is not at the top");
}

#[tokio::test]
async fn transparency_is_laid_on_white_and_opaque_alpha_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let glass = RgbaImage::from_fn(64, 64, |x, _| if x < 32 { Rgba([0, 0, 0, 0]) } else { Rgba([200, 0, 0, 255]) });
    let picture =
        open(&save(folder.path(), "glass.png", &encoded(&glass.into(), ImageFormat::Png))).await.expect("a picture");
    let fitted = fit(&picture, wish(1000, BOTH)).await;
    assert_eq!(steps(&fitted), ["flattened"]);
    assert_eq!(decoded(&fitted).to_rgb8().get_pixel(3, 3).0, [255, 255, 255]);
    let solid = encoded(&RgbaImage::from_pixel(64, 64, Rgba([1, 2, 3, 255])).into(), ImageFormat::Png);
    let picture = open(&save(folder.path(), "solid.png", &solid)).await.expect("a picture");
    assert_eq!(fit(&picture, wish(1000, BOTH)).await.image.bytes().as_ref(), solid);
}

#[tokio::test]
async fn drawings_become_png_and_photos_jpeg_within_the_limit_on_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let photo = encoded(&scene(900, 700), ImageFormat::Bmp);
    let photo = open(&save(folder.path(), "photo.bmp", &photo)).await.expect("a picture");
    let fitted = fit(&photo, wish(500, BOTH)).await;
    assert_eq!((fitted.image.format(), steps(&fitted)), (Format::Jpeg, vec!["resized", "converted"]));
    let mut tight = wish(500, BOTH);
    tight.max_bytes = 9_000;
    assert!(fit(&photo, tight).await.image.bytes().len() <= 9_000);
    let flat = DynamicImage::ImageRgb8(RgbImage::from_fn(300, 300, |x, _| Rgb([if x % 20 < 10 { 255 } else { 0 }; 3])));
    let flat = open(&save(folder.path(), "flat.tif", &encoded(&flat, ImageFormat::Tiff))).await.expect("a picture");
    assert_eq!((fit(&flat, wish(1000, BOTH)).await.image.format(), flat.format()), (Format::Png, "tiff"));
}

#[tokio::test]
async fn every_format_is_opened_and_animations_show_their_first_frame() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, format) in [
        ("jpeg", ImageFormat::Jpeg),
        ("png", ImageFormat::Png),
        ("webp", ImageFormat::WebP),
        ("gif", ImageFormat::Gif),
        ("tiff", ImageFormat::Tiff),
        ("bmp", ImageFormat::Bmp),
    ] {
        // The extension lies: only bytes count.
        let path = save(folder.path(), &format!("{name}.txt"), &encoded(&scene(40, 30), format));
        let picture = open(&path).await.expect(name);
        assert_eq!((picture.format(), picture.size()), (name, Some((40, 30))));
        assert!(picture.warnings().is_empty(), "{name}: {:?}", picture.warnings());
        assert_eq!(fit(&picture, wish(1000, BOTH)).await.image.width(), 40, "{name}");
    }
    let mut moving = Vec::new();
    {
        let mut encoder = image::codecs::gif::GifEncoder::new(&mut moving);
        let frames = [[255, 0, 0, 255], [0, 255, 0, 255]]
            .map(|colour| image::Frame::new(RgbaImage::from_pixel(32, 32, Rgba(colour))));
        encoder.encode_frames(frames).expect("an animation");
    }
    let picture = open(&save(folder.path(), "moving.gif", &moving)).await.expect("a picture");
    assert!(picture.warnings()[0].contains("only the first frame"), "{:?}", picture.warnings());
    let fitted = fit(&picture, wish(1000, BOTH)).await;
    assert!(steps(&fitted).contains(&"first_frame"), "{:?}", steps(&fitted));
    assert_eq!(decoded(&fitted).to_rgb8().get_pixel(5, 5).0, [255, 0, 0]);
}

#[tokio::test]
async fn a_region_is_cut_from_the_upright_original_and_boxes_find_their_way_back() {
    let picture = open(&example("photo-rotated.jpg")).await.expect("a picture");
    let region = Region::new([0.25, 0.5, 0.75, 1.0]).expect("a region");
    let fitted = fit(&picture, Wish { region: Some(region), ..wish(300, BOTH) }).await;
    assert_eq!((fitted.image.width(), fitted.image.height()), (300, 225));
    assert_eq!(steps(&fitted), ["oriented", "cropped", "resized"]);
    let whole = vision_providers::answer::Rect { left: 0, top: 0, right: 300, bottom: 225 };
    let back = fitted.in_original(whole);
    assert_eq!((back.left, back.top, back.right, back.bottom), (300, 450, 900, 900));
    for wrong in [[0.0, 0.0, 1.1, 1.0], [0.5, 0.0, 0.5, 1.0], [f64::NAN, 0.0, 1.0, 1.0], [-0.1, 0.0, 1.0, 1.0]] {
        assert!(Region::new(wrong).is_err(), "{wrong:?}");
    }
}

#[tokio::test]
async fn low_detail_is_small() {
    let picture = open(&example("photo-rotated.jpg")).await.expect("a picture");
    let fitted = fit(&picture, Wish { detail: Detail::Low, ..wish(1540, BOTH) }).await;
    assert_eq!(fitted.image.width().max(fitted.image.height()), 512);
}

#[tokio::test]
async fn what_is_no_image_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases: [(&str, &[u8], &str); 9] = [
        ("empty.png", b"", "INVALID_INPUT"),
        ("notes.png", b"just some text", "UNSUPPORTED_FORMAT"),
        ("page.png", b"<!doctype html><html></html>", "UNSUPPORTED_FORMAT"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "UNSUPPORTED_FORMAT"),
        ("doc.pdf", b"%PDF-1.7 ...", "accepted"),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "UNSUPPORTED_FORMAT"),
        ("head.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "IMAGE_CORRUPT"),
        ("head.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", "IMAGE_CORRUPT"),
        ("head.gif", b"GIF89a", "IMAGE_CORRUPT"),
    ];
    for (name, bytes, code) in cases {
        assert_eq!(refusal(&save(folder.path(), name, bytes)).await, code, "{name}");
    }
}

/// A PNG header that claims this size, with nothing behind it.
fn claimed(width: u32, height: u32) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let crc = chunk.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    });
    [b"\x89PNG\r\n\x1a\n\0\0\0\r".as_slice(), &chunk, &(!crc).to_be_bytes()].concat()
}

#[tokio::test]
async fn bombs_are_refused_by_their_header() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [
        (claimed(30_000, 30_000), "IMAGE_TOO_LARGE"),
        (claimed(16_385, 20), "IMAGE_TOO_LARGE"),
        (encoded(&RgbImage::new(2001, 2000).into(), ImageFormat::Png), "IMAGE_TOO_LARGE"),
        (claimed(u32::MAX >> 1, u32::MAX >> 1), "IMAGE_TOO_LARGE"),
        (encoded(&RgbImage::new(1, 1).into(), ImageFormat::Png), "INVALID_INPUT"),
        (encoded(&RgbImage::new(15, 2000).into(), ImageFormat::Gif), "INVALID_INPUT"),
    ];
    for (index, (bytes, code)) in cases.into_iter().enumerate() {
        let began = Instant::now();
        assert_eq!(refusal(&save(folder.path(), &format!("{index}.png"), &bytes)).await, code, "case {index}");
        assert!(began.elapsed() < Duration::from_secs(2), "case {index} took {:?}", began.elapsed());
    }
    // Case 52: many at once are refused as quickly.
    let bomb = save(folder.path(), "bomb.png", &claimed(30_000, 30_000));
    let began = Instant::now();
    let refusals = join_all((0..64).map(|_| refusal(&bomb))).await;
    assert!(refusals.iter().all(|code| *code == "IMAGE_TOO_LARGE"), "{refusals:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "they took {:?}", began.elapsed());
    // 16383 x 16383 pixels in 32 bytes.
    let webp = b"RIFF\x18\0\0\0WEBPVP8L\x0b\0\0\0\x2f\xfe\xbf\xff\x0f\0\0\0\0\0\0\0";
    assert_eq!(refusal(&save(folder.path(), "solid.webp", webp)).await, "IMAGE_TOO_LARGE");
    assert_eq!(refusal(&save(folder.path(), "fat.png", &vec![0x89; 2_000_001])).await, "IMAGE_TOO_LARGE");
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_said_to_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = encoded(&scene(300, 200), ImageFormat::Jpeg);
    let picture = open(&save(folder.path(), "half.jpg", &whole[..whole.len() / 2])).await.expect("a header");
    assert!(picture.warnings()[0].contains("cut short"), "{:?}", picture.warnings());
    let png = encoded(&scene(300, 200), ImageFormat::Png);
    let half = open(&save(folder.path(), "half.png", &png[..png.len() / 2])).await.expect("a header");
    let outcome = open_intake().fit(&half, wish(1000, BOTH), soon()).await;
    assert_eq!(outcome.err().map(|failure| failure.code.name()), Some("IMAGE_CORRUPT"));
}

#[tokio::test]
async fn mutated_files_end_in_a_picture_or_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = fastrand::Rng::with_seed(7);
    for format in
        [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Tiff, ImageFormat::Bmp]
    {
        let seed = encoded(&scene(60, 50), format);
        for round in 0..60 {
            let mut bytes = seed.clone();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(8..bytes.len());
                bytes[at] = random.u8(..);
            }
            if let Ok(picture) = open(&save(folder.path(), "mutant", &bytes)).await
                && let Err(failure) = open_intake().fit(&picture, wish(40, BOTH), soon()).await
            {
                assert_ne!(failure.code.name(), "INTERNAL", "{format:?} round {round}: {failure}");
            }
        }
    }
}

#[tokio::test]
async fn data_uris_are_images_when_they_hold_one() {
    let text = base64::engine::general_purpose::STANDARD.encode(encoded(&scene(30, 20), ImageFormat::Png));
    // The label is wrong on purpose.
    let picture = open(&format!("data:text/html;base64,{text}")).await.expect("a picture");
    assert_eq!((picture.source(), picture.format()), ("data", "png"));
    for (uri, code) in [
        ("data:image/png;base64,@@@", "INVALID_INPUT"),
        ("data:,", "INVALID_INPUT"),
        ("data:image/png;base64,AAAA", "UNSUPPORTED_FORMAT"),
    ] {
        assert_eq!(refusal(uri).await, code, "{uri}");
    }
}

#[tokio::test]
async fn urls_are_fetched_within_bounds_when_private_networks_are_trusted() {
    let png = encoded(&scene(30, 20), ImageFormat::Png);
    let upstream = Upstream::start([Play::Reply(200, vec![], png)]).await;
    let picture = open(&upstream.url("/a.png")).await.expect("a picture");
    assert_eq!((picture.source(), picture.size()), ("url", Some((30, 20))));
    let headers = upstream.received().remove(0).headers;
    assert!(
        headers.contains("accept: image/*") && !headers.contains("cookie") && !headers.contains("referer"),
        "{headers}"
    );
    let failing = [
        (Play::Reply(404, vec![], vec![]), "FETCH_FAILED"),
        (Play::Reply(204, vec![], vec![]), "FETCH_FAILED"),
        (Play::Reply(206, vec![], b"part".to_vec()), "FETCH_FAILED"),
        (Play::Reply(200, vec![], b"<html>".to_vec()), "UNSUPPORTED_FORMAT"),
        (Play::Reply(200, vec![], vec![0x89; 2_000_001]), "IMAGE_TOO_LARGE"),
        (Play::Raw([b"HTTP/1.1 200 X\r\n\r\n".to_vec(), vec![1; 2_100_000]].concat()), "IMAGE_TOO_LARGE"),
        (Play::Raw(b"HTTP/1.1 200 X\r\ncontent-length: 500\r\n\r\nhalf".to_vec()), "FETCH_FAILED"),
        (Play::Reset, "FETCH_FAILED"),
        (Play::Reply(302, vec![("location", "/a.png".into())], vec![]), "FETCH_FAILED"),
        (Play::Reply(302, vec![("location", "file:///etc/passwd".into())], vec![]), "URL_BLOCKED"),
    ];
    for (play, code) in failing {
        let upstream = Upstream::start([play.clone()]).await;
        assert_eq!(refusal(&upstream.url("/a.png")).await, code, "{play:?}");
        assert!(upstream.calls() <= 4, "redirects went round {} times", upstream.calls());
    }
}

#[tokio::test]
async fn private_networks_are_not_touched_by_default() {
    let canary = Upstream::start([Play::Reply(200, vec![], encoded(&scene(30, 20), ImageFormat::Png))]).await;
    let port = canary.url("").rsplit(':').next().expect("a port").to_owned();
    let guarded = intake(Networks::PublicOnly, Vec::new());
    let spellings = [
        "http://127.0.0.1",
        "https://127.0.0.1",
        "https://localhost",
        "https://127.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://0",
        "https://localhost.localdomain",
    ];
    for spelling in spellings {
        for url in [format!("{spelling}:{port}/a.png"), format!("{spelling}/a.png")] {
            let failure = guarded.open(&url, Door::CommandLine, soon()).await.expect_err(&url);
            assert_eq!(failure.code.name(), "URL_BLOCKED", "{url}");
            assert!(!failure.message.contains("127.0.0.1"), "{}", failure.message);
        }
    }
    assert_eq!(canary.calls(), 0);
}

#[tokio::test]
async fn doors_differ_in_what_they_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let real = folder.path().canonicalize().expect("its real path");
    let inside = save(&real, "a.png", &encoded(&scene(30, 20), ImageFormat::Png));
    let secret = save(&real, "id.png", b"-----BEGIN PRIVATE KEY-----");
    let pdf = save(&real, "a.pdf", b"%PDF-1.7");
    let roots = vec![Root { path: real, hidden: Hidden::Allowed }];
    let intake = intake(Networks::PublicOnly, roots);
    let code = async |named: &str, door| {
        intake.open(named, door, soon()).await.map_or_else(|failure| failure.code.name(), |_| "opened")
    };
    assert_eq!(code(&inside, Door::Stdio).await, "opened");
    assert_eq!(code(&inside, Door::Http).await, "UNSAFE_PATH");
    assert_eq!(code(&inside, Door::CommandLine).await, "opened");
    assert_eq!(code(&example("receipt.png"), Door::Stdio).await, "UNSAFE_PATH");
    // A key file in an allowed folder is refused in the very words for a file that is not there.
    let words = async |named: &str| intake.open(named, Door::Stdio, soon()).await.expect_err(named).message;
    assert_eq!(words(&secret).await, words("/no/such/file.png").await);
    assert_eq!(code(&secret, Door::Stdio).await, "UNSAFE_PATH");
    assert_eq!(code(&pdf, Door::Stdio).await, "opened");
    assert_eq!(code("-", Door::Stdio).await, "INVALID_INPUT");
}
