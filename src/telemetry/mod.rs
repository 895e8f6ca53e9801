//! Structured logs on standard error, and traces for a collector where one is configured. Standard output belongs to
//! answers and protocols.

pub mod collector;

use tracing::error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt, registry};

use self::collector::Spans;
use crate::config::{LogFormat, LogLevel};
use crate::spans::TARGET;

/// Starts logging. Our own lines follow `level`; libraries only speak up when something is wrong, because some of
/// them write whole requests, images included, at their finer levels.
///
/// A panic is logged by its place alone: its words may hold what a caller sent.
pub fn start(level: LogLevel, format: LogFormat, spans: Option<&Spans>) {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "a task panicked");
    }));
    let own = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
    };
    // Parsing a fixed list cannot fail; if it did, the default filter is as quiet.
    let filter = EnvFilter::new(format!("off,visiongate={own},vision_providers={own},{TARGET}=off"));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // A list, and no `Option`: an absent layer counts as one that wants every span of every library.
    let mut layers = vec![lines.with_filter(filter).boxed()];
    layers.extend(spans.map(|spans| spans.layer().boxed()));
    // A second start, as tests make it, leaves the first in place.
    let _ = registry().with(layers).try_init();
}
