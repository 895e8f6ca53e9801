//! Who calls: proved by a key before anything of the body is read.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue};
use vision_providers::request::Caller;

use super::refusal;
use crate::failure::{Code, Failure};
use crate::gateway::Asker;
use crate::intake::Door;
use crate::live::Live;

/// Lets in whoever has a key, or everybody on this machine when there are none.
#[derive(Debug, Clone)]
pub(super) struct Doorkeeper {
    live: Arc<Live>,
    /// Whether other machines reach the port.
    is_public: bool,
}

impl Doorkeeper {
    pub(super) fn new(live: Arc<Live>, is_public: bool) -> Self {
        Self { live, is_public }
    }

    /// Who calls.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`.
    pub(super) fn asker(&self, headers: &HeaderMap) -> Result<Asker, Failure> {
        let running = self.live.now();
        if running.keyring.is_empty() {
            // The last key may have been taken away since the port was opened.
            let is_open = !self.is_public || running.config().server.allow_unauthenticated;
            return if is_open { Ok(Asker::local(Door::Http)) } else { Err(unknown("no keys are configured")) };
        }
        let presented = bearer(headers)?.ok_or_else(|| unknown("a key is needed"))?;
        let key = running.keyring.find(presented).ok_or_else(|| unknown("this key is not known"))?;
        let caller = Caller::named(Arc::clone(&key.name));
        Ok(Asker { door: Door::Http, caller, rights: Arc::clone(&key.rights), roots: key.roots.clone() })
    }
}

fn unknown(message: &str) -> Failure {
    let failure = Failure::new(Code::Unauthenticated, message);
    failure.advise("send `Authorization: Bearer …` with a key that the operator has made with `visiongate keys new`")
}

/// What stands behind `Bearer`, if anything does.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(unknown("there are two Authorization headers"));
    }
    let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(unknown("the Authorization header is not of the form `Bearer …`"));
    }
    Ok(Some(token.trim()))
}

/// Lets a request on when it is known who calls. From there on, nobody sees what they proved it with.
pub(super) async fn known(State(doorkeeper): State<Doorkeeper>, mut request: Request, next: Next) -> Response {
    match doorkeeper.asker(request.headers()) {
        Ok(asker) => {
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(failure) => {
            let presented = request.headers().contains_key(AUTHORIZATION);
            let challenge = if presented {
                "Bearer realm=\"visiongate\", error=\"invalid_token\""
            } else {
                "Bearer realm=\"visiongate\""
            };
            let mut response = refusal::of(request.uri().path(), &failure);
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            refusal::closing(response)
        }
    }
}
