//! The one place that sends to vendors: a [`Wire`] and an address make a provider.
//!
//! It never follows a redirect (a followed 307 re-posts image and key), takes no proxy from the environment, reads
//! bodies within bounds and gives up at the deadline of the call. It does not retry: that is a layer's business.

mod endpoint;
mod streaming;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout_at};

pub use self::endpoint::{Auth, Endpoint, VendorHttp};
use self::streaming::Reading;
use crate::allowance::{Allowance, allowance};
use crate::answer::{Answer, AnswerStream};
use crate::dialect::settled;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::frames::Framing;
use crate::model::{Date, ModelCard};
use crate::provider::VisionProvider;
use crate::request::{CallCtx, Effort, ModelId, Output, VisionRequest, is_label};
use crate::wire::{Delivery, Incoming, Outgoing, Wire};

/// The longest error page that is read.
const LARGEST_ERROR: usize = 64 << 10;
/// Above this many bytes, writing or reading takes long enough to disturb other calls on the same worker.
const WORK_INLINE: usize = 64 << 10;

/// How long a stream may say nothing. What is answered in one piece says nothing until its end, so only the deadline
/// of the call bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Before its first event.
    pub first_byte: Duration,
    /// Between two events; heartbeats count as life.
    pub idle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first_byte: Duration::from_secs(15), idle: Duration::from_secs(10) }
    }
}

impl Patience {
    /// A model that was asked to think may be silent for as long as it likes.
    fn for_request(self, req: &VisionRequest) -> Self {
        if req.sampling.effort == Effort::Least { self } else { Self { first_byte: FOR_EVER, idle: FOR_EVER } }
    }
}

/// Longer than any call has time for.
const FOR_EVER: Duration = Duration::from_hours(24);

/// A wire format at an address, with the cards of the models there.
#[derive(Debug)]
pub struct HttpProvider<W> {
    pub id: String,
    pub wire: Arc<W>,
    pub endpoint: Endpoint,
    pub http: VendorHttp,
    pub patience: Patience,
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
        let key = self.endpoint.key.clone();
        Ok(Prepared { warnings, req, card, wrapped: false, doubtful: false, key, allowance: None })
    }

    async fn write(&self, prepared: &Prepared, delivery: Delivery, deadline: Instant) -> Result<Outgoing> {
        let (wire, req, card) = (Arc::clone(&self.wire), Arc::clone(&prepared.req), prepared.card.clone());
        let bytes = req.picture_bytes();
        apart(bytes, deadline, move || wire.write(&req, &card, delivery)).await
    }

    /// Asks, and reads at least the head of the reply.
    async fn ask(&self, ctx: &CallCtx, req: &VisionRequest, delivery: Delivery) -> Result<Reply<W>> {
        let mut prepared = self.prepared(req)?;
        let outgoing = self.write(&prepared, delivery, ctx.deadline).await?;
        prepared.wrapped = outgoing.wrapped;
        let patience = self.patience.for_request(&prepared.req);
        let head_by = match delivery {
            Delivery::Whole => ctx.deadline,
            Delivery::Streamed => ctx.deadline.min(Instant::now() + patience.first_byte),
        };
        let response = self.in_time(head_by, self.send(outgoing)).await?;
        let headers = response.headers();
        prepared.allowance = allowance(headers);
        // The content says what it is: some servers stream unasked, and some do not stream although they were asked to.
        let streams = match (self.wire.framing(), delivery) {
            (Framing::Events, Delivery::Whole) => is(headers, "text/event-stream"),
            (Framing::Whole, _) | (Framing::Lines, Delivery::Whole) => false,
            (_, Delivery::Streamed) => !is(headers, "application/json"),
        };
        if streams && response.status().is_success() {
            let notice = self.wire.notices(&prepared.req, headers);
            let wire = Arc::clone(&self.wire);
            let reading = Reading::new(wire, &self.id, response, prepared.and(notice), patience, ctx.deadline);
            return Ok(Reply::Stream(Box::new(reading)));
        }
        let reply = self.in_time(ctx.deadline, self.read(response)).await?;
        self.answer(prepared, reply, ctx.deadline).await.map(|answer| Reply::Whole(Box::new(answer)))
    }

    async fn in_time<T>(&self, deadline: Instant, work: impl Future<Output = Result<T>>) -> Result<T> {
        timeout_at(deadline, work).await.unwrap_or_else(|_| Err(self.late()))
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
                // An error page without an end, or cut short, still has a status, and that says enough.
                Ok(Some(_)) | Err(_) if !status.is_success() => {
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
        if !reply.status.is_success() {
            let error = self.wire.read_error(&reply).with("model", prepared.req.model.as_str());
            return Err(prepared.hushed(error));
        }
        let notice = self.wire.notices(&prepared.req, &reply.headers);
        let prepared = prepared.and(notice);
        let (wire, req) = (Arc::clone(&self.wire), Arc::clone(&prepared.req));
        let reading = apart(reply.body.len(), deadline, move || wire.read(&req, &reply)).await;
        let answer = reading.map_err(|error| prepared.hushed(error))?;
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
        match self.ask(ctx, req, Delivery::Whole).await? {
            Reply::Whole(answer) => Ok(*answer),
            Reply::Stream(reading) => reading.read_to_end().await,
        }
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let streams = self.wire.framing() != Framing::Whole;
        match self.ask(ctx, req, if streams { Delivery::Streamed } else { Delivery::Whole }).await? {
            Reply::Whole(answer) => Ok(answer.in_one_piece()),
            Reply::Stream(reading) => Ok(reading.into_stream()),
        }
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        let exchange = async { self.read(self.send(self.wire.probe()).await?).await };
        let reply = self.in_time(ctx.deadline, exchange).await?;
        if reply.status.is_success() {
            return Ok(());
        }
        Err(without_key(self.wire.read_error(&reply), self.endpoint.key.as_ref()))
    }
}

/// What came back, in the form in which it came.
enum Reply<W> {
    Whole(Box<Answer>),
    Stream(Box<Reading<W>>),
}

/// Whether the content is of this type.
fn is(headers: &HeaderMap, media_type: &str) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(media_type))
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
    /// Something about the answer is in doubt, as the warnings say.
    doubtful: bool,
    key: Option<SecretString>,
    /// What the vendor still takes, as the head of its reply says.
    allowance: Option<Allowance>,
}

impl Prepared {
    fn and(mut self, notice: Option<String>) -> Self {
        self.warnings.extend(notice);
        self
    }

    /// An error without what vendors echo: the key, and what was asked.
    fn hushed(&self, error: Error) -> Error {
        let said = self.req.texts().filter(|text| !is_label(text)).chain(self.req.system.as_deref());
        without_key(said.fold(error, Error::without_echo), self.key.as_ref()).leaving(self.allowance)
    }

    /// The answer in the caller's terms, with what there is to say about the request first.
    async fn told(self, answer: Answer, deadline: Instant) -> Result<Answer> {
        let Self { req, warnings, wrapped, doubtful, allowance, .. } = self;
        let mut answer = match &req.output {
            Output::Text => answer,
            // A schema is a stranger's, and so is the answer.
            Output::Json(_) => {
                let settling = move || Ok(settled(&req.output, wrapped, answer));
                apart(usize::MAX, deadline, settling).await?
            }
        };
        answer.warnings.splice(0..0, warnings);
        answer.partial |= doubtful;
        answer.allowance = allowance;
        Ok(answer)
    }
}
