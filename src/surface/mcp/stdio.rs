//! MCP over standard input and output: one JSON message a line.
//!
//! rmcp's own line reader drops a message that is too long without a word, and its client waits until it gives up.
//! This one finds out who asked, and answers.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rmcp::ServiceExt as _;
use rmcp::model::{ClientRequest, ErrorData, JsonRpcMessage, NumberOrString};
use rmcp::service::{RoleServer, RxJsonRpcMessage, ServerInitializeError, TxJsonRpcMessage};
use rmcp::transport::{Transport, stdio_pipes};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::asked::Asked;
use super::lines::{Line, LineReader};
use super::{LARGEST_MESSAGE, Mcp};
use crate::intake::Door;
use crate::live::Live;
use crate::supervisor::Supervisor;
use crate::surface::{DRAIN, ReloadSignal, StopSignal, reload_when_told};

/// Messages waiting in either direction.
const QUEUE: usize = 64;
/// Bytes of answers that may wait for a client that does not read; with more, nothing else is taken from it.
const UNREAD: usize = 4 << 20;
/// A client that reads nothing for so long has gone.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
const LAST_WORDS: Duration = Duration::from_secs(5);
/// From a message being taken to its call being counted, and plenty of room.
const HANDED_OVER: Duration = Duration::from_millis(100);

/// Serves until the client closes its end or the process is told to stop.
///
/// Either way, calls in the air are answered: with their answers as long as the program waits, then with an error.
pub async fn run(live: Arc<Live>, supervisor: Supervisor) -> ExitCode {
    // Listened for before anybody can know that we run.
    let (mut stop, reload) = (StopSignal::listen(), ReloadSignal::listen());
    let mcp = Mcp::new(Arc::clone(&live), Door::Stdio, supervisor.stopping().clone());
    let (input, output) = stdio_pipes();
    let closing = CancellationToken::new();
    let drained = Drain { calls: mcp.calls(), stopping: supervisor.stopping().clone(), ends: None };
    let transport = Pipes::new(input, output, closing.clone(), drained, &supervisor);
    let watching = supervisor.spawn("watch", Arc::clone(&live).watch());
    let reloading = supervisor.spawn("reload", reload_when_told(live, reload));
    let serving = async {
        match mcp.serve(transport).await {
            Ok(service) => {
                let _ = service.waiting().await;
                ExitCode::SUCCESS
            }
            // A client that only asked what we are, or left at once.
            Err(ServerInitializeError::ConnectionClosed(_)) => ExitCode::SUCCESS,
            Err(failure) => {
                error!(%failure, "the MCP handshake failed");
                ExitCode::FAILURE
            }
        }
    };
    tokio::pin!(serving);
    let ended = tokio::select! {
        code = &mut serving => Some(code),
        () = stop.told() => None,
    };
    info!("stopping");
    watching.abort();
    reloading.abort();
    closing.cancel();
    let code = if let Some(code) = ended {
        code
    } else {
        tokio::select! {
            code = &mut serving => code,
            // Told again, nobody is waited for any longer.
            () = stop.told() => {
                supervisor.stopping().cancel();
                timeout(LAST_WORDS, serving).await.unwrap_or(ExitCode::SUCCESS)
            }
        }
    };
    supervisor.shut_down(LAST_WORDS).await;
    code
}

/// The transport: two tasks, one for each direction, and queues between them and rmcp.
struct Pipes {
    incoming: mpsc::Receiver<RxJsonRpcMessage<RoleServer>>,
    outgoing: Option<mpsc::Sender<Vec<u8>>>,
    /// Bytes of answers that found no room in the queue: rmcp keeps any number of them.
    unread: watch::Sender<usize>,
    asked: Asked,
    /// Set by the first request that begins a conversation. rmcp ends the connection when anything else but a ping
    /// comes before it.
    begun: bool,
    /// Cancelled when nothing more is taken: the client has closed its end, or the process was told to stop.
    closing: CancellationToken,
    drain: Drain,
}

/// How the end comes: calls in the air are finished, and after a while ended.
struct Drain {
    calls: TaskTracker,
    stopping: CancellationToken,
    /// When those that are left are ended, once that is known.
    ends: Option<Instant>,
}

impl Drain {
    /// Waits until every call has been answered. rmcp drops this wait whenever something else happens, and begins it
    /// anew.
    async fn finish(&mut self) {
        let ends = *self.ends.get_or_insert_with(|| Instant::now() + DRAIN);
        // The last message may have been handed over, and nobody has begun with it yet.
        sleep_until(ends - DRAIN + HANDED_OVER).await;
        self.calls.close();
        if timeout_at(ends, self.calls.wait()).await.is_err() {
            self.stopping.cancel();
            let _ = timeout(LAST_WORDS, self.calls.wait()).await;
        }
    }
}

impl Pipes {
    fn new(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
        closing: CancellationToken,
        drain: Drain,
        supervisor: &Supervisor,
    ) -> Self {
        let (arrived, incoming) = mpsc::channel(QUEUE);
        let (outgoing, leaving) = mpsc::channel(QUEUE);
        let asked = Asked::default();
        supervisor.spawn("stdin", read_lines(input, arrived, outgoing.clone(), asked.clone(), closing.clone()));
        let (left, stopping) = (closing.clone(), drain.stopping.clone());
        supervisor.spawn("stdout", async move {
            if let Err(failure) = write_lines(output, leaving).await {
                warn!(%failure, "the client no longer reads: ending");
                // Answers that nobody hears are not waited for, and not paid for.
                stopping.cancel();
                left.cancel();
            }
        });
        Self { incoming, outgoing: Some(outgoing), unread: watch::Sender::new(0), asked, begun: false, closing, drain }
    }
}

impl Transport<RoleServer> for Pipes {
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let outgoing = self.outgoing.clone();
        self.asked.told(&item);
        let line = serde_json::to_vec(&item).map(|line| (Unread::counted(&self.unread, line.len()), line));
        async move {
            let closed = || std::io::Error::from(std::io::ErrorKind::NotConnected);
            let (_waiting, line) = line?;
            outgoing.ok_or_else(closed)?.send(line).await.map_err(|_| closed())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let mut unread = self.unread.subscribe();
        loop {
            let message = tokio::select! {
                biased;
                message = async {
                    let _ = unread.wait_for(|bytes| *bytes < UNREAD).await;
                    self.incoming.recv().await
                } => message,
                () = self.closing.cancelled() => None,
            };
            let Some(message) = message else {
                self.closing.cancel();
                // rmcp gives calls five seconds from here on.
                self.drain.finish().await;
                return None;
            };
            let is_ping =
                matches!(&message, JsonRpcMessage::Request(it) if matches!(it.request, ClientRequest::PingRequest(_)));
            self.begun |= matches!(message, JsonRpcMessage::Request(_)) && !is_ping;
            if self.begun || is_ping {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.outgoing = None;
        self.incoming.close();
        Ok(())
    }
}

/// Bytes that wait for a client to read, until this is dropped.
struct Unread {
    bytes: usize,
    all: watch::Sender<usize>,
}

impl Unread {
    fn counted(all: &watch::Sender<usize>, bytes: usize) -> Self {
        all.send_modify(|all| *all += bytes);
        Self { bytes, all: all.clone() }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.all.send_modify(|all| *all -= self.bytes);
    }
}

async fn write_lines(mut output: impl AsyncWrite + Unpin, mut leaving: mpsc::Receiver<Vec<u8>>) -> std::io::Result<()> {
    while let Some(mut line) = leaving.recv().await {
        line.push(b'\n');
        let writing = async {
            output.write_all(&line).await?;
            output.flush().await
        };
        timeout(WRITE_PATIENCE, writing).await??;
    }
    Ok(())
}

async fn read_lines(
    mut input: impl AsyncRead + Unpin,
    arrived: mpsc::Sender<RxJsonRpcMessage<RoleServer>>,
    answers: mpsc::Sender<Vec<u8>>,
    asked: Asked,
    closing: CancellationToken,
) {
    let mut lines = LineReader::new(LARGEST_MESSAGE);
    let mut chunk = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            read = input.read(&mut chunk) => read,
            () = arrived.closed() => return,
            () = closing.cancelled() => return,
        };
        let Ok(length) = read else { return };
        // A last line counts although nothing ends it.
        let arriving = if length == 0 { lines.take(b"\n") } else { lines.take(&chunk[..length]) };
        for line in arriving {
            match understand(line, &asked) {
                Understood::Message(message) => {
                    if arrived.send(*message).await.is_err() {
                        return;
                    }
                }
                Understood::Answer(answer) => {
                    let _ = answers.send(answer).await;
                }
                Understood::Nothing => {}
            }
        }
        if length == 0 {
            return;
        }
    }
}

enum Understood {
    Message(Box<RxJsonRpcMessage<RoleServer>>),
    Answer(Vec<u8>),
    Nothing,
}

fn understand(line: Line, asked: &Asked) -> Understood {
    let bytes = match line {
        Line::Whole(bytes) => bytes,
        Line::TooLong(id) => {
            let message = format!(
                "this message is longer than {} MiB: pass the image's path or URL instead of its data",
                LARGEST_MESSAGE >> 20
            );
            return complaint(id.and_then(usable), ErrorData::invalid_request(message, None));
        }
    };
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii();
    if text.is_empty() {
        return Understood::Nothing;
    }
    let failed = match serde_json::from_slice(text) {
        Ok(message) => return unless_again(message, asked),
        Err(failed) => failed,
    };
    if !failed.is_data() {
        // Not JSON, so there is nobody to answer; as other servers do, it is passed over.
        debug!("a line on standard input is not JSON");
        return Understood::Nothing;
    }
    let message: Value = serde_json::from_slice(text).unwrap_or_default();
    match message.get("id").cloned() {
        // A notification that nobody knows asks for no answer.
        None if message.get("method").is_some() => Understood::Nothing,
        id => complaint(
            id.and_then(usable),
            ErrorData::invalid_request("this is not a message that MCP knows; batches are not taken", None),
        ),
    }
}

/// The message, unless it is a request with the id of another one that is being answered.
fn unless_again(message: RxJsonRpcMessage<RoleServer>, asked: &Asked) -> Understood {
    match asked.again(&message) {
        None => Understood::Message(Box::new(message)),
        Some(id) => {
            let message = "another request with this id has no answer yet: give each request an id of its own";
            complaint(Some(id), ErrorData::invalid_request(message, None))
        }
    }
}

/// An id as it stands in a message, if it can be one.
fn usable(id: Value) -> Option<NumberOrString> {
    serde_json::from_value(id).ok()
}

/// A JSON-RPC error as a line.
fn complaint(id: Option<NumberOrString>, error: ErrorData) -> Understood {
    let message: TxJsonRpcMessage<RoleServer> = JsonRpcMessage::error(error, id);
    serde_json::to_vec(&message).map_or(Understood::Nothing, Understood::Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_ends_the_conversation_and_what_is_done_for_it() {
        let (mut client, input) = tokio::io::duplex(1024);
        // It has room for the beginning of an answer, and nobody reads it.
        let (_unread, output) = tokio::io::duplex(16);
        let (stopping, closing, supervisor) =
            (CancellationToken::new(), CancellationToken::new(), Supervisor::default());
        let calls = TaskTracker::new();
        let drain = Drain { calls: calls.clone(), stopping: stopping.clone(), ends: None };
        let mut lines = Pipes::new(input, output, closing, drain, &supervisor);
        let working = calls.track_future(stopping.clone().cancelled_owned());
        supervisor.spawn("call", working);
        client.write_all(b"{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"tools/list\"}\n").await.expect("it reads");
        assert!(lines.receive().await.is_some());
        let answer = JsonRpcMessage::error(ErrorData::invalid_request("no", None), Some(NumberOrString::Number(1)));
        let (sent, next, began) = (lines.send(answer), lines.receive(), Instant::now());
        let (sent, next) = tokio::join!(sent, next);
        assert!(sent.is_ok() && next.is_none() && stopping.is_cancelled());
        let took = began.elapsed();
        assert!((WRITE_PATIENCE..WRITE_PATIENCE + LAST_WORDS).contains(&took), "{took:?}");
    }
}
