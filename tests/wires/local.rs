//! The provider without a key, with real Tesseract processes on our own example images.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use vision_providers::error::ErrorKind;
use vision_providers::image::{Format, Image};
use vision_providers::provider::Provider;
use vision_providers::request::{Output, Schema, Task, VisionRequest};
use vision_providers::testkit::{self, Expected, behaves, ctx, request};

use super::{KEY, PATIENCE, build, settings};

fn local(change: impl FnOnce(&mut vision_providers::adapters::local::Settings)) -> Provider {
    let mut settings = settings(None, None);
    let path = std::env::vars().find(|(name, _)| name == "PATH").map(|(_, path)| path).unwrap_or_default();
    settings.local.environment = vec![("PATH".into(), path)];
    change(&mut settings.local);
    build("local", settings)
}

#[expect(clippy::disallowed_methods, reason = "the examples are our own")]
fn example(name: &str) -> Image {
    let path = format!("{}/../examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).expect("an example image");
    let decoded = image::load_from_memory(&bytes).expect("a picture");
    let is_jpeg = bytes.starts_with(b"\xff\xd8");
    let format = if is_jpeg { Format::Jpeg } else { Format::Png };
    Image::vouched(Bytes::from(bytes), format, decoded.width(), decoded.height())
}

fn about(image: Image, task: Task) -> VisionRequest {
    let mut req = request("tesseract", task);
    req.messages = vec![testkit::about(vec![image], "What is this?")];
    req.output = Output::Json(Schema { name: "t".into(), value: std::sync::Arc::new(json!({})) });
    req
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test]
async fn the_provider_behaves() {
    behaves(&local(|_| {}), Expected { secret: KEY, calls: &|| 0 }).await;
}

#[tokio::test]
async fn a_receipt_is_read_with_the_place_of_each_line() {
    let answer = local(|_| {}).complete(&ctx(PATIENCE), &about(example("receipt.png"), Task::Ocr)).await.expect("text");
    let text = read(&answer.text)["detected_text"].as_str().expect("text").to_owned();
    for line in ["LANTERN LANE GROCER", "Oat milk 1 litre 2.15", "TOTAL EUR 25.41"] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    let total = answer.blocks.iter().find(|block| block.text.contains("TOTAL EUR")).expect("the total's block");
    assert!(total.area.top > 500 && total.area.bottom < 950 && total.area.right <= 620, "{total:?}");
    assert!(total.confidence.expect("a confidence") > 0.8, "{total:?}");
}

#[tokio::test]
async fn a_description_says_what_was_measured_and_no_more() {
    let provider = local(|_| {});
    let answer = provider.complete(&ctx(PATIENCE), &about(example("qr.png"), Task::Describe)).await.expect("text");
    let description = read(&answer.text)["description"].as_str().expect("text").to_owned();
    assert!(description.contains("600 x 680 pixels"), "{description}");
    assert!(description.contains("A QR code says: https://example.org/visiongate?ticket=4711"), "{description}");
    assert!(description.contains("no vision model looked at the image"), "{description}");
    // What the pattern of the code looks like to a reader of letters is no text.
    assert_eq!(read(&answer.text)["detected_text"], "Scan me at the gate");
    let photo = about(example("photo-rotated.jpg"), Task::Describe);
    let answer = provider.complete(&ctx(PATIENCE), &photo).await.expect("text");
    assert!(answer.text.contains("suggest a photo"), "{}", answer.text);
    let answer = provider.complete(&ctx(PATIENCE), &about(example("chart.png"), Task::Describe)).await.expect("text");
    assert!(answer.text.contains("suggest a chart or diagram"), "{}", answer.text);
    let answer = provider.complete(&ctx(PATIENCE), &about(example("page.png"), Task::Describe)).await.expect("text");
    assert!(answer.text.contains("suggest a document"), "{}", answer.text);
}

#[tokio::test]
async fn a_page_on_its_head_is_read_with_places_in_its_own_pixels() {
    let upright = example("page.png");
    let provider = local(|_| {});
    let straight = provider.complete(&ctx(PATIENCE), &about(upright.clone(), Task::Ocr)).await.expect("text");
    let turned = image::load_from_memory(upright.bytes()).expect("a picture").rotate180();
    let mut bytes = std::io::Cursor::new(Vec::new());
    turned.write_to(&mut bytes, image::ImageFormat::Png).expect("a PNG");
    #[expect(clippy::disallowed_methods, reason = "drawn by this test")]
    let turned = Image::vouched(Bytes::from(bytes.into_inner()), Format::Png, upright.width(), upright.height());
    let answer = provider.complete(&ctx(PATIENCE), &about(turned, Task::Ocr)).await.expect("text");
    let words = |text: &str| text.split_whitespace().count();
    assert!(words(&answer.text).abs_diff(words(&straight.text)) <= 3, "{}", answer.text);
    let (first, other) = (&straight.blocks[0], &answer.blocks[0]);
    assert_eq!(first.text, other.text);
    assert!(other.area.left.abs_diff(upright.width() - first.area.right) < 8, "{first:?} {other:?}");
    assert!(other.area.top.abs_diff(upright.height() - first.area.bottom) < 8, "{first:?} {other:?}");
}

#[tokio::test]
async fn without_tesseract_facts_remain_and_the_warning_says_how_to_install_it() {
    let provider = local(|settings| settings.program = "no-such-tesseract".into());
    let answer = provider.complete(&ctx(PATIENCE), &about(example("qr.png"), Task::Describe)).await.expect("facts");
    assert!(answer.text.contains("600 x 680") && answer.text.contains("ticket=4711"), "{}", answer.text);
    assert!(answer.partial && answer.warnings[0].contains("Tesseract is not installed"), "{:?}", answer.warnings);
    assert!(answer.warnings[0].contains("install"), "{:?}", answer.warnings);
    let error = provider.complete(&ctx(PATIENCE), &about(example("qr.png"), Task::Ocr)).await.expect_err("no text");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(provider.probe(&ctx(PATIENCE)).await.expect_err("not there").kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_missing_language_is_named() {
    let provider = local(|settings| settings.languages = vec!["eng".into(), "xyz".into()]);
    let answer = provider.complete(&ctx(PATIENCE), &about(example("qr.png"), Task::Describe)).await.expect("an answer");
    let probe = provider.probe(&ctx(PATIENCE)).await.expect_err("no such language");
    assert!(probe.message().contains("no language pack `xyz`"), "{probe}");
    assert!(answer.warnings.is_empty() || answer.warnings[0].contains("xyz"), "{:?}", answer.warnings);
}

/// A program that hangs, and the file in which it leaves its process id.
fn hanging(name: &str) -> (std::path::PathBuf, std::path::PathBuf, std::path::PathBuf) {
    let folder = std::env::temp_dir().join(format!("visiongate-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (program, id) = (folder.join("hanging"), folder.join("id"));
    std::fs::write(&program, format!("#!/bin/sh\necho $$ > {}\nexec sleep 600\n", id.display())).expect("a script");
    #[cfg(unix)]
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    (folder, program, id)
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_caller_who_leaves_takes_the_child_along_and_leaves_no_zombie() {
    let (folder, program, id) = hanging("left");
    let provider = local(|settings| settings.program = program.display().to_string());
    let calling = ctx(PATIENCE);
    let req = about(example("qr.png"), Task::Describe);
    let leaving = tokio::time::timeout(Duration::from_secs(2), provider.complete(&calling, &req)).await;
    assert!(leaving.is_err(), "it was to hang");
    let id = std::fs::read_to_string(id).expect("it had started");
    let process = std::path::PathBuf::from("/proc").join(id.trim());
    let gone = async {
        while process.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(2), gone).await.is_ok(), "the child is still there");
    std::fs::remove_dir_all(folder).expect("cleaned up");
}

#[tokio::test]
async fn a_child_that_hangs_is_cut_off() {
    let (folder, program, _) = hanging("hang");
    let provider = local(|settings| {
        settings.program = program.display().to_string();
        settings.timeout = Duration::from_millis(300);
    });
    let answer = provider.complete(&ctx(PATIENCE), &about(example("qr.png"), Task::Describe)).await.expect("facts");
    assert!(answer.warnings[0].contains("did not finish in time"), "{:?}", answer.warnings);
    std::fs::remove_dir_all(folder).expect("cleaned up");
}
