//! The packet log of Google QUIC. A binary of its own: what tracing remembers of a place in the code is shared by all threads, so that other
//! tests, which listen to nothing, could silence it.
#![cfg(all(feature = "gquic", any(feature = "ring", feature = "aws-lc-rs")))]

mod common;
#[allow(dead_code, reason = "shared with the other tests of this family")]
#[path = "gquic/support.rs"]
mod support;

use quic_proto::config::TransportConfig;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};
use support::{connected, send};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the lines that go to the packet log, and refuses all others.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            writeln!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "quic_proto::packets" && *metadata.level() <= Level::DEBUG
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn packets_and_frames_are_readable() {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        let (mut pair, c, _) = connected(TransportConfig::default());
        send(pair.c(c), b"foobar", true);
        pair.settle();
    });
    let log = lines.0.lock().unwrap().clone();
    let expected = [
        "-> packet 1, 1072 bytes, null\n   -> STREAM 1: 1040 bytes at 0\n",
        "<- packet 2, 1080 bytes, null\n   <- ACK 1, delay 0 µs\n   <- STREAM 1: 1040 bytes at 1040\n",
        ", initial\n",
        ", forward secure\n",
        "   -> STREAM 3: 6 bytes at 0, and the end\n",
        "   <- STREAM 3: 6 bytes at 0, and the end\n",
    ];
    for line in expected {
        assert!(log.contains(line), "no {line:?} in\n{log}");
    }
}
