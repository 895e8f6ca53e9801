//! Everything that speaks to the outside: the shape of answers, the command line, MCP and HTTP.
//!
//! Nothing below this floor knows MCP, HTTP or the JSON that callers see.

pub mod answer;
pub mod cli;
pub mod init;
pub mod mcp;
pub mod server;

/// Becomes ready when the process is told to stop.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
