//! The one place that sends to vendors: a [`Wire`] and an address make a provider.
//!
//! It never follows a redirect (a followed 307 re-posts image and key), takes no proxy from the environment, reads
//! bodies within bounds and gives up at the deadline of the call. It does not retry: that is a layer's business.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout_at;
use url::Url;

use crate::answer::Answer;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::{Date, ModelCard};
use crate::provider::VisionProvider;
use crate::request::{CallCtx, ModelId, VisionRequest};
use crate::wire::{Incoming, Outgoing, Wire};

/// The longest answer that is read: text, so far more than any model says.
const LARGEST_ANSWER: usize = 1 << 20;
/// The longest error page that is read.
const LARGEST_ERROR: usize = 64 << 10;
/// Connections idle for longer are closed, because servers close theirs about then and a race loses requests.
const POOL_IDLE: Duration = Duration::from_secs(30);
const CONNECT: Duration = Duration::from_secs(5);
/// Above this many image bytes, writing a request takes long enough to disturb other calls on the same worker.
const WRITE_INLINE: usize = 64 << 10;

/// The HTTP client that all providers share. It is made at first use: loading trust anchors takes longer than an MCP
/// client should wait for its server to start.
#[derive(Clone)]
pub struct VendorHttp(Arc<Shared>);

struct Shared {
    proxy: Option<Url>,
    client: OnceLock<reqwest::Client>,
}

impl VendorHttp {
    /// A client that goes through `proxy`, or straight to the vendor; never through a proxy of the environment.
    #[must_use]
    pub fn new(proxy: Option<Url>) -> Self {
        Self(Arc::new(Shared { proxy, client: OnceLock::new() }))
    }

    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.0.client.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("visiongate/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(POOL_IDLE)
            .tcp_nodelay(true);
        if let Some(proxy) = &self.0.proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.as_str()).map_err(client_failed)?);
        }
        let client = builder.build().map_err(client_failed)?;
        Ok(self.0.client.get_or_init(|| client))
    }
}

impl fmt::Debug for VendorHttp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("VendorHttp")
    }
}

fn client_failed(error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Internal, "setting up the HTTP client for providers").caused_by(error.without_url())
}

/// How the key travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// The bare key in a header of this name.
    Header(HeaderName),
}

/// Where a provider is and how it knows us.
pub struct Endpoint {
    /// Paths of the wire are appended to it.
    pub base_url: Url,
    pub auth: Auth,
    /// Absent for servers that ask for none.
    pub key: Option<SecretString>,
    /// Headers that the operator wants sent along.
    pub headers: HeaderMap,
}

impl Endpoint {
    fn address(&self, path: &str) -> Result<Url> {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}{path}", self.base_url.path().trim_end_matches('/')));
        match url.scheme() {
            "http" | "https" => Ok(url),
            other => Err(Error::new(ErrorKind::Internal, format!("`base_url` has the scheme {other}"))),
        }
    }

    fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>> {
        let Some(key) = &self.key else { return Ok(None) };
        let (name, text) = match &self.auth {
            Auth::Bearer => (AUTHORIZATION, format!("Bearer {}", key.expose_secret())),
            Auth::Header(name) => (name.clone(), key.expose_secret().to_owned()),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            Error::new(ErrorKind::Unauthorized, "the key holds characters that cannot stand in a header")
                .advise("check the key for line breaks and stray spaces")
        })?;
        value.set_sensitive(true);
        Ok(Some((name, value)))
    }
}

impl fmt::Debug for Endpoint {
    /// Names the address only.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.base_url)
    }
}

/// A wire format at an address, with the cards of the models there.
#[derive(Debug)]
pub struct HttpProvider<W> {
    pub id: String,
    pub wire: Arc<W>,
    pub endpoint: Endpoint,
    pub http: VendorHttp,
    /// Cards of known models, the default first.
    pub cards: Vec<ModelCard>,
    /// The card of a model that is not known: cautious limits, no price.
    pub unknown: ModelCard,
}

impl<W: Wire> HttpProvider<W> {
    fn known(&self, model: &str) -> Option<&ModelCard> {
        self.cards.iter().find(|card| card.is_called(model))
    }

    /// The name to send for a model: itself, or its official successor with a warning once it is retired.
    fn current(&self, model: &ModelId) -> (ModelId, Option<String>) {
        let retirement = self.known(model.as_str()).and_then(|card| card.retired_by(&Date::today()));
        let Some((retirement, successor)) = retirement.and_then(|it| Some((it, it.successor.clone()?))) else {
            return (model.clone(), None);
        };
        let warning = format!(
            "{model} was retired by its vendor on {}; its official replacement {successor} was asked instead",
            retirement.on
        );
        (successor, Some(warning))
    }

    /// The card of a model by the name that is sent.
    fn card_of(&self, current: ModelId) -> ModelCard {
        match self.known(current.as_str()) {
            Some(card) => card.clone(),
            None => ModelCard { id: current, ..self.unknown.clone() },
        }
    }

    async fn write(&self, req: Arc<VisionRequest>, card: ModelCard) -> Result<Outgoing> {
        if req.image_bytes() < WRITE_INLINE {
            return self.wire.write(&req, &card);
        }
        let wire = Arc::clone(&self.wire);
        tokio::task::spawn_blocking(move || wire.write(&req, &card))
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "writing the request").caused_by(error))?
    }

    async fn send(&self, ctx: &CallCtx, outgoing: Outgoing) -> Result<Incoming> {
        timeout_at(ctx.deadline, self.exchange(outgoing)).await.unwrap_or_else(|_| {
            // A backend that hangs may still be working, and billing: the same call is not sent twice.
            Err(Error::new(ErrorKind::TimedOut, format!("waiting for {}: no complete answer in time", self.id)))
        })
    }

    async fn exchange(&self, outgoing: Outgoing) -> Result<Incoming> {
        let mut request = self
            .http
            .client()?
            .request(outgoing.method, self.endpoint.address(&outgoing.path)?)
            .headers(self.endpoint.headers.clone());
        if !outgoing.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(outgoing.body);
        }
        if let Some((name, value)) = self.endpoint.header()? {
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bound = if status.is_success() { LARGEST_ANSWER } else { LARGEST_ERROR };
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= bound => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Incoming { status, headers, body: body.freeze() }),
                // An endless error page still has a status, and that says enough.
                Ok(Some(_)) if !status.is_success() => {
                    return Ok(Incoming { status, headers, body: Bytes::new() });
                }
                Ok(Some(_)) => {
                    let message = format!("reading the answer of {}: it is longer than {bound} bytes", self.id);
                    return Err(Error::new(ErrorKind::Garbled, message));
                }
                // It has begun to answer, so it may bill: no second try.
                Err(error) => {
                    let message = format!("reading the answer of {}: the connection broke midway", self.id);
                    return Err(Error::new(ErrorKind::Unavailable, message).caused_by(error.without_url()));
                }
            }
        }
    }

    fn refused(&self, reply: &Incoming) -> Error {
        self.hushed(self.wire.read_error(reply))
    }

    /// Vendors quote keys in their complaints about them.
    fn hushed(&self, error: Error) -> Error {
        match &self.endpoint.key {
            Some(key) => error.without(key.expose_secret()),
            None => error,
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let url = &self.endpoint.base_url;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str().unwrap_or("its address"));
        let attempt = if error.is_connect() { "connecting to" } else { "sending to" };
        Error::new(ErrorKind::Unavailable, format!("{attempt} {} at {host} failed", self.id))
            .retry(Retry::Later(None))
            .caused_by(error.without_url())
    }
}

#[async_trait]
impl<W: Wire> VisionProvider for HttpProvider<W> {
    fn id(&self) -> &str {
        &self.id
    }

    fn card(&self, model: &str) -> ModelCard {
        self.card_of(self.current(&ModelId::from(model)).0)
    }

    fn models(&self) -> &[ModelCard] {
        &self.cards
    }

    async fn complete(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<Answer> {
        let (model, warning) = self.current(&req.model);
        let card = self.card_of(model.clone());
        card.admit(req)?;
        let req = Arc::new(VisionRequest { model, ..req.clone() });
        let outgoing = self.write(Arc::clone(&req), card).await?;
        let reply = self.send(ctx, outgoing).await?;
        if !reply.status.is_success() {
            return Err(self.refused(&reply).with("model", req.model.as_str()));
        }
        let mut answer = self.wire.read(&req, &reply).map_err(|error| self.hushed(error))?;
        answer.warnings.splice(0..0, warning);
        Ok(answer)
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        let reply = self.send(ctx, self.wire.probe()).await?;
        if reply.status.is_success() { Ok(()) } else { Err(self.refused(&reply)) }
    }
}
