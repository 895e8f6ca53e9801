//! HTTP: an accept loop with a deadline on everything a client can drag out, and the routes behind it.
//!
//! axum's own server installs no timer, so every slow client would hold its connection for ever. This one speaks
//! HTTP/1 only, because the automatic choice waits without end for a client that says nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use url::Url;

use super::admission::Admission;
use super::mcp::{LARGEST_MESSAGE, Mcp};
use super::{DRAIN, health};
use crate::intake::Door;
use crate::live::Live;
use crate::metrics::{Metrics, Raised, Shed};
use crate::supervisor::Supervisor;

const HEADERS: Duration = Duration::from_secs(5);
const BODY_IDLE: Duration = Duration::from_secs(10);
const BODY_TOTAL: Duration = Duration::from_secs(30);
const BODIES_KIB: u32 = 512 << 10;
/// A client that takes nothing for so long has gone.
const WRITE_IDLE: Duration = Duration::from_secs(30);
const LARGEST_HEADERS: usize = 32 << 10;
const MOST_HEADERS: usize = 64;
const MOST_PER_ADDRESS: usize = 64;

/// Serves until the process is told to stop, then finishes what it has begun.
pub async fn run(live: Arc<Live>, listen: Option<&str>, supervisor: Supervisor) -> ExitCode {
    // Listened for before anybody can know that we run: unheard, either would end the process.
    let (mut stop, reload) = (super::StopSignal::listen(), super::ReloadSignal::listen());
    let running = live.now();
    let config = running.config();
    let listen = listen.unwrap_or(&config.server.listen);
    let listener = match bind(listen, config.server.allow_unauthenticated).await {
        Ok(listener) => listener,
        Err(message) => {
            super::cli::tell(&format!("error: {message}"));
            return ExitCode::from(2);
        }
    };
    let address = listener.local_addr().map_or_else(|_| listen.to_owned(), |address| address.to_string());
    let draining = CancellationToken::new();
    let server = &config.server;
    let admission = Admission::new(server.max_requests, server.queue, live.metrics().clone());
    let most = server.max_memory.map(|size| size.0);
    let minding = supervisor.spawn("memory", admission.clone().watch_memory(most));
    let routes = routes(&live, admission, draining.clone(), supervisor.stopping());
    info!(%address, "listening; MCP is at /mcp");
    let connections = Connections::new(config.server.max_connections, live.metrics().clone());
    let watching = supervisor.spawn("watch", Arc::clone(&live).watch());
    let reloading = supervisor.spawn("reload", super::reload_when_told(Arc::clone(&live), reload));
    // The first configuration is not kept alive by having been the first.
    drop(running);
    tokio::select! {
        () = accept(listener, routes, connections, &supervisor, &draining) => {}
        () = stop.told() => {}
    }
    draining.cancel();
    watching.abort();
    reloading.abort();
    minding.abort();
    info!("stopping");
    tokio::select! {
        () = supervisor.drained(DRAIN) => {}
        () = stop.told() => warn!("told to stop twice: leaving at once"),
    }
    supervisor.shut_down(Duration::from_secs(2)).await;
    ExitCode::SUCCESS
}

async fn bind(listen: &str, allow_unauthenticated: bool) -> Result<TcpListener, String> {
    let address: SocketAddr =
        listen.parse().map_err(|_| format!("`{listen}` is not an address and port such as 127.0.0.1:8765"))?;
    if !address.ip().is_loopback() && !allow_unauthenticated {
        return Err(format!(
            "{address} can be reached by other machines, and nobody would have to prove who they are; put a proxy that \
             authenticates in front of 127.0.0.1, or set `server.allow_unauthenticated`"
        ));
    }
    TcpListener::bind(address).await.map_err(|error| format!("listening on {address}: {error}"))
}

fn routes(live: &Arc<Live>, admission: Admission, draining: CancellationToken, stopping: &CancellationToken) -> Router {
    let mcp = Mcp::new(Arc::clone(live), Door::Http, stopping.clone());
    let settings = StreamableHttpServerConfig::default()
        // Sessions are unlimited in number and not tied to their caller, and a lost client would not cancel its call.
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(LARGEST_MESSAGE)
        // Hosts and origins are checked by our own guard, which takes exactly one host.
        .disable_allowed_hosts();
    let service =
        StreamableHttpService::new(move || Ok(mcp.clone()), Arc::new(NeverSessionManager::default()), settings);
    let mcp = Router::new()
        .route_service("/mcp", service)
        .layer(from_fn_with_state(admission.clone(), admitted))
        .layer(from_fn_with_state(BodyMemory::default(), whole_body))
        .layer(from_fn_with_state(admission.clone(), not_in_vain))
        .layer(from_fn(lenient))
        .layer(from_fn_with_state(Arc::clone(live), guarded));
    let watched = Router::new()
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(live))
        .layer(from_fn_with_state(Arc::clone(live), guarded));
    let ready = Router::new().route("/readyz", get(ready)).with_state((Arc::clone(live), admission, draining));
    // Health is asked for by address, by machines that know no name.
    Router::new().route("/healthz", get(|| async { "ok" })).merge(ready).merge(watched).merge(mcp)
}

/// Whether requests are taken, and how every provider is.
async fn ready(State((live, admission, draining)): State<(Arc<Live>, Admission, CancellationToken)>) -> Response {
    let (status, word) = match (draining.is_cancelled(), admission.is_closed()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "out of memory"),
        (false, false) => (StatusCode::OK, "ready"),
    };
    let body = json!({"status": word, "providers": health::providers(&live.now().gateway)});
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

async fn metrics(State(live): State<Arc<Live>>) -> Response {
    live.metrics().resting(health::resting(&live.now().gateway));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], live.metrics().text()).into_response()
}

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

async fn guarded(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let running = live.now();
    let server = &running.config().server;
    let guard = Guard::new(&server.allowed_hosts, &server.allowed_origins);
    if !guard.allows_host(request.headers()) {
        let hint = "this server is not called by that name; an operator can add it to `server.allowed_hosts`";
        return refusal(StatusCode::FORBIDDEN, hint);
    }
    if !guard.allows_origin(request.headers()) {
        let hint = "requests of that origin are not taken; an operator can add it to `server.allowed_origins`";
        return refusal(StatusCode::FORBIDDEN, hint);
    }
    next.run(request).await
}

/// Takes requests as people's tools send them: an `Accept` that would do is completed, because rmcp wants both types
/// named.
async fn lenient(mut request: Request, next: Next) -> Response {
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("*/*");
    if accept.contains("*/*") || accept.contains("application/json") || accept.contains("application/*") {
        let both = HeaderValue::from_static("application/json, text/event-stream");
        request.headers_mut().insert(ACCEPT, both);
    }
    next.run(request).await
}

/// Sends a request away before its body is read, when there would be no turn for it: reading what will be refused is the
/// dearest way to refuse it.
async fn not_in_vain(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    match admission.is_open() {
        Ok(()) => next.run(request).await,
        Err(_) => closing(too_much()),
    }
}

/// Takes a turn for a request whose body is there: one that is still coming holds up nobody.
async fn admitted(State(admission): State<Admission>, request: Request, next: Next) -> Response {
    let Ok(_turn) = admission.enter().await else { return too_much() };
    next.run(request).await
}

fn too_much() -> Response {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "too much is being asked: try again in some seconds");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// Reads the body whole, within bounds on size and time, before anything is done with it.
///
/// All bodies together have a bound too: one that finds no room in time is turned away before it is read.
async fn whole_body(State(memory): State<BodyMemory>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(CONTENT_ENCODING) {
        return closing(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body without a content encoding"));
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let Some(_room) = memory.room(length.unwrap_or(LARGEST_MESSAGE)).await else {
        return closing(refusal(
            StatusCode::SERVICE_UNAVAILABLE,
            "too much is being received: try again in some seconds",
        ));
    };
    let body = match read(body).await {
        Ok(body) => body,
        Err((status, message)) => return closing(refusal(status, &message)),
    };
    let is_json =
        parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    // rmcp says 415 of JSON that does not parse.
    if is_json && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return rpc_error(StatusCode::BAD_REQUEST, -32700, "the body is not a JSON-RPC message");
    }
    response
}

/// Room for the bodies of all requests in the air, in KiB.
#[derive(Debug, Clone)]
struct BodyMemory(Arc<Semaphore>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BODIES_KIB as usize)))
    }
}

impl BodyMemory {
    async fn room(&self, bytes: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let share = u32::try_from(bytes.min(LARGEST_MESSAGE) / 1024).unwrap_or(BODIES_KIB).clamp(1, BODIES_KIB);
        timeout(BODY_IDLE, Arc::clone(&self.0).acquire_many_owned(share)).await.ok()?.ok()
    }
}

async fn read(mut body: Body) -> Result<Bytes, (StatusCode, String)> {
    let slow = || (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned());
    let deadline = Instant::now() + BODY_TOTAL;
    let mut bytes = BytesMut::new();
    loop {
        let frame =
            timeout_at(deadline, timeout(BODY_IDLE, body.frame())).await.map_err(|_| slow())?.map_err(|_| slow())?;
        let Some(frame) = frame else { return Ok(bytes.freeze()) };
        let broken = |_| (StatusCode::BAD_REQUEST, "the body broke off".to_owned());
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        if bytes.len() + data.len() > LARGEST_MESSAGE {
            let message = format!(
                "the body is larger than {} MiB: pass the image's URL instead of its data",
                LARGEST_MESSAGE >> 20
            );
            return Err((StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        bytes.extend_from_slice(&data);
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    rpc_error(status, -32600, message)
}

fn rpc_error(status: StatusCode, code: i32, message: &str) -> Response {
    let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": message}});
    (status, [(CONTENT_TYPE, "application/json")], error.to_string()).into_response()
}

/// What was not read of this request must not be taken for the next one.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// How many connections there are, in all and by address.
#[derive(Debug, Clone)]
struct Connections {
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    metrics: Metrics,
}

impl Connections {
    fn new(most: usize, metrics: Metrics) -> Self {
        let all = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Self { all, by_address: Arc::default(), metrics }
    }

    fn admit(&self, address: IpAddr) -> Option<Seat> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        // Everybody on this machine has one address.
        if *count >= MOST_PER_ADDRESS && !address.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Seat { connections: self.clone(), address, _permit: permit, _counted: self.metrics.connection() })
    }
}

/// A connection's place, given back when dropped.
struct Seat {
    connections: Connections,
    address: IpAddr,
    _permit: tokio::sync::OwnedSemaphorePermit,
    _counted: Raised,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_address = self.connections.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    routes: Router,
    connections: Connections,
    supervisor: &Supervisor,
    draining: &CancellationToken,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(failure) => {
                // Out of file descriptors, most likely: waiting helps, spinning does not.
                error!(%failure, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(seat) = connections.admit(peer.ip()) else {
            connections.metrics.shed(Shed::Connections);
            debug!(address = %peer.ip(), "too many connections: one was turned away");
            continue;
        };
        let connection = converse(stream, routes.clone(), draining.clone());
        supervisor.spawn("connection", async move {
            connection.await;
            drop(seat);
        });
    }
}

async fn converse(stream: TcpStream, routes: Router, draining: CancellationToken) {
    // Without it, small answers wait 40 ms for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream.as_mut().set_write_timeout_pinned(Some(WRITE_IDLE));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(LARGEST_HEADERS)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(failure) = outcome {
        debug!(%failure, "a connection ended early");
    }
}
