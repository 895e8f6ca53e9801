//! The lines of a run: what they say of a question, and what an earlier run's say of this one's.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{StreamExt as _, iter};
use serde_json::{Map, Value, json};
use vision_providers::price::MicroUsd;

use super::Job;
use super::journal::Place;
use super::twins::Digest;
use crate::failure::{Code, Result};
use crate::gateway::{Ask, Asker, Gateway};
use crate::intake::source::Source;
use crate::reply::Reply;
use crate::tasks;

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

/// What a line is known by that has an id.
#[must_use]
pub fn line_id(line: &Value) -> Option<String> {
    line["id"].as_str().map(str::to_owned)
}

/// What files are now, by the names of all that one question is about.
#[derive(Debug, Clone, Default)]
pub struct Files(HashMap<Arc<[String]>, String>);

impl Files {
    /// Looks at the files of these questions. What lies at an address is not fetched for that, and what cannot be opened is
    /// left out.
    pub async fn of<'a>(gateway: &Gateway, asker: &Asker, asks: impl IntoIterator<Item = &'a Ask>) -> Self {
        let near = asks.into_iter().filter(|ask| is_near(ask));
        let asks: HashMap<&Arc<[String]>, &Ask> = near.map(|ask| (&ask.images, ask)).collect();
        let looking = iter(asks).map(async |(images, ask)| {
            let look = gateway.look(ask, asker).await.ok()?;
            Some((Arc::clone(images), hex(&look.digest())))
        });
        Self(looking.buffer_unordered(LOOKED_AT).filter_map(async |seen| seen).collect().await)
    }

    /// Whether the files that a line is about are still what they were, as far as that can be known: what lies at an
    /// address is part of the question by its address.
    #[must_use]
    pub fn are_those_of(&self, line: &Value, ask: &Ask) -> bool {
        match line[DIGEST].as_str() {
            Some(then) if is_near(ask) => self.0.get(&ask.images).is_some_and(|now| then == now),
            _ => true,
        }
    }
}

/// Whether all pictures of a question can be looked at without asking anybody for them.
fn is_near(ask: &Ask) -> bool {
    ask.images.iter().all(|image| is_near_name(image))
}

fn is_near_name(image: &str) -> bool {
    matches!(Source::parse(image), Ok(Source::Path(_) | Source::Data(_)))
}

/// The member of a line that says what earlier calls about its question have cost, whose lines it replaces.
const EARLIER_COST: &str = "earlier_cost_usd";
/// The member of a line that says what calls without an answer may have cost beyond its cost.
const UNCONFIRMED_COST: &str = "unconfirmed_cost_usd";

/// What a question has cost, and what it may have cost beyond that: answers that came to nothing cost money too.
pub(super) fn costs(outcome: &Result<Reply>) -> (Option<MicroUsd>, MicroUsd) {
    match outcome {
        Ok(reply) => (reply.cost, reply.unconfirmed),
        Err(failure) => (failure.spent.map(|spent| spent.cost), MicroUsd::default()),
    }
}

/// The same for its line.
#[must_use]
pub fn cost_members(outcome: &Result<Reply>) -> Map<String, Value> {
    let (cost, unconfirmed) = costs(outcome);
    let unconfirmed = Some(unconfirmed).filter(|cost| cost.0 > 0);
    let members = [("cost_usd", cost), (UNCONFIRMED_COST, unconfirmed)];
    members.into_iter().filter_map(|(name, cost)| Some((name.to_owned(), json!(cost?.dollars())))).collect()
}

/// What the calls about the question of this line have cost, as far as anybody can tell.
#[must_use]
pub fn cost_of(line: &Value) -> MicroUsd {
    let cost = |name| line[name].as_f64().and_then(MicroUsd::from_dollars).unwrap_or_default().0;
    let costs = ["cost_usd", UNCONFIRMED_COST, EARLIER_COST].map(cost);
    MicroUsd(costs.into_iter().fold(0, u64::saturating_add))
}

/// What an earlier part of a run says of a question that is asked again.
#[derive(Debug, Clone)]
pub struct Earlier {
    cost: MicroUsd,
    /// Its answer is about other pictures.
    is_stale: bool,
}

impl Earlier {
    /// Whether its line says why there is no answer: that stays true while nobody is asked.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !self.is_stale
    }
}

/// Lines whose questions are asked again, by what these are known by. They stay until something comes in their place.
#[derive(Debug, Default)]
pub struct Again(HashMap<String, Earlier>);

impl Again {
    pub fn add(&mut self, id: &str, line: &Value) {
        self.0.insert(id.to_owned(), Earlier { cost: cost_of(line), is_stale: line.get("error").is_none() });
    }

    /// Lets the line that comes in their place say what they have cost.
    pub fn given_to(mut self, jobs: &mut [Job]) {
        for job in jobs {
            job.earlier = self.0.remove(&job.id);
            if let Some(earlier) = job.earlier.as_ref().filter(|earlier| earlier.cost.0 > 0) {
                job.head.insert(EARLIER_COST.into(), json!(earlier.cost.dollars()));
            }
        }
    }
}

/// What is said of a question that is another one now, and that nobody was asked.
pub(super) fn unasked() -> Map<String, Value> {
    let error = json!({"code": Code::Cancelled.name(), "message": "its pictures are others now, and nobody was asked"});
    Map::from_iter([("error".to_owned(), error)])
}

fn hex(digest: &Digest) -> String {
    blake3::Hash::from(*digest).to_hex().to_string()
}

/// The line of another, without what is its own; it costs nothing a second time.
pub(super) fn served(line: Value, head: &Map<String, Value>) -> Map<String, Value> {
    let Value::Object(mut line) = line else { return Map::new() };
    let same = line.remove("same_as").or_else(|| line.get("id").cloned());
    line.retain(|name, _| {
        !head.contains_key(name) && ![DIGEST, EARLIER_COST, UNCONFIRMED_COST].contains(&name.as_str())
    });
    if line.contains_key("cost_usd") {
        line.insert("cost_usd".into(), json!(0.0));
    }
    line.extend(same.map(|id| ("same_as".to_owned(), id)));
    line
}

/// What makes two questions the same: what is asked, and the bytes that it is asked about.
pub(super) fn twin_digest(head: &Map<String, Value>, images: &Digest) -> Digest {
    let question = head.get(QUESTION).and_then(Value::as_str).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(images).update(question.as_bytes());
    *hasher.finalize().as_bytes()
}

/// What a question asks: the same for the same question in every process, whatever its files are called. Tasks count by
/// their words, and addresses by what they are, for what lies there is nobody's to look at twice. `meant` is the model
/// that is asked, where it matters which one a name means.
#[must_use]
pub fn question_digest(gateway: &Gateway, ask: &Ask, meant: Option<&str>) -> String {
    let Ask { images, prompt, task, schema, model, fallback, boxes, detail, region, system, sampling, .. } = ask;
    let far: Vec<&String> = images.iter().filter(|image| !is_near_name(image)).collect();
    let asked = tasks::question(task.as_deref(), prompt.as_deref(), schema.clone(), &gateway.presets).ok();
    let said = json!({
        "prompt": prompt, "task": task, "schema": schema, "model": model, "meant": meant, "system": system, "boxes": boxes,
        "fallback": format!("{fallback:?}"), "detail": format!("{detail:?}"), "region": format!("{region:?}"),
        "sampling": format!("{sampling:?}"), "far": far, "words": asked.as_ref().map(|asked| &asked.prompt),
        "form": asked.as_ref().map(|asked| format!("{:?}", asked.output)),
    });
    blake3::hash(said.to_string().as_bytes()).to_hex()[..32].to_owned()
}

/// The member of a line that says what was asked, as a digest.
pub const QUESTION: &str = "question";

/// An answer of an earlier part of a run, for questions that are the same.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub(super) digest: Digest,
    pub(super) place: Place,
}

impl Known {
    /// The answer in this line, where it is one.
    #[must_use]
    pub fn of(line: &Value, place: Place) -> Option<Self> {
        let images = blake3::Hash::from_hex(line[DIGEST].as_str()?).ok()?;
        let head = line.as_object().filter(|line| !line.contains_key("error") && line.contains_key(QUESTION))?;
        Some(Self { digest: twin_digest(head, images.as_bytes()), place })
    }
}
