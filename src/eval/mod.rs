//! Which model answers a labelled set of questions best, for what money, how fast, and whether that is more than chance.
//!
//! A set is read and checked whole ([`dataset`]), every model is asked every question in an order that hits all alike
//! ([`asking`]), answers are held to the truth ([`measured`]), and what they come to is put together with its
//! uncertainty ([`summary`]). Everything but the asking can be done again from the lines that were written.

pub mod asking;
pub mod calls;
pub mod dataset;
pub mod earlier;
pub mod gate;
pub mod judge;
pub mod manifest;
pub mod measured;
pub mod record;
pub mod report;
pub mod results;
pub mod summary;

use vision_providers::request::CacheMode;

/// How every model is asked.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// As they were named; the first is what the others are compared to, unless another is named for it.
    pub models: Vec<String>,
    /// How often each question is put to each model.
    pub repeats: u32,
    /// Of the order of the questions, and of everything that is drawn at random.
    pub seed: u64,
    /// Sent to those who take one; left to the models when absent.
    pub temperature: Option<f64>,
    pub max_output_tokens: Option<u32>,
    pub cache: CacheMode,
}

#[cfg(test)]
mod tests;
