//! What an ACK frame says, added up packet by packet.
//!
//! Owns [`Acked`], which lives as long as one frame is processed. Timers: none.

use super::Outcome;
use super::loss::Episode;
use super::sent::{State, Tracked};
use crate::congestion::DeliveryMark;
use crate::id::PacketNumber;
use crate::time::{Duration, Instant};

/// What one ACK frame newly acknowledged.
#[derive(Default)]
pub(super) struct Acked {
    /// Number and time of the newest packet.
    pub(super) newest: Option<(PacketNumber, Instant)>,
    pub(super) newest_on_path: bool,
    /// The newest of those that left the flight of the present path.
    pub(super) newest_in_flight: Option<Newest>,
    pub(super) eliciting: bool,
    pub(super) bytes: u64,
    pub(super) spurious: u32,
    pub(super) newest_spurious: Option<Instant>,
    /// Of the packets that had been declared lost, the oldest.
    pub(super) latest: Option<Late>,
    pub(super) undo: bool,
}

/// The newest packet that an ACK frame took out of the flight.
#[derive(Clone, Copy)]
pub(super) struct Newest {
    pub(super) number: PacketNumber,
    pub(super) sent: Instant,
    pub(super) mark: DeliveryMark,
}

/// A packet of the present path that was acknowledged after all.
pub(super) struct Late {
    pub(super) number: PacketNumber,
    /// How long after it was sent it had been declared lost.
    pub(super) after: Duration,
    pub(super) episode: u32,
}

impl Acked {
    /// Adds a packet, of which `number` is the number.
    pub(super) fn settle(
        &mut self,
        number: PacketNumber,
        tracked: &Tracked,
        generation: u32,
        episode: &mut Episode,
        out: &mut Outcome,
    ) {
        let packet = &tracked.packet;
        let on_path = packet.path == generation;
        out.acked.extend_from_slice(&packet.tokens);
        out.newly_acked_ect0 += u64::from(on_path && packet.ecn);
        self.eliciting |= packet.ack_eliciting;
        if self.newest.is_none_or(|(newest, _)| number > newest) {
            self.newest = Some((number, packet.time));
            self.newest_on_path = on_path;
        }
        let flight = tracked.flight(generation);
        self.bytes += flight;
        if on_path && packet.bytes > out.largest_acked_size && !tracked.is_mtu_probe() {
            out.largest_acked_size = packet.bytes;
        }
        if flight > 0 && self.newest_in_flight.is_none_or(|newest| number > newest.number) {
            self.newest_in_flight = Some(Newest { number, sent: packet.time, mark: tracked.mark });
        }
        if let State::Lost { episode: id, at } = tracked.state {
            if on_path && self.latest.as_ref().is_none_or(|late| number < late.number) {
                self.latest = Some(Late { number, after: at - packet.time, episode: id });
            }
            self.spurious += 1;
            self.newest_spurious = self.newest_spurious.max(Some(packet.time));
            self.undo |= episode.on_spurious(id);
        }
    }
}
