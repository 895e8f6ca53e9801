//! A scripted HTTP server on loopback that behaves as badly as vendors do, over real sockets.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the server does with one request.
#[derive(Debug, Clone)]
pub enum Play {
    /// A complete reply: status, further header lines, body.
    Reply(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes exactly, then the connection closes.
    Raw(Vec<u8>),
    /// A head with these header lines, then these pieces as packets of their own.
    Pieces(Vec<(&'static str, String)>, Vec<Vec<u8>>, Then),
    /// Nothing, until the client leaves.
    Silence,
    /// A head and a first byte, and then nothing until the client leaves.
    Stall,
    /// The connection breaks without a reply.
    Reset,
    /// The play behind it, after a pause.
    Late(Duration, Box<Play>),
}

/// What follows the last piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The stream ends as it should.
    End,
    /// The connection breaks.
    Break,
    /// Nothing, until the client leaves.
    Hang,
}

impl Play {
    /// A stream of server-sent events that ends as it should.
    #[must_use]
    pub fn events(pieces: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Self {
        let kind = ("content-type", "text/event-stream".to_owned());
        Self::Pieces(vec![kind], pieces.into_iter().map(Into::into).collect(), Then::End)
    }

    /// A JSON reply.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Reply(status, Vec::new(), body.to_string().into_bytes())
    }

    /// The same reply with a header more.
    #[must_use]
    pub fn header(self, name: &'static str, value: impl Into<String>) -> Self {
        match self {
            Self::Reply(status, mut headers, body) => {
                headers.push((name, value.into()));
                Self::Reply(status, headers, body)
            }
            other => other,
        }
    }
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method and path, such as `POST /v1/chat/completions`.
    pub line: String,
    /// The head below the request line, in lower case.
    pub headers: String,
    /// The body as JSON; null when it is none.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
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
        self.received().len()
    }

    /// Waits until so many clients have left while the server was silent or in the middle of a stream; false when they have not in time.
    pub async fn has_been_left(&self, times: usize, patience: Duration) -> bool {
        let mut left = self.left.clone();
        tokio::time::timeout(patience, left.wait_for(|left| *left >= times)).await.is_ok()
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&shared)));
    }
}

async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(received) = read(&mut stream).await {
        shared.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        let mut play = {
            let mut script = shared.script.lock().unwrap_or_else(PoisonError::into_inner);
            if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
        };
        while let Some(Play::Late(pause, behind)) = play {
            tokio::time::sleep(pause).await;
            play = Some(*behind);
        }
        match play {
            Some(Play::Reply(status, headers, body)) => {
                let headers: String =
                    headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}", body.len());
                let reply = [head.as_bytes(), b"content-type: application/json\r\n\r\n", &body].concat();
                if stream.write_all(&reply).await.is_err() {
                    return;
                }
            }
            Some(Play::Pieces(headers, pieces, then)) => {
                if stream_out(&mut stream, &headers, &pieces, then).await.is_err() {
                    shared.left.send_modify(|left| *left += 1);
                    return;
                }
                match then {
                    Then::End => {}
                    Then::Break => return,
                    Then::Hang => return wait_for_leave(&mut stream, &shared).await,
                }
            }
            Some(Play::Raw(bytes)) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Some(Play::Stall) => {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n{").await;
                return wait_for_leave(&mut stream, &shared).await;
            }
            Some(Play::Reset) => {
                // Closing with unsent data thrown away is what a crash looks like from outside.
                let _ = stream.set_zero_linger();
                return;
            }
            Some(Play::Silence | Play::Late(..)) | None => return wait_for_leave(&mut stream, &shared).await,
        }
    }
}

/// Each piece is a chunk and, as far as one can tell from here, a packet.
async fn stream_out(
    stream: &mut TcpStream,
    headers: &[(&'static str, String)],
    pieces: &[Vec<u8>],
    then: Then,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let headers: String = headers.iter().map(|(name, value)| [name, ": ", value, "\r\n"].concat()).collect();
    stream.write_all(format!("HTTP/1.1 200 X\r\n{headers}transfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
        stream.write_all(&chunk).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if then == Then::End { stream.write_all(b"0\r\n\r\n").await } else { Ok(()) }
}

async fn wait_for_leave(stream: &mut TcpStream, shared: &Shared) {
    let mut byte = [0];
    while matches!(stream.read(&mut byte).await, Ok(1)) {}
    shared.left.send_modify(|left| *left += 1);
}

async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    let head_ends = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        match stream.read(&mut chunk).await {
            Ok(length) if length > 0 => bytes.extend_from_slice(&chunk[..length]),
            _ => return None,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..head_ends]).into_owned();
    let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let headers = headers.to_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let ends = head_ends + 4 + length.unwrap_or(0);
    while bytes.len() < ends {
        match stream.read(&mut chunk).await {
            Ok(length) if length > 0 => bytes.extend_from_slice(&chunk[..length]),
            _ => return None,
        }
    }
    let bytes = bytes[head_ends + 4..ends].to_vec();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Some(Received { line: line.trim_end_matches(" HTTP/1.1").to_owned(), headers, body, bytes })
}
