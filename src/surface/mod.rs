//! Everything that speaks to the outside: the shape of answers, the command line, MCP and HTTP.
//!
//! Nothing below this floor knows MCP, HTTP or the JSON that callers see.

mod analyze;
pub mod answer;
pub mod cli;
pub mod init;
pub mod mcp;
mod models;
mod prices;
mod question;
mod route;
pub mod server;

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
