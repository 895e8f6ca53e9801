//! The command that asks several models the same and shows their answers side by side.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::slice;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use vision_providers::price::MicroUsd;
use vision_providers::request::CacheMode;

use crate::compare::{self, Answered, Comparing, Comparison, Following, News};
use crate::eval::dataset::{Dataset, Item};
use crate::eval::manifest::Manifest;
use crate::eval::measured::measure;
use crate::eval::record::Record;
use crate::eval::report::{self, Album};
use crate::eval::summary::{Method, summarise};
use crate::eval::{Protocol, results};
use crate::failure::{Code, Failure, Result};
use crate::gateway::{Asker, Gateway};
use crate::intake::Door;
use crate::score::{Metric, Settings, Truth, Yardstick};
use crate::statistics::bootstrap::Resampling;
use crate::surface::StopSignal;
use crate::surface::batch::{dollars, told};
use crate::surface::calls;
use crate::surface::cli::{print, print_json, tell};
use crate::surface::question::{AskedArgs, ImageArgs, show_failure};

/// Characters of an image's name in the title of a report.
const LONGEST_NAME: usize = 200;

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
    /// Write the report of the comparison, one file that needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
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
    let models: Vec<String> = args.models.iter().map(|model| model.trim().to_owned()).collect();
    let asker = Asker::local(Door::CommandLine);
    if let Err(failure) = compare::check(&models, gateway, &asker.rights) {
        show_failure(&failure, json);
        return ExitCode::from(2);
    }
    let comparing = Comparing { ask, models, expected: args.expect, max_cost: args.max_cost };
    let (comparison, was_told) = match until_told(gateway, &comparing, &asker).await {
        Ok(ended) => ended,
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
    // The answers are paid for, so they come first, whatever becomes of the report.
    if let Some(file) = args.html {
        let mut signal = StopSignal::listen();
        let written = tokio::select! {
            written = report(gateway, &comparing, &comparison, &file) => written,
            () = signal.told() => Err(cancelled()),
        };
        if let Err(failure) = written {
            tell(&format!("error: {failure}"));
            return ExitCode::FAILURE;
        }
    }
    if !was_told && comparison.answers.iter().any(|answered| answered.outcome.is_ok()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Asks the models until all have answered or the process is told to end, and says whether it was. Answers that have come
/// are paid for, so they are kept; who was not done is cancelled.
async fn until_told(gateway: &Gateway, comparing: &Comparing, asker: &Asker) -> Result<(Comparison, bool)> {
    let (follower, mut news) = mpsc::channel(comparing.models.len().max(1));
    let mut signal = StopSignal::listen();
    tokio::select! {
        outcome = compare::compare(gateway, comparing, asker, Following::Ends(&follower)) => {
            return outcome.map(|comparison| (comparison, false));
        }
        () = signal.told() => {}
    }
    let unanswered = |model: &String| Answered { model: model.clone(), outcome: Err(cancelled()), score: None };
    let mut answers: Vec<Answered> = comparing.models.iter().map(unanswered).collect();
    let mut came = 0;
    // There is room for the end of every model, so that none of them waits for somebody to listen.
    while let Ok(told) = news.try_recv() {
        if let News::Ended(place, ended) = told
            && let Some(answer) = answers.get_mut(place)
        {
            *answer = *ended;
            came += 1;
        }
    }
    if came == 0 {
        return Err(cancelled());
    }
    Ok((compare::of(answers).await?, true))
}

fn cancelled() -> Failure {
    Failure::new(Code::Cancelled, "the call was cancelled")
}

/// Writes a comparison as the report of a set with one question.
async fn report(gateway: &Gateway, comparing: &Comparing, comparison: &Comparison, file: &Path) -> Result<()> {
    let item = item(comparing)?;
    let protocol = Protocol {
        models: comparing.models.clone(),
        repeats: 1,
        seed: 1,
        temperature: comparing.ask.sampling.temperature,
        max_output_tokens: comparing.ask.sampling.max_output_tokens,
        cache: comparing.ask.cache.unwrap_or(CacheMode::Bypass),
    };
    let records = comparison.answers.iter().filter_map(|answered| {
        let mut line = told(&answered.outcome);
        line.extend(
            [("item", json!(item.id)), ("model_asked", json!(answered.model)), ("repeat", json!(0))]
                .map(|(name, value)| (name.to_owned(), value)),
        );
        let record = Record::read(&Value::Object(line))?;
        // Where they could not be opened, there is no comparison.
        Some(Record { images: Some(item.ask.images.join("\n")), ..record })
    });
    let records: Vec<Record> = records.collect();
    let album = Album::of(&gateway.intake, &Asker::local(Door::CommandLine), slice::from_ref(&item)).await;
    let dataset = Dataset { path: item.id.clone().into(), digest: String::new(), items: vec![item] };
    let manifest = Manifest::of(gateway, &dataset, &protocol);
    let file = file.to_owned();
    let writing = spawn_blocking(move || {
        let asked = measure(&dataset, &protocol.models, records, &|_, _| None, false);
        let method = Method { baseline: 0, resampling: Resampling::default() };
        let summary = summarise(&asked, &protocol.models, None, method);
        results::replace(&file, &report::html(&manifest, &summary, &asked, &album)?)
    });
    writing.await.map_err(|_| Failure::new(Code::Internal, "writing the report met a fault of the program")).flatten()
}

/// The question of a comparison, and how answers to it are measured where the right one is known.
fn item(comparing: &Comparing) -> Result<Item> {
    let expected = comparing.expected.as_deref();
    let data = expected.and_then(|text| serde_json::from_str::<Value>(text).ok()).filter(Value::is_object);
    let metric = if data.is_some() { Metric::FieldAccuracy } else { Metric::Similarity };
    let texts = expected.map(str::to_owned).into_iter().collect();
    let truth = Truth { texts, data, schema: None };
    let yardstick = expected.map(|_| Yardstick::new(metric, &truth, Settings::default())).transpose()?;
    let named = comparing.ask.images.first().map_or("comparison", String::as_str);
    Ok(Item {
        id: named.chars().take(LONGEST_NAME).collect(),
        ask: comparing.ask.clone(),
        expected: expected.map_or(Value::Null, |text| json!(text)),
        tags: Vec::new(),
        yardsticks: yardstick.into_iter().collect(),
        truth,
    })
}
