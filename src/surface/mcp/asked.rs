//! The ids of requests that have no answer yet.
//!
//! Of two requests with one id, rmcp answers one, with whichever answer is there first.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::{ClientNotification, JsonRpcMessage, NumberOrString};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage};

/// What one client waits for. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked(Arc<Mutex<HashSet<NumberOrString>>>);

impl Asked {
    /// Takes note of a message that arrives; the id of a request that has the id of another one.
    pub(super) fn again(&self, message: &RxJsonRpcMessage<RoleServer>) -> Option<NumberOrString> {
        match message {
            JsonRpcMessage::Request(request) => {
                let is_new = self.ids().insert(request.id.clone());
                (!is_new).then(|| request.id.clone())
            }
            JsonRpcMessage::Notification(told) => {
                if let ClientNotification::CancelledNotification(cancelled) = &told.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    // It gets no answer.
                    self.ids().remove(id);
                }
                None
            }
            _ => None,
        }
    }

    /// Takes note of a message that leaves.
    pub(super) fn told(&self, message: &TxJsonRpcMessage<RoleServer>) {
        let id = match message {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        if let Some(id) = id {
            self.ids().remove(id);
        }
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<NumberOrString>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
