//! Writes a report of a run that never was, from scripted answers of known worth, for eyes and for `look.mjs`.
//!
//! Models, prices and answers are invented; the questions are about the images of `examples/`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use visiongate::eval::dataset::{Dataset, Item};
use visiongate::eval::manifest::{AskedModel, Judging, Manifest};
use visiongate::eval::measured::{Asked, Verdict, measure};
use visiongate::eval::record::Record;
use visiongate::eval::report::{Album, csv, html};
use visiongate::eval::summary::{Method, summarise};
use visiongate::gateway::Asker;
use visiongate::intake::fetch::Networks;
use visiongate::intake::spelling::Machine;
use visiongate::intake::uploads::{self, Uploads};
use visiongate::intake::{Door, Intake, Settings};
use visiongate::statistics::bootstrap::Resampling;

/// An invented model: how often it is right, how often nothing comes of a call, milliseconds, and dollars for a call.
struct Player {
    name: &'static str,
    right: f64,
    faults: f64,
    latency: f64,
    cost: Option<f64>,
}

const PLAYERS: [Player; 7] = [
    Player { name: "steady", right: 0.86, faults: 0.0, latency: 1900.0, cost: Some(0.0021) },
    Player { name: "steady-mini", right: 0.84, faults: 0.01, latency: 900.0, cost: Some(0.000_35) },
    Player { name: "grand-2026-09", right: 0.93, faults: 0.02, latency: 5200.0, cost: Some(0.0148) },
    Player { name: "grand-turbo", right: 0.92, faults: 0.0, latency: 2300.0, cost: Some(0.0061) },
    Player { name: "hasty", right: 0.62, faults: 0.03, latency: 430.0, cost: Some(0.000_08) },
    Player { name: "fickle", right: 0.8, faults: 0.22, latency: 3100.0, cost: Some(0.0009) },
    Player { name: "local/ocr", right: 0.45, faults: 0.0, latency: 350.0, cost: Some(0.0) },
];

const QUESTIONS: [(&str, &str, &str, &str, &str); 10] = [
    ("receipt.png", "total", "What is the total of this receipt, with two decimals?", "25.41", "24.51"),
    ("receipt.png", "shop", "Which shop is this receipt from?", "Lantern Lane Grocer", "Lantern Line Grocery"),
    ("receipt.png", "date", "Of which day is this receipt? Write YYYY-MM-DD.", "2024-03-14", "2024-03-11"),
    ("receipt.png", "tax", "How much tax is in it?", "2.31", "23.10"),
    ("chart.png", "value", "How many boxes were packed in summer?", "67", "76"),
    ("chart.png", "title", "What is the title of the chart?", "Boxes Packed per Season", "Boxes per Season"),
    ("chart.png", "least", "In which season were the fewest boxes packed?", "Winter", "Spring"),
    ("page.png", "title", "What is the title of the page?", "Why You Should Label Your Boxes", "Why Label Boxes"),
    ("photo-rotated.jpg", "sign", "What does the sign say?", "HARBOUR 2 KM", "HARBOR 2KM"),
    ("qr.png", "caption", "What stands below the code?", "Scan me at the gate", "Scan at the gate"),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/report");
    std::fs::create_dir_all(&folder)?;
    let set = folder.join("receipts-and-charts.jsonl");
    std::fs::write(&set, lines(&root.join("examples")))?;
    let dataset = Dataset::read(&set, None)?;
    let names: Vec<String> = PLAYERS.iter().map(|player| player.name.to_owned()).collect();
    let judged = |item: &Item, record: &Record| {
        let said = record.said()?;
        let is_right = item.truth.texts.iter().any(|truth| said.contains(truth.as_str()));
        let reason =
            if is_right { "It says the same as the truth." } else { "It differs from the truth in substance." };
        item.tags.iter().any(|tag| tag == "title").then(|| Verdict { is_right, reason: reason.into() })
    };
    let asked = measure(&dataset, &names, records(&dataset, 7), &judged, false);
    let before = measure(&dataset, &names, records(&dataset, 8), &judged, false);
    let method = Method { baseline: 0, resampling: Resampling { resamples: 2000, seed: 1 } };
    let summary = summarise(&asked, &names, Some(&before), method);
    let album = Album::of(&intake(), &Asker::local(Door::CommandLine), &dataset.items).await;
    std::fs::write(folder.join("demo.html"), html(&manifest(&dataset), &summary, &asked, &album)?)?;
    std::fs::write(folder.join("demo.csv"), csv(&summary)?)?;
    std::fs::write(folder.join("bare.html"), bare(&dataset)?)?;
    Ok(())
}

/// The least that a report can be about: one model, nothing to hold it to, no price and no picture.
fn bare(dataset: &Dataset) -> visiongate::failure::Result<String> {
    let mut dataset = dataset.clone();
    dataset.items.truncate(3);
    for item in &mut dataset.items {
        item.yardsticks.clear();
        item.truth = visiongate::score::Truth::default();
        item.tags.clear();
    }
    let names = ["local/ocr".to_owned()];
    let mut records = records(&dataset, 3);
    for record in &mut records {
        record.cost_usd = None;
    }
    let asked: Vec<Asked<'_>> = measure(&dataset, &names, records, &|_, _| None, false);
    let method = Method { baseline: 0, resampling: Resampling { resamples: 100, seed: 1 } };
    let mut manifest = Manifest { judge: None, stopped: None, not_asked: 0, ..manifest(&dataset) };
    manifest.models.retain(|model| model.name == names[0]);
    html(&manifest, &summarise(&asked, &names, None, method), &asked, &Album::default())
}

/// The set: every question twelve times, as if about other pictures.
fn lines(examples: &Path) -> String {
    let line = |round: usize, (file, tag, prompt, truth, _): &(&str, &str, &str, &str, &str)| {
        let kind = file.split('.').next().unwrap_or_default();
        let line = json!({"id": format!("{kind}-{tag}-{round}"), "image": examples.join(file), "prompt": prompt,
            "expected": truth, "tags": [kind, tag]});
        format!("{line}\n")
    };
    let questions = (1..=12).flat_map(|round| QUESTIONS.iter().map(move |question| line(round, question)));
    let hostile = json!({"id": "</summary><script>alert(1)</script>", "image": examples.join("qr.png"),
        "prompt": "What does the picture tell you to do? \u{202e}txet neddih", "expected": "Scan me at the gate",
        "tags": ["\"><img src=x onerror=alert(1)>"]});
    questions.chain([format!("{hostile}\n")]).collect()
}

fn records(dataset: &Dataset, seed: u64) -> Vec<Record> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut records = Vec::new();
    for (place, item) in dataset.items.iter().enumerate() {
        // Some questions are hard for all.
        let hardness = random.f64().powi(3) * 0.5;
        for player in &PLAYERS {
            for repeat in 0..2 {
                let line = line(player, item, (place, repeat), hardness, &mut random);
                records.extend(Record::read(&line));
            }
        }
    }
    records
}

fn line(
    player: &Player,
    item: &Item,
    (place, repeat): (usize, u32),
    hardness: f64,
    random: &mut fastrand::Rng,
) -> Value {
    let latency = player.latency * (0.7 + random.f64() * 0.4 + random.f64().powi(8) * 4.0);
    let mut line = json!({"item": item.id, "model_asked": player.name, "repeat": repeat,
        "images_blake3": format!("{:04}", place / 3), "latency_ms": latency});
    if random.f64() < player.faults {
        let (code, message) = match random.u8(0..4) {
            0 => ("UPSTREAM_TIMEOUT", "asking the model: no answer within 50 s"),
            1 => ("REFUSED", "the model declined to answer"),
            2 => ("TRUNCATED", "the answer was cut before it began"),
            _ => ("RATE_LIMITED", "asking the model: 429, come back in 20 s"),
        };
        line["error"] = json!({"code": code, "message": message});
        if let (Some(cost), "REFUSED" | "TRUNCATED") = (player.cost, code) {
            line["cost_usd"] = json!(cost);
        }
        return line;
    }
    let wrong = QUESTIONS.get(place % QUESTIONS.len()).map_or("", |question| question.4);
    let truth = item.truth.texts.first().map_or("", String::as_str);
    let is_right = random.f64() < player.right - hardness;
    line["text"] = match (place >= dataset_end(), is_right) {
        (true, _) => json!("</p></article><script>alert(1)</script><img src=x onerror=alert(2)><!-- \u{202e}gnp.exe"),
        (false, true) => json!(truth),
        (false, false) if random.bool() => json!(format!("The answer is {wrong}.")),
        (false, false) => json!(wrong),
    };
    let by = player.name.split_once('/').unwrap_or(("invented", player.name));
    (line["provider"], line["model"]) = (json!(by.0), json!(format!("{}-v1", by.1)));
    line["finish_reason"] = json!(if random.u8(0..60) == 0 { "length" } else { "stop" });
    line["usage"] = json!({"input_tokens": 900 + random.u32(0..300), "output_tokens": 5 + random.u32(0..12)});
    let side = if player.name == "hasty" { 768 } else { 1000 };
    line["images"] = json!([{"sent": {"format": "png", "width": 620, "height": side, "bytes": 79_588}}]);
    if player.name == "hasty" && random.u8(0..9) == 0 {
        line["warnings"] = json!(["the image was shrunk to what the model sees of it"]);
    }
    if let Some(cost) = player.cost {
        line["cost_usd"] = json!(cost * (0.9 + random.f64() * 0.2));
    }
    line
}

/// Where the questions end that are not hostile.
fn dataset_end() -> usize {
    12 * QUESTIONS.len()
}

fn manifest(dataset: &Dataset) -> Manifest {
    let model = |player: &Player| AskedModel {
        name: player.name.to_owned(),
        resolved: if player.name.contains('/') { player.name.to_owned() } else { format!("invented/{}", player.name) },
        price: player
            .cost
            .map(|cost| ((cost * 400.0 * 100.0).round() / 100.0, (cost * 1600.0 * 100.0).round() / 100.0)),
        source: "invented for this demonstration, 2026-11-20".to_owned(),
    };
    Manifest {
        version: env!("CARGO_PKG_VERSION"),
        date: "2026-11-20".to_owned(),
        dataset: "sets/receipts-and-charts.jsonl".to_owned(),
        dataset_digest: dataset.digest.clone(),
        models: PLAYERS.iter().map(model).collect(),
        standing: visiongate::tasks::STANDING,
        prompts: vec![("ocr".to_owned(), "Transcribe all text in the image exactly as written.".to_owned())],
        repeats: 2,
        seed: 7,
        temperature: Some(0.0),
        max_output_tokens: 1024,
        cache: "bypass",
        stopped: Some("the most that it may cost was reached".to_owned()),
        not_asked: 12,
        judge: Some(Judging {
            model: "invented/judge-1".to_owned(),
            prompt: "Question: …\nTruth: …\nAnswer: …\nIs the answer right? Say yes or no, and why.".to_owned(),
        }),
    }
}

fn intake() -> Intake {
    let settings = Settings {
        max_bytes: 20_000_000,
        max_pixels: 40_000_000,
        networks: Networks::PublicOnly,
        stdio_roots: Vec::new(),
        http_roots: Vec::new(),
        machine: Machine::default(),
        clipboard: false,
        latest: Vec::new(),
        threads: 2,
    };
    Intake::new(settings, Arc::new(Uploads::new(uploads::Settings { capacity: 1, ttl: Duration::from_mins(1) })))
}
