//! What an evaluation is to do, checked as far as it can be before anybody is asked.

use std::collections::{BTreeSet, HashMap};

use clap::ValueEnum;
use vision_providers::request::CacheMode;

use super::{Args, RESULTS};
use crate::eval::dataset::Dataset;
use crate::eval::gate::Condition;
use crate::eval::manifest::Judging;
use crate::eval::record::Record;
use crate::eval::{Protocol, judge, results};
use crate::failure::{Failure, Result};
use crate::gateway::Gateway;

/// Names of models in one run.
const MOST_MODELS: usize = 32;

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum CacheArg {
    Use,
    Refresh,
    Bypass,
}

/// What is to be done, once everything was checked that can be.
pub(super) struct Plan {
    pub(super) dataset: Dataset,
    pub(super) protocol: Protocol,
    pub(super) baseline: usize,
    pub(super) judge: Option<Judging>,
    pub(super) before: Option<Vec<Record>>,
    pub(super) args: Args,
}

impl Plan {
    /// Reads what the arguments name.
    pub(super) fn of(args: Args) -> Result<Self> {
        let results = args.out.join(RESULTS);
        if !args.resume && !args.dry_run && results.exists() {
            return Err(Failure::invalid(format!("writing {}: there is a run already", results.display()))
                .advise("go on with it with --resume, or name another folder with --out"));
        }
        let models = args.models.iter().map(|model| model.trim().to_owned()).collect::<Vec<_>>();
        if models.len() > MOST_MODELS {
            return Err(Failure::invalid(format!("more than {MOST_MODELS} models were named")));
        }
        if let Some(twice) = models.iter().enumerate().find(|(place, model)| models[..*place].contains(model)) {
            return Err(Failure::invalid(format!("the model `{}` is named twice", twice.1)));
        }
        let baseline = args.baseline.as_ref().map_or(Some(0), |name| models.iter().position(|model| model == name));
        let baseline = baseline.ok_or_else(|| {
            Failure::invalid("the baseline is not one of the models")
                .advise("name it in --models, as it is named there")
        })?;
        if !(0.0..=2.0).contains(&args.temperature) {
            return Err(Failure::invalid("`--temperature` must be from 0 to 2"));
        }
        if !args.max_regression.is_empty() && args.against.is_none() && models.len() < 2 {
            return Err(Failure::invalid("`--max-regression` has nothing to compare with")
                .advise("name an earlier run with --against, or a second model"));
        }
        let dataset = Dataset::read(&args.dataset, args.metric)?;
        for condition in args.fail_under.iter().chain(&args.max_regression) {
            check_condition(condition, &dataset, args.judge.is_some())?;
        }
        let judge = args.judge.clone().map(|model| -> Result<Judging> {
            let prompt = match &args.judge_prompt {
                None => judge::PROMPT.to_owned(),
                Some(file) => std::fs::read_to_string(file)
                    .map_err(|error| Failure::invalid(format!("reading {}: {error}", file.display())))?,
            };
            Ok(Judging { model, prompt })
        });
        let before = args.against.as_ref().map(|folder| results::records(&folder.join(RESULTS))).transpose()?;
        let protocol = Protocol {
            models,
            repeats: args.repeats,
            seed: args.seed,
            temperature: Some(args.temperature),
            max_output_tokens: args.max_tokens,
            cache: match args.cache {
                CacheArg::Use => CacheMode::Use,
                CacheArg::Refresh => CacheMode::Refresh,
                CacheArg::Bypass => CacheMode::Bypass,
            },
        };
        Ok(Self { dataset, protocol, baseline, judge: judge.transpose()?, before, args })
    }

    /// Checks what the models are that were named.
    pub(super) fn check_names(&self, gateway: &Gateway) -> Result<()> {
        let mut known: HashMap<String, &str> = HashMap::new();
        for model in &self.protocol.models {
            let meant = gateway.roster.resolve(model)?.name();
            if let Some(other) = known.insert(meant.clone(), model) {
                return Err(Failure::invalid(format!("`{other}` and `{model}` are the same model, {meant}"))
                    .advise("name models that differ"));
            }
        }
        self.judge.iter().try_for_each(|judge| gateway.roster.resolve(&judge.model).map(drop))
    }
}

/// Refuses a condition on what no question of the set is measured by: no run could meet it, however much was paid.
fn check_condition(condition: &Condition, dataset: &Dataset, is_judged: bool) -> Result<()> {
    let named = condition.measure();
    let is_labelled = dataset.items.iter().any(|item| !item.expected.is_null());
    let measures = dataset.items.iter().flat_map(|item| &item.yardsticks).map(|yardstick| yardstick.metric().name());
    let mut measures: BTreeSet<&str> = measures.collect();
    if is_judged && is_labelled {
        measures.insert("judged");
    }
    let is_met = match named {
        "score" if is_judged => is_labelled,
        "score" => !measures.is_empty(),
        named => measures.contains(named),
    };
    if is_met {
        return Ok(());
    }
    let advice = match named {
        _ if measures.is_empty() => "say in the set what is right, as `expected`".to_owned(),
        "judged" if !is_judged => "name who judges with --judge".to_owned(),
        _ => {
            let known = measures.into_iter().collect::<Vec<_>>().join(", ");
            format!("name one of score, {known}, or have it measured with --metric or `metrics` of an item")
        }
    };
    Err(Failure::invalid(format!("no question of the set is measured by `{named}`, which a condition names"))
        .advise(advice))
}
