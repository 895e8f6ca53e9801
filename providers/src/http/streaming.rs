//! Reading an answer as it is given: deltas while bytes come, and one end, or one error.
//!
//! A stream that stops before the backend said how it ended is an error: half an answer is none. What comes after the
//! end is only waited for briefly, for the usage. Dropping the stream closes the connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::unfold;
use tokio::time::{Instant, timeout_at};

use super::{Patience, Prepared, too_long};
use crate::answer::{Answer, AnswerStream, Chunk};
use crate::draft::{Draft, broken_off};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::frames::{Event, Frames};
use crate::wire::Wire;

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
    patience: Patience,
    deadline: Instant,
    frames: Frames,
    events: VecDeque<Event>,
    draft: Draft,
    /// Bytes of the spoken text that were passed on.
    passed_on: usize,
    received: usize,
    /// At least one event was read: the backend is at work, and may bill.
    begun: bool,
    /// When it last said something after it had said why it ends.
    complete_since: Option<Instant>,
    ended: bool,
}

impl<W: Wire> Reading<W> {
    pub(super) fn new(
        wire: Arc<W>,
        id: &str,
        response: reqwest::Response,
        prepared: Prepared,
        patience: Patience,
        deadline: Instant,
    ) -> Self {
        let frames = Frames::new(wire.framing());
        Self {
            wire,
            id: id.to_owned(),
            response,
            prepared,
            patience,
            deadline,
            frames,
            events: VecDeque::new(),
            draft: Draft::default(),
            passed_on: 0,
            received: 0,
            begun: false,
            complete_since: None,
            ended: false,
        }
    }

    pub(super) fn into_stream(self) -> AnswerStream {
        Box::pin(unfold(Some(self), |reading| async move { reading?.next().await }))
    }

    /// The whole answer, for whoever did not want it in pieces.
    pub(super) async fn read_to_end(self) -> Result<Answer> {
        let mut reading = Some(self);
        while let Some(rest) = reading {
            let Some((chunk, left)) = rest.next().await else { break };
            if let Chunk::End(answer) = chunk? {
                return Ok(*answer);
            }
            reading = left;
        }
        Err(broken_off("the stream stopped without saying why"))
    }

    /// The next piece, and what is left to read after it.
    async fn next(mut self) -> Option<(Result<Chunk>, Option<Self>)> {
        match self.delta().await {
            Ok(Some(delta)) => Some((Ok(Chunk::Delta(delta)), Some(self))),
            Ok(None) => Some((self.end().await, None)),
            Err(error) => {
                // Thoughts are billed like words: what breaks after the first event is not asked for again.
                let error = if self.begun { error.retry(Retry::Never) } else { error };
                Some((Err(self.prepared.hushed(error)), None))
            }
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
            let (complete, said) = (self.draft.finish.is_some(), self.draft.said());
            match self.wire.read_event(&event, &mut self.draft) {
                // The answer is there; what goes wrong behind it takes nothing away.
                Err(_) if complete => self.draft.done = true,
                // What the end of the stream cut is no event.
                Err(error) if self.ended && error.kind() == ErrorKind::Garbled => {
                    return Err(broken_off("the stream stopped in the middle of an event"));
                }
                outcome => outcome?,
            }
            self.begun = true;
            if self.draft.finish.is_some() && (!complete || self.draft.said() > said) {
                self.complete_since = Some(Instant::now());
            }
            let longest = self.wire.longest_answer();
            if self.draft.said() > longest {
                return Err(too_long(&self.id, longest));
            }
            let fresh = self.draft.spoken().get(self.passed_on..).unwrap_or_default();
            if !fresh.is_empty() {
                let fresh = fresh.to_owned();
                self.passed_on += fresh.len();
                return Ok(Some(fresh));
            }
        }
    }

    /// The longest silence that is waited through now.
    fn silence(&self) -> Duration {
        if self.begun { self.patience.idle } else { self.patience.first_byte }
    }

    /// Waits for bytes, or for the end of them.
    async fn receive(&mut self) -> Result<()> {
        let silent = self.complete_since.map_or_else(|| Instant::now() + self.silence(), |since| since + AFTER_END);
        let complete = self.complete_since.is_some();
        // Bytes that are always ready would never let a timer speak.
        if Instant::now() >= silent.min(self.deadline) {
            return self.gave_up(silent);
        }
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
            Ok(Err(_)) if complete => self.ended = true,
            Ok(Err(error)) => return Err(broken_off("the connection broke").caused_by(error.without_url())),
            Err(_) => return self.gave_up(silent),
        }
        Ok(())
    }

    /// The time for more is over: an answer that is complete stays one, with a word about it.
    fn gave_up(&mut self, silent: Instant) -> Result<()> {
        if self.complete_since.is_some() {
            let warning = format!("{} ended its answer but not its stream", self.prepared.req.model);
            self.prepared.warnings.push(warning);
            self.prepared.doubtful = true;
            self.ended = true;
            return Ok(());
        }
        let id = &self.id;
        let why = if silent < self.deadline {
            format!("nothing came for {} s", self.silence().as_secs())
        } else {
            "it did not end in time".to_owned()
        };
        Err(Error::new(ErrorKind::TimedOut, format!("reading the answer of {id}: {why}")))
    }

    async fn end(mut self) -> Result<Chunk> {
        let draft = std::mem::take(&mut self.draft);
        let answered = draft.whole(&self.prepared.req.model);
        let answer = answered.map_err(|error| self.prepared.hushed(error))?;
        Ok(Chunk::End(Box::new(self.prepared.told(answer, self.deadline).await?)))
    }
}
