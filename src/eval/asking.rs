//! Asking: every question to every model, interleaved so that whatever the day brings hits all alike, and only what is not
//! answered yet.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::{Map, Value, json};
use vision_providers::price::MicroUsd;

use super::Protocol;
use super::dataset::{Dataset, Item};
use super::record::Record;
use crate::bulk::journal::Journal;
use crate::bulk::{Again, Files, Job, QUESTION, cost_of};
use crate::failure::Result;
use crate::gateway::Ask;
use crate::router::plan::Fallback;

/// A run that may begin: what is still to be asked, and where the answers go.
#[derive(Debug)]
pub struct Prepared {
    pub jobs: Vec<Job>,
    pub journal: Journal,
    /// Questions that were answered before.
    pub answered: usize,
    /// What all calls of the file have cost, whatever they were about.
    pub spent: MicroUsd,
    /// Questions whose pictures are others now, so that they are asked again.
    pub changed: usize,
    /// Calls of the file that asked something else, or another model under this name. They stay, and count for nothing.
    pub others: usize,
}

/// Every call of a run, in the order in which they are made: the questions shuffled, and each begins with another model.
/// `digest` says what a question is, whoever is asked and wherever.
#[must_use]
pub fn jobs(dataset: &Dataset, protocol: &Protocol, digest: &dyn Fn(&Ask) -> String) -> Vec<Job> {
    let mut order: Vec<&Item> = dataset.items.iter().collect();
    fastrand::Rng::with_seed(protocol.seed).shuffle(&mut order);
    let models = &protocol.models;
    let mut jobs = Vec::new();
    for repeat in 0..protocol.repeats {
        for (place, item) in order.iter().enumerate() {
            let first = (place + repeat as usize) % models.len().max(1);
            let round = models.iter().cycle().skip(first).take(models.len());
            jobs.extend(round.map(|model| job(item, model, repeat, protocol, digest)));
        }
    }
    jobs
}

fn job(item: &Item, model: &str, repeat: u32, protocol: &Protocol, digest: &dyn Fn(&Ask) -> String) -> Job {
    let mut ask = Ask {
        model: Some(model.to_owned()),
        fallback: Fallback::Never,
        cache: Some(protocol.cache),
        ..item.ask.clone()
    };
    ask.sampling.temperature = protocol.temperature;
    ask.sampling.max_output_tokens = protocol.max_output_tokens;
    let head = [
        ("item", json!(item.id)),
        ("model_asked", json!(model)),
        ("repeat", json!(repeat)),
        (QUESTION, json!(digest(&ask))),
    ];
    let head: Map<String, Value> = head.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Job { id: key(&item.id, model, repeat), ask, head, earlier: None }
}

/// What a call is known by.
fn key(item: &str, model: &str, repeat: u32) -> String {
    format!("{repeat} {model} {item}")
}

/// What the call of a record is known by, among those of a run.
#[must_use]
pub fn record_key(record: &Record) -> String {
    key(&record.item, &record.model, record.repeat)
}

/// What a line of the file is known by: a call about another question is another call.
#[must_use]
pub fn line_key(line: &Value) -> Option<String> {
    let repeat = line["repeat"].as_u64()?;
    let [item, model] = ["item", "model_asked"].map(|name| line[name].as_str());
    Some(format!("{} {repeat} {} {}", line[QUESTION].as_str().unwrap_or_default(), model?, item?))
}

/// The calls of these that are part of the run: those of an earlier one that asked something else, or oftener, are not, nor
/// those that are yet to be made.
#[must_use]
pub fn of_the_run(records: Vec<Record>, jobs: &[Job]) -> Vec<Record> {
    let wanted: HashMap<&str, &Job> = jobs.iter().map(|job| (job.id.as_str(), job)).collect();
    let is_part = |record: &Record| {
        let job = wanted.get(key(&record.item, &record.model, record.repeat).as_str());
        !record.is_left() && job.is_some_and(|job| job.head[QUESTION].as_str() == record.question.as_deref())
    };
    records.into_iter().filter(is_part).collect()
}

/// Begins a run, or goes on with an earlier one, when told what the files of its questions are now: what has an answer is
/// not asked again, what failed is, and what is about other pictures now.
///
/// # Errors
/// `INVALID_INPUT` when the file is there and not to be gone on with, cannot be read, or is being written by another.
pub fn prepare(results: &Path, jobs: Vec<Job>, earlier: Option<&Files>) -> Result<Prepared> {
    let Some(now) = earlier else {
        let journal = Journal::create(results)?;
        let spent = MicroUsd::default();
        return Ok(Prepared { jobs, journal, answered: 0, spent, changed: 0, others: 0 });
    };
    let wanted: HashMap<&str, &Job> = jobs.iter().map(|job| (job.id.as_str(), job)).collect();
    let (mut answered, mut again, mut spent) = (HashSet::new(), Again::default(), 0);
    let (mut changed, mut others) = (0, 0);
    let journal = Journal::resume(results, line_key, |line, _| {
        spent += cost_of(line).0;
        let Some(record) = Record::read(line) else { return Ok(()) };
        let id = key(&record.item, &record.model, record.repeat);
        let Some(job) = wanted.get(id.as_str()) else { return Ok(()) };
        if line[QUESTION] != job.head[QUESTION] {
            others += 1;
        } else if record.said().is_none() {
            again.add(&id, line);
        } else if now.are_those_of(line, &job.ask) {
            answered.insert(id);
        } else {
            changed += 1;
            again.add(&id, line);
        }
        Ok(())
    })?;
    let count = answered.len();
    let mut jobs: Vec<Job> = jobs.into_iter().filter(|job| !answered.contains(&job.id)).collect();
    again.given_to(&mut jobs);
    Ok(Prepared { jobs, journal, answered: count, spent: MicroUsd(spent), changed, others })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vision_providers::request::CacheMode;

    fn set() -> Dataset {
        let item = |id: usize| Item {
            id: id.to_string(),
            ask: Ask { images: ["a.png".to_owned()].into(), ..Ask::default() },
            truth: crate::score::Truth::default(),
            expected: Value::Null,
            tags: Vec::new(),
            yardsticks: Vec::new(),
        };
        Dataset { path: "set.jsonl".into(), digest: String::new(), items: (0..6).map(item).collect() }
    }

    fn protocol(models: &[&str]) -> Protocol {
        let models = models.iter().map(|&model| model.to_owned()).collect();
        Protocol {
            models,
            repeats: 2,
            seed: 3,
            temperature: Some(0.0),
            max_output_tokens: None,
            cache: CacheMode::Bypass,
        }
    }

    #[test]
    fn every_model_gets_every_question_and_each_begins_as_often() {
        let jobs = jobs(&set(), &protocol(&["a", "b", "c"]), &|_| "q".to_owned());
        let ids: HashSet<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
        assert_eq!((jobs.len(), ids.len()), (36, 36));
        let firsts = jobs.chunks(3).map(|round| round[0].ask.model.clone().expect("a model"));
        for model in ["a", "b", "c"] {
            assert_eq!(firsts.clone().filter(|first| first == model).count(), 4);
        }
        for round in jobs.chunks(3) {
            assert!(round.iter().all(|job| job.head["item"] == round[0].head["item"]), "one question after another");
        }
    }

    #[tokio::test]
    async fn what_is_answered_is_not_asked_again_and_what_failed_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("results.jsonl");
        let all = jobs(&set(), &protocol(&["a", "b"]), &|_| "q".to_owned());
        let mut begun = prepare(&path, all.clone(), None).expect("a run");
        assert_eq!(begun.jobs.len(), 24);
        for (place, job) in all.iter().take(3).enumerate() {
            let mut line = job.head.clone();
            match place {
                0 => drop(line.insert("text".into(), json!("said"))),
                1 => drop(line.insert("error".into(), json!({"code": "UPSTREAM_ERROR", "message": "no"}))),
                _ => {
                    line.insert("text".into(), json!("said"));
                    line.insert("question".into(), json!("another"));
                }
            }
            line.insert("cost_usd".into(), json!(0.5));
            begun.journal.add(&Value::Object(line)).await.expect("written");
        }
        drop(begun);
        assert!(prepare(&path, all.clone(), None).is_err(), "it is there");
        let again = prepare(&path, all, Some(&Files::default())).expect("a run");
        assert_eq!((again.jobs.len(), again.answered, again.changed, again.others), (23, 1, 0, 1));
        assert_eq!(again.spent, MicroUsd(1_500_000), "what came to nothing was paid for, too");
    }
}
