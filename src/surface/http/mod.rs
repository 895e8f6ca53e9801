//! HTTP: who is let in, what is read of them, and the routes behind.
//!
//! The order of what stands before the routes is written here, and nowhere else.

mod accept;
mod admission;
mod aloud;
mod body;
mod caller;
mod guard;
mod images;
mod lenient;
mod media;
mod openai;
mod openapi;
mod page;
mod presence;
mod refusal;
mod rest;
mod status;
mod told;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::StreamExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::SessionManager;
#[cfg(feature = "conformance")]
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::accept::{Connections, accept};
use self::admission::Admission;
use self::body::BodyMemory;
use self::caller::Doorkeeper;
use super::mcp::{LARGEST_MESSAGE, Mcp};
use super::{DRAIN, health};
use crate::failure::{Code, Failure};
use crate::gateway::Asker;
use crate::intake::Door;
use crate::live::{Live, Running};
use crate::metrics::Metrics;
use crate::supervisor::Supervisor;

/// What the routes are served with.
#[derive(Debug, Clone)]
struct Served {
    live: Arc<Live>,
    doorkeeper: Doorkeeper,
    admission: Admission,
    /// Cancelled when nobody new is served.
    draining: CancellationToken,
}

/// Serves the tools until the process is told to stop, then finishes what it has begun.
pub async fn run(live: Arc<Live>, listen: Option<&str>, supervisor: Supervisor) -> ExitCode {
    let tools = Mcp::new(Arc::clone(&live), Door::Http, supervisor.stopping().clone());
    let mcp = mcp(move || tools.clone(), NeverSessionManager::default(), settings());
    serve(live, listen, supervisor, mcp).await
}

/// Serves other handlers in the place of the tools, one for each session: in sessions, a server can ask its client
/// something. It is what the conformance suite meets, which counts answers as events; everything around the handlers is what
/// callers meet.
#[cfg(feature = "conformance")]
pub async fn run_with<H: ServerHandler>(
    live: Arc<Live>,
    listen: Option<&str>,
    supervisor: Supervisor,
    handler: impl Fn() -> H + Send + Sync + 'static,
) -> ExitCode {
    let mcp = mcp(
        handler,
        LocalSessionManager::default(),
        settings().with_legacy_session_mode(true).with_json_response(false),
    );
    serve(live, listen, supervisor, mcp).await
}

async fn serve(live: Arc<Live>, listen: Option<&str>, supervisor: Supervisor, mcp: Router) -> ExitCode {
    // Listened for before anybody can know that we run: unheard, either would end the process.
    let (mut stop, reload) = (super::StopSignal::listen(), super::ReloadSignal::listen());
    let running = live.now();
    let config = running.config();
    let listen = listen.unwrap_or(&config.server.listen);
    let listener = match bind(listen, is_guarded(&running)).await {
        Ok(listener) => listener,
        Err(message) => {
            super::cli::tell(&format!("error: {message}"));
            return ExitCode::from(2);
        }
    };
    let bound = listener.local_addr().ok();
    let is_public = bound.is_none_or(|address| !address.ip().is_loopback());
    let address = bound.map_or_else(|| listen.to_owned(), |address| address.to_string());
    let draining = CancellationToken::new();
    let server = &config.server;
    let admission = Admission::new(server.max_requests, server.queue, live.metrics().clone());
    let most = server.max_memory.map(|size| size.0);
    let minding = admission.clone().watch_memory(most);
    let doorkeeper = Doorkeeper::new(Arc::clone(&live), is_public);
    let state = Served { live: Arc::clone(&live), doorkeeper, admission, draining: draining.clone() };
    let routes = routes(state, mcp);
    info!(%address, "listening; MCP is at /mcp, REST at /v1, a page for people at /");
    let minding = supervisor.spawn("memory", minding);
    let connections = Connections::new(server.max_connections, server.connections_per_address, live.metrics().clone());
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

/// Whether other machines can be served: callers prove who they are, or the operator says that they need not.
fn is_guarded(running: &Running) -> bool {
    !running.access.is_open() || running.config().server.allow_unauthenticated
}

async fn bind(listen: &str, is_guarded: bool) -> Result<TcpListener, String> {
    let address: SocketAddr =
        listen.parse().map_err(|_| format!("`{listen}` is not an address and port such as 127.0.0.1:8765"))?;
    if !address.ip().is_loopback() && !is_guarded {
        return Err(format!(
            "{address} can be reached by other machines, and nobody would have to prove who they are; give callers keys \
             (`visiongate keys new NAME`), put a proxy that authenticates in front of 127.0.0.1, or set \
             `server.allow_unauthenticated`"
        ));
    }
    TcpListener::bind(address).await.map_err(|error| format!("listening on {address}: {error}"))
}

fn routes(served: Served, mcp: Router) -> Router {
    let Served { live, doorkeeper, admission, .. } = &served;
    // From the inside out: what stands lower here is asked first.
    let asked = Router::new()
        .merge(mcp)
        .merge(rest::routes().merge(images::routes()).merge(openai::routes()).with_state(Arc::clone(live)))
        .layer(from_fn_with_state(Arc::clone(live), steady))
        // A turn is taken by those whose body is there: one that is still coming holds up nobody.
        .layer(from_fn_with_state(admission.clone(), admitted))
        .layer(from_fn_with_state(BodyMemory::default(), body::whole))
        // Reading what will be refused is the dearest way to refuse it.
        .layer(from_fn_with_state(admission.clone(), not_in_vain));
    // How things are is told even when nothing else is.
    let watched = Router::new().route("/metrics", get(metrics)).merge(status::routes()).with_state(Arc::clone(live));
    let document = get(caller::protected_resource);
    let about = Router::new()
        .route("/.well-known/oauth-protected-resource", document.clone())
        .route("/.well-known/oauth-protected-resource/{*resource}", document)
        .with_state(Arc::clone(live));
    let known = asked
        .merge(watched)
        // Set before the layers, which are not put around a fallback that comes later.
        .method_not_allowed_fallback(not_like_that)
        .layer(from_fn_with_state(doorkeeper.clone(), caller::known))
        // Whoever has no token reads there how to get one.
        .merge(about)
        // It asks people for their key.
        .merge(page::routes())
        // Browsers ask without a key whether they may ask.
        .layer(from_fn_with_state(Arc::clone(live), guard::cross_origin))
        .layer(from_fn_with_state(Arc::clone(live), guard::guarded));
    let open = Router::new().route("/readyz", get(ready)).with_state(served);
    // Health is asked for by address, by machines that know no name.
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .merge(open)
        .merge(openapi::routes())
        .merge(known)
        .fallback(nowhere)
        .method_not_allowed_fallback(not_like_that)
}

/// How rmcp is run, whoever handles its messages.
fn settings() -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
        // Sessions are unlimited in number and not tied to their caller, and a lost client would not cancel its call.
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(LARGEST_MESSAGE)
        // Hosts and origins are checked by our own guard, which takes exactly one host.
        .disable_allowed_hosts()
}

fn mcp<H: ServerHandler>(
    handler: impl Fn() -> H + Send + Sync + 'static,
    sessions: impl SessionManager,
    settings: StreamableHttpServerConfig,
) -> Router {
    let service = StreamableHttpService::new(move || Ok(handler()), Arc::new(sessions), settings);
    Router::new().route_service("/mcp", service).layer(from_fn(lenient::lenient))
}

/// Whether requests are taken, and for those who may know it, how every provider is.
async fn ready(State(served): State<Served>, headers: HeaderMap) -> Response {
    let (status, word) = match (served.draining.is_cancelled(), served.admission.is_closed()) {
        (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        (_, true) => (StatusCode::SERVICE_UNAVAILABLE, "out of memory"),
        (false, false) => (StatusCode::OK, "ready"),
    };
    let mut body = json!({"status": word});
    // Whether requests are taken may be asked under any name; a page that somebody's DNS leads here learns no more.
    if guard::is_welcome(&headers, &served.live)
        && let Ok(asker) = served.doorkeeper.asker(&headers).await
    {
        body["providers"] = health::providers(&served.live.now().gateway, &asker.rights);
    }
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// What is counted of everybody, for whoever may ask everything.
async fn metrics(State(live): State<Arc<Live>>, Extension(asker): Extension<Asker>) -> Response {
    if asker.rights.are_restricted() {
        let failure = Failure::new(Code::Forbidden, "this key does not open the figures of all callers");
        return refusal::of("/metrics", &failure.advise("use a key without `models` and `tags`"));
    }
    live.metrics().resting(health::resting(&live.now().gateway));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], live.metrics().text()).into_response()
}

async fn nowhere(request: Request) -> Response {
    let path = request.uri().path();
    let failure = Failure::invalid(format!("there is nothing at {}", path.chars().take(100).collect::<String>()));
    refusal::closing(refusal::with_status(path, 404, &failure.advise("GET /openapi.json lists what there is")))
}

async fn not_like_that(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let failure = Failure::invalid(format!("{path} does not take {method}"));
    refusal::closing(refusal::with_status(path, 405, &failure.advise("GET /openapi.json lists what there is")))
}

/// Sends a request away before its body is read, when there would be no turn for it. What has no body is answered at once
/// from what is known, and needs none: whoever looks what can be asked does not wait behind slow questions.
async fn not_in_vain(
    State(admission): State<Admission>,
    Extension(asker): Extension<Asker>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::POST && admission.is_open(&asker.caller).is_err() {
        return refusal::closing(too_much(request.uri().path()));
    }
    next.run(request).await
}

/// Takes a turn for a request, and keeps it until its answer has been said.
async fn admitted(
    State(admission): State<Admission>,
    Extension(asker): Extension<Asker>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let Ok(turn) = admission.enter(&asker.caller).await else { return too_much(request.uri().path()) };
    held_while_told(next.run(request).await, turn)
}

/// Keeps something until an answer has been said, where it is told while it is given.
fn held_while_told(response: Response, held: impl Send + 'static) -> Response {
    let is_stream = |kind: &HeaderValue| kind.as_bytes().starts_with(b"text/event-stream");
    if !response.headers().get(CONTENT_TYPE).is_some_and(is_stream) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let body = body.into_data_stream().map(move |piece| {
        let _held = &held;
        piece
    });
    Response::from_parts(parts, Body::from_stream(body))
}

fn too_much(path: &str) -> Response {
    let failure = Failure::new(Code::Overloaded, "too much is being asked").retryable();
    refusal::of(
        path,
        &Failure { retry_after: Some(Duration::from_secs(2)), ..failure }.advise("try again in some seconds"),
    )
}

/// Answers whoever asked for what met a fault of the program.
async fn steady(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    use futures_util::FutureExt as _;
    let path = request.uri().path().to_owned();
    let outcome = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind().await;
    outcome.unwrap_or_else(|_| refusal::of(&path, &fault(live.metrics())))
}

/// Counts a fault of the program, and says that there was one.
fn fault(metrics: &Metrics) -> Failure {
    metrics.panicked();
    let failure = Failure::new(Code::Internal, "answering the request: the program met a fault of its own");
    failure.advise("do not repeat the same request; report it with the log")
}
