//! Bad networks and bad peers against the real state machine: nothing panics, stalls or leaks.

mod common;

use common::raw::Raw;
use common::{Fate, Pair, null_client, null_server, read_all};
use proptest::prelude::*;
use quic_proto::config::TransportConfig;
use quic_proto::error::AppError;
use quic_proto::id::{Level, Side};
use quic_proto::ietf::wire::header::{LongKind, parse_long};
use quic_proto::ietf::wire::{Frame, Frames};
use quic_proto::invariants::{Version, spec};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::{Rng, SeededRng};
use quic_proto::time::{Duration, Instant};

fn transport() -> TransportConfig {
    TransportConfig::default()
        .max_idle_timeout(Some(Duration::from_secs(60)))
        .handshake_timeout(Duration::from_secs(60))
}

/// A network that mangles some of the datagrams, driven by a seed; after `limit` of them it is well.
fn mangle(seed: u64, percent: u32, limit: u32) -> common::Network {
    let mut rng = SeededRng::from_u64(seed);
    let mut old: Vec<Vec<u8>> = Vec::new();
    let mut count = 0;
    let mut next = move || {
        let mut bytes = [0; 4];
        rng.fill(&mut bytes);
        u32::from_be_bytes(bytes)
    };
    Box::new(move |_, bytes| {
        count += 1;
        if count > limit || next() % 100 >= percent {
            old.push(bytes.clone());
            return Fate::Deliver;
        }
        let at = next() as usize;
        match next() % 7 {
            0 => return Fate::Drop,
            1 => return Fate::Late(Duration::from_millis(u64::from(next() % 100))),
            2 => return Fate::Twice(Duration::from_millis(u64::from(next() % 300))),
            3 => bytes.truncate(at % (bytes.len() + 1)),
            4 => {
                let at = at % bytes.len();
                bytes[at] ^= 1 << (next() % 8);
            }
            5 => bytes.iter_mut().for_each(|byte| *byte = next() as u8),
            _ if !old.is_empty() => *bytes = old[at % old.len()].clone(),
            _ => {}
        }
        Fate::Deliver
    })
}

/// Transfers over such a network until all arrived, then closes; nothing may be left.
fn transfer(seed: u64, percent: u32, disorder: bool) -> Result<(), TestCaseError> {
    // Probes back off to many seconds where every fourth datagram is spoilt; giving up is not what is tested.
    let patient = Duration::from_secs(3600);
    let transport = transport().handshake_timeout(patient).max_idle_timeout(Some(patient)).build().unwrap();
    let mut pair = Pair::new(null_server().transport(transport.clone()));
    pair.network = mangle(seed, percent, 300);
    let client = pair.connect(&null_client().transport(transport));
    let data: Vec<u8> = (0..50_000_u32).map(|n| (n * 31 % 253) as u8).collect();
    let (mut id, mut got, mut ended) = (None, Vec::new(), false);
    let mut rng = SeededRng::from_u64(!seed);
    for _ in 0..4000 {
        if disorder {
            disturb(&mut pair, &mut rng);
        }
        let end = pair.now + Duration::from_secs(100);
        pair.step(end);
        if pair.client.get(client).is_none() {
            break;
        }
        if id.is_none() && pair.c(client).is_established() {
            id = Some(pair.client_sends(client, &data));
        }
        // Replayed first packets make connections of their own, which come to nothing.
        for server in pair.accepted.clone() {
            let (Some(id), Some(connection), false) = (id, pair.server.connection(server), ended) else {
                continue;
            };
            if connection.is_established() {
                let (more, fin) = read_all(connection, id);
                got.extend(more);
                ended = fin && got.len() == data.len();
            }
        }
        if ended {
            break;
        }
    }
    // The null handshake's checksums find what a network does to packets, so that nothing but loss remains.
    prop_assert!(ended, "{} bytes, {:?} {:?}", got.len(), pair.client_closed(), pair.server_closed());
    prop_assert_eq!(&got, &data);
    let now = pair.now;
    pair.client.close_all(now, AppError::default(), b"");
    pair.run(patient * 4);
    prop_assert_eq!((pair.client.connections(), pair.server.connections()), (0, 0));
    prop_assert_eq!((pair.client.next_timeout(), pair.server.next_timeout()), (None, None));
    Ok(())
}

/// Calls that the loop would not make: early, repeated, with a buffer of no use, with a clock that goes backwards.
fn disturb(pair: &mut Pair, rng: &mut SeededRng) {
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    let past = Instant::from_millis(u64::from(bytes[0]));
    for end in [&mut pair.client, &mut pair.server] {
        for choice in bytes {
            let now = if choice & 1 == 0 { pair.now } else { past.min(pair.now) };
            match choice % 5 {
                0 => end.handle_timeout(now),
                1 => assert!(end.poll_transmit(now, &mut [0; 20], common::ONE).is_none_or(|t| t.len <= 20)),
                2 => {
                    end.next_timeout();
                }
                3 => {
                    let path = FourTuple::to(common::address(50));
                    end.handle_datagram(now, Datagram { path, ecn: None, payload: &mut bytes.clone() });
                }
                _ => end.handle_timeout(now),
            }
        }
    }
}

/// Whether a datagram under null keys, whose headers and frames are readable, has a Handshake packet with CRYPTO frames.
fn has_handshake_bytes(mut datagram: &[u8]) -> bool {
    let spec = spec(Version::V1).unwrap();
    while let Ok(long) = parse_long(datagram, spec) {
        let (packet, rest) = datagram.split_at(long.packet_len);
        datagram = rest;
        let number_len = usize::from(packet[0] & 3) + 1;
        let frames = Frames::new(&packet[long.number_offset + number_len..packet.len() - 16]);
        if long.kind == LongKind::Handshake
            && frames.flatten().any(|(_, frame)| matches!(frame, Frame::Crypto { .. }))
        {
            return true;
        }
    }
    false
}

/// Found by `transfer(12771972999050783848, 9, true)`: the client's Finished was lost, and known to be lost since a PING behind it was acknowledged.
/// By then 1-RTT packets, which a server without Finished cannot read, filled the window; no timer ran, and neither end ever spoke again.
#[test]
fn lost_handshake_bytes_get_past_a_full_window() {
    let mut pair = Pair::new(null_server().transport(transport().build().unwrap()));
    let client = pair.connect(&null_client());
    let mut lost = 0;
    pair.network = Box::new(move |to_server, bytes| {
        if to_server && lost < 2 && has_handshake_bytes(bytes) {
            lost += 1;
            return Fate::Drop;
        }
        Fate::Deliver
    });
    while !pair.c(client).is_established() {
        let end = pair.now + Duration::from_secs(1);
        assert!(pair.step(end));
    }
    let id = pair.client_sends(client, &[7; 50_000]);
    pair.run(Duration::from_secs(20));
    let server = pair.accepted[0];
    let (data, ended) = read_all(pair.s(server), id);
    assert!(ended && data == [7; 50_000], "{} bytes", data.len());
}

/// So many cases, or as many as `PROPTEST_CASES` says; seeds are fresh each time, and a case that fails is printed with its own.
fn cases(cases: u32) -> ProptestConfig {
    let cases =
        if std::env::var_os("PROPTEST_CASES").is_some() { ProptestConfig::default().cases } else { cases };
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    // What is wrong with one of a thousand networks shows in most runs: seeds like 12771972999050783848 (9 percent, disorder), by which
    // lost handshake bytes were stuck, are as rare as that.
    #![proptest_config(cases(3000))]

    /// Seed 14968023344670963155 at 3 percent found that a server took 1-RTT packets before its handshake was complete.
    #[test]
    fn a_mangling_network_only_delays(seed: u64, percent in 0u32..25) {
        transfer(seed, percent, false)?;
    }

    #[test]
    fn the_order_of_calls_and_the_clock_do_not_matter(seed: u64, percent in 0u32..15) {
        transfer(seed, percent, true)?;
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn authentic_nonsense_closes_at_most(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..8),
        client_side: bool,
        level in 0..3,
    ) {
        let side = if client_side { Side::Client } else { Side::Server };
        let mut raw = if level == 2 || side.is_server() {
            Raw::connected(side, transport())
        } else {
            let mut raw = Raw::new(side, transport());
            raw.hello(|_| {});
            raw
        };
        let level = if level == 2 || side.is_server() { Level::OneRtt } else { Level::Initial };
        for payload in payloads {
            raw.packet(level, 0, |w| w.bytes(&payload));
            let mut buf = vec![0; 1500];
            let mut sent = 0;
            while raw.real.poll_transmit(raw.now, &mut buf, common::ONE).is_some() {
                sent += 1;
                prop_assert!(sent < 1000);
            }
        }
        // Whatever it was, it ends: by a violation, or of idleness.
        for _ in 0..2000 {
            let mut buf = vec![0; 1500];
            while raw.real.poll_transmit(raw.now, &mut buf, common::ONE).is_some() {}
            while raw.real.poll_event().is_some() {}
            let Some(next) = raw.real.next_timeout() else { break };
            raw.now = raw.now.max(next);
            raw.real.handle_timeout(raw.now);
        }
        while raw.real.poll_event().is_some() {}
        prop_assert_eq!(raw.real.connections(), 0);
        prop_assert_eq!(raw.real.next_timeout(), None);
    }

    #[test]
    fn garbage_is_harmless(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1300), 0..20)) {
        let (mut pair, client, _) = Pair::connected(transport());
        for (n, datagram) in datagrams.into_iter().enumerate() {
            pair.inject(n % 2 == 0, datagram);
        }
        pair.settle();
        let id = pair.client_sends(client, b"still here");
        pair.settle();
        let server = pair.accepted[0];
        prop_assert_eq!(read_all(pair.s(server), id), (b"still here".to_vec(), true));
    }
}
