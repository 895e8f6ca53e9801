//! Who may ask over HTTP: callers with a key of ours, and callers whom an issuer of tokens vouches for.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;
use vision_providers::request::Caller;

use crate::intake::path::Root;
use crate::keys::Keyring;
use crate::oauth::{Identifier, Rejection, Verifier};
use crate::rights::{Pace, Rights};

/// Callers whose pace is kept at once; one who comes back after so long a time begins anew.
const MOST_CALLERS: u64 = 10_000;
const FORGOTTEN: Duration = Duration::from_mins(10);

/// Whom HTTP lets in.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub keyring: Keyring,
    pub oauth: Option<Arc<Bearers>>,
}

/// Whoever has a token of an issuer.
#[derive(Debug)]
pub struct Bearers {
    pub verifier: Verifier,
    /// How clients call this server.
    pub resource: Identifier,
    rights: Rights,
    paces: Paces,
}

/// The pace of each caller.
struct Paces {
    per_minute: Option<NonZeroU32>,
    known: Cache<String, Arc<Pace>>,
}

/// A caller who was let in.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub caller: Caller,
    pub rights: Arc<Rights>,
    pub roots: Option<Arc<[Root]>>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    UnknownKey,
    Token(Rejection),
}

impl Access {
    /// Whether nobody has to prove who they are.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.keyring.is_empty() && self.oauth.is_none()
    }

    /// Who has proved to be who, by a key or else by a token.
    ///
    /// # Errors
    /// Why nobody gets in by it.
    pub async fn admit(&self, presented: &str, deadline: Instant) -> Result<Admitted, Refused> {
        if let Some(key) = self.keyring.find(presented) {
            let caller = Caller::named(Arc::clone(&key.name));
            return Ok(Admitted { caller, rights: Arc::clone(&key.rights), roots: key.roots.clone() });
        }
        let bearers = self.oauth.as_ref().ok_or(Refused::UnknownKey)?;
        let principal = bearers.verifier.verify(presented, deadline).await.map_err(Refused::Token)?;
        let rights = bearers.rights_of(&principal.name);
        Ok(Admitted { caller: Caller::named(principal.name.into()), rights: Arc::new(rights), roots: None })
    }
}

impl Bearers {
    /// Bearers of tokens that this verifier finds good, each with these rights and a pace of their own.
    #[must_use]
    pub fn new(verifier: Verifier, resource: Identifier, rights: Rights, per_minute: Option<NonZeroU32>) -> Self {
        let known = Cache::builder().max_capacity(MOST_CALLERS).time_to_idle(FORGOTTEN).build();
        Self { verifier, resource, rights, paces: Paces { per_minute, known } }
    }

    fn rights_of(&self, name: &str) -> Rights {
        Rights { pace: self.paces.of(name), ..self.rights.clone() }
    }
}

impl Paces {
    fn of(&self, name: &str) -> Option<Arc<Pace>> {
        let most = self.per_minute?;
        Some(self.known.get_with_by_ref(name, || Arc::new(Pace::per_minute(most))))
    }
}

impl fmt::Debug for Paces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Paces({:?})", self.per_minute)
    }
}
