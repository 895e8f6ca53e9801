//! What figures of many items allow to say: intervals, differences, and which models cannot be told apart.
//!
//! Everything is pure and deterministic: what is drawn at random is drawn from a seed. Items are not independent where
//! several are about the same picture; each item therefore names its cluster, and every interval and test respects
//! them.
//!
//! Functions take scores and not answers: what an answer is worth is the business of `score`.

pub mod bootstrap;
pub mod correction;
pub mod groups;
mod interval;
pub mod paired;
pub mod power;
pub mod quantile;
mod sample;
pub mod sign;
pub mod wilson;

pub use interval::{Interval, Level};
pub use sample::{Cluster, Sample};

#[cfg(test)]
mod coverage;
