//! The suite on quic-tokio, with one shard and with two.

use quic_proto::invariants::Version;
use quic_suite::on_tokio::Tokio;
use quic_suite::suite;

suite!(v1, Tokio, Version::V1);
suite!(q044, Tokio, Version::Q044);

#[cfg(target_os = "linux")]
mod sharded {
    use super::*;
    use quic_suite::on_tokio::TokioSharded;
    suite!(v1, TokioSharded, Version::V1);
    suite!(q044, TokioSharded, Version::Q044);
}
