//! The command that asks several models the same and shows their answers side by side.

use std::process::ExitCode;

use vision_providers::price::MicroUsd;

use crate::compare::{Comparing, Following, compare};
use crate::failure::{Code, Failure};
use crate::gateway::{Asker, Gateway};
use crate::intake::Door;
use crate::surface::batch::dollars;
use crate::surface::calls;
use crate::surface::cli::{print, print_json};
use crate::surface::question::{AskedArgs, ImageArgs, show_failure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    images: ImageArgs,
    /// Providers, provider/model or aliases, with commas between them
    #[arg(long, required = true, value_name = "A,B,C", value_delimiter = ',')]
    models: Vec<String>,
    /// The right answer, to score each against; JSON for data
    #[arg(long, value_name = "TEXT")]
    expect: Option<String>,
    /// Ask nobody when all of them together could cost more
    #[arg(long, value_name = "USD", value_parser = dollars)]
    max_cost: Option<MicroUsd>,
    #[command(flatten)]
    asked: AskedArgs,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// Runs the command. One answer at least is what it is for; a model that fails is a result like the others.
pub(super) async fn run(gateway: &Gateway, args: Args) -> ExitCode {
    let json = args.json;
    let ask = match args.asked.ask() {
        Ok(ask) => args.images.of(ask),
        Err(failure) => {
            show_failure(&failure, json);
            return ExitCode::from(2);
        }
    };
    let models = args.models.iter().map(|model| model.trim().to_owned()).collect();
    let comparing = Comparing { ask, models, expected: args.expect, max_cost: args.max_cost };
    let asker = Asker::local(Door::CommandLine);
    let outcome = tokio::select! {
        outcome = compare(gateway, &comparing, &asker, Following::Nobody) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Code::Cancelled, "the call was cancelled")),
    };
    let comparison = match outcome {
        Ok(comparison) => comparison,
        Err(failure) => {
            show_failure(&failure, json);
            return ExitCode::FAILURE;
        }
    };
    let shown = calls::compared(&comparison);
    if json {
        print_json(&shown.answer);
    } else {
        print(&shown.text);
    }
    if comparison.answers.iter().any(|answered| answered.outcome.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
