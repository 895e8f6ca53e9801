//! Tools that always give the same: every kind of content, alone and together, and an error.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

/// A picture of one red pixel.
pub(crate) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";
/// A millisecond of silence.
const WAV: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";

/// What the tool of this name gives, if it is one of these.
pub(crate) fn named(name: &str) -> Option<CallToolResult> {
    let blocks = match name {
        "test_simple_text" => vec![ContentBlock::text("This is a simple text response for testing.")],
        "test_image_content" => vec![image()],
        "test_audio_content" => vec![ContentBlock::audio(WAV, "audio/wav")],
        "test_embedded_resource" => {
            vec![embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]
        }
        "test_multiple_content_types" => vec![
            ContentBlock::text("Multiple content types test:"),
            image(),
            embedded("test://mixed-content-resource", "application/json", r#"{"test":"data","value":123}"#),
        ],
        "test_error_handling" => {
            let words = "This tool intentionally returns an error for testing";
            return Some(CallToolResult::error(vec![ContentBlock::text(words)]));
        }
        "json_schema_2020_12_tool" => vec![ContentBlock::text("This tool is there for its schema.")],
        _ => return None,
    };
    Some(CallToolResult::success(blocks))
}

/// A picture as content.
pub(crate) fn image() -> ContentBlock {
    ContentBlock::image(PNG, "image/png")
}

/// A resource as content.
pub(crate) fn embedded(uri: &str, kind: &str, text: &str) -> ContentBlock {
    ContentBlock::resource(ResourceContents::text(text, uri).with_mime_type(kind))
}
