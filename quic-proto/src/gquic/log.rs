//! A log of packets for a person to read: a line a packet, and under it a line a frame.
//!
//! ```text
//! -> packet 7, 46 bytes, forward secure
//!    -> STREAM 3: 6 bytes at 0
//! <- packet 6, 18 bytes, forward secure
//!    <- ACK 7, 3, delay 131 µs
//! ```
//! It is written at the level `DEBUG` to the target `quic_proto::packets`, inside the span of the connection; when nobody listens there it
//! costs a look at a flag. No state, no timers.

use super::keys::Level;
use super::wire::frame::{Frame, Frames};
use crate::id::PacketNumber;
use std::fmt;

const TARGET: &str = "quic_proto::packets";

/// Which way a packet goes.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Sent,
    Received,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sent => "->",
            Self::Received => "<-",
        })
    }
}

/// Logs a packet of `size` bytes with its frames, if anybody listens.
pub(super) fn packet(way: Way, number: PacketNumber, size: usize, level: Level, payload: &[u8]) {
    if !tracing::enabled!(target: TARGET, tracing::Level::DEBUG) {
        return;
    }
    tracing::debug!(target: TARGET, "{way} packet {number}, {size} bytes, {level}");
    for frame in Frames::new(payload) {
        match frame {
            Ok(frame) => tracing::debug!(target: TARGET, "   {way} {}", Line(&frame)),
            Err(error) => tracing::debug!(target: TARGET, "   {way} {error}"),
        }
    }
}

/// A frame as a line.
struct Line<'a>(&'a Frame<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Frame::Padding(len) => write!(f, "PADDING, {len} bytes"),
            Frame::RstStream { stream, final_offset, code } => {
                write!(f, "RST_STREAM {stream}: {code}, final offset {final_offset}")
            }
            Frame::ConnectionClose { code, reason } => {
                write!(f, "CONNECTION_CLOSE: {code} {:?}", String::from_utf8_lossy(reason))
            }
            Frame::GoAway { code, last_good_stream, .. } => {
                write!(f, "GOAWAY: {code}, last good stream {last_good_stream}")
            }
            Frame::WindowUpdate { stream: 0, limit } => write!(f, "WINDOW_UPDATE of the connection: {limit}"),
            Frame::WindowUpdate { stream, limit } => write!(f, "WINDOW_UPDATE {stream}: {limit}"),
            Frame::Blocked { stream: 0 } => f.write_str("BLOCKED: the connection"),
            Frame::Blocked { stream } => write!(f, "BLOCKED {stream}"),
            Frame::Ping => f.write_str("PING"),
            Frame::Stream { stream, offset, data, fin } => {
                let end = if *fin { ", and the end" } else { "" };
                write!(f, "STREAM {stream}: {} bytes at {offset}{end}", data.len())
            }
            Frame::Ack(ack) => {
                f.write_str("ACK ")?;
                for range in ack.ranges.clone() {
                    let (start, end) = range.into_inner();
                    if start == end { write!(f, "{end}, ")? } else { write!(f, "{end} to {start}, ")? }
                }
                write!(f, "delay {} µs", ack.delay)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_as_lines() {
        for (payload, line) in [
            (&[0x80, 3, b'f', b'o', b'o'][..], "STREAM 3: 3 bytes at 0"),
            (&[0xc4, 0x1d, 0, 5], "STREAM 29: 0 bytes at 5, and the end"),
            (&[0x60, 8, 0, 0x47, 1, 1, 2, 4, 0], "ACK 8, 5 to 2, delay 71 µs"),
            (&[5, 0, 0, 0, 0], "BLOCKED: the connection"),
            (&[2, 0, 0, 0, 16, 0, 0], "CONNECTION_CLOSE: PEER_GOING_AWAY \"\""),
        ] {
            let frame = Frames::new(payload).next().unwrap().unwrap();
            assert_eq!(Line(&frame).to_string(), line);
        }
    }
}
