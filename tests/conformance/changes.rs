//! Lists that are said to have changed, and the clients that want to hear of it.

use rmcp::model::CallToolResult;
use rmcp::service::SubscriptionContext;
use tokio::sync::broadcast::{self, Sender};

use super::fixtures::said;

/// Which list changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Tools,
    Prompts,
}

/// Where changes are announced.
#[derive(Clone)]
pub(crate) struct Changes(Sender<Change>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::channel(16).0)
    }
}

impl Changes {
    /// Announces a change to whoever listens.
    pub(crate) fn announce(&self, change: Change) -> CallToolResult {
        // Nobody listening is no error.
        let listeners = self.0.send(change).unwrap_or_default();
        said(&format!("told {listeners} listeners"))
    }

    /// Tells a client of the changes that it asked for, until it leaves.
    pub(crate) async fn tell(&self, client: &SubscriptionContext) {
        let mut changes = self.0.subscribe();
        loop {
            let change = tokio::select! {
                () = client.cancelled() => return,
                change = changes.recv() => change,
            };
            let Ok(change) = change else { return };
            let (wanted, sink) = (client.accepted(), client.sink());
            let told = match change {
                Change::Tools if wanted.tools_list_changed == Some(true) => sink.notify_tool_list_changed().await,
                Change::Prompts if wanted.prompts_list_changed == Some(true) => sink.notify_prompt_list_changed().await,
                Change::Tools | Change::Prompts => Ok(()),
            };
            if told.is_err() {
                return;
            }
        }
    }
}
