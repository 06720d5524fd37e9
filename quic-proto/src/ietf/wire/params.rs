//! Transport parameters, RFC 9000 §18.
//!
//! Owns their encoding in the TLS extension, their defaults, and the checks of single values. That the connection ids in them agree with
//! those in packet headers (§7.3) is checked by the handshake. One is apart, [`VersionInformation`]: it is checked here with the others, but a
//! list of any length is not kept.
//!
//! Invariants: what [`TransportParameters::decode`] returns is valid; unknown parameters are ignored (§7.4.2). No timers: the durations
//! here are read by those who run them.

use super::frame::MAX_STREAMS;
use super::version_info::VersionInformation;
use crate::codec::{Reader, UnexpectedEnd, varint};
use crate::error::{TransportError, TransportErrorCode};
use crate::id::{Cid, ResetToken, Side};
use crate::rng::Rng;
use smallvec::SmallVec;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

/// The largest UDP payload there can be, and the default of `max_udp_payload_size`.
pub const MAX_UDP_PAYLOAD: u64 = 65527;

/// What one end of a connection declares about itself (RFC 9000 §18.2). [`Default`] is what holds if nothing is declared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransportParameters {
    /// Destination of the client's first Initial; only a server sends it.
    pub original_destination_connection_id: Option<Cid>,
    /// Silence after which the sender of this gives the connection up; zero is never. Whole milliseconds on the wire.
    pub max_idle_timeout: Duration,
    /// Token of a stateless reset for the id used in the handshake; only a server sends it.
    pub stateless_reset_token: Option<ResetToken>,
    /// The largest UDP payload that its sender takes, in bytes, at least 1200.
    pub max_udp_payload_size: u64,
    /// Bytes that may be sent to it on all streams together.
    pub initial_max_data: u64,
    /// Bytes that may be sent to it on a bidirectional stream that it opened.
    pub initial_max_stream_data_bidi_local: u64,
    /// Bytes that may be sent to it on a bidirectional stream that its peer opened.
    pub initial_max_stream_data_bidi_remote: u64,
    /// Bytes that may be sent to it on a unidirectional stream.
    pub initial_max_stream_data_uni: u64,
    /// How many bidirectional streams its peer may open, at most 2^60.
    pub initial_max_streams_bidi: u64,
    /// How many unidirectional streams its peer may open, at most 2^60.
    pub initial_max_streams_uni: u64,
    /// The ACK Delay fields that it sends count 2^this microseconds; at most 20.
    pub ack_delay_exponent: u8,
    /// The longest that it delays an acknowledgement on purpose; below 2^14 whole milliseconds.
    pub max_ack_delay: Duration,
    /// Whether its peer must not migrate away from the address of the handshake.
    pub disable_active_migration: bool,
    /// Where the server would rather be reached; only a server sends it.
    pub preferred_address: Option<PreferredAddress>,
    /// How many of its peer's connection ids it stores, at least 2.
    pub active_connection_id_limit: u64,
    /// Source of the first Initial that it sent.
    pub initial_source_connection_id: Option<Cid>,
    /// Source of the Retry that it sent; only a server sends it.
    pub retry_source_connection_id: Option<Cid>,
    /// The largest DATAGRAM frame that it takes, in bytes; zero is none (RFC 9221 §3).
    pub max_datagram_frame_size: u64,
}

/// A server's preferred address (RFC 9000 §18.2, §9.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PreferredAddress {
    /// The IPv4 address, if there is one.
    pub ipv4: Option<SocketAddrV4>,
    /// The IPv6 address, if there is one.
    pub ipv6: Option<SocketAddrV6>,
    /// The connection id with sequence number 1; never empty.
    pub cid: Cid,
    /// The stateless reset token of that id.
    pub reset_token: ResetToken,
}

impl Default for TransportParameters {
    fn default() -> Self {
        Self {
            original_destination_connection_id: None,
            max_idle_timeout: Duration::ZERO,
            stateless_reset_token: None,
            max_udp_payload_size: MAX_UDP_PAYLOAD,
            initial_max_data: 0,
            initial_max_stream_data_bidi_local: 0,
            initial_max_stream_data_bidi_remote: 0,
            initial_max_stream_data_uni: 0,
            initial_max_streams_bidi: 0,
            initial_max_streams_uni: 0,
            ack_delay_exponent: 3,
            max_ack_delay: Duration::from_millis(25),
            disable_active_migration: false,
            preferred_address: None,
            active_connection_id_limit: 2,
            initial_source_connection_id: None,
            retry_source_connection_id: None,
            max_datagram_frame_size: 0,
        }
    }
}

impl TransportParameters {
    /// Parses and checks what `sender` sent.
    ///
    /// # Errors
    /// `TRANSPORT_PARAMETER_ERROR` if it is malformed, a value is out of range, a parameter comes twice or is not the sender's to send.
    pub fn decode(bytes: &[u8], sender: Side) -> Result<Self, TransportError> {
        Self::parse(bytes, sender).map_err(TransportError::from)
    }

    /// Appends the encoding to `out`. What equals the default is left out. One parameter of a reserved id is added (RFC 9000 §18.1), so
    /// that peers do not forget to ignore what they do not know.
    pub fn encode(&self, out: &mut Vec<u8>, rng: &mut dyn Rng) {
        let default = Self::default();
        put_id(out, ids::ORIGINAL_DCID, self.original_destination_connection_id.as_ref());
        put_id(out, ids::INITIAL_SCID, self.initial_source_connection_id.as_ref());
        put_id(out, ids::RETRY_SCID, self.retry_source_connection_id.as_ref());
        if let Some(token) = &self.stateless_reset_token {
            put(out, ids::RESET_TOKEN, &token.0);
        }
        for (id, value, absent) in [
            (ids::IDLE_TIMEOUT, millis(self.max_idle_timeout), millis(default.max_idle_timeout)),
            (ids::UDP_PAYLOAD, self.max_udp_payload_size, default.max_udp_payload_size),
            (ids::MAX_DATA, self.initial_max_data, 0),
            (ids::DATA_BIDI_LOCAL, self.initial_max_stream_data_bidi_local, 0),
            (ids::DATA_BIDI_REMOTE, self.initial_max_stream_data_bidi_remote, 0),
            (ids::DATA_UNI, self.initial_max_stream_data_uni, 0),
            (ids::STREAMS_BIDI, self.initial_max_streams_bidi, 0),
            (ids::STREAMS_UNI, self.initial_max_streams_uni, 0),
            (ids::ACK_EXPONENT, self.ack_delay_exponent.into(), default.ack_delay_exponent.into()),
            (ids::ACK_DELAY, millis(self.max_ack_delay), millis(default.max_ack_delay)),
            (ids::ACTIVE_IDS, self.active_connection_id_limit, default.active_connection_id_limit),
            (ids::DATAGRAM, self.max_datagram_frame_size, 0),
        ] {
            if value != absent {
                put_varint(out, id.into());
                put_varint(out, varint::size(value) as u64);
                put_varint(out, value);
            }
        }
        if self.disable_active_migration {
            put(out, ids::NO_MIGRATION, &[]);
        }
        if let Some(preferred) = &self.preferred_address {
            put(out, ids::PREFERRED_ADDRESS, &preferred.encoded());
        }
        put_reserved(out, rng);
    }

    fn parse(bytes: &[u8], sender: Side) -> Result<Self, Invalid> {
        let mut parameters = Self::default();
        let mut reader = Reader::new(bytes);
        // At most one id for two bytes of input.
        let mut seen = SmallVec::<[u64; 32]>::new();
        while !reader.is_empty() {
            let id = reader.varint()?;
            let value = reader.varint_bytes()?;
            seen.push(id);
            if let Ok(id) = u8::try_from(id) {
                parameters.set(id, value, sender)?;
            }
        }
        // RFC 9000 §7.4: "An endpoint SHOULD treat receipt of duplicate transport parameters as a connection error of type
        // TRANSPORT_PARAMETER_ERROR."
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Invalid("a transport parameter came twice"));
        }
        // RFC 9000 §18.2: "A server that chooses a zero-length connection ID MUST NOT provide a preferred address."
        let no_id = parameters.initial_source_connection_id.is_some_and(|id| id.is_empty());
        if no_id && parameters.preferred_address.is_some() {
            return Err(Invalid("a preferred address of a server without connection ids"));
        }
        Ok(parameters)
    }

    /// Takes the value of one parameter, if it is known.
    fn set(&mut self, id: u8, value: &[u8], sender: Side) -> Result<(), Invalid> {
        // RFC 9000 §18.2: "A server MUST treat receipt of any of these transport parameters as a connection error of type
        // TRANSPORT_PARAMETER_ERROR."
        let server_only =
            matches!(id, ids::ORIGINAL_DCID | ids::PREFERRED_ADDRESS | ids::RETRY_SCID | ids::RESET_TOKEN);
        if server_only && sender.is_client() {
            return Err(Invalid("a client sent a transport parameter that only a server may"));
        }
        match id {
            ids::ORIGINAL_DCID => self.original_destination_connection_id = Some(cid(value)?),
            ids::IDLE_TIMEOUT => self.max_idle_timeout = Duration::from_millis(integer(value)?),
            ids::RESET_TOKEN => self.stateless_reset_token = Some(reset_token(value)?),
            // "Values below 1200 are invalid."
            ids::UDP_PAYLOAD => self.max_udp_payload_size = bounded(value, 1200, varint::MAX)?,
            ids::MAX_DATA => self.initial_max_data = integer(value)?,
            ids::DATA_BIDI_LOCAL => self.initial_max_stream_data_bidi_local = integer(value)?,
            ids::DATA_BIDI_REMOTE => self.initial_max_stream_data_bidi_remote = integer(value)?,
            ids::DATA_UNI => self.initial_max_stream_data_uni = integer(value)?,
            // RFC 9000 §4.6: "If a max_streams transport parameter or a MAX_STREAMS frame is received with a value greater than 2^60 …
            // the connection MUST be closed immediately with a connection error of type TRANSPORT_PARAMETER_ERROR"
            ids::STREAMS_BIDI => self.initial_max_streams_bidi = bounded(value, 0, MAX_STREAMS)?,
            ids::STREAMS_UNI => self.initial_max_streams_uni = bounded(value, 0, MAX_STREAMS)?,
            // "Values above 20 are invalid."
            ids::ACK_EXPONENT => self.ack_delay_exponent = bounded(value, 0, 20)? as u8,
            // "Values of 2^14 or greater are invalid."
            ids::ACK_DELAY => self.max_ack_delay = Duration::from_millis(bounded(value, 0, (1 << 14) - 1)?),
            ids::NO_MIGRATION if value.is_empty() => self.disable_active_migration = true,
            ids::NO_MIGRATION => return Err(Invalid("disable_active_migration has a value")),
            ids::PREFERRED_ADDRESS => self.preferred_address = Some(PreferredAddress::decode(value)?),
            // "The value of the active_connection_id_limit parameter MUST be at least 2."
            ids::ACTIVE_IDS => self.active_connection_id_limit = bounded(value, 2, varint::MAX)?,
            ids::INITIAL_SCID => self.initial_source_connection_id = Some(cid(value)?),
            ids::RETRY_SCID => self.retry_source_connection_id = Some(cid(value)?),
            ids::VERSIONS => {
                VersionInformation::parse(value, sender)?;
            }
            ids::DATAGRAM => self.max_datagram_frame_size = integer(value)?,
            // RFC 9000 §7.4.2: "An endpoint MUST ignore transport parameters that it does not support."
            _ => {}
        }
        Ok(())
    }
}

impl PreferredAddress {
    fn decode(value: &[u8]) -> Result<Self, Invalid> {
        let mut reader = Reader::new(value);
        let ipv4 = SocketAddrV4::new(Ipv4Addr::from(reader.array::<4>()?), reader.u16()?);
        let ipv6 = SocketAddrV6::new(Ipv6Addr::from(reader.array::<16>()?), reader.u16()?, 0, 0);
        let cid_len = usize::from(reader.u8()?);
        let cid = cid(reader.bytes(cid_len)?)?;
        let reset_token = reset_token(reader.rest())?;
        // RFC 9000 §18.2: "a server MUST NOT include a zero-length connection ID in this transport parameter. A client MUST treat a
        // violation of these requirements as a connection error of type TRANSPORT_PARAMETER_ERROR."
        if cid.is_empty() {
            return Err(Invalid("a preferred address without a connection id"));
        }
        // "Servers MAY choose to only send a preferred address of one address family by sending an all-zero address and port"
        let ipv4 = Some(ipv4).filter(|address| !address.ip().is_unspecified() || address.port() != 0);
        let ipv6 = Some(ipv6).filter(|address| !address.ip().is_unspecified() || address.port() != 0);
        Ok(Self { ipv4, ipv6, cid, reset_token })
    }

    fn encoded(&self) -> SmallVec<[u8; 64]> {
        let ipv4 = self.ipv4.unwrap_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let ipv6 = self.ipv6.unwrap_or(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
        let mut value = SmallVec::new();
        value.extend_from_slice(&ipv4.ip().octets());
        value.extend_from_slice(&ipv4.port().to_be_bytes());
        value.extend_from_slice(&ipv6.ip().octets());
        value.extend_from_slice(&ipv6.port().to_be_bytes());
        value.push(self.cid.len() as u8);
        value.extend_from_slice(&self.cid);
        value.extend_from_slice(&self.reset_token.0);
        value
    }
}

/// Ids of the parameters that are known: RFC 9000 §18.2, RFC 9368 §3 and RFC 9221 §3.
pub(super) mod ids {
    pub(super) const ORIGINAL_DCID: u8 = 0x00;
    pub(super) const IDLE_TIMEOUT: u8 = 0x01;
    pub(super) const RESET_TOKEN: u8 = 0x02;
    pub(super) const UDP_PAYLOAD: u8 = 0x03;
    pub(super) const MAX_DATA: u8 = 0x04;
    pub(super) const DATA_BIDI_LOCAL: u8 = 0x05;
    pub(super) const DATA_BIDI_REMOTE: u8 = 0x06;
    pub(super) const DATA_UNI: u8 = 0x07;
    pub(super) const STREAMS_BIDI: u8 = 0x08;
    pub(super) const STREAMS_UNI: u8 = 0x09;
    pub(super) const ACK_EXPONENT: u8 = 0x0a;
    pub(super) const ACK_DELAY: u8 = 0x0b;
    pub(super) const NO_MIGRATION: u8 = 0x0c;
    pub(super) const PREFERRED_ADDRESS: u8 = 0x0d;
    pub(super) const ACTIVE_IDS: u8 = 0x0e;
    pub(super) const INITIAL_SCID: u8 = 0x0f;
    pub(super) const RETRY_SCID: u8 = 0x10;
    pub(in super::super) const VERSIONS: u8 = 0x11;
    pub(super) const DATAGRAM: u8 = 0x20;
}

/// What is wrong with the parameters.
pub(super) struct Invalid(pub(super) &'static str);

impl From<Invalid> for TransportError {
    fn from(Invalid(reason): Invalid) -> Self {
        Self::new(TransportErrorCode::TRANSPORT_PARAMETER_ERROR, reason)
    }
}

impl From<UnexpectedEnd> for Invalid {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self("the transport parameters are truncated")
    }
}

/// A value that is one variable-length integer and nothing after it.
fn integer(value: &[u8]) -> Result<u64, Invalid> {
    match varint::decode(value) {
        Some((number, len)) if len == value.len() => Ok(number),
        _ => Err(Invalid("a transport parameter is not a single integer")),
    }
}

fn bounded(value: &[u8], least: u64, most: u64) -> Result<u64, Invalid> {
    let number = integer(value)?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(Invalid("a transport parameter is out of range"))
    }
}

fn cid(value: &[u8]) -> Result<Cid, Invalid> {
    Cid::new(value).map_err(|_| Invalid("a connection id of more than 20 bytes"))
}

fn reset_token(value: &[u8]) -> Result<ResetToken, Invalid> {
    value.try_into().map(ResetToken).map_err(|_| Invalid("a stateless reset token has not 16 bytes"))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(varint::MAX)
}

pub(super) fn put_varint(out: &mut Vec<u8>, value: u64) {
    let mut bytes = [0; 8];
    let len = varint::encode(value, &mut bytes).unwrap_or(0);
    out.extend_from_slice(&bytes[..len]);
}

fn put(out: &mut Vec<u8>, id: u8, value: &[u8]) {
    put_varint(out, id.into());
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn put_id(out: &mut Vec<u8>, id: u8, value: Option<&Cid>) {
    if let Some(value) = value {
        put(out, id, value);
    }
}

/// RFC 9000 §18.1: "Transport parameters with an identifier of the form `31 * N + 27` for integer values of N are reserved to exercise the
/// requirement that unknown transport parameters be ignored."
fn put_reserved(out: &mut Vec<u8>, rng: &mut dyn Rng) {
    let id = 31 * rng.below((varint::MAX - 27) / 31) + 27;
    let mut value = [0; 16];
    rng.fill(&mut value);
    let len = rng.below(value.len() as u64 + 1) as usize;
    put_varint(out, id);
    put_varint(out, len as u64);
    out.extend_from_slice(&value[..len]);
}

#[cfg(test)]
mod tests;
