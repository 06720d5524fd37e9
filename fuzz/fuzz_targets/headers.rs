//! The beginning of a datagram, before any key is known.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quic_proto::id::Cid;
use quic_proto::ietf::wire::{header, retry};
use quic_proto::invariants::{Peeked, Version, peek, spec};

fuzz_target!(|data: &[u8]| {
    if let Ok(Peeked::VersionNegotiation { versions, .. }) = peek(data, 8) {
        assert!(versions.count() <= data.len() / 4);
    }
    for version in [Version::V1, Version::V2] {
        let Some(spec) = spec(version) else { continue };
        if let Ok(long) = header::parse_long(data, spec) {
            assert!(long.number_offset <= long.packet_len && long.packet_len <= data.len());
        }
        let _ = retry::parse(data, spec, &Cid::EMPTY);
    }
    let _ = header::parse_short(data, 8);
});
