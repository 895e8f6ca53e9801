//! Reading an answer as it is given: deltas while bytes come, and one end, or one error.
//!
//! A stream that stops before the backend said how it ended is an error: half an answer is none. What comes after the
//! end is only waited for briefly, for the usage. Dropping the stream closes the connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};

use super::{LARGEST_ANSWER, Prepared, hushed, too_long};
use crate::answer::{AnswerStream, Chunk};
use crate::draft::{Draft, broken_off};
use crate::error::{Error, ErrorKind, Result};
use crate::frames::{Event, Frames};
use crate::wire::Wire;

/// The longest silence in the middle of an answer, heartbeats counting as life.
const IDLE: Duration = Duration::from_secs(30);
/// The longest wait for the usage once the answer has ended.
const AFTER_END: Duration = Duration::from_secs(5);
/// Bytes on the wire: each token travels inside a few hundred of them.
const LARGEST_STREAM: usize = 64 << 20;

/// A stream and what was read of it.
pub(super) struct Reading<W> {
    wire: Arc<W>,
    id: String,
    response: reqwest::Response,
    prepared: Prepared,
    key: Option<SecretString>,
    deadline: Instant,
    frames: Frames,
    events: VecDeque<Event>,
    draft: Draft,
    /// Bytes of the spoken text that were passed on.
    passed_on: usize,
    received: usize,
    ended: bool,
}

impl<W: Wire> Reading<W> {
    pub(super) fn new(
        wire: Arc<W>,
        id: &str,
        response: reqwest::Response,
        prepared: Prepared,
        key: Option<SecretString>,
        deadline: Instant,
    ) -> Self {
        let frames = Frames::new(wire.framing());
        Self {
            wire,
            id: id.to_owned(),
            response,
            prepared,
            key,
            deadline,
            frames,
            events: VecDeque::new(),
            draft: Draft::default(),
            passed_on: 0,
            received: 0,
            ended: false,
        }
    }

    pub(super) fn into_stream(self) -> AnswerStream {
        Box::pin(unfold(Some(self), |reading| async move { reading?.next().await }))
    }

    /// The next piece, and what is left to read after it.
    async fn next(mut self) -> Option<(Result<Chunk>, Option<Self>)> {
        match self.delta().await {
            Ok(Some(delta)) => Some((Ok(Chunk::Delta(delta)), Some(self))),
            Ok(None) => Some((self.end(), None)),
            Err(error) => Some((Err(hushed(error, self.key.as_ref())), None)),
        }
    }

    /// The next text; `None` when the answer has ended.
    async fn delta(&mut self) -> Result<Option<String>> {
        loop {
            let Some(event) = self.events.pop_front() else {
                if self.draft.done || self.ended {
                    return Ok(None);
                }
                self.receive().await?;
                continue;
            };
            let complete = self.draft.finish.is_some();
            match self.wire.read_event(&event, &mut self.draft) {
                // The answer is there; what goes wrong behind it takes nothing away.
                Err(_) if complete => self.draft.done = true,
                // What the end of the stream cut is no event.
                Err(error) if self.ended && error.kind() == ErrorKind::Garbled => {
                    return Err(broken_off("the stream stopped in the middle of an event"));
                }
                outcome => outcome?,
            }
            if self.draft.said() > LARGEST_ANSWER {
                return Err(too_long(&self.id, LARGEST_ANSWER));
            }
            let fresh = self.draft.spoken().get(self.passed_on..).unwrap_or_default();
            if !fresh.is_empty() {
                let fresh = fresh.to_owned();
                self.passed_on += fresh.len();
                return Ok(Some(fresh));
            }
        }
    }

    /// Waits for bytes, or for the end of them.
    async fn receive(&mut self) -> Result<()> {
        let complete = self.draft.finish.is_some();
        let patience = if complete { AFTER_END } else { IDLE };
        let silent = Instant::now() + patience;
        match timeout_at(silent.min(self.deadline), self.response.chunk()).await {
            Ok(Ok(Some(bytes))) => {
                self.received += bytes.len();
                if self.received > LARGEST_STREAM {
                    return Err(too_long(&self.id, LARGEST_STREAM));
                }
                self.events.extend(self.frames.push(&bytes)?);
            }
            Ok(Ok(None)) => {
                self.events.extend(self.frames.end());
                self.ended = true;
            }
            Ok(Err(_)) | Err(_) if complete => self.ended = true,
            Ok(Err(error)) => return Err(broken_off("the connection broke").caused_by(error.without_url())),
            Err(_) if silent < self.deadline => {
                let message = format!("reading the answer of {}: nothing came for {} s", self.id, IDLE.as_secs());
                return Err(Error::new(ErrorKind::TimedOut, message));
            }
            Err(_) => {
                let message = format!("reading the answer of {}: it did not end in time", self.id);
                return Err(Error::new(ErrorKind::TimedOut, message));
            }
        }
        Ok(())
    }

    fn end(self) -> Result<Chunk> {
        if self.draft.finish.is_none() {
            return Err(broken_off("the stream stopped without saying why"));
        }
        let answer = self.draft.answer(&self.prepared.req.model).map_err(|error| hushed(error, self.key.as_ref()))?;
        Ok(Chunk::End(Box::new(self.prepared.told(answer))))
    }
}
