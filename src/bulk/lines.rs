//! The lines of a run: what they say of a question, and what an earlier run's say of this one's.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{StreamExt as _, iter};
use serde_json::{Map, Value, json};
use vision_providers::price::MicroUsd;

use super::Job;
use super::journal::Place;
use super::twins::Digest;
use crate::failure::Code;
use crate::gateway::{Ask, Asker, Gateway};
use crate::intake::source::Source;

/// Files that are opened at once to see whether they have changed.
const LOOKED_AT: usize = 16;
/// The member of a line that says which files were looked at.
const DIGEST: &str = "images_blake3";

/// A line: what is known by, the files it is about, and what became of it.
pub(super) fn line(job: &Job, told: Map<String, Value>, digest: Option<Digest>) -> Value {
    let mut line = job.head.clone();
    if let Some(digest) = digest {
        line.insert(DIGEST.into(), json!(hex(&digest)));
    }
    line.extend(told);
    Value::Object(line)
}

/// What files are now, by the names of all that one question is about.
#[derive(Debug, Clone, Default)]
pub struct Files(HashMap<Arc<[String]>, String>);

impl Files {
    /// Looks at the files of these questions. What lies at an address is not fetched for that, and what cannot be opened is
    /// left out.
    pub async fn of<'a>(gateway: &Gateway, asker: &Asker, asks: impl IntoIterator<Item = &'a Ask>) -> Self {
        let is_near = |image: &String| matches!(Source::parse(image), Ok(Source::Path(_) | Source::Data(_)));
        let near = asks.into_iter().filter(|ask| ask.images.iter().all(is_near));
        let asks: HashMap<&Arc<[String]>, &Ask> = near.map(|ask| (&ask.images, ask)).collect();
        let looking = iter(asks).map(async |(images, ask)| {
            let look = gateway.look(ask, asker).await.ok()?;
            Some((Arc::clone(images), hex(&look.digest())))
        });
        Self(looking.buffer_unordered(LOOKED_AT).filter_map(async |seen| seen).collect().await)
    }

    /// Whether the files that a line is about are still what they were, as far as that is known.
    #[must_use]
    pub fn are_those_of(&self, line: &Value, ask: &Ask) -> bool {
        line[DIGEST].as_str().zip(self.0.get(&ask.images)).is_none_or(|(then, now)| then == now)
    }
}

/// The member of a line that says what earlier calls about its question have cost, whose lines it replaces.
const EARLIER_COST: &str = "earlier_cost_usd";

/// What the calls about the question of this line have cost.
#[must_use]
pub fn cost_of(line: &Value) -> MicroUsd {
    let cost = |name: &str| line[name].as_f64().and_then(MicroUsd::from_dollars).unwrap_or_default().0;
    MicroUsd(cost("cost_usd").saturating_add(cost(EARLIER_COST)))
}

/// Lines that are dropped because their questions are asked again: what they have cost and why they came to nothing, by
/// what the questions are known by.
#[derive(Debug, Default)]
pub struct Dropped(HashMap<String, (MicroUsd, Map<String, Value>)>);

impl Dropped {
    pub fn add(&mut self, id: &str, line: &Value) {
        let changed = || json!({"code": Code::Cancelled.name(), "message": "this is another question now, which nobody was asked"});
        let error = line.get("error").cloned().unwrap_or_else(changed);
        let images = line.get(DIGEST).map(|digest| (DIGEST.to_owned(), digest.clone()));
        let (cost, last) = self.0.entry(id.to_owned()).or_default();
        *cost = MicroUsd(cost.0.saturating_add(cost_of(line).0));
        *last = images.into_iter().chain([("error".to_owned(), error)]).collect();
    }

    /// Gives each question its own: the line that comes in their place says what they have cost, and where nobody is asked,
    /// why there is no answer.
    pub fn given_to(mut self, jobs: &mut [Job]) {
        for job in jobs {
            let Some((cost, told)) = self.0.remove(&job.id) else { continue };
            if cost.0 > 0 {
                job.head.insert(EARLIER_COST.into(), json!(cost.dollars()));
            }
            job.earlier = Some(told);
        }
    }
}

fn hex(digest: &Digest) -> String {
    blake3::Hash::from(*digest).to_hex().to_string()
}

/// The line of another, without what is its own; it costs nothing a second time.
pub(super) fn served(line: Value, head: &Map<String, Value>) -> Map<String, Value> {
    let Value::Object(mut line) = line else { return Map::new() };
    let same = line.remove("same_as").or_else(|| line.get("id").cloned());
    line.retain(|name, _| !head.contains_key(name) && name != DIGEST && name != EARLIER_COST);
    if line.contains_key("cost_usd") {
        line.insert("cost_usd".into(), json!(0.0));
    }
    line.extend(same.map(|id| ("same_as".to_owned(), id)));
    line
}

/// What makes two questions the same: what is asked, and the bytes that it is asked about.
pub(super) fn twin_digest(ask: &Ask, images: &Digest) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(images).update(question_digest(ask).as_bytes());
    *hasher.finalize().as_bytes()
}

/// What a question asks, whatever it asks it about: the same for the same question in every process.
#[must_use]
pub fn question_digest(ask: &Ask) -> String {
    let Ask { prompt, task, schema, model, fallback, boxes, detail, region, system, sampling, .. } = ask;
    let said = json!({
        "prompt": prompt, "task": task, "schema": schema, "model": model, "system": system, "boxes": boxes,
        "fallback": format!("{fallback:?}"), "detail": format!("{detail:?}"), "region": format!("{region:?}"),
        "sampling": format!("{sampling:?}"),
    });
    blake3::hash(said.to_string().as_bytes()).to_hex()[..32].to_owned()
}

/// An answer of an earlier part of a run, for questions that are the same.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub(super) digest: Digest,
    pub(super) place: Place,
}

impl Known {
    /// The answer in this line, which was written for this question.
    #[must_use]
    pub fn of(line: &Value, place: Place, ask: &Ask) -> Option<Self> {
        let images = blake3::Hash::from_hex(line[DIGEST].as_str()?).ok()?;
        Some(Self { digest: twin_digest(ask, images.as_bytes()), place })
    }
}
