//! The payload of a packet, and what is read from it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quic_proto::ietf::wire::frame::{Frame, Frames};

fuzz_target!(|data: &[u8]| {
    for frame in Frames::new(data) {
        let Ok((_, frame)) = frame else { return };
        if let Frame::Ack(ack) = frame {
            // Validated at parse: the ranges descend and none is empty.
            let mut below = u64::MAX;
            for range in ack.ranges.clone() {
                assert!(range.start() <= range.end() && *range.end() < below);
                below = *range.start();
            }
        }
    }
});
