//! The suite on quic-mio.

use quic_suite::{on_mio::Mio, suite};

suite!(v1, Mio, V1);
suite!(q044, Mio, Q044);
