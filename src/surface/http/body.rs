//! Bodies: read whole, within bounds on size and time, before anything is done with them.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt as _;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout, timeout_at};
use vision_providers::request::Caller;

use super::{held_while_told, images, refusal};
use crate::failure::{Code, Failure};
use crate::gateway::Asker;
use crate::shares::{Held, Pool};
use crate::surface::mcp::LARGEST_MESSAGE;

const BODY_IDLE: Duration = Duration::from_secs(10);
const BODY_TOTAL: Duration = Duration::from_secs(30);
const BODIES_KIB: u32 = 512 << 10;
/// A body up to this size is no danger, whatever it holds, and takes no room: connections are counted. So nobody waits
/// with a few words behind those who wait for room for their pictures.
const HARMLESS: usize = 64 << 10;
/// A body up to this size is worked with on the spot.
const SMALL: usize = 1 << 20;
/// Room is taken in pieces of so many bytes, for bodies that do not say how long they are.
const PIECE: usize = 256 << 10;

/// Reads the body whole. All large bodies together have a bound too: one that finds no room in time is turned away before
/// it is read. Of the room, a quarter is kept free of any one caller with a key.
pub(super) async fn whole(
    State(memory): State<BodyMemory>,
    Extension(asker): Extension<Asker>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let refused = |failure: &Failure| refusal::closing(refusal::of(&path, failure));
    if parts.headers.contains_key(CONTENT_ENCODING) {
        let failure = Failure::new(Code::UnsupportedFormat, "the body has a content encoding");
        return refused(&failure.advise("send it without one"));
    }
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > LARGEST_MESSAGE) {
        return refused_with(&Unread::TooLarge, &path);
    }
    let no_room = || {
        let failure = Failure::new(Code::Overloaded, "too much is being received").retryable();
        refused(&failure.advise("try again in some seconds"))
    };
    let mut room = Room::new(&memory, &asker.caller);
    // Of a body that says how long it is, all is known; others take room as they come.
    if room.hold(length.unwrap_or(0)).await.is_none() {
        return no_room();
    }
    match read(body, length.unwrap_or(0), &mut room).await {
        Ok(body) => {
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            // What came is still there while an answer is being told.
            held_while_told(response, room.held)
        }
        Err(Unread::NoRoom) => no_room(),
        Err(unread) => refused_with(&unread, &path),
    }
}

fn refused_with(unread: &Unread, path: &str) -> Response {
    let most = LARGEST_MESSAGE >> 20;
    let response = match unread {
        Unread::Slow => {
            refusal::with_status(path, 408, &Failure::invalid("the body did not arrive in time").retryable())
        }
        Unread::Broken | Unread::NoRoom => refusal::of(path, &Failure::invalid("the body broke off")),
        Unread::TooLarge => {
            let message = format!("the body is larger than {most} MiB, the most that is taken");
            let advice = if path == images::PATH {
                format!("send a smaller picture: scaled down, or as a JPEG of less than {most} MiB")
            } else {
                format!(
                    "pass the image's URL instead of its data, or upload it to {} ({most} MiB at most)",
                    images::PATH
                )
            };
            refusal::of(path, &Failure::new(Code::ImageTooLarge, message).advise(advice))
        }
    };
    refusal::closing(response)
}

/// How large a body is that has been read.
pub(super) fn size(request: &Request) -> u64 {
    request.body().size_hint().lower()
}

/// Begins work on a body that is there, where it keeps nobody else waiting: reading a large one takes a while, and what
/// reads it may do so at once.
pub(super) async fn begun<T>(bytes: u64, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let is_alone = Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread;
    if bytes <= SMALL as u64 || is_alone {
        return work.await;
    }
    match poll_fn(|ctx| Poll::Ready(block_in_place(|| work.as_mut().poll(ctx)))).await {
        Poll::Ready(done) => done,
        Poll::Pending => work.await,
    }
}

/// Why a body was not read to its end.
enum Unread {
    Slow,
    NoRoom,
    Broken,
    TooLarge,
}

/// Room for the bodies in the air, in KiB.
#[derive(Debug, Clone)]
pub(super) struct BodyMemory(Arc<Pool>);

impl Default for BodyMemory {
    fn default() -> Self {
        Self(Arc::new(Pool::new(BODIES_KIB as usize)))
    }
}

/// The room that one body takes.
struct Room<'a> {
    memory: &'a BodyMemory,
    caller: &'a Caller,
    held: Option<Held>,
}

impl<'a> Room<'a> {
    fn new(memory: &'a BodyMemory, caller: &'a Caller) -> Self {
        Self { memory, caller, held: None }
    }

    /// Takes what is missing for so many bytes, in pieces; `None` when it does not come in time.
    async fn hold(&mut self, bytes: usize) -> Option<()> {
        let held = HARMLESS + self.held.as_ref().map_or(0, Held::many) * 1024;
        let missing = bytes.saturating_sub(held).div_ceil(PIECE) * PIECE / 1024;
        let Some(missing) = u32::try_from(missing).ok().filter(|missing| *missing > 0) else { return Some(()) };
        let more = timeout(BODY_IDLE, self.memory.0.next(self.caller, missing)).await.ok()?;
        match &mut self.held {
            Some(held) => held.add(more),
            None => self.held = Some(more),
        }
        Some(())
    }
}

/// Reads a body that is said to be so long.
async fn read(mut body: Body, length: usize, room: &mut Room<'_>) -> Result<Bytes, Unread> {
    let deadline = Instant::now() + BODY_TOTAL;
    // What grows is copied again and again.
    let mut bytes = BytesMut::with_capacity(length);
    loop {
        let frame = timeout_at(deadline, timeout(BODY_IDLE, body.frame())).await;
        let Ok(Ok(frame)) = frame else { return Err(Unread::Slow) };
        let Some(frame) = frame else { return Ok(bytes.freeze()) };
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > LARGEST_MESSAGE {
            return Err(Unread::TooLarge);
        }
        room.hold(bytes.len() + data.len()).await.ok_or(Unread::NoRoom)?;
        bytes.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn work_on_a_large_body_does_not_keep_the_only_thread_from_others() {
        let supervisor = crate::supervisor::Supervisor::default();
        let (seen, is_seen) = tokio::sync::oneshot::channel();
        let others = supervisor.clone();
        let working = async move {
            let (sender, receiver) = std::sync::mpsc::channel();
            others.spawn("another", async move { sender.send(()).expect("it waits") });
            // Waits where it stands, as work does.
            let was_served = receiver.recv_timeout(Duration::from_secs(10)).is_ok();
            tokio::task::yield_now().await;
            was_served
        };
        supervisor.spawn("work", async move { seen.send(begun(SMALL as u64 + 1, working).await).expect("it waits") });
        assert_eq!(is_seen.await, Ok(true));
        assert_eq!(begun(SMALL as u64, async { 5 }).await, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_although_more_comes() {
        let dripping = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::convert::Infallible>("x"), ()))
        });
        let (memory, caller, began) = (BodyMemory::default(), Caller::local(), Instant::now());
        let outcome = read(Body::from_stream(dripping), 0, &mut Room::new(&memory, &caller)).await;
        assert!(matches!(outcome, Err(Unread::Slow)));
        assert_eq!(began.elapsed(), BODY_TOTAL);
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_do_not_wait_for_room_behind_large_ones() {
        let memory = BodyMemory::default();
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Caller::named(name.into()));
        let most = LARGEST_MESSAGE - HARMLESS;
        let mut rooms = Vec::new();
        for caller in [&alice, &alice, &alice, &alice, &alice, &alice, &bob, &bob, &bob, &bob] {
            let mut room = Room::new(&memory, caller);
            room.hold(most).await.expect("both together have nearly all of it");
            rooms.push(room);
        }
        let (mut waiting, mut small) = (Room::new(&memory, &bob), Room::new(&memory, &carol));
        let read = async {
            let began = Instant::now();
            // It does not say how long it is.
            let read = read(Body::from(vec![b' '; HARMLESS]), 0, &mut small).await;
            (read.is_ok(), began.elapsed())
        };
        let (waited, read) = tokio::join!(waiting.hold(most), read);
        assert_eq!((waited, read), (None, (true, Duration::ZERO)));
        drop(rooms);
        assert_eq!(memory.0.next(&bob, BODIES_KIB / 2).await.many(), BODIES_KIB as usize / 2, "all of it comes back");
    }
}
