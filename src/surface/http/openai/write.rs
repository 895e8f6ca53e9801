//! Answers in the shape of chat completions, whole and in chunks. What has no place there stands in a member of ours.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vision_providers::answer::{Finish, Usage};

use crate::gateway::{Asker, Gateway};
use crate::reply::{Content, Reply};
use crate::surface::{answer, models};

/// A whole answer.
pub(super) fn completion(reply: &Reply) -> Value {
    let message = json!({"role": "assistant", "content": content(reply), "refusal": null});
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish(reply.finish)});
    let mut value = json!({"id": id(), "object": "chat.completion", "created": now(), "model": model(reply),
        "choices": [choice], "system_fingerprint": null, "visiongate": own(reply)});
    if let Some(used) = &reply.usage {
        value["usage"] = usage(used);
    }
    value
}

/// The chunks of one answer.
pub(super) struct Saying {
    id: String,
    created: u64,
    with_usage: bool,
    /// The same in all chunks, because clients read it in the first: the model that was asked for, until it is known who
    /// answers.
    model: String,
    begun: bool,
}

impl Saying {
    pub(super) fn new(with_usage: bool, asked: Option<&str>) -> Self {
        Self { id: id(), created: now(), with_usage, model: asked.unwrap_or("default").to_owned(), begun: false }
    }

    /// What a model said.
    pub(super) fn piece(&mut self, text: &str) -> Vec<Value> {
        let mut delta = json!({"content": text});
        if !self.begun {
            delta["role"] = json!("assistant");
        }
        self.begun = true;
        vec![self.chunk(&json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]))]
    }

    /// The end of an answer: what was not said yet, why it ended, and what it took.
    pub(super) fn end(&mut self, reply: &Reply) -> Vec<Value> {
        let mut chunks = Vec::new();
        if !self.begun {
            self.model = model(reply);
            chunks = self.piece(&content(reply));
        }
        let choice = json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": finish(reply.finish)}]);
        let mut last = self.chunk(&choice);
        last["visiongate"] = own(reply);
        chunks.push(last);
        if let Some(used) = reply.usage.as_ref().filter(|_| self.with_usage) {
            let mut chunk = self.chunk(&json!([]));
            chunk["usage"] = usage(used);
            chunks.push(chunk);
        }
        chunks
    }

    fn chunk(&self, choices: &Value) -> Value {
        json!({"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices, "system_fingerprint": null})
    }
}

/// Every name by which this caller can ask for a model, in the shape of OpenAI's list. What a name leads to, what that can do
/// and what it costs stand in a member of ours; names of rules lead to one or another.
pub(super) fn models(gateway: &Gateway, asker: &Asker) -> Vec<Value> {
    let one = |name: &String| {
        let found = gateway.roster.resolve(name);
        let owner = found.as_ref().map_or("visiongate", |candidate| candidate.provider.id());
        let mut value = json!({"id": name, "object": "model", "created": 0, "owned_by": owner});
        // A rule's name may lead to a model of theirs although an alias of that name does not.
        if let Some(candidate) = found.as_ref().ok().filter(|it| gateway.roster.allows(&asker.rights, it)) {
            value["visiongate"] = models::brief(candidate);
        }
        value
    };
    gateway.roster.names_for(&asker.rights).iter().map(one).collect()
}

fn content(reply: &Reply) -> String {
    match &reply.content {
        Content::Data(data) => data.to_string(),
        Content::Text(text) => text.clone(),
        _ => answer::plain(reply),
    }
}

fn model(reply: &Reply) -> String {
    format!("{}/{}", reply.provider, reply.model)
}

fn finish(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Refusal => "content_filter",
    }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    })
}

/// What OpenAI's shape has no place for.
fn own(reply: &Reply) -> Value {
    let mut own = answer::whole(reply);
    if let Some(members) = own.as_object_mut() {
        for said in ["task", "text", "data", "description", "detected_text", "finish_reason", "usage"] {
            members.remove(said);
        }
    }
    own
}

fn id() -> String {
    format!("chatcmpl-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
