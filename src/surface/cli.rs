//! The command line: data on standard output, everything else on standard error.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use vision_providers::request::{CacheMode, Caller};

use crate::config::{self, Fault, Loaded, LogLevel};
use crate::gateway::Gateway;
use crate::live::Live;
use crate::rights::Rights;
use crate::router::roster::{Backend, KeyState};
use crate::supervisor::Supervisor;
use crate::surface::{
    analyze, batch, compare, completions, credentials, eval, init, manual, mcp, models, prices, route,
};
use crate::telemetry::{self, collector::Spans};

/// One vision tool for every MCP client, any vision model behind it.
#[derive(Debug, Parser)]
#[command(name = "visiongate", version, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file; otherwise `$VISIONGATE_CONFIG`, your configuration folder, or the built-in one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say nothing but the answer and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Write what happens to standard error
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask one question about one or more images
    Analyze(Box<analyze::Args>),
    /// Ask several models the same, side by side
    Compare(Box<compare::Args>),
    /// Ask about many images: files, folders, patterns, or a manifest
    Batch(Box<batch::Args>),
    /// Score models on a labelled set, and write a report
    Eval(Box<eval::Args>),
    /// Say who would be asked, in which order and why, without asking anybody
    Route(Box<route::Args>),
    /// List providers and models: abilities, limits, prices, whether the key is there
    Models {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Compare prices with those of a file, and print what differs as configuration
    Prices {
        /// The file `model_prices_and_context_window.json` of the project `LiteLLM`
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Read the configuration and report every fault at once
    Check {
        /// Also ask each provider whether it is there and takes the key
        #[arg(long)]
        live: bool,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Speak MCP over standard input and output: what MCP clients start
    Mcp,
    /// Serve MCP, REST, OpenAI's clients and a page for people over HTTP
    Serve {
        /// Address and port; otherwise `server.listen` of the configuration
        #[arg(long, value_name = "ADDR")]
        listen: Option<String>,
    },
    /// Make keys for callers of `visiongate serve`
    Keys {
        #[command(subcommand)]
        command: credentials::Command,
    },
    /// Print a starter configuration, or the entry that connects an MCP client
    Init(init::Args),
    /// Print a script that completes commands in a shell
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Runs a command. The exit code is 0 when it is done, 1 when the work failed, 2 for wrong usage or configuration.
pub async fn run(cli: Cli) -> ExitCode {
    // These need no configuration, and have to work where it is broken.
    match &cli.command {
        Command::Init(args) => return init::run(args, cli.config.as_deref()),
        Command::Completions { shell } => return completions::run(*shell),
        Command::Man => return manual::run(),
        Command::Keys { command } => return credentials::run(command),
        _ => {}
    }
    let loaded = match config::load(cli.config.as_deref()) {
        Ok(loaded) => loaded,
        Err(faults) => return report(&faults, wants_json(&cli.command)),
    };
    let spans = match spans(&loaded) {
        Ok(spans) => spans,
        Err(faults) => return report(&faults, wants_json(&cli.command)),
    };
    telemetry::start(log_level(&cli, &loaded), loaded.config.log.format, spans.as_ref());
    let code = Box::pin(run_with(cli, loaded)).await;
    if let Some(spans) = spans {
        spans.shut_down().await;
    }
    code
}

/// What sends spans, where the configuration says where to.
fn spans(loaded: &Loaded) -> Result<Option<Spans>, Vec<Fault>> {
    let Some(collector) = config::collector(loaded)? else { return Ok(None) };
    Spans::to(&collector).map(Some).map_err(|error| vec![loaded.fault("traces.endpoint", error.to_string())])
}

async fn run_with(cli: Cli, loaded: Loaded) -> ExitCode {
    let json = wants_json(&cli.command);
    let supervisor = Supervisor::default();
    let live = match Live::start(cli.config, loaded, supervisor.clone()) {
        Ok(live) => Arc::new(live),
        Err(faults) => return report(&faults, json),
    };
    let running = live.now();
    let gateway = &running.gateway;
    let code = match cli.command {
        Command::Analyze(args) => analyze::run(gateway, *args, cli.quiet).await,
        Command::Compare(args) => compare::run(gateway, *args).await,
        Command::Batch(args) => batch::run(gateway, *args, cli.quiet).await,
        Command::Eval(args) => Box::pin(eval::run(gateway, *args, cli.quiet)).await,
        Command::Route(args) => route::run(gateway, *args).await,
        Command::Models { json } => show_models(gateway, json),
        Command::Prices { file } => prices::run(gateway, &file),
        Command::Check { live, json } => check(&running.loaded, gateway, live, json).await,
        Command::Mcp => return mcp::stdio::run(live, supervisor).await,
        Command::Serve { listen } => return super::http::run(live, listen.as_deref(), supervisor).await,
        Command::Init(_) | Command::Keys { .. } | Command::Completions { .. } | Command::Man => ExitCode::SUCCESS,
    };
    // What was answered is still being written to disk, when the configuration says so.
    supervisor.drained(LAST_WRITES).await;
    code
}

/// What a command waits for answers to be on disk.
const LAST_WRITES: Duration = Duration::from_secs(1);

fn wants_json(command: &Command) -> bool {
    match command {
        Command::Analyze(args) => args.json,
        Command::Compare(args) => args.json,
        Command::Batch(args) => args.json,
        Command::Eval(args) => args.json,
        Command::Route(args) => args.json,
        Command::Models { json } | Command::Check { json, .. } => *json,
        _ => false,
    }
}

/// One-off commands stay silent unless asked; servers follow the configuration.
fn log_level(cli: &Cli, loaded: &Loaded) -> LogLevel {
    let serves = matches!(cli.command, Command::Mcp | Command::Serve { .. });
    match (cli.verbose, cli.quiet, serves) {
        (true, ..) => LogLevel::Debug,
        (_, true, _) | (.., false) => LogLevel::Error,
        _ => loaded.config.log.level,
    }
}

/// Writes to standard output. A reader that has left is no error worth a word.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes to standard output what is not yet the end of a line; an error when the reader has left.
pub(super) fn print_piece(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush())
}

/// Writes to standard error.
pub(super) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

pub(super) fn print_json(value: &Value) {
    print(&serde_json::to_string_pretty(value).unwrap_or_default());
}

fn report(faults: &[Fault], json: bool) -> ExitCode {
    if json {
        print_json(&json!({"ok": false, "faults": faults.iter().map(fault_json).collect::<Vec<_>>()}));
        return ExitCode::from(2);
    }
    for fault in faults {
        tell(&format!("error: {fault}"));
    }
    ExitCode::from(2)
}

fn fault_json(fault: &Fault) -> Value {
    let mut value = json!({"place": fault.place, "key": fault.key, "message": fault.message});
    if let Some(hint) = &fault.hint {
        value["hint"] = json!(hint);
    }
    value
}

fn show_models(gateway: &Gateway, json: bool) -> ExitCode {
    let list = models::list(gateway, &Rights::default());
    if json {
        print_json(&list);
        return ExitCode::SUCCESS;
    }
    print(&models::text(&list));
    ExitCode::SUCCESS
}

async fn check(loaded: &Loaded, gateway: &Gateway, live: bool, json: bool) -> ExitCode {
    let mut states = Vec::new();
    for (name, backend) in &gateway.roster.backends {
        let state = match (&backend.key, live) {
            (KeyState::Missing(place), _) => Err(format!("no key: {place} is not set")),
            (_, false) => Ok("configured"),
            (_, true) => probe(backend).await.map(|()| "reachable"),
        };
        states.push((name, state));
    }
    let file = loaded.file.as_ref().map_or("the built-in configuration".into(), |file| file.display().to_string());
    // A provider without a key is passed over, which is no fault; one that was asked and did not answer is.
    let failed = live && states.iter().any(|(name, state)| state.is_err() && gateway.roster.expects(name));
    if json {
        let providers: Vec<Value> = states
            .iter()
            .map(|(name, state)| match state {
                Ok(state) => json!({"name": name, "state": state}),
                Err(why) => json!({"name": name, "state": "unavailable", "reason": why}),
            })
            .collect();
        print_json(&json!({"ok": !failed, "configuration": file, "faults": [], "providers": providers}));
    } else {
        print(&format!("{file}: no faults"));
        for (name, state) in &states {
            let (Ok(state) | Err(state)) = state.as_ref().map(ToString::to_string).map_err(Clone::clone);
            print(&format!("  {name:<16} {state}"));
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn probe(backend: &Backend) -> Result<(), String> {
    let ctx = vision_providers::request::CallCtx {
        request_id: "check".into(),
        caller: Caller::local(),
        deadline: tokio::time::Instant::now() + Duration::from_secs(10),
        cache: CacheMode::Bypass,
        retries: 0,
        last: true,
    };
    backend.provider.probe(&ctx).await.map_err(|error| error.to_string())
}
