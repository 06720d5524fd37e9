//! The whole state machine of Google QUIC, with its own keys. What is in the clear can be forged: frames and pieces of handshake messages.
#![no_main]

mod world;

use libfuzzer_sys::fuzz_target;
use quic_proto::codec::Writer;
use quic_proto::config::{ClientConfig, ServerConfig};
use quic_proto::crypto::PacketKey;
use quic_proto::crypto::rustls::Identity;
use quic_proto::gquic::crypto::null_aead::NullAead;
use quic_proto::gquic::wire::header::{self, LongType};
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use quic_proto::id::{Cid, Side};
use std::sync::Arc;

const CERTIFICATE: &[u8] = include_bytes!("../../quic-proto/testdata/gquic/rsa-cert.der");
const KEY: &[u8] = include_bytes!("../../quic-proto/testdata/gquic/rsa-key.der");
const TAG: usize = 12;

fuzz_target!(|data: &[u8]| {
    let key = KEY.try_into().expect("the key is in PKCS #8");
    let identity = Identity { chain: vec![CERTIFICATE.into()], key };
    let proof = ProofSource::from_identity(identity).expect("the key can sign");
    let server = ServerConfig::of(Arc::new(gquic::ServerConfig::new(proof, &[3; 32])), &[1; 32]);
    let trust = ServerTrust::danger_accept_any_certificate();
    let client = ClientConfig::of(Arc::new(gquic::ClientConfig::new(trust)));
    world::run(data, server, &client, forge);
});

/// The client's next packet with another payload: what it said in the clear with a byte changed, or frames of few bytes.
fn forge(next: &[u8], a: u8, b: u8) -> Option<Vec<u8>> {
    let long = header::parse_long(next, Side::Client).ok()?;
    let (cid, len) = (long.dcid, long.len);
    let mut payload = next.get(len..next.len().checked_sub(TAG)?)?.to_vec();
    if a & 1 == 0 {
        let at = usize::from(a >> 1) % payload.len().max(1);
        *payload.get_mut(at)? = b;
    } else {
        payload = [a >> 1, b].repeat(usize::from(b % 16) + 1);
    }
    let number = long.number.expand(0) + u64::from(b >> 6);
    let mut out = vec![0; 64 + payload.len()];
    let mut w = Writer::new(&mut out);
    header::encode_long(&mut w, LongType::Handshake, &cid, &Cid::EMPTY, number, None);
    let head = w.len();
    w.bytes(&payload);
    let end = w.len() + TAG;
    out.truncate(end);
    NullAead::new(Side::Client).seal(number, &mut out, head);
    Some(out)
}
