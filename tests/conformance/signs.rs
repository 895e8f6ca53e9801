//! Tools that say something while they work: how far they are, and what happens.

#![expect(deprecated, reason = "the suite holds servers to what earlier eras of the protocol asked for")]

use std::time::Duration;

use rmcp::model::{
    CallToolResult, ErrorData, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::json;
use tokio::time::sleep;

use super::fixtures::{broken, said};

/// The suite wants to see that signs come one by one.
const BETWEEN: Duration = Duration::from_millis(50);

/// Tells a client that asked for it how far the work is.
pub(crate) async fn progress(ctx: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    let token = ctx.meta.get_progress_token();
    for done in [0.0, 50.0, 100.0] {
        if let Some(token) = &token {
            let sign = ProgressNotificationParam::new(token.clone(), done).with_total(100.0);
            let sent = ctx.peer.notify_progress(sign).await;
            sent.map_err(|error| broken("telling how far the work is", &error))?;
        }
        sleep(BETWEEN).await;
    }
    Ok(said("the work is done"))
}

/// Tells a client what happens.
pub(crate) async fn log(ctx: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    for words in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(words));
        let sent = ctx.peer.notify_logging_message(message).await;
        sent.map_err(|error| broken("logging to the client", &error))?;
        sleep(BETWEEN).await;
    }
    Ok(said("everything was logged"))
}

/// Works long enough for a client to lose its connection.
pub(crate) async fn pause() -> Result<CallToolResult, ErrorData> {
    sleep(2 * BETWEEN).await;
    Ok(said("the connection held"))
}
