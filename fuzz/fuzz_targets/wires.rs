//! Every wire, for targets that try them all.

use vision_providers::adapters::anthropic::Anthropic;
use vision_providers::adapters::chat::Chat;
use vision_providers::adapters::gemini::Gemini;
use vision_providers::adapters::mistral_ocr::MistralOcr;
use vision_providers::adapters::ollama::Ollama;
use vision_providers::adapters::pixtral::Pixtral;
use vision_providers::wire::Wire;

/// One wire of each kind.
pub fn all() -> [Box<dyn Wire>; 6] {
    [
        Box::new(Chat::default()),
        Box::new(Pixtral(Chat::default())),
        Box::new(Anthropic::default()),
        Box::new(Gemini::default()),
        Box::new(Ollama::default()),
        Box::new(MistralOcr::default()),
    ]
}
