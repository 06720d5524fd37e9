//! (being built)
pub mod token;
