//! Answers as server-sent events: what is said while it is said, and then how it ended.
//!
//! The call lives in the stream that tells of it, so a client who leaves cancels it down to the vendor's socket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{Stream, StreamExt as _, iter, unfold};
use serde_json::Value;
use tokio::sync::mpsc;

/// Proxies and clients give up on connections that say nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Pieces that may wait for a client that reads slowly.
const PIECES: usize = 64;

/// Something that is told while a call goes on, and how it ended.
pub(super) enum Told<P, T> {
    Piece(P),
    End(T),
}

type Call<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct Telling<P, T> {
    call: Option<Call<T>>,
    said: mpsc::Receiver<P>,
    end: Option<T>,
}

/// What a call says, and its end after all of that.
pub(super) fn told<P: Send + 'static, T: Send + 'static, F>(
    call: impl FnOnce(mpsc::Sender<P>) -> F,
) -> impl Stream<Item = Told<P, T>> + Send
where
    F: Future<Output = T> + Send + 'static,
{
    let (sender, said) = mpsc::channel(PIECES);
    unfold(Telling { call: Some(Box::pin(call(sender))), said, end: None }, next)
}

async fn next<P, T>(mut telling: Telling<P, T>) -> Option<(Told<P, T>, Telling<P, T>)> {
    loop {
        let Some(call) = telling.call.as_mut() else {
            // The call is over and its sender gone: what waits is said, and then the end.
            return match telling.said.recv().await {
                Some(piece) => Some((Told::Piece(piece), telling)),
                None => telling.end.take().map(|end| (Told::End(end), telling)),
            };
        };
        tokio::select! {
            biased;
            Some(piece) = telling.said.recv() => return Some((Told::Piece(piece), telling)),
            end = call => {
                telling.end = Some(end);
                telling.call = None;
            }
        }
    }
}

/// JSON on what every client takes for one line: some split at separators that JSON leaves as they are.
pub(super) fn one_line(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        return text;
    }
    text.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// A response that tells. A call that fails before it said anything is refused like any other.
pub(super) async fn response<P: Send + 'static, T: Send + 'static, E>(
    telling: impl Stream<Item = Told<P, Result<T, E>>> + Send + 'static,
    refused: impl FnOnce(E) -> Response,
    mut tell: impl FnMut(Told<P, Result<T, E>>) -> Vec<Event> + Send + 'static,
) -> Response
where
    E: Send + 'static,
{
    let mut telling = Box::pin(telling);
    let first = match telling.next().await {
        Some(Told::End(Err(failure))) => return refused(failure),
        first => first,
    };
    let events = iter(first).chain(telling).flat_map(move |told| iter(tell(told))).map(Ok::<_, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Some proxies keep back what they are told until they have enough of it.
    response.headers_mut().insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    response
}
