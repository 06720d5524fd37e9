use super::*;
use crate::crypto::{HeaderKey, NotAuthentic};
use crate::id::Side;

const LIMIT: u64 = 8;
const FORGERIES: u64 = 4;

/// Opens what the same generation of the same sender sealed under the same number, header included.
struct Key(u8, Side);

impl Key {
    fn tag(&self, number: u64, header: &[u8]) -> [u8; 16] {
        let mut tag = [header[0]; 16];
        tag[..8].copy_from_slice(&number.to_be_bytes());
        (tag[8], tag[9]) = (self.0, self.1 as u8);
        tag
    }
}

impl PacketKey for Key {
    fn seal(&self, number: u64, packet: &mut [u8], header_len: usize) {
        let tag = self.tag(number, &packet[..header_len]);
        *packet.last_chunk_mut().unwrap() = tag;
    }

    fn open(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic> {
        let (payload, tag) = payload.split_last_chunk::<16>().ok_or(NotAuthentic)?;
        if *tag == self.tag(number, header) { Ok(payload.len()) } else { Err(NotAuthentic) }
    }

    fn tag_len(&self) -> usize {
        16
    }

    fn confidentiality_limit(&self) -> u64 {
        LIMIT
    }

    fn integrity_limit(&self) -> u64 {
        FORGERIES
    }
}

impl HeaderKey for Key {
    fn mask(&self, _sample: &[u8; 16]) -> [u8; 5] {
        [self.0; 5]
    }
}

fn keys(generation: u8, side: Side) -> Keys {
    let direction = |sender| DirectionalKeys {
        header: BoxedHeaderKey::new(Key(generation, sender)),
        packet: BoxedPacketKey::new(Key(generation, sender)),
    };
    Keys { local: direction(side), remote: direction(!side) }
}

/// A ladder with 1-RTT keys, a packet number and a generation to go on with.
struct End {
    ladder: Ladder,
    side: Side,
    number: u64,
    generation: u8,
}

impl End {
    fn new(side: Side) -> Self {
        let mut ladder = Ladder::default();
        ladder.install(NewKeys::OneRtt(keys(100, side)));
        Self { ladder, side, number: 0, generation: 100 }
    }

    fn pair() -> (Self, Self) {
        let (mut client, mut server) = (Self::new(Side::Client), Self::new(Side::Server));
        client.ladder.on_handshake_confirmed();
        server.ladder.on_handshake_confirmed();
        (client, server)
    }

    /// The next keys.
    fn next(&mut self) -> PacketKeys {
        self.generation += 1;
        let (local, remote) = (Key(self.generation, self.side), Key(self.generation, !self.side));
        PacketKeys { local: BoxedPacketKey::new(local), remote: BoxedPacketKey::new(remote) }
    }

    /// Gives in the next keys, which are wanted.
    fn feed(&mut self) {
        assert!(self.ladder.wants_next());
        let next = self.next();
        self.ladder.provide_next(next);
    }

    fn update(&mut self) -> Result<(), UpdateRefused> {
        let (generation, side) = (self.generation + 1, self.side);
        let mut made = false;
        let updated = self.ladder.initiate_update(|| {
            made = true;
            Some(PacketKeys {
                local: BoxedPacketKey::new(Key(generation, side)),
                remote: BoxedPacketKey::new(Key(generation, !side)),
            })
        });
        self.generation += u8::from(made);
        updated
    }

    fn send(&mut self) -> Packet {
        let number = self.number;
        self.number += 1;
        let phase = self.ladder.key_phase();
        let mut bytes = [&[u8::from(phase)][..], b"payload", &[0; 16]].concat();
        self.ladder.seal(Level::OneRtt, number, &mut bytes, 1).unwrap();
        Packet { number, phase, bytes }
    }

    fn open(&mut self, packet: &Packet) -> Result<Opened, OpenError> {
        if self.ladder.lacks_next(packet.phase) {
            let next = self.next();
            self.ladder.provide_next(next);
        }
        let mut bytes = packet.bytes.clone();
        let (header, payload) = bytes.split_at_mut(1);
        self.ladder.open(Level::OneRtt, packet.phase, packet.number, header, payload, || LATER)
    }

    /// Opens what must open, and says whether with an old key and whether an update came of it.
    fn take(&mut self, packet: &Packet) -> (bool, bool) {
        let opened = self.open(packet).unwrap();
        assert_eq!(opened.len, 7);
        (opened.old_key, opened.updated)
    }
}

struct Packet {
    number: u64,
    phase: bool,
    bytes: Vec<u8>,
}

const LATER: Instant = Instant::from_millis(300);

fn fatal(result: Result<Opened, OpenError>) -> TransportErrorCode {
    match result {
        Err(OpenError::Fatal(error)) => error.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn levels_come_and_go() {
    let mut ladder = Ladder::default();
    let mut packet = [0; 20];
    assert_eq!(ladder.seal(Level::Initial, 0, &mut packet, 1), Err(SealError::NoKeys));
    assert_eq!(ladder.open(Level::Initial, false, 0, &[], &mut [], || LATER), Err(OpenError::NoKeys));
    assert_eq!(ladder.tag_len(Level::Initial), 0);
    ladder.install_initial(keys(1, Side::Client));
    ladder.install_initial(keys(2, Side::Client));
    let mask = ladder.header_key_local(Level::Initial).unwrap().mask(&[0; 16]);
    assert_eq!((mask, ladder.tag_len(Level::Initial)), ([2; 5], 16));
    ladder.install(NewKeys::Handshake(keys(3, Side::Client)));
    assert!(ladder.can_open(Level::Handshake) && ladder.can_seal(Level::Handshake));
    ladder.discard(Level::Initial);
    ladder.install_initial(keys(1, Side::Client));
    assert!(!ladder.can_seal(Level::Initial) && ladder.is_discarded(Level::Initial));
    assert!(ladder.header_key_remote(Level::Initial).is_none());
    assert!(ladder.can_open(Level::Handshake) && !ladder.is_discarded(Level::Handshake));
    ladder.install_early(Some(keys(4, Side::Client).local), None);
    assert!(ladder.can_seal(Level::ZeroRtt) && !ladder.can_open(Level::ZeroRtt));
}

/// RFC 9001 §6, the figure: one end updates, the other follows, then the other may.
#[test]
fn updates_both_ways() {
    let (mut client, mut server) = End::pair();
    let first = client.send();
    assert_eq!(server.take(&first), (false, false));
    client.ladder.on_ack(first.number, false).unwrap();
    let delayed = server.send();
    client.update().unwrap();
    assert!(client.ladder.key_phase());
    // The old key is kept while the peer has not followed, for as long as that takes.
    assert_eq!(client.ladder.deadline(), None);
    assert_eq!(client.take(&delayed), (true, false));

    let late = server.send();
    let updated = client.send();
    assert!(updated.phase);
    assert_eq!(server.take(&updated), (false, true));
    assert!(server.ladder.key_phase());
    assert_eq!(server.ladder.deadline(), Some(LATER));
    let answer = server.send();
    assert!(answer.phase);
    assert_eq!(client.take(&answer), (false, false));
    assert_eq!(client.take(&late), (true, false), "reordered");
    assert_eq!(client.ladder.deadline(), Some(LATER));

    // RFC 9001 §6.5: not while old keys are kept.
    server.ladder.on_ack(answer.number, false).unwrap();
    assert_eq!(server.update(), Err(UpdateRefused::TooSoon));
    for end in [&mut client, &mut server] {
        end.ladder.on_timeout(Instant::from_millis(299));
        assert!(end.ladder.deadline().is_some());
        end.ladder.on_timeout(LATER);
        assert_eq!(end.ladder.deadline(), None);
        end.feed();
    }
    assert_eq!(client.open(&late), Err(OpenError::NotAuthentic), "its key is gone");
    server.update().unwrap();
    let back = server.send();
    assert!(!back.phase);
    assert_eq!(client.take(&back), (false, true));
    assert_eq!(server.take(&client.send()), (false, false));
}

/// RFC 9001 §6.3: "Endpoints are generally expected to have current and next receive packet protection keys available." Not a connection that
/// ends before it was of use, unless somebody seems to want them.
#[test]
fn next_keys_are_made_in_time() {
    let (mut client, mut server) = End::pair();
    assert!(!server.ladder.lacks_next(false) && server.ladder.lacks_next(true));
    for number in [0, 1, SETTLED - 1] {
        client.number = number;
        assert_eq!(server.take(&client.send()), (false, false));
        assert!(!server.ladder.wants_next());
    }
    assert_eq!(server.take(&client.send()), (false, false));
    server.feed();
    assert!(!server.ladder.wants_next() && !server.ladder.lacks_next(true));

    // After an update they are wanted when the previous ones go, however young the phase is.
    client.ladder.on_ack(0, false).unwrap();
    client.update().unwrap();
    assert_eq!(server.take(&client.send()), (false, true));
    assert!(!server.ladder.wants_next() && !server.ladder.lacks_next(false));
    server.ladder.on_timeout(LATER);
    server.feed();
}

/// RFC 9001 §6.1.
#[test]
fn updates_wait_for_confirmation_and_acknowledgement() {
    let mut end = End::new(Side::Client);
    assert_eq!(end.update(), Err(UpdateRefused::NotConfirmed));
    end.ladder.on_handshake_confirmed();
    end.number = 5;
    let packet = end.send();
    assert_eq!(end.update(), Err(UpdateRefused::Unacknowledged));
    end.ladder.on_ack(packet.number - 1, false).unwrap();
    assert_eq!(end.update(), Err(UpdateRefused::Unacknowledged), "of an older phase");
    end.ladder.on_ack(packet.number, false).unwrap();
    assert_eq!(end.update(), Ok(()));
    assert_eq!(end.update(), Err(UpdateRefused::Unacknowledged));
}

/// RFC 9001 §6.2: the two updates cross; both ends are in the same phase after it.
#[test]
fn simultaneous_updates_are_one() {
    let (mut client, mut server) = End::pair();
    let (a, b) = (client.send(), server.send());
    client.take(&b);
    server.take(&a);
    client.ladder.on_ack(0, false).unwrap();
    server.ladder.on_ack(0, false).unwrap();
    client.update().unwrap();
    server.update().unwrap();
    let (a, b) = (client.send(), server.send());
    assert_eq!(client.take(&b), (false, false));
    assert_eq!(server.take(&a), (false, false));
}

/// RFC 9001 §6.4.
#[test]
fn old_keys_after_new_ones_are_an_error() {
    let (mut client, mut server) = End::pair();
    let first = client.send();
    server.take(&first);
    // A peer that goes on with its old key: number 5 under the old one, 1 under the new one.
    client.number = 5;
    let old = client.send();
    client.ladder.on_ack(0, false).unwrap();
    client.update().unwrap();
    client.number = 1;
    let new = client.send();
    server.take(&old);
    assert_eq!(fatal(server.open(&new)), TransportErrorCode::KEY_UPDATE_ERROR);

    let (mut client, mut server) = End::pair();
    let reordered = client.send();
    client.number = 5;
    let old = client.send();
    client.ladder.on_ack(0, false).unwrap();
    client.update().unwrap();
    client.number = 3;
    let new = client.send();
    let fine = Packet { number: new.number, phase: new.phase, bytes: new.bytes.clone() };
    assert_eq!(server.take(&fine), (false, true));
    assert_eq!(server.take(&reordered), (true, false), "sent before the update");
    assert_eq!(
        server.open(&old),
        Err(OpenError::NotAuthentic),
        "it can only be of the next phase, and is not"
    );
}

/// RFC 9001 §6.2.
#[test]
fn two_updates_in_a_row_are_an_error() {
    let (mut client, mut server) = End::pair();
    server.take(&client.send());
    client.ladder.on_ack(0, false).unwrap();
    client.update().unwrap();
    server.take(&client.send());
    server.ladder.on_timeout(LATER);
    server.feed();
    // The client does not wait for the server's answer.
    client.ladder.on_ack(1, false).unwrap();
    client.ladder.update.previous = None;
    client.feed();
    client.update().unwrap();
    assert_eq!(fatal(server.open(&client.send())), TransportErrorCode::KEY_UPDATE_ERROR);
}

/// RFC 9001 §6.2.
#[test]
fn new_keys_acknowledged_with_old_ones_are_an_error() {
    let (mut client, _) = End::pair();
    client.send();
    client.ladder.on_ack(0, false).unwrap();
    client.update().unwrap();
    client.send();
    client.ladder.on_ack(0, true).unwrap();
    assert_eq!(client.ladder.on_ack(1, true).unwrap_err().code, TransportErrorCode::KEY_UPDATE_ERROR);
}

/// RFC 9001 §6.6: an update in time, and an end when there is none.
#[test]
fn keys_wear_out() {
    let (mut client, _) = End::pair();
    for _ in 0..LIMIT / 2 {
        assert!(!client.ladder.needs_update());
        client.send();
    }
    assert!(!client.ladder.needs_update(), "nothing acknowledged");
    client.ladder.on_ack(0, false).unwrap();
    assert!(client.ladder.needs_update());
    client.update().unwrap();
    assert!(!client.ladder.needs_update());
    for _ in 0..LIMIT {
        client.send();
    }
    assert_eq!(client.ladder.seal(Level::OneRtt, 99, &mut [0; 20], 1), Err(SealError::Exhausted));
}

/// RFC 9001 §6.6: failures count over all keys.
#[test]
fn too_many_forgeries_end_the_connection() {
    let (mut client, mut server) = End::pair();
    server.ladder.install(NewKeys::Handshake(keys(3, Side::Server)));
    let mut packet = client.send();
    packet.number += 1;
    for _ in 0..FORGERIES - 1 {
        assert_eq!(server.open(&packet), Err(OpenError::NotAuthentic));
    }
    let forged = server.ladder.open(Level::Handshake, false, 0, &[0], &mut [0; 30], || LATER);
    assert_eq!(forged, Err(OpenError::NotAuthentic));
    assert_eq!(fatal(server.open(&packet)), TransportErrorCode::AEAD_LIMIT_REACHED);
}

/// A flipped Key Phase bit alone changes nothing (RFC 9001 §6.3).
#[test]
fn a_forged_phase_updates_nothing() {
    let (mut client, mut server) = End::pair();
    let mut packet = client.send();
    packet.phase = true;
    assert_eq!(server.open(&packet), Err(OpenError::NotAuthentic));
    assert!(!server.ladder.key_phase());
    // RFC 9001 §6.3: "Once generated, the next set of packet protection keys SHOULD be retained".
    assert!(!server.ladder.lacks_next(true) && !server.ladder.wants_next());
    // Nor do the current keys open a packet that claims a phase that we have no keys for.
    server.ladder.update.next = None;
    let (header, payload) = packet.bytes.split_at_mut(1);
    let opened = server.ladder.open(Level::OneRtt, true, packet.number, header, payload, || LATER);
    assert_eq!(opened, Err(OpenError::NotAuthentic));
    packet.phase = false;
    assert_eq!(server.take(&packet), (false, false));
}
