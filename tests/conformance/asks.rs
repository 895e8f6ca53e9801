//! Tools of the legacy era that ask the client in the middle of a call, and wait for what it says.

use std::time::Duration;

use rmcp::model::{CallToolResult, ErrorData, ServerRequest};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::fixtures::{broken, said};
use super::questions;

const PATIENCE: Duration = Duration::from_secs(20);

/// Has the client's model say something.
pub(crate) async fn sampling(ctx: &RequestContext<RoleServer>, prompt: &str) -> Result<CallToolResult, ErrorData> {
    let able = ctx.client_capabilities().is_some_and(|able| able.sampling.is_some());
    let answer = ask(ctx, able, questions::sample(prompt, 100)).await?;
    Ok(said(&format!("LLM response: {}", answer["content"]["text"].as_str().unwrap_or_default())))
}

/// Has the user fill in a form.
pub(crate) async fn elicitation(ctx: &RequestContext<RoleServer>, message: &str) -> Result<CallToolResult, ErrorData> {
    let fields = json!({
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"}
    });
    let answer = fill_in(ctx, questions::form(message, &fields, &["username", "email"])).await?;
    Ok(said(&format!("User response: action={}, content={}", answer["action"], answer["content"])))
}

/// A form in which every kind of field has a default.
pub(crate) async fn defaults(ctx: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    let fields = json!({
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true}
    });
    Ok(completed(&fill_in(ctx, questions::form("Please check these", &fields, &[])).await?))
}

/// A form with every way to write down a choice.
pub(crate) async fn choices(ctx: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    let options = json!(["option1", "option2", "option3"]);
    let titled = |words: [&str; 3]| {
        json!([
            {"const": "value1", "title": words[0]},
            {"const": "value2", "title": words[1]},
            {"const": "value3", "title": words[2]}
        ])
    };
    let fields = json!({
        "untitledSingle": {"type": "string", "enum": options},
        "titledSingle": {"type": "string", "oneOf": titled(["First Option", "Second Option", "Third Option"])},
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"]
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled(["First Choice", "Second Choice", "Third Choice"])}}
    });
    Ok(completed(&fill_in(ctx, questions::form("Please choose", &fields, &[])).await?))
}

fn completed(answer: &Value) -> CallToolResult {
    let action = answer["action"].as_str().unwrap_or_default();
    said(&format!("Elicitation completed: action={action}, content={}", answer["content"]))
}

async fn fill_in(ctx: &RequestContext<RoleServer>, form: Value) -> Result<Value, ErrorData> {
    let able = ctx.client_capabilities().is_some_and(|able| able.elicitation.is_some());
    ask(ctx, able, form).await
}

/// Asks, if the client has said that it can be asked.
async fn ask(ctx: &RequestContext<RoleServer>, able: bool, question: Value) -> Result<Value, ErrorData> {
    if !able {
        let message = format!("the client did not say that it takes {}", question["method"]);
        return Err(ErrorData::invalid_request(message, None));
    }
    let request: ServerRequest = questions::question(question)?;
    let answer = timeout(PATIENCE, ctx.peer.send_request(request)).await;
    let answer = answer.map_err(|late| broken("waiting for the client", &late))?;
    let answer = answer.map_err(|error| broken("asking the client", &error))?;
    serde_json::to_value(answer).map_err(|error| broken("reading what the client said", &error))
}
