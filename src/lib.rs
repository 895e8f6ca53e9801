//! visiongate: one vision tool for every MCP client, any vision model behind it.
//!
//! From the top: [`surface`] speaks to the outside, [`assemble`] builds what [`config`] describes, [`gateway`] answers a
//! question with the help of [`router`], [`layers`] and [`intake`]. Backends live in the crate `vision-providers`.

pub mod surface;

pub mod live;

pub mod assemble;

pub mod eval;

pub mod batch;
pub mod bulk;
pub mod compare;

pub mod access;
pub mod config;
pub mod gateway;

pub mod reply;

pub mod layers;
pub mod router;
pub mod tasks;

pub mod health;
pub mod intake;
pub mod keys;
pub mod metrics;
pub mod oauth;
pub mod store;

pub mod clean;
pub mod failure;
pub mod rights;
pub mod schema;
pub mod score;
pub mod shares;
pub mod spans;
pub mod speech;
pub mod statistics;
pub mod supervisor;
pub mod telemetry;
