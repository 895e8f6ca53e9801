//! The command that says who would be asked, in which order and why, without asking anybody.

use std::process::ExitCode;

use vision_providers::estimate::Estimate;
use vision_providers::wire::Delivery;

use crate::gateway::{Asker, Explained, Gateway};
use crate::intake::Door;
use crate::router::roster::Candidate;
use crate::surface::answer;
use crate::surface::cli::{print, print_json};
use crate::surface::question::{QuestionArgs, show_failure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    question: QuestionArgs,
    /// As if the answer were wanted while it is being given
    #[arg(long)]
    stream: bool,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the command.
pub(super) async fn run(gateway: &Gateway, args: Args) -> ExitCode {
    let json = args.json;
    let delivery = if args.stream { Delivery::Streamed } else { Delivery::Whole };
    let ask = match args.question.ask() {
        Ok(ask) => ask,
        Err(failure) => {
            show_failure(&failure, json);
            return ExitCode::from(2);
        }
    };
    let asker = Asker::local(Door::CommandLine);
    match gateway.explain(&ask, &asker, delivery).await {
        Ok(explained) if json => print_json(&answer::explained(&explained)),
        Ok(explained) => print(&text(&explained)),
        Err(failure) => {
            show_failure(&failure, json);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn text(explained: &Explained) -> String {
    let plan = &explained.plan;
    let mut lines = vec![format!("asked for: {} ({}, strategy {})", plan.requested, plan.rule, plan.strategy)];
    if !plan.demands.is_empty() {
        lines.push(format!("rules keep it with providers that are {}", plan.demands.join(" and ")));
    }
    let candidates = plan.candidates.iter().zip(&explained.estimates).enumerate();
    lines.extend(candidates.map(|(index, (candidate, estimate))| line(index, candidate, *estimate)));
    if let Some(after) = plan.hedge {
        lines.push(format!("the second is asked as well when the first takes longer than {} ms", after.as_millis()));
    }
    lines.extend(plan.skipped.iter().map(|skipped| format!("-  {}", skipped.warning())));
    lines.join("\n")
}

fn line(index: usize, candidate: &Candidate, estimate: Option<Estimate>) -> String {
    let why = candidate.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    let dollars = |cost: Option<vision_providers::price::MicroUsd>| {
        cost.map_or_else(|| "unknown".to_owned(), |cost| format!("${}", cost.dollars()))
    };
    let take = match estimate {
        None => "its tokens cannot be told from outside".to_owned(),
        Some(it) => {
            let (likely, most) = (dollars(it.likely), dollars(it.most));
            format!("about {} tokens in; likely {likely}, at most {most} a call", it.input_tokens)
        }
    };
    format!("{}. {}{why}: {take}", index + 1, candidate.name())
}
