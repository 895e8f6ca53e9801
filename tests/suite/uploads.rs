//! Images that are sent ahead, and images as large as they may be through every door of HTTP.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use vision_providers::testkit::{Play, Upstream};

use super::client::{example_bytes, uri};
use super::http::{JSON, Server, locally};
use super::rest::{config, serving};
use super::{completion, described};

async fn server_of(more: &str) -> (Upstream, tempfile::TempDir, Server) {
    let upstream = Upstream::start([Play::json(200, &completion("Seen."))]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let server = serving(folder.path(), &config(&upstream, &upstream, more)).await;
    (upstream, folder, server)
}

/// A black bitmap of this many bytes, about: nothing is as large as a bitmap.
fn bitmap(bytes: u32) -> Vec<u8> {
    let width = 3200_u32;
    let height = bytes / (width * 3);
    let size = 54 + width * height * 3;
    let mut file = b"BM".to_vec();
    for number in [size, 0, 54, 40, width, height, 0x0018_0001, 0, 0, 2835, 2835, 0, 0] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.resize(size as usize, 0);
    file
}

/// A small picture in a file of this many bytes, which takes no time to decode: between its header and its pixels there is
/// room that nothing uses.
fn roomy_bitmap(bytes: u32) -> Vec<u8> {
    let mut file = bitmap(1_000_000);
    let gap = bytes - u32::try_from(file.len()).expect("it is small");
    file[10..14].copy_from_slice(&(54 + gap).to_le_bytes());
    file[2..6].copy_from_slice(&bytes.to_le_bytes());
    file.splice(54..54, (0..gap).map(|index| index.to_le_bytes()[1]));
    file
}

fn question(image: &str) -> Value {
    json!({"image": image, "prompt": "What is this?", "cache": "bypass"})
}

#[tokio::test]
async fn an_image_that_was_sent_ahead_is_used_by_its_handle_everywhere() {
    locally(async {
        let (upstream, _folder, server) = server_of("").await;
        let receipt = example_bytes("receipt.png");
        let answer = server.request("POST /v1/images", "content-type: image/png\r\n", &receipt).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["format"], &told["bytes"]), (201, &json!("png"), &json!(receipt.len())));
        assert_eq!((&told["width"], &told["height"]), (&json!(620), &json!(1000)));
        assert!((3590..=3600).contains(&told["expires_in_s"].as_u64().expect("seconds")), "{told}");
        let handle = told["handle"].as_str().expect("a handle");
        assert!(handle.starts_with("img_") && handle.len() == 28, "{handle}");
        let value = server.post_json("/v1/analyze", "", &question(handle)).await.json();
        assert_eq!((&value["text"], &value["images"][0]["source"]), (&json!("Seen."), &json!("upload")), "{value}");
        let qr = example_bytes("qr.png");
        let form = server.post_form("/v1/images", "", &[("image", Some("qr.png"), &qr), ("note", None, b"x")]).await;
        let other = form.json()["handle"].as_str().expect("a handle").to_owned();
        assert_ne!(handle, other);
        let batch = json!({"items": [handle, {"image": other}], "prompt": "What?", "cache": "bypass"});
        assert_eq!(server.post_json("/v1/batch", "", &batch).await.json()["succeeded"], 2);
        let compare = json!({"image": handle, "models": ["a", "b"], "prompt": "What?"});
        assert_eq!(server.post_json("/v1/compare", "", &compare).await.json()["answers"][1]["text"], "Seen.");
        let part = json!({"type": "image_url", "image_url": {"url": other}});
        let chat = json!({"messages": [{"role": "user", "content": [part]}]});
        assert_eq!(server.post_json("/v1/chat/completions", "", &chat).await.status, 200);
        let call = json!({"name": "analyze_image", "arguments": question(handle)});
        assert_eq!(server.call("tools/call", call).await["result"]["structuredContent"]["text"], "Seen.");
        assert_eq!(upstream.calls(), 7);
    })
    .await;
}

#[tokio::test]
async fn handles_are_forgotten_in_time_and_the_oldest_first_when_room_runs_out() {
    locally(async {
        let (_upstream, _folder, server) = server_of("[uploads]\ncapacity = \"100KiB\"\nttl = \"3s\"\n").await;
        let (receipt, qr) = (example_bytes("receipt.png"), example_bytes("qr.png"));
        let first = server.upload("", &receipt).await;
        assert_eq!(server.post_json("/v1/analyze", "", &question(&first)).await.status, 200);
        let second = server.upload("", &receipt).await;
        let pushed_out = server.post_json("/v1/analyze", "", &question(&first)).await;
        assert_eq!((pushed_out.status, pushed_out.code().as_str()), (400, "INVALID_INPUT"));
        assert!(pushed_out.text().contains("upload the image again"), "{}", pushed_out.text());
        // Files that come with a call push out nothing, and a handle is known by the address of its resource too.
        let form = [("image", Some("a.png"), &receipt[..]), ("prompt", None, b"What?".as_slice())];
        assert_eq!(server.post_form("/v1/analyze", "", &form).await.status, 200);
        let resource = format!("vision://images/{second}");
        assert_eq!(server.post_json("/v1/analyze", "", &question(&resource)).await.status, 200);
        let small = server.upload("", &qr).await;
        assert_eq!(server.post_json("/v1/analyze", "", &question(&second)).await.status, 200);
        sleep(Duration::from_millis(3200)).await;
        for handle in [&second, &small, "img_AAAAAAAAAAAAAAAAAAAAAAAA"] {
            let gone = server.post_json("/v1/analyze", "", &question(handle)).await;
            assert_eq!((gone.status, gone.code().as_str()), (400, "INVALID_INPUT"), "{handle}");
        }
        let large = server.request("POST /v1/images", "", &bitmap(200_000)).await;
        assert_eq!((large.status, large.code().as_str()), (413, "IMAGE_TOO_LARGE"), "larger than all may be together");
    })
    .await;
}

#[tokio::test]
async fn what_is_no_usable_image_is_refused_when_it_is_sent() {
    locally(async {
        let (_upstream, _folder, server) = server_of("[intake]\nmax_bytes = \"100KiB\"\n").await;
        let mut wide = bitmap(100_000);
        wide[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
        wide[22..26].copy_from_slice(&60_000_u32.to_le_bytes());
        for (image, status, code) in [
            (Vec::new(), 400, "INVALID_INPUT"),
            (b"hello, this is a text".to_vec(), 415, "UNSUPPORTED_FORMAT"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), 415, "UNSUPPORTED_FORMAT"),
            (b"\x89PNG\r\n\x1a\nand no more".to_vec(), 422, "IMAGE_CORRUPT"),
            (wide, 413, "IMAGE_TOO_LARGE"),
            (bitmap(200_000), 413, "IMAGE_TOO_LARGE"),
        ] {
            let answer = server.request("POST /v1/images", "", &image).await;
            assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{}", answer.text());
            let answer = server.post_form("/v1/images", "", &[("image", Some("a.png"), &image)]).await;
            assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "as a form: {}", answer.text());
            let answer = server.post_form("/v1/analyze", "", &[("image", Some("a.png"), &image)]).await;
            assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "with a call: {}", answer.text());
        }
        let qr = example_bytes("qr.png");
        let two = server.post_form("/v1/images", "", &[("a", Some("1"), &qr), ("b", Some("2"), &qr)]).await;
        let none = server.post_form("/v1/images", "", &[("image", None, &qr)]).await;
        assert_eq!((two.code(), none.code()), ("INVALID_INPUT".to_owned(), "INVALID_INPUT".to_owned()));
        let encoded = server.request("POST /v1/images", "content-encoding: gzip\r\n", &qr).await;
        assert_eq!((encoded.status, encoded.code().as_str()), (415, "UNSUPPORTED_FORMAT"));
    })
    .await;
}

#[tokio::test]
async fn an_image_of_thirty_megabytes_comes_through_every_door() {
    locally(async {
        let upstream = Upstream::start([Play::json(200, &described("Black.", ""))]).await;
        let folder = tempfile::tempdir().expect("a folder");
        let server = serving(folder.path(), &config(&upstream, &upstream, "")).await;
        let image = roomy_bitmap(30_700_000);
        let handle = server.upload("content-type: image/bmp\r\n", &image).await;
        let analyzed = |value: &Value| {
            assert_eq!(
                (&value["description"], &value["images"][0]["bytes"]),
                (&json!("Black."), &json!(image.len())),
                "{value:.500}"
            );
        };
        let answer = server.post_json("/v1/analyze", "", &json!({"image": handle, "cache": "bypass"})).await;
        analyzed(&answer.json());
        let answer = server.post_form("/v1/images", "", &[("image", Some("a.bmp"), &image)]).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let answer = server.post_form("/v1/analyze", "", &[("image", Some("a.bmp"), &image)]).await;
        analyzed(&answer.json());
        let uri = uri(&image);
        analyzed(&server.post_json("/v1/analyze", "", &json!({"image": uri, "cache": "bypass"})).await.json());
        let part = json!({"type": "image_url", "image_url": {"url": uri}});
        let chat = json!({"messages": [{"role": "user", "content": [part]}]});
        let answer = server.post_json("/v1/chat/completions", "", &chat).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["visiongate"]["images"][0]["bytes"], image.len());
    })
    .await;
}

#[tokio::test]
async fn sixty_megabytes_are_refused_with_an_answer_that_arrives() {
    locally(async {
        let (upstream, _folder, server) = server_of("").await;
        let body = vec![b' '; 60 << 20];
        for path in ["/v1/analyze", "/v1/images", "/v1/chat/completions", "/mcp"] {
            let answer = server.request(&format!("POST {path}"), JSON, &body).await;
            assert_eq!(answer.status, 413, "{path}: {answer:?}");
            assert!(answer.text().contains("larger than 48 MiB"), "{path}: {}", answer.text());
            let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
            chunked.extend_from_slice(&body);
            chunked.extend_from_slice(b"\r\n0\r\n\r\n");
            let headers = format!("{JSON}transfer-encoding: chunked\r\n");
            let answer = server.request(&format!("POST {path}"), &headers, &chunked).await;
            assert_eq!(answer.status, 413, "{path} in chunks: {answer:?}");
        }
        assert_eq!(upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn swarms_of_values_are_refused_before_they_take_forty_times_their_size() {
    locally(async {
        let (upstream, _folder, server) = server_of("").await;
        let swarm = format!("[{}0]", "0,".repeat(20 << 20));
        let body = format!("{{\"image\": \"x\", \"stop\": {swarm}}}");
        for path in ["/v1/analyze", "/v1/chat/completions", "/mcp"] {
            let answer = server.request(&format!("POST {path}"), JSON, body.as_bytes()).await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.text());
            assert!(answer.text().contains("values"), "{path}: {}", answer.text());
        }
        let qr = example_bytes("qr.png");
        let (commas, part) = (",".repeat(20 << 20), &swarm[..1 << 20]);
        let part = format!("{part}0]");
        for (name, text, times) in [("stop", &swarm, 1), ("models", &commas, 1), ("images", &part, 20)] {
            let mut form = vec![("image", Some("a.png"), &qr[..])];
            form.extend(vec![(name, None, text.as_bytes()); times]);
            let answer = server.post_form("/v1/analyze", "", &form).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_INPUT"), "{name}");
            assert!(answer.text().contains("values"), "{name}: {}", answer.text());
        }
        for (path, name) in [("/v1/analyze", "schema"), ("/v1/compare", "expected")] {
            let hidden = json!({"image": uri(&qr), "models": ["a", "b"], name: &swarm}).to_string();
            let answer = server.request(&format!("POST {path}"), JSON, hidden.as_bytes()).await;
            assert_eq!((answer.status, answer.code().as_str()), (400, "INVALID_INPUT"), "{name}");
            assert!(answer.text().contains(name), "{}", answer.text());
        }
        // Whatever the body is said to be, in however many fields, and in texts that are JSON themselves.
        let odd = "content-type: multipart/form-data\r\n";
        let said = format!("{{\"messages\": {swarm}}}");
        let answer = server.request("POST /v1/chat/completions", odd, said.as_bytes()).await;
        assert!(answer.status == 400 && answer.text().contains("values"), "{}", answer.text());
        let some = format!("[{}[0]]", "[0],".repeat(10_000));
        for (name, text) in [("images", &some), ("models", &",".repeat(30_000)), ("region", &"\",".repeat(30_000))] {
            let answer = server.post_form("/v1/analyze", "", &[(name, None, text.as_bytes()); 4]).await;
            assert!(answer.status == 400 && answer.text().contains("values"), "{name}: {}", answer.text());
        }
        let handle = server.upload("", &qr).await;
        let item = json!({"image": handle, "schema": format!("{{\"enum\": {some}}}")});
        let batch = json!({"items": vec![item; 8]});
        let answer = server.post_json("/v1/batch", "", &batch).await;
        assert!(answer.status == 400 && answer.text().contains("values"), "{}", answer.text());
        let expected = json!({"image": handle, "models": ["a", "b"], "expected": some.repeat(10)});
        let answer = server.post_json("/v1/compare", "", &expected).await;
        assert!(answer.status == 400 && answer.text().contains("values"), "{}", answer.text());
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id().expect("it runs")));
        let most = status.unwrap_or_default().lines().find_map(|line| {
            line.strip_prefix("VmHWM:").map(|size| size.trim().trim_end_matches(" kB").parse::<u64>().expect("a size"))
        });
        assert!(most.is_none_or(|most| most < 400 << 10), "{most:?} KiB of memory at the most");
        assert_eq!(upstream.calls(), 0);
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_told_what_helps_at_that_door() {
    locally(async {
        let (_upstream, _folder, server) = server_of("").await;
        let sized = "content-length: 60000000\r\n";
        let advice = async |line: &str| {
            let answer = server.request(line, sized, b"").await;
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &json!("IMAGE_TOO_LARGE")), "{line}");
            answer.json()["error"]["advice"].as_str().expect("advice").to_owned()
        };
        let (upload, call) = (advice("POST /v1/images").await, advice("POST /v1/analyze").await);
        assert!(upload.contains("smaller picture") && !upload.contains("upload"), "{upload}");
        assert!(call.contains("upload it to /v1/images") && call.contains("MiB at most"), "{call}");
    })
    .await;
}
