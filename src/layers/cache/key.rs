//! What an answer is remembered by: a digest of what was asked and of the bytes that the model saw, and of nothing else.

use vision_providers::request::{CallCtx, Output, Part, Sampling, VisionRequest};

/// A digest.
pub type Key = [u8; 32];

/// The digest of everything that can change an answer. Each part is preceded by its length, so that no two questions
/// can run into the same bytes.
pub(super) fn key(provider: &str, identity: &Key, ctx: &CallCtx, req: &VisionRequest) -> Key {
    let VisionRequest { model, task, system, messages, output, detail, sampling } = req;
    let Sampling { temperature, top_p, seed, max_output_tokens, stop, effort } = sampling;
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(concat!("visiongate answer ", env!("CARGO_PKG_VERSION")).as_bytes());
    part(identity);
    for text in [provider, ctx.caller.name(), model.as_str(), task.name()] {
        part(text.as_bytes());
    }
    part(
        format!("{detail:?} {system:?} {temperature:?} {top_p:?} {seed:?} {max_output_tokens:?} {stop:?} {effort:?}")
            .as_bytes(),
    );
    match output {
        Output::Text => part(b"text"),
        Output::Json(schema) => part(schema.value.to_string().as_bytes()),
    }
    for message in messages {
        part(format!("{:?} {}", message.role, message.parts.len()).as_bytes());
        for piece in &message.parts {
            match piece {
                Part::Text(text) => part(text.as_bytes()),
                Part::Image(image) => part(image.digest().as_bytes()),
                Part::Document(document) => part(document.digest().as_bytes()),
            }
        }
    }
    *hasher.finalize().as_bytes()
}
