//! What was run, so that somebody else can run it again and a report says what its figures are about.

use vision_providers::model::Date;
use vision_providers::request::CacheMode;

use super::Protocol;
use super::dataset::Dataset;
use crate::gateway::Gateway;
use crate::router::roster::Candidate;
use crate::tasks;

/// The circumstances of a run.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Of this program.
    pub version: &'static str,
    /// Of the day on which the report was written.
    pub date: String,
    pub dataset: String,
    /// The first 16 digits of the BLAKE3 digest of the set's file.
    pub dataset_digest: String,
    pub models: Vec<AskedModel>,
    /// What was said to every model before the question.
    pub standing: &'static str,
    /// What was asked for each task that names no prompt of its own, by task.
    pub prompts: Vec<(String, String)>,
    pub repeats: u32,
    pub seed: u64,
    pub temperature: Option<f64>,
    pub max_output_tokens: u32,
    pub cache: &'static str,
    /// Why not everything was asked, where that is so, and how many calls are missing.
    pub stopped: Option<String>,
    pub not_asked: usize,
    pub judge: Option<Judging>,
}

/// A model as it was asked for and as the configuration knows it.
#[derive(Debug, Clone)]
pub struct AskedModel {
    pub name: String,
    /// `provider/model`.
    pub resolved: String,
    /// Dollars for a million tokens in and out.
    pub price: Option<(f64, f64)>,
    /// Where the price and the limits come from and of which day they are.
    pub source: String,
}

/// Who judged, and what they were asked.
#[derive(Debug, Clone)]
pub struct Judging {
    pub model: String,
    pub prompt: String,
}

impl Manifest {
    /// What a run of this set by this protocol is.
    #[must_use]
    pub fn of(gateway: &Gateway, dataset: &Dataset, protocol: &Protocol) -> Self {
        let asked = |name: &String| {
            let candidate = gateway.roster.resolve(name).ok();
            let card = candidate.as_ref().map(|candidate| &candidate.card);
            let price = card.and_then(|card| card.price);
            #[expect(clippy::cast_precision_loss, reason = "exact up to nine billion dollars")]
            let dollars = |micro: u64| micro as f64 / 1e6;
            AskedModel {
                name: name.clone(),
                resolved: candidate.as_ref().map_or_else(|| name.clone(), Candidate::name),
                price: price.map(|price| (dollars(price.input), dollars(price.output))),
                source: card.map(|card| card.source.clone()).unwrap_or_default(),
            }
        };
        let mut prompts: Vec<(String, String)> = Vec::new();
        for item in dataset.items.iter().filter(|item| item.ask.prompt.is_none()) {
            let Ok(question) =
                tasks::question(item.ask.task.as_deref(), None, item.ask.schema.clone(), &gateway.presets)
            else {
                continue;
            };
            if !prompts.iter().any(|(task, _)| *task == question.name) {
                prompts.push((question.name, question.prompt));
            }
        }
        Self {
            version: env!("CARGO_PKG_VERSION"),
            date: Date::today().to_string(),
            dataset: dataset.path.display().to_string(),
            dataset_digest: dataset.digest.clone(),
            models: protocol.models.iter().map(asked).collect(),
            standing: tasks::STANDING,
            prompts,
            repeats: protocol.repeats,
            seed: protocol.seed,
            temperature: protocol.temperature,
            max_output_tokens: protocol.max_output_tokens.unwrap_or(gateway.settings.max_output_tokens),
            cache: match protocol.cache {
                CacheMode::Use => "use",
                CacheMode::Refresh => "refresh",
                CacheMode::Bypass => "bypass",
            },
            stopped: None,
            not_asked: 0,
            judge: None,
        }
    }
}
