use super::*;
use crate::error::TransportErrorCode;
use crate::rng::SeededRng;
use proptest::prelude::*;
use smallvec::smallvec;
use std::collections::BTreeMap;

const CONFIRMED: Situation = Situation {
    handshake_confirmed: true,
    has_handshake_keys: false,
    peer_completed_address_validation: true,
    amplification_limited: false,
};

const CLIENT_HELLO: Situation = Situation {
    handshake_confirmed: false,
    has_handshake_keys: false,
    peer_completed_address_validation: false,
    amplification_limited: false,
};

#[derive(Debug, Default)]
struct Recorder {
    sent: u64,
    acks: Vec<AckSample>,
    events: Vec<CongestionEvent>,
    spurious: u32,
}

impl Controller for Recorder {
    fn on_sent(&mut self, _: Instant, bytes: u64, _: u64, _: bool) -> DeliveryMark {
        self.sent += bytes;
        DeliveryMark::default()
    }
    fn on_ack(&mut self, sample: &AckSample) {
        self.acks.push(*sample);
    }
    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.events.push(*event);
    }
    fn on_spurious_congestion(&mut self) {
        self.spurious += 1;
    }
    fn window(&self) -> u64 {
        u64::MAX
    }
    fn ssthresh(&self) -> u64 {
        u64::MAX
    }
    fn pacing_rate(&self, _: Duration) -> Option<u64> {
        None
    }
    fn on_mtu(&mut self, _: u16) {}
    fn in_slow_start(&self) -> bool {
        true
    }
    fn name(&self) -> &'static str {
        "recorder"
    }
    fn fresh(&mut self, _: u16) -> Box<dyn Controller> {
        Box::<Self>::default()
    }
}

struct Sender {
    recovery: Recovery,
    rtt: Rtt,
    cc: Recorder,
    situation: Situation,
    out: Outcome,
    rng: SeededRng,
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn token(number: u64) -> Token {
    Token::NewConnectionId(number)
}

impl Sender {
    fn new(situation: Situation, skip_numbers: bool) -> Self {
        Self {
            recovery: Recovery::new(RecoveryConfig { skip_numbers, ..RecoveryConfig::default() }),
            rtt: Rtt::default(),
            cc: Recorder::default(),
            situation,
            out: Outcome::default(),
            rng: SeededRng::from_u64(1),
        }
    }

    fn data() -> Self {
        Self::new(CONFIRMED, false)
    }

    fn send_packet(&mut self, space: SpaceId, change: impl FnOnce(&mut SentPacket), now: Instant) -> u64 {
        let number = self.recovery.next_packet_number(space, &mut self.rng);
        assert_eq!(
            number,
            self.recovery.next_packet_number(space, &mut self.rng),
            "asking twice is harmless"
        );
        let mut packet = SentPacket {
            time: now,
            bytes: 1000,
            ack_eliciting: true,
            in_flight: true,
            path: 0,
            ecn: true,
            drained: false,
            tokens: smallvec![token(number)],
        };
        change(&mut packet);
        self.recovery.on_sent(now, space, number, packet, &mut self.cc);
        number
    }

    fn send(&mut self, now: u64) -> u64 {
        self.send_packet(SpaceId::Data, |_| {}, at(now))
    }

    fn send_in(&mut self, space: SpaceId, now: u64) -> u64 {
        self.send_packet(space, |_| {}, at(now))
    }

    fn ack_in(
        &mut self,
        space: SpaceId,
        now: u64,
        ranges: &[RangeInclusive<u64>],
    ) -> Result<Outcome, TransportError> {
        self.out.clear();
        let ack = AckInfo { largest: *ranges[0].end(), delay: Duration::ZERO, received: at(now) };
        let mut ctx = Ctx { rtt: &mut self.rtt, cc: &mut self.cc, situation: self.situation, drained: false };
        self.recovery.on_ack(at(now), space, ack, ranges.iter().cloned(), &mut ctx, &mut self.out)?;
        Ok(self.out.clone())
    }

    fn ack(&mut self, now: u64, ranges: &[RangeInclusive<u64>]) -> Outcome {
        self.ack_in(SpaceId::Data, now, ranges).unwrap()
    }

    fn timeout(&mut self, now: Instant) -> (Option<Probe>, Outcome) {
        self.out.clear();
        let mut ctx = Ctx { rtt: &mut self.rtt, cc: &mut self.cc, situation: self.situation, drained: false };
        let probe = self.recovery.on_timeout(now, &mut ctx, &mut self.out);
        (probe, self.out.clone())
    }

    fn deadline(&self) -> Option<Instant> {
        self.recovery.deadline(&self.rtt, self.situation)
    }
}

fn tokens(numbers: &[u64]) -> Vec<Token> {
    numbers.iter().copied().map(token).collect()
}

#[test]
fn an_ack_settles_packets_and_the_rtt() {
    let mut sender = Sender::data();
    (0..4).for_each(|n| assert_eq!(sender.send(n), n));
    assert_eq!(sender.recovery.bytes_in_flight(), 4000);
    let out = sender.ack(103, &[3..=3, 0..=1]);
    assert_eq!(out.acked, tokens(&[3, 0, 1]));
    assert!(out.rtt_sample && out.largest_grew && out.lost.is_empty());
    assert_eq!((out.newly_acked_bytes, out.newly_acked_ect0, out.newest_acked), (3000, 3, Some(at(3))));
    assert_eq!(sender.rtt.latest(), ms(100));
    assert_eq!(sender.recovery.bytes_in_flight(), 1000);
    assert_eq!(
        (sender.cc.acks[0].bytes, sender.cc.acks[0].sent, sender.cc.acks[0].in_flight),
        (3000, at(3), 1000)
    );
    // The same again tells nothing new.
    let out = sender.ack(150, &[3..=3, 0..=1]);
    assert!(out.acked.is_empty() && !out.rtt_sample && !out.largest_grew);
    assert_eq!(sender.cc.acks.len(), 1);
}

#[test]
fn a_handshake_that_is_known_to_have_arrived_is_no_loss() {
    let mut sender = Sender::data();
    let crypto = Token::Crypto { space: SpaceId::Data, offset: 0, len: 9 };
    let carrying = |sender: &mut Sender, tokens: &[Token]| {
        sender.send_packet(SpaceId::Data, |packet| packet.tokens = tokens.into(), at(0))
    };
    let (ack, late) = (Token::Ack { space: SpaceId::Data, largest: 3 }, token(7));
    carrying(&mut sender, &[crypto]);
    carrying(&mut sender, &[ack, crypto]);
    carrying(&mut sender, &[crypto, late]);
    carrying(&mut sender, &[]);
    sender.recovery.forget_handshake(at(1), SpaceId::Data);
    assert_eq!(sender.recovery.bytes_in_flight(), 1000, "what carries more is still waited for");
    for _ in 0..5 {
        sender.send(1);
    }
    // An ACK of all but the packets that were forgotten loses none, and one of those tells nothing new.
    let out = sender.ack(100, &[4..=8, 2..=2]);
    assert!(out.lost.is_empty() && out.lost_packets == 0 && out.acked.contains(&late));
    assert!(sender.ack(101, &[0..=8]).acked.is_empty());
    assert_eq!((sender.recovery.bytes_in_flight(), sender.cc.events.len()), (0, 0));
}

#[test]
fn numbers_may_start_elsewhere() {
    let config = RecoveryConfig { skip_numbers: false, first_number: 2, ..RecoveryConfig::default() };
    let mut sender = Sender { recovery: Recovery::new(config), ..Sender::data() };
    assert_eq!((sender.send(0), sender.send(0)), (2, 3));
    // A number before the first was perhaps sent by somebody who forgot it.
    assert_eq!(sender.ack(10, &[1..=1]).acked, []);
    assert_eq!(sender.ack(10, &[1..=3]).acked.len(), 2);
    assert_eq!(sender.recovery.bytes_in_flight(), 0);
}

#[test]
fn an_older_largest_is_no_rtt_sample() {
    let mut sender = Sender::data();
    (0..3).for_each(|n| assert_eq!(sender.send(n), n));
    sender.ack(100, &[2..=2]);
    let out = sender.ack(101, &[2..=2, 0..=1]);
    assert_eq!(out.acked, tokens(&[0, 1]));
    assert!(!out.rtt_sample, "RFC 9002 §5.1: the largest acknowledged was not newly acknowledged");
}

#[test]
fn lost_by_packet_threshold_then_by_time() {
    let mut sender = Sender::data();
    for n in 0..4 {
        sender.send(n);
    }
    // §6.1.1: kPacketThreshold 3: packet 0 is lost, 1 and 2 are not yet.
    let out = sender.ack(103, &[3..=3]);
    assert_eq!(out.lost, tokens(&[0]));
    assert_eq!((out.lost_packets, out.lost_bytes, out.congestion), (1, 1000, true));
    // §6.1.2: 9/8 of 100 ms after it was sent.
    assert_eq!(sender.deadline(), Some(at(1) + Duration::from_micros(112_500)));
    assert_eq!(sender.timeout(at(113)).1.lost, tokens(&[]), "early calls are harmless");
    assert_eq!(sender.timeout(at(114)).1.lost, tokens(&[1]));
    let deadline = sender.deadline().unwrap();
    let (probe, out) = sender.timeout(deadline);
    assert_eq!((probe, out.lost), (None, tokens(&[2])));
    assert_eq!(sender.recovery.bytes_in_flight(), 0);
    assert_eq!(sender.deadline(), None, "nothing is in flight");
}

#[test]
fn the_probe_timeout_doubles_and_is_reset() {
    let mut sender = Sender::data();
    sender.send(0);
    // smoothed + 4·var + max_ack_delay = 333 + 666 + 25, give or take the halving of 333.
    assert_eq!(sender.deadline(), Some(at(1024)));
    assert_eq!(sender.timeout(at(1023)).0, None);
    assert_eq!(sender.timeout(at(1024)).0, Some(Probe { space: SpaceId::Data }));
    assert_eq!(sender.recovery.probes_owed(SpaceId::Data), 2);
    assert_eq!(sender.deadline(), Some(at(2048)), "§6.2.1: the period is twice its value");
    let mut again = Vec::new();
    sender.recovery.probe_tokens(SpaceId::Data, &mut again);
    assert_eq!(again, tokens(&[0]));
    sender.send(1030);
    assert_eq!(sender.recovery.probes_owed(SpaceId::Data), 1);
    assert_eq!(sender.deadline(), Some(at(1030 + 2048)));
    sender.ack(1100, &[1..=1]);
    assert_eq!((sender.recovery.pto_count(), sender.recovery.probes_owed(SpaceId::Data)), (0, 0));
}

#[test]
fn no_probe_timeout_for_data_before_the_handshake_is_confirmed() {
    let mut sender = Sender::data();
    sender.situation.handshake_confirmed = false;
    sender.send(0);
    assert_eq!(sender.deadline(), None);
    sender.send_in(SpaceId::Handshake, 10);
    assert_eq!(sender.deadline(), Some(at(10 + 999)), "§6.2.1: without max_ack_delay");
    sender.situation.amplification_limited = true;
    assert_eq!(sender.deadline(), None, "§6.2.2.1");
}

#[test]
fn a_client_never_deadlocks() {
    let mut sender = Sender::new(CLIENT_HELLO, false);
    sender.send_in(SpaceId::Initial, 0);
    sender.send_in(SpaceId::Data, 0); // early data
    assert_eq!(sender.timeout(at(999)).0, Some(Probe { space: SpaceId::Initial }));
    assert_eq!(sender.recovery.pto_count(), 1);
    sender.ack_in(SpaceId::Initial, 1000, &[0..=0]).unwrap();
    // §6.2.1: the backoff is not reset by ACKs in Initial packets; §6.2.2.1: the timer is set with nothing in flight to be probed.
    assert_eq!(sender.recovery.pto_count(), 1);
    let deadline = sender.deadline().expect("the server may be blocked");
    sender.situation.has_handshake_keys = true;
    assert_eq!(sender.timeout(deadline).0, Some(Probe { space: SpaceId::Handshake }));
    assert_eq!(sender.recovery.probes_owed(SpaceId::Handshake), 1);
    sender.recovery.discard_space(deadline, SpaceId::Initial);
    assert_eq!(sender.recovery.pto_count(), 0, "§6.2.2: discarded keys reset the timer");
    sender.situation.peer_completed_address_validation = true;
    sender.situation.has_handshake_keys = false;
    assert_eq!(sender.deadline(), None);
}

/// The client's Finished was lost, its 1-RTT packets fill the window, and the server, without Finished, can read none of them.
#[test]
fn lost_handshake_bytes_are_not_stuck_behind_data() {
    let mut sender = Sender::new(CONFIRMED, false);
    sender.situation.handshake_confirmed = false;
    sender.situation.has_handshake_keys = true;
    sender.send_in(SpaceId::Handshake, 0);
    sender.send_in(SpaceId::Data, 0);
    sender.send_in(SpaceId::Handshake, 1000);
    sender.ack_in(SpaceId::Handshake, 1010, &[1..=1]).unwrap();
    assert_eq!(sender.out.lost, tokens(&[0]), "nothing is outstanding in the Handshake space");
    let deadline = sender.deadline().expect("a timer");
    assert_eq!(sender.timeout(deadline).0, Some(Probe { space: SpaceId::Handshake }));
    assert_eq!(sender.recovery.probes_owed(SpaceId::Handshake), 1);
    assert!(sender.deadline() > Some(deadline), "it backs off");
    sender.situation.handshake_confirmed = true;
    sender.situation.has_handshake_keys = false;
    sender.recovery.discard_space(deadline, SpaceId::Handshake);
    assert_eq!(sender.timeout(sender.deadline().unwrap()).0, Some(Probe { space: SpaceId::Data }));
}

#[test]
fn what_was_not_sent_cannot_be_acknowledged() {
    let mut sender = Sender::data();
    sender.send(0);
    let error = sender.ack_in(SpaceId::Data, 1, &[0..=1]).unwrap_err();
    assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
    assert!(sender.ack_in(SpaceId::Initial, 1, &[0..=0]).is_err());
}

#[test]
fn a_skipped_number_exposes_an_optimistic_ack() {
    let mut sender = Sender::new(CONFIRMED, true);
    let sent: Vec<_> = (0..400).map(|_| sender.send(0)).collect();
    let skipped = sent.windows(2).find(|pair| pair[1] != pair[0] + 1).expect("one skip within 272")[0] + 1;
    let honest = sender.ack(10, &[skipped + 1..=skipped + 10, skipped - 5..=skipped - 1]);
    assert_eq!(honest.acked.len(), 15);
    let error = sender.ack_in(SpaceId::Data, 20, &[skipped - 5..=skipped + 20]).unwrap_err();
    assert_eq!(error.code, TransportErrorCode::PROTOCOL_VIOLATION);
}

/// RFC 9002 §7.6.3, with the losses of the example up to packet `last_lost`, and packet `also_acked` acknowledged on its way.
fn persistent_congestion_example(last_lost: u64, also_acked: Option<u64>) -> Outcome {
    let mut sender = Sender::data();
    let mut fixed = Rtt::default();
    // 500 + 4·250 ms; with a max_ack_delay of 500 ms that is the 2 s of the example.
    fixed.update(Instant::EPOCH, ms(500), Duration::ZERO, Duration::ZERO, true);
    sender.recovery.set_peer_max_ack_delay(ms(500));
    sender.send(0); // number 0 stands for nothing
    for (number, time) in
        [(1, 0), (2, 1000), (3, 2000), (4, 3000), (5, 4000), (6, 5000), (7, 6000), (8, 8000)]
    {
        if time == 2000 {
            sender.ack(1200, &[0..=1]);
            sender.rtt = fixed;
        }
        if number <= last_lost {
            assert_eq!(sender.send(time), number);
        }
    }
    let last = sender.send(12_000);
    let mut ranges = vec![last..=last];
    ranges.extend(also_acked.map(|number| number..=number));
    let out = sender.ack(12_200, &ranges);
    assert_eq!(out.lost.len() as u64, last_lost - 1 - u64::from(also_acked.is_some()));
    assert_eq!(sender.cc.events.last().map(|event| event.persistent), Some(out.persistent));
    out
}

#[test]
fn persistent_congestion_as_in_the_example() {
    assert!(persistent_congestion_example(8, None).persistent);
    assert!(!persistent_congestion_example(6, None).persistent, "4 s are less than 6 s");
    assert!(!persistent_congestion_example(8, Some(5)).persistent, "one between was acknowledged");
}

#[test]
fn persistent_congestion_needs_a_sample_before() {
    let mut sender = Sender::data();
    for time in [0, 10_000, 20_000, 20_100] {
        sender.send(time);
    }
    let out = sender.ack(20_200, &[3..=3]);
    assert_eq!(out.lost, tokens(&[0, 1, 2]));
    assert!(out.congestion && !out.persistent);
}

#[test]
fn a_late_ack_undoes_the_event() {
    let mut sender = Sender::data();
    (0..6).for_each(|n| assert_eq!(sender.send(n), n));
    let out = sender.ack(105, &[4..=5]);
    assert_eq!(out.lost, tokens(&[0, 1, 2]));
    assert_eq!(sender.cc.events.len(), 1);
    let out = sender.ack(106, &[4..=5, 1..=2]);
    assert_eq!((out.acked, out.spurious_losses), (tokens(&[1, 2]), 2));
    assert_eq!(sender.cc.spurious, 0, "0 is still lost");
    let out = sender.ack(107, &[0..=5]);
    assert_eq!(out.acked, tokens(&[3, 0]));
    assert_eq!((sender.cc.spurious, sender.recovery.bytes_in_flight()), (1, 0));
    assert!(!sender.recovery.has_ack_eliciting_in_flight(SpaceId::Data));
}

/// RFC 9002 §6.1.1: "Algorithms that increase the reordering threshold after spuriously detecting losses … have proven to be useful".
#[test]
fn reordering_that_was_seen_is_waited_for() {
    let mut sender = Sender::data();
    (0..20).for_each(|n| assert_eq!(sender.send(n), n));
    assert_eq!(sender.ack(105, &[3..=5]).lost, tokens(&[0, 1, 2]));
    assert_eq!(sender.ack(106, &[0..=5]).spurious_losses, 3);
    // Packet 0 was five packets late: five are waited for from now on.
    assert_eq!(sender.ack(111, &[7..=11]).lost, tokens(&[]));
    assert_eq!(sender.ack(112, &[7..=12]).lost, tokens(&[6]));
    // On a new path nothing is known.
    sender.recovery.on_path_change(1);
    (20..30).for_each(|n| assert_eq!(sender.send_packet(SpaceId::Data, |packet| packet.path = 1, at(n)), n));
    assert_eq!(sender.ack(113, &[22..=24, 13..=20]).lost, tokens(&[21]));
}

#[test]
fn marks_are_never_undone() {
    let mut sender = Sender::data();
    (0..4).for_each(|n| assert_eq!(sender.send(n), n));
    assert_eq!(sender.ack(103, &[3..=3]).lost, tokens(&[0]));
    sender.recovery.on_ecn_ce(at(103), at(3), &mut sender.cc);
    assert!(sender.cc.events[1].ecn);
    sender.ack(104, &[0..=3]);
    assert_eq!(sender.cc.spurious, 0);
}

#[test]
fn old_losses_are_forgotten() {
    let mut sender = Sender::data();
    (0..4).for_each(|n| assert_eq!(sender.send(n), n));
    sender.ack(103, &[3..=3, 1..=2]);
    assert_eq!(sender.recovery.spaces.data().ring.len(), 1, "the loss is remembered");
    let number = sender.send(5000);
    sender.ack(5100, &[number..=number]);
    assert_eq!(sender.recovery.spaces.data().ring.span(), 0);
    assert!(sender.ack(5101, &[0..=number]).acked.is_empty());
}

#[test]
fn a_lost_mtu_probe_is_no_congestion() {
    let mut sender = Sender::data();
    sender.send_packet(SpaceId::Data, |packet| packet.tokens = smallvec![Token::MtuProbe(1400)], at(0));
    (1..4).for_each(|n| assert_eq!(sender.send(n), n));
    let out = sender.ack(103, &[1..=3]);
    assert_eq!(out.lost, [Token::MtuProbe(1400)]);
    assert!(!out.congestion && sender.cc.events.is_empty());
    assert_eq!(sender.recovery.bytes_in_flight(), 0);
}

#[test]
fn another_path_tells_nothing_of_this_one() {
    let mut sender = Sender::data();
    (0..5).for_each(|n| assert_eq!(sender.send(n), n));
    sender.recovery.on_path_change(1);
    assert_eq!(sender.recovery.bytes_in_flight(), 0);
    sender.send_packet(SpaceId::Data, |packet| packet.path = 1, at(5));
    let out = sender.ack(104, &[4..=4]);
    assert_eq!((out.lost, out.acked), (tokens(&[0, 1]), tokens(&[4])));
    assert!(!out.rtt_sample && !out.congestion && sender.cc.acks.is_empty());
    assert_eq!((out.newly_acked_ect0, sender.recovery.bytes_in_flight()), (0, 1000));
}

#[test]
fn retry_returns_tokens_without_congestion() {
    let mut sender = Sender::new(CLIENT_HELLO, false);
    sender.send_in(SpaceId::Initial, 0);
    let mut out = Outcome::default();
    sender.recovery.on_not_processed(at(50), SpaceId::Initial, &mut out);
    assert_eq!((out.lost, sender.recovery.bytes_in_flight()), (tokens(&[0]), 0));
    assert!(sender.cc.events.is_empty());
    assert_eq!(sender.send_in(SpaceId::Initial, 51), 1, "RFC 9000 §17.2.5.3: the number is not reset");
    assert_eq!(sender.ack_in(SpaceId::Initial, 90, &[1..=1]).unwrap().acked, tokens(&[1]));
}

#[test]
fn discarded_keys_take_their_packets_along() {
    let mut sender = Sender::new(CLIENT_HELLO, false);
    sender.send_in(SpaceId::Initial, 0);
    sender.send_in(SpaceId::Handshake, 0);
    sender.recovery.discard_space(at(1), SpaceId::Initial);
    assert_eq!(sender.recovery.bytes_in_flight(), 1000);
    assert!(!sender.recovery.has_ack_eliciting_in_flight(SpaceId::Initial));
    assert!(sender.ack_in(SpaceId::Initial, 2, &[0..=0]).unwrap().acked.is_empty());
}

#[test]
fn lone_acks_cost_bounded_memory() {
    let mut sender = Sender::data();
    for _ in 0..MAX_TRACKED + 100 {
        let lone = |packet: &mut SentPacket| {
            (packet.ack_eliciting, packet.in_flight) = (false, false);
            packet.tokens = smallvec![];
        };
        sender.send_packet(SpaceId::Data, lone, at(0));
    }
    assert!(!sender.recovery.is_full(SpaceId::Data));
    assert!(sender.recovery.spaces.data().ring.span() <= MAX_TRACKED);
    assert_eq!(sender.deadline(), None, "nobody will acknowledge them");
}

#[derive(Clone, Debug)]
enum Step {
    Send { eliciting: bool },
    Ack { from: u64, len: u64, gap: u64, len2: u64 },
    Sleep(u64),
    Timeout,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::bool::weighted(0.8).prop_map(|eliciting| Step::Send { eliciting }),
        2 => (0u64..20, 0u64..10, 1u64..5, 0u64..30)
            .prop_map(|(from, len, gap, len2)| Step::Ack { from, len, gap, len2 }),
        1 => (1u64..200).prop_map(Step::Sleep),
        1 => Just(Step::Timeout),
    ]
}

proptest! {
    /// Each packet against a model: outstanding, lost or acknowledged; what comes out and the bytes in flight follow from it.
    #[test]
    fn every_packet_is_settled_once(steps in proptest::collection::vec(step(), 1..150)) {
        let (mut sender, mut now, mut model) = (Sender::data(), 0, BTreeMap::new());
        for step in steps.into_iter().chain([Step::Send { eliciting: true }]) {
            let before = sender.recovery.next_packet_number(SpaceId::Data, &mut sender.rng);
            let mut expected = Vec::new();
            let out = match step {
                Step::Send { eliciting } => {
                    let lone = |packet: &mut SentPacket| {
                        (packet.ack_eliciting, packet.in_flight) = (eliciting, eliciting);
                    };
                    let number = sender.send_packet(SpaceId::Data, lone, at(now));
                    model.insert(number, (eliciting, false));
                    continue;
                }
                Step::Ack { from, len, gap, len2 } if before > 0 => {
                    let high = (before - 1).saturating_sub(from);
                    let low = high.saturating_sub(len);
                    let mut ranges = vec![low..=high];
                    if let Some(high) = low.checked_sub(gap + 1) {
                        ranges.push(high.saturating_sub(len2)..=high);
                    }
                    expected = ranges.iter().cloned().flat_map(Iterator::rev).collect();
                    sender.ack(now, &ranges)
                }
                Step::Ack { .. } => continue,
                Step::Sleep(millis) => {
                    now += millis;
                    continue;
                }
                Step::Timeout => sender.timeout(at(now)).1,
            };
            for token in &out.acked {
                let Token::NewConnectionId(number) = token else { unreachable!() };
                prop_assert!(expected.contains(number));
                prop_assert!(model.remove(number).is_some(), "acknowledged once");
            }
            // Whatever is outstanding must have been settled by an ACK that names it.
            prop_assert!(expected.iter().all(|number| model.get(number).is_none_or(|(_, lost)| *lost)));
            for token in &out.lost {
                let Token::NewConnectionId(number) = token else { unreachable!() };
                let entry = model.get_mut(number).expect("lost while outstanding");
                prop_assert!(!std::mem::replace(&mut entry.1, true), "lost once");
                prop_assert!(Some(*number) < sender.recovery.largest_acked(SpaceId::Data), "§6.1: a later one was acknowledged");
            }
            let outstanding = model.values().filter(|(eliciting, lost)| *eliciting && !lost).count();
            prop_assert_eq!(sender.recovery.bytes_in_flight(), outstanding as u64 * 1000);
            prop_assert_eq!(sender.recovery.spaces.data().eliciting as usize, outstanding);
            prop_assert_eq!(sender.deadline().is_some(), outstanding > 0 || sender.recovery.earliest_loss().is_some());
        }
        let last = sender.recovery.next_packet_number(SpaceId::Data, &mut sender.rng) - 1;
        sender.ack(now, &[0..=last]);
        prop_assert_eq!(sender.recovery.bytes_in_flight(), 0);
        prop_assert_eq!(sender.recovery.spaces.data().ring.span(), 0);
        prop_assert_eq!(sender.cc.sent % 1000, 0);
    }
}
