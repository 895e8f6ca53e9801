//! The one place that sends to vendors: a [`Wire`] and an address make a provider.
//!
//! It never follows a redirect (a followed 307 re-posts image and key), takes no proxy from the environment, reads
//! bodies within bounds and gives up at the deadline of the call. It does not retry: that is a layer's business.

mod endpoint;
mod streaming;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout_at};

pub use self::endpoint::{Auth, Endpoint, VendorHttp};
use self::streaming::Reading;
use crate::answer::{Answer, AnswerStream};
use crate::dialect::settled;
use crate::draft::Draft;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::frames::{Frames, Framing};
use crate::model::{Date, ModelCard};
use crate::provider::VisionProvider;
use crate::request::{CallCtx, ModelId, Output, Part, VisionRequest};
use crate::wire::{Delivery, Incoming, Outgoing, Wire};

/// The longest error page that is read.
const LARGEST_ERROR: usize = 64 << 10;
/// Above this many bytes, writing or reading takes long enough to disturb other calls on the same worker.
const WORK_INLINE: usize = 64 << 10;

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

    /// The name to send for a model: itself, or its official successor once it is retired; and what to say about it.
    fn current(&self, model: &ModelId) -> (ModelId, Option<String>) {
        let today = Date::today();
        let Some(card) = self.known(model.as_str()) else { return (model.clone(), None) };
        if let Some(soon) = card.retires_soon(&today) {
            let successor = soon.successor.as_ref().map_or("another model".into(), ToString::to_string);
            return (model.clone(), Some(format!("{model} will be retired on {}: change to {successor}", soon.on)));
        }
        match card.retired_by(&today) {
            None => (model.clone(), None),
            Some(retirement) => match &retirement.successor {
                None => {
                    let warning = format!("{model} was to be retired by its vendor on {}", retirement.on);
                    (model.clone(), Some(format!("{warning}: change to another model")))
                }
                Some(successor) => {
                    let warning = format!("{model} was retired by its vendor on {}", retirement.on);
                    let instead = format!("its official replacement {successor} was asked instead");
                    (successor.clone(), Some(format!("{warning}; {instead}")))
                }
            },
        }
    }

    /// The card of a model by the name that is sent.
    fn card_of(&self, current: ModelId) -> ModelCard {
        match self.known(current.as_str()) {
            Some(card) => card.clone(),
            None => ModelCard { id: current, ..self.unknown.clone() },
        }
    }

    /// The request as it will be sent, refused early if the model cannot take it, and what to say about it.
    fn prepared(&self, req: &VisionRequest) -> Result<Prepared> {
        let (model, warning) = self.current(&req.model);
        let card = self.card_of(model.clone());
        card.admit(req)?;
        let (sampling, notes) = card.parameters_for(&req.sampling);
        let req = Arc::new(VisionRequest { model, sampling, ..req.clone() });
        let notes = notes.into_iter().map(|note| format!("{}: {note}", req.model));
        let warnings = warning.into_iter().chain(notes).collect();
        Ok(Prepared { warnings, req, card, wrapped: false })
    }

    async fn write(&self, prepared: &Prepared, delivery: Delivery, deadline: Instant) -> Result<Outgoing> {
        let (wire, req, card) = (Arc::clone(&self.wire), Arc::clone(&prepared.req), prepared.card.clone());
        let bytes = req.picture_bytes();
        apart(bytes, deadline, move || wire.write(&req, &card, delivery)).await
    }

    /// Sends, and reads the whole reply.
    async fn exchange(&self, deadline: Instant, outgoing: Outgoing) -> Result<Incoming> {
        let exchange = async { self.read(self.send(outgoing).await?).await };
        timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// A backend that hangs may still be working, and billing: the same call is not sent twice.
    fn late(&self) -> Error {
        Error::new(ErrorKind::TimedOut, format!("waiting for {}: no complete answer in time", self.id))
    }

    /// Sends, and reads the head of the reply.
    async fn send(&self, outgoing: Outgoing) -> Result<reqwest::Response> {
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
        request.send().await.map_err(|error| self.unreachable(error))
    }

    /// Reads the rest of a reply, within bounds.
    async fn read(&self, mut response: reqwest::Response) -> Result<Incoming> {
        let (status, headers) = (response.status(), response.headers().clone());
        let bound = if status.is_success() { self.wire.longest_answer() } else { LARGEST_ERROR };
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= bound => body.extend_from_slice(&chunk),
                Ok(None) => return Ok(Incoming { status, headers, body: body.freeze() }),
                // An endless error page still has a status, and that says enough.
                Ok(Some(_)) if !status.is_success() => {
                    return Ok(Incoming { status, headers, body: Bytes::new() });
                }
                Ok(Some(_)) => return Err(too_long(&self.id, bound)),
                // It has begun to answer, so it may bill: no second try.
                Err(error) => {
                    let message = format!("reading the answer of {}: the connection broke midway", self.id);
                    return Err(Error::new(ErrorKind::Unavailable, message).caused_by(error.without_url()));
                }
            }
        }
    }

    /// The answer in a reply that was read whole.
    async fn answer(&self, prepared: Prepared, reply: Incoming, deadline: Instant) -> Result<Answer> {
        let key = self.endpoint.key.as_ref();
        if !reply.status.is_success() {
            let error = self.wire.read_error(&reply).with("model", prepared.req.model.as_str());
            return Err(prepared.hushed(error, key));
        }
        let notice = self.wire.notices(&prepared.req, &reply.headers);
        let prepared = prepared.and(notice);
        let (wire, req) = (Arc::clone(&self.wire), Arc::clone(&prepared.req));
        let reading = apart(reply.body.len(), deadline, move || read_whole(&*wire, &req, &reply)).await;
        let answer = reading.map_err(|error| prepared.hushed(error, key))?;
        prepared.told(answer, deadline).await
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let url = &self.endpoint.base_url;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", url.host_str().unwrap_or("its address"));
        // Once it was connected, the request may have arrived, and may be billed.
        let (attempt, retry) =
            if error.is_connect() { ("connecting to", Retry::Later(None)) } else { ("sending to", Retry::Once) };
        Error::new(ErrorKind::Unavailable, format!("{attempt} {} at {host} failed", self.id))
            .retry(retry)
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
        let mut prepared = self.prepared(req)?;
        let outgoing = self.write(&prepared, Delivery::Whole, ctx.deadline).await?;
        prepared.wrapped = outgoing.wrapped;
        let reply = self.exchange(ctx.deadline, outgoing).await?;
        self.answer(prepared, reply, ctx.deadline).await
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let framing = self.wire.framing();
        if framing == Framing::Whole {
            return Ok(self.complete(ctx, req).await?.in_one_piece());
        }
        let mut prepared = self.prepared(req)?;
        let outgoing = self.write(&prepared, Delivery::Streamed, ctx.deadline).await?;
        prepared.wrapped = outgoing.wrapped;
        let opening = timeout_at(ctx.deadline, self.send(outgoing)).await;
        let response = opening.unwrap_or_else(|_| Err(self.late()))?;
        if !response.status().is_success() || is(response.headers(), "application/json") {
            let reading = timeout_at(ctx.deadline, self.read(response)).await;
            let reply = reading.unwrap_or_else(|_| Err(self.late()))?;
            return Ok(self.answer(prepared, reply, ctx.deadline).await?.in_one_piece());
        }
        let key = self.endpoint.key.clone();
        let notice = self.wire.notices(&prepared.req, response.headers());
        let prepared = prepared.and(notice);
        Ok(Reading::new(Arc::clone(&self.wire), &self.id, response, prepared, key, ctx.deadline).into_stream())
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        let reply = self.exchange(ctx.deadline, self.wire.probe()).await?;
        if reply.status.is_success() {
            return Ok(());
        }
        Err(without_key(self.wire.read_error(&reply), self.endpoint.key.as_ref()))
    }
}

/// Whether the content is of this type.
fn is(headers: &HeaderMap, media_type: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(media_type))
}

/// Reads a reply in the form that it has: some servers stream although nobody asked them to.
fn read_whole<W: Wire>(wire: &W, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
    if wire.framing() != Framing::Events || !is(&reply.headers, "text/event-stream") {
        return wire.read(req, reply);
    }
    let mut frames = Frames::new(Framing::Events);
    let mut events = frames.push(&reply.body)?;
    events.extend(frames.end());
    let mut draft = Draft::default();
    for event in events {
        wire.read_event(&event, &mut draft)?;
    }
    draft.whole(&req.model)
}

/// Works where it is when that is little, and on a thread that may be busy when it is much.
async fn apart<T: Send + 'static>(
    bytes: usize,
    deadline: Instant,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes < WORK_INLINE {
        return work();
    }
    let working = timeout_at(deadline, tokio::task::spawn_blocking(work));
    let late = |_| Error::new(ErrorKind::TimedOut, "preparing the request or reading its answer: it takes too long");
    let broken =
        |error| Error::new(ErrorKind::Internal, "preparing the request or reading its answer").caused_by(error);
    working.await.map_err(late)?.map_err(broken)?
}

/// Vendors quote keys in their complaints about them.
fn without_key(error: Error, key: Option<&SecretString>) -> Error {
    match key {
        Some(key) => error.without(key.expose_secret()),
        None => error,
    }
}

fn too_long(id: &str, bound: usize) -> Error {
    Error::new(ErrorKind::Garbled, format!("reading the answer of {id}: it is longer than {bound} bytes"))
}

/// A request on its way.
struct Prepared {
    req: Arc<VisionRequest>,
    card: ModelCard,
    warnings: Vec<String>,
    /// The schema was sent inside another one.
    wrapped: bool,
}

impl Prepared {
    fn and(mut self, notice: Option<String>) -> Self {
        self.warnings.extend(notice);
        self
    }

    /// An error without what vendors echo: the key, and what was asked.
    fn hushed(&self, error: Error, key: Option<&SecretString>) -> Error {
        let words = self.req.parts().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        });
        let said = words.chain(self.req.system.as_deref());
        without_key(said.fold(error, Error::without_echo), key)
    }

    /// The answer in the caller's terms, with what there is to say about the request first.
    async fn told(self, answer: Answer, deadline: Instant) -> Result<Answer> {
        let Self { req, warnings, wrapped, .. } = self;
        let mut answer = match &req.output {
            Output::Text => answer,
            // A schema is a stranger's, and so is the answer.
            Output::Json(_) => {
                let settling = move || Ok(settled(&req.output, wrapped, answer));
                apart(usize::MAX, deadline, settling).await?
            }
        };
        answer.warnings.splice(0..0, warnings);
        Ok(answer)
    }
}
