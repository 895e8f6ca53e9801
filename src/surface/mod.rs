//! Everything that speaks to the outside: the shape of answers, the command line, MCP and HTTP.
//!
//! Nothing below this floor knows MCP, HTTP or the JSON that callers see.

use std::sync::Arc;
use std::time::Duration;

use crate::live::Live;

mod analyze;
pub mod answer;
mod arguments;
mod batch;
pub mod calls;
pub mod cli;
mod completions;
mod conversation;
mod credentials;
mod health;
pub mod http;
mod init;
mod manual;
pub mod mcp;
mod models;
mod prices;
mod progress;
mod question;
mod route;
mod values;

/// What calls in the air may still take when the process is told to stop.
const DRAIN: Duration = Duration::from_secs(25);

/// The ways in which a process is told to stop, listened for from the moment this exists.
struct StopSignal {
    #[cfg(unix)]
    terminate: Option<tokio::signal::unix::Signal>,
}

impl StopSignal {
    fn listen() -> Self {
        Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok(),
        }
    }

    /// Becomes ready when the process is told to stop; it can be told twice.
    async fn told(&mut self) {
        #[cfg(unix)]
        if let Some(terminate) = &mut self.terminate {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// The way in which services are told to read their configuration anew.
struct ReloadSignal {
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl ReloadSignal {
    fn listen() -> Self {
        Self {
            #[cfg(unix)]
            hangup: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    async fn told(&mut self) {
        #[cfg(unix)]
        if let Some(hangup) = &mut self.hangup
            && hangup.recv().await.is_some()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}

/// Reads the configuration anew whenever the process is told to.
async fn reload_when_told(live: Arc<Live>, mut signal: ReloadSignal) {
    loop {
        signal.told().await;
        live.reload_and_tell().await;
    }
}
