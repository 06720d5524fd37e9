//! Version Information, the transport parameter `version_information` (RFC 9368 §3).
//!
//! Owns its encoding and the checks of its bytes. What it means for the connection is decided by the handshake.
//!
//! Invariants: none of its versions is zero; those of a client contain the one that it chose. It is read where it lies: however many
//! versions a peer lists, nothing is kept of them. No timers.

use super::params::{Invalid, ids, put_varint};
use crate::codec::Reader;
use crate::error::TransportError;
use crate::id::Side;
use crate::invariants::Version;

/// What one end says about versions: the one in use, and others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionInformation<'a> {
    /// The version that its sender has chosen to use for this connection.
    pub chosen: Version,
    available: &'a [[u8; 4]],
}

impl<'a> VersionInformation<'a> {
    /// Finds it among the transport parameters that `sender` sent; `None` if it is not there.
    ///
    /// # Errors
    /// `TRANSPORT_PARAMETER_ERROR` if it, or what stands before it, is malformed.
    pub fn find(parameters: &'a [u8], sender: Side) -> Result<Option<Self>, TransportError> {
        Self::find_in(Reader::new(parameters), sender).map_err(TransportError::from)
    }

    /// The versions that its sender could speak too. A client prefers the first; the order of a server means nothing. Reserved versions may
    /// be among them.
    pub fn available(self) -> impl ExactSizeIterator<Item = Version> + 'a {
        self.available.iter().map(|bytes| Version(u32::from_be_bytes(*bytes)))
    }

    fn find_in(mut reader: Reader<'a>, sender: Side) -> Result<Option<Self>, Invalid> {
        while !reader.is_empty() {
            let (id, value) = (reader.varint()?, reader.varint_bytes()?);
            if id == u64::from(ids::VERSIONS) {
                return Self::parse(value, sender).map(Some);
            }
        }
        Ok(None)
    }

    /// Checks the value of the parameter.
    ///
    /// RFC 9368 §4: "If that leads to a parsing failure (for example, if it is too short or if its length is not divisible by four), then the
    /// endpoint MUST close the connection; if the connection was using QUIC version 1, that connection closure MUST use a transport error of
    /// type TRANSPORT_PARAMETER_ERROR."
    pub(super) fn parse(value: &'a [u8], sender: Side) -> Result<Self, Invalid> {
        let (versions, rest) = value.as_chunks();
        let Some((chosen, available)) = versions.split_first().filter(|_| rest.is_empty()) else {
            return Err(Invalid("version_information has no multiple of 4 bytes"));
        };
        // RFC 9368 §4: "If an endpoint receives a Chosen Version equal to zero, or any Available Version equal to zero, it MUST treat it as
        // a parsing failure."
        if versions.contains(&[0; 4]) {
            return Err(Invalid("version_information with version 0"));
        }
        // RFC 9368 §4: "If a server receives Version Information where the Chosen Version is not included in Available Versions, it MUST
        // treat it as a parsing failure."
        if sender.is_client() && !available.contains(chosen) {
            return Err(Invalid("a client's chosen version is not among its available versions"));
        }
        Ok(Self { chosen: Version(u32::from_be_bytes(*chosen)), available })
    }
}

/// Appends the parameter to other encoded transport parameters.
pub fn encode(out: &mut Vec<u8>, chosen: Version, available: &[Version]) {
    put_varint(out, ids::VERSIONS.into());
    put_varint(out, 4 * (1 + available.len() as u64));
    for version in [chosen].iter().chain(available) {
        out.extend_from_slice(&version.0.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
