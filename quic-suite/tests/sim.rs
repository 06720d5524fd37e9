//! The suite on quic-sim.

use quic_proto::invariants::Version;
use quic_suite::{on_sim::Sim, suite};

suite!(v1, Sim, Version::V1);
suite!(q044, Sim, Version::Q044);
