//! Two endpoints, and between them a network that does what the input says. The first byte of each step chooses: deliver, drop, repeat, flip
//! a bit, cut short, let time pass, call the application's side, or say something in the client's name.

use quic_proto::Endpoint;
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::endpoint::ConnectionHandle;
use quic_proto::error::AppError;
use quic_proto::event::Event;
use quic_proto::id::Dir;
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::time::{Duration, Instant, UnixTime};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroUsize;

/// Runs the input. `forge` makes a packet of two bytes of it and of the datagram that the server would have got next.
pub fn run(
    data: &[u8],
    server: ServerConfig,
    client: &ClientConfig,
    forge: impl Fn(&[u8], u8, u8) -> Option<Vec<u8>>,
) {
    let Ok(server) = server.build() else { return };
    let endpoint = |server, seed| {
        let rng = Box::new(SeededRng::from_u64(seed));
        Endpoint::new(EndpointConfig::new(&[2; 32]), server, rng, UnixTime::from_secs(1))
    };
    let mut ends = [endpoint(Some(server), 1), endpoint(None, 2)];
    let addresses: [SocketAddr; 2] = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
    let mut now = Instant::EPOCH;
    let Ok(handle) = ends[1].connect(now, FourTuple::to(addresses[0]), "fuzz", client) else { return };
    let mut wires = [VecDeque::<Vec<u8>>::new(), VecDeque::new()];
    let mut over = [BTreeSet::new(), BTreeSet::new()];
    let mut buf = vec![0; 4 * 1500];
    let segments = NonZeroUsize::new(4).expect("four");
    for step in data.chunks(3) {
        let [action, a, b] = *step else { break };
        let to = usize::from(action & 1);
        match action >> 1 & 7 {
            _ if action >= 0xc0 => {
                let forged = wires[0].front().and_then(|next| forge(next, a, b));
                wires[0].extend(forged);
            }
            0 | 1 => deliver(&mut ends, &addresses, &mut wires, to, now),
            2 => drop(wires[to].pop_front()),
            3 => wires[to].extend(wires[to].front().cloned()),
            4 => {
                if let Some(byte) = wires[to].front_mut().and_then(|first| first.get_mut(usize::from(a) * 5)) {
                    *byte ^= 1 << (b & 7);
                }
            }
            5 => wires[to].front_mut().into_iter().for_each(|first| first.truncate(usize::from(a) * 5)),
            6 => {
                now += Duration::from_millis(u64::from(a) * u64::from(b) / 8);
                ends[to].handle_timeout(now);
            }
            _ => application(&mut ends[1], handle, now, a, b),
        }
        for me in [0, 1] {
            while let Some(incoming) = ends[me].poll_incoming() {
                let _ = ends[me].accept(now, incoming);
            }
            while let Some((handle, event)) = ends[me].poll_event() {
                assert!(!over[me].contains(&handle), "{event:?} after the end");
                if matches!(event, Event::Closed(_)) {
                    over[me].insert(handle);
                }
            }
            while wires[1 - me].len() < 64 {
                let Some(transmit) = ends[me].poll_transmit(now, &mut buf, segments) else { break };
                wires[1 - me].extend(transmit.datagrams(&buf).map(<[u8]>::to_vec));
            }
        }
    }
}

fn deliver(
    ends: &mut [Endpoint; 2],
    addresses: &[SocketAddr; 2],
    wires: &mut [VecDeque<Vec<u8>>; 2],
    to: usize,
    now: Instant,
) {
    let Some(mut payload) = wires[to].pop_front() else { return };
    let path = FourTuple { local: Some(addresses[to]), remote: addresses[1 - to] };
    ends[to].handle_datagram(now, Datagram { path, ecn: None, payload: &mut payload });
}

fn application(end: &mut Endpoint, handle: ConnectionHandle, now: Instant, a: u8, b: u8) {
    let Some(connection) = end.connection(handle) else { return };
    let dir = if a & 1 == 0 { Dir::Bi } else { Dir::Uni };
    match b & 7 {
        0..4 => {
            let Ok(id) = connection.open(dir) else { return };
            if let Ok(mut stream) = connection.send_stream(id) {
                let _ = stream.write(&vec![a; usize::from(a) * 16]);
                let _ = if b & 1 == 0 { stream.finish() } else { Ok(()) };
            }
        }
        4 => connection.ping(),
        5 => drop(connection.initiate_key_update()),
        6 => connection.close(now, AppError::from(1), b"done"),
        _ => {}
    }
}
