//! Answers as server-sent events: what is said while it is said, and then how it ended.
//!
//! The call lives in the stream that tells of it, so a client who leaves cancels it down to the vendor's socket.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{Stream, StreamExt as _, iter, unfold};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::fault;
use crate::failure::{Failure, Result};
use crate::metrics::Metrics;

/// Proxies and clients give up on connections that say nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// So long a response waits for its first piece, because until then a failure can have a status of its own.
const FIRST_PIECE: Duration = Duration::from_secs(5);
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

/// A response that tells. A call that soon fails, before it said anything, is refused like any other. Of whoever has
/// nothing to say for longer, the headers are sent; from then on comments keep the connection, and a failure is told.
pub(super) async fn response<P: Send + 'static, T: Send + 'static>(
    telling: impl Stream<Item = Told<P, Result<T>>> + Send + 'static,
    metrics: Metrics,
    refused: impl FnOnce(Failure) -> Response,
    mut tell: impl FnMut(Told<P, Result<T>>) -> Vec<Event> + Send + 'static,
) -> Response {
    // Nobody else would notice: the request has been answered when its stream is read.
    let caught = AssertUnwindSafe(telling).catch_unwind();
    let mut telling = Box::pin(caught.map(move |told| told.unwrap_or_else(|_| Told::End(Err(fault(&metrics))))));
    let first = match timeout(FIRST_PIECE, telling.next()).await {
        Ok(Some(Told::End(Err(failure)))) => return refused(failure),
        Ok(first) => first,
        Err(_) => None,
    };
    let events = iter(first).chain(telling).flat_map(move |told| iter(tell(told))).map(Ok::<_, Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Some proxies keep back what they are told until they have enough of it.
    response.headers_mut().insert("x-accel-buffering", http::HeaderValue::from_static("no"));
    response
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::BodyExt as _;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::failure::Code;

    const SECOND: Duration = Duration::from_secs(1);

    /// A response that tells of a call; with it, what was counted.
    async fn telling<F>(call: impl FnOnce(mpsc::Sender<&'static str>) -> F + 'static) -> (Response, Metrics)
    where
        F: Future<Output = Result<&'static str>> + Send + 'static,
    {
        let metrics = Metrics::default();
        let refused = |failure: Failure| (StatusCode::BAD_GATEWAY, failure.code.name()).into_response();
        let tell = |told: Told<&str, Result<&str>>| match told {
            Told::Piece(text) => vec![Event::default().data(text)],
            Told::End(Ok(text)) => vec![Event::default().event("answer").data(text)],
            Told::End(Err(failure)) => vec![Event::default().event("error").data(failure.code.name())],
        };
        (response(told(call), metrics.clone(), refused, tell).await, metrics)
    }

    /// What a body says, and after how many seconds.
    async fn heard(response: Response) -> Vec<(u64, String)> {
        let (began, mut body, mut heard) = (Instant::now(), response.into_body(), Vec::new());
        while let Some(frame) = body.frame().await {
            let said = frame.expect("a frame").into_data().expect("data");
            heard.push((began.elapsed().as_secs(), String::from_utf8_lossy(&said).into_owned()));
        }
        heard
    }

    fn panics(metrics: &Metrics) -> bool {
        metrics.text().contains("visiongate_panics_total 1")
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_soon_is_refused_and_who_fails_later_says_so_in_an_event() {
        let failing = |after: u32| {
            async move |_sender: mpsc::Sender<&'static str>| {
                sleep(SECOND * after).await;
                Err(Failure::new(Code::UpstreamTimeout, "waiting for an answer"))
            }
        };
        let (soon, _) = telling(failing(4)).await;
        assert_eq!(soon.status(), StatusCode::BAD_GATEWAY);
        let began = Instant::now();
        let (late, metrics) = telling(failing(32)).await;
        assert_eq!((late.status(), began.elapsed().as_secs()), (StatusCode::OK, 5), "headers do not wait");
        let comment = |after| (after, ":\n\n".to_owned());
        let expected = [comment(10), comment(20), (27, "event: error\ndata: UPSTREAM_TIMEOUT\n\n".to_owned())];
        assert_eq!(heard(late).await, expected);
        assert!(!panics(&metrics));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_pieces_is_filled_with_comments() {
        let (response, _) = telling(async |sender| {
            sender.send("a").await.expect("somebody listens");
            sleep(SECOND * 15).await;
            sender.send("b").await.expect("somebody listens");
            Ok("ab")
        })
        .await;
        let said: Vec<_> = heard(response).await;
        let times: Vec<_> = said.iter().map(|(after, text)| (*after, text.trim())).collect();
        assert_eq!(times, [(0, "data: a"), (10, ":"), (15, "data: b"), (15, "event: answer\ndata: ab")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_counted_and_ends_the_stream_with_an_error() {
        let panicking = |after: u32, said: &'static [&'static str]| {
            async move |sender: mpsc::Sender<&'static str>| {
                for text in said {
                    sender.send(*text).await.expect("somebody listens");
                }
                sleep(SECOND * after).await;
                assert!(said.len() > 5, "on purpose");
                Ok("never")
            }
        };
        let (response, metrics) = telling(panicking(1, &["a"])).await;
        let said: String = heard(response).await.into_iter().map(|(_, text)| text).collect();
        assert_eq!(said, "data: a\n\nevent: error\ndata: INTERNAL\n\n");
        assert!(panics(&metrics));
        let (response, metrics) = telling(panicking(1, &[])).await;
        assert_eq!((response.status(), panics(&metrics)), (StatusCode::BAD_GATEWAY, true));
        let (response, metrics) = telling(panicking(6, &[])).await;
        assert_eq!(heard(response).await, [(1, "event: error\ndata: INTERNAL\n\n".to_owned())]);
        assert!(panics(&metrics));
    }
}
