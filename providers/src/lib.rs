//! Vision backends behind one trait.
//!
//! A provider is a wire format at an address, with cards that say what its models can do, take and cost. Only wire
//! formats are code. A server that speaks chat completions is a row of `catalog/presets.toml`, or a table in an
//! operator's configuration:
//!
//! ```toml
//! [providers.lab]
//! kind     = "openai-compatible"
//! base_url = "http://gpu-1:8000/v1"
//! model    = "qwen3-vl-8b"
//! key      = "none"
//! ```
//!
//! # Writing a provider
//!
//! 1. Does it speak chat completions? Then it is data: a preset with the quirks that it needs, and no Rust.
//! 2. Otherwise implement [`wire::Wire`] in one file of [`adapters`]: `write` and `read` are pure, so golden files and
//!    recorded exchanges test them. [`http::HttpProvider`] sends, bounds and classifies.
//! 3. A backend without HTTP implements [`provider::VisionProvider`] itself, as [`adapters::local`] does.
//! 4. Add one arm to [`adapters::build`], a preset, cards with source and date, and run the behaviour suite of `testkit`.
//!
//! This crate knows no configuration file, cache, router, MCP or metrics, and reads no environment.

pub mod answer;
pub mod document;
pub mod error;
pub mod image;
pub mod request;

pub mod estimate;
pub mod model;
pub mod parameters;
pub mod price;
pub mod tokens;

pub mod draft;
pub mod frames;
pub mod provider;
pub mod retry_after;
pub mod wire;

pub mod adapters;
pub mod catalog;
mod dialect;
mod encode;
pub mod http;
#[cfg(feature = "testkit")]
pub mod testkit;
