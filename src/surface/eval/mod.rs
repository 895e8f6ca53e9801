//! The command that scores models on a labelled set: asks, judges where it is told to, and writes what it came to.

mod calls;
mod foresight;
mod plan;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use vision_providers::price::MicroUsd;
use vision_providers::request::CacheMode;

use self::calls::Calls;
use self::foresight::foretell;
use self::plan::{CacheArg, Plan};
use self::show::Made;
use crate::bulk::{Job, Stopped};
use crate::eval::asking;
use crate::eval::dataset::Item;
use crate::eval::gate::{self, Condition};
use crate::eval::judge::Verdicts;
use crate::eval::manifest::Manifest;
use crate::eval::measured::measure;
use crate::eval::record::Record;
use crate::eval::report::{self, Album};
use crate::eval::results;
use crate::eval::summary::{Method, Summary, summarise};
use crate::failure::{Code, Failure, Result};
use crate::gateway::{Asker, Gateway};
use crate::intake::Door;
use crate::score::Metric;
use crate::statistics::bootstrap::Resampling;
use crate::surface::StopSignal;
use crate::surface::batch::dollars;
use crate::surface::cli::{print, print_json, tell};
use crate::surface::progress::until_told;
use crate::surface::question::show_failure;

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

/// Runs the command.
pub(super) async fn run(gateway: &Gateway, args: Args, quiet: bool) -> ExitCode {
    let json = args.json;
    let planning = spawn_blocking(move || Plan::of(args)).await;
    let plan = planning.map_err(|_| broken()).flatten();
    let plan = plan.and_then(|plan| plan.check_names(gateway).map(|()| plan));
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
        if plan.args.dry_run { foretell(gateway, &plan).await } else { carry_out(gateway, plan, quiet).await };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            show_failure(&failure, json);
            ExitCode::FAILURE
        }
    }
}

const RESULTS: &str = "results.jsonl";
const VERDICTS: &str = "judgements.jsonl";

async fn carry_out(gateway: &Gateway, plan: Plan, quiet: bool) -> Result<ExitCode> {
    let out = plan.args.out.clone();
    std::fs::create_dir_all(&out)
        .map_err(|error| Failure::invalid(format!("making the folder {}: {error}", out.display())))?;
    let _ours = results::lock(&out)?;
    let stop = CancellationToken::new();
    let left = || Failure::new(Code::Cancelled, "the run was left").advise("go on with --resume");
    let jobs = calls::jobs(gateway, &plan);
    let calls = Calls { gateway, plan: &plan, jobs: &jobs, stop: &stop, quiet };
    let (tally, answered) = until_told(calls.of_models(), &stop).await.ok_or_else(left)??;
    let judged = match &plan.judge {
        None => None,
        Some(judging) => Some(until_told(calls.of_judge(judging, tally.spent), &stop).await.ok_or_else(left)??),
    };
    let mut manifest = Manifest::of(gateway, &plan.dataset, &plan.protocol);
    let made = Made { models: &tally, before: answered, judge: judged.as_ref() };
    manifest.stopped = made.stopped().map(Stopped::told);
    // What failed before is told as that.
    manifest.not_asked = tally.left - tally.left_failed;
    manifest.judge.clone_from(&plan.judge);
    let (json, conditions) = (plan.args.json, (plan.args.fail_under.clone(), plan.args.max_regression.clone()));
    let writing = async {
        let album = Album::of(&gateway.intake, &Asker::local(Door::CommandLine), &plan.dataset.items).await;
        spawn_blocking(move || written(&plan, &jobs, &manifest, &album)).await.map_err(|_| broken()).flatten()
    };
    // Every answer is on the disk, so that whoever does not want to wait for the rest loses nothing.
    let mut signal = StopSignal::listen();
    let summary = tokio::select! {
        summary = writing => summary?,
        () = signal.told() => return Err(left()),
    };
    let unmet = gate::unmet(&summary, &conditions.0, &conditions.1);
    if json {
        print_json(&show::whole(&summary, &made, &unmet));
    } else {
        print(&show::table(&summary));
        show::troubles(&made);
        if !quiet {
            show::account(&made, &out);
        }
        for warning in show::warnings(&summary) {
            tell(&format!("warning: {warning}"));
        }
        for why in &unmet {
            tell(&show::harmless(&format!("failed: {why}")));
        }
    }
    let is_judged = judged.is_none_or(|judged| judged.left == 0 && judged.failed == 0);
    // Where nobody ever answered, there is nothing to look at.
    let is_whole = tally.left == 0 && is_judged && summary.unaskable.is_empty() && tally.answered + answered > 0;
    Ok(if is_whole && unmet.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures everything, and writes what it comes to.
fn written(plan: &Plan, jobs: &[Job], manifest: &Manifest, album: &Album) -> Result<Summary> {
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
    let records = asking::of_the_run(results::records(&out.join(RESULTS))?, jobs);
    let asked = measure(&plan.dataset, models, records, &verdict, by_verdict);
    let earlier = match (&plan.args.against, &plan.judge) {
        (Some(folder), Some(_)) => Verdicts::read(&folder.join(VERDICTS))?,
        _ => Verdicts::default(),
    };
    let earlier = |item: &Item, record: &Record| {
        let judging = plan.judge.as_ref()?;
        earlier.on(item, record, &judging.model, &judging.prompt)
    };
    // What was not asked then says nothing.
    let before = plan.before.as_ref().map(|before| before.iter().filter(|it| !it.is_left()).cloned().collect());
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
