//! Configurations without their `build()`: what is wrong with them is said when a connection is wanted, and nothing panics.

mod common;

use common::{EPOCH, Pair, address, endpoint, null_client, null_server};
use quic_proto::config::{EndpointConfig, TransportConfig};
use quic_proto::connection::ConnectError;
use quic_proto::endpoint::Endpoint;
use quic_proto::net::FourTuple;
use quic_proto::rng::{Rng, SeededRng};
use quic_proto::time::Duration;
use std::sync::Arc;

fn rng() -> Box<dyn Rng> {
    Box::new(SeededRng::from_u64(2))
}

#[test]
fn no_connection_comes_about_with_what_nobody_checked() {
    let transports = [
        TransportConfig::default().mtu_ceiling(0),
        TransportConfig::default().stream_window(u64::MAX, u64::MAX),
        TransportConfig::default().connection_window(2, 1),
        TransportConfig::default().initial_rtt(Duration::ZERO),
        TransportConfig::default().max_bidi_streams(u64::MAX),
        TransportConfig::default().ack_delay_exponent(255),
        TransportConfig::default().active_cid_limit(0),
    ];
    for transport in transports {
        let mut pair = Pair::new(null_server());
        let (now, to) = (pair.now, FourTuple::to(address(2)));
        let client = null_client().transport(Arc::new(transport.clone()));
        let refused = pair.client.connect(now, to, "localhost", &client);
        assert!(matches!(refused, Err(ConnectError::Config(_))), "{refused:?}");
        // A server does not take clients with it.
        let server = Arc::new(null_server().transport(Arc::new(transport)));
        pair.server = Endpoint::new(EndpointConfig::new(&[2; 32]), Some(server), rng(), EPOCH);
        pair.connect(&null_client());
        pair.settle();
        assert_eq!((pair.accepted.len(), pair.server.connections()), (0, 0));
    }
}

#[test]
fn nor_at_an_endpoint_that_cannot_work() {
    let new = EndpointConfig::new;
    for (config, server) in [
        (new(&[2; 32]).random_cids(25), null_server()),
        (new(&[2; 32]).max_udp_payload_size(0), null_server()),
        (new(&[2; 32]).busy_poll(Duration::from_millis(1001)), null_server()),
        (new(&[2; 32]).versions(&[]), null_server()),
        (new(&[2; 32]), null_server().address_token_lifetime(Duration::ZERO)),
        (new(&[2; 32]), null_server().max_connections(0)),
    ] {
        let mut pair =
            Pair::of(endpoint(1, None), Endpoint::new(config, Some(Arc::new(server)), rng(), EPOCH));
        pair.connect(&null_client());
        pair.settle();
        assert_eq!((pair.accepted.len(), pair.server.connections()), (0, 0));
        let (now, to) = (pair.now, FourTuple::to(address(1)));
        let refused = pair.server.connect(now, to, "localhost", &null_client());
        assert!(matches!(refused, Err(ConnectError::Config(_))), "{refused:?}");
    }
}
