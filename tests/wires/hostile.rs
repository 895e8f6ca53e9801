//! Replies that were cut, spliced and flipped: whatever a vendor sends, a wire answers or says why not. It neither
//! panics nor takes nothing for an answer. The fuzz targets in `fuzz/` go further, for whoever has the time.

use serde_json::Value;
use vision_providers::catalog::Catalog;
use vision_providers::frames::{Frames, Framing};
use vision_providers::testkit::{Play, Then, Upstream, ctx};

use super::PATIENCE;
use super::exchanges::provider_at;
use super::questions::{QUESTIONS, folder, listen, question};

/// A small generator, so that a failure comes back.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides.max(1)
    }
}

/// The bytes after a few of the things that go wrong on the way.
fn mangled(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    const TOKENS: [&[u8]; 12] = [
        b"null",
        b"-1",
        b"1e999",
        b"\"\"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"\r\n\r\n",
        b"data: ",
        b"\\u0000",
        b"[DONE]",
        b"true",
    ];
    let mut bytes = bytes.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(bytes.len());
        match dice.roll(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..(at + dice.roll(40)).min(bytes.len()))),
            2 => drop(bytes.splice(at..at, TOKENS[dice.roll(TOKENS.len())].iter().copied())),
            3 => drop(bytes.splice(at..(at + 4).min(bytes.len()), TOKENS[dice.roll(TOKENS.len())].iter().copied())),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.roll(8)),
        }
    }
    bytes
}

/// The bytes of every reply that is kept for a kind, and whether it is a stream.
fn replies(kind: &str) -> Vec<(&'static str, Vec<u8>, bool)> {
    let read = |name: &'static str| {
        let text = std::fs::read_to_string(folder().join(kind).join(format!("{name}.json"))).ok()?;
        let exchange: Value = serde_json::from_str(&text).expect("JSON");
        let reply = &exchange["reply"];
        let pieces = reply["pieces"].as_array();
        let bytes = pieces.map_or_else(
            || reply["body"].to_string(),
            |pieces| pieces.iter().filter_map(Value::as_str).collect::<String>(),
        );
        Some((name, bytes.into_bytes(), pieces.is_some()))
    };
    QUESTIONS.into_iter().filter_map(read).collect()
}

#[tokio::test]
async fn no_reply_makes_a_wire_panic_or_take_nothing_for_an_answer() {
    let mut dice = Dice(2026);
    let (mut answers, mut errors) = (0, 0);
    for kind in ["pixtral", "mistral-ocr", "openai", "anthropic", "gemini", "ollama"] {
        for (name, bytes, streams) in replies(kind) {
            let content_type = match (streams, kind) {
                (false, _) => "application/json",
                (true, "ollama") => "application/x-ndjson",
                (true, _) => "text/event-stream",
            };
            let headers = vec![("content-type", content_type.to_owned())];
            let plays = (0..60).map(|_| {
                let bytes = mangled(&bytes, &mut dice);
                let at = dice.roll(bytes.len());
                Play::Pieces(headers.clone(), vec![bytes[..at].to_vec(), bytes[at..].to_vec()], Then::End)
            });
            let upstream = Upstream::start(plays.collect::<Vec<_>>()).await;
            let provider = provider_at(kind, &upstream);
            let req = question(name, &provider.models()[0]);
            for _ in 0..60 {
                let answered = if streams {
                    listen(&provider, &req).await.1
                } else {
                    provider.complete(&ctx(PATIENCE), &req).await
                };
                match answered {
                    Ok(answer) => {
                        assert!(!answer.text.trim().is_empty(), "{kind}/{name} took nothing for an answer");
                        answers += 1;
                    }
                    Err(_) => errors += 1,
                }
            }
        }
    }
    assert!(answers > 200 && errors > 200, "too tame: {answers} answers, {errors} errors");
}

#[test]
fn frames_hold_whatever_comes() {
    let mut dice = Dice(7);
    for (_, bytes, _) in replies("anthropic").into_iter().chain(replies("ollama")) {
        for framing in [Framing::Events, Framing::Lines, Framing::Whole] {
            for _ in 0..200 {
                let bytes = mangled(&bytes, &mut dice);
                let (whole, mut one_by_one) = (events(framing, &bytes, bytes.len().max(1)), Vec::new());
                one_by_one.extend(events(framing, &bytes, 1));
                assert_eq!(whole, one_by_one, "how bytes are split changes what they say");
            }
        }
    }
}

fn events(framing: Framing, bytes: &[u8], piece: usize) -> Vec<vision_providers::frames::Event> {
    let mut frames = Frames::new(framing);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        events.extend(frames.push(piece).expect("short events"));
    }
    events.extend(frames.end());
    events
}

#[test]
fn a_mangled_catalog_is_refused_with_a_reason() {
    let presets = include_str!("../../providers/catalog/presets.toml");
    let models = include_str!("../../providers/catalog/models.toml");
    let mut dice = Dice(11);
    let mut refused = 0;
    for _ in 0..150 {
        let mangled = String::from_utf8_lossy(&mangled(models.as_bytes(), &mut dice)).into_owned();
        if let Err(error) = Catalog::read(presets, &mangled) {
            assert!(error.to_string().contains("catalog"), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 50, "too tame: {refused} refused");
}
