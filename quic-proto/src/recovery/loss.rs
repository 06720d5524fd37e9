//! Loss detection (RFC 9002 §6.1), persistent congestion (§7.6), and losses that turn out to be none.
//!
//! Packets are settled in the order of their numbers: both thresholds, by packets and by time, are met by an older packet no later
//! than by a newer one, so that a cursor over each space suffices and every packet is looked at once.
//! Owns: the congestion episode, which is a recovery period as the sender sees it, and per space the run of consecutive losses.
//! Timers: `Space::loss_time`, the time at which the packet at the cursor will be lost.

use super::Outcome;
use super::reordering::Reordering;
use super::rtt::Rtt;
use super::sent::State;
use super::space::Space;
use crate::congestion::{Controller, LostPacket};
use crate::id::PacketNumber;
use crate::time::{Duration, Instant};

/// RFC 9002 §7.6.1: the RECOMMENDED kPersistentCongestionThreshold.
const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;

/// For how many PTOs a lost packet is remembered: arbitrary, the three that old keys and paths get, too.
const LATE_ACK_PTOS: u32 = 3;

/// Ack-eliciting packets of one space that were lost without an acknowledged one between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    start: Instant,
    end: Instant,
}

/// The losses that one congestion event was about.
#[derive(Clone, Debug, Default)]
pub(super) struct Episode {
    id: u32,
    start: Option<Instant>,
    unresolved: u32,
    genuine: bool,
}

impl Episode {
    /// A packet sent at `sent` counts as congestion: in this episode, or it begins the next one. Returns the episode's number.
    pub(super) fn on_congestion(&mut self, sent: Instant, now: Instant) -> u32 {
        if self.start.is_none_or(|start| sent > start) {
            *self = Self { id: self.id.wrapping_add(1), start: Some(now), unresolved: 0, genuine: false };
        }
        self.id
    }

    /// The number of the latest episode.
    pub(super) fn number(&self) -> u32 {
        self.id
    }

    /// The episode was not, or not only, about losses that may be undone.
    pub(super) fn make_genuine(&mut self) {
        self.genuine = true;
    }

    /// A lost packet was acknowledged after all; `true` if with it all losses of the last congestion event were.
    pub(super) fn on_spurious(&mut self, episode: u32) -> bool {
        if episode != self.id || self.start.is_none() || self.unresolved == 0 {
            return false;
        }
        self.unresolved -= 1;
        let undo = self.unresolved == 0 && !self.genuine;
        if undo {
            self.start = None;
        }
        undo
    }

    /// A new path: what was lost on the old one is no longer of interest.
    pub(super) fn reset(&mut self) {
        *self = Self { id: self.id.wrapping_add(1), ..Self::default() };
    }
}

/// What loss detection looks at.
pub(super) struct Scan<'a> {
    pub(super) now: Instant,
    pub(super) rtt: &'a Rtt,
    pub(super) reordering: Reordering,
    pub(super) max_ack_delay: Duration,
    pub(super) generation: u32,
}

/// What loss detection found.
#[derive(Default)]
pub(super) struct Losses {
    /// Bytes that left the flight.
    pub(super) flight: u64,
    /// Those of them that tell of congestion.
    pub(super) congestion_bytes: u64,
    /// When the newest packet that tells of congestion was sent.
    pub(super) newest: Option<Instant>,
    /// Whether persistent congestion is established.
    pub(super) persistent: bool,
}

impl Space {
    /// Declares packets lost (RFC 9002 A.10): their tokens go to `out.lost`. O(packets that the cursor passes).
    pub(super) fn detect_lost(
        &mut self,
        scan: &Scan<'_>,
        episode: &mut Episode,
        cc: &mut dyn Controller,
        out: &mut Outcome,
    ) -> Losses {
        let mut losses = Losses::default();
        self.loss_time = None;
        let Some(largest) = self.largest_acked else { return losses };
        let first = self.ring.first_key().unwrap_or(largest + 1);
        if self.cursor < first {
            // What lies between was acknowledged.
            self.cursor = first;
            self.run = None;
        }
        let (delay, threshold) = (scan.reordering.delay(scan.rtt), scan.reordering.packets());
        while self.cursor <= largest {
            let Some(tracked) = self.ring.get(self.cursor) else {
                if !self.numbers.skipped(self.cursor) {
                    self.run = None;
                }
                self.cursor += 1;
                continue;
            };
            let due = tracked.packet.time + delay;
            if self.ahead(self.cursor, largest) < threshold && due > scan.now {
                self.loss_time = Some(due);
                break;
            }
            if let Some(lost) = self.lose_at_cursor(scan, episode, &mut losses, out) {
                cc.on_lost(&lost);
            }
            self.cursor += 1;
        }
        losses
    }

    /// How many packets after `number` were sent up to `largest`. RFC 9002 A.10 assumes that there are "no sender-induced gaps in the packet
    /// number space": ours do not count.
    pub(super) fn ahead(&self, number: PacketNumber, largest: PacketNumber) -> u64 {
        largest.saturating_sub(number) - self.numbers.skipped_in(&(number..=largest))
    }

    /// Forgets losses at the front of the ring that were declared long ago: no late ACK is expected any more.
    pub(super) fn forget_old_losses(&mut self, scan: &Scan<'_>) {
        let keep = (scan.rtt.pto_base() + scan.max_ack_delay) * LATE_ACK_PTOS;
        while let Some((number, tracked)) = self.ring.first() {
            let State::Lost { at, .. } = tracked.state else { return };
            if at + keep > scan.now {
                return;
            }
            self.ring.remove(number);
        }
    }

    /// Returns what the congestion controller is to be told.
    fn lose_at_cursor(
        &mut self,
        scan: &Scan<'_>,
        episode: &mut Episode,
        losses: &mut Losses,
        out: &mut Outcome,
    ) -> Option<LostPacket> {
        let tracked = self.ring.get_mut(self.cursor)?;
        let flight = tracked.flight(scan.generation);
        let congestion = flight > 0 && tracked.tells_of_congestion();
        let packet = &tracked.packet;
        out.lost.extend_from_slice(&packet.tokens);
        losses.flight += flight;
        if packet.in_flight {
            out.lost_packets += 1;
            out.lost_bytes += u64::from(packet.bytes);
        }
        let (sent, eliciting) = (packet.time, packet.ack_eliciting);
        let begins_range = self.last_lost.is_none_or(|last| last + 1 != self.cursor);
        self.last_lost = Some(self.cursor);
        let lost = LostPacket { now: scan.now, sent, bytes: flight, mark: tracked.mark, begins_range };
        let lost = congestion.then_some(lost);
        let mut id = 0;
        if congestion {
            losses.congestion_bytes += flight;
            let smallest = out.smallest_lost_size.unwrap_or(u16::MAX);
            out.smallest_lost_size = Some(smallest.min(packet.bytes));
            losses.newest = losses.newest.max(Some(sent));
            id = episode.on_congestion(sent, scan.now);
        }
        if !eliciting {
            // Nobody waits for it, and it may never be acknowledged. A padded one still is congestion that cannot be undone.
            if congestion {
                episode.make_genuine();
            }
            self.ring.remove(self.cursor);
            return lost;
        }
        episode.unresolved += u32::from(congestion);
        tracked.state = State::Lost { at: scan.now, episode: id };
        self.eliciting -= 1;
        if congestion && self.extend_run(sent, scan) {
            losses.persistent = true;
        }
        lost
    }

    /// RFC 9002 §7.6.2: "two packets that are ack-eliciting are declared lost", none between them acknowledged, "a prior RTT sample
    /// existed when these two packets were sent", and "the duration between the send times … exceeds the persistent congestion
    /// duration".
    fn extend_run(&mut self, sent: Instant, scan: &Scan<'_>) -> bool {
        if scan.rtt.first_sample().is_none_or(|first| sent <= first) {
            return false;
        }
        let run = self.run.get_or_insert(Run { start: sent, end: sent });
        run.end = sent;
        let duration = (scan.rtt.pto_base() + scan.max_ack_delay) * PERSISTENT_CONGESTION_THRESHOLD;
        let persistent = run.end - run.start > duration;
        if persistent {
            self.run = None;
        }
        persistent
    }

    /// A packet sent at `sent` was acknowledged, maybe in another space: §7.6.2 looks "across all packet number spaces".
    pub(super) fn break_run(&mut self, sent: Instant) {
        if self.run.is_some_and(|run| sent >= run.start) {
            self.run = None;
        }
    }
}
