//! The one place that sends to vendors: a [`Wire`] and an address make a provider.
//!
//! It never follows a redirect (a followed 307 re-posts image and key), takes no proxy from the environment, reads
//! bodies within bounds and gives up at the deadline of the call. It does not retry: that is a layer's business.

mod endpoint;
mod streaming;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout_at};

pub use self::endpoint::{Auth, Endpoint, VendorHttp};
use self::streaming::Reading;
use crate::answer::{Answer, AnswerStream};
use crate::dialect::settled;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::frames::Framing;
use crate::model::{Date, ModelCard};
use crate::provider::VisionProvider;
use crate::request::{CallCtx, ModelId, VisionRequest};
use crate::wire::{Delivery, Incoming, Outgoing, Wire};

/// The longest answer that is read: text, so far more than any model says.
const LARGEST_ANSWER: usize = 1 << 20;
/// The longest error page that is read.
const LARGEST_ERROR: usize = 64 << 10;
/// Above this many image bytes, writing a request takes long enough to disturb other calls on the same worker.
const WRITE_INLINE: usize = 64 << 10;

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
        let (mut sampling, notes) = card.parameters.fit(&req.sampling);
        if let Some(most) = card.limits.max_output_tokens {
            sampling.max_output_tokens = sampling.max_output_tokens.map(|wanted| wanted.min(most));
        }
        let req = Arc::new(VisionRequest { model, sampling, ..req.clone() });
        let notes = notes.into_iter().map(|note| format!("{}: {note}", req.model));
        Ok(Prepared { warnings: warning.into_iter().chain(notes).collect(), req, card })
    }

    async fn write(&self, prepared: &Prepared, delivery: Delivery) -> Result<Outgoing> {
        if prepared.req.picture_bytes() < WRITE_INLINE {
            return self.wire.write(&prepared.req, &prepared.card, delivery);
        }
        let (wire, req, card) = (Arc::clone(&self.wire), Arc::clone(&prepared.req), prepared.card.clone());
        tokio::task::spawn_blocking(move || wire.write(&req, &card, delivery))
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "writing the request").caused_by(error))?
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
    fn answer(&self, prepared: Prepared, reply: &Incoming) -> Result<Answer> {
        if !reply.status.is_success() {
            return Err(self.refused(reply).with("model", prepared.req.model.as_str()));
        }
        let answer = self.wire.read(&prepared.req, reply).map_err(|error| self.hushed(error))?;
        let notice = self.wire.notices(&prepared.req, &reply.headers);
        Ok(prepared.and(notice).told(answer))
    }

    fn refused(&self, reply: &Incoming) -> Error {
        self.hushed(self.wire.read_error(reply))
    }

    fn hushed(&self, error: Error) -> Error {
        hushed(error, self.endpoint.key.as_ref())
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
        let prepared = self.prepared(req)?;
        let outgoing = self.write(&prepared, Delivery::Whole).await?;
        let reply = self.exchange(ctx.deadline, outgoing).await?;
        self.answer(prepared, &reply)
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        let framing = self.wire.framing();
        if framing == Framing::Whole {
            return Ok(self.complete(ctx, req).await?.in_one_piece());
        }
        let prepared = self.prepared(req)?;
        let outgoing = self.write(&prepared, Delivery::Streamed).await?;
        let opening = timeout_at(ctx.deadline, self.send(outgoing)).await;
        let response = opening.unwrap_or_else(|_| Err(self.late()))?;
        if !response.status().is_success() || is_whole(&response, framing) {
            let reading = timeout_at(ctx.deadline, self.read(response)).await;
            let reply = reading.unwrap_or_else(|_| Err(self.late()))?;
            return Ok(self.answer(prepared, &reply)?.in_one_piece());
        }
        let key = self.endpoint.key.clone();
        let notice = self.wire.notices(&prepared.req, response.headers());
        let prepared = prepared.and(notice);
        Ok(Reading::new(Arc::clone(&self.wire), &self.id, response, prepared, key, ctx.deadline).into_stream())
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        let reply = self.exchange(ctx.deadline, self.wire.probe()).await?;
        if reply.status.is_success() { Ok(()) } else { Err(self.refused(&reply)) }
    }
}

/// Some servers answer in one piece although they were asked to stream.
fn is_whole(response: &reqwest::Response, framing: Framing) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    framing == Framing::Events && kind.starts_with("application/json")
}

/// Vendors quote keys in their complaints about them.
fn hushed(error: Error, key: Option<&SecretString>) -> Error {
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
}

impl Prepared {
    fn and(mut self, notice: Option<String>) -> Self {
        self.warnings.extend(notice);
        self
    }

    /// The answer in the caller's terms, with what there is to say about the request first.
    fn told(self, answer: Answer) -> Answer {
        let mut answer = settled(&self.req.output, answer);
        answer.warnings.splice(0..0, self.warnings);
        answer
    }
}
