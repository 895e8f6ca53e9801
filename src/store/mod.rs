//! What outlives the process: answers, in a form of their own. It is not that of the domain, whose types change with
//! the code, and nothing here decides whether a finished answer is worth keeping: the layer that remembers does.

pub mod disk;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vision_providers::answer::{Answer, Finish, Rect, TextBlock, Usage};
use vision_providers::price::MicroUsd;
use vision_providers::request::ModelId;

/// The first line of whatever is kept, and the number of the form of the rest: another form needs another number.
const FORM: &str = "visiongate answer 1";
/// Bytes that are written or believed at most.
const LARGEST: u64 = 8 << 20;
/// How far the clocks of those who share a folder may differ.
const SKEW: Duration = Duration::from_mins(1);

type Key = [u8; 32];

/// What to write for an answer: form, seconds since 1970, digest of everything, and the answer in JSON.
fn contents(answer: &StoredAnswer, key: &Key, now: SystemTime) -> serde_json::Result<Vec<u8>> {
    let created = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Ok(sealed(key, created, &serde_json::to_vec(answer)?))
}

fn sealed(key: &Key, created: u64, payload: &[u8]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(FORM.as_bytes()).update(key).update(&created.to_le_bytes()).update(payload);
    let mut contents = format!("{FORM}\n{created}\n{}\n", hasher.finalize().to_hex()).into_bytes();
    contents.extend_from_slice(payload);
    contents
}

/// The answer in these contents, unless they are too old or not what was written for this key.
fn verified(contents: &[u8], key: &Key, now: SystemTime, ttl: Duration) -> Option<Answer> {
    let mut lines = contents.splitn(4, |byte| *byte == b'\n').skip(1);
    let created = str::from_utf8(lines.next()?).ok()?.parse().ok()?;
    let payload = lines.nth(1)?;
    let date = UNIX_EPOCH.checked_add(Duration::from_secs(created))?;
    // To seal again and compare all of it leaves no second way to write the same thing.
    if sealed(key, created, payload) != contents || !is_current(date, now, ttl) {
        return None;
    }
    serde_json::from_slice(payload).ok().map(StoredAnswer::answer)
}

/// Whether something of this date is neither too old nor from the future.
fn is_current(date: SystemTime, now: SystemTime, longest: Duration) -> bool {
    match now.duration_since(date) {
        Ok(age) => age <= longest,
        Err(ahead) => ahead.duration() <= SKEW,
    }
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct StoredAnswer {
    text: String,
    model: String,
    usage: Option<StoredUsage>,
    earlier: Vec<StoredUsage>,
    finish: StoredFinish,
    blocks: Vec<StoredBlock>,
    warnings: Vec<String>,
}

impl StoredAnswer {
    /// What is kept of an answer; `None` for one that nobody should remember. How it came about is of its own day only.
    fn of(answer: &Answer) -> Option<Self> {
        let Answer {
            text,
            model,
            usage,
            earlier,
            finish,
            blocks,
            warnings,
            partial,
            cached: _,
            tries: _,
            waited: _,
            allowance: _,
        } = answer;
        (!partial).then(|| Self {
            text: text.clone(),
            model: model.as_str().to_owned(),
            usage: usage.as_ref().map(StoredUsage::of),
            earlier: earlier.iter().map(StoredUsage::of).collect(),
            finish: StoredFinish::of(*finish),
            blocks: blocks.iter().map(StoredBlock::of).collect(),
            warnings: warnings.clone(),
        })
    }

    /// The answer again, which now says of itself that it was remembered.
    fn answer(self) -> Answer {
        Answer {
            usage: self.usage.map(StoredUsage::usage),
            earlier: self.earlier.into_iter().map(StoredUsage::usage).collect(),
            finish: self.finish.finish(),
            blocks: self.blocks.into_iter().map(StoredBlock::block).collect(),
            warnings: self.warnings,
            cached: true,
            ..Answer::new(self.text, ModelId::from(self.model.as_str()))
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredUsage {
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    reasoning_tokens: u64,
    image_tokens: Option<u64>,
    pages: u64,
    annotated_pages: u64,
    billed_micro_usd: Option<u64>,
}

impl StoredUsage {
    fn of(usage: &Usage) -> Self {
        let Usage {
            input_tokens,
            output_tokens,
            cached_tokens,
            reasoning_tokens,
            image_tokens,
            pages,
            annotated_pages,
            billed,
        } = *usage;
        Self {
            input_tokens,
            output_tokens,
            cached_tokens,
            reasoning_tokens,
            image_tokens,
            pages,
            annotated_pages,
            billed_micro_usd: billed.map(|MicroUsd(amount)| amount),
        }
    }

    fn usage(self) -> Usage {
        Usage {
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cached_tokens: self.cached_tokens,
            reasoning_tokens: self.reasoning_tokens,
            image_tokens: self.image_tokens,
            pages: self.pages,
            annotated_pages: self.annotated_pages,
            billed: self.billed_micro_usd.map(MicroUsd),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredFinish {
    Stop,
    Length,
    Refusal,
}

impl StoredFinish {
    fn of(finish: Finish) -> Self {
        match finish {
            Finish::Stop => Self::Stop,
            Finish::Length => Self::Length,
            Finish::Refusal => Self::Refusal,
        }
    }

    fn finish(self) -> Finish {
        match self {
            Self::Stop => Finish::Stop,
            Self::Length => Finish::Length,
            Self::Refusal => Finish::Refusal,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredBlock {
    image: usize,
    text: String,
    /// Left, top, right and bottom.
    area: [u32; 4],
    confidence: Option<f32>,
}

impl StoredBlock {
    fn of(block: &TextBlock) -> Self {
        let TextBlock { image, text, area: Rect { left, top, right, bottom }, confidence } = block;
        Self { image: *image, text: text.clone(), area: [*left, *top, *right, *bottom], confidence: *confidence }
    }

    fn block(self) -> TextBlock {
        let [left, top, right, bottom] = self.area;
        let area = Rect { left, top, right, bottom };
        TextBlock { image: self.image, text: self.text, area, confidence: self.confidence }
    }
}
