//! Handshakes.

use crate::common::{Pair, read_all};
use crate::support::{client, ecdsa, pair, rsa, send, server, settings};
use quic_proto::event::Event;
use quic_proto::id::Dir;
use quic_proto::invariants::Version;

#[test]
fn foobar_comes_back() {
    for identity in [ecdsa(), rsa()] {
        let leaf = identity.chain[0].to_vec();
        let (for_client, for_server) = settings(identity);
        let mut pair = Pair::new(server(for_server));
        let c = pair.connect(&client(for_client));
        assert!(pair.c(c).handshake_info().is_none() && !pair.c(c).is_established());
        pair.settle();
        let s = pair.accepted[0];
        for (connection, events) in
            [(pair.client.get(c), &pair.client_events), (pair.server.get(s), &pair.server_events)]
        {
            let connection = connection.unwrap();
            assert_eq!(connection.version(), Version::Q044);
            assert!(connection.is_established());
            let kinds: Vec<_> = events.iter().map(|(_, event)| event.clone()).collect();
            assert!(
                kinds.contains(&Event::Connected) && kinds.contains(&Event::HandshakeConfirmed),
                "{kinds:?}"
            );
            assert_eq!(connection.handshake_info().unwrap().cipher_suite, Some("AES_128_GCM_12"));
        }
        assert_eq!(pair.c(c).handshake_info().unwrap().peer_certificates, [leaf]);
        assert_eq!(pair.s(s).handshake_info().unwrap().server_name.as_deref(), Some("localhost"));

        let id = send(pair.c(c), b"foobar", false);
        pair.settle();
        assert_eq!(pair.s(s).accept(Dir::Bi), Some(id));
        assert_eq!(read_all(pair.s(s), id), (b"foobar".to_vec(), false));
        pair.s(s).send_stream(id).unwrap().write(b"foobar").unwrap();
        pair.settle();
        assert_eq!(read_all(pair.c(c), id), (b"foobar".to_vec(), false));
        pair.c(c).open(Dir::Uni).map_or((), |_| panic!("there are no unidirectional streams"));
    }
}

#[test]
fn a_server_opens_streams_of_its_own() {
    let (mut pair, config) = pair();
    let c = pair.connect(&config);
    pair.settle();
    let s = pair.accepted[0];
    let id = send(pair.s(s), b"news", true);
    pair.settle();
    assert_eq!(pair.c(c).accept(Dir::Bi), Some(id));
    assert_eq!(read_all(pair.c(c), id), (b"news".to_vec(), true));
}
