//! How the server is, for whoever works with it: which tasks it knows, how many models it compares, how providers are, and
//! what today has cost.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::{Value, json};

use super::rest;
use crate::gateway::Asker;
use crate::live::Live;
use crate::surface::health;
use crate::tasks;

pub(super) fn routes() -> Router<Arc<Live>> {
    Router::new().route("/v1/status", get(status))
}

/// What a caller may know: the providers that they may ask, and money only where all of it is theirs to see.
async fn status(State(live): State<Arc<Live>>, Extension(asker): Extension<Asker>) -> Response {
    let running = live.now();
    let gateway = &running.gateway;
    let mut value = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "tasks": tasks::names(&gateway.presets).collect::<Vec<_>>(),
        "compare": {"max_models": gateway.settings.most_compared},
        "providers": health::providers(gateway, &asker.rights),
    });
    if !asker.rights.are_restricted() {
        add_spend(&mut value, &live);
    }
    rest::json_response(&value)
}

fn add_spend(status: &mut Value, live: &Live) {
    let today = live.metrics().today();
    status["since"] = json!(today.since());
    status["spend_today_usd"] = json!(today.total().dollars());
    for (provider, cost) in &today.by_provider {
        // One that a newer configuration does not have is part of the sum only.
        if let Some(state) = status["providers"].get_mut(provider) {
            state["spend_today_usd"] = json!(cost.dollars());
        }
    }
}
