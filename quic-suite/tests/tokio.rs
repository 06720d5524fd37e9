//! The suite on quic-tokio.

use quic_proto::invariants::Version;
use quic_suite::{on_tokio::Tokio, suite};

suite!(v1, Tokio, Version::V1);
