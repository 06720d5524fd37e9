//! The connection ids that the peer issued: what we may address it by.
//!
//! Owns the ids with their reset tokens, which of them are in use and were sent to, and the retirements (`RETIRE_CONNECTION_ID`) that are owed or not
//! yet acknowledged.
//!
//! Invariants: at most as many ids as our `active_connection_id_limit` are active and one of them is current; an id that was retired
//! never comes back; at most [`MAX_RETIRING`] retirements are unacknowledged. Timers: none.

use crate::error::{TransportError, TransportErrorCode};
use crate::id::{Cid, ResetToken};
use crate::recovery::token::Token;
use smallvec::SmallVec;

/// The most retirements that may be unacknowledged. RFC 9000 §5.1.2: "SHOULD allow for … at least twice the value of the
/// `active_connection_id_limit`".
pub(crate) const MAX_RETIRING: usize = 32;
/// The most ids that may have come while an earlier one is still missing. A peer that loses one announcement and goes on sends it
/// again within a few round trips.
const MAX_OUT_OF_ORDER: usize = 64;

/// The ids that the peer issued on one connection.
#[derive(Debug)]
pub struct PeerCids {
    active: SmallVec<[Known; 3]>,
    /// There is an id that a path has and that no packet went to yet.
    unsent: bool,
    /// Sequence number of the id that the active path uses.
    current: u64,
    /// Our `active_connection_id_limit`.
    limit: usize,
    retire_prior_to: u64,
    retiring: SmallVec<[Retiring; 4]>,
    /// All sequence numbers below this one have come.
    seen_below: u64,
    /// Those that have come above.
    seen_above: SmallVec<[u64; 4]>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    sequence: u64,
    cid: Cid,
    token: Option<ResetToken>,
    /// A path has it.
    used: bool,
    /// A packet went to it.
    sent: bool,
}

#[derive(Clone, Copy, Debug)]
struct Retiring {
    sequence: u64,
    /// The frame has to be sent (again).
    owed: bool,
}

impl PeerCids {
    /// The peer is addressed by `cid`, sequence number 0. We told it that we keep `limit` ids, at least 2 (RFC 9000 §18.2).
    pub fn new(cid: Cid, limit: u64) -> Self {
        Self {
            active: SmallVec::from_iter([Known { sequence: 0, cid, token: None, used: true, sent: false }]),
            unsent: true,
            current: 0,
            limit: usize::try_from(limit).unwrap_or(usize::MAX).clamp(2, MAX_RETIRING / 2),
            retire_prior_to: 0,
            retiring: SmallVec::new(),
            seen_below: 1,
            seen_above: SmallVec::new(),
        }
    }

    /// The server chose its id (in its first Initial or Retry packet) in place of the one that the client made up (RFC 9000 §7.2).
    pub fn replace_initial(&mut self, cid: Cid) {
        if let Some(first) = self.active.iter_mut().find(|known| known.sequence == 0) {
            first.cid = cid;
            first.sent = false;
            self.unsent = true;
        }
    }

    /// The reset token of the id of the handshake, from the server's transport parameters.
    pub fn set_initial_token(&mut self, token: ResetToken) {
        if let Some(first) = self.active.iter_mut().find(|known| known.sequence == 0) {
            first.token = Some(token);
        }
    }

    /// The id that the active path uses.
    pub fn current(&self) -> Cid {
        self.cid(self.current).unwrap_or_default()
    }

    /// The sequence number of [`PeerCids::current`].
    pub fn current_sequence(&self) -> u64 {
        self.current
    }

    /// The id with this sequence number, unless it was retired.
    pub fn cid(&self, sequence: u64) -> Option<Cid> {
        self.active.iter().find(|known| known.sequence == sequence).map(|known| known.cid)
    }

    /// Sequence number of an id that was not used on any path yet, which is used from now on. `None` if the peer gave no spare: nothing
    /// can then be sent on a new path (RFC 9000 §9.5). A peer with zero-length ids has the same for all paths.
    pub fn next_for_new_path(&mut self) -> Option<u64> {
        if self.is_zero_length() {
            return Some(self.current);
        }
        let spare = self.active.iter_mut().filter(|known| !known.used).min_by_key(|known| known.sequence)?;
        spare.used = true;
        self.unsent = true;
        Some(spare.sequence)
    }

    /// The active path uses this id now; it must be active. The one before stays until [`PeerCids::retire`].
    pub fn make_current(&mut self, sequence: u64) {
        if let Some(known) = self.active.iter_mut().find(|known| known.sequence == sequence) {
            known.used = true;
            self.unsent |= !known.sent;
            self.current = sequence;
        }
    }

    /// Sequence numbers of the ids that some path uses, or used, other than the current one. None if ids have no bytes: there is nothing to
    /// retire then (RFC 9000 §19.16).
    pub fn used(&self) -> impl Iterator<Item = u64> + '_ {
        let used = self.active.iter().filter(|known| known.used && !known.cid.is_empty());
        used.map(|known| known.sequence).filter(|sequence| *sequence != self.current)
    }

    /// A path with this id is no longer used. The current id is never retired this way, nor is a zero-length one (RFC 9000 §19.16).
    ///
    /// # Errors
    /// `CONNECTION_ID_LIMIT_ERROR` if the peer leaves too many retirements unacknowledged (§5.1.2).
    pub fn retire(&mut self, sequence: u64) -> Result<(), TransportError> {
        if sequence == self.current || self.is_zero_length() {
            return Ok(());
        }
        match self.active.iter().position(|known| known.sequence == sequence) {
            Some(at) => {
                self.active.remove(at);
                self.owe_retirement(sequence)
            }
            None => Ok(()),
        }
    }

    /// A `NEW_CONNECTION_ID` frame came. Says whether the current id changed, because the peer asked to retire it.
    ///
    /// # Errors
    /// The cases of RFC 9000 §19.15 and §5.1.1, each with its code.
    pub fn on_new_connection_id(
        &mut self,
        sequence: u64,
        retire_prior_to: u64,
        cid: Cid,
        token: ResetToken,
    ) -> Result<bool, TransportError> {
        self.check(sequence, retire_prior_to, &cid, &token)?;
        let new = self.see(sequence)?;
        // RFC 9000 §19.15: "A receiver MUST ignore any Retire Prior To fields that do not increase the largest received Retire Prior
        // To value." §5.1.2: retire "before adding the newly provided connection ID".
        self.retire_prior_to = self.retire_prior_to.max(retire_prior_to);
        while let Some(at) = self.active.iter().position(|known| known.sequence < self.retire_prior_to) {
            let retired = self.active.remove(at);
            self.owe_retirement(retired.sequence)?;
        }
        if new && sequence < self.retire_prior_to {
            // RFC 9000 §19.15: "a sequence number smaller than the Retire Prior To field of a previously received NEW_CONNECTION_ID
            // frame MUST send a corresponding RETIRE_CONNECTION_ID frame …, unless it has already done so".
            self.owe_retirement(sequence)?;
        } else if new {
            self.active.push(Known { sequence, cid, token: Some(token), used: false, sent: false });
        }
        // RFC 9000 §5.1.1: "if the number of active connection IDs exceeds the value advertised in its active_connection_id_limit
        // transport parameter, an endpoint MUST close the connection with an error of type CONNECTION_ID_LIMIT_ERROR".
        if self.active.len() > self.limit {
            return Err(limit_error("more connection ids than active_connection_id_limit"));
        }
        self.keep_a_current()
    }

    /// Sequence number of the retirement that is owed next.
    pub fn peek_retire(&self) -> Option<u64> {
        self.retiring.iter().find(|retiring| retiring.owed).map(|retiring| retiring.sequence)
    }

    /// The retirement was written into a packet.
    pub fn take_retire(&mut self, sequence: u64) -> Token {
        self.owe(sequence, false);
        Token::RetireConnectionId(sequence)
    }

    /// The retirement was lost and is owed again.
    pub fn on_lost(&mut self, sequence: u64) {
        self.owe(sequence, true);
    }

    /// The retirement was acknowledged.
    pub fn on_acked(&mut self, sequence: u64) {
        self.retiring.retain(|retiring| retiring.sequence != sequence);
    }

    /// Whether an id that a path has waits for its first packet. Asked with every packet.
    pub fn has_unsent(&self) -> bool {
        self.unsent
    }

    /// A packet went to the id with this sequence number.
    pub fn on_sent(&mut self, sequence: u64) {
        if let Some(known) = self.active.iter_mut().find(|known| known.sequence == sequence) {
            known.sent = true;
        }
        self.unsent = self.active.iter().any(|known| known.used && !known.sent);
    }

    /// The reset token of the id with this sequence number. RFC 9000 §10.3.1: "An endpoint MUST NOT check for any stateless reset tokens
    /// associated with connection IDs it has not used or for connection IDs that have been retired."
    pub fn reset_token(&self, sequence: u64) -> Option<ResetToken> {
        let known = self.active.iter().find(|known| known.sequence == sequence)?;
        known.token.filter(|_| known.sent)
    }

    /// Whether the peer is addressed without an id.
    pub fn is_zero_length(&self) -> bool {
        self.active.iter().any(|known| known.cid.is_empty())
    }

    /// What is wrong with a frame, whatever its order among others.
    fn check(
        &self,
        sequence: u64,
        retire_prior_to: u64,
        cid: &Cid,
        token: &ResetToken,
    ) -> Result<(), TransportError> {
        // RFC 9000 §19.15: "An endpoint that is sending packets with a zero-length Destination Connection ID MUST treat receipt of a
        // NEW_CONNECTION_ID frame as a connection error of type PROTOCOL_VIOLATION."
        if self.is_zero_length() {
            return Err(violation("a connection id from a peer whose connection ids have no bytes"));
        }
        // RFC 9000 §19.15: "greater than that in the Sequence Number field MUST be treated as … FRAME_ENCODING_ERROR"; lengths "less
        // than 1 and greater than 20" likewise.
        if retire_prior_to > sequence || cid.is_empty() {
            let reason = "NEW_CONNECTION_ID with an impossible Retire Prior To or length";
            return Err(TransportError::new(TransportErrorCode::FRAME_ENCODING_ERROR, reason));
        }
        // RFC 9000 §19.15: a repeated id with another token or number, or a number with another id: "MAY treat that receipt as a
        // connection error of type PROTOCOL_VIOLATION".
        let conflict = |known: &Known| {
            let (same_cid, same_sequence) = (known.cid == *cid, known.sequence == sequence);
            same_cid != same_sequence || same_cid && known.token.as_ref().is_some_and(|known| known != token)
        };
        if self.active.iter().any(conflict) {
            return Err(violation(
                "a connection id, or its number, was issued twice with different contents",
            ));
        }
        Ok(())
    }

    /// Remembers that this sequence number has come; whether it is new. Numbers that were retired stay known for ever, so that a
    /// duplicate of an old frame does not bring a retired id back.
    fn see(&mut self, sequence: u64) -> Result<bool, TransportError> {
        if sequence < self.seen_below || self.seen_above.contains(&sequence) {
            return Ok(false);
        }
        if self.seen_above.len() >= MAX_OUT_OF_ORDER {
            return Err(limit_error("too many connection ids out of order"));
        }
        self.seen_above.push(sequence);
        while let Some(at) = self.seen_above.iter().position(|seen| *seen == self.seen_below) {
            self.seen_above.swap_remove(at);
            self.seen_below += 1;
        }
        Ok(true)
    }

    /// If the current id was retired, the oldest that is left takes its place, one that no path uses if there is one.
    fn keep_a_current(&mut self) -> Result<bool, TransportError> {
        if self.cid(self.current).is_some() {
            return Ok(false);
        }
        let Some(next) = self.active.iter().min_by_key(|known| (known.used, known.sequence)) else {
            return Err(violation("all connection ids were retired and none was given"));
        };
        self.make_current(next.sequence);
        Ok(true)
    }

    fn owe_retirement(&mut self, sequence: u64) -> Result<(), TransportError> {
        // RFC 9000 §5.1.2: it "MAY choose to treat having connection IDs in need of retirement that exceed this limit as a connection
        // error of type CONNECTION_ID_LIMIT_ERROR".
        if self.retiring.len() >= MAX_RETIRING {
            return Err(limit_error("too many retirements are not acknowledged"));
        }
        self.retiring.push(Retiring { sequence, owed: true });
        Ok(())
    }

    fn owe(&mut self, sequence: u64, owed: bool) {
        if let Some(retiring) = self.retiring.iter_mut().find(|retiring| retiring.sequence == sequence) {
            retiring.owed = owed;
        }
    }
}

fn violation(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, reason)
}

fn limit_error(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::CONNECTION_ID_LIMIT_ERROR, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cid(number: u64) -> Cid {
        Cid::new(&number.to_be_bytes()).unwrap()
    }

    fn give(cids: &mut PeerCids, sequence: u64, retire_prior_to: u64) -> Result<bool, TransportErrorCode> {
        cids.on_new_connection_id(sequence, retire_prior_to, cid(sequence), ResetToken([sequence as u8; 16]))
            .map_err(|error| error.code)
    }

    fn retirements(cids: &mut PeerCids) -> Vec<u64> {
        std::iter::from_fn(|| {
            let sequence = cids.peek_retire()?;
            cids.take_retire(sequence);
            Some(sequence)
        })
        .collect()
    }

    #[test]
    fn spares_go_to_new_paths() {
        let mut cids = PeerCids::new(cid(0), 4);
        assert_eq!(cids.next_for_new_path(), None);
        assert_eq!(give(&mut cids, 1, 0), Ok(false));
        assert_eq!(give(&mut cids, 1, 0), Ok(false), "a duplicate is no error");
        assert_eq!(cids.next_for_new_path(), Some(1));
        assert_eq!(cids.next_for_new_path(), None);
        cids.make_current(1);
        assert_eq!(cids.current(), cid(1));
        cids.retire(1).unwrap();
        assert_eq!(cids.peek_retire(), None, "the current id stays");
        cids.retire(0).unwrap();
        assert_eq!(retirements(&mut cids), [0]);
        cids.on_lost(0);
        assert_eq!(retirements(&mut cids), [0]);
        cids.on_acked(0);
        cids.on_lost(0);
        assert_eq!(cids.peek_retire(), None);
    }

    #[test]
    fn a_token_counts_from_the_first_packet_until_its_id_is_retired() {
        let mut cids = PeerCids::new(cid(0), 4);
        cids.on_sent(0);
        assert_eq!(cids.reset_token(0), None, "it has none yet");
        cids.set_initial_token(ResetToken([9; 16]));
        assert_eq!(cids.reset_token(0), Some(ResetToken([9; 16])));
        give(&mut cids, 1, 0).unwrap();
        assert_eq!(cids.next_for_new_path(), Some(1));
        assert_eq!(cids.reset_token(1), None, "chosen, but nothing was sent there");
        cids.on_sent(1);
        assert_eq!(cids.reset_token(1), Some(ResetToken([1; 16])));
        cids.retire(1).unwrap();
        cids.on_sent(1);
        assert_eq!(cids.reset_token(1), None);
        // What was sent to the id that the client made up says nothing of the server's.
        cids.replace_initial(cid(7));
        assert_eq!(cids.reset_token(0), None);
    }

    #[test]
    fn retire_prior_to_moves_the_current_id() {
        let mut cids = PeerCids::new(cid(0), 2);
        assert_eq!(give(&mut cids, 1, 0), Ok(false));
        // Both ids are replaced at once without exceeding the limit, §5.1.2.
        assert_eq!(give(&mut cids, 3, 2), Ok(true));
        assert_eq!((cids.current(), retirements(&mut cids)), (cid(3), vec![0, 1]));
        assert_eq!(give(&mut cids, 2, 0), Ok(false), "a smaller Retire Prior To has no effect");
        assert_eq!(cids.next_for_new_path(), Some(2));
    }

    #[test]
    fn a_late_id_below_retire_prior_to_is_retired_once() {
        let mut cids = PeerCids::new(cid(0), 2);
        assert_eq!(give(&mut cids, 5, 5), Ok(true));
        assert_eq!(retirements(&mut cids), [0]);
        assert_eq!(give(&mut cids, 4, 0), Ok(false));
        assert_eq!(retirements(&mut cids), [4]);
        cids.on_acked(4);
        assert_eq!(give(&mut cids, 4, 0), Ok(false));
        assert_eq!(cids.peek_retire(), None);
    }

    #[test]
    fn a_duplicate_does_not_bring_a_retired_id_back() {
        let mut cids = PeerCids::new(cid(0), 2);
        give(&mut cids, 1, 0).unwrap();
        cids.make_current(1);
        cids.retire(0).unwrap();
        give(&mut cids, 2, 0).unwrap();
        cids.make_current(2);
        cids.retire(1).unwrap();
        cids.on_acked(1);
        give(&mut cids, 1, 0).unwrap();
        assert_eq!((cids.next_for_new_path(), cids.active.len()), (None, 1));
    }

    #[test]
    fn errors_of_section_19_15() {
        let violation = Err(TransportErrorCode::PROTOCOL_VIOLATION);
        let mut cids = PeerCids::new(cid(0), 8);
        give(&mut cids, 1, 0).unwrap();
        assert_eq!(give(&mut cids, 2, 3), Err(TransportErrorCode::FRAME_ENCODING_ERROR));
        let mut other =
            |sequence, id, token| cids.on_new_connection_id(sequence, 0, cid(id), ResetToken([token; 16]));
        assert_eq!(other(1, 9, 1).map_err(|error| error.code), violation, "another id with the number");
        assert_eq!(other(2, 1, 1).map_err(|error| error.code), violation, "another number for the id");
        assert_eq!(other(1, 1, 7).map_err(|error| error.code), violation, "another token");
        assert_eq!(give(&mut PeerCids::new(Cid::EMPTY, 2), 1, 0), violation);
    }

    #[test]
    fn limits() {
        let limit = Err(TransportErrorCode::CONNECTION_ID_LIMIT_ERROR);
        let mut cids = PeerCids::new(cid(0), 2);
        give(&mut cids, 1, 0).unwrap();
        assert_eq!(give(&mut cids, 2, 0), limit);
        let mut cids = PeerCids::new(cid(0), 2);
        let end =
            (1..1000).find_map(|sequence| give(&mut cids, sequence, sequence).err().map(|e| (sequence, e)));
        assert_eq!(end, Some((33, TransportErrorCode::CONNECTION_ID_LIMIT_ERROR)), "none was acknowledged");
        let mut cids = PeerCids::new(cid(0), 2);
        let end = (2..1000).find_map(|sequence| {
            let result = give(&mut cids, sequence, sequence);
            cids.retiring.clear();
            result.err()
        });
        assert_eq!(end, Some(TransportErrorCode::CONNECTION_ID_LIMIT_ERROR), "number 1 never came");
    }

    #[test]
    fn a_peer_without_ids_has_one_for_all_paths() {
        let mut cids = PeerCids::new(Cid::EMPTY, 2);
        assert_eq!(cids.next_for_new_path(), Some(0));
        cids.retire(0).unwrap();
        assert_eq!(cids.peek_retire(), None);
    }

    proptest! {
        /// Whatever comes, in whatever order: a current id exists, tables are bounded, and each number is retired at most once.
        #[test]
        fn bounded(frames in proptest::collection::vec((0u8..5, 0u64..40, 0u64..40), 1..300)) {
            let mut cids = PeerCids::new(cid(0), 4);
            let mut retired = Vec::new();
            for (kind, a, b) in frames {
                let ended = match kind {
                    0..=2 => give(&mut cids, a.max(b), a.min(b)).is_err(),
                    3 => cids.retire(a).is_err(),
                    _ => {
                        if let Some(sequence) = cids.next_for_new_path() {
                            cids.make_current(sequence);
                        }
                        false
                    }
                };
                if ended {
                    break;
                }
                while let Some(sequence) = cids.peek_retire() {
                    cids.take_retire(sequence);
                    cids.on_acked(sequence);
                    prop_assert!(!retired.contains(&sequence));
                    retired.push(sequence);
                }
                prop_assert!(cids.cid(cids.current_sequence()).is_some());
                prop_assert!(!retired.contains(&cids.current_sequence()));
                prop_assert!(cids.active.len() <= 4 && cids.seen_above.len() <= MAX_OUT_OF_ORDER);
            }
        }
    }
}
