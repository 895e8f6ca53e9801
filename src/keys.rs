//! Keys with which callers prove who they are. What is known of a key is its digest, so that nobody can take one from here.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use vision_providers::request::Caller;

use crate::failure::{Code, Failure, Result};
use crate::intake::path::Root;
use crate::rights::Rights;

/// What every key begins with.
const PREFIX: &str = "vg_";
/// What a digest begins with in the configuration.
pub const DIGEST: &str = "blake3:";
/// Random bytes of a key: more than anybody can try.
const RANDOM: usize = 32;
const LONGEST_NAME: usize = 64;
/// Longer ones are not looked at.
const LONGEST: usize = 512;

/// A key that a caller may have, and what it opens.
#[derive(Debug)]
pub struct Key {
    pub name: Arc<str>,
    digest: blake3::Hash,
    pub rights: Arc<Rights>,
    /// Folders that images may come from, in place of everybody's.
    pub roots: Option<Arc<[Root]>>,
}

/// All keys of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Arc<[Key]>);

impl Key {
    /// A key of this name and digest.
    #[must_use]
    pub fn new(name: &str, digest: blake3::Hash, rights: Rights, roots: Option<Vec<Root>>) -> Self {
        Self { name: name.into(), digest, rights: Arc::new(rights), roots: roots.map(Into::into) }
    }
}

impl Keyring {
    /// These keys.
    #[must_use]
    pub fn new(keys: Vec<Key>) -> Self {
        Self(keys.into())
    }

    /// Whether nobody has to prove who they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that a caller presents. All are looked at, each in constant time.
    #[must_use]
    pub fn find(&self, presented: &str) -> Option<&Key> {
        if presented.len() > LONGEST {
            return None;
        }
        let digest = blake3::hash(presented.as_bytes());
        self.0.iter().fold(None, |found, key| if key.digest == digest { Some(key) } else { found })
    }
}

/// Whether a caller can be called that: names stand in rules and logs, beside those whom an issuer vouches for.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if !is_plain || name.is_empty() || name.len() > LONGEST_NAME {
        return Err(format!("expected up to {LONGEST_NAME} letters, digits, dashes, dots and underscores"));
    }
    if name == Caller::local().name() {
        return Err(format!("`{name}` is whoever needs no key: choose another name"));
    }
    Ok(())
}

/// The digest that a configuration names.
///
/// # Errors
/// What is wrong with it.
pub fn digest(text: &str) -> Result<blake3::Hash, String> {
    let hex = text.strip_prefix(DIGEST).ok_or_else(|| format!("expected `{DIGEST}` and 64 hexadecimal digits"))?;
    blake3::Hash::from_hex(hex).map_err(|_| format!("expected 64 hexadecimal digits after `{DIGEST}`"))
}

/// A new key, and its digest for the configuration.
///
/// # Errors
/// `INTERNAL` when the system has no randomness.
pub fn generate() -> Result<(String, String)> {
    let mut random = [0; RANDOM];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::new(Code::Internal, format!("taking randomness from the system: {error}")))?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let digest = format!("{DIGEST}{}", blake3::hash(key.as_bytes()).to_hex());
    Ok((key, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_found_by_its_digest_and_by_nothing_else() {
        let (key, its_digest) = generate().expect("randomness");
        assert!(key.starts_with("vg_") && key.len() == 46, "{key}");
        let named = |name: &str, text: &str| Key::new(name, digest(text).expect("a digest"), Rights::default(), None);
        let (_, other) = generate().expect("randomness");
        let ring = Keyring::new(vec![named("alice", &its_digest), named("bob", &other)]);
        assert_eq!(ring.find(&key).map(|key| &*key.name), Some("alice"));
        for wrong in ["", "vg_", &key[1..], &format!("{key} "), &its_digest, &"x".repeat(1 << 20)] {
            assert!(ring.find(wrong).is_none());
        }
        assert!(!format!("{ring:?}").contains(&key));
    }

    #[test]
    fn what_is_no_digest_is_said() {
        assert!(digest("sha256:00").expect_err("no").contains("blake3:"));
        assert!(digest("blake3:00").expect_err("no").contains("64"));
        assert!(digest("vg_secret").is_err());
    }
}
