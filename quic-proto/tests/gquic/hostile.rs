//! Whatever comes: nothing panics, nothing stalls, nothing grows.

use crate::common::{Fate, Pair, address, endpoint};
use crate::raw::{RawClient, from_server, hello};
use crate::support::{client, ecdsa, record, server, settings};
use proptest::prelude::*;
use quic_proto::crypto::rustls::Identity;
use quic_proto::endpoint::Endpoint;
use quic_proto::gquic::wire::message::{Builder, Tag, tags};
use quic_proto::id::{Cid, Dir};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::time::Duration;
use std::sync::LazyLock;

static IDENTITY: LazyLock<Identity> = LazyLock::new(ecdsa);

fn identity() -> Identity {
    Identity { chain: IDENTITY.chain.clone(), key: IDENTITY.key.clone_key() }
}

fn a_server() -> Endpoint {
    endpoint(2, Some(server(settings(identity()).1).build().unwrap()))
}

/// Frames that are mostly well-formed, with what goes wrong in between.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let stream = (any::<bool>(), 0u8..12, any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(fin, stream, offset, data)| {
            let first = if fin { 0xe4 } else { 0xa4 };
            let mut frame = vec![first, stream];
            frame.extend(offset.to_be_bytes());
            frame.extend((data.len() as u16).to_be_bytes());
            frame.extend(data);
            frame
        },
    );
    let control =
        (1u8..6, any::<u8>(), any::<u64>(), any::<u32>()).prop_map(|(kind, stream, offset, code)| {
            let mut frame = vec![kind, 0, 0, 0, stream % 12];
            match kind {
                1 => {
                    frame.extend((offset % 100_000).to_be_bytes());
                    frame.extend((code % 9).to_be_bytes());
                }
                2 => frame.extend([0, 0]),
                3 => frame.extend([0, 0, 0, 0, 0, 0]),
                4 => frame.extend(offset.to_be_bytes()),
                _ => {}
            }
            frame
        });
    let ack = (any::<u8>(), 1u8..5).prop_map(|(largest, first)| vec![0x40, largest % 20, 0, 0, first, 0]);
    let rest = prop_oneof![Just(vec![7]), Just(vec![0; 5]), prop::collection::vec(any::<u8>(), 1..20)];
    let one = prop_oneof![6 => stream, 4 => control, 2 => ack, 1 => rest];
    prop::collection::vec(one, 0..8).prop_map(|frames| frames.concat())
}

/// The server must be done with its client soon: either it is closed, or it says no more than it must.
fn comes_to_rest(server: &mut Endpoint, client: &mut RawClient) -> Result<(), TestCaseError> {
    for _ in 0..200 {
        let Some(next) = server.next_timeout() else { break };
        prop_assert!(next >= client.now || server.poll_event().is_some(), "a deadline in the past");
        client.now = client.now.max(next);
        server.handle_timeout(client.now);
        client.listen(server);
        while server.poll_event().is_some() {}
    }
    prop_assert_eq!(server.connections(), 0, "the connection outlives its peer");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_that_are_authentic(packets in prop::collection::vec((frames(), any::<bool>()), 1..12)) {
        let mut server = a_server();
        let mut client = RawClient::connected(&mut server);
        for (frames, skip) in packets {
            client.number += u64::from(skip);
            let packet = client.secure(&frames);
            client.exchange(&mut server, packet);
        }
        comes_to_rest(&mut server, &mut client)?;
    }

    #[test]
    fn frames_in_the_clear(packets in prop::collection::vec(frames(), 1..8)) {
        let mut server = a_server();
        let mut client = RawClient::new(7);
        client.begin(&mut server);
        for frames in packets {
            let packet = client.null(&frames);
            client.exchange(&mut server, packet);
        }
        comes_to_rest(&mut server, &mut client)?;
    }

    #[test]
    fn hellos_of_all_kinds(
        values in prop::collection::vec((0usize..14, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
        complete: bool,
    ) {
        const TAGS: [Tag; 14] = [
            tags::SNI, tags::STK, tags::VER, tags::NONC, tags::AEAD, tags::KEXS, tags::SCID, tags::PUBS, tags::PDMD,
            tags::XLCT, tags::ICSL, tags::MIDS, tags::CFCW, tags::SFCW,
        ];
        let mut server = a_server();
        let mut client = RawClient::new(7);
        client.begin(&mut server);
        let key = quic_proto::gquic::crypto::x25519::PrivateKey::from_bytes([5; 32]);
        let nonce = client.nonce(1);
        let mut hello: Builder<'static> = if complete { client.complete(&key, &nonce) } else { client.second() };
        for (tag, value) in values {
            hello.put(TAGS[tag], value);
        }
        let message = hello.pad().finish();
        let frame = client.crypto(&message);
        let packet = client.null(&frame);
        client.exchange(&mut server, packet);
        comes_to_rest(&mut server, &mut client)?;
    }

    #[test]
    fn datagrams_of_any_bytes(first in prop::sample::select(vec![0xffu8, 0xfd, 0xfc, 0x30, 0x31, 0x32, 0x09, 0x0a, 0xc0]),
        known: bool, rest in prop::collection::vec(any::<u8>(), 0..1400)) {
        let mut server = a_server();
        let mut client = RawClient::connected(&mut server);
        let mut bytes = vec![first];
        if known {
            if first & 0x80 != 0 {
                bytes.extend(b"Q044\x50");
            }
            bytes.extend(&*client.cid);
        }
        bytes.extend(rest);
        let received = server.stats();
        let datagram = Datagram { path: FourTuple::to(address(1)), ecn: None, payload: &mut bytes };
        server.handle_datagram(client.now, datagram);
        client.listen(&mut server);
        prop_assert_eq!(server.connections(), 1);
        prop_assert!(server.stats().incoming == received.incoming);
        let ping = client.secure(&[7]);
        let heard = client.heard.packets;
        client.exchange(&mut server, ping);
        let ping = client.secure(&[7]);
        client.exchange(&mut server, ping);
        prop_assert!(client.heard.packets > heard, "the connection goes on");
    }

    /// A server, or whoever answers in its place, says what it likes.
    #[test]
    fn servers_of_all_kinds(messages in prop::collection::vec(
        (0usize..4, prop::collection::vec((0usize..9, prop::collection::vec(any::<u8>(), 0..60)), 0..6), frames()), 1..5,
    )) {
        const KINDS: [Tag; 4] = [tags::REJ, tags::REJ, tags::SHLO, tags::SCUP];
        const TAGS: [Tag; 9] = [
            tags::STK, tags::SCFG, tags::PROF, tags::CRT, tags::PUBS, tags::VER, tags::SNO, tags::RREJ, tags::SRST,
        ];
        let (for_client, for_server) = settings(identity());
        let mut pair = Pair::new(server(for_server));
        let record = record(&mut pair);
        let c = pair.connect(&client(for_client));
        pair.accepting = false;
        pair.poll();
        let cid = Cid::new(&record.lock().unwrap()[0].1[6..14]).unwrap();
        pair.network = Box::new(|_, _| Fate::Drop);
        let mut offset = 0;
        for (number, (kind, values, frames)) in messages.into_iter().enumerate() {
            let mut message = Builder::new(KINDS[kind]);
            for (tag, value) in values {
                message.put(TAGS[tag], value);
            }
            let message = message.finish();
            let mut payload = vec![0xa4, 1];
            payload.extend((offset as u16).to_be_bytes());
            payload.extend((message.len() as u16).to_be_bytes());
            offset += message.len();
            payload.extend(message);
            payload.extend(frames);
            pair.inject(false, from_server(&cid, number as u64 + 1, &payload));
            pair.run(Duration::from_millis(50));
        }
        prop_assert!(pair.client.get(c).is_none_or(|connection| !connection.is_established()));
        pair.run(Duration::from_secs(60));
        prop_assert_eq!(pair.client.connections(), 0);
    }

    /// Both ends are ours, and the network between them spoils what it likes.
    #[test]
    fn a_hostile_network(seed: u64, bad in 0u64..6) {
        let (for_client, for_server) = settings(identity());
        let mut pair = Pair::new(server(for_server));
        let mut state = seed | 1;
        pair.network = Box::new(move |_, bytes| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state % 10 {
                fate if fate < bad => match state >> 8 & 3 {
                    0 => Fate::Drop,
                    1 => Fate::Late(Duration::from_millis(state >> 10 & 63)),
                    2 => Fate::Twice(Duration::from_millis(state >> 10 & 63)),
                    _ => {
                        let at = (state >> 10) as usize % bytes.len();
                        bytes[at] = bytes[at].wrapping_add((state >> 40) as u8);
                        Fate::Deliver
                    }
                },
                _ => Fate::Deliver,
            }
        });
        let c = pair.connect(&client(for_client.early_data(true)));
        pair.run(Duration::from_secs(20));
        if let Some(connection) = pair.client.connection(c)
            && let Ok(id) = connection.open(Dir::Bi)
        {
            connection.send_stream(id).unwrap().write(&[9; 20_000]).unwrap();
            connection.send_stream(id).unwrap().finish().unwrap();
        }
        pair.run(Duration::from_secs(90));
        prop_assert_eq!((pair.client.connections(), pair.server.connections()), (0, 0));
    }
}

#[test]
fn only_whole_hellos_are_answered_again() {
    let mut server = a_server();
    let mut client = RawClient::new(1);
    let first = client.crypto(&hello().pad().finish());
    let first = client.null(&first);
    client.exchange(&mut server, first);
    let second = client.second().pad().finish();
    let second = client.crypto(&second);
    for _ in 0..3 {
        let before = client.heard.crypto_frames;
        let packet = client.null(&second);
        client.exchange(&mut server, packet);
        assert!(client.heard.crypto_frames > before);
        // A byte of it is no hello.
        let before = client.heard.crypto_frames;
        let packet = client.null(&[0x80, 1, b'C']);
        client.exchange(&mut server, packet);
        assert_eq!(client.heard.crypto_frames, before);
    }
    assert_eq!(client.messages().len(), 2, "the same rejection each time");
}
