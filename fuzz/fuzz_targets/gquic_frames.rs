//! A packet of Q044: its header, and the frames of its payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quic_proto::gquic::wire::{Frame, Frames, header, negotiation, reset::PublicReset};
use quic_proto::id::Side;

fuzz_target!(|data: &[u8]| {
    for from in [Side::Client, Side::Server] {
        if let Ok(long) = header::parse_long(data, from) {
            assert!(long.len <= data.len());
        }
        if let Ok(short) = header::parse_short(data, from) {
            assert!(short.len <= data.len());
        }
    }
    if let Some(negotiation) = negotiation::parse(data) {
        assert!(negotiation.versions.count() <= data.len() / 4);
    }
    let _ = negotiation::parse_public(data);
    let _ = PublicReset::parse(data);

    for frame in Frames::new(data) {
        let Ok(frame) = frame else { return };
        if let Frame::Ack(ack) = frame {
            // Validated at parse: the ranges descend, none is empty, none touches another, and all numbers are positive.
            let mut below = u64::MAX;
            for range in ack.ranges.clone() {
                assert!(*range.start() >= 1 && range.start() <= range.end() && *range.end() < below);
                below = range.start() - 1;
            }
        }
    }
});
