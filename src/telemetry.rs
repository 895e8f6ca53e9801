//! Structured logs on standard error. Standard output belongs to answers and protocols.

use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{LogFormat, LogLevel};

/// Starts logging. Our own lines follow `level`; libraries only speak up when something is wrong, because some of
/// them write whole requests, images included, at their finer levels.
///
/// A panic is logged by its place alone: its words may hold what a caller sent.
pub fn start(level: LogLevel, format: LogFormat) {
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
    let filter = EnvFilter::new(format!("off,visiongate={own},vision_providers={own}"));
    let subscriber = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as tests make it, leaves the first in place.
    let _ = match format {
        LogFormat::Text => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
}
