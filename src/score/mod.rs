//! What an answer is worth against a truth: the measures of the field, pure and bounded in time.
//!
//! A [`Yardstick`] is a [`Metric`] with one item's [`Truth`], checked when it is made; measuring cannot fail. Answers
//! come from models and are hostile until proven otherwise: none is evaluated, and none takes long, whatever it is.
//!
//! How the figures of many items are put together is not here, but in [`statistics`](crate::statistics).

pub mod boxes;
pub mod date;
pub mod differences;
pub mod fields;
pub mod json;
mod metric;
pub mod number;
mod pairing;
pub mod pattern;
pub mod reading;
pub mod text;
mod yardstick;

pub use metric::{Better, Figures, Metric};
pub use yardstick::{Settings, Truth, Yardstick};

#[cfg(test)]
mod faults;
