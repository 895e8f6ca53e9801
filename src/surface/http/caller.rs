//! Who calls: proved by a key or a token before anything of the body is read.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::{nowhere, refusal};
use crate::access::{Access, Admitted, Refused};
use crate::failure::{Code, Failure};
use crate::gateway::Asker;
use crate::intake::Door;
use crate::live::Live;
use crate::oauth::{self, Rejection};

/// The longest that the keys of an issuer are waited for.
const PATIENCE: Duration = Duration::from_secs(6);

/// Lets in whoever has a key or a token, or everybody on this machine when nobody needs one.
#[derive(Debug, Clone)]
pub(super) struct Doorkeeper {
    live: Arc<Live>,
    /// Whether other machines reach the port.
    is_public: bool,
}

/// Somebody who is not let in.
pub(super) struct Stranger {
    failure: Failure,
    challenge: Option<String>,
}

impl Doorkeeper {
    pub(super) fn new(live: Arc<Live>, is_public: bool) -> Self {
        Self { live, is_public }
    }

    /// Who calls.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `FORBIDDEN` for a token that is not good for this, and `OVERLOADED` while nobody can tell.
    pub(super) async fn asker(&self, headers: &HeaderMap) -> Result<Asker, Stranger> {
        let running = self.live.now();
        let access = &running.access;
        if access.is_open() {
            // The last key may have been taken away since the port was opened.
            let is_for_everybody = !self.is_public || running.config().server.allow_unauthenticated;
            let nobody = || unknown("nobody is let in: no keys are configured", access, None);
            return if is_for_everybody { Ok(Asker::local(Door::Http)) } else { Err(nobody()) };
        }
        let malformed = Some(Rejection::Malformed("the header Authorization is not one `Bearer` and a token"));
        let presented = match bearer(headers) {
            Ok(Some(presented)) => presented,
            Ok(None) => return Err(unknown("a key is needed", access, None)),
            Err(wrong) => return Err(unknown(wrong, access, malformed)),
        };
        match access.admit(presented, Instant::now() + PATIENCE).await {
            Ok(Admitted { caller, rights, roots }) => Ok(Asker { door: Door::Http, caller, rights, roots }),
            Err(Refused::UnknownKey) => Err(unknown("this key is not known", access, malformed)),
            Err(Refused::Token(rejection)) => Err(rejected(rejection, access)),
        }
    }
}

fn unknown(message: &str, access: &Access, rejection: Option<Rejection>) -> Stranger {
    let advice = "send `Authorization: Bearer …` with a key that the operator has made with `visiongate keys new`";
    let failure = Failure::new(Code::Unauthenticated, message).advise(advice);
    Stranger { failure, challenge: Some(challenge(access, rejection)) }
}

/// Somebody whose token lets nobody in.
fn rejected(rejection: Rejection, access: &Access) -> Stranger {
    let message = rejection.description();
    let failure = match rejection {
        Rejection::Unavailable => {
            Failure::new(Code::Overloaded, message).retryable().advise("try again in some seconds")
        }
        Rejection::InsufficientScope => {
            Failure::new(Code::Forbidden, message).advise("ask for a token with that scope")
        }
        _ => Failure::new(Code::Unauthenticated, message).advise("get a new token"),
    };
    let challenge = (rejection != Rejection::Unavailable).then(|| challenge(access, Some(rejection)));
    Stranger { failure, challenge }
}

/// Where to get what lets one in.
fn challenge(access: &Access, rejection: Option<Rejection>) -> String {
    let Some(bearers) = &access.oauth else {
        let error = if rejection.is_some() { ", error=\"invalid_token\"" } else { "" };
        return format!("Bearer realm=\"visiongate\"{error}");
    };
    let (metadata, scopes) = (oauth::metadata_url(&bearers.resource), &bearers.verifier.settings().scopes);
    match rejection {
        Some(rejection) => oauth::challenge_after(rejection, &metadata, scopes),
        None => oauth::challenge(&metadata, scopes),
    }
}

/// What stands behind `Bearer`, if anything does.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, &'static str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err("there are two Authorization headers");
    }
    let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("the Authorization header is not of the form `Bearer …`");
    }
    Ok(Some(token.trim()))
}

/// Lets a request on when it is known who calls. From there on, nobody sees what they proved it with.
pub(super) async fn known(State(doorkeeper): State<Doorkeeper>, mut request: Request, next: Next) -> Response {
    match doorkeeper.asker(request.headers()).await {
        Ok(asker) => {
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(Stranger { failure, challenge }) => {
            let mut response = refusal::of(request.uri().path(), &failure);
            if let Some(challenge) = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok()) {
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            refusal::closing(response)
        }
    }
}

/// The document from which clients learn where to get a token (RFC 9728).
pub(super) async fn protected_resource(State(live): State<Arc<Live>>, request: Request) -> Response {
    let running = live.now();
    let path = request.uri().path();
    let bearers = running.access.oauth.as_ref();
    let Some(bearers) = bearers.filter(|it| oauth::metadata_paths(&it.resource).iter().any(|known| known == path))
    else {
        return nowhere(request).await;
    };
    let settings = bearers.verifier.settings();
    let document = oauth::protected_resource_metadata(&bearers.resource, &settings.issuer, &settings.scopes);
    ([(CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
