//! Images that are sent ahead, and files in forms.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::time::Instant;

use super::{body, media, refusal};
use crate::failure::{Failure, Result};
use crate::gateway::Asker;
use crate::live::Live;
use crate::surface::mcp::LARGEST_MESSAGE;

/// Where images are sent ahead.
pub(super) const PATH: &str = "/v1/images";

pub(super) fn routes() -> Router<Arc<Live>> {
    let keep = async |State(live): State<Arc<Live>>, Extension(asker): Extension<Asker>, request: Request| {
        let path = request.uri().path().to_owned();
        kept(&live, &asker, request).await.unwrap_or_else(|failure| refusal::of(&path, &failure))
    };
    Router::new().route("/v1/images", post(keep)).layer(DefaultBodyLimit::disable())
}

/// Keeps an image, and answers the handle under which its sender can name it.
async fn kept(live: &Live, asker: &Asker, request: Request) -> Result<Response> {
    let running = live.now();
    // Opening an image is work, and keeping it takes room.
    asker.rights.count()?;
    let bytes = if is_form(request.headers()) {
        body::begun(body::size(&request), only_file(request)).await?
    } else {
        bytes(request).await?
    };
    if bytes.is_empty() {
        return Err(Failure::invalid("no image was sent").advise("send its bytes as the body, or as a file of a form"));
    }
    let deadline = Instant::now() + running.gateway.settings.total;
    let upload = running.gateway.intake.upload(bytes, &asker.caller, deadline).await?;
    let picture = &upload.picture;
    let left = upload.expires.saturating_duration_since(Instant::now());
    let mut answer = json!({"handle": upload.handle, "format": picture.format(), "bytes": picture.bytes(),
        "expires_in_s": left.as_secs()});
    if let Some((width, height)) = picture.size() {
        answer["width"] = json!(width);
        answer["height"] = json!(height);
    }
    Ok((StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], answer.to_string()).into_response())
}

async fn only_file(request: Request) -> Result<Bytes> {
    let mut form = form(request).await?;
    let mut file = None;
    while let Some(field) = next_field(&mut form).await? {
        if field.file_name().is_none() {
            continue;
        }
        let content = content(field).await?;
        if file.replace(content).is_some() {
            return Err(Failure::invalid("the form has several files").advise("send each in a request of its own"));
        }
    }
    file.ok_or_else(|| Failure::invalid("the form has no file").advise("name the file: -F image=@photo.jpg"))
}

pub(super) fn is_form(headers: &HeaderMap) -> bool {
    media::is(headers, "multipart/form-data")
}

/// The body, which has been read and bounded already.
pub(super) async fn bytes(request: Request) -> Result<Bytes> {
    to_bytes(request.into_body(), LARGEST_MESSAGE).await.map_err(|_| broken())
}

pub(super) async fn form(request: Request) -> Result<Multipart> {
    Multipart::from_request(request, &()).await.map_err(|_| broken())
}

pub(super) async fn next_field(form: &mut Multipart) -> Result<Option<Field<'_>>> {
    form.next_field().await.map_err(|_| broken())
}

pub(super) async fn content(field: Field<'_>) -> Result<Bytes> {
    field.bytes().await.map_err(|_| broken())
}

fn broken() -> Failure {
    Failure::invalid("the body is not what its content type says, or broke off")
}
