//! The suite on quic-mio.

use quic_proto::invariants::Version;
use quic_suite::{on_mio::Mio, suite};

suite!(v1, Mio, Version::V1);
suite!(q044, Mio, Version::Q044);
