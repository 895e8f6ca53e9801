//! Who is asked, in which order, and why the others are not. It calls nobody.

pub mod plan;
pub mod roster;
pub mod rules;
mod strategy;
