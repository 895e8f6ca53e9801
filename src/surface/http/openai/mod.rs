//! OpenAI's chat completions and list of models, so that its clients switch by their base URL.

mod read;
mod write;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::response::Response;
use axum::response::sse::Event;
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::{HeaderValue, header::HeaderMap};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use self::read::Wanted;
use self::write::Saying;
use super::told::{self, Told, told};
use super::{refusal, rest};
use crate::failure::{Code, Failure, Result};
use crate::gateway::Asker;
use crate::live::Live;
use crate::reply::Reply;

pub(super) fn routes() -> Router<Arc<Live>> {
    let chat = async |State(live): State<Arc<Live>>, Extension(asker): Extension<Asker>, request: Request| {
        let path = request.uri().path().to_owned();
        completed(live, asker, request).await.unwrap_or_else(|failure| refusal::of(&path, &failure))
    };
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .layer(DefaultBodyLimit::disable())
}

async fn completed(live: Arc<Live>, asker: Asker, request: Request) -> Result<Response> {
    let path = request.uri().path().to_owned();
    let wanted = read::wanted(rest::json_body(request).await?)?;
    let dropped = wanted.dropped.join(", ");
    let mut response = if wanted.stream {
        streamed(live, asker, wanted, path).await
    } else {
        let reply = live.now().gateway.ask(&wanted.ask, &asker).await?;
        let mut response = rest::json_response(&write::completion(&reply));
        reply.warnings.iter().for_each(|warning| add(response.headers_mut(), refusal::WARNING, warning));
        response
    };
    if !dropped.is_empty() {
        add(response.headers_mut(), refusal::DROPPED, &dropped);
    }
    Ok(response)
}

/// Adds a header. What no header can hold is shown as a question mark.
fn add(headers: &mut HeaderMap, name: &'static str, text: &str) {
    const LONGEST: usize = 500;
    let plain = text.chars().take(LONGEST).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    if let Ok(value) = HeaderValue::try_from(plain.collect::<String>()) {
        headers.append(name, value);
    }
}

async fn streamed(live: Arc<Live>, asker: Asker, wanted: Wanted, path: String) -> Response {
    let running = live.now();
    let mut saying = Saying::new(wanted.with_usage, wanted.ask.model.as_deref());
    let metrics = live.metrics().clone();
    let telling = told(move |listener: mpsc::Sender<String>| async move {
        running.gateway.ask_aloud(&wanted.ask, &asker, &listener).await
    });
    let tell = move |told: Told<String, Result<Reply>>| match told {
        Told::Piece(text) => saying.piece(&text).iter().map(data).collect(),
        Told::End(Ok(reply)) => saying.end(&reply).iter().map(data).chain([Event::default().data("[DONE]")]).collect(),
        // The stream has begun, so its status can no longer say so.
        Told::End(Err(failure)) => vec![data(&refusal::openai(failure.code.status(), &failure))],
    };
    told::response(telling, metrics, move |failure| refusal::of(&path, &failure), tell).await
}

fn data(value: &Value) -> Event {
    Event::default().data(told::one_line(value))
}

async fn models(State(live): State<Arc<Live>>, Extension(asker): Extension<Asker>) -> Response {
    rest::json_response(&json!({"object": "list", "data": write::models(&live.now().gateway, &asker)}))
}

async fn model(
    State(live): State<Arc<Live>>,
    Extension(asker): Extension<Asker>,
    Path(name): Path<String>,
) -> Response {
    let found = write::models(&live.now().gateway, &asker).into_iter().find(|model| model["id"] == name.as_str());
    found.as_ref().map_or_else(
        || {
            let failure = Failure::new(Code::ModelNotFound, "there is no model of this name");
            refusal::of("/v1/models/", &failure.advise("GET /v1/models lists them"))
        },
        rest::json_response,
    )
}
