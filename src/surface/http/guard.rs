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
    hosts: Vec<Place>,
    origins: Vec<String>,
}

/// Where something is served: a name, and the port where one was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    port: Option<u16>,
}

impl Place {
    /// Reads a name and a port, and nothing else: whoever takes more for a name takes foreign names for it.
    fn of(authority: &str) -> Option<Self> {
        let is_more = |c: char| c.is_whitespace() || c.is_control() || "/\\?#@".contains(c);
        if authority.contains(is_more) || authority.ends_with(':') {
            return None;
        }
        // Reading forgets the port that is usual for a scheme, so it is read under two.
        let under = |scheme: &str| Url::parse(&format!("{scheme}://{authority}/")).ok();
        let (plain, secure) = (under("http")?, under("https")?);
        Some(Self { name: plain.host_str()?.to_owned(), port: plain.port().or(secure.port()) })
    }

    /// Whether a place is meant by one that an operator wrote: with any port where none is written, and without one
    /// where it is usual.
    fn is_meant_by(&self, written: &Self) -> bool {
        let usual = |port: Option<u16>| port.filter(|port| ![HTTP, HTTPS].contains(port));
        self.name == written.name && (written.port.is_none() || usual(self.port) == usual(written.port))
    }
}

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Where a page comes from: a scheme of the web, a name and a port, and nothing else.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    usual: u16,
    place: Place,
}

impl Origin {
    fn of(origin: &str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        let usual = match scheme.to_ascii_lowercase().as_str() {
            "http" => HTTP,
            "https" => HTTPS,
            _ => return None,
        };
        Some(Self { usual, place: Place::of(authority)? })
    }

    fn port(&self) -> u16 {
        self.place.port.unwrap_or(self.usual)
    }

    /// Whether it is the page of whoever is called by this name. That one's scheme is not known, so without a port it has
    /// the one that is usual for the page's.
    fn is_of(&self, host: &Place) -> bool {
        self.place.name == host.name && host.port.unwrap_or(self.usual) == self.port()
    }
}

/// Whether an origin is one that an operator wrote: those of the web by what they mean, all others (of extensions) by their letters.
fn is_same(written: &str, origin: &str) -> bool {
    let written = written.trim_end_matches('/');
    let meaning = |text: &str| Origin::of(text).map(|origin| (origin.usual, origin.port(), origin.place.name));
    written.eq_ignore_ascii_case(origin) || meaning(origin).is_some_and(|origin| meaning(written) == Some(origin))
}

impl Guard {
    fn new(hosts: &[String], origins: &[String]) -> Self {
        let hosts = hosts.iter().filter_map(|host| Place::of(host.trim_end_matches('/')));
        Self { hosts: hosts.collect(), origins: origins.to_vec() }
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
        host(headers).is_some_and(|host| self.serves(&host))
    }

    /// Whether a request line that names a server, as those to proxies do, names this one.
    fn is_named(&self, authority: &str) -> bool {
        Place::of(authority).is_some_and(|place| self.serves(&place))
    }

    fn serves(&self, place: &Place) -> bool {
        is_loopback(&place.name) || self.hosts.iter().any(|written| place.is_meant_by(written))
    }

    /// No origin means no browser. A page of another origin has no business here.
    fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return true };
        let (Ok(text), None) = (origin.to_str(), origins.next()) else { return false };
        if self.origins.iter().any(|written| is_same(written, text)) {
            return true;
        }
        Origin::of(text).is_some_and(|origin| is_loopback(&origin.place.name) || self.is_own(&origin, headers))
    }

    /// The page of this server, under the name by which it is being called. Whether there is TLS in between, a proxy knows.
    fn is_own(&self, origin: &Origin, headers: &HeaderMap) -> bool {
        self.allows_host(headers) && host(headers).is_some_and(|host| origin.is_of(&host))
    }
}

/// The one name by which a request calls its server.
fn host(headers: &HeaderMap) -> Option<Place> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Place::of(host.to_str().ok()?),
        _ => None,
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
    let uri = request.uri();
    let named = uri.authority().filter(|_| uri.scheme().is_some());
    let names_another = named.is_some_and(|named| !guard.is_named(named.as_str()));
    let refused = |message: &str, advice: &str| {
        refusal::closing(refusal::of(request.uri().path(), &Failure::new(Code::Forbidden, message).advise(advice)))
    };
    if names_another || !guard.allows_host(request.headers()) {
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
    let text = origin.to_str().ok()?;
    let mut written = running.config().server.allowed_origins.iter();
    written.any(|written| is_same(written, text)).then(|| origin.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(host: &'static str, origin: &'static str) -> bool {
        let guard = Guard::new(
            &["gate.example".into(), "[2001:db8::1]:8443".into()],
            &["https://app.example/".into(), "app://x".into()],
        );
        let headers = [(HOST, host), (ORIGIN, origin)].map(|(name, value)| (name, HeaderValue::from_static(value)));
        let headers = HeaderMap::from_iter(headers);
        guard.allows_host(&headers) && guard.allows_origin(&headers)
    }

    #[test]
    fn a_usual_port_is_as_good_as_none() {
        for (host, origin) in [
            ("gate.example:443", "https://gate.example"),
            ("gate.example:80", "http://gate.example"),
            ("gate.example", "https://gate.example:443"),
            ("gate.example", "https://gate.example"),
            ("gate.example", "http://gate.example"),
            ("GATE.example:8765", "http://Gate.Example:8765"),
            ("[2001:db8::1]:8443", "https://[2001:db8:0::1]:8443"),
            ("gate.example", "https://app.example"),
            ("gate.example", "HTTPS://APP.example:443"),
            ("gate.example", "app://x"),
            ("localhost:8765", "http://localhost:5173"),
        ] {
            assert!(allows(host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("gate.example:443", "https://gate.example:8443"),
            ("gate.example:8765", "https://gate.example"),
            ("gate.example", "http://gate.example:443"),
            ("gate.example", "https://other.example"),
            ("gate.example", "http://app.example"),
            ("other.example", "https://other.example"),
            ("[2001:db8::1]", "https://[2001:db8::1]"),
        ] {
            assert!(!allows(host, origin), "{host} {origin}");
        }
    }

    #[test]
    fn an_origin_is_a_scheme_a_name_and_a_port_and_nothing_else() {
        for origin in [
            "http://localhost#evil",
            "http://localhost/",
            "http://localhost/path",
            "http://localhost?x",
            "http://x@localhost",
            "http://:y@localhost",
            "http://localhost:",
            "http://localhost\\evil",
            "http:localhost",
            "http:///localhost",
            "ftp://localhost",
            "localhost",
            "null",
            "",
            "http://localhost http://evil.example",
            "http://localhost.evil.example",
            "http://local\thost",
        ] {
            assert!(!allows("localhost", origin), "{origin}");
        }
        for host in [
            "localhost#evil",
            "localhost/",
            "evil.example@localhost",
            ":x@localhost",
            "",
            "localhost,evil.example",
            "localhost:x",
        ] {
            assert!(!allows(host, "http://localhost"), "{host}");
        }
    }
}
