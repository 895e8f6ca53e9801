//! REST: the calls of the tools as routes, as JSON or as a form with files, whole or told while they are answered.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Router};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{aloud, body, images, media, refusal};
use crate::failure::{Code, Failure, Result};
use crate::gateway::Asker;
use crate::intake::uploads::Lent;
use crate::live::{Live, Running};
use crate::surface::calls::{ANALYZE, BATCH, COMPARE, Call};
use crate::surface::values;

/// Files and fields of one form.
const MOST_FIELDS: usize = 200;
/// A body larger than this is read on another thread.
const SMALL: usize = 64 << 10;

pub(super) fn routes() -> Router<Arc<Live>> {
    Router::new()
        .route("/v1/analyze", call(ANALYZE))
        .route("/v1/compare", call(COMPARE))
        .route("/v1/batch", call(BATCH))
        .layer(DefaultBodyLimit::disable())
}

fn call(tool: &'static str) -> MethodRouter<Arc<Live>> {
    post(async move |State(live): State<Arc<Live>>, Extension(asker): Extension<Asker>, request: Request| {
        let path = request.uri().path().to_owned();
        let outcome = answered(tool, live, asker, request, &path).await;
        outcome.unwrap_or_else(|failure| refusal::of(&path, &failure))
    })
}

async fn answered(tool: &str, live: Arc<Live>, asker: Asker, request: Request, path: &str) -> Result<Response> {
    let running = live.now();
    let wants_events = accepts_events(request.headers());
    let (mut arguments, lent) = read(tool, &running, &asker, request).await?;
    let wants_events = wanted_as_events(&mut arguments)?.unwrap_or(wants_events);
    let call = Call::read(tool, arguments)?;
    if wants_events {
        return Ok(aloud::tell(call, running, asker, lent, path).await);
    }
    let answered = call.answer(&running.gateway, &asker, None).await?;
    Ok(json_response(&answered.answer))
}

pub(super) fn json_response(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let takes = |kind| media::takes(headers, &[kind]).unwrap_or(false);
    takes("text/event-stream") && !takes("application/json")
}

/// Whether the arguments ask for events, if they say anything about it.
fn wanted_as_events(arguments: &mut Map<String, Value>) -> Result<Option<bool>> {
    match arguments.remove("stream") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(stream)) => Ok(Some(stream)),
        Some(_) => Err(Failure::invalid("`stream` must be true or false")),
    }
}

/// The arguments of a call, from whatever form they came in, and the files that came with them.
async fn read(
    tool: &str,
    running: &Running,
    asker: &Asker,
    request: Request,
) -> Result<(Map<String, Value>, Vec<Lent>)> {
    if images::is_form(request.headers()) {
        return body::begun(body::size(&request), form(tool, running, asker, request)).await;
    }
    match json_body(request).await? {
        Value::Object(arguments) => Ok((arguments, Vec::new())),
        _ => Err(Failure::invalid("the body must be a JSON object with the arguments of the call")),
    }
}

/// The JSON of a body, whatever it says that it is: people forget the header.
pub(super) async fn json_body(request: Request) -> Result<Value> {
    let body = images::bytes(request).await?;
    if body.len() <= SMALL {
        return parsed(&body);
    }
    let reading = spawn_blocking(move || parsed(&body)).await;
    reading.map_err(|_| Failure::new(Code::Internal, "reading the body met a fault of the program"))?
}

fn parsed(body: &[u8]) -> Result<Value> {
    // Some editors and shells begin every text with a mark of its encoding.
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    values::check(values::count(body), "the body")?;
    serde_json::from_slice(body).map_err(|error| {
        let failure =
            Failure::invalid(format!("the body is not JSON (line {}, column {})", error.line(), error.column()));
        failure.advise("send a JSON object, or multipart/form-data")
    })
}

/// A form: files are images, in their order; fields are arguments. A file that is no image is an item of a batch all the
/// same, with an error of its own.
async fn form(
    tool: &str,
    running: &Running,
    asker: &Asker,
    request: Request,
) -> Result<(Map<String, Value>, Vec<Lent>)> {
    let mut form = images::form(request).await?;
    let (mut arguments, mut lent, mut fields, mut held) = (Map::new(), Vec::new(), 0, 0);
    while let Some(field) = images::next_field(&mut form).await? {
        fields += 1;
        if fields > MOST_FIELDS {
            return Err(Failure::invalid(format!("the form has more than {MOST_FIELDS} fields")));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let is_file = field.file_name().is_some();
        let bytes = images::content(field).await?;
        if is_file {
            let deadline = Instant::now() + running.gateway.settings.total;
            let intake = &running.gateway.intake;
            lent.push(match intake.lend(bytes, &asker.caller, deadline).await {
                Err(why) if tool == BATCH => intake.lend_unusable(why, &asker.caller)?,
                outcome => outcome?,
            });
            continue;
        }
        let text = String::from_utf8(bytes.into()).map_err(|_| {
            Failure::invalid(format!("the field `{name}` is not UTF-8 text")).advise("give files a file name")
        })?;
        held += count(&name, &text);
        values::check(held, "the form")?;
        add(&mut arguments, name, &text);
    }
    let files = lent.iter().map(|lent| json!(lent.handle()));
    let named = |arguments: &mut Map<String, Value>, name| arguments.remove(name).into_iter().flat_map(listed);
    let first = named(&mut arguments, "image").chain(files);
    let images: Vec<Value> = first.chain(named(&mut arguments, "images")).collect();
    if !images.is_empty() {
        arguments.insert("images".into(), Value::Array(images));
    }
    Ok((arguments, lent))
}

/// A field of a form that is larger than this is text, whatever it looks like.
const LARGEST_JSON: usize = 1 << 20;
/// Fields that hold more than a text.
const LISTS: [&str; 5] = ["models", "image", "images", "more_images", "stop"];
/// Fields that are JSON.
const STRUCTURES: [&str; 4] = ["schema", "region", "items", "messages"];
/// Fields that say yes or no.
const FLAGS: [&str; 2] = ["boxes", "stream"];

/// How many values a field of a form becomes at most.
fn count(name: &str, text: &str) -> usize {
    if !is_structured(name) {
        return 1;
    }
    // What is no JSON may become a list all the same.
    values::count(text.as_bytes()).max(text.matches(',').count())
}

fn is_structured(name: &str) -> bool {
    LISTS.contains(&name) || STRUCTURES.contains(&name)
}

/// Adds a field of a form to the arguments. One that comes several times is a list.
fn add(arguments: &mut Map<String, Value>, name: String, text: &str) {
    let is_json = is_structured(&name) && text.len() <= LARGEST_JSON && text.trim_start().starts_with(['[', '{']);
    let read = is_json.then(|| serde_json::from_str::<Value>(text).ok()).flatten();
    let value = match read {
        Some(value) => value,
        None if name == "models" => text.split(',').map(|model| json!(model.trim())).collect(),
        None if name == "region" => {
            text.split(',').map(|edge| edge.trim().parse::<f64>().map_or(Value::Null, |edge| json!(edge))).collect()
        }
        None if FLAGS.contains(&name.as_str()) => text.trim().parse::<bool>().map_or(json!(text), |flag| json!(flag)),
        None => json!(text),
    };
    match arguments.get_mut(&name) {
        Some(there) if LISTS.contains(&name.as_str()) => {
            *there = listed(there.take()).into_iter().chain(listed(value)).collect();
        }
        _ => drop(arguments.insert(name, value)),
    }
}

fn listed(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        one => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_form_become_arguments() {
        let mut arguments = Map::new();
        for (name, text) in [
            ("prompt", "[sic] what?"),
            ("models", "a, b"),
            ("models", "c"),
            ("region", "0,0,0.5,1"),
            ("schema", "{\"type\": \"object\"}"),
            ("boxes", "true"),
            ("images", "x"),
            ("images", "y"),
            ("image", "u"),
            ("image", "v"),
            ("stream", "false"),
        ] {
            add(&mut arguments, name.to_owned(), text);
        }
        let expected = json!({"prompt": "[sic] what?", "models": ["a", "b", "c"], "region": [0.0, 0.0, 0.5, 1.0],
            "schema": {"type": "object"}, "boxes": true, "images": ["x", "y"], "image": ["u", "v"], "stream": false});
        assert_eq!(Value::Object(arguments), expected);
    }
}
