//! Keys from end to end: packets that come too early, updates, and keys that wear out (RFC 9001 §5.7, §6).

mod common;

use common::raw::Raw;
use common::{Fate, Pair, null_client_with, null_server, null_server_with, our_code, read_all, their_code};
use quic_proto::codec::Writer;
use quic_proto::config::TransportConfig;
use quic_proto::crypto::null::NullLimits;
use quic_proto::error::TransportErrorCode as Code;
use quic_proto::id::{Dir, Level, Side, StreamId};
use quic_proto::ietf::wire::encode;
use quic_proto::time::Duration;

fn transport() -> TransportConfig {
    TransportConfig::default().mtu_discovery(false)
}

fn hello(w: &mut Writer<'_>) {
    encode::stream_header(w, StreamId::from_u64(0), 0, Some(5), false);
    w.bytes(b"hello");
}

/// A peer whose Finished the server has not got yet, though it has the keys to send 1-RTT packets.
fn without_finished() -> Raw {
    let mut raw = Raw::new(Side::Client, transport());
    raw.held = Some(Vec::new());
    raw.hello(|_| {});
    raw.exchange();
    raw
}

#[test]
fn a_server_takes_no_data_before_its_handshake_is_complete() {
    // RFC 9001 §5.7: "A server MUST NOT process incoming 1-RTT protected packets before the TLS handshake is complete."
    let mut raw = without_finished();
    raw.packet(Level::OneRtt, 0, hello);
    let connection = raw.connection();
    assert!(!connection.is_established());
    assert_eq!((connection.stats().counters.received.frames.stream, connection.accept(Dir::Bi)), (0, None));
    raw.exchange();
    assert!(
        !raw.seen.iter().any(|(level, frame)| *level == Level::OneRtt && frame.starts_with("Ack")),
        "{:?}",
        raw.seen
    );
    // "Received packets protected with 1-RTT keys MAY be stored and later decrypted and used once the handshake is complete": nothing has to be
    // sent twice.
    raw.release();
    let id = raw.connection().accept(Dir::Bi).unwrap();
    assert_eq!(read_all(raw.connection(), id), (b"hello".to_vec(), false));
}

#[test]
fn what_waited_for_keys_is_acknowledged_with_that_delay() {
    // RFC 9000 §13.2.5: "endpoints SHOULD include buffering delays caused by unavailability of decryption keys".
    let mut raw = without_finished();
    raw.packet(Level::OneRtt, 0, encode::ping);
    raw.wait(Duration::from_millis(40));
    raw.release();
    raw.exchange();
    let mut acks =
        raw.seen.iter().filter(|(level, frame)| *level == Level::OneRtt && frame.starts_with("Ack"));
    let (_, ack) = acks.next_back().expect("it is acknowledged at once: its delay was long enough");
    // In units of eight microseconds (§19.3).
    assert!(ack.contains("delay: 5000,"), "{ack}");
}

#[test]
fn nor_does_it_take_offence() {
    let mut raw = without_finished();
    raw.packet(Level::OneRtt, 0, encode::handshake_done);
    assert_eq!(raw.closed(), None);
    raw.release();
    assert_eq!(raw.verdict().map(|(code, _)| Code(code)), Some(Code::PROTOCOL_VIOLATION));
}

#[test]
fn a_server_believes_the_first_authentic_packet_about_the_clients_id() {
    // The client's first datagram arrives with another source id, which the AEAD does not let pass.
    let mut pair = Pair::new(null_server());
    let client = pair.connect(&common::null_client());
    let mut first = true;
    pair.network = Box::new(move |to_server, bytes| {
        if to_server && std::mem::take(&mut first) {
            let scid = 7 + usize::from(bytes[5]);
            bytes[scid] ^= 0x55;
        }
        Fate::Deliver
    });
    pair.run(Duration::from_secs(5));
    assert_eq!((pair.accepted.len(), pair.c(client).is_established()), (1, true));
}

#[test]
fn updates_both_ways_and_at_once() {
    let (mut pair, client, server) = Pair::connected(transport());
    for round in 0..9_u8 {
        // By the client, by the server, and by both before either knows of the other's (RFC 9001 §6.2).
        if round % 3 != 1 {
            assert!(pair.c(client).initiate_key_update(), "round {round}");
        }
        if round % 3 != 0 {
            assert!(pair.s(server).initiate_key_update(), "round {round}");
        }
        let id = pair.client_sends(client, &[round; 20_000]);
        pair.s(server).ping();
        pair.settle();
        assert!(read_all(pair.s(server), id) == (vec![round; 20_000], true), "round {round}");
        // RFC 9001 §6.1: the next update needs the acknowledgement of a packet under the new keys.
        pair.c(client).ping();
        pair.s(server).ping();
        pair.run(Duration::from_secs(3));
    }
    assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
}

#[test]
fn old_keys_in_front_of_new_ones() {
    // RFC 9001 §6.4: "An endpoint that successfully removes protection with old keys when newer keys were used for packets with lower packet
    // numbers MUST treat this as a connection error of type KEY_UPDATE_ERROR."
    for side in [Side::Client, Side::Server] {
        let mut raw = Raw::connected(side, transport());
        raw.frames(encode::ping);
        let next = raw.numbers[2];
        raw.numbers[2] = next + 5;
        raw.packet(Level::OneRtt, 0, encode::ping);
        raw.update_keys();
        raw.numbers[2] = next;
        raw.frames(encode::ping);
        assert_eq!(raw.verdict(), Some((Code::KEY_UPDATE_ERROR.0, None)), "misbehaving {side:?}");
        assert!(raw.seen.iter().any(|(_, frame)| frame.starts_with("ConnectionClose")));
    }
}

#[test]
fn new_keys_acknowledged_under_old_ones() {
    // RFC 9001 §6.2: an acknowledgement "in a packet protected with old keys where any acknowledged packet was protected with newer keys".
    for side in [Side::Client, Side::Server] {
        let mut raw = Raw::connected(side, transport());
        raw.connection().ping();
        raw.exchange();
        let acknowledge = |raw: &mut Raw, largest| {
            raw.frames(|w| [2, largest, 0, 0, 0].into_iter().for_each(|number| w.varint(number)));
        };
        let largest = raw.largest[2];
        acknowledge(&mut raw, largest);
        assert!(raw.connection().initiate_key_update(), "misbehaving {side:?}");
        raw.connection().ping();
        raw.exchange();
        acknowledge(&mut raw, largest + 1);
        let code = raw.verdict().map(|(code, _)| Code(code));
        assert_eq!(code, Some(Code::KEY_UPDATE_ERROR), "misbehaving {side:?}");
    }
}

#[test]
fn a_second_update_before_the_first_is_confirmed() {
    // RFC 9001 §6.2: "An endpoint MAY treat such consecutive key updates as a connection error of type KEY_UPDATE_ERROR."
    for side in [Side::Client, Side::Server] {
        let mut raw = Raw::connected(side, transport());
        raw.update_keys();
        raw.packet(Level::OneRtt, 0, encode::ping);
        // The real end has no occasion to answer, and long after has thrown the old keys away.
        raw.now += Duration::from_secs(5);
        raw.real.handle_timeout(raw.now);
        raw.update_keys();
        raw.packet(Level::OneRtt, 0, encode::ping);
        let code = raw.verdict().map(|(code, _)| Code(code));
        assert_eq!(code, Some(Code::KEY_UPDATE_ERROR), "misbehaving {side:?}");
    }
}

fn worn(confidentiality: u64) -> NullLimits {
    NullLimits { confidentiality, ..NullLimits::default() }
}

#[test]
fn keys_are_updated_before_they_are_used_up() {
    // RFC 9001 §6.6: "Endpoints MUST initiate a key update before sending more protected packets than the confidentiality limit … permits."
    let transport = transport().build().unwrap();
    let mut pair = Pair::new(null_server_with(worn(150)).transport(transport.clone()));
    let client = pair.connect(&null_client_with(worn(150)).transport(transport));
    pair.settle();
    let server = pair.accepted[0];
    for round in 0..10 {
        let id = pair.client_sends(client, &[round; 100_000]);
        pair.run(Duration::from_secs(3));
        assert!(read_all(pair.s(server), id) == (vec![round; 100_000], true));
    }
    assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
    assert!(pair.c(client).stats().counters.sent.packets > 5 * 150);
}

#[test]
fn keys_that_cannot_be_updated_are_given_up() {
    // Nothing is acknowledged, so that no update is possible. RFC 9001 §6.6: "If a key update is not possible or integrity limits are reached,
    // the endpoint MUST stop using the connection and only send stateless resets in response to receiving packets."
    let transport = transport().build().unwrap();
    let mut pair = Pair::new(null_server().transport(transport.clone()));
    let client = pair.connect(&null_client_with(worn(12)).transport(transport));
    pair.settle();
    pair.network = Box::new(|to_server, _| if to_server { Fate::Deliver } else { Fate::Drop });
    pair.client_sends(client, &[1; 100_000]);
    pair.run(Duration::from_secs(20));
    assert_eq!(our_code(pair.client_closed()), Some(Code::AEAD_LIMIT_REACHED));
    assert_eq!(their_code(pair.server_closed()), None, "no key is left to say so");
    assert!(pair.client.get(client).is_none());
}

#[test]
fn too_many_forgeries_end_a_connection() {
    // RFC 9001 §6.6: "If the total number of received packets that fail authentication within the connection, across all keys, exceeds the
    // integrity limit for the selected AEAD, the endpoint MUST immediately close the connection with a connection error of type
    // AEAD_LIMIT_REACHED and not process any more packets."
    for side in [Side::Client, Side::Server] {
        let mut raw = Raw::limited(side, transport(), NullLimits { integrity: 10, ..NullLimits::default() });
        raw.handshake(|_| {});
        for count in 0..=10 {
            assert_eq!(raw.closed(), None, "after {count} forgeries");
            let mut forged = raw.build(Level::OneRtt, 0, encode::ping);
            *forged.last_mut().unwrap() ^= 1;
            raw.deliver(&mut forged);
        }
        raw.exchange();
        let code = raw.verdict().map(|(code, _)| Code(code));
        assert_eq!(code, Some(Code::AEAD_LIMIT_REACHED), "misbehaving {side:?}");
    }
}
