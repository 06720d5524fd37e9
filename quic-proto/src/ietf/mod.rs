//! (being built)
pub mod crypto_stream;
pub mod keys;
pub mod stash;
