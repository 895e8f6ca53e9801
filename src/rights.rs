//! What a caller may do: which models they may ask, and how often. Whoever is at this machine may do everything.
//!
//! It knows neither keys nor tokens: those are proved at the door, and lead here.

/// What one caller may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Providers and models (`provider` or `provider/model`) that may be asked; all when absent.
    pub models: Option<Vec<String>>,
    /// Tags that a provider must have to be asked.
    pub tags: Vec<String>,
}

impl Rights {
    /// Whether a model of a provider may be asked.
    #[must_use]
    pub fn allow(&self, provider: &str, model: &str) -> bool {
        let Some(allowed) = &self.models else { return true };
        allowed.iter().any(|name| match name.split_once('/') {
            Some((its_provider, its_model)) => its_provider == provider && its_model == model,
            None => name == provider,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_stands_for_all_its_models_and_a_model_for_itself() {
        let rights = Rights { models: Some(vec!["local".into(), "lab/a/b".into()]), ..Rights::default() };
        let allowed = [("local", "tesseract"), ("lab", "a/b"), ("lab", "a"), ("lab", "c"), ("openai", "local")];
        assert_eq!(allowed.map(|(provider, model)| rights.allow(provider, model)), [true, true, false, false, false]);
        assert!(Rights::default().allow("anybody", "anything"));
    }
}
