//! Layers: each wraps a provider and is one.
//!
//! A layer knows no vendor and no other layer; the order in which they are put around an adapter is written in
//! `assemble.rs` alone. Each implements every method of the trait by hand, so that a new one cannot slip past.

pub mod breaker;
pub mod cache;
pub mod limit;
pub mod observe;
pub mod retry;
pub mod trace;
pub mod validate;
