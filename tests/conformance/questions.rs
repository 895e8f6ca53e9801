//! What a server asks its client, as it goes over the wire: forms for the user, and the model and roots of the client.

use rmcp::model::ErrorData;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fixtures::broken;

/// A form with these fields, of which some have to be filled in.
pub(crate) fn form(message: &str, fields: &Value, needed: &[&str]) -> Value {
    let schema = json!({"type": "object", "properties": fields, "required": needed});
    json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": schema}})
}

/// A form with one field, which has to be filled in.
pub(crate) fn field(message: &str, name: &str, kind: &str) -> Value {
    form(message, &json!({name: {"type": kind}}), &[name])
}

/// A question to the client's model.
pub(crate) fn sample(words: &str, most_tokens: u32) -> Value {
    let message = json!({"role": "user", "content": {"type": "text", "text": words}});
    json!({"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": most_tokens}})
}

/// The question which folders the client works in.
pub(crate) fn roots() -> Value {
    json!({"method": "roots/list"})
}

/// A question as rmcp knows it.
pub(crate) fn question<T: DeserializeOwned>(question: Value) -> Result<T, ErrorData> {
    serde_json::from_value(question).map_err(|error| broken("composing a question", &error))
}
