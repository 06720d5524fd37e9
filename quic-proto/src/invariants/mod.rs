//! (being built)
pub mod version;
