//! Which names this server answers to, and which pages may talk to it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
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

    fn of(live: &Live) -> Self {
        let running = live.now();
        let server = &running.config().server;
        // Whoever names the resource means this server.
        let host = |resource: &str| Some(Url::parse(resource).ok()?.host_str()?.to_owned());
        let resource = server.oauth.as_ref().and_then(|oauth| host(&oauth.resource));
        let hosts: Vec<String> = server.allowed_hosts.iter().cloned().chain(resource).collect();
        Self::new(&hosts, &server.allowed_origins)
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
        local || self.origins.contains(&origin) || self.is_own(&origin, headers)
    }

    /// The page of this server, under the name by which it is being called. Whether there is TLS in between, a proxy knows.
    fn is_own(&self, origin: &str, headers: &HeaderMap) -> bool {
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_lowercase);
        self.allows_host(headers) && authority.is_some() && authority == host.as_deref()
    }
}

fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

/// Whether a request comes under a name of this server, and from no foreign page.
pub(super) fn is_welcome(headers: &HeaderMap, live: &Live) -> bool {
    let guard = Guard::of(live);
    guard.allows_host(headers) && guard.allows_origin(headers)
}

/// Turns away requests under foreign names and from foreign pages.
pub(super) async fn guarded(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let guard = Guard::of(&live);
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
pub(super) async fn cross_origin(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let Some(origin) = configured_origin(request.headers(), &live) else { return next.run(request).await };
    let wanted = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let is_question = request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if request.method() == Method::OPTIONS && is_question {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    if is_question {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        headers.extend(wanted.map(|wanted| (ACCESS_CONTROL_ALLOW_HEADERS, wanted)));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(refusal::EXPOSED));
    headers.append(VARY, HeaderValue::from_static("origin"));
    response
}

/// The origin of a request, if the operator has named it.
fn configured_origin(headers: &HeaderMap, live: &Live) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let running = live.now();
    let mut allowed = running.config().server.allowed_origins.iter().map(|origin| origin.trim_end_matches('/'));
    let text = origin.to_str().ok()?;
    allowed.any(|allowed| allowed.eq_ignore_ascii_case(text)).then(|| origin.clone())
}
