//! What is done with datagrams that belong to no connection.
//!
//! Owns nothing of its own: these are the methods of [`Router`] for strangers. Invariant: nothing is kept of a client before the
//! application is asked about it. Timers: none.

use super::{Router, limits};
use crate::config::ServerConfig;
use crate::config::family::{Greeting, ServerFamily, Stranger};
use crate::crypto::token::ValidToken;
use crate::endpoint::incoming::{AddressProof, Details, Incoming};
use crate::endpoint::outcome::{DropReason, Routed};
use crate::endpoint::stateless;
use crate::error::TransportErrorCode;
use crate::id::Cid;
use crate::ietf::wire::header::{LongHeader, LongKind, parse_long};
use crate::invariants::{Version, VersionSpec, spec};
use crate::net::{Datagram, FourTuple, Transmit};
use crate::time::Instant;
use smallvec::SmallVec;

/// RFC 9000 §14.1: "A server MUST discard an Initial packet that is carried in a UDP datagram with a payload that is smaller than the
/// smallest allowed maximum datagram size of 1200 bytes."
const MIN_INITIAL_DATAGRAM: usize = 1200;

/// Google's clients pad the part of a first packet behind the header to this much. An answer is far smaller.
const MIN_OLD_HELLO: usize = 1024;

/// RFC 9000 §7.2: the id that a client makes up "MUST be at least 8 bytes in length".
const MIN_INITIAL_CID: usize = 8;

impl Router {
    /// A packet with a short header to an unknown id: tell the peer that its connection is gone (RFC 9000 §10.3).
    pub(super) fn reset(
        &mut self,
        now: Instant,
        path: FourTuple,
        dcid: Option<Cid>,
        trigger: usize,
        out: &mut [u8],
    ) -> Routed {
        // Without ids of its own an endpoint has no reset token that it could have given.
        let Some(dcid) = dcid.filter(|dcid| !dcid.is_empty()) else {
            return Routed::Dropped(DropReason::UnknownConnection);
        };
        let Some(len) = stateless::reset(out, &mut *self.rng, &self.config.reset_key, &dcid, trigger) else {
            return Routed::Dropped(DropReason::UnknownConnection);
        };
        if !self.resets.allow(now) {
            return Routed::Dropped(DropReason::RateLimited);
        }
        self.stats.resets += 1;
        Routed::Respond(Transmit::single(path, len))
    }

    /// A packet with a long header that no connection waits for (RFC 9000 §5.2.2).
    pub(super) fn greet(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
        version: Version,
        ids: (&[u8], &[u8]),
        out: &mut [u8],
    ) -> Routed {
        let Some(server) = self.server.clone() else { return Routed::Dropped(DropReason::NotServer) };
        if let Some(family) = server.family_of(version).cloned() {
            return self.greet_as(now, datagram, &server, &*family, version, out);
        }
        let with_tls = server.tls.is_some() && self.config.versions.contains(&version);
        let Some(spec) = spec(version).filter(|_| with_tls) else {
            return self.negotiate(datagram.path, datagram.payload.len(), version, ids, out);
        };
        match parse_long(datagram.payload, spec) {
            Ok(header) if header.kind == LongKind::Initial => {
                self.meet(now, datagram, &server, spec, &header, out)
            }
            // RFC 9000 §5.2.2: "Servers MUST drop incoming packets under all other circumstances."
            Ok(_) => Routed::Dropped(DropReason::UnknownConnection),
            Err(_) => Routed::Dropped(DropReason::Malformed),
        }
    }

    /// A packet with a long header of a family beside the IETF's.
    fn greet_as(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
        server: &ServerConfig,
        family: &dyn ServerFamily,
        version: Version,
        out: &mut [u8],
    ) -> Routed {
        let (path, versions) = (datagram.path, self.versions());
        let stranger =
            Stranger { now: self.epoch.at(now), path, payload: datagram.payload, versions: &versions };
        let dcid = match family.greet(&mut *self.rng, &stranger, out) {
            Greeting::Answer(len) => return answer(path, len),
            Greeting::Ignore => return Routed::Dropped(DropReason::UnknownConnection),
            Greeting::Meet(dcid) => dcid,
        };
        if self.is_full() {
            let Some(len) = family.refuse(&dcid, out) else { return Routed::Dropped(DropReason::NoRoom) };
            self.stats.refused += 1;
            return answer(path, len);
        }
        // The token that the client has is a proof of its address as much as the answer to a Retry packet.
        let address = AddressProof::Retry { original_dcid: dcid, retry_scid: dcid };
        self.ask(now, datagram, server, version, (dcid, Cid::EMPTY), address)
    }

    /// A short packet that nobody knows and that may be of a family's older versions.
    pub(super) fn greet_old(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
        out: &mut [u8],
    ) -> Option<Routed> {
        let server = self.server.clone()?;
        let (path, versions) = (datagram.path, self.versions());
        let stranger =
            Stranger { now: self.epoch.at(now), path, payload: datagram.payload, versions: &versions };
        let len = server.families.iter().find_map(|family| family.greet_old(&stranger, out))?;
        self.stats.negotiations += 1;
        Some(answer(path, len))
    }

    /// All versions that a client may speak with this endpoint, the preferred one first.
    pub(super) fn versions(&self) -> SmallVec<[Version; 4]> {
        let Some(server) = &self.server else { return SmallVec::new() };
        let with_tls = self.config.versions.iter().filter(|_| server.tls.is_some());
        with_tls.chain(server.families.iter().flat_map(|family| family.versions())).copied().collect()
    }

    fn negotiate(
        &mut self,
        path: FourTuple,
        len: usize,
        asked: Version,
        ids: (&[u8], &[u8]),
        out: &mut [u8],
    ) -> Routed {
        // RFC 9000 §5.2.2: "Servers MUST drop smaller packets that specify unsupported versions." Older clients do not pad as much.
        let smallest = if asked.packs_id_lengths() { MIN_OLD_HELLO } else { MIN_INITIAL_DATAGRAM };
        if len < smallest {
            return Routed::Dropped(DropReason::TooShort);
        }
        let (versions, grease) = (self.versions(), self.config.grease_version_negotiation);
        match stateless::version_negotiation(out, &mut *self.rng, ids, asked.0, &versions, grease) {
            Some(len) => {
                self.stats.negotiations += 1;
                Routed::Respond(Transmit::single(path, len))
            }
            None => Routed::Dropped(DropReason::NoRoom),
        }
    }

    /// The first Initial packet of a client.
    fn meet(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
        server: &ServerConfig,
        spec: &'static VersionSpec,
        header: &LongHeader<'_>,
        out: &mut [u8],
    ) -> Routed {
        let path = datagram.path;
        if datagram.payload.len() < MIN_INITIAL_DATAGRAM {
            return Routed::Dropped(DropReason::TooShort);
        }
        let ids = (&header.dcid, &header.scid);
        let address = self.check_token(now, server, path, header);
        if header.dcid.len() < MIN_INITIAL_CID && !matches!(address, Ok(AddressProof::Retry { .. })) {
            return Routed::Dropped(DropReason::ShortConnectionId);
        }
        let address = match address {
            Ok(_) if self.is_full() => Err(TransportErrorCode::CONNECTION_REFUSED),
            other => other,
        };
        let address = match address {
            Ok(address) => address,
            Err(code) => {
                let transmit = self.close_unborn(path, spec, ids, code, out);
                return transmit.map_or(Routed::Dropped(DropReason::NoRoom), Routed::Respond);
            }
        };
        self.ask(now, datagram, server, header.version, (header.dcid, header.scid), address)
    }

    /// Keeps a client's datagram until the application has decided about it.
    fn ask(
        &mut self,
        now: Instant,
        datagram: &Datagram<'_>,
        server: &ServerConfig,
        version: Version,
        (dcid, scid): (Cid, Cid),
        address: AddressProof,
    ) -> Routed {
        let path = datagram.path;
        while let Some((id, expired)) = self.pending.pop_expired(now) {
            self.demux.remove_pending(expired.remote, expired.dcid, id);
        }
        let Some(id) = self.pending.insert(now, dcid, datagram, limits(server)) else {
            return Routed::Dropped(DropReason::TooManyIncoming);
        };
        self.demux.set_pending(path.remote, dcid, id);
        Routed::Incoming(Incoming(Box::new(Details { id, path, version, dcid, scid, address })))
    }

    /// What the token in an Initial packet proves; an error code if the client must be told to start anew.
    fn check_token(
        &mut self,
        now: Instant,
        server: &ServerConfig,
        path: FourTuple,
        header: &LongHeader<'_>,
    ) -> Result<AddressProof, TransportErrorCode> {
        if header.token.is_empty() {
            return Ok(AddressProof::None);
        }
        match server.token_key.open(header.token, path.remote, self.epoch.at(now), header.version) {
            Ok(ValidToken::Retry { original_dcid, retry_scid }) if retry_scid == header.dcid => {
                Ok(AddressProof::Retry { original_dcid, retry_scid })
            }
            Ok(ValidToken::New { unique, .. }) if self.used_tokens.insert(unique) => {
                Ok(AddressProof::EarlierConnection)
            }
            // RFC 9000 §8.1.2: with an invalid Retry token "the server SHOULD immediately close the connection with an INVALID_TOKEN
            // error".
            Ok(ValidToken::Retry { .. }) => Err(TransportErrorCode::INVALID_TOKEN),
            Err(invalid) if invalid.is_fatal() => Err(TransportErrorCode::INVALID_TOKEN),
            // RFC 9000 §8.1.3: "If the token is invalid, then the server SHOULD proceed as if the client did not have a validated
            // address". One that was used before is no better.
            Ok(ValidToken::New { .. }) | Err(_) => Ok(AddressProof::None),
        }
    }

    pub(super) fn close_unborn(
        &mut self,
        path: FourTuple,
        spec: &VersionSpec,
        (dcid, scid): (&Cid, &Cid),
        code: TransportErrorCode,
        out: &mut [u8],
    ) -> Option<Transmit> {
        let own = self.response_cid();
        let len = stateless::initial_close(out, spec, dcid, scid, &own, code)?;
        self.stats.refused += 1;
        Some(Transmit::single(path, len))
    }

    /// An id for a packet without a connection: by the application's generator, as load balancers may look at it; but of at least 8
    /// bytes, so that the client's next packet is told from others'.
    pub(super) fn response_cid(&mut self) -> Cid {
        if self.config.cid_len >= MIN_INITIAL_CID {
            return self.config.cids.generate(&mut *self.rng);
        }
        let random = self.rng.next_u64().to_le_bytes();
        Cid::new(&random).expect("invariant: 8 bytes are not more than 20")
    }
}

/// The answer of this length that was written.
fn answer(path: FourTuple, len: usize) -> Routed {
    Routed::Respond(Transmit::single(path, len))
}
