//! Spans for an OpenTelemetry collector, sent as OTLP over HTTP. Not logs and not metrics; and no span of a library:
//! only what is written to [`TARGET`] leaves, so that images, prompts and keys cannot.

use std::error::Error;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use secrecy::ExposeSecret as _;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use crate::spans::{Collector, TARGET};

const CONNECT: Duration = Duration::from_secs(2);
const ANSWER: Duration = Duration::from_secs(10);
const FLUSH: Duration = Duration::from_secs(3);
const DELAY: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_mins(1);
const QUEUE: usize = 2048;
const BATCH: usize = 512;
const MAX_ANSWER: usize = 64 * 1024;

/// Collects finished spans and sends them in the background.
#[derive(Debug)]
pub struct Spans {
    provider: SdkTracerProvider,
    /// Cancelled when the program does not wait any longer.
    gone: CancellationToken,
}

impl Spans {
    /// Starts the thread that sends. Must be called inside of the runtime, whose sockets that thread uses.
    ///
    /// # Errors
    /// When the HTTP client or the exporter cannot be set up.
    pub fn to(collector: &Collector) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let gone = CancellationToken::new();
        let (address, sender) = (address(&collector.endpoint), Sender::new(collector, gone.clone())?);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(address)
            .with_timeout(ANSWER)
            .with_http_client(sender)
            .build()?;
        // Every setting is given: what is left out, the SDK reads from the environment, which only `config` may.
        let batch = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_max_attributes_per_span(64)
            .with_max_events_per_span(0)
            .with_max_links_per_span(4)
            .with_resource(resource())
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batch).build())
            .build();
        Ok(Self { provider, gone })
    }

    /// The layer that takes our spans, and no events. It must lie right on the registry.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let ours = filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("visiongate"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // Parents are those of `tracing`; and a span can still be given a remote parent after it was entered.
            .with_context_activation(false)
            // Without the hint, every debug line of every library would be looked at.
            .with_filter(ours.with_max_level_hint(LevelFilter::INFO))
    }

    /// Sends what is left, within three seconds. Spans that end later are dropped.
    pub async fn shut_down(self) {
        let provider = self.provider;
        let _ = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH)).await;
        // The thread may still wait for an answer, and must not touch a runtime that is about to end.
        self.gone.cancel();
    }
}

fn address(endpoint: &Url) -> String {
    let mut address = endpoint.clone();
    let path = endpoint.path().trim_end_matches('/');
    let whole = if path.ends_with("/v1/traces") { path.to_owned() } else { format!("{path}/v1/traces") };
    address.set_path(&whole);
    address.into()
}

fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let sdk = Box::new(TelemetryResourceDetector);
    Resource::builder_empty().with_detector(sdk).with_service_name("visiongate").with_attribute(version).build()
}

/// Our HTTP client, as the exporter wants it.
#[derive(Debug)]
struct Sender {
    client: reqwest::Client,
    runtime: Handle,
    gone: CancellationToken,
    warned: Mutex<Option<Instant>>,
}

impl Sender {
    fn new(collector: &Collector, gone: CancellationToken) -> Result<Self, HttpError> {
        let mut headers = HeaderMap::new();
        for (name, secret) in &collector.headers {
            let mut value = HeaderValue::from_str(secret.expose_secret())?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("visiongate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .build()?;
        Ok(Self { client, runtime: Handle::current(), gone, warned: Mutex::default() })
    }

    /// Sends the body alone: the exporter would add the headers of `OTEL_EXPORTER_OTLP_HEADERS`, which may be the key of
    /// another collector.
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let request = self.client.post(parts.uri.to_string()).header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let answer = request.send().await.map_err(reqwest::Error::without_url)?;
        let (parts, body) = Response::<reqwest::Body>::from(answer).into_parts();
        Ok(Response::from_parts(parts, Limited::new(body, MAX_ANSWER).collect().await?.to_bytes()))
    }

    /// Warns, but not again within a minute: a collector that is away is tried every few seconds.
    fn warn(&self, reason: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|at| at.elapsed() < QUIET) {
            return;
        }
        *warned = Some(Instant::now());
        warn!(reason, "spans could not be delivered; the next such warning comes after a minute at the earliest");
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Called on the thread of the SDK, which may block and has no runtime of its own.
        let sent = self.runtime.block_on(self.gone.run_until_cancelled(self.send(request)));
        let sent = sent.unwrap_or_else(|| Err("the program ended before the collector answered".into()));
        match &sent {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.warn(&format!("the collector answered {}", answer.status())),
            Err(error) => self.warn(&cause(error.as_ref())),
        }
        sent
    }
}

/// The innermost cause, which says most: "connection refused" instead of "error sending request".
fn cause(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).last().unwrap_or(error).to_string()
}
