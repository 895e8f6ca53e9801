//! REST's calls told while they are answered: pieces of what models say, what becomes of models and items, then the whole.

use std::sync::Arc;

use axum::response::Response;
use axum::response::sse::Event;
use futures_util::StreamExt as _;
use futures_util::stream::Stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::told::{self, Told, told};
use super::{refusal, rest};
use crate::batch;
use crate::compare::{self, Follower, Following, News};
use crate::failure::Result;
use crate::gateway::{Ask, Asker};
use crate::intake::uploads::Lent;
use crate::live::Running;
use crate::metrics::Metrics;
use crate::surface::answer;
use crate::surface::calls::{self, Call};

/// Answers a call with events. The files that came with it are there for as long as they may be looked at.
pub(super) async fn tell(call: Call, running: Arc<Running>, asker: Asker, lent: Vec<Lent>, path: &str) -> Response {
    let metrics = running.gateway.metrics.clone();
    match call {
        Call::Ask(ask) => {
            let telling = told(async move |listener: mpsc::Sender<String>| {
                let _lent = lent;
                let reply = running.gateway.ask_aloud(&ask, &asker, &listener).await;
                reply.map(|reply| answer::whole(&reply))
            });
            events(telling, metrics, path, |text| event("delta", &json!({"text": text}))).await
        }
        Call::Compare(comparing) => {
            let models = comparing.models.clone();
            let telling = told(async move |follower: Follower| {
                let _lent = lent;
                let comparing =
                    compare::compare(&running.gateway, &comparing, &asker, Following::Words(&follower)).await;
                comparing.map(|comparison| calls::compared(&comparison).answer)
            });
            events(telling, metrics, path, move |news| heard(&models, news)).await
        }
        Call::Batch(asks) => {
            let telling = told(async move |sender: mpsc::Sender<Value>| {
                let _lent = lent;
                Ok(items(&asks, &running, &asker, &sender).await)
            });
            events(telling, metrics, path, |item| event("item", &item)).await
        }
        // There is nothing to wait for.
        Call::List => match call.answer(&running.gateway, &asker, None).await {
            Ok(answered) => rest::json_response(&answered.answer),
            Err(failure) => refusal::of(path, &failure),
        },
    }
}

/// Tells what becomes of each item; what all of them came to is the end.
async fn items(asks: &[Ask], running: &Running, asker: &Asker, sender: &mpsc::Sender<Value>) -> Value {
    let gateway = &running.gateway;
    let deadline = Instant::now() + gateway.settings.total;
    let mut answers = Box::pin(batch::answers(gateway, asks, asker, deadline));
    let mut outcomes = Vec::new();
    while let Some((index, outcome)) = answers.next().await {
        let _ = sender.send(calls::item(index, &outcome)).await;
        outcomes.push(outcome);
    }
    Value::Object(calls::summary(outcomes.iter()))
}

/// News of a comparison, with the names by which its models were asked for.
fn heard(models: &[String], news: News) -> Event {
    match news {
        News::Said(index, text) => event("delta", &json!({"model": models.get(index), "text": text})),
        News::Ended(index, answered) => event("result", &calls::one_of(index, &answered)),
    }
}

async fn events<P: Send + 'static>(
    telling: impl Stream<Item = Told<P, Result<Value>>> + Send + 'static,
    metrics: Metrics,
    path: &str,
    piece: impl Fn(P) -> Event + Send + 'static,
) -> Response {
    let tell = move |told| match told {
        Told::Piece(said) => vec![piece(said)],
        Told::End(Ok(value)) => vec![event("answer", &value)],
        Told::End(Err(failure)) => vec![event("error", &answer::error(&failure))],
    };
    let path = path.to_owned();
    told::response(telling, metrics, move |failure| refusal::of(&path, &failure), tell).await
}

fn event(name: &str, value: &Value) -> Event {
    Event::default().event(name).data(told::one_line(value))
}
