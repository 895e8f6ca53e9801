//! The command that asks one question about images: its arguments, and how its answer is shown.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::Value;
use tokio::sync::mpsc;
use vision_providers::request::{CacheMode, Caller, Detail, Effort, Sampling};

use crate::failure::{Code, Failure};
use crate::gateway::{Ask, Asker, Foreseen, Gateway, Prospect};
use crate::intake::Door;
use crate::intake::fit::Region;
use crate::reply::Reply;
use crate::surface::answer;
use crate::surface::cli::{print, print_json, print_piece, tell};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A path, file:// URI, https:// URL, data: URI, or - for standard input
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The question
    #[arg(short, long)]
    prompt: Option<String>,
    /// describe, ocr, ask, extract, or a task of the configuration
    #[arg(short, long)]
    task: Option<String>,
    /// A file with the JSON schema that the answer must follow
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// A provider, provider/model or alias
    #[arg(short, long)]
    model: Option<String>,
    /// How closely to look
    #[arg(long, value_enum, default_value_t = DetailArg::Auto)]
    detail: DetailArg,
    /// A part of the image, in fractions of its width and height
    #[arg(long, value_name = "X0,Y0,X1,Y1", value_delimiter = ',', allow_hyphen_values = true)]
    region: Option<Vec<f64>>,
    /// Standing instructions for the model
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[arg(long, value_name = "N")]
    temperature: Option<f64>,
    /// The most tokens that the answer may have
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    seed: Option<i64>,
    /// What to do with remembered answers
    #[arg(long, value_enum)]
    cache: Option<CacheArg>,
    /// How hard the model should think, where it can choose; as little as it can when absent
    #[arg(long, value_enum)]
    effort: Option<EffortArg>,
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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DetailArg {
    Auto,
    Low,
    High,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum EffortArg {
    Low,
    Medium,
    High,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CacheArg {
    Use,
    Refresh,
    Bypass,
}

/// Runs the command.
pub(super) async fn run(gateway: &Gateway, args: Args, quiet: bool) -> ExitCode {
    let (json, stream, dry_run) = (args.json, args.stream, args.dry_run);
    let ask = match ask(args) {
        Ok(ask) => ask,
        Err(failure) => {
            show_failure(&failure, json);
            return ExitCode::from(2);
        }
    };
    let asker = Asker { door: Door::CommandLine, caller: Caller::local() };
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

fn show_failure(failure: &Failure, json: bool) {
    if json {
        return print_json(&answer::error(failure));
    }
    tell(&format!("error: {failure}"));
    if let Some(advice) = &failure.advice {
        tell(&format!("hint: {advice}"));
    }
}

fn ask(args: Args) -> Result<Ask, Failure> {
    let schema = args.schema.map(|file| read_schema(&file)).transpose()?;
    let region = args.region.map(|edges| {
        let count = edges.len();
        let edges = <[f64; 4]>::try_from(edges);
        edges.map_err(|_| Failure::invalid(format!("`--region` takes four numbers, not {count}"))).and_then(Region::new)
    });
    Ok(Ask {
        images: args.images,
        prompt: args.prompt,
        task: args.task,
        schema,
        model: args.model,
        detail: match args.detail {
            DetailArg::Auto => Detail::Auto,
            DetailArg::Low => Detail::Low,
            DetailArg::High => Detail::High,
        },
        region: region.transpose()?,
        system: args.system,
        sampling: Sampling {
            temperature: args.temperature,
            seed: args.seed,
            max_output_tokens: args.max_tokens,
            effort: match args.effort {
                None => Effort::Least,
                Some(EffortArg::Low) => Effort::Low,
                Some(EffortArg::Medium) => Effort::Medium,
                Some(EffortArg::High) => Effort::High,
            },
            ..Sampling::default()
        },
        cache: args.cache.map(|cache| match cache {
            CacheArg::Use => CacheMode::Use,
            CacheArg::Refresh => CacheMode::Refresh,
            CacheArg::Bypass => CacheMode::Bypass,
        }),
    })
}

fn read_schema(file: &std::path::Path) -> Result<Arc<Value>, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::invalid(format!("reading the schema {shown}: {error}")))?;
    let schema = serde_json::from_str(&text);
    schema
        .map(Arc::new)
        .map_err(|error| Failure::invalid(format!("reading the schema {shown}: it is not JSON: {error}")))
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
