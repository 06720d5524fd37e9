//! The whole state machine, with keys that anybody can make.
#![no_main]

mod world;

use libfuzzer_sys::fuzz_target;
use quic_proto::config::{ClientConfig, ServerConfig};
use quic_proto::crypto::null::{NullClient, NullServer};
use std::sync::Arc;

fuzz_target!(|data: &[u8]| {
    let alpn = vec![b"fuzz".to_vec()];
    let server = NullServer { alpn: alpn.clone(), ..NullServer::default() };
    let client = ClientConfig::new(Arc::new(NullClient { alpn, ..NullClient::default() }));
    world::run(data, ServerConfig::new(Arc::new(server), &[1; 32]), &client, |_, _, _| None);
});
