//! Which names this server answers to, and which pages may talk to it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

use super::refusal;
use crate::failure::{Code, Failure};
use crate::live::Live;

/// The names by which this server may be called, and the origins that a request may carry.
#[derive(Debug)]
struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    fn new(hosts: &[String], origins: &[String]) -> Self {
        let lower = |names: &[String]| names.iter().map(|name| name.trim_end_matches('/').to_lowercase()).collect();
        Self { hosts: lower(hosts), origins: lower(origins) }
    }

    /// A foreign name in `Host` means that somebody's DNS leads a browser here.
    fn allows_host(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
        let Ok(host) = host.to_str() else { return false };
        let host = host.to_lowercase();
        let Ok(url) = Url::parse(&format!("http://{host}/")) else { return false };
        let plain = url.host_str().is_some() && url.path() == "/" && url.username().is_empty();
        let name = url.host_str().unwrap_or_default();
        plain && (is_loopback(name) || self.hosts.iter().any(|allowed| *allowed == name || *allowed == host))
    }

    /// No origin means no browser. A page of another origin has no business here.
    fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return true };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return false };
        let origin = origin.to_lowercase();
        let local = Url::parse(&origin)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(is_loopback));
        local || self.origins.contains(&origin)
    }
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// Turns away requests under foreign names and from foreign pages.
pub(super) async fn guarded(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let running = live.now();
    let server = &running.config().server;
    let guard = Guard::new(&server.allowed_hosts, &server.allowed_origins);
    let refused = |message: &str, advice: &str| {
        refusal::closing(refusal::of(request.uri().path(), &Failure::new(Code::Forbidden, message).advise(advice)))
    };
    if !guard.allows_host(request.headers()) {
        return refused("this server is not called by that name", "an operator can add it to `server.allowed_hosts`");
    }
    if !guard.allows_origin(request.headers()) {
        return refused("requests of that origin are not taken", "an operator can add it to `server.allowed_origins`");
    }
    next.run(request).await
}

/// Lets pages of the configured origins read answers. Those of this machine are let in, and read nothing across origins.
pub(super) fn cross_origin(live: Arc<Live>) -> CorsLayer {
    let is_configured = move |origin: &HeaderValue, _: &http::request::Parts| {
        let running = live.now();
        let allowed = running.config().server.allowed_origins.iter();
        origin.to_str().is_ok_and(|origin| {
            allowed.into_iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(origin))
        })
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_configured))
        .allow_methods([http::Method::GET, http::Method::POST])
        .allow_headers(tower_http::cors::AllowHeaders::mirror_request())
        .expose_headers(refusal::EXPOSED.map(http::HeaderName::from_static))
}
