//! Whether a client is still there, whatever it sent before it left.
//!
//! hyper finds that out by reading, which it does not while something lies in its buffer: a client that sent the first byte
//! of a next request and left would be waited on, and a vendor be paid, for nobody. And where it does read, it takes the
//! end of what a client sends for the end of the client at once.
//!
//! Whoever leaves and whoever only ends their sending look the same until something is written to them, and an answer is
//! written at its end. So both have gone after a while that is short beside a model's answer: a client that ends its sending
//! with its request (`nc -N`) is answered what needs no model, and gets no more.

use std::future::pending;
use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

/// Whether it is told without reading that a client has ended its sending.
pub(super) const IS_TOLD: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// From the end of what a client sends to the end of its connection: what it sent before is still read, and answered where
/// that is quick.
const GRACE: Duration = Duration::from_millis(500);

/// The half of a connection that is read, of which somebody else can watch the end. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Incoming(Arc<OwnedReadHalf>);

impl Incoming {
    pub(super) fn new(half: OwnedReadHalf) -> Self {
        Self(Arc::new(half))
    }

    fn socket(&self) -> &TcpStream {
        (*self.0).as_ref()
    }

    /// Until the client has closed its end and some time has passed. Systems other than Linux say so only to those who
    /// read: there, it never ends.
    pub(super) async fn left(&self) {
        if self.is_closed().await {
            tokio::time::sleep(GRACE).await;
        } else {
            pending::<()>().await;
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    async fn is_closed(&self) -> bool {
        // Unlike readiness to read, this does not come with bytes that nobody fetches.
        let ready = self.0.ready(tokio::io::Interest::PRIORITY).await;
        ready.is_ok_and(tokio::io::Ready::is_read_closed)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    async fn is_closed(&self) -> bool {
        pending().await
    }
}

impl AsyncRead for Incoming {
    fn poll_read(self: Pin<&mut Self>, ctx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        loop {
            ready!(self.socket().poll_read_ready(ctx))?;
            match self.socket().try_read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|length| buffer.advance(length))),
            }
        }
    }
}
