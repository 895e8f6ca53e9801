//! Remembers answers, and lets callers who ask the same at the same time share one call.
//!
//! A call runs in a task of its own that all who wait for it hold together: one who leaves neither ends nor restarts
//! it, and when the last one leaves it is aborted, down to the vendor's socket. Keys are digests of what was asked and
//! of the bytes that the model saw, never of names or addresses; callers never share. Only complete, finished answers
//! are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use moka::future::Cache;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use vision_providers::answer::{Answer, Finish};
use vision_providers::error::{Error, ErrorKind, Result};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CacheMode, CallCtx, Output, Sampling, VisionRequest};

use crate::supervisor::Supervisor;

/// How much to remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of answers, about.
    pub capacity: u64,
    pub ttl: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { capacity: 256 << 20, ttl: Duration::from_hours(24) }
    }
}

type Key = [u8; 32];

/// Nothing is remembered for longer; moka panics beyond a thousand years.
pub const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The memory that the cached providers of one gateway share. Clones share it.
#[derive(Clone)]
pub struct Memory(Cache<Key, Arc<Answer>>);

impl Memory {
    /// An empty memory.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let weight = |_: &Key, answer: &Arc<Answer>| {
            let blocks: usize = answer.blocks.iter().map(|block| block.text.len() + size_of_val(block)).sum();
            u32::try_from(answer.text.len() + blocks + 512).unwrap_or(u32::MAX)
        };
        Self(
            Cache::builder()
                .max_capacity(settings.capacity)
                .time_to_live(settings.ttl.min(LONGEST))
                .weigher(weight)
                .build(),
        )
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Memory({} answers)", self.0.entry_count())
    }
}

/// The layer.
pub struct Cached {
    inner: Provider,
    memory: Memory,
    flights: Flights,
    supervisor: Supervisor,
}

impl Cached {
    /// Remembers the answers of `inner`.
    #[must_use]
    pub fn new(inner: Provider, memory: Memory, supervisor: Supervisor) -> Self {
        Self { inner, memory, flights: Flights::default(), supervisor }
    }

    /// Joins the call for this key that is in the air, or starts one.
    fn flight(&self, key: Key, ctx: &CallCtx, req: &VisionRequest) -> Arc<Flight> {
        let mut flights = self.flights.lock();
        // A refreshing caller wants an answer that is younger than its question, so it joins nobody. It must not even
        // hold a flight here: to be the last to let go of one takes this very lock.
        if ctx.cache == CacheMode::Use
            && let Some(flight) = flights.get(&key).and_then(Weak::upgrade)
        {
            return flight;
        }
        let (sender, outcome) = watch::channel(None);
        let (inner, memory) = (Arc::clone(&self.inner), self.memory.clone());
        let (ctx, req) = (ctx.clone(), req.clone());
        let deadline = ctx.deadline;
        let task = self.supervisor.spawn("call", async move {
            // The call that was in the air when its caller looked may have landed since.
            if ctx.cache == CacheMode::Use
                && let Some(answer) = memory.0.get(&key).await
            {
                sender.send_replace(Some(Ok(remembered(&answer))));
                return;
            }
            let answered = inner.complete(&ctx, &req).await;
            if let Ok(answer) = &answered
                && is_worth_remembering(answer)
            {
                memory.0.insert(key, Arc::new(answer.clone())).await;
            }
            sender.send_replace(Some(answered));
        });
        let flight = Arc::new(Flight { outcome, task, deadline, key, flights: self.flights.clone() });
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}

/// Calls in the air, by key. Each is kept alive by those who wait for it.
#[derive(Clone, Default)]
struct Flights(Arc<Mutex<HashMap<Key, Weak<Flight>>>>);

impl Flights {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Weak<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call and everybody who waits for it.
struct Flight {
    outcome: watch::Receiver<Option<Result<Answer>>>,
    task: AbortHandle,
    /// That of the caller who started it.
    deadline: Instant,
    key: Key,
    flights: Flights,
}

impl Flight {
    async fn wait(&self, deadline: Instant) -> Result<Answer> {
        let mut outcome = self.outcome.clone();
        let waiting = timeout_at(deadline, outcome.wait_for(Option::is_some));
        match waiting.await {
            Ok(Ok(answered)) => answered.clone().unwrap_or_else(|| Err(lost())),
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "waiting for the answer to a question in the air")),
        }
    }
}

fn lost() -> Error {
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

impl fmt::Debug for Cached {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Cached({:?})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl VisionProvider for Cached {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn card(&self, model: &str) -> ModelCard {
        self.inner.card(model)
    }

    fn models(&self) -> &[ModelCard] {
        self.inner.models()
    }

    async fn complete(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<Answer> {
        if ctx.cache == CacheMode::Bypass {
            return self.inner.complete(ctx, req).await;
        }
        let key = key(self.inner.id(), ctx, req);
        loop {
            if ctx.cache == CacheMode::Use
                && let Some(answer) = self.memory.0.get(&key).await
            {
                return Ok(remembered(&answer));
            }
            let flight = self.flight(key, ctx, req);
            let answered = flight.wait(ctx.deadline).await;
            let ends = flight.deadline;
            drop(flight);
            match answered {
                // It died of an earlier caller's deadline; ours has not come.
                Err(error) if error.kind() == ErrorKind::TimedOut && Instant::now() >= ends && ends < ctx.deadline => {}
                answered => return answered,
            }
        }
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}

fn remembered(answer: &Answer) -> Answer {
    Answer { cached: true, tries: Vec::new(), ..answer.clone() }
}

fn is_worth_remembering(answer: &Answer) -> bool {
    answer.finish == Finish::Stop && !answer.partial
}

/// The digest of everything that can change an answer. Each part is preceded by its length, so that no two questions
/// can run into the same bytes.
fn key(provider: &str, ctx: &CallCtx, req: &VisionRequest) -> Key {
    let VisionRequest { model, task, system, prompt, images, output, detail, sampling } = req;
    let Sampling { temperature, top_p, seed, max_output_tokens, stop } = sampling;
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(concat!("visiongate answer ", env!("CARGO_PKG_VERSION")).as_bytes());
    for text in [provider, ctx.caller.name(), model.as_str(), task.name(), prompt] {
        part(text.as_bytes());
    }
    part(format!("{detail:?} {system:?} {temperature:?} {top_p:?} {seed:?} {max_output_tokens:?} {stop:?}").as_bytes());
    match output {
        Output::Text => part(b"text"),
        Output::Json(schema) => part(schema.value.to_string().as_bytes()),
    }
    for image in images {
        part(image.digest().as_bytes());
    }
    *hasher.finalize().as_bytes()
}
