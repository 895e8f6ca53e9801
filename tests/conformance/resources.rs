//! The resources of the suite: a text, a picture, and a template.

use rmcp::model::{ErrorData, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use super::content::PNG;

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
const TEMPLATE: &str = "test://template/{id}/data";

/// The resources with an address of their own.
pub(crate) fn all() -> Vec<Resource> {
    vec![
        Resource::new(TEXT, "static text").with_mime_type("text/plain"),
        Resource::new(BINARY, "static picture").with_mime_type("image/png"),
    ]
}

/// Where resources are that have an id in their address.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    vec![ResourceTemplate::new(TEMPLATE, "data by its id").with_mime_type("application/json")]
}

/// Reads a resource.
pub(crate) fn read(uri: &str) -> Result<ResourceContents, ErrorData> {
    if let Some(id) = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data")) {
        let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
        return Ok(ResourceContents::text(data.to_string(), uri).with_mime_type("application/json"));
    }
    match uri {
        TEXT => Ok(ResourceContents::text("This is the content of the static text resource.", uri)),
        BINARY => Ok(ResourceContents::blob(PNG, uri).with_mime_type("image/png")),
        _ => Err(ErrorData::resource_not_found(format!("there is no resource {uri}"), Some(json!({"uri": uri})))),
    }
}
