//! Calls in the air: each is shared by everybody who waits for it, and ends when the last of them leaves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::stream::unfold;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use vision_providers::answer::{Answer, AnswerStream, Chunk};
use vision_providers::error::{Error, ErrorKind, Result};

use super::key::Key;
use super::memory::remembered;

/// What was heard of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// As long as an answer may be, and no longer: its provider bounds it.
    pub(super) said: String,
    pub(super) outcome: Option<Result<Answer>>,
}

impl Heard {
    pub(super) fn says_more_than(&self, known: usize) -> bool {
        self.outcome.is_some() || self.said.len() > known
    }
}

/// Calls in the air, by key. Each is kept alive by those who wait for it.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<InAir, Weak<Flight>>>>);

/// A question, and whether nobody else would be asked: then it has more time, and whoever has it joins nobody who has not.
pub(super) type InAir = (Key, bool);

impl Flights {
    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<InAir, Weak<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call and everybody who waits for it.
pub(super) struct Flight {
    pub(super) heard: watch::Receiver<Heard>,
    pub(super) task: AbortHandle,
    /// That of the caller who started it.
    pub(super) deadline: Instant,
    pub(super) key: InAir,
    pub(super) flights: Flights,
    /// Whether somebody has taken the answer together with what it cost.
    pub(super) billed: AtomicBool,
}

impl Flight {
    /// Waits until enough was heard, and takes what is wanted of it.
    pub(super) async fn wait<T>(
        &self,
        deadline: Instant,
        enough: impl FnMut(&Heard) -> bool,
        take: impl FnOnce(&Heard) -> T,
    ) -> Result<T> {
        let mut heard = self.heard.clone();
        if Instant::now() >= deadline {
            return Err(late());
        }
        let waiting = timeout_at(deadline, heard.wait_for(enough));
        match waiting.await {
            Ok(Ok(heard)) => Ok(take(&heard)),
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(late()),
        }
    }

    /// The answer for one of those who waited. One call is one bill: the others have it for nothing.
    pub(super) fn share(&self, answer: Answer) -> Answer {
        if self.billed.swap(true, Ordering::Relaxed) { remembered(&answer) } else { answer }
    }

    /// Everything that was said, and what is still to be said.
    pub(super) fn listen(self: Arc<Self>, deadline: Instant) -> AnswerStream {
        Box::pin(unfold(Some((self, 0)), move |state| async move {
            let (flight, known) = state?;
            let news = |heard: &Heard| (heard.said[known..].to_owned(), heard.outcome.clone());
            let (said, outcome) = match flight.wait(deadline, |heard| heard.says_more_than(known), news).await {
                Ok(news) => news,
                Err(error) => return Some((Err(error), None)),
            };
            if !said.is_empty() {
                let known = known + said.len();
                return Some((Ok(Chunk::Delta(said)), Some((flight, known))));
            }
            let outcome = outcome.unwrap_or_else(|| Err(lost()));
            Some((outcome.map(|answer| Chunk::End(Box::new(flight.share(answer)))), None))
        }))
    }
}

fn late() -> Error {
    Error::new(ErrorKind::TimedOut, "waiting for an answer: none came in time")
}

pub(super) fn lost() -> Error {
    Error::new(ErrorKind::Internal, "the call broke off inside this program")
}

impl Drop for Flight {
    /// The last one has left: nobody wants the answer any more.
    fn drop(&mut self) {
        self.task.abort();
        let mut flights = self.flights.lock();
        // Another call for the same key may have taken off since.
        if flights.get(&self.key).is_some_and(|flight| flight.strong_count() == 0) {
            flights.remove(&self.key);
        }
    }
}
