//! The command that asks about many images: one line of JSON for each, written as it comes, and a run that can go on.

mod inputs;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use vision_providers::price::MicroUsd;

use crate::bulk::journal::Journal;
use crate::bulk::{
    self, Again, Files, Job, Known, QUESTION, Reason, Run, Tally, Terms, cost_members, cost_of, line_id,
    question_digest,
};
use crate::failure::{Code, Failure, Result};
use crate::gateway::{Asker, Gateway};
use crate::intake::Door;
use crate::reply::Reply;
use crate::surface::answer;
use crate::surface::cli::{print_json, tell};
use crate::surface::progress::{Progress, until_told};
use crate::surface::question::{AskedArgs, ChoiceArgs, show_failure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders, patterns, addresses, or manifests that end in .jsonl
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<String>,
    /// Where the answers go, a line of JSON each
    #[arg(long, value_name = "FILE.jsonl")]
    out: PathBuf,
    /// Go on with the file of an earlier run: ask what it has no answer to
    #[arg(long)]
    resume: bool,
    /// Questions asked at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: u16,
    /// Stop before the answers in the file might have cost more
    #[arg(long, value_name = "USD", value_parser = dollars)]
    max_cost: Option<MicroUsd>,
    #[command(flatten)]
    choice: ChoiceArgs,
    #[command(flatten)]
    asked: AskedArgs,
    /// Print what became of it as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// An amount of money on the command line.
pub(super) fn dollars(text: &str) -> Result<MicroUsd, String> {
    let amount = text.trim_start_matches('$').parse().ok().and_then(MicroUsd::from_dollars);
    amount.ok_or_else(|| "an amount in dollars, such as 2.50".to_owned())
}

/// Runs the command.
pub(super) async fn run(gateway: &Gateway, args: Args, quiet: bool) -> ExitCode {
    let json = args.json;
    let prepared = match prepare(gateway, args).await {
        Ok(prepared) => prepared,
        Err(failure) => {
            show_failure(&failure, json);
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let stop = CancellationToken::new();
    let (out, skipped, left_out) = (prepared.out.clone(), prepared.skipped, prepared.left_out.clone());
    for why in &left_out {
        tell(&format!("warning: left out: {why}"));
    }
    let progress = Progress::of(prepared.jobs.len(), quiet);
    let outcome = until_told(carried_out(gateway, prepared, stop.clone(), &progress), &stop).await;
    progress.end();
    let left = || Err(Failure::new(Code::Cancelled, "the run was left").advise("go on with --resume"));
    match outcome.unwrap_or_else(left) {
        Ok(tally) => {
            let summary =
                Summary { tally, skipped, left_out: &left_out, out: &out, seconds: began.elapsed().as_secs_f64() };
            summary.show(json, quiet);
            if summary.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            show_failure(&failure, json);
            ExitCode::FAILURE
        }
    }
}

/// A run that may begin.
struct Prepared {
    jobs: Vec<Job>,
    /// What was found and is not asked about, and why.
    left_out: Vec<String>,
    known: Vec<Known>,
    journal: Journal,
    terms: Terms,
    out: PathBuf,
    /// Questions that an earlier run has answered.
    skipped: usize,
}

async fn prepare(gateway: &Gateway, args: Args) -> Result<Prepared> {
    let base = args.choice.of(args.asked.ask()?);
    let (inputs, resume, out) = (args.inputs, args.resume, args.out);
    let (at_once, most) = (usize::from(args.jobs), args.max_cost);
    let broken = |_| Failure::new(Code::Internal, "reading the inputs met a fault of the program");
    let found = spawn_blocking(move || inputs::jobs(&inputs, &base)).await.map_err(broken).flatten()?;
    let (mut jobs, left_out) = (found.jobs, found.left_out);
    for job in &mut jobs {
        job.head.insert(QUESTION.into(), json!(question_digest(gateway, &job.ask, None)));
    }
    let asks = jobs.iter().map(|job| &job.ask).filter(|_| resume && out.exists());
    let now = Files::of(gateway, &Asker::local(Door::CommandLine), asks).await;
    let preparing = spawn_blocking(move || {
        let earlier = if resume { Earlier::read(&out, &jobs, &now)? } else { Earlier::none(&out)? };
        let Earlier { journal, known, spent, answered, again } = earlier;
        let all = jobs.len();
        let mut jobs: Vec<Job> = jobs.into_iter().filter(|job| !answered.contains(&job.id)).collect();
        again.given_to(&mut jobs);
        let terms = Terms { at_once, most, spent, twins: true };
        Ok(Prepared { skipped: all - jobs.len(), jobs, left_out, known, journal, terms, out })
    });
    preparing.await.map_err(broken).flatten()
}

/// What an earlier run has left.
struct Earlier {
    journal: Journal,
    known: Vec<Known>,
    spent: MicroUsd,
    answered: HashSet<String>,
    again: Again,
}

impl Earlier {
    fn none(out: &Path) -> Result<Self> {
        let journal = Journal::create(out)?;
        let (spent, again) = (MicroUsd::default(), Again::default());
        Ok(Self { journal, known: Vec::new(), spent, answered: HashSet::new(), again })
    }

    /// Reads the file. What failed is asked again, and what is about files that have changed since.
    fn read(out: &Path, jobs: &[Job], now: &Files) -> Result<Self> {
        let asks: HashMap<&str, &Job> = jobs.iter().map(|job| (job.id.as_str(), job)).collect();
        let (mut known, mut spent, mut answered) = (Vec::new(), 0, HashSet::new());
        let mut again = Again::default();
        let journal = Journal::resume(out, line_id, |line, place| {
            let id = line["id"].as_str().unwrap_or_default();
            spent += cost_of(line).0;
            let Some(job) = asks.get(id) else {
                known.extend(Known::of(line, place));
                return Ok(());
            };
            if line.get("error").is_some() {
                again.add(id, line);
                return Ok(());
            }
            if line[QUESTION] != job.head[QUESTION] {
                let message = format!("{}: `{id}` was asked something else in the earlier run", out.display());
                return Err(Failure::invalid(message).advise("ask as before, or name another file with --out"));
            }
            if now.are_those_of(line, &job.ask) {
                answered.insert(id.to_owned());
                known.extend(Known::of(line, place));
            } else {
                again.add(id, line);
            }
            Ok(())
        })?;
        Ok(Self { journal, known, spent: MicroUsd(spent), answered, again })
    }
}

async fn carried_out(
    gateway: &Gateway,
    prepared: Prepared,
    stop: CancellationToken,
    progress: &Progress,
) -> Result<Tally> {
    let Prepared { jobs, known, mut journal, terms, .. } = prepared;
    let asker = Asker::local(Door::CommandLine);
    let run = Run { gateway, asker: &asker, terms, tell: told, stop };
    let tally = run.carry_out(&jobs, known, &mut journal, |tally| progress.show(tally)).await?;
    bulk::end(journal, &jobs, line_id).await?;
    Ok(tally)
}

/// What became of a question, as every surface shows it.
pub(super) fn told(outcome: &Result<Reply>) -> Map<String, Value> {
    let value = match outcome {
        Ok(reply) => answer::whole(reply),
        Err(failure) => answer::error(failure),
    };
    let Value::Object(mut told) = value else { return Map::new() };
    // What came to nothing was paid for, too, and a later run must know.
    told.extend(cost_members(outcome));
    told
}

/// What became of a run.
struct Summary<'a> {
    tally: Tally,
    skipped: usize,
    left_out: &'a [String],
    out: &'a Path,
    seconds: f64,
}

impl Summary<'_> {
    fn is_complete(&self) -> bool {
        self.tally.failed == 0 && self.tally.left == 0
    }

    fn show(&self, json: bool, quiet: bool) {
        let Self { tally, skipped, left_out, out, seconds } = self;
        let cost = tally.spent.dollars();
        if json {
            let mut value = json!({"answered": tally.answered, "failed": tally.failed, "same": tally.same,
                "answered_before": skipped, "not_asked": tally.left, "left_out": left_out, "cost_usd": cost, "seconds": seconds,
                "out": out.display().to_string()});
            if !tally.reasons.is_empty() {
                value["reasons"] = tally.reasons.iter().map(Reason::members).collect();
            }
            if let Some(why) = &tally.stopped {
                value["stopped"] = json!(why.name());
            }
            return print_json(&value);
        }
        for reason in &tally.reasons {
            tell(&format!("{} {}", reason.many, reason.told()));
        }
        if let Some(why) = &tally.stopped {
            tell(&format!("stopped: {}", why.told()));
        }
        if quiet {
            return;
        }
        let mut parts = vec![format!("{} answered", tally.answered)];
        let counts = [
            (tally.same, "of them as others with the same bytes"),
            (tally.failed, "failed"),
            (*skipped, "answered before"),
            (tally.left, "not asked"),
        ];
        parts.extend(counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
        if tally.unknown_costs > 0 {
            tell(&format!("warning: what {} of the answers cost is not known", tally.unknown_costs));
        }
        tell(&format!("{}; ${cost:.4} in all; {seconds:.1} s; {}", parts.join(", "), out.display()));
        if !self.is_complete() {
            tell("hint: the same command with --resume asks what has no answer yet");
        }
    }
}
