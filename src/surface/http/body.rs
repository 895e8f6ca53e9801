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

use super::refusal;
use crate::failure::{Code, Failure};
use crate::gateway::Asker;
use crate::shares::{Held, Pool};
use crate::surface::mcp::LARGEST_MESSAGE;

const BODY_IDLE: Duration = Duration::from_secs(10);
const BODY_TOTAL: Duration = Duration::from_secs(30);
const BODIES_KIB: u32 = 512 << 10;
/// A body up to this size is worked with on the spot.
const SMALL: usize = 1 << 20;
/// Room is taken in pieces of so many KiB, for bodies that do not say how long they are.
const PIECE_KIB: u32 = 256;

/// Reads the body whole. All bodies together have a bound too: one that finds no room in time is turned away before it is
/// read. Of the room, a quarter is kept free of any one caller with a key.
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
    // Of a body that says how long it is, all is known; others take room as they come.
    let Some(mut room) = memory.room(&asker.caller, length.unwrap_or(0)).await else { return no_room() };
    match read(body, length.unwrap_or(0), &memory, &asker.caller, &mut room).await {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(Unread::NoRoom) => no_room(),
        Err(unread) => refused_with(&unread, &path),
    }
}

fn refused_with(unread: &Unread, path: &str) -> Response {
    let response = match unread {
        Unread::Slow => {
            refusal::with_status(path, 408, &Failure::invalid("the body did not arrive in time").retryable())
        }
        Unread::Broken | Unread::NoRoom => refusal::of(path, &Failure::invalid("the body broke off")),
        Unread::TooLarge => {
            let message = format!("the body is larger than {} MiB", LARGEST_MESSAGE >> 20);
            let failure = Failure::new(Code::ImageTooLarge, message);
            refusal::of(path, &failure.advise("pass the image's URL instead of its data, or upload it to /v1/images"))
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

impl BodyMemory {
    async fn room(&self, caller: &Caller, bytes: usize) -> Option<Held> {
        let share = u32::try_from(bytes.min(LARGEST_MESSAGE) / 1024).unwrap_or(BODIES_KIB).clamp(1, BODIES_KIB);
        self.take(caller, share).await
    }

    async fn take(&self, caller: &Caller, kib: u32) -> Option<Held> {
        timeout(BODY_IDLE, self.0.next(caller, kib)).await.ok()
    }
}

/// Reads a body that is said to be so long.
async fn read(
    mut body: Body,
    length: usize,
    memory: &BodyMemory,
    caller: &Caller,
    room: &mut Held,
) -> Result<Bytes, Unread> {
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
        while (bytes.len() + data.len()).div_ceil(1024) > room.many() + 1 {
            room.add(memory.take(caller, PIECE_KIB).await.ok_or(Unread::NoRoom)?);
        }
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
        let mut room = memory.room(&caller, 0).await.expect("there is room");
        let outcome = read(Body::from_stream(dripping), 0, &memory, &caller, &mut room).await;
        assert!(matches!(outcome, Err(Unread::Slow)));
        assert_eq!(began.elapsed(), BODY_TOTAL);
    }
}
