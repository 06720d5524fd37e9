//! Configuration: plain values, collected by setters that take and return `self`, checked once by `build()`.
//!
//! Owns four types, and in [`family`] what protocol families beside the IETF's add to them. [`EndpointConfig`] says how an endpoint names
//! its connections and answers strangers; [`ServerConfig`] what it does with clients; [`ClientConfig`] how one connection is opened;
//! [`TransportConfig`] the limits and timing of a connection, on either side.
//!
//! Invariant: what `build()` returned lies within the ranges that the RFCs and this library's own memory bounds ask for. Who leaves `build()`
//! out hears of what is wrong when a connection is to be opened or accepted: no connection comes about with such a configuration, and nothing
//! behind that door checks a configured number again. Secrets are not printed by `Debug`.
//!
//! Timers: none.

mod client;
mod endpoint;
pub mod family;
mod server;
mod transport;

pub use client::ClientConfig;
pub use endpoint::EndpointConfig;
pub use server::ServerConfig;
pub use transport::TransportConfig;

use crate::invariants::Version;

/// A configuration that cannot work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number is outside its range.
    #[error("{name} is {value}, it must be from {min} to {max}")]
    OutOfRange {
        /// The setting and its unit.
        name: &'static str,
        /// What it was set to.
        value: u64,
        /// The least value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// A window starts above the ceiling that it may grow to.
    #[error("{name} starts at {initial} bytes, above its ceiling of {ceiling}")]
    WindowAboveCeiling {
        /// The window.
        name: &'static str,
        /// Its initial size in bytes.
        initial: u64,
        /// Its ceiling in bytes.
        ceiling: u64,
    },
    /// Keep-alives further apart than the idle timeout keep nothing alive (RFC 9000 §10.1.2).
    #[error("the keep-alive interval is not below the idle timeout")]
    KeepAliveTooSlow,
    /// The list of versions is empty.
    #[error("no QUIC version is configured")]
    NoVersions,
    /// A version that this library does not speak, or one reserved to exercise version negotiation.
    #[error("QUIC version {0:#010x} is not supported")]
    UnsupportedVersion(u32),
}

/// Checks that `min <= value <= max`.
fn in_range(name: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(ConfigError::OutOfRange { name, value, min, max }) }
}

/// Checks a list of versions to offer or to accept, of which `known` are those that can be spoken.
fn check_versions(versions: &[Version], known: impl Fn(Version) -> bool) -> Result<(), ConfigError> {
    if versions.is_empty() {
        return Err(ConfigError::NoVersions);
    }
    match versions.iter().find(|version| !known(**version)) {
        Some(unknown) => Err(ConfigError::UnsupportedVersion(unknown.0)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
