//! The tools as the suite finds them: names, and schemas of what they take.

use std::sync::Arc;

use rmcp::model::{JsonObject, Tool};
use serde_json::{Value, json};

/// Tools that take nothing.
const PLAIN: [(&str, &str); 28] = [
    ("test_simple_text", "Gives a text"),
    ("test_image_content", "Gives a picture"),
    ("test_audio_content", "Gives a sound"),
    ("test_embedded_resource", "Gives a resource"),
    ("test_multiple_content_types", "Gives a text, a picture and a resource"),
    ("test_error_handling", "Fails"),
    ("test_tool_with_progress", "Says how far it is"),
    ("test_tool_with_logging", "Logs what happens"),
    ("test_logging_tool", "Logs what happens to whoever asked for it with the call"),
    ("test_reconnection", "Works for a moment"),
    ("test_elicitation_sep1034_defaults", "Asks with defaults"),
    ("test_elicitation_sep1330_enums", "Asks with choices"),
    ("test_missing_capability", "Needs a client that samples"),
    ("test_streaming_elicitation", "Ends with a question"),
    ("test_trigger_tool_change", "Announces that the tools changed"),
    ("test_trigger_prompt_change", "Announces that the prompts changed"),
    ("test_input_required_result_elicitation", "Asks the user"),
    ("test_input_required_result_sampling", "Asks the client's model"),
    ("test_input_required_result_list_roots", "Asks for the client's roots"),
    ("test_input_required_result_request_state", "Asks, and remembers that"),
    ("test_input_required_result_tampered_state", "Asks, and remembers that"),
    ("test_input_required_result_multiple_inputs", "Asks for everything at once"),
    ("test_input_required_result_multi_round", "Asks twice"),
    ("test_input_required_result_capabilities", "Asks what the client can answer"),
    ("test_tool_with_task", "Asks, and begins a task with the answer"),
    ("failing_job", "Begins a task that fails"),
    ("protocol_error_job", "Begins a task that breaks down"),
    ("multi_input", "Begins a task that asks for two things"),
];

/// All tools.
pub(crate) fn all() -> Vec<Tool> {
    let plain = PLAIN.into_iter().map(|(name, words)| tool(name, words, json!({"type": "object", "properties": {}})));
    let text = || json!({"type": "string"});
    let header = json!({"type": "string", "x-mcp-header": "Value"});
    let time = json!({"seconds": {"type": "integer"}, "label": {"type": "string"}});
    let taking = [
        tool("test_sampling", "Asks the client's model", object(&json!({"prompt": text()}), &["prompt"])),
        tool("test_elicitation", "Asks the user", object(&json!({"message": text()}), &["message"])),
        tool(
            "test_custom_header",
            "Takes a value that is in a header too",
            object(&json!({"value": header}), &["value"]),
        ),
        tool("greet", "Greets", object(&json!({"name": text()}), &["name"])),
        tool("slow_compute", "Takes its time, in a task where the client knows them", object(&time, &["seconds"])),
        tool("confirm_delete", "Begins a task that asks", object(&json!({"filename": text()}), &["filename"])),
        tool("json_schema_2020_12_tool", "Has a schema with everything in it", vocabulary()),
    ];
    plain.chain(taking).collect()
}

fn tool(name: &'static str, words: &'static str, input: Value) -> Tool {
    Tool::new(name, words, Arc::new(members(input)))
}

fn object(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

fn members(value: Value) -> JsonObject {
    match value {
        Value::Object(members) => members,
        _ => JsonObject::new(),
    }
}

/// A schema of the words that servers and clients are found to drop.
fn vocabulary() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}}
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"}
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false
    })
}
