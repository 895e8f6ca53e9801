//! Resources: the models, the health of their providers, and the images that a caller sent ahead.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{ErrorData, Resource, ResourceContents, ResourceTemplate};
use serde_json::{Value, json};

use crate::gateway::{Asker, Gateway};
use crate::intake::uploads::{RESOURCE, Upload};
use crate::surface::{health, models};

const MODELS: &str = "vision://models";
const HEALTH: &str = "vision://health";
/// Where the models of one provider are.
pub(super) const PROVIDER_TEMPLATE: &str = "vision://models/{provider}";
/// Where an image is that was sent ahead.
pub(super) const IMAGE_TEMPLATE: &str = "vision://images/{handle}";
const JSON: &str = "application/json";
/// Images larger than this are named and not given: clients cut results at a megabyte.
const LARGEST_SHOWN: usize = 512 << 10;
/// Uploads that a list shows.
const MOST_LISTED: usize = 100;

/// What there is to read for this caller.
pub(super) fn all(gateway: &Gateway, asker: &Asker) -> Vec<Resource> {
    let own = [
        Resource::new(MODELS, "models")
            .with_title("Vision models")
            .with_description("Every model: abilities, limits, prices, whether its key is set")
            .with_mime_type(JSON),
        Resource::new(HEALTH, "health")
            .with_title("Health of the providers")
            .with_description("Who can be asked now, and why others cannot")
            .with_mime_type(JSON),
    ];
    let uploads = gateway.intake.uploads().of(&asker.caller);
    own.into_iter().chain(uploads.iter().take(MOST_LISTED).map(listed)).collect()
}

fn listed(upload: &Upload) -> Resource {
    let picture = &upload.picture;
    let size = picture.size().map_or_else(String::new, |(width, height)| format!(", {width} x {height}"));
    Resource::new(format!("{RESOURCE}{}", upload.handle), upload.handle.as_str())
        .with_description(format!("An image that was sent ahead: {}{size}", picture.format()))
        .with_mime_type(mime(picture.format()))
        .with_size(picture.bytes() as u64)
}

/// Where resources are that have a name in their address.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(PROVIDER_TEMPLATE, "models of a provider")
            .with_title("Models of one provider")
            .with_mime_type(JSON),
        ResourceTemplate::new(IMAGE_TEMPLATE, "image that was sent ahead")
            .with_title("An image that was sent ahead")
            .with_description("Its handle is what POST /v1/images answered"),
    ]
}

/// Reads a resource.
///
/// # Errors
/// Not found, with the address, for everything that this caller has no business to know of.
pub(super) fn read(gateway: &Gateway, asker: &Asker, uri: &str) -> Result<Vec<ResourceContents>, ErrorData> {
    let not_found = || {
        let shown: String = uri.chars().take(200).collect();
        ErrorData::resource_not_found(format!("there is no resource {shown}"), Some(json!({"uri": uri})))
    };
    let json = |value: &Value| vec![ResourceContents::text(value.to_string(), uri).with_mime_type(JSON)];
    if uri == MODELS {
        return Ok(json(&models::list(gateway, &asker.rights)));
    }
    if uri == HEALTH {
        return Ok(json(&health::providers(gateway, &asker.rights)));
    }
    if let Some(provider) = uri.strip_prefix(MODELS).and_then(|rest| rest.strip_prefix('/')) {
        let list = models::list(gateway, &asker.rights);
        let found = list["providers"].as_array().into_iter().flatten().find(|it| it["name"] == provider);
        return found.map(json).ok_or_else(not_found);
    }
    let handle = uri.strip_prefix(RESOURCE).ok_or_else(not_found)?;
    let upload = gateway.intake.uploads().get(handle, &asker.caller).map_err(|_| not_found())?;
    let picture = &upload.picture;
    if picture.bytes() > LARGEST_SHOWN {
        return Ok(json(&json!({"handle": handle, "format": picture.format(), "bytes": picture.bytes(),
            "note": "the image is too large to be given here; tools take its handle"})));
    }
    let blob = ResourceContents::blob(STANDARD.encode(picture.encoded()), uri);
    Ok(vec![blob.with_mime_type(mime(picture.format()))])
}

fn mime(format: &str) -> String {
    if format == "pdf" { "application/pdf".to_owned() } else { format!("image/{format}") }
}
