//! Says who is behind a token. What it needs to know for that is kept by the keyring, and nothing about single tokens is: a
//! signature is checked faster than it would be worth remembering.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::claims::Claims;
use super::clock::Clock;
use super::issuer::Issuer;
use super::keyring::{Keyring, Younger};
use super::keys::KeySet;
use super::principal::Principal;
use super::rejection::Rejection;
use super::settings::Settings;
use super::token::Token;
use crate::supervisor::Supervisor;

/// Says who is behind a token. Clones share the issuer's keys, and a reload that leaves the settings as they are keeps it.
#[derive(Debug, Clone)]
pub struct Verifier {
    settings: Arc<Settings>,
    keyring: Keyring,
    clock: Clock,
}

impl Verifier {
    /// A verifier that knows no keys yet: the issuer is asked for them when the first token comes, in tasks of this
    /// supervisor.
    #[must_use]
    pub fn new(settings: Settings, supervisor: Supervisor) -> Self {
        let keyring = Keyring::new(Issuer::new(&settings), supervisor);
        Self { settings: Arc::new(settings), keyring, clock: Clock::system() }
    }

    /// The same with another clock, which says how much time has passed since 1970.
    #[must_use]
    pub fn with_clock(self, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { clock: Clock::of(now), ..self }
    }

    /// What it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who is behind this token.
    ///
    /// Waits for nothing but the issuer's keys, and for those no longer than until the deadline. Dropping it leaves
    /// nothing behind but keys.
    ///
    /// # Errors
    /// Why nobody gets in by it.
    pub async fn verify(&self, token: &str, deadline: Instant) -> Result<Principal, Rejection> {
        let token = Token::read(token)?;
        let keys = self.keyring.current(deadline).await.ok_or(Rejection::Unavailable)?;
        if let Err(rejection) = keys.verify(&token) {
            self.verify_anew(&token, &keys, rejection, deadline).await?;
        }
        let claims = Claims::of(&token)?;
        claims.check(&self.settings, self.clock.now())?;
        Principal::of(&claims, &self.settings)
    }

    /// Looks whether the issuer has changed its keys since: its new one may have a new name, none, or that of an old one.
    async fn verify_anew(
        &self,
        token: &Token<'_>,
        keys: &Arc<KeySet>,
        rejection: Rejection,
        deadline: Instant,
    ) -> Result<(), Rejection> {
        if !matches!(rejection, Rejection::UnknownKey | Rejection::BadSignature) {
            return Err(rejection);
        }
        match self.keyring.younger(keys, deadline).await {
            Younger::Keys(keys) => keys.verify(token),
            // The key may be a new one, so the token may be good.
            Younger::Unreachable if rejection == Rejection::UnknownKey => Err(Rejection::Unavailable),
            Younger::Unreachable | Younger::None => Err(rejection),
        }
    }
}
