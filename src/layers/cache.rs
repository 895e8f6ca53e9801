//! Remembers answers, and lets callers who ask the same at the same time share one call.
//!
//! A call runs in a task of its own that all who wait for it hold together: one who leaves neither ends nor restarts
//! it, and when the last one leaves it is aborted, down to the vendor's socket. Who wants to see the answer come gets
//! what was said so far, and then the rest as it comes. Keys are digests of what was asked and
//! of the bytes that the model saw, never of names or addresses; callers never share. Only complete, finished answers
//! are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use moka::future::Cache;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use vision_providers::answer::{Answer, AnswerStream, Chunk, Finish};
use vision_providers::error::{Error, ErrorKind, Result};
use vision_providers::model::ModelCard;
use vision_providers::provider::{Provider, VisionProvider};
use vision_providers::request::{CacheMode, CallCtx, Output, Part, Sampling, VisionRequest};
use vision_providers::wire::Delivery;

use crate::metrics::{Metrics, Remembered};
use crate::store::disk::Disk;
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

/// A digest.
pub type Key = [u8; 32];

/// Nothing is remembered for longer; moka panics beyond a thousand years.
pub const LONGEST: Duration = Duration::from_hours(24 * 365);

/// The memory that the cached providers of one gateway share, and the disk behind it. Clones share it.
#[derive(Clone)]
pub struct Memory {
    recent: Cache<Key, Arc<Answer>>,
    disk: Option<Disk>,
}

impl Memory {
    /// A memory with nothing in it but what the disk still holds.
    #[must_use]
    pub fn new(settings: Settings, disk: Option<Disk>) -> Self {
        let weight = |_: &Key, answer: &Arc<Answer>| {
            let blocks: usize = answer.blocks.iter().map(|block| block.text.len() + size_of_val(block)).sum();
            u32::try_from(answer.text.len() + blocks + 512).unwrap_or(u32::MAX)
        };
        let recent = Cache::builder().max_capacity(settings.capacity).time_to_live(settings.ttl.min(LONGEST));
        Self { recent: recent.weigher(weight).build(), disk }
    }

    /// Tidies up what lies on the disk, some time soon.
    pub fn tidy(&self) {
        if let Some(disk) = &self.disk {
            disk.tidy();
        }
    }

    /// What was remembered, here or by another process. What the disk knows is not taken over: it would live twice as
    /// long.
    async fn recall(&self, key: &Key) -> Option<Answer> {
        if let Some(answer) = self.recent.get(key).await {
            return Some(remembered(&answer));
        }
        self.disk.as_ref()?.get(key).await
    }

    async fn remember(&self, key: Key, answer: &Answer) {
        if let Some(disk) = &self.disk {
            disk.put(key, answer);
        }
        self.recent.insert(key, Arc::new(answer.clone())).await;
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Memory({} answers, {:?})", self.recent.entry_count(), self.disk)
    }
}

/// The layer.
pub struct Cached {
    inner: Provider,
    memory: Memory,
    flights: Flights,
    supervisor: Supervisor,
    metrics: Metrics,
    /// A digest of what makes the backend the one that it is: its name alone may come to mean another one.
    identity: Key,
}

impl Cached {
    /// Remembers the answers of `inner`, a backend of this identity.
    #[must_use]
    pub fn new(inner: Provider, identity: Key, memory: Memory, supervisor: Supervisor, metrics: Metrics) -> Self {
        Self { inner, memory, flights: Flights::default(), supervisor, metrics, identity }
    }

    async fn remembered(&self, key: &Key, ctx: &CallCtx) -> Option<Answer> {
        if ctx.cache != CacheMode::Use {
            return None;
        }
        let answer = self.memory.recent.get(key).await?;
        self.metrics.remembered(Remembered::Hit);
        Some(remembered(&answer))
    }

    /// Joins the call for this key that is in the air, or starts one.
    fn flight(&self, key: Key, ctx: &CallCtx, req: &VisionRequest, delivery: Delivery) -> Arc<Flight> {
        // Declared first, so that it is let go of last: to be the last to let go of a flight takes the lock below.
        let _landed;
        let mut flights = self.flights.lock();
        // A refreshing caller wants an answer that is younger than its question, so it joins nobody. It must not even
        // hold a flight here: to be the last to let go of one takes this very lock.
        if ctx.cache == CacheMode::Use
            && let Some(flight) = flights.get(&(key, ctx.last)).and_then(Weak::upgrade)
        {
            // One that has landed is held by others who are about to leave; its outcome is not for those who come now.
            if flight.heard.borrow().outcome.is_none() {
                self.metrics.remembered(Remembered::Shared);
                return flight;
            }
            _landed = flight;
        }
        let (sender, heard) = watch::channel(Heard::default());
        let (inner, memory, metrics) = (Arc::clone(&self.inner), self.memory.clone(), self.metrics.clone());
        let (ctx, req) = (ctx.clone(), req.clone());
        let (deadline, in_air) = (ctx.deadline, (key, ctx.last));
        let task = self.supervisor.spawn("call", async move {
            // The call that was in the air when its caller looked may have landed since.
            if ctx.cache == CacheMode::Use
                && let Some(answer) = memory.recall(&key).await
            {
                metrics.remembered(Remembered::DiskHit);
                sender.send_modify(|heard| heard.outcome = Some(Ok(answer)));
                return;
            }
            metrics.remembered(Remembered::Miss);
            let answered = match delivery {
                Delivery::Whole => inner.complete(&ctx, &req).await,
                Delivery::Streamed => listened(&inner, &ctx, &req, &sender).await,
            };
            if let Ok(answer) = &answered
                && is_worth_remembering(answer)
            {
                memory.remember(key, answer).await;
            }
            sender.send_modify(|heard| heard.outcome = Some(answered));
        });
        let flight = Arc::new(Flight {
            heard,
            task,
            deadline,
            key: in_air,
            flights: self.flights.clone(),
            billed: AtomicBool::new(false),
        });
        flights.insert(flight.key, Arc::downgrade(&flight));
        flight
    }

    /// A flight that has begun to say something, or has landed.
    async fn airborne(&self, key: Key, ctx: &CallCtx, req: &VisionRequest, delivery: Delivery) -> Result<Arc<Flight>> {
        loop {
            let flight = self.flight(key, ctx, req, delivery);
            let enough = |heard: &Heard| heard.says_more_than(if delivery == Delivery::Whole { usize::MAX } else { 0 });
            let failed = |heard: &Heard| heard.outcome.as_ref().and_then(|outcome| outcome.as_ref().err()).cloned();
            let failed = flight.wait(ctx.deadline, enough, failed).await?;
            // It died of an earlier caller's deadline; ours has not come.
            let (ends, now) = (flight.deadline, Instant::now());
            let died = |error: &Error| error.kind() == ErrorKind::TimedOut && now >= ends && now < ctx.deadline;
            if !failed.as_ref().is_some_and(died) {
                return Ok(flight);
            }
        }
    }
}

/// Passes on what is said while it is said.
async fn listened(
    inner: &Provider,
    ctx: &CallCtx,
    req: &VisionRequest,
    sender: &watch::Sender<Heard>,
) -> Result<Answer> {
    let mut stream = inner.stream(ctx, req).await?;
    while let Some(chunk) = stream.next().await {
        match chunk? {
            Chunk::Delta(text) => sender.send_modify(|heard| heard.said.push_str(&text)),
            Chunk::End(answer) => return Ok(*answer),
        }
    }
    Err(lost())
}

/// What was heard of an answer so far.
#[derive(Debug, Default)]
struct Heard {
    /// As long as an answer may be, and no longer: its provider bounds it.
    said: String,
    outcome: Option<Result<Answer>>,
}

impl Heard {
    fn says_more_than(&self, known: usize) -> bool {
        self.outcome.is_some() || self.said.len() > known
    }
}

/// Calls in the air, by key. Each is kept alive by those who wait for it.
#[derive(Clone, Default)]
struct Flights(Arc<Mutex<HashMap<InAir, Weak<Flight>>>>);

/// A question, and whether nobody else would be asked: then it has more time, and whoever has it joins nobody who has not.
type InAir = (Key, bool);

impl Flights {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<InAir, Weak<Flight>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call and everybody who waits for it.
struct Flight {
    heard: watch::Receiver<Heard>,
    task: AbortHandle,
    /// That of the caller who started it.
    deadline: Instant,
    key: InAir,
    flights: Flights,
    /// Whether somebody has taken the answer together with what it cost.
    billed: AtomicBool,
}

impl Flight {
    /// Waits until enough was heard, and takes what is wanted of it.
    async fn wait<T>(
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
    fn share(&self, answer: Answer) -> Answer {
        if self.billed.swap(true, Ordering::Relaxed) { remembered(&answer) } else { answer }
    }

    /// Everything that was said, and what is still to be said.
    fn listen(self: Arc<Self>, deadline: Instant) -> AnswerStream {
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
            self.metrics.remembered(Remembered::Bypass);
            return self.inner.complete(ctx, req).await;
        }
        let key = key(self.inner.id(), &self.identity, ctx, req);
        if let Some(answer) = self.remembered(&key, ctx).await {
            return Ok(answer);
        }
        let flight = self.airborne(key, ctx, req, Delivery::Whole).await?;
        let outcome = flight.heard.borrow().outcome.clone();
        outcome.unwrap_or_else(|| Err(lost())).map(|answer| flight.share(answer))
    }

    async fn stream(&self, ctx: &CallCtx, req: &VisionRequest) -> Result<AnswerStream> {
        if ctx.cache == CacheMode::Bypass {
            self.metrics.remembered(Remembered::Bypass);
            return self.inner.stream(ctx, req).await;
        }
        let key = key(self.inner.id(), &self.identity, ctx, req);
        if let Some(answer) = self.remembered(&key, ctx).await {
            return Ok(answer.in_one_piece());
        }
        let flight = self.airborne(key, ctx, req, Delivery::Streamed).await?;
        // What fails before it said anything failed to begin.
        let failed = flight.heard.borrow().outcome.as_ref().and_then(|outcome| outcome.as_ref().err().cloned());
        match failed.filter(|_| flight.heard.borrow().said.is_empty()) {
            Some(error) => Err(error),
            None => Ok(flight.listen(ctx.deadline)),
        }
    }

    async fn probe(&self, ctx: &CallCtx) -> Result<()> {
        self.inner.probe(ctx).await
    }
}

fn remembered(answer: &Answer) -> Answer {
    Answer { cached: true, tries: Vec::new(), allowance: None, ..answer.clone() }
}

fn is_worth_remembering(answer: &Answer) -> bool {
    answer.finish == Finish::Stop && !answer.partial
}

/// The digest of everything that can change an answer. Each part is preceded by its length, so that no two questions
/// can run into the same bytes.
fn key(provider: &str, identity: &Key, ctx: &CallCtx, req: &VisionRequest) -> Key {
    let VisionRequest { model, task, system, messages, output, detail, sampling } = req;
    let Sampling { temperature, top_p, seed, max_output_tokens, stop, effort } = sampling;
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(concat!("visiongate answer ", env!("CARGO_PKG_VERSION")).as_bytes());
    part(identity);
    for text in [provider, ctx.caller.name(), model.as_str(), task.name()] {
        part(text.as_bytes());
    }
    part(
        format!("{detail:?} {system:?} {temperature:?} {top_p:?} {seed:?} {max_output_tokens:?} {stop:?} {effort:?}")
            .as_bytes(),
    );
    match output {
        Output::Text => part(b"text"),
        Output::Json(schema) => part(schema.value.to_string().as_bytes()),
    }
    for message in messages {
        part(format!("{:?} {}", message.role, message.parts.len()).as_bytes());
        for piece in &message.parts {
            match piece {
                Part::Text(text) => part(text.as_bytes()),
                Part::Image(image) => part(image.digest().as_bytes()),
                Part::Document(document) => part(document.digest().as_bytes()),
            }
        }
    }
    *hasher.finalize().as_bytes()
}
