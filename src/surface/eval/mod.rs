//! The command that scores models on a labelled set: asks, judges where it is told to, and writes what it came to.

mod show;

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use vision_providers::price::MicroUsd;
use vision_providers::request::CacheMode;

use crate::bulk::journal::Journal;
use crate::bulk::{Files, Job, Run, Stopped, Tally, Terms};
use crate::eval::dataset::{Dataset, Item};
use crate::eval::gate::{self, Condition};
use crate::eval::judge::{self, Verdicts};
use crate::eval::manifest::{Judging, Manifest};
use crate::eval::measured::measure;
use crate::eval::record::Record;
use crate::eval::report::{self, Album};
use crate::eval::summary::{Method, Summary, summarise};
use crate::eval::{Protocol, asking, results};
use crate::failure::{Code, Failure, Result};
use crate::gateway::{Asker, Gateway};
use crate::intake::Door;
use crate::score::Metric;
use crate::statistics::bootstrap::Resampling;
use crate::surface::StopSignal;
use crate::surface::batch::{dollars, told};
use crate::surface::cli::{print, print_json, tell};
use crate::surface::progress::{Progress, until_told};
use crate::surface::question::show_failure;

/// Names of models in one run.
const MOST_MODELS: usize = 32;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The labelled set: a line of JSON for each item, with image, prompt or task, expected, and perhaps schema and tags
    #[arg(value_name = "DATASET.jsonl")]
    dataset: PathBuf,
    /// Providers, provider/model or aliases, with commas between them
    #[arg(long, required = true, value_name = "A,B,C", value_delimiter = ',')]
    models: Vec<String>,
    /// The folder for report.html, results.jsonl and summary.csv
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on with the run in that folder: ask what has no answer yet
    #[arg(long)]
    resume: bool,
    /// Say what would be asked and what it would cost, and ask nobody
    #[arg(long)]
    dry_run: bool,
    /// Stop before the run might have cost more
    #[arg(long, value_name = "USD", value_parser = dollars)]
    max_cost: Option<MicroUsd>,
    /// The measure that decides about every item, in the place of the one that suits it
    #[arg(long, value_name = "METRIC")]
    metric: Option<Metric>,
    /// The model that the others are compared to; otherwise the first
    #[arg(long, value_name = "MODEL")]
    baseline: Option<String>,
    /// The folder of an earlier run to compare each model with itself
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Fail when a model does not reach this, such as score=0.8 or cer=0.1
    #[arg(long, value_name = "METRIC=VALUE")]
    fail_under: Vec<Condition>,
    /// Fail when a model is worse by more than this: than in the run of --against, or else than the baseline
    #[arg(long, value_name = "METRIC=VALUE")]
    max_regression: Vec<Condition>,
    /// How often each question is put to each model
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeats: u32,
    /// Questions asked at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Of the order of the questions and of everything drawn at random
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    temperature: f64,
    /// The most tokens that an answer may have
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// What to do with remembered answers: they say nothing about latency
    #[arg(long, value_enum, default_value_t = CacheArg::Bypass)]
    cache: CacheArg,
    /// A model that judges whether answers are right; its verdicts decide
    #[arg(long, value_name = "MODEL")]
    judge: Option<String>,
    /// A file with what the judge is told, in the place of our words
    #[arg(long, value_name = "FILE", requires = "judge")]
    judge_prompt: Option<PathBuf>,
    /// Print the summary as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CacheArg {
    Use,
    Refresh,
    Bypass,
}

/// What is to be done, once everything was checked that can be.
struct Plan {
    dataset: Dataset,
    protocol: Protocol,
    baseline: usize,
    judge: Option<Judging>,
    before: Option<Vec<Record>>,
    args: Args,
}

/// Runs the command.
pub(super) async fn run(gateway: &Gateway, args: Args, quiet: bool) -> ExitCode {
    let json = args.json;
    let planning = spawn_blocking(move || plan(args)).await;
    let plan = planning.map_err(|_| broken()).flatten();
    let plan = plan.and_then(|plan| meant(gateway, &plan).map(|()| plan));
    let plan = match plan {
        Ok(plan) => plan,
        Err(failure) => {
            show_failure(&failure, json);
            return ExitCode::from(2);
        }
    };
    if plan.protocol.repeats > 1 && plan.protocol.cache == CacheMode::Use && !quiet {
        tell("note: with --cache use, repeats are answered from memory, which says nothing of how steady answers are");
    }
    let outcome =
        if plan.args.dry_run { foretell(gateway, &plan, json).await } else { carry_out(gateway, plan, quiet).await };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            show_failure(&failure, json);
            ExitCode::FAILURE
        }
    }
}

/// Checks what the models are that were named.
fn meant(gateway: &Gateway, plan: &Plan) -> Result<()> {
    let mut known: HashMap<String, &str> = HashMap::new();
    for model in &plan.protocol.models {
        let meant = gateway.roster.resolve(model)?.name();
        if let Some(other) = known.insert(meant.clone(), model) {
            return Err(Failure::invalid(format!("`{other}` and `{model}` are the same model, {meant}"))
                .advise("name models that differ"));
        }
    }
    plan.judge.iter().try_for_each(|judge| gateway.roster.resolve(&judge.model).map(drop))
}

fn plan(args: Args) -> Result<Plan> {
    let models = args.models.iter().map(|model| model.trim().to_owned()).collect::<Vec<_>>();
    if models.len() > MOST_MODELS {
        return Err(Failure::invalid(format!("more than {MOST_MODELS} models were named")));
    }
    if let Some(twice) = models.iter().enumerate().find(|(place, model)| models[..*place].contains(model)) {
        return Err(Failure::invalid(format!("the model `{}` is named twice", twice.1)));
    }
    let baseline = args.baseline.as_ref().map_or(Some(0), |name| models.iter().position(|model| model == name));
    let baseline = baseline.ok_or_else(|| {
        Failure::invalid("the baseline is not one of the models").advise("name it in --models, as it is named there")
    })?;
    if !(0.0..=2.0).contains(&args.temperature) {
        return Err(Failure::invalid("`--temperature` must be from 0 to 2"));
    }
    if !args.max_regression.is_empty() && args.against.is_none() && models.len() < 2 {
        return Err(Failure::invalid("`--max-regression` has nothing to compare with")
            .advise("name an earlier run with --against, or a second model"));
    }
    let dataset = Dataset::read(&args.dataset, args.metric)?;
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
    Ok(Plan { dataset, protocol, baseline, judge: judge.transpose()?, before, args })
}

const RESULTS: &str = "results.jsonl";
const VERDICTS: &str = "judgements.jsonl";

/// Says what would be asked, and what it would cost by estimates.
async fn foretell(gateway: &Gateway, plan: &Plan, json: bool) -> Result<ExitCode> {
    let asker = Asker::local(Door::CommandLine);
    let jobs = asking::jobs(&plan.dataset, &plan.protocol);
    let (mut models, mut faults) = (Vec::new(), Vec::new());
    for model in &plan.protocol.models {
        let (mut calls, mut likely, mut most, mut unknown) = (0, 0, 0, 0);
        for job in jobs.iter().filter(|job| job.ask.model.as_ref() == Some(model)) {
            match gateway.look(&job.ask, &asker).await {
                Ok(look) => match look.costs() {
                    Some(costs) => {
                        likely += costs.likely.0;
                        most += costs.most.0;
                    }
                    None => unknown += 1,
                },
                Err(failure) => faults.push(format!("{}: {failure}", job.head["item"])),
            }
            calls += 1;
        }
        models.push((model, calls, MicroUsd(likely).dollars(), MicroUsd(most).dollars(), unknown));
    }
    faults.sort();
    faults.dedup();
    if json {
        let shown: Vec<Value> = models
            .iter()
            .map(|(model, calls, likely, most, unknown)| {
                json!({"model": model, "calls": calls, "likely_cost_usd": likely, "max_cost_usd": most,
                    "calls_of_unknown_cost": unknown})
            })
            .collect();
        print_json(&json!({"items": plan.dataset.items.len(), "models": shown, "faults": faults}));
    } else {
        for (model, calls, likely, most, unknown) in &models {
            let open = if *unknown > 0 { format!(", and {unknown} calls of unknown cost") } else { String::new() };
            print(&format!("{model}: {calls} calls, about ${likely:.4}, at most ${most:.4}{open}"));
        }
        for fault in &faults {
            tell(&format!("error: {fault}"));
        }
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn carry_out(gateway: &Gateway, plan: Plan, quiet: bool) -> Result<ExitCode> {
    let out = plan.args.out.clone();
    std::fs::create_dir_all(&out)
        .map_err(|error| Failure::invalid(format!("making the folder {}: {error}", out.display())))?;
    let _ours = results::lock(&out)?;
    let stop = CancellationToken::new();
    let left = || Failure::new(Code::Cancelled, "the run was left").advise("go on with --resume");
    let (tally, answered) = until_told(ask(gateway, &plan, &stop, quiet), &stop).await.ok_or_else(left)??;
    let judged = match &plan.judge {
        None => None,
        Some(judging) => {
            let spent = tally.spent;
            let working = hear(gateway, &plan, judging, spent, &stop, quiet);
            Some(until_told(working, &stop).await.ok_or_else(left)??)
        }
    };
    let mut manifest = Manifest::of(gateway, &plan.dataset, &plan.protocol);
    let stopped = [Some(&tally), judged.as_ref()].into_iter().flatten().find_map(|tally| tally.stopped.clone());
    manifest.stopped = stopped.as_ref().map(Stopped::told);
    manifest.not_asked = tally.left;
    manifest.judge.clone_from(&plan.judge);
    let (json, conditions) = (plan.args.json, (plan.args.fail_under.clone(), plan.args.max_regression.clone()));
    let writing = async {
        let album = Album::of(&gateway.intake, &Asker::local(Door::CommandLine), &plan.dataset.items).await;
        spawn_blocking(move || written(&plan, &manifest, &album)).await.map_err(|_| broken()).flatten()
    };
    // Every answer is on the disk, so that whoever does not want to wait for the rest loses nothing.
    let mut signal = StopSignal::listen();
    let summary = tokio::select! {
        summary = writing => summary?,
        () = signal.told() => return Err(left()),
    };
    let unmet = gate::unmet(&summary, &conditions.0, &conditions.1);
    if json {
        let spent = judged.as_ref().unwrap_or(&tally).spent;
        print_json(&show::whole(&summary, &tally, answered, spent, &unmet));
    } else {
        print(&show::table(&summary));
        if !quiet {
            show::account(&tally, answered, judged.as_ref(), &out);
        }
        for warning in show::warnings(&summary) {
            tell(&format!("warning: {warning}"));
        }
        for why in &unmet {
            tell(&format!("failed: {why}"));
        }
    }
    if let Some(judged) = judged.as_ref().filter(|judged| judged.failed > 0) {
        tell(&format!("warning: the judge did not answer {} times; those answers are left out", judged.failed));
    }
    let is_judged = judged.is_none_or(|judged| judged.left == 0 && judged.failed == 0);
    // Where nobody ever answered, there is nothing to look at.
    let is_whole = tally.left == 0 && is_judged && summary.unaskable.is_empty() && tally.answered + answered > 0;
    Ok(if is_whole && unmet.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks every model what it was not asked yet.
async fn ask(gateway: &Gateway, plan: &Plan, stop: &CancellationToken, quiet: bool) -> Result<(Tally, usize)> {
    let jobs = asking::jobs(&plan.dataset, &plan.protocol);
    let asks = jobs.iter().map(|job| &job.ask).filter(|_| plan.args.resume);
    let now = Files::of(gateway, &Asker::local(Door::CommandLine), asks).await;
    let prepared = asking::prepare(&plan.args.out.join(RESULTS), jobs, plan.args.resume.then_some(&now))?;
    if prepared.changed > 0 && !quiet {
        tell(&format!(
            "note: {} questions or their pictures are not what they were: they are asked again",
            prepared.changed
        ));
    }
    if plan.args.max_cost.is_some() {
        check_costs(gateway, plan, &prepared.jobs).await?;
    }
    let judged = judge::spent(&plan.args.out.join(VERDICTS))?;
    let (answered, spent) = (prepared.answered, MicroUsd(prepared.spent.0 + judged.0));
    let tally = asked(gateway, plan, prepared.jobs, prepared.journal, spent, told, stop, quiet).await?;
    Ok((tally, answered))
}

/// Refuses models whose cost nobody can tell beforehand, by the first question that each can be asked: no limit could hold.
async fn check_costs(gateway: &Gateway, plan: &Plan, jobs: &[Job]) -> Result<()> {
    let asker = Asker::local(Door::CommandLine);
    for model in &plan.protocol.models {
        for job in jobs.iter().filter(|job| job.ask.model.as_ref() == Some(model)) {
            let Ok(look) = gateway.look(&job.ask, &asker).await else { continue };
            if look.costs().is_some() {
                break;
            }
            let message = format!("what `{model}` costs is not known beforehand, so --max-cost cannot hold");
            return Err(Failure::new(Code::BudgetExceeded, message)
                .advise("give the model a price in the configuration, leave it out, or leave --max-cost out"));
        }
    }
    Ok(())
}

/// Has every answer judged that was not.
async fn hear(
    gateway: &Gateway,
    plan: &Plan,
    judging: &Judging,
    spent: MicroUsd,
    stop: &CancellationToken,
    quiet: bool,
) -> Result<Tally> {
    let records = results::records(&plan.args.out.join(RESULTS))?;
    let items: HashMap<&str, &Item> = plan.dataset.items.iter().map(|item| (item.id.as_str(), item)).collect();
    let wanted = records.iter().filter(|record| plan.protocol.models.contains(&record.model));
    let answers = wanted.filter_map(|record| Some((*items.get(record.item.as_str())?, record)));
    let court = judge::prepare(&plan.args.out.join(VERDICTS), answers, &judging.model, &judging.prompt)?;
    asked(gateway, plan, court.jobs, court.journal, spent, judge::told, stop, quiet).await
}

#[expect(clippy::too_many_arguments, reason = "the two kinds of calls of a run differ in all of them")]
async fn asked(
    gateway: &Gateway,
    plan: &Plan,
    jobs: Vec<Job>,
    mut journal: Journal,
    spent: MicroUsd,
    tell: fn(&Result<crate::reply::Reply>) -> serde_json::Map<String, Value>,
    stop: &CancellationToken,
    quiet: bool,
) -> Result<Tally> {
    let terms = Terms { at_once: usize::from(plan.args.jobs), most: plan.args.max_cost, spent, twins: false };
    let asker = Asker::local(Door::CommandLine);
    let run = Run { gateway, asker: &asker, terms, tell, stop: stop.clone() };
    let progress = Progress::of(jobs.len(), quiet);
    let tally = run.carry_out(&jobs, Vec::new(), &mut journal, |tally| progress.show(tally)).await;
    progress.end();
    journal.close().await?;
    tally
}

/// Measures everything, and writes what it comes to.
fn written(plan: &Plan, manifest: &Manifest, album: &Album) -> Result<Summary> {
    let out = &plan.args.out;
    let verdicts = match &plan.judge {
        None => Verdicts::default(),
        Some(_) => Verdicts::read(&out.join(VERDICTS))?,
    };
    let verdict = |item: &Item, record: &Record| {
        let judging = plan.judge.as_ref()?;
        verdicts.on(item, record, &judging.model, &judging.prompt)
    };
    let (models, by_verdict) = (&plan.protocol.models, plan.judge.is_some());
    let records =
        asking::of_the_run(results::records(&out.join(RESULTS))?, &asking::jobs(&plan.dataset, &plan.protocol));
    let asked = measure(&plan.dataset, models, records, &verdict, by_verdict);
    let earlier = match (&plan.args.against, &plan.judge) {
        (Some(folder), Some(_)) => Verdicts::read(&folder.join(VERDICTS))?,
        _ => Verdicts::default(),
    };
    let earlier = |item: &Item, record: &Record| {
        let judging = plan.judge.as_ref()?;
        earlier.on(item, record, &judging.model, &judging.prompt)
    };
    let before = plan.before.clone();
    let before = before.map(|before| measure(&plan.dataset, models, before, &earlier, by_verdict));
    let resampling = Resampling { seed: plan.protocol.seed, ..Resampling::default() };
    let method = Method { baseline: plan.baseline, resampling };
    let summary = summarise(&asked, models, before.as_deref(), method);
    results::rewrite(&out.join(RESULTS), &asked)?;
    results::replace(&out.join("report.html"), &report::html(manifest, &summary, &asked, album)?)?;
    results::replace(&out.join("summary.csv"), &report::csv(&summary)?)?;
    Ok(summary)
}

fn broken() -> Failure {
    Failure::new(Code::Internal, "the evaluation met a fault of the program")
}
