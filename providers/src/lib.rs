//! Vision backends behind one trait.
//!
//! A provider is a wire format at an address, with cards that say what its models can do, take and cost. Only wire
//! formats are code; vendors are data.
//!
//! # A new vendor is TOML
//!
//! A server that speaks chat completions, Anthropic's messages or another wire of [`adapters`] needs no Rust. It is a table
//! in an operator's configuration:
//!
//! ```toml
//! [providers.lab]
//! kind     = "openai-compatible"
//! base_url = "http://gpu-1:8000/v1"
//! model    = "qwen3-vl-8b"
//! key      = "none"
//! ```
//!
//! or, for everybody, a row of `catalog/presets.toml` and cards in `catalog/models.toml`. This is the whole of one:
//!
//! ```
//! use vision_providers::catalog::Catalog;
//!
//! let presets = r#"
//!     [acme]
//!     wire     = "chat"
//!     base_url = "https://api.acme.example/v1"
//!     hosts    = ["api.acme.example"]
//!     key_env  = "ACME_KEY"
//!     model    = "acme-vision-2"
//!     json     = "schema"
//!     quirks   = { max_tokens = "max_completion_tokens", stream_usage = "given" }
//!     limits   = { max_images = 8, max_bytes = 5_000_000, max_side = 8000, target_side = 1568, formats = ["jpeg", "png"] }
//!     source   = "acme.example, vision page"
//!     as_of    = "2026-11-20"
//! "#;
//! let models = r#"
//!     [[acme]]
//!     id        = "acme-vision-2"
//!     price     = { input = 0.20, output = 0.80 }
//!     tokens    = { rule = "flat", tokens = 1024 }
//!     reasoning = ["none", "low", "high"]
//!     seed      = false
//!     source    = "acme.example, price list"
//!     as_of     = "2026-11-20"
//! "#;
//! let catalog = Catalog::read(presets, models)?;
//! let card = &catalog.preset("acme").expect("just written").cards[0];
//! assert_eq!(card.price.map(|price| price.input), Some(200_000)); // millionths of a dollar per million tokens
//! # Ok::<(), vision_providers::error::Error>(())
//! ```
//!
//! # A new wire is one file
//!
//! [`wire::Wire`] is pure: it writes a request and reads what comes back, and never sends. [`http::HttpProvider`] sends,
//! bounds, cancels and hides keys; [`draft::Draft`] judges whether what was read is an answer, so that no wire can take
//! nothing for one. A wire that streams says how its stream is divided and reads one event at a time.
//!
//! ```
//! use serde_json::json;
//! use vision_providers::answer::{Answer, Finish};
//! use vision_providers::draft::Draft;
//! use vision_providers::error::Result;
//! use vision_providers::frames::{Event, Framing};
//! use vision_providers::model::ModelCard;
//! use vision_providers::request::VisionRequest;
//! use vision_providers::wire::{Delivery, Incoming, Outgoing, Wire, event_json, json_post};
//!
//! #[derive(Debug)]
//! struct Acme;
//!
//! impl Wire for Acme {
//!     fn write(&self, req: &VisionRequest, _: &ModelCard, delivery: Delivery) -> Result<Outgoing> {
//!         let words = req.texts().collect::<Vec<_>>().join("\n");
//!         let stream = delivery == Delivery::Streamed;
//!         json_post("/look", &json!({"model": req.model.as_str(), "words": words, "stream": stream}))
//!     }
//!
//!     fn probe(&self) -> Outgoing {
//!         Outgoing::get("/health")
//!     }
//!
//!     fn read(&self, req: &VisionRequest, reply: &Incoming) -> Result<Answer> {
//!         let mut draft = Draft::default();
//!         self.read_event(&Event { data: reply.json()?.to_string() }, &mut draft)?;
//!         draft.answer(&req.model)
//!     }
//!
//!     fn framing(&self) -> Framing {
//!         Framing::Lines
//!     }
//!
//!     fn read_event(&self, event: &Event, draft: &mut Draft) -> Result<()> {
//!         let body = event_json(event)?;
//!         draft.say(body["says"].as_str().unwrap_or_default());
//!         if body["over"] == true {
//!             draft.finish = Some(Finish::Stop);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let mut draft = Draft::default();
//! for line in [r#"{"says": "a "}"#, r#"{"says": "cat", "over": true}"#] {
//!     Acme.read_event(&Event { data: line.into() }, &mut draft)?;
//! }
//! assert_eq!(draft.answer(&"acme-vision-2".into())?.text, "a cat");
//! # Ok::<(), vision_providers::error::Error>(())
//! ```
//!
//! Then:
//!
//! 1. Errors: [`wire::Wire::read_error`] has a sensible default; what only the vendor's words tell goes into
//!    `adapters/complaint/phrases.rs`, which every wire shares.
//! 2. Schemas: [`dialect`] says a caller's schema in what the vendor enforces, or asks for it in words.
//! 3. One arm in [`adapters::build`], a preset, cards with source and date.
//! 4. Exchanges in `tests/wires/exchanges/KIND/`: questions and answers, at least ten ways to say no, broken streams. The
//!    behaviour suite of `testkit`, a fuzz target's list of wires.
//!
//! A backend without HTTP implements [`provider::VisionProvider`] itself, as [`adapters::local`] does.
//!
//! This crate knows no configuration file, cache, router, MCP or metrics, and reads no environment.

pub mod allowance;
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
pub mod dialect;
mod encode;
pub mod http;
#[cfg(feature = "testkit")]
pub mod testkit;
