//! The resource server's half of OAuth 2.1: who is behind a bearer token that an issuer of the operator's choice has
//! signed, and what is said to those whose token does not do.
//!
//! It is no authorization server, knows no clients and asks nobody about single tokens: what the signature, the dates and
//! the audience say is what counts, so a token that its issuer takes back is good until it expires. Nothing here passes a
//! token on or writes one down.

mod challenge;
mod claims;
mod clock;
mod identifier;
mod issuer;
mod keyring;
mod keys;
mod principal;
mod rejection;
mod settings;
mod token;
mod verifier;

pub use self::challenge::{challenge, challenge_after, metadata_paths, metadata_url, protected_resource_metadata};
pub use self::identifier::{Identifier, Unfit};
pub use self::principal::Principal;
pub use self::rejection::Rejection;
pub use self::settings::{Fault, Settings};
pub use self::verifier::Verifier;
