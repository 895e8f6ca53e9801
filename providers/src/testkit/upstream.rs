//! A scripted HTTP server on loopback that behaves as badly as vendors do, over real sockets.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::play::{Play, Then};

/// How long a reply to a request that was not read stands alone before the rest of the request is read.
const LINGER: Duration = Duration::from_millis(500);

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method and path, such as `POST /v1/chat/completions`.
    pub line: String,
    /// The head below the request line, in lower case.
    pub headers: String,
    /// The body as JSON; null when it is none, or was not read.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
    /// When it was there.
    pub at: Instant,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

/// The server. It plays its script in order, and the last play for ever; dropping it closes its sockets.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    left: watch::Receiver<usize>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<VecDeque<Play>>,
    received: Mutex<Vec<Received>>,
    left: watch::Sender<usize>,
    /// Bytes of streams without an end that found a taker.
    written: AtomicUsize,
    /// Bytes that came although they were not wanted any more.
    unwanted: AtomicUsize,
}

impl Upstream {
    /// Starts a server that plays this script.
    #[expect(clippy::expect_used, reason = "a test without loopback cannot go on")]
    pub async fn start(script: impl IntoIterator<Item = Play>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let address = listener.local_addr().expect("its address");
        let (sender, left) = watch::channel(0);
        let shared = Arc::new(Shared {
            script: Mutex::new(script.into_iter().collect()),
            received: Mutex::default(),
            left: sender,
            written: AtomicUsize::new(0),
            unwanted: AtomicUsize::new(0),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared, left, _serving: serving }
    }

    /// The address to put before a path, such as `/v1`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that arrived so far.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests arrived so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.received.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Forgets what arrived so far, and says how much that was: who runs for hours has to.
    #[must_use]
    pub fn forget(&self) -> usize {
        std::mem::take(&mut *self.shared.received.lock().unwrap_or_else(PoisonError::into_inner)).len()
    }

    /// How many bytes of streams without an end were written, buffers of the system included.
    #[must_use]
    pub fn written(&self) -> usize {
        self.shared.written.load(Ordering::SeqCst)
    }

    /// How many bytes of bodies that were not read came all the same, buffers of the system included.
    #[must_use]
    pub fn unwanted(&self) -> usize {
        self.shared.unwanted.load(Ordering::SeqCst)
    }

    /// Waits until so many clients have left while the server was silent or in the middle of a reply; false when they have not in time.
    pub async fn has_been_left(&self, times: usize, patience: Duration) -> bool {
        let mut left = self.left.clone();
        timeout(patience, left.wait_for(|left| *left >= times)).await.is_ok()
    }
}

impl Shared {
    fn next(&self) -> Play {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let play = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
        play.unwrap_or(Play::Silence)
    }

    /// Writes a request down, and says how many came before it.
    fn note(&self, received: Received) -> usize {
        let mut all = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(received);
        all.len() - 1
    }

    fn is_left(&self) {
        self.left.send_modify(|left| *left += 1);
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&shared), number));
        number += 1;
        // What has ended need not be kept until the end.
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>, connection: usize) {
    while let Some(head) = Head::read(&mut stream).await {
        let play = shared.next();
        let is_unread = matches!(play, Play::Unread(_));
        let bytes = if is_unread { Vec::new() } else { head.body(&mut stream).await };
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let received = Received { line: head.line, headers: head.headers, body, bytes, at: Instant::now(), connection };
        let number = shared.note(received.clone());
        let (play, is_last) = chosen(play, &received, number).await;
        let Ok(then) = perform(&mut stream, &shared, play).await else { return shared.is_left() };
        match then {
            Then::End if is_unread => {
                // The client has some time to see that nobody reads what it sends.
                sleep(LINGER).await;
                return wait_for_leave(&mut stream, &shared).await;
            }
            Then::End if !is_last => {}
            Then::End | Then::Break => return,
            Then::Hang => return wait_for_leave(&mut stream, &shared).await,
        }
    }
}

/// What is played after all, and whether the connection closes after it.
async fn chosen(mut play: Play, received: &Received, number: usize) -> (Play, bool) {
    let mut is_last = false;
    loop {
        play = match play {
            Play::Unread(behind) => *behind,
            Play::Decide(decide) => (decide.0)(received, number),
            Play::Late(pause, behind) => {
                sleep(pause).await;
                *behind
            }
            Play::Last(behind) => {
                is_last = true;
                *behind
            }
            play => return (play, is_last),
        }
    }
}

async fn perform(stream: &mut TcpStream, shared: &Shared, play: Play) -> io::Result<Then> {
    stream.set_nodelay(true)?;
    match play {
        Play::Reply(status, headers, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{}", lines(&headers));
            let reply = [head.as_bytes(), b"content-type: application/json\r\n\r\n", &body].concat();
            stream.write_all(&reply).await?;
            Ok(Then::End)
        }
        Play::Pieces(headers, pieces, then) => {
            let head = format!("HTTP/1.1 200 X\r\n{}transfer-encoding: chunked\r\n\r\n", lines(&headers));
            stream.write_all(head.as_bytes()).await?;
            // Each piece is a chunk and, as far as one can tell from here, a packet.
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
                stream.write_all(&chunk).await?;
                sleep(Duration::from_millis(1)).await;
            }
            if then == Then::End {
                stream.write_all(b"0\r\n\r\n").await?;
            }
            Ok(then)
        }
        Play::Raw(bytes) => {
            let _ = stream.write_all(&bytes).await;
            Ok(Then::Break)
        }
        Play::Drip(bytes, pause, then) => {
            let step = if pause.is_zero() { bytes.len().max(1) } else { 1 };
            for piece in bytes.chunks(step) {
                stream.write_all(piece).await?;
                sleep(pause).await;
            }
            Ok(then)
        }
        Play::Endless(head, again, pause) => {
            stream.write_all(&head).await?;
            loop {
                shared.written.fetch_add(stream.write(&again).await?, Ordering::SeqCst);
                sleep(pause).await;
            }
        }
        Play::Stall => {
            let _ = stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n{").await;
            Ok(Then::Hang)
        }
        Play::Reset => {
            // Closing with unsent data thrown away is what a crash looks like from outside.
            let _ = stream.set_zero_linger();
            Ok(Then::Break)
        }
        // The others have chosen one of those above.
        Play::Silence | Play::Late(..) | Play::Last(_) | Play::Unread(_) | Play::Decide(_) => Ok(Then::Hang),
    }
}

fn lines(headers: &[(&'static str, String)]) -> String {
    headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect()
}

/// Waits until the client has left, and counts what it sends until then although nobody wants it.
async fn wait_for_leave(stream: &mut TcpStream, shared: &Shared) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        shared.unwanted.fetch_add(length, Ordering::SeqCst);
    }
    shared.is_left();
}

/// The head of a request, and what came with it of its body.
struct Head {
    line: String,
    headers: String,
    begun: Vec<u8>,
}

impl Head {
    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        let ends = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            match stream.read(&mut chunk).await {
                Ok(length) if length > 0 => bytes.extend_from_slice(&chunk[..length]),
                _ => return None,
            }
        };
        let head = String::from_utf8_lossy(&bytes[..ends]).into_owned();
        let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
        let line = line.trim_end_matches(" HTTP/1.1").to_owned();
        Some(Self { line, headers: headers.to_lowercase(), begun: bytes.split_off(ends + 4) })
    }

    /// The body, as far as it comes.
    async fn body(&self, stream: &mut TcpStream) -> Vec<u8> {
        let length = self.headers.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length = length.and_then(|length| length.trim().parse::<usize>().ok()).unwrap_or(0);
        let mut bytes = self.begun.clone();
        let mut chunk = vec![0; 64 << 10];
        while bytes.len() < length {
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => bytes.extend_from_slice(&chunk[..read]),
                _ => break,
            }
        }
        bytes
    }
}
