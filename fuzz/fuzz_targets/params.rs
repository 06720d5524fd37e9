//! Transport parameters: what is accepted reads back the same after it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quic_proto::id::Side;
use quic_proto::ietf::wire::params::TransportParameters;
use quic_proto::ietf::wire::version_info::{self, VersionInformation};
use quic_proto::rng::SeededRng;

fuzz_target!(|data: &[u8]| {
    for sender in [Side::Client, Side::Server] {
        let Ok(params) = TransportParameters::decode(data, sender) else { continue };
        let mut encoded = Vec::new();
        params.encode(&mut encoded, &mut SeededRng::from_u64(1));
        let versions = VersionInformation::find(data, sender).expect("it was checked with the others");
        if let Some(info) = versions {
            let available: Vec<_> = info.available().collect();
            version_info::encode(&mut encoded, info.chosen, &available);
        }
        assert_eq!(TransportParameters::decode(&encoded, sender), Ok(params));
        assert_eq!(VersionInformation::find(&encoded, sender), Ok(versions));
    }
});
