//! (being built)
pub mod rtt;
pub mod token;
