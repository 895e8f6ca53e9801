//! The command that asks one question about images: its arguments, and how its answer is shown.

use std::process::ExitCode;

use tokio::sync::mpsc;

use crate::failure::{Code, Failure};
use crate::gateway::{Ask, Asker, Foreseen, Gateway, Prospect};
use crate::intake::Door;
use crate::reply::Reply;
use crate::surface::answer;
use crate::surface::cli::{print, print_json, print_piece, tell};
use crate::surface::question::{QuestionArgs, show_failure};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    question: QuestionArgs,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
    /// Ask nobody: print who would be asked, what would be sent, and what it would cost at most
    #[arg(long, conflicts_with = "stream")]
    dry_run: bool,
    /// Print the answer while it is being given; with --json there is one document all the same, at the end
    #[arg(long)]
    stream: bool,
}

/// Runs the command.
pub(super) async fn run(gateway: &Gateway, args: Args, quiet: bool) -> ExitCode {
    let (json, stream, dry_run) = (args.json, args.stream, args.dry_run);
    let ask = match args.question.ask() {
        Ok(ask) => ask,
        Err(failure) => {
            show_failure(&failure, json);
            return ExitCode::from(2);
        }
    };
    let asker = Asker::local(Door::CommandLine);
    let answering = async {
        if dry_run {
            let foreseen = gateway.foresee(&ask, &asker).await?;
            show_foreseen(&foreseen, json);
            return Ok(());
        }
        if stream && !json {
            return aloud(gateway, &ask, &asker, quiet).await;
        }
        let reply = gateway.ask(&ask, &asker).await?;
        if json {
            print_json(&answer::whole(&reply));
        } else {
            show(&reply, quiet);
        }
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = answering => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Code::Cancelled, "the call was cancelled")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            show_failure(&failure, json);
            ExitCode::FAILURE
        }
    }
}

fn show_foreseen(foreseen: &[Foreseen], json: bool) {
    if json {
        return print_json(&answer::foreseen(foreseen));
    }
    for one in foreseen {
        let model = &one.model;
        let line = match &one.prospect {
            Err(failure) => format!("{model}: would not be asked: {failure}"),
            Ok(Prospect { estimate: None, .. }) => format!("{model}: its tokens cannot be told from outside"),
            Ok(Prospect { estimate: Some(estimate), .. }) => {
                let most = estimate.most.map_or("unknown".into(), |most| format!("${}", most.dollars()));
                let (input, images, basis) = (estimate.input_tokens, estimate.image_tokens, estimate.basis.name());
                format!(
                    "{model}: about {input} tokens in, {images} of them for images ({basis}); at most {most} a call"
                )
            }
        };
        print(&line);
        if let Some(note) = &one.note {
            tell(&format!("note: {note}"));
        }
    }
}

fn show(reply: &Reply, quiet: bool) {
    print(&answer::plain(&bare(reply)));
    if !quiet {
        account_for(reply);
    }
}

/// The reply without its warnings, which people read elsewhere.
fn bare(reply: &Reply) -> Reply {
    Reply { warnings: Vec::new(), ..reply.clone() }
}

/// Says on standard error what there is to know about an answer.
fn account_for(reply: &Reply) {
    for warning in &reply.warnings {
        tell(&format!("warning: {warning}"));
    }
    let cost = match (reply.cost, reply.cached) {
        (_, true) => ", remembered".to_owned(),
        (Some(cost), _) => format!(", ${}", cost.dollars()),
        (None, _) => String::new(),
    };
    tell(&format!("answered by {}/{} in {} ms{cost}", reply.provider, reply.model, reply.latency.as_millis()));
}

/// Asks, and prints what is said while it is said.
async fn aloud(gateway: &Gateway, ask: &Ask, asker: &Asker, quiet: bool) -> Result<(), Failure> {
    let (listener, mut heard) = mpsc::channel(64);
    let asking = async {
        let outcome = gateway.ask_aloud(ask, asker, &listener).await;
        drop(listener);
        outcome
    };
    // What was printed; nothing when the reader has left.
    let printing = async {
        let mut printed = String::new();
        while let Some(text) = heard.recv().await {
            print_piece(&text).ok()?;
            printed.push_str(&text);
        }
        Some(printed)
    };
    tokio::pin!(asking, printing);
    let outcome = tokio::select! {
        biased;
        outcome = &mut asking => outcome,
        // Whoever reads has heard enough, so nobody is asked any more.
        None = &mut printing => return Ok(()),
    };
    let Some(printed) = printing.await else { return Ok(()) };
    if !printed.is_empty() {
        print("");
    }
    let reply = outcome?;
    if !is_said(&reply, &printed) {
        if !printed.is_empty() && !quiet {
            tell("note: what was printed so far was not in its final form; this is the answer:");
        }
        print(&answer::plain(&bare(&reply)));
    }
    if !quiet {
        account_for(&reply);
    }
    Ok(())
}

/// Whether what was printed is the answer.
fn is_said(reply: &Reply, printed: &str) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    words(&answer::plain(&bare(reply))) == words(printed)
}
