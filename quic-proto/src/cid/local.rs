//! The connection ids that we issued: what the peer may address us by.
//!
//! Owns sequence numbers, reset tokens and the announcements (`NEW_CONNECTION_ID`) that are still owed. The endpoint's table of routes
//! follows by the notices, one way: it is never asked.
//!
//! Invariants: at most [`MAX_ACTIVE`] ids, and at most as many as the peer's `active_connection_id_limit` allows, are active; an id is
//! active from the moment it is made (before the peer can know it) until the peer retires it. Timers: none.

use super::CidGenerator;
use crate::error::{TransportError, TransportErrorCode};
use crate::id::{Cid, ResetToken};
use crate::recovery::token::Token;
use crate::rng::Rng;
use smallvec::SmallVec;
use std::collections::VecDeque;

/// The most ids that we keep active, whatever the peer would take: each is an entry in the endpoint's table.
pub(crate) const MAX_ACTIVE: usize = 8;

/// A change that the endpoint's routes must follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Notice {
    /// Packets to this id belong to the connection from now on; its reset token goes with it.
    Added(Cid, ResetToken),
    /// The peer promised not to use this id again.
    Retired(Cid),
}

/// What a `NEW_CONNECTION_ID` frame says (RFC 9000 §19.15). We never ask for the retirement of earlier ids: Retire Prior To is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The sequence number.
    pub sequence: u64,
    /// The id.
    pub cid: Cid,
    /// Its stateless reset token.
    pub token: ResetToken,
}

/// The ids that we issued on one connection.
#[derive(Debug)]
pub struct LocalCids {
    active: SmallVec<[Issued; 3]>,
    /// The number that the next id gets.
    next_sequence: u64,
    /// Numbers below this one were announced to the peer.
    announced: u64,
    /// How many ids may be active, sequence 0 included.
    limit: usize,
    /// Of the ids with numbers from this one on no notice was given yet.
    unnoticed: u64,
    /// Ids whose retirement was not noticed yet.
    retired: VecDeque<Cid>,
}

#[derive(Clone, Copy, Debug)]
struct Issued {
    sequence: u64,
    cid: Cid,
    /// The token to announce; none for sequence 0, whose token (if any) is in the transport parameters.
    token: Option<ResetToken>,
    /// An announcement is owed.
    owed: bool,
}

impl LocalCids {
    /// A connection whose handshake uses `cid` as its source connection id, which has sequence number 0 (RFC 9000 §5.1.1). The caller
    /// has routed it already; no notice is given of it.
    pub fn new(cid: Cid) -> Self {
        let first = Issued { sequence: 0, cid, token: None, owed: false };
        let active = SmallVec::from_iter([first]);
        Self { active, next_sequence: 1, announced: 1, limit: 1, unnoticed: 1, retired: VecDeque::new() }
    }

    /// Takes the peer's `active_connection_id_limit`, at least 2 (RFC 9000 §18.2). Until then nothing is issued.
    pub fn set_peer_limit(&mut self, limit: u64) {
        // RFC 9000 §5.1.1: "An endpoint MUST NOT provide more connection IDs than the peer's limit."
        self.limit = usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, MAX_ACTIVE);
    }

    /// Issues ids until as many are active as the limits allow; each gives a notice and owes an announcement.
    ///
    /// `token` computes the reset token of an id. Does nothing if our ids have no bytes: RFC 9000 §5.1.1, "An endpoint that selects a
    /// zero-length connection ID during the handshake cannot issue a new connection ID."
    pub fn top_up(
        &mut self,
        generator: &dyn CidGenerator,
        rng: &mut dyn Rng,
        token: &mut dyn FnMut(&Cid) -> ResetToken,
    ) {
        if generator.is_empty() || self.is_zero_length() {
            return;
        }
        while self.active.len() < self.limit {
            let cid = generator.generate(rng);
            if self.active.iter().any(|issued| issued.cid == cid) {
                // A poor generator: better fewer ids than one id with two numbers. The next call tries again.
                return;
            }
            let token = token(&cid);
            let sequence = self.next_sequence;
            // RFC 9000 §5.1.1: "The sequence number on each newly issued connection ID MUST increase by 1."
            self.next_sequence += 1;
            self.active.push(Issued { sequence, cid, token: Some(token), owed: true });
        }
    }

    /// A `RETIRE_CONNECTION_ID` frame came, in a packet that was addressed to `arrived_on`.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` in the three cases of RFC 9000 §19.16.
    pub fn on_retire(&mut self, sequence: u64, arrived_on: &Cid) -> Result<(), TransportError> {
        let violation = |reason| Err(TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, reason));
        // RFC 9000 §19.16: "An endpoint that provides a zero-length connection ID MUST treat receipt of a RETIRE_CONNECTION_ID
        // frame as a connection error of type PROTOCOL_VIOLATION."
        if self.is_zero_length() {
            return violation("a zero-length connection id was retired");
        }
        // RFC 9000 §19.16: "a sequence number greater than any previously sent to the peer MUST be treated as a connection error of
        // type PROTOCOL_VIOLATION".
        if sequence >= self.announced {
            return violation("a connection id that was never announced was retired");
        }
        let Some(at) = self.active.iter().position(|issued| issued.sequence == sequence) else {
            // Retired before: the frame was sent again because an acknowledgement was lost.
            return Ok(());
        };
        // RFC 9000 §19.16: the sequence number "MUST NOT refer to the Destination Connection ID field of the packet in which the frame
        // is contained. The peer MAY treat this as a connection error of type PROTOCOL_VIOLATION."
        if self.active[at].cid == *arrived_on {
            return violation("a connection id was retired by a packet that uses it");
        }
        let retired = self.active.remove(at);
        self.retired.push_back(retired.cid);
        Ok(())
    }

    /// The announcement that is owed next.
    pub fn peek_announcement(&self) -> Option<Announcement> {
        self.active.iter().find(|issued| issued.owed).and_then(|issued| {
            let token = issued.token?;
            Some(Announcement { sequence: issued.sequence, cid: issued.cid, token })
        })
    }

    /// The announcement of this sequence number was written into a packet.
    pub fn take_announcement(&mut self, sequence: u64) -> Token {
        self.owe(sequence, false);
        self.announced = self.announced.max(sequence + 1);
        Token::NewConnectionId(sequence)
    }

    /// The announcement was lost: it is owed again, if the id is still active (RFC 9000 §13.3).
    pub fn on_lost(&mut self, sequence: u64) {
        self.owe(sequence, true);
    }

    /// The next notice for the endpoint. Poll until `None` after each datagram: the queue holds a few notices for each id.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        if let Some(cid) = self.retired.pop_front() {
            return Some(Notice::Retired(cid));
        }
        if self.unnoticed == self.next_sequence {
            return None;
        }
        let issued = self.active.iter().find(|issued| issued.sequence >= self.unnoticed);
        self.unnoticed = issued.map_or(self.next_sequence, |issued| issued.sequence + 1);
        issued.and_then(|issued| Some(Notice::Added(issued.cid, issued.token?)))
    }

    /// Gives back memory that is only kept for notices to come.
    pub fn rest(&mut self) {
        self.retired.shrink_to_fit();
    }

    /// All active ids, oldest first.
    pub fn active(&self) -> impl Iterator<Item = Cid> + '_ {
        self.active.iter().map(|issued| issued.cid)
    }

    /// Whether the peer addresses us without an id.
    pub fn is_zero_length(&self) -> bool {
        // All ids of a connection have one length. The peer cannot retire the last: the frame would have to be addressed to another.
        self.active.first().is_some_and(|issued| issued.cid.is_empty())
    }

    fn owe(&mut self, sequence: u64, owed: bool) {
        if let Some(issued) = self.active.iter_mut().find(|issued| issued.sequence == sequence) {
            issued.owed = owed && issued.token.is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cid::RandomCids;
    use crate::rng::SeededRng;

    fn first() -> Cid {
        Cid::new(&[0xf1; 8]).unwrap()
    }

    fn top_up(cids: &mut LocalCids) {
        let token = &mut |cid: &Cid| ResetToken([cid[0]; 16]);
        cids.top_up(&RandomCids::default(), &mut SeededRng::from_u64(cids.next_sequence), token);
    }

    fn issued(limit: u64) -> LocalCids {
        let mut cids = LocalCids::new(first());
        cids.set_peer_limit(limit);
        top_up(&mut cids);
        cids
    }

    fn code(result: Result<(), TransportError>) -> Option<TransportErrorCode> {
        result.err().map(|error| error.code)
    }

    #[test]
    fn as_many_as_the_peer_takes_and_no_more_than_eight() {
        for (limit, expected) in [(2, 2), (5, 5), (8, 8), (1 << 40, 8)] {
            assert_eq!(issued(limit).active().count(), expected);
        }
        let mut before = LocalCids::new(first());
        top_up(&mut before);
        assert_eq!(before.peek_announcement(), None, "the peer's limit is not known yet");
    }

    #[test]
    fn announcements_count_up_and_come_back_when_lost() {
        let mut cids = issued(3);
        for sequence in 1..=2 {
            let announcement = cids.peek_announcement().unwrap();
            assert_eq!(announcement.sequence, sequence);
            let notice = cids.poll_notice();
            assert_eq!(notice, Some(Notice::Added(announcement.cid, announcement.token)));
            assert_eq!(cids.take_announcement(sequence), Token::NewConnectionId(sequence));
        }
        assert_eq!((cids.peek_announcement(), cids.poll_notice()), (None, None));
        cids.on_lost(2);
        assert_eq!(cids.peek_announcement().map(|a| a.sequence), Some(2));
        cids.on_retire(2, &first()).unwrap();
        cids.on_lost(2);
        assert_eq!(cids.peek_announcement(), None, "a retired id is not announced again");
        cids.on_lost(0);
        assert_eq!(cids.peek_announcement(), None, "the id of the handshake was never announced");
    }

    #[test]
    fn a_retired_id_is_replaced() {
        let mut cids = issued(2);
        let second = cids.peek_announcement().unwrap().cid;
        cids.take_announcement(1);
        while cids.poll_notice().is_some() {}
        cids.on_retire(0, &second).unwrap();
        assert_eq!(cids.poll_notice(), Some(Notice::Retired(first())));
        cids.on_retire(0, &second).unwrap();
        assert_eq!(cids.poll_notice(), None, "the same frame again");
        top_up(&mut cids);
        assert!(matches!(cids.poll_notice(), Some(Notice::Added(..))));
        assert_eq!(cids.active().count(), 2);
        assert_eq!(cids.next_sequence, 3);
    }

    #[test]
    fn violations_of_section_19_16() {
        let mut cids = issued(3);
        let violation = Some(TransportErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(code(cids.on_retire(1, &first())), violation, "issued, but not announced yet");
        for sequence in 1..=2 {
            cids.take_announcement(sequence);
        }
        assert_eq!(code(cids.on_retire(3, &first())), violation);
        assert_eq!(code(cids.on_retire(u64::MAX, &first())), violation);
        assert_eq!(code(cids.on_retire(0, &first())), violation);
        assert_eq!(code(LocalCids::new(Cid::EMPTY).on_retire(0, &Cid::EMPTY)), violation);
    }

    #[test]
    fn zero_length_ids_are_not_issued() {
        let mut cids = LocalCids::new(Cid::EMPTY);
        cids.set_peer_limit(8);
        top_up(&mut cids);
        assert_eq!((cids.active().count(), cids.peek_announcement()), (1, None));
    }
}
