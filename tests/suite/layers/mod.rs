//! Each layer over a scripted provider, under paused time, and the behaviour suite over every one of them.

mod memory;
mod rests;
mod tries;
mod turns;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vision_providers::answer::Answer;
use vision_providers::error::{Error, ErrorKind, Retry};
use vision_providers::provider::Provider;
use vision_providers::request::{ModelId, Task};
use vision_providers::testkit::{Expected, Scripted, Step, behaves, ctx, request};
use visiongate::health::{self, Health};
use visiongate::layers::breaker::Guarded;
use visiongate::layers::cache::{self, Cached, Memory};
use visiongate::layers::limit::{self, Limited, Turnstile};
use visiongate::layers::observe::Observed;
use visiongate::layers::retry::{self, Retrying};
use visiongate::layers::validate::Validated;
use visiongate::metrics::Metrics;
use visiongate::supervisor::Supervisor;

use super::PATIENCE;

const MODEL: &str = "scripted-1";

fn say(text: &str) -> Step {
    Step::Say(Answer::new(text, ModelId::from(MODEL)))
}

fn fail(kind: ErrorKind, retry: Retry) -> Step {
    Step::Fail(Error::new(kind, "scripted").retry(retry))
}

fn cached(inner: Scripted) -> Provider {
    Arc::new(Cached::new(
        Arc::new(inner),
        [0; 32],
        Memory::new(cache::Settings::default(), None),
        Supervisor::default(),
        Metrics::default(),
    ))
}

pub(crate) fn healthy() -> Arc<Health> {
    Arc::new(Health::new(health::Settings::default()))
}

pub(crate) fn limited(inner: Provider, settings: limit::Settings) -> Provider {
    Arc::new(Limited::new(inner, healthy(), Arc::new(Turnstile::new(settings)), PATIENCE, Metrics::default()))
}

fn retrying(inner: Scripted) -> Provider {
    Arc::new(Retrying::new(Arc::new(inner), retry::Settings::default()))
}

/// A queue before a breaker, which share the health of `inner`.
fn queued(inner: Scripted, settings: limit::Settings) -> Provider {
    let health = healthy();
    let provider = guarded(inner, &health);
    Arc::new(Limited::new(provider, health, Arc::new(Turnstile::new(settings)), PATIENCE, Metrics::default()))
}

fn guarded(inner: Scripted, health: &Arc<Health>) -> Provider {
    Arc::new(Guarded::new(Arc::new(inner), Arc::clone(health), Metrics::default()))
}

async fn ask(provider: &Provider) -> Result<Answer, Error> {
    provider.complete(&ctx(PATIENCE), &request(MODEL, Task::Ask)).await
}

#[tokio::test]
async fn every_layer_behaves_like_a_provider() {
    type Wrap = fn(Provider) -> Provider;
    let wraps: [Wrap; 6] = [
        |inner| limited(inner, limit::Settings::default()),
        |inner| Arc::new(Guarded::new(inner, healthy(), Metrics::default())),
        |inner| Arc::new(Retrying::new(inner, retry::Settings::default())),
        |inner| Arc::new(Validated::new(inner)),
        |inner| {
            Arc::new(Cached::new(
                inner,
                [0; 32],
                Memory::new(cache::Settings::default(), None),
                Supervisor::default(),
                Metrics::default(),
            ))
        },
        |inner| Arc::new(Observed::new(inner)),
    ];
    let script = || Scripted::new([say(r#"{"description":"a cat","detected_text":""}"#)]);
    for wrap in wraps {
        let inner = script();
        let calls = inner.calls();
        behaves(&wrap(Arc::new(inner)), Expected { secret: "secret-key", calls: &|| calls.load(Ordering::SeqCst) })
            .await;
    }
    let inner = script();
    let calls = inner.calls();
    let all = wraps.iter().fold(Arc::new(inner) as Provider, |inner, wrap| wrap(inner));
    behaves(&all, Expected { secret: "secret-key", calls: &|| calls.load(Ordering::SeqCst) }).await;
}
