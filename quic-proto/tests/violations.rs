//! What a peer must not do, done: the connection is closed with exactly the error code that RFC 9000 names, and the peer is told.

mod common;

use common::raw::Raw;
use quic_proto::codec::Writer;
use quic_proto::config::TransportConfig;
use quic_proto::error::{AppError, TransportErrorCode as Code};
use quic_proto::id::{Cid, Dir, Level, ResetToken, Side, StreamId};
use quic_proto::ietf::wire::{PreferredAddress, TransportParameters, encode};
use quic_proto::time::Duration;

fn transport() -> TransportConfig {
    TransportConfig::default()
        .max_bidi_streams(4)
        .max_uni_streams(4)
        .stream_window(1 << 14, 1 << 14)
        .connection_window(1 << 15, 1 << 15)
        .mtu_discovery(false)
}

/// Has a peer on `side` send these frames in a 1-RTT packet after the handshake; the verdict of the real end.
fn verdict(side: Side, frames: impl FnOnce(&mut Writer<'_>)) -> Option<Code> {
    let mut raw = Raw::connected(side, transport());
    raw.frames(frames);
    if raw.verdict().is_some() {
        assert!(
            raw.seen.iter().any(|(_, frame)| frame.starts_with("ConnectionClose")),
            "it is told: {:?}",
            raw.seen
        );
    }
    raw.verdict().map(|(code, _)| Code(code))
}

/// The same whichever end misbehaves.
fn both(expected: Code, frames: impl Fn(&mut Writer<'_>)) {
    for side in [Side::Client, Side::Server] {
        assert_eq!(verdict(side, &frames), Some(expected), "misbehaving {side:?}");
    }
}

fn stream(w: &mut Writer<'_>, id: u64, offset: u64, len: usize, fin: bool) {
    encode::stream_header(w, StreamId::from_u64(id), offset, Some(len), fin);
    w.zeros(len);
}

fn new_cid(w: &mut Writer<'_>, sequence: u64, retire_prior_to: u64, byte: u8) {
    let cid = Cid::new(&[byte; 8]).unwrap();
    encode::new_connection_id(w, sequence, retire_prior_to, &cid, &ResetToken([byte; 16]));
}

/// The first stream that a peer on this side may open.
fn own(side: Side, dir: Dir, index: u64) -> u64 {
    StreamId::new(side, dir, index).as_u64()
}

#[test]
fn a_peer_that_behaves_is_left_alone() {
    for side in [Side::Client, Side::Server] {
        let ok = verdict(side, |w| {
            encode::ping(w);
            stream(w, own(side, Dir::Bi, 0), 0, 100, false);
            stream(w, own(side, Dir::Uni, 3), 0, 100, true);
            encode::max_data(w, 5);
            encode::path_challenge(w, &[1; 8]);
            encode::streams_blocked(w, Dir::Bi, 4);
            new_cid(w, 1, 0, 1);
        });
        assert_eq!(ok, None);
    }
}

#[test]
fn packets_without_frames() {
    // RFC 9000 §12.4.
    both(Code::PROTOCOL_VIOLATION, |_| {});
}

#[test]
fn unknown_and_badly_formatted_frames() {
    // RFC 9000 §12.4: unknown types; types in a longer encoding than needed.
    both(Code::FRAME_ENCODING_ERROR, |w| w.varint(0x21));
    both(Code::FRAME_ENCODING_ERROR, |w| w.varint(0x3fff));
    both(Code::PROTOCOL_VIOLATION, |w| w.bytes(&[0x40, 0x01]));
    // A frame that ends too early.
    both(Code::FRAME_ENCODING_ERROR, |w| w.bytes(&[0x10]));
    // RFC 9000 §19.11: more streams than 2^60; §19.14 likewise.
    for kind in [0x12, 0x13, 0x16, 0x17] {
        both(Code::FRAME_ENCODING_ERROR, |w| {
            w.varint(kind);
            w.varint((1 << 60) + 1);
        });
    }
    // RFC 9000 §19.15: ids of 0 or more than 20 bytes, Retire Prior To above the sequence number.
    for len in [0, 21] {
        both(Code::FRAME_ENCODING_ERROR, |w| {
            w.bytes(&[0x18, 1, 0, len]);
            w.zeros(usize::from(len) + 16);
        });
    }
    both(Code::FRAME_ENCODING_ERROR, |w| {
        w.bytes(&[0x18, 1, 2, 8]);
        w.zeros(8 + 16);
    });
    // RFC 9000 §19.8: beyond the largest offset.
    both(Code::FRAME_ENCODING_ERROR, |w| {
        encode::stream_header(w, StreamId::from_u64(0), (1 << 62) - 1, Some(1), false);
        w.zeros(1);
    });
    // RFC 9000 §19.3.1: a range below zero.
    both(Code::FRAME_ENCODING_ERROR, |w| w.bytes(&[0x02, 1, 0, 0, 2]));
}

#[test]
fn frames_that_are_not_permitted_at_a_level() {
    // RFC 9000 §12.4, table 3.
    let frames: [fn(&mut Writer<'_>); 18] = [
        |w| encode::reset_stream(w, StreamId::from_u64(0), AppError::from(0), 0),
        |w| encode::stop_sending(w, StreamId::from_u64(0), AppError::from(0)),
        |w| encode::new_token(w, b"token"),
        |w| stream(w, 0, 0, 1, false),
        |w| encode::max_data(w, 1),
        |w| encode::max_stream_data(w, StreamId::from_u64(0), 1),
        |w| encode::max_streams(w, Dir::Bi, 1),
        |w| encode::max_streams(w, Dir::Uni, 1),
        |w| encode::data_blocked(w, 1),
        |w| encode::stream_data_blocked(w, StreamId::from_u64(0), 1),
        |w| encode::streams_blocked(w, Dir::Bi, 1),
        |w| encode::streams_blocked(w, Dir::Uni, 1),
        |w| new_cid(w, 1, 0, 1),
        |w| encode::retire_connection_id(w, 0),
        |w| encode::path_challenge(w, &[0; 8]),
        |w| encode::path_response(w, &[0; 8]),
        |w| encode::application_close(w, AppError::from(1), b""),
        |w| encode::handshake_done(w),
    ];
    for (case, frame) in frames.into_iter().enumerate() {
        for level in [Level::Initial, Level::Handshake] {
            let mut raw = before_finished();
            let mut packet = raw.build(level, 0, frame);
            raw.deliver(&mut packet);
            raw.exchange();
            assert_eq!(code(&raw), Some(Code::PROTOCOL_VIOLATION), "{level:?} {case}");
        }
    }
}

/// A client that has all keys and has not sent its Finished.
fn before_finished() -> Raw {
    let mut raw = Raw::new(Side::Client, transport());
    raw.held = Some(Vec::new());
    raw.hello(|_| {});
    raw.exchange();
    raw
}

fn code(raw: &Raw) -> Option<Code> {
    raw.verdict().map(|(code, _)| Code(code))
}

#[test]
fn small_datagrams_with_initial_packets() {
    // RFC 9000 §14.1: "A server MUST discard an Initial packet that is carried in a UDP datagram with a payload that is smaller than the
    // smallest allowed maximum datagram size of 1200 bytes", and not the first alone.
    for (size, discarded) in [(1199, 1), (1200, 0)] {
        let mut raw = before_finished();
        raw.initial_size = size;
        let before = raw.connection().stats();
        raw.packet(Level::Initial, 0, encode::ping);
        let after = raw.connection().stats();
        assert_eq!(after.counters.discarded_packets, before.counters.discarded_packets + discarded, "{size}");
        assert_eq!(
            after.counters.received.packets,
            before.counters.received.packets + 1 - discarded,
            "{size}"
        );
    }
}

#[test]
fn packets_with_another_source_id() {
    // RFC 9000 §7.2: "Any further changes to the Destination Connection ID are only permitted if the values are taken from NEW_CONNECTION_ID
    // frames; if subsequent Initial packets include a different Source Connection ID, they MUST be discarded."
    let mut raw = before_finished();
    raw.scid = Cid::new(b"somebody").unwrap();
    let before = raw.connection().stats();
    raw.packet(Level::Initial, 0, encode::ping);
    let after = raw.connection().stats();
    assert_eq!((after.counters.received.packets, code(&raw)), (before.counters.received.packets, None));
    assert_eq!(after.counters.discarded_packets, before.counters.discarded_packets + 1);
}

#[test]
fn reserved_bits_of_the_header() {
    // RFC 9000 §17.2, §17.3.1.
    for bits in [0x08, 0x10, 0x18] {
        for side in [Side::Client, Side::Server] {
            let mut raw = Raw::connected(side, transport());
            raw.packet(Level::OneRtt, bits, encode::ping);
            raw.exchange();
            assert_eq!(raw.verdict(), Some((Code::PROTOCOL_VIOLATION.0, None)));
        }
    }
    let mut raw = Raw::new(Side::Client, transport());
    raw.hello(|_| {});
    raw.packet(Level::Initial, 0x04, encode::ping);
    raw.exchange();
    assert_eq!(raw.verdict(), Some((Code::PROTOCOL_VIOLATION.0, None)));
}

#[test]
fn more_streams_than_the_limit() {
    // RFC 9000 §4.6.
    for side in [Side::Client, Side::Server] {
        for dir in Dir::ALL {
            let code = verdict(side, |w| stream(w, own(side, dir, 4), 0, 1, false));
            assert_eq!(code, Some(Code::STREAM_LIMIT_ERROR));
            // Every frame opens a stream, and those before it.
            let id = StreamId::from_u64(own(side, dir, 4));
            let cases: [&dyn Fn(&mut Writer<'_>); 2] =
                [&|w| encode::reset_stream(w, id, AppError::from(0), 0), &|w| {
                    encode::stream_data_blocked(w, id, 0);
                }];
            for frames in cases {
                assert_eq!(verdict(side, frames), Some(Code::STREAM_LIMIT_ERROR), "{side:?} {dir:?}");
            }
        }
        let id = StreamId::from_u64(own(side, Dir::Bi, 4));
        let cases: [&dyn Fn(&mut Writer<'_>); 2] =
            [&|w| encode::stop_sending(w, id, AppError::from(0)), &|w| encode::max_stream_data(w, id, 10)];
        for frames in cases {
            assert_eq!(verdict(side, frames), Some(Code::STREAM_LIMIT_ERROR), "{side:?}");
        }
    }
}

#[test]
fn more_data_than_the_limits() {
    for side in [Side::Client, Side::Server] {
        // RFC 9000 §4.1: a stream's limit, by data and by a final size.
        let id = own(side, Dir::Uni, 0);
        assert_eq!(verdict(side, |w| stream(w, id, (1 << 14) - 1, 2, false)), Some(Code::FLOW_CONTROL_ERROR));
        let reset = |w: &mut Writer<'_>| {
            encode::reset_stream(w, StreamId::from_u64(id), AppError::from(0), (1 << 14) + 1);
        };
        assert_eq!(verdict(side, reset), Some(Code::FLOW_CONTROL_ERROR));
        // The connection's limit: three streams that are within theirs.
        let code = verdict(side, |w| {
            for index in 0..3 {
                stream(w, own(side, Dir::Uni, index), (1 << 14) - 1, 1, false);
            }
        });
        assert_eq!(code, Some(Code::FLOW_CONTROL_ERROR));
        // By final sizes alone. RFC 9000 §4.5: "The final size is the amount of flow control credit that is consumed by a stream."
        let code = verdict(side, |w| {
            for index in 0..3 {
                let id = StreamId::from_u64(own(side, Dir::Uni, index));
                encode::reset_stream(w, id, AppError::from(0), 1 << 14);
            }
        });
        assert_eq!(code, Some(Code::FLOW_CONTROL_ERROR));
        let within = verdict(side, |w| {
            for index in 0..2 {
                stream(w, own(side, Dir::Uni, index), (1 << 14) - 1, 1, false);
            }
        });
        assert_eq!(within, None);
    }
}

#[test]
fn final_sizes_that_change() {
    // RFC 9000 §4.5.
    for side in [Side::Client, Side::Server] {
        let id = own(side, Dir::Bi, 0);
        let reset = |w: &mut Writer<'_>, size| {
            encode::reset_stream(w, StreamId::from_u64(id), AppError::from(0), size);
        };
        let cases: [&dyn Fn(&mut Writer<'_>); 5] = [
            &|w| (stream(w, id, 0, 10, true), stream(w, id, 10, 1, false)).0,
            &|w| (stream(w, id, 0, 10, true), stream(w, id, 5, 4, true)).0,
            &|w| (stream(w, id, 0, 10, false), stream(w, id, 0, 9, true)).0,
            &|w| (stream(w, id, 0, 10, false), reset(w, 9)).0,
            &|w| (stream(w, id, 0, 10, true), reset(w, 11)).0,
        ];
        for (case, frames) in cases.into_iter().enumerate() {
            assert_eq!(verdict(side, frames), Some(Code::FINAL_SIZE_ERROR), "{side:?} {case}");
        }
    }
}

#[test]
fn frames_for_streams_that_do_not_take_them() {
    for side in [Side::Client, Side::Server] {
        // RFC 9000 §19.8, §19.4: data on, and reset of, a stream that only we send on. §19.5, §19.10: a stop and a limit for a stream
        // that only they send on. And each for streams of ours that we did not open.
        let (ours_uni, ours_bidi) = (own(!side, Dir::Uni, 0), own(!side, Dir::Bi, 0));
        let theirs = StreamId::from_u64(own(side, Dir::Uni, 0));
        let id = StreamId::from_u64;
        let cases: [&dyn Fn(&mut Writer<'_>); 9] = [
            &|w| stream(w, ours_uni, 0, 1, false),
            &|w| encode::reset_stream(w, id(ours_uni), AppError::from(0), 0),
            &|w| encode::stream_data_blocked(w, id(ours_uni), 0),
            &|w| encode::stop_sending(w, theirs, AppError::from(0)),
            &|w| encode::max_stream_data(w, theirs, 10),
            &|w| stream(w, ours_bidi, 0, 1, false),
            &|w| encode::stop_sending(w, id(ours_bidi), AppError::from(0)),
            &|w| encode::max_stream_data(w, id(ours_bidi), 10),
            &|w| encode::reset_stream(w, id(ours_bidi), AppError::from(0), 0),
        ];
        for (case, frames) in cases.into_iter().enumerate() {
            assert_eq!(verdict(side, frames), Some(Code::STREAM_STATE_ERROR), "{side:?} {case}");
        }
    }
}

#[test]
fn frames_that_only_a_server_may_send() {
    // RFC 9000 §19.7, §19.20.
    assert_eq!(verdict(Side::Client, |w| encode::new_token(w, b"token")), Some(Code::PROTOCOL_VIOLATION));
    assert_eq!(verdict(Side::Client, encode::handshake_done), Some(Code::PROTOCOL_VIOLATION));
    assert_eq!(verdict(Side::Server, |w| encode::new_token(w, b"token")), None);
    // RFC 9000 §19.7: "A client MUST treat receipt of a NEW_TOKEN frame with an empty Token field as … FRAME_ENCODING_ERROR."
    assert_eq!(verdict(Side::Server, |w| w.bytes(&[0x07, 0])), Some(Code::FRAME_ENCODING_ERROR));
}

#[test]
fn acknowledgement_of_what_was_not_sent() {
    // RFC 9000 §13.1.
    both(Code::PROTOCOL_VIOLATION, |w| w.bytes(&[0x02, 0x7f, 0xff, 0, 0, 0]));
    for level in [Level::Initial, Level::Handshake] {
        let mut raw = before_finished();
        let mut packet = raw.build(level, 0, |w| w.bytes(&[0x02, 40, 0, 0, 0]));
        raw.deliver(&mut packet);
        assert_eq!(code(&raw), Some(Code::PROTOCOL_VIOLATION), "{level:?}");
    }
}

#[test]
fn connection_ids() {
    for side in [Side::Client, Side::Server] {
        // RFC 9000 §5.1.1: more than active_connection_id_limit.
        let many = verdict(side, |w| (1..40).for_each(|n| new_cid(w, n, 0, n as u8)));
        assert_eq!(many, Some(Code::CONNECTION_ID_LIMIT_ERROR), "{side:?}");
        // RFC 9000 §19.15: one sequence number, two ids.
        let code = verdict(side, |w| (new_cid(w, 1, 0, 1), new_cid(w, 1, 0, 2)).0);
        assert_eq!(code, Some(Code::PROTOCOL_VIOLATION), "{side:?}");
        // Sent again it is fine.
        assert_eq!(verdict(side, |w| (new_cid(w, 1, 0, 1), new_cid(w, 1, 0, 1)).0), None);
        // RFC 9000 §19.16: an id that was not issued, and the one that the packet came on.
        for sequence in [100, 0] {
            let code = verdict(side, |w| encode::retire_connection_id(w, sequence));
            assert_eq!(code, Some(Code::PROTOCOL_VIOLATION), "{side:?} {sequence}");
        }
        assert_eq!(verdict(side, |w| encode::retire_connection_id(w, 1)), None);
        // RFC 9000 §19.15: one id, two sequence numbers or two tokens.
        let code = verdict(side, |w| (new_cid(w, 1, 0, 1), new_cid(w, 2, 0, 1)).0);
        assert_eq!(code, Some(Code::PROTOCOL_VIOLATION), "{side:?}");
        let code = verdict(side, |w| {
            new_cid(w, 1, 0, 1);
            encode::new_connection_id(w, 1, 0, &Cid::new(&[1; 8]).unwrap(), &ResetToken([9; 16]));
        });
        assert_eq!(code, Some(Code::PROTOCOL_VIOLATION), "{side:?}");
        // RFC 9000 §5.1.2: retirements that pile up unacknowledged.
        let mut raw = Raw::connected(side, transport());
        for n in 1..60 {
            raw.packet(Level::OneRtt, 0, |w| new_cid(w, n, n, n as u8));
        }
        assert_eq!(self::code(&raw), Some(Code::CONNECTION_ID_LIMIT_ERROR), "{side:?}");
    }
}

#[test]
fn as_many_connection_ids_as_were_promised() {
    // RFC 9000 §5.1.1: the one of the handshake counts.
    for limit in [2, 16] {
        for (more, expected) in [(limit - 1, None), (limit, Some(Code::CONNECTION_ID_LIMIT_ERROR))] {
            let mut raw = Raw::connected(Side::Client, transport().active_cid_limit(limit));
            raw.frames(|w| (1..=more).for_each(|n| new_cid(w, n, 0, n as u8)));
            assert_eq!(code(&raw), expected, "{limit}");
        }
    }
}

#[test]
fn connection_ids_for_a_peer_without_any() {
    // RFC 9000 §19.15: "An endpoint that is sending packets with a zero-length Destination Connection ID MUST treat receipt of a
    // NEW_CONNECTION_ID frame as a connection error of type PROTOCOL_VIOLATION."
    let mut raw = Raw::new(Side::Client, transport());
    raw.scid = Cid::EMPTY;
    raw.handshake(|_| {});
    raw.frames(encode::ping);
    assert!(raw.connection().is_established());
    assert_eq!(raw.closed(), None);
    raw.frames(|w| new_cid(w, 1, 0, 1));
    assert_eq!(code(&raw), Some(Code::PROTOCOL_VIOLATION));
}

#[test]
fn challenges_are_answered_after_the_first_id_was_retired() {
    // RFC 9000 §8.2.2: "On receiving a PATH_CHALLENGE frame, an endpoint MUST respond by echoing the data contained in the PATH_CHALLENGE frame
    // in a PATH_RESPONSE frame." The path went on with the retired id, to which nothing may be sent.
    for side in [Side::Client, Side::Server] {
        let mut raw = Raw::connected(side, transport());
        raw.frames(|w| new_cid(w, 1, 1, 1));
        raw.frames(|w| encode::path_challenge(w, &[7; 8]));
        assert!(
            raw.seen.iter().any(|(_, frame)| frame.starts_with("PathResponse")),
            "{side:?} {:?}",
            raw.seen
        );
    }
}

#[test]
fn the_id_of_a_preferred_address_is_the_second() {
    // RFC 9000 §5.1.1: "If the preferred_address transport parameter is sent, the sequence number of the supplied connection ID is 1."
    let preferred = || {
        Some(PreferredAddress {
            ipv4: Some("192.0.2.9:443".parse().unwrap()),
            ipv6: None,
            cid: Cid::new(&[1; 8]).unwrap(),
            reset_token: ResetToken([1; 16]),
        })
    };
    let mut raw = Raw::new(Side::Server, transport());
    raw.handshake(move |p| p.preferred_address = preferred());
    // The ids of a long connection: each makes the ones before it obsolete. Without the second a gap would remain for ever.
    for n in 2..70_u64 {
        raw.packet(Level::OneRtt, 0, |w| new_cid(w, n, n, n as u8));
        raw.wait(Duration::from_millis(20));
        let largest = raw.largest[2];
        raw.frames(|w| {
            w.bytes(&[0x02]);
            [largest, 0, 0, 0].into_iter().for_each(|number| w.varint(number));
        });
    }
    assert_eq!(raw.closed(), None);
    raw.frames(|w| encode::new_connection_id(w, 1, 0, &Cid::new(&[5; 8]).unwrap(), &ResetToken([1; 16])));
    assert_eq!(raw.closed(), None, "the second was retired long ago");

    let mut raw = Raw::new(Side::Server, transport());
    raw.handshake(move |p| p.preferred_address = preferred());
    raw.frames(|w| encode::new_connection_id(w, 1, 0, &Cid::new(&[5; 8]).unwrap(), &ResetToken([1; 16])));
    assert_eq!(code(&raw), Some(Code::PROTOCOL_VIOLATION));
}

#[test]
fn handshake_bytes() {
    for side in [Side::Client, Side::Server] {
        // RFC 9000 §7.5: far ahead of what was read. TLS has nothing to say after the handshake: an alert (RFC 9001 §4.8).
        let ahead = verdict(side, |w| {
            encode::crypto_header(w, 1 << 20, 1);
            w.zeros(1);
        });
        assert_eq!(ahead, Some(Code::CRYPTO_BUFFER_EXCEEDED), "{side:?}");
        let junk = verdict(side, |w| {
            encode::crypto_header(w, 0, 3);
            w.bytes(&[99, 0, 0]);
        });
        assert_eq!(junk, Some(Code::crypto(10)), "{side:?}");
    }
    // RFC 9001 §4.1.3: "If the packet is from a previously installed encryption level, it MUST NOT contain data that extends past the end of
    // previously received data in that flow. Implementations MUST treat any violations of this requirement as a connection error of type
    // PROTOCOL_VIOLATION."
    let mut raw = before_finished();
    raw.packet(Level::Initial, 0, |w| {
        encode::crypto_header(w, 5000, 1);
        w.zeros(1);
    });
    assert_eq!(code(&raw), Some(Code::PROTOCOL_VIOLATION));
}

#[test]
fn transport_parameters() {
    let of = |side, change: fn(&mut TransportParameters)| {
        let mut raw = Raw::new(side, transport());
        raw.handshake(change);
        code(&raw)
    };
    for side in [Side::Client, Side::Server] {
        // RFC 9000 §7.3, §18.2.
        assert_eq!(of(side, |_| {}), None);
        let bad = Some(Code::TRANSPORT_PARAMETER_ERROR);
        assert_eq!(of(side, |p| p.initial_source_connection_id = Some(Cid::new(b"other").unwrap())), bad);
        assert_eq!(of(side, |p| p.initial_source_connection_id = None), bad);
        assert_eq!(of(side, |p| p.max_udp_payload_size = 1199), bad);
        assert_eq!(of(side, |p| p.ack_delay_exponent = 21), bad);
        assert_eq!(of(side, |p| p.active_connection_id_limit = 1), bad);
        assert_eq!(of(side, |p| p.initial_max_streams_bidi = (1 << 60) + 1), bad);
        assert_eq!(of(side, |p| p.initial_max_streams_uni = (1 << 60) + 1), bad);
        assert_eq!(of(side, |p| p.max_ack_delay = Duration::from_millis(1 << 14)), bad);
    }
    let bad = Some(Code::TRANSPORT_PARAMETER_ERROR);
    // Only a server may send these.
    assert_eq!(of(Side::Client, |p| p.stateless_reset_token = Some(ResetToken([1; 16]))), bad);
    assert_eq!(of(Side::Client, |p| p.original_destination_connection_id = Some(Cid::EMPTY)), bad);
    assert_eq!(of(Side::Client, |p| p.retry_source_connection_id = Some(Cid::EMPTY)), bad);
    assert_eq!(of(Side::Client, |p| p.preferred_address = Some(no_preference(b"id"))), bad);
    // And it must send the right ones.
    assert_eq!(of(Side::Server, |p| p.original_destination_connection_id = Some(Cid::EMPTY)), bad);
    assert_eq!(of(Side::Server, |p| p.original_destination_connection_id = None), bad);
    assert_eq!(of(Side::Server, |p| p.retry_source_connection_id = Some(Cid::EMPTY)), bad);
    assert_eq!(of(Side::Server, |p| p.preferred_address = Some(no_preference(b""))), bad);
}

/// A preferred address that is none, with this connection id.
fn no_preference(cid: &[u8]) -> PreferredAddress {
    let cid = Cid::new(cid).unwrap();
    PreferredAddress { ipv4: None, ipv6: None, cid, reset_token: ResetToken([2; 16]) }
}
