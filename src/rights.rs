//! What a caller may do: which models they may ask, and how often. Whoever is at this machine may do everything.
//!
//! It knows neither keys nor tokens: those are proved at the door, and lead here.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::failure::{Code, Failure, Result};

/// What one caller may do.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// Providers and models (`provider` or `provider/model`) that may be asked; all when absent.
    pub models: Option<Vec<String>>,
    /// Tags that a provider must have to be asked.
    pub tags: Vec<String>,
    /// How often they may ask; as often as they like when absent.
    pub pace: Option<Arc<Pace>>,
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

    /// Whether any model of a provider may be asked.
    #[must_use]
    pub fn allow_some_of(&self, provider: &str) -> bool {
        let head = |name: &String| name.split('/').next() == Some(provider);
        self.models.as_ref().is_none_or(|allowed| allowed.iter().any(head))
    }

    /// Counts a question, or an image that is sent ahead of one.
    ///
    /// # Errors
    /// `RATE_LIMITED` when there are more than this caller may ask.
    pub fn count(&self) -> Result<()> {
        self.pace.as_ref().map_or(Ok(()), |pace| pace.count())
    }

    /// Whether there is anything that others may ask and this caller may not.
    #[must_use]
    pub fn are_restricted(&self) -> bool {
        self.models.is_some() || !self.tags.is_empty()
    }
}

/// Questions that may come at once, where so many may come in a minute: models of a comparison.
const LEAST_BURST: u32 = 8;

/// How often a caller may ask. A burst of a tenth of a minute's share is taken at once, or a comparison's worth.
pub struct Pace(DefaultDirectRateLimiter);

impl Pace {
    /// So many questions a minute.
    #[must_use]
    pub fn per_minute(questions: NonZeroU32) -> Self {
        let burst = questions.get().min(LEAST_BURST.max(questions.get() / 10));
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::direct(Quota::per_minute(questions).allow_burst(burst)))
    }

    /// Counts a question.
    ///
    /// # Errors
    /// `RATE_LIMITED` with the time until the next one.
    pub fn count(&self) -> Result<()> {
        let Err(refused) = self.0.check() else { return Ok(()) };
        let wait = refused.wait_time_from(DefaultClock::default().now());
        let failure = Failure::new(Code::RateLimited, "this key has asked more often than it may").retryable();
        Err(Failure { retry_after: Some(wait), ..failure }
            .advise("ask again later, or ask the operator for a higher limit"))
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Pace")
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
        assert_eq!(["local", "lab", "openai"].map(|provider| rights.allow_some_of(provider)), [true, true, false]);
        assert!(Rights::default().allow_some_of("anybody"));
    }
}
