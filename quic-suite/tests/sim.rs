//! The suite on quic-sim.

use quic_suite::{on_sim::Sim, suite};

suite!(v1, Sim, V1);
suite!(q044, Sim, Q044);
