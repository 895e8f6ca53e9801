//! The accept loop: so many connections and no more, with a deadline on everything that a client can drag out.
//!
//! axum's own server installs no timer, so every slow client would hold its connection for ever. This one speaks
//! HTTP/1 only, because the automatic choice waits without end for a client that says nothing.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::presence::{IS_TOLD, Incoming};
use super::refusal;
use crate::failure::{Code, Failure};
use crate::metrics::{Metrics, Raised, Shed};
use crate::supervisor::Supervisor;

/// From a connection to the end of its first head.
const HEADERS: Duration = Duration::from_secs(5);
/// From an answer to the end of the next head: clients keep connections for their next calls.
const IDLE: Duration = Duration::from_secs(30);
/// A client that takes nothing for so long has gone.
const WRITE_IDLE: Duration = Duration::from_secs(30);
/// How long a client that was answered may go on sending what nobody reads any more, in all and between two pieces.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_IDLE: Duration = Duration::from_secs(2);
const LARGEST_HEADERS: usize = 32 << 10;
const MOST_HEADERS: usize = 64;
/// Clients that are told at once that there is no place for them; those beyond are turned away without a word.
const TOLD_AT_ONCE: usize = 64;

/// How many connections there are, in all and by address.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    all: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most_by_address: usize,
    told: Arc<Semaphore>,
    metrics: Metrics,
}

impl Connections {
    pub(super) fn new(most: usize, most_by_address: usize, metrics: Metrics) -> Self {
        let all = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        let told = Arc::new(Semaphore::new(TOLD_AT_ONCE));
        Self { all, by_address: Arc::default(), most_by_address, told, metrics }
    }

    fn admit(&self, address: IpAddr) -> Option<Seat> {
        let address = address.to_canonical();
        let is_loopback = address.is_loopback();
        let address = network(address);
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_address.entry(address).or_default();
        // Everybody on this machine has one address.
        if *count >= self.most_by_address && !is_loopback {
            return None;
        }
        *count += 1;
        Some(Seat { connections: self.clone(), address, _permit: permit, _counted: self.metrics.connection() })
    }
}

/// What counts as one address: of the newer kind, everybody has as many as they like within a network.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
    }
}

/// A connection's place, given back when dropped.
struct Seat {
    connections: Connections,
    address: IpAddr,
    _permit: tokio::sync::OwnedSemaphorePermit,
    _counted: Raised,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut by_address = self.connections.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

/// Takes connections until it is dropped.
pub(super) async fn accept(
    listener: TcpListener,
    routes: Router,
    connections: Connections,
    supervisor: &Supervisor,
    draining: &CancellationToken,
) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(failure) => {
                // Out of file descriptors, most likely: waiting helps, spinning does not.
                error!(%failure, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(seat) = connections.admit(peer.ip()) else {
            connections.metrics.shed(Shed::Connections);
            debug!(address = %peer.ip(), "too many connections: one was turned away");
            if let Ok(place) = Arc::clone(&connections.told).try_acquire_owned() {
                let telling = converse(stream, Router::new().fallback(full), draining.clone());
                supervisor.spawn("refusal", async move {
                    telling.await;
                    drop(place);
                });
            }
            continue;
        };
        let connection = converse(stream, routes.clone(), draining.clone());
        supervisor.spawn("connection", async move {
            connection.await;
            drop(seat);
        });
    }
}

/// Tells a client that there is no place for it, in the shape that it reads.
async fn full(request: Request) -> Response {
    let failure = Failure::new(Code::Overloaded, "there are too many connections").retryable();
    let advice = "use fewer at once and try again in some seconds; the operator can raise \
                  `server.connections_per_address` and `server.max_connections`";
    refusal::closing(refusal::of(request.uri().path(), &failure.advise(advice)))
}

async fn converse(stream: TcpStream, routes: Router, draining: CancellationToken) {
    // Without it, small answers wait 40 ms for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let (reading, writing) = stream.into_split();
    let incoming = Incoming::new(reading);
    let mut stream = Box::pin(TimeoutStream::new(join(incoming.clone(), writing)));
    stream.as_mut().set_write_timeout_pinned(Some(WRITE_IDLE));
    let routes = TowerToHyperService::new(routes);
    let asked = CancellationToken::new();
    let asks = asked.clone();
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(LARGEST_HEADERS)
        .max_headers(MOST_HEADERS)
        // Where it is told, who has left is found below, and not before there was time for a quick answer.
        .half_close(IS_TOLD)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| {
                asks.cancel();
                Box::pin(routes.call(request))
            }),
        );
    let served = async {
        tokio::select! {
            outcome = poll_fn(|ctx| connection.poll_without_shutdown(ctx)) => return outcome,
            () = draining.cancelled() => {}
        }
        Pin::new(&mut connection).graceful_shutdown();
        poll_fn(|ctx| connection.poll_without_shutdown(ctx)).await
    };
    tokio::select! {
        outcome = served => if let Err(failure) = outcome {
            debug!(%failure, "a connection ended early");
        },
        // Whoever has left is not answered, and what was begun for them ends with this.
        () = incoming.left() => return,
        () = nothing_asked(&asked) => debug!("a client asked for nothing in time"),
    }
    let stream = connection.into_parts().io.into_inner();
    tokio::select! {
        _ = timeout(LINGER, linger(stream)) => {}
        () = draining.cancelled() => {}
    }
}

/// Until the time for a first request is over, if there was none.
async fn nothing_asked(asked: &CancellationToken) {
    if timeout(HEADERS, asked.cancelled()).await.is_ok() {
        pending::<()>().await;
    }
}

/// Lets a client that is still sending read its answer: a connection that is closed on what was not read is reset, and the
/// answer is lost on its way.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut unwanted = vec![0; 16 << 10];
    if stream.shutdown().await.is_ok() {
        while let Ok(Ok(1..)) = timeout(LINGER_IDLE, stream.read(&mut unwanted)).await {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let connections = Connections::new(100, 60, Metrics::default());
        let address = |last| IpAddr::from([192, 0, 2, last]);
        let taken = |address| std::iter::from_fn(|| connections.admit(address)).collect::<Vec<_>>();
        let mut of_one = taken(address(1));
        assert_eq!(of_one.len(), 60);
        let of_another = taken(address(2));
        assert_eq!(of_another.len(), 40, "all of them together");
        drop(of_another);
        assert!(connections.admit(address(1)).is_none(), "others' places are not theirs");
        of_one.pop();
        assert!(connections.admit(address(1)).is_some(), "a place that is given back is free");
        drop(of_one);
        assert_eq!(taken(IpAddr::from([127, 0, 0, 1])).len(), 100, "everybody on this machine has one address");
        assert!(connections.by_address.lock().expect("nobody panics").is_empty());
    }
}
