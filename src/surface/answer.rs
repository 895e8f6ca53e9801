//! The JSON of answers and errors: one shape on every surface. Optional members are absent, never null.

use serde_json::{Map, Value, json};
use vision_providers::answer::{TextBlock, Usage};
use vision_providers::estimate::Estimate;

use crate::failure::Failure;
use crate::gateway::{Explained, Foreseen};
use crate::reply::{Attempt, Content, ImageAccount, Reply, Route, Shape};
use crate::router::plan::Skipped;
use crate::router::roster::Candidate;
use crate::router::rules::Strategy;
use crate::speech::HEADING;

/// The whole answer.
#[must_use]
pub fn whole(reply: &Reply) -> Value {
    let mut answer = lean(reply);
    answer.insert("route".into(), route(&reply.route));
    answer.insert("images".into(), images(&reply.images));
    Value::Object(answer)
}

/// The answer without the account of how it came about, which models need not pay for.
#[must_use]
pub fn lean(reply: &Reply) -> Map<String, Value> {
    let mut answer = Map::new();
    let mut put = |name: &str, value: Value| answer.insert(name.to_owned(), value);
    put("task", json!(reply.task));
    match &reply.content {
        Content::Description { description, detected_text } => {
            put("description", json!(description));
            put("detected_text", json!(detected_text));
        }
        Content::Reading { detected_text, blocks } => {
            put("detected_text", json!(detected_text));
            if !blocks.is_empty() {
                put("blocks", blocks.iter().map(block).collect());
            }
        }
        Content::Text(text) => {
            put("text", json!(text));
        }
        Content::Data(data) => {
            put("data", data.clone());
        }
    }
    put("provider", json!(reply.provider));
    put("model", json!(reply.model));
    put("model_requested", json!(reply.model_requested));
    put("latency_ms", json!(milliseconds(reply.latency)));
    if let Some(used) = &reply.usage {
        put("usage", usage(used));
    }
    if let Some(cost) = reply.cost {
        put("cost_usd", json!(cost.dollars()));
    }
    put("finish_reason", json!(reply.finish.name()));
    put("cached", json!(reply.cached));
    put("warnings", json!(reply.warnings));
    answer
}

/// Tokens and pages; what is nothing or not known is left out.
fn usage(usage: &Usage) -> Value {
    let mut value = json!({"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens});
    let details = [
        ("image_tokens", usage.image_tokens.unwrap_or(0)),
        ("cached_tokens", usage.cached_tokens),
        ("reasoning_tokens", usage.reasoning_tokens),
        ("pages", usage.pages + usage.annotated_pages),
    ];
    for (name, count) in details.into_iter().filter(|(_, count)| *count > 0) {
        value[name] = json!(count);
    }
    value
}

/// The answer as plain text, for those who read nothing else: what was said, what was read, and what to know about it.
#[must_use]
pub fn plain(reply: &Reply) -> String {
    let said = match &reply.content {
        Content::Description { description, detected_text } if detected_text.is_empty() => description.clone(),
        Content::Description { description, detected_text } => {
            format!("{description}\n\n{HEADING}\n{detected_text}")
        }
        Content::Reading { detected_text, .. } if detected_text.is_empty() => "No text was recognised.".to_owned(),
        Content::Reading { detected_text, .. } => detected_text.clone(),
        Content::Text(text) => text.clone(),
        Content::Data(data) => serde_json::to_string_pretty(data).unwrap_or_default(),
    };
    if reply.warnings.is_empty() { said } else { format!("{said}\n\nNote: {}", reply.warnings.join("; ")) }
}

/// How the answer came about.
#[must_use]
pub fn route(route: &Route) -> Value {
    let attempt = |attempt: &Attempt| json!({"model": attempt.model, "outcome": attempt.outcome, "latency_ms": milliseconds(attempt.latency)});
    let attempts: Vec<Value> = route.attempts.iter().map(attempt).collect();
    let mut value = json!({"rule": route.rule, "attempts": attempts});
    if route.strategy != Strategy::First {
        value["strategy"] = json!(route.strategy.name());
    }
    if let Some(foreseen) = &route.estimate {
        value["estimate"] = estimate(foreseen);
    }
    if !route.skipped.is_empty() {
        value["skipped"] =
            route.skipped.iter().map(|(model, reason)| json!({"model": model, "reason": reason})).collect();
    }
    value
}

/// What a call was expected to take.
#[must_use]
pub fn estimate(estimate: &Estimate) -> Value {
    let mut value = json!({"input_tokens": estimate.input_tokens, "image_tokens": estimate.image_tokens,
        "basis": estimate.basis.name()});
    if let Some(most) = estimate.most {
        value["max_cost_usd"] = json!(most.dollars());
    }
    if let Some(likely) = estimate.likely {
        value["likely_cost_usd"] = json!(likely.dollars());
    }
    value
}

/// Who would be asked in which order, and why others would not.
#[must_use]
pub fn explained(explained: &Explained) -> Value {
    let plan = &explained.plan;
    let one = |(candidate, foreseen): (&Candidate, &Option<Estimate>)| {
        let mut value = json!({"model": candidate.name()});
        if let Some(why) = &candidate.why {
            value["why"] = json!(why);
        }
        if let Some(foreseen) = foreseen {
            value["estimate"] = estimate(foreseen);
        }
        value
    };
    let skipped =
        |skipped: &Skipped| json!({"model": skipped.model, "reason": skipped.reason.name(), "why": skipped.warning()});
    let mut value = json!({
        "rule": plan.rule,
        "strategy": plan.strategy.name(),
        "model_requested": plan.requested,
        "candidates": plan.candidates.iter().zip(&explained.estimates).map(one).collect::<Vec<_>>(),
        "skipped": plan.skipped.iter().map(skipped).collect::<Vec<_>>(),
    });
    if !plan.demands.is_empty() {
        value["demands"] = json!(plan.demands);
    }
    if let Some(after) = plan.hedge {
        value["hedge_after_ms"] = json!(milliseconds(after));
    }
    value
}

/// What asking would take, candidate by candidate.
#[must_use]
pub fn foreseen(foreseen: &[Foreseen]) -> Value {
    let one = |one: &Foreseen| match &one.prospect {
        Ok(prospect) => {
            let mut value = json!({"model": one.model, "images": images(&prospect.images)});
            if let Some(foreseen) = &prospect.estimate {
                value["estimate"] = estimate(foreseen);
            }
            value
        }
        Err(failure) => json!({"model": one.model, "error": error(failure)["error"]}),
    };
    let one = |foreseen: &Foreseen| {
        let mut value = one(foreseen);
        if let Some(note) = &foreseen.note {
            value["note"] = json!(note);
        }
        value
    };
    json!({"candidates": foreseen.iter().map(one).collect::<Vec<_>>()})
}

/// What became of the images.
#[must_use]
pub fn images(images: &[ImageAccount]) -> Value {
    let one = |image: &ImageAccount| {
        let steps: Vec<&str> = image.steps.iter().map(|step| step.name()).collect();
        let mut value = shape(&image.original);
        value.insert("source".into(), json!(image.source));
        value.insert("sent".into(), Value::Object(shape(&image.sent)));
        value.insert("steps".into(), json!(steps));
        Value::Object(value)
    };
    images.iter().map(one).collect()
}

/// The error object that every surface shows.
#[must_use]
pub fn error(failure: &Failure) -> Value {
    let mut error = Map::new();
    error.insert("code".into(), json!(failure.code.name()));
    error.insert("message".into(), json!(failure.message));
    error.insert("retryable".into(), json!(failure.retryable));
    if let Some(wait) = failure.retry_after {
        // Rounded up: coming back a little late is better than being refused again.
        error.insert("retry_after_s".into(), json!(wait.as_millis().div_ceil(1000)));
    }
    if let Some(advice) = &failure.advice {
        error.insert("advice".into(), json!(advice));
    }
    json!({"error": error})
}

fn shape(shape: &Shape) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("format".into(), json!(shape.format));
    if let Some((width, height)) = shape.size {
        map.insert("width".into(), json!(width));
        map.insert("height".into(), json!(height));
    }
    map.insert("bytes".into(), json!(shape.bytes));
    map
}

fn block(block: &TextBlock) -> Value {
    let area = block.area;
    let mut value = json!({"text": block.text, "box": [area.left, area.top, area.right, area.bottom]});
    if block.image > 0 {
        value["image"] = json!(block.image);
    }
    if let Some(confidence) = block.confidence {
        value["confidence"] = json!((f64::from(confidence) * 100.0).round() / 100.0);
    }
    value
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
