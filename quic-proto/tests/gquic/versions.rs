//! Version negotiation, and several versions at one endpoint.

use crate::common::{Fate, Pair, endpoint, null_client, null_server, read_all};
use crate::raw::RawClient;
use crate::support::{client, ecdsa, our_code, send, server, settings, their_code};
use quic_proto::error::{ConnectionError, TransportErrorCode};
use quic_proto::id::Dir;
use quic_proto::invariants::{Version, encode_packed_version_negotiation, encode_version_negotiation};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::streams::OpenError;
use quic_proto::time::Duration;
use std::sync::{Arc, Mutex};

const BOTH: [[Version; 2]; 2] = [[Version::V1, Version::Q044], [Version::Q044, Version::V1]];

#[test]
fn both_versions_at_one_endpoint_with_one_queue() {
    let (for_client, for_server) = settings(ecdsa());
    let mut pair = Pair::new(null_server().family(Arc::new(for_server)));
    let new = pair.connect(&null_client());
    let old = pair.connect(&client(for_client));
    pair.settle();
    assert_eq!(pair.accepted.len(), 2);
    let mut versions: Vec<_> = pair.accepted.clone().into_iter().map(|s| pair.s(s).version()).collect();
    versions.sort();
    assert_eq!(versions, [Version::V1, Version::Q044]);
    for c in [new, old] {
        let id = send(pair.c(c), b"hello", true);
        pair.settle();
        let version = pair.c(c).version();
        let s = pair.accepted.clone().into_iter().find(|s| pair.s(*s).version() == version).unwrap();
        assert_eq!(pair.s(s).accept(Dir::Bi), Some(id));
        assert_eq!(read_all(pair.s(s), id), (b"hello".to_vec(), true));
    }
}

#[test]
fn a_client_of_one_version_learns_what_the_server_speaks() {
    let (for_client, for_server) = settings(ecdsa());
    let mut pair = Pair::new(server(for_server));
    pair.connect(&null_client());
    pair.settle();
    let mismatch = |offered: &[Version]| {
        Some(ConnectionError::VersionMismatch { offered: offered.iter().map(|version| version.0).collect() })
    };
    assert_eq!(pair.client_closed().cloned(), mismatch(&[Version::Q044]));
    let mut pair = Pair::new(null_server());
    pair.connect(&client(for_client));
    pair.settle();
    assert_eq!(pair.client_closed().cloned(), mismatch(&[Version::V1]));
    assert_eq!(pair.server.connections(), 0);
}

#[test]
fn a_client_of_both_versions_finds_the_common_one() {
    for order in BOTH {
        for common in order {
            let (for_client, for_server) = settings(ecdsa());
            let accepts = if common == Version::V1 { null_server() } else { server(for_server) };
            let mut pair = Pair::new(accepts);
            let config = null_client().family(Arc::new(for_client)).versions(&order);
            let c = pair.connect(&config);
            // Who asks before the version is found hears when a stream can be opened all the same.
            assert_eq!(pair.c(c).open(Dir::Bi), Err(OpenError::Blocked));
            pair.settle();
            assert_eq!((pair.c(c).version(), pair.client_closed()), (common, None), "{order:?}");
            let available = quic_proto::event::StreamEvent::Available(Dir::Bi);
            assert!(
                pair.client_events
                    .iter()
                    .any(|(_, event)| *event == quic_proto::event::Event::Stream(available))
            );
            let id = send(pair.c(c), b"hello", true);
            pair.settle();
            let s = pair.accepted[0];
            assert_eq!(read_all(pair.s(s), id), (b"hello".to_vec(), true));
            pair.s(s).send_stream(id).unwrap().write(b"answer").unwrap();
            pair.settle();
            assert_eq!(read_all(pair.c(c), id), (b"answer".to_vec(), false));
        }
    }
}

#[test]
fn a_server_of_both_versions_takes_the_clients_first() {
    for order in BOTH {
        let (for_client, for_server) = settings(ecdsa());
        let mut pair = Pair::new(null_server().family(Arc::new(for_server)));
        let config = null_client().family(Arc::new(for_client)).versions(&order);
        let c = pair.connect(&config);
        pair.settle();
        assert_eq!(pair.c(c).version(), order[0]);
    }
}

#[test]
fn a_forged_negotiation_is_found_out() {
    let (for_client, for_server) = settings(ecdsa());
    let mut pair = Pair::new(null_server().family(Arc::new(for_server)));
    let mut first = true;
    // Somebody answers the first packet, and the server never sees it.
    let forged = Arc::new(Mutex::new(None));
    let copy = Arc::clone(&forged);
    pair.network = Box::new(move |to_server, bytes| {
        if to_server && std::mem::take(&mut first) {
            let (dcid, scid) = (&bytes[6..14], &bytes[15..23]);
            let answer = [&[0xc0, 0, 0, 0, 0, 8], scid, &[8], dcid, b"Q044"].concat();
            *copy.lock().unwrap() = Some(answer);
            return Fate::Drop;
        }
        Fate::Deliver
    });
    pair.connect(&null_client().family(Arc::new(for_client)));
    pair.poll();
    let answer = forged.lock().unwrap().take().unwrap();
    pair.inject(false, answer);
    pair.settle();
    assert_eq!(their_code(pair.client_closed()), Some(55));
    assert_eq!(our_code(pair.client_closed()), None);
    assert_eq!(pair.server.connections(), 0);
}

#[test]
fn a_forged_negotiation_away_from_here_is_found_out() {
    // RFC 9368 §4: "If the client would have selected a different version, the client MUST close the connection with a version negotiation
    // error." The server says, under the protection of TLS, that it speaks the version that the client began with.
    for (knows_both, expected) in [(true, Some(TransportErrorCode::VERSION_NEGOTIATION_ERROR)), (false, None)]
    {
        let (for_client, for_server) = settings(ecdsa());
        let config = if knows_both { null_server().family(Arc::new(for_server)) } else { null_server() };
        let mut pair = Pair::new(config);
        let first = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&first);
        pair.network = Box::new(move |_, bytes| {
            let mut seen = seen.lock().unwrap();
            if seen.is_some() {
                return Fate::Deliver;
            }
            *seen = Some(bytes.clone());
            Fate::Drop
        });
        let c = pair.connect(&null_client().family(Arc::new(for_client)).versions(&BOTH[1]));
        pair.poll();
        let dcid = first.lock().unwrap().as_ref().unwrap()[6..14].to_vec();
        let mut buf = [0; 100];
        let len = encode_packed_version_negotiation(&mut buf, 0, &[], &dcid, &[Version::V1.0]).unwrap();
        pair.inject(false, buf[..len].to_vec());
        pair.settle();
        assert_eq!(crate::common::our_code(pair.client_closed()), expected);
        assert!(knows_both || pair.c(c).version() == Version::V1 && pair.c(c).is_established());
    }
}

#[test]
fn the_oldest_clients_get_an_answer_in_their_shape() {
    let (_, for_server) = settings(ecdsa());
    let mut end = endpoint(2, Some(server(for_server).build().unwrap()));
    let ask = |end: &mut quic_proto::endpoint::Endpoint, bytes: &[u8]| {
        let mut payload = bytes.to_vec();
        let path = FourTuple::to(crate::common::address(1));
        let now = quic_proto::time::Instant::from_millis(1);
        end.handle_datagram(now, Datagram { path, ecn: None, payload: &mut payload });
        let mut buf = [0; 1500];
        let transmit = end.poll_transmit(now, &mut buf, crate::common::ONE);
        transmit.map(|transmit| buf[..transmit.len].to_vec())
    };
    let cid = [0x0f, 0xfe, 0x12, 0x6c, 0xe7, 0xde, 0x91, 0x2b];
    let old = [&[0x09], &cid[..], b"Q043", &[0; 1000]].concat();
    assert_eq!(ask(&mut end, &old), Some([&[0x09], &cid[..], b"Q044"].concat()));
    assert_eq!(ask(&mut end, &old[..13]), None, "no answer is larger than the question");
    // A version of the same headers that is not known.
    let unknown = [&[0xff], &b"Q048"[..], &[0x50], &cid, &[0, 0, 0, 1], &[0; 1054]].concat();
    let answer = ask(&mut end, &unknown).unwrap();
    assert_eq!((answer[0] & 0x80, &answer[1..6]), (0x80, &[0, 0, 0, 0, 0x05][..]));
    assert_eq!((&answer[6..14], &answer[14..18]), (&cid[..], &b"Q044"[..]));
    assert_eq!(ask(&mut end, &unknown[..1000]), None);
    // A short packet that nobody knows is not answered.
    assert_eq!(ask(&mut end, &[&[0x31], &cid[..], &[0; 1200]].concat()), None);
}

#[test]
fn clients_may_choose_the_same_id() {
    let (_, for_server) = settings(ecdsa());
    let mut end = endpoint(2, Some(server(for_server).build().unwrap()));
    let mut clients = [RawClient::connected_as(&mut end, 7, 1), RawClient::connected_as(&mut end, 7, 2)];
    assert_eq!(end.connections(), 2);
    for client in &mut clients {
        let heard = client.heard.packets;
        let packet = client.secure(&[7, 0x80, 3, b'x']);
        client.exchange(&mut end, packet);
        let packet = client.secure(&[7]);
        client.exchange(&mut end, packet);
        assert!(client.heard.packets > heard, "each is answered");
        assert_eq!(client.heard.closed, None);
    }
}

#[test]
fn an_id_of_zeros_is_an_id() {
    // The bytes behind the first are those of a version negotiation packet.
    let (_, for_server) = settings(ecdsa());
    let mut end = endpoint(2, Some(server(for_server).build().unwrap()));
    let mut client = RawClient::connected_as(&mut end, 0, 1);
    let heard = client.heard.packets;
    for _ in 0..2 {
        let packet = client.secure(&[7]);
        client.exchange(&mut end, packet);
    }
    assert!(client.heard.packets > heard);
}

#[test]
fn one_negotiation_is_followed_at_most() {
    let (for_client, for_server) = settings(ecdsa());
    let mut pair = Pair::new(server(for_server));
    let c = pair.connect(&null_client().family(Arc::new(for_client)));
    // The server's answer to the first packet leads to Q044; then somebody forges another one.
    pair.run(2 * crate::common::DELAY);
    assert_eq!(pair.c(c).version(), Version::Q044);
    let hello = crate::support::record(&mut pair);
    pair.poll();
    let recorded = hello.lock().unwrap().last().cloned();
    let id = recorded.map_or([0; 8], |(_, bytes)| bytes[6..14].try_into().unwrap());
    pair.inject(false, [&[0xc0, 0, 0, 0, 0, 0x05], &id[..], &[0, 0, 0, 1]].concat());
    pair.settle();
    assert_eq!((pair.c(c).version(), pair.client_closed()), (Version::Q044, None));
    assert!(pair.c(c).is_established());
}

/// What a server answers that knows RFC 8999 and nothing of Google.
fn answer_by_the_rfc(packet: &[u8]) -> Option<Vec<u8>> {
    let (dcid_len, rest) = packet.get(5..)?.split_first()?;
    let (dcid, rest) = rest.split_at_checked(usize::from(*dcid_len))?;
    let (scid_len, rest) = rest.split_first()?;
    let (scid, _) = rest.split_at_checked(usize::from(*scid_len))?;
    let mut out = vec![0; 600];
    let len = encode_version_negotiation(&mut out, 0, scid, dcid, &[1]).filter(|_| packet.len() >= 1200)?;
    Some(out[..len].to_vec())
}

#[test]
fn servers_that_know_only_the_rfcs_are_understood() {
    for both in [false, true] {
        let (for_client, _) = settings(ecdsa());
        let mut pair = Pair::new(null_server());
        let answers = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&answers);
        pair.network = Box::new(move |to_server, bytes| {
            if to_server && bytes[1..5] == *b"Q044" {
                copy.lock().unwrap().extend(answer_by_the_rfc(bytes));
                return Fate::Drop;
            }
            Fate::Deliver
        });
        let config = if both {
            null_client().family(Arc::new(for_client)).versions(&[Version::Q044, Version::V1])
        } else {
            client(for_client)
        };
        let c = pair.connect(&config);
        pair.run(Duration::from_millis(300));
        assert!(answers.lock().unwrap().is_empty(), "the first hello is none of 1200 bytes");
        pair.run(Duration::from_secs(1));
        let answer = answers.lock().unwrap().pop().expect("the second one is");
        pair.inject(false, answer);
        pair.settle();
        if both {
            assert_eq!((pair.c(c).version(), pair.c(c).is_established()), (Version::V1, true));
        } else {
            let mismatch = ConnectionError::VersionMismatch { offered: vec![1] };
            assert_eq!(pair.client_closed(), Some(&mismatch));
        }
    }
}
