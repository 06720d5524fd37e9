//! The ladder of keys: one rung for each level, installed as the handshake climbs and discarded as it leaves them behind, and key
//! updates at the top (RFC 9001 §4.9, §6).
//!
//! Owned here: every packet and header key of a connection, the key phase, and the counts that limit the use of keys.
//!
//! Invariants: what is discarded never comes back, except that new Initial keys may replace old ones (Retry). Of the 1-RTT receive
//! keys there are up to three: of the current phase, of the next one, and of the previous one.
//!
//! The next keys are given in by the caller. RFC 9001 §6.3: "Endpoints are generally expected to have current and next receive packet
//! protection keys available", since to generate them while a packet is processed "creates a timing signal that could be used by an
//! attacker to learn when key updates happen". They weigh as much as the current ones and take a twentieth of a handshake, while most
//! connections end without an update. So they are made when the connection has lived for 64 packets, with one that is like
//! any other, and when the previous keys go ([`wants_next`](Ladder::wants_next)). Before that, the first packet that shows the other phase
//! has them made ([`lacks_next`](Ladder::lacks_next)), authentic or not: "An endpoint MAY generate new keys as part of packet
//! processing". "Once generated, the next set of packet protection keys SHOULD be retained, even if the packet that was received was
//! subsequently discarded", so that there is one such signal in the life of a connection at most.
//!
//! Timers: one, [`deadline`](Ladder::deadline), when the previous receive key is discarded (RFC 9001 §6.5).

use crate::crypto::{BoxedHeaderKey, BoxedPacketKey, DirectionalKeys, Keys, NewKeys, PacketKey, PacketKeys};
use crate::error::{TransportError, TransportErrorCode};
use crate::id::Level;
use crate::time::Instant;

/// How many packet numbers of the first phase go by before the next keys are made. Arbitrary: an update so early is a test's, or an
/// attacker's who tells us what he knows.
const SETTLED: u64 = 64;

/// All keys of a connection.
#[derive(Default)]
pub struct Ladder {
    rungs: Rungs,
    update: Update,
    /// Packets that failed to open, over all keys (RFC 9001 §6.6).
    failures: u64,
}

/// The keys of all levels.
struct Rungs {
    /// Of the current phase.
    one_rtt: Rung,
    /// By [`Level`]. They go together when the handshake is over.
    early: Option<Box<[Rung; 3]>>,
}

/// The keys of one level.
#[derive(Default)]
struct Rung {
    local: Option<DirectionalKeys>,
    remote: Option<DirectionalKeys>,
    /// Packets sealed with the local packet key.
    sealed: u64,
    /// How many it may seal (RFC 9001 §6.6), and the length of its tags. Kept here as every packet asks; a key update changes neither.
    seal_limit: u64,
    tag_len: usize,
    discarded: bool,
}

/// What key updates need to know, all about [`Level::OneRtt`].
#[derive(Default)]
struct Update {
    /// The current key phase bit, of both directions.
    phase: bool,
    next: Option<PacketKeys>,
    previous: Option<Previous>,
    /// Lowest packet number sent with the current key.
    first_sent: Option<u64>,
    /// Whether the peer acknowledged a packet of the current phase.
    acknowledged: bool,
    /// Lowest packet number opened with the current key.
    lowest_opened: Option<u64>,
    /// Highest packet number opened with the current key.
    highest_opened: Option<u64>,
    /// Highest packet number opened with any older key.
    highest_old: Option<u64>,
    confirmed: bool,
}

/// The receive key of the phase before the current one.
struct Previous {
    key: BoxedPacketKey,
    /// `None` until a packet of the current phase was opened.
    discard_at: Option<Instant>,
}

/// A packet that was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    /// Length of the plaintext, at the start of the payload.
    pub len: usize,
    /// Whether the previous 1-RTT key opened it; give this to [`Ladder::on_ack`] with the ACK frames that it carries.
    pub old_key: bool,
    /// Whether it made us follow the peer's key update.
    pub updated: bool,
}

/// Why a packet was not opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// There are no keys of this level yet, or no more.
    NoKeys,
    /// It failed authentication: drop it (RFC 9001 §5.5).
    NotAuthentic,
    /// The connection must end.
    Fatal(TransportError),
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError {
    /// There are no keys of this level.
    #[error("there are no keys of this level")]
    NoKeys,
    /// The key has sealed all the packets that it may: the connection must end with `AEAD_LIMIT_REACHED`, without another packet.
    #[error("the key has reached its confidentiality limit")]
    Exhausted,
}

/// Why a key update cannot start now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpdateRefused {
    /// RFC 9001 §6.1: not before the handshake is confirmed.
    #[error("the handshake is not confirmed")]
    NotConfirmed,
    /// RFC 9001 §6.1: not before a packet of the current phase was acknowledged.
    #[error("no packet of the current key phase was acknowledged yet")]
    Unacknowledged,
    /// RFC 9001 §6.5: not as long as keys of the update before are kept.
    #[error("the last key update was a moment ago")]
    TooSoon,
    /// There are no keys to go on with.
    #[error("there are no next keys")]
    NoKeys,
}

impl Ladder {
    /// Installs Initial keys, in place of any that are there: a client derives new ones after a Retry (RFC 9001 §5.2). Does nothing
    /// after they were discarded.
    pub fn install_initial(&mut self, keys: Keys) {
        self.install_at(Level::Initial, keys);
    }

    /// Puts other Initial keys in the place of those that are there, and gives these back: packets of one level may come in two versions
    /// (RFC 9369 §4.1). Changes nothing after Initial keys were discarded.
    pub fn swap_initial(&mut self, keys: &mut Keys) {
        let Some(rung) = self.rungs.get_mut(Level::Initial) else { return };
        if let (Some(local), Some(remote)) = (&mut rung.local, &mut rung.remote) {
            std::mem::swap(local, &mut keys.local);
            std::mem::swap(remote, &mut keys.remote);
        }
    }

    /// Installs the keys that a handshake gave out. Does nothing if that level was discarded.
    pub fn install(&mut self, keys: NewKeys) {
        match keys {
            NewKeys::Handshake(keys) => self.install_at(Level::Handshake, keys),
            NewKeys::OneRtt(keys) => self.install_at(Level::OneRtt, keys),
        }
    }

    /// Installs the keys of early data: of the two ends one only sends them and the other only receives them.
    pub fn install_early(&mut self, local: Option<DirectionalKeys>, remote: Option<DirectionalKeys>) {
        self.rungs.install(Level::ZeroRtt, Rung::new(local, remote));
    }

    fn install_at(&mut self, level: Level, keys: Keys) {
        self.rungs.install(level, Rung::new(Some(keys.local), Some(keys.remote)));
    }

    /// Discards the keys of a level for good (RFC 9001 §4.9).
    pub fn discard(&mut self, level: Level) {
        self.rungs.discard(level);
        if level == Level::OneRtt {
            self.update = Update::default();
        }
    }

    /// Whether packets of this level can be sealed.
    pub fn can_seal(&self, level: Level) -> bool {
        self.rungs.get(level).is_some_and(|rung| rung.local.is_some())
    }

    /// Whether packets of this level can be opened.
    pub fn can_open(&self, level: Level) -> bool {
        self.rungs.get(level).is_some_and(|rung| rung.remote.is_some())
    }

    /// Whether keys of this level were there and are no more: its packets need not be kept for later.
    pub fn is_discarded(&self, level: Level) -> bool {
        self.rungs.get(level).is_none_or(|rung| rung.discarded)
    }

    /// The header protection key for what we send.
    pub fn header_key_local(&self, level: Level) -> Option<&BoxedHeaderKey> {
        self.rungs.get(level)?.local.as_ref().map(|keys| &keys.header)
    }

    /// The header protection key for what the peer sends.
    pub fn header_key_remote(&self, level: Level) -> Option<&BoxedHeaderKey> {
        self.rungs.get(level)?.remote.as_ref().map(|keys| &keys.header)
    }

    /// Length in bytes of the tag at the end of packets that we send at this level; 0 without keys.
    pub fn tag_len(&self, level: Level) -> usize {
        self.rungs.get(level).map_or(0, |rung| rung.tag_len)
    }

    /// The Key Phase bit for the next 1-RTT packet.
    pub fn key_phase(&self) -> bool {
        self.update.phase
    }

    /// Seals `packet[header_len..]` in place and writes the tag to its end; see [`PacketKey::seal`].
    ///
    /// # Errors
    /// Without keys, or when they are used up.
    pub fn seal(
        &mut self,
        level: Level,
        number: u64,
        packet: &mut [u8],
        header_len: usize,
    ) -> Result<(), SealError> {
        let rung = self.rungs.get_mut(level).ok_or(SealError::NoKeys)?;
        let key = &rung.local.as_ref().ok_or(SealError::NoKeys)?.packet;
        // RFC 9001 §6.6: "If the total number of encrypted packets with the same key exceeds the confidentiality limit for the
        // selected AEAD, the endpoint MUST stop using those keys."
        if rung.sealed >= rung.seal_limit {
            return Err(SealError::Exhausted);
        }
        rung.sealed += 1;
        key.seal(number, packet, header_len);
        if level == Level::OneRtt {
            self.update.first_sent.get_or_insert(number);
        }
        Ok(())
    }

    /// Opens `payload` in place, of a packet whose header protection was taken off. `key_phase` only counts in 1-RTT packets.
    /// `discard_at` gives three times the probe timeout from now: when to discard old keys if this packet brings new ones.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub fn open(
        &mut self,
        level: Level,
        key_phase: bool,
        number: u64,
        header: &[u8],
        payload: &mut [u8],
        discard_at: impl FnOnce() -> Instant,
    ) -> Result<Opened, OpenError> {
        let remote = self.rungs.get(level).and_then(|rung| rung.remote.as_ref()).ok_or(OpenError::NoKeys)?;
        let phase =
            if level == Level::OneRtt { self.update.select(key_phase, number) } else { Some(Phase::Current) };
        // Without a key for a phase the packet is dropped, but not before the current key has taken the time that opening takes.
        // RFC 9001 §6.3: "Endpoints responding to an apparent key update MUST NOT generate a timing side-channel signal that might
        // indicate that the Key Phase bit was invalid".
        let key = match phase {
            Some(Phase::Current) | None => &remote.packet,
            Some(Phase::Next) => self.update.next.as_ref().map_or(&remote.packet, |next| &next.remote),
            Some(Phase::Previous) => {
                self.update.previous.as_ref().map_or(&remote.packet, |previous| &previous.key)
            }
        };
        let opened = key.open(number, header, payload);
        let (Some(phase), Ok(len)) = (phase, opened) else {
            let integrity_limit = key.integrity_limit();
            return Err(self.on_failure(integrity_limit));
        };
        if level == Level::OneRtt {
            self.on_opened(phase, number, discard_at).map_err(OpenError::Fatal)?;
        }
        Ok(Opened { len, old_key: phase == Phase::Previous, updated: phase == Phase::Next })
    }

    /// RFC 9001 §6.6: "If the total number of received packets that fail authentication within the connection, across all keys,
    /// exceeds the integrity limit for the selected AEAD, the endpoint MUST immediately close the connection with a connection error
    /// of type `AEAD_LIMIT_REACHED`".
    fn on_failure(&mut self, integrity_limit: u64) -> OpenError {
        self.failures = self.failures.saturating_add(1);
        if self.failures <= integrity_limit {
            return OpenError::NotAuthentic;
        }
        let code = TransportErrorCode::AEAD_LIMIT_REACHED;
        OpenError::Fatal(TransportError::new(code, "too many packets failed authentication"))
    }

    /// Keeps the books on an authentic 1-RTT packet, and follows the peer if it updated its keys.
    fn on_opened(
        &mut self,
        phase: Phase,
        number: u64,
        discard_at: impl FnOnce() -> Instant,
    ) -> Result<(), TransportError> {
        let update = &mut self.update;
        if phase == Phase::Previous {
            update.highest_old = update.highest_old.max(Some(number));
            return Ok(());
        }
        // RFC 9001 §6.4: "An endpoint that successfully removes protection with old keys when newer keys were used for packets with
        // lower packet numbers MUST treat this as a connection error of type KEY_UPDATE_ERROR."
        let highest_older = match phase {
            Phase::Next => update.highest_opened.max(update.highest_old),
            _ => update.highest_old,
        };
        if highest_older > Some(number) {
            return Err(key_update_error("old keys after new ones"));
        }
        if phase == Phase::Next {
            // RFC 9001 §6.2: "If an endpoint detects a second update before it has sent any packets with updated keys containing an
            // acknowledgment for the packet that initiated the key update, it indicates that its peer has updated keys twice without
            // awaiting confirmation." Nothing sent at all is the case that can be told for sure.
            if update.highest_old.is_some() && update.first_sent.is_none() {
                return Err(key_update_error("a second key update before the first was confirmed"));
            }
            self.advance();
        }
        let update = &mut self.update;
        update.lowest_opened = Some(update.lowest_opened.map_or(number, |lowest| lowest.min(number)));
        update.highest_opened = update.highest_opened.max(Some(number));
        if let Some(previous) = &mut update.previous {
            // RFC 9001 §6.5: "An endpoint SHOULD retain old read keys for no more than three times the PTO after having received a
            // packet protected using the new keys."
            previous.discard_at.get_or_insert_with(discard_at);
        }
        Ok(())
    }

    /// Puts the next keys in the place of the current ones, both ways.
    fn advance(&mut self) {
        let rung = &mut self.rungs.one_rtt;
        let (Some(local), Some(remote)) = (&mut rung.local, &mut rung.remote) else { return };
        let Some(next) = self.update.next.take() else { return };
        local.packet = next.local;
        let key = std::mem::replace(&mut remote.packet, next.remote);
        rung.sealed = 0;
        let update = &self.update;
        self.update = Update {
            phase: !update.phase,
            previous: Some(Previous { key, discard_at: None }),
            // Even if no packet was opened with the old key, the phase counts as one that was.
            highest_old: Some(update.highest_opened.max(update.highest_old).unwrap_or(0)),
            confirmed: update.confirmed,
            ..Update::default()
        };
    }

    /// The handshake is confirmed (RFC 9001 §4.1.2): keys may be updated.
    pub fn on_handshake_confirmed(&mut self) {
        self.update.confirmed = true;
    }

    /// Whether it is time to give the next generation of 1-RTT packet keys to [`provide_next`](Self::provide_next). After an update that
    /// is when the previous key is gone, as RFC 9001 §6.3 allows.
    pub fn wants_next(&self) -> bool {
        self.update.next.is_none() && self.update.previous.is_none() && self.update.is_settled()
    }

    /// Whether a 1-RTT packet of this phase cannot do without the next keys, and they were not given in.
    pub fn lacks_next(&self, key_phase: bool) -> bool {
        let update = &self.update;
        key_phase != update.phase && update.next.is_none() && update.previous.is_none()
    }

    /// Takes the next generation of packet keys.
    pub fn provide_next(&mut self, keys: PacketKeys) {
        self.update.next = Some(keys);
    }

    /// Whether an update should start now: half of what the current key may seal is used up, and nothing is in the way.
    pub fn needs_update(&self) -> bool {
        let rung = &self.rungs.one_rtt;
        rung.sealed >= rung.seal_limit / 2 && self.check_update().is_ok()
    }

    /// Starts a key update (RFC 9001 §6.1): the next packet is sealed with new keys, which `make` gives if they are not there.
    ///
    /// # Errors
    /// If it is too early for one.
    pub fn initiate_update(
        &mut self,
        make: impl FnOnce() -> Option<PacketKeys>,
    ) -> Result<(), UpdateRefused> {
        self.check_update()?;
        if self.update.next.is_none() {
            self.update.next = Some(make().ok_or(UpdateRefused::NoKeys)?);
        }
        self.advance();
        Ok(())
    }

    fn check_update(&self) -> Result<(), UpdateRefused> {
        let update = &self.update;
        // RFC 9001 §6.1: "An endpoint MUST NOT initiate a key update prior to having confirmed the handshake".
        if !update.confirmed {
            return Err(UpdateRefused::NotConfirmed);
        }
        // RFC 9001 §6.1: "An endpoint MUST NOT initiate a subsequent key update unless it has received an acknowledgment for a packet
        // that was sent protected with keys from the current key phase."
        if !update.acknowledged {
            return Err(UpdateRefused::Unacknowledged);
        }
        // RFC 9001 §6.5: "Endpoints SHOULD wait three times the PTO before initiating a key update after receiving an acknowledgment
        // that confirms that the previous key update was received." The old key is kept for about that long.
        if update.previous.is_some() {
            return Err(UpdateRefused::TooSoon);
        }
        Ok(())
    }

    /// An ACK frame acknowledged 1-RTT packets up to `largest`; `old_key` as [`open`](Self::open) said of the packet it came in.
    ///
    /// # Errors
    /// `KEY_UPDATE_ERROR` if the peer acknowledged our new keys with its old ones.
    pub fn on_ack(&mut self, largest: u64, old_key: bool) -> Result<(), TransportError> {
        if self.update.first_sent.is_none_or(|first| largest < first) {
            return Ok(());
        }
        // RFC 9001 §6.2: "An endpoint that receives an acknowledgment that is carried in a packet protected with old keys where any
        // acknowledged packet was protected with newer keys MAY treat that as a connection error of type KEY_UPDATE_ERROR."
        if old_key {
            return Err(key_update_error("new keys acknowledged with old ones"));
        }
        self.update.acknowledged = true;
        Ok(())
    }

    /// When [`on_timeout`](Self::on_timeout) has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.update.previous.as_ref()?.discard_at
    }

    /// Discards the previous receive key if its time is over.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.update.previous = None;
        }
    }
}

impl Default for Rungs {
    fn default() -> Self {
        Self { one_rtt: Rung::default(), early: Some(Box::default()) }
    }
}

impl Rungs {
    #[inline]
    fn get(&self, level: Level) -> Option<&Rung> {
        match level {
            Level::OneRtt => Some(&self.one_rtt),
            early => self.early.as_ref().map(|rungs| &rungs[early as usize]),
        }
    }

    #[inline]
    fn get_mut(&mut self, level: Level) -> Option<&mut Rung> {
        match level {
            Level::OneRtt => Some(&mut self.one_rtt),
            early => self.early.as_mut().map(|rungs| &mut rungs[early as usize]),
        }
    }

    fn install(&mut self, level: Level, rung: Rung) {
        if let Some(place) = self.get_mut(level).filter(|place| !place.discarded) {
            *place = rung;
        }
    }

    fn discard(&mut self, level: Level) {
        let Some(rung) = self.get_mut(level) else { return };
        *rung = Rung { discarded: true, ..Rung::default() };
        if let Some([initial, zero_rtt, handshake]) = self.early.as_deref()
            && initial.discarded
            && handshake.discarded
            && zero_rtt.is_empty()
        {
            self.early = None;
        }
    }
}

impl Rung {
    fn is_empty(&self) -> bool {
        self.local.is_none() && self.remote.is_none()
    }

    fn new(local: Option<DirectionalKeys>, remote: Option<DirectionalKeys>) -> Self {
        let seal_limit = local.as_ref().map_or(0, |keys| keys.packet.confidentiality_limit());
        let tag_len = local.as_ref().map_or(0, |keys| keys.packet.tag_len());
        Self { local, remote, sealed: 0, seal_limit, tag_len, discarded: false }
    }
}

/// Which of the receive keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Previous,
    Current,
    Next,
}

impl Update {
    /// Whether the next keys can be expected to be of use.
    fn is_settled(&self) -> bool {
        let seen = self.lowest_opened.zip(self.highest_opened);
        self.highest_old.is_some() || seen.is_some_and(|(lowest, highest)| highest - lowest >= SETTLED)
    }

    /// The key that should open a packet; `None` if we do not have it.
    ///
    /// RFC 9001 §6.5: "A recovered packet number that is lower than any packet number from the current key phase uses the previous
    /// packet protection keys; a recovered packet number that is higher than any packet number from the current key phase requires the
    /// use of the next packet protection keys."
    fn select(&self, key_phase: bool, number: u64) -> Option<Phase> {
        if key_phase == self.phase {
            return Some(Phase::Current);
        }
        // As long as the peer has sent nothing in a phase that we started, what it sends in the other one is old.
        let old = match self.lowest_opened {
            Some(lowest) => number < lowest,
            None => self.previous.is_some(),
        };
        match old {
            true => self.previous.as_ref().map(|_| Phase::Previous),
            false => self.next.as_ref().map(|_| Phase::Next),
        }
    }
}

fn key_update_error(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::KEY_UPDATE_ERROR, reason)
}

#[cfg(test)]
mod tests;
