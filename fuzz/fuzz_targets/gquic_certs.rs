//! Certificate chains of Q044, packed by anybody: what unpacks stays within the limits, and packs and unpacks as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quic_proto::gquic::crypto::certs::{MAX_CERTIFICATES, MAX_UNCOMPRESSED_LEN, compress, decompress};

const CACHED: &[&[u8]] = &[b"a certificate that the client has"];

fuzz_target!(|data: &[u8]| {
    let Ok(chain) = decompress(data, CACHED) else { return };
    let cached = MAX_CERTIFICATES * CACHED[0].len();
    assert!(chain.len() <= MAX_CERTIFICATES);
    assert!(chain.iter().map(Vec::len).sum::<usize>() <= MAX_UNCOMPRESSED_LEN + cached);
    assert_eq!(decompress(&compress(&chain, &[]), CACHED), Ok(chain));
});
