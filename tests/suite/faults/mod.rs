//! Two backends over real sockets, of which the first misbehaves in every way that was thought of: who is asked how
//! often, what the caller gets, and what it is told about it.
//!
//! The numbers of cases in the docs of tests are those of the table by which this program is compared with others.

mod answers;
mod breaks;
mod environment;
mod traffic;

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use vision_providers::request::{CacheMode, ModelId};
use vision_providers::testkit::{Play, Upstream, image};
use visiongate::failure::Failure;
use visiongate::gateway::{Ask, Asker, Gateway};
use visiongate::health::Rest;
use visiongate::intake::Door;
use visiongate::reply::Reply;
use visiongate::surface::answer;

use super::{completion, gateway};

/// Times that suit a test: what takes too long is noticed within a second.
const HASTY: &str = "[deadline]\ntotal = \"6s\"\nattempt = \"700ms\"\nfirst_byte = \"500ms\"\nidle = \"300ms\"\n";
/// The same with room for waits that a backend asks for.
const PATIENT: &str = "[deadline]\ntotal = \"12s\"\nattempt = \"3s\"\n";
/// A breaker that stays open for longer than any test.
const OPENS_FOR_LONG: &str = "[breaker]\nfailures = 5\nopen = \"10m\"\nlongest = \"10m\"\n";
/// One that does not open.
const NEVER_OPENS: &str = "[breaker]\nfailures = 1000\nopen = \"1ms\"\nlongest = \"1ms\"\n";

/// What says something, as every server does that speaks chat completions.
fn says(text: &str) -> Play {
    Play::json(200, &completion(text))
}

/// A reply with a head of one's own, byte by byte.
fn reply(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    [format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n").as_bytes(), body].concat()
}

/// Two backends and the gateway before them. It asks `a`, and `b` when `a` cannot answer.
struct Lab {
    a: Upstream,
    b: Upstream,
    gateway: Gateway,
}

impl Lab {
    /// With an `a` of this kind that plays these plays, and a healthy `b`.
    async fn of(kind: &str, plays: impl IntoIterator<Item = Play>, more: &str) -> Self {
        Self::between(kind, plays, [says("from b")], more).await
    }

    /// The same with an `a` that speaks chat completions.
    async fn with(plays: impl IntoIterator<Item = Play>, more: &str) -> Self {
        Self::of("openai-compatible", plays, more).await
    }

    async fn between(
        kind: &str,
        plays: impl IntoIterator<Item = Play>,
        others: impl IntoIterator<Item = Play>,
        more: &str,
    ) -> Self {
        let (a, b) = (Upstream::start(plays).await, Upstream::start(others).await);
        let mut config = "default = \"a\"\nfallback = [\"b\"]\n".to_owned();
        for (name, kind, upstream) in [("a", kind, &a), ("b", "openai-compatible", &b)] {
            // Some addresses end in a path, and some do not.
            let url = upstream.url(if kind == "anthropic" || kind == "ollama" { "" } else { "/v1" });
            write!(config, "[providers.{name}]\nkind = \"{kind}\"\nmodel = \"m\"\nbase_url = \"{url}\"\n")
                .expect("memory");
            if !more.contains(&format!("[providers.{name}.key]")) {
                config.push_str("key = \"none\"\n");
            }
        }
        let gateway = gateway(&format!("{config}{more}"));
        Self { a, b, gateway }
    }

    async fn ask(&self, ask: &Ask) -> Result<Reply, Failure> {
        self.gateway.ask(ask, &asker()).await
    }

    /// How often each of the two was called.
    fn calls(&self) -> (usize, usize) {
        (self.a.calls(), self.b.calls())
    }

    /// Why `a` is left alone, if it is.
    fn rest(&self) -> Option<Rest> {
        self.gateway.roster.backends["a"].health.rest(&ModelId::from("m"))
    }

    /// The times between the calls to `a`.
    fn gaps(&self) -> Vec<Duration> {
        let received = self.a.received();
        received.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
    }
}

fn asker() -> Asker {
    Asker::local(Door::CommandLine)
}

/// A question that nobody remembers, about a small image.
fn question(prompt: &str) -> Ask {
    Ask { prompt: Some(prompt.into()), cache: Some(CacheMode::Bypass), ..about_a_dot() }
}

fn about_a_dot() -> Ask {
    let dot = format!("data:image/png;base64,{}", STANDARD.encode(image(32, 32, 1).bytes()));
    Ask { images: vec![dot].into(), ..Ask::default() }
}

/// Who was asked and what became of it, in order.
fn outcomes(reply: &Reply) -> Vec<(&str, &'static str)> {
    reply.route.attempts.iter().map(|attempt| (attempt.model.as_str(), attempt.outcome)).collect()
}

/// What a plain answer says.
fn text(reply: &Reply) -> String {
    let answer: Value = answer::whole(reply);
    answer["text"].as_str().expect("a plain answer").to_owned()
}

/// Asserts that `a` ended in this way once or twice, and that `b` answered.
fn answered_by_b(name: &str, lab: &Lab, answered: &Result<Reply, Failure>, expected: &str) {
    let reply = answered.as_ref().unwrap_or_else(|failure| panic!("{name}: {failure}"));
    let outcomes = outcomes(reply);
    let (last, before) = outcomes.split_last().expect("attempts");
    assert_eq!((*last, text(reply).as_str()), (("b/m", "ok"), "from b"), "{name}");
    assert!((1..=2).contains(&before.len()), "{name}: {outcomes:?}");
    assert!(before.iter().all(|attempt| *attempt == ("a/m", expected)), "{name}: {outcomes:?}");
    assert_eq!(lab.calls(), (before.len(), 1), "{name}");
}
