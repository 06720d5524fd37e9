//! The formulas of RFC 9438 by their numbers, and bounds whatever happens.

use super::*;
use crate::congestion::RttSample;
use proptest::prelude::*;

const MTU: u16 = 1000;

fn ack(sent: u64, now: u64, bytes: u64) -> AckSample {
    let rtt = Duration::from_millis(100);
    AckSample {
        now: Instant::from_millis(now),
        bytes,
        sent: Instant::from_millis(sent),
        in_flight: 0,
        mark: DeliveryMark::default(),
        drained: false,
        rtt: RttSample { latest: rtt, min: rtt, smoothed: rtt },
    }
}

fn loss(sent: u64, now: u64) -> CongestionEvent {
    CongestionEvent {
        now: Instant::from_millis(now),
        sent: Instant::from_millis(sent),
        lost_bytes: u64::from(MTU),
        persistent: false,
        ecn: false,
        in_flight: 0,
        prior_in_flight: u64::from(MTU),
    }
}

/// The window once a recovery period is over.
fn target(cubic: &Cubic) -> u64 {
    cubic.curve.window as u64
}

/// A controller whose window is `packets` datagrams, still in slow start.
fn with_window(packets: u64) -> Cubic {
    let mut cubic = Cubic::new(MTU);
    sends(&mut cubic, 0, packets * u64::from(MTU));
    cubic.on_ack(&ack(0, 1, (packets - 10) * u64::from(MTU)));
    assert_eq!(cubic.window(), packets * u64::from(MTU));
    cubic
}

/// A packet is sent, with which `flight` bytes are in flight.
fn sends(cubic: &mut Cubic, now: u64, flight: u64) {
    cubic.on_sent(Instant::from_millis(now), u64::from(MTU), flight, false);
}

/// Sends and acknowledges full windows, once each 10 ms a tenth of it, from `from` to `to` ms.
fn run(cubic: &mut Cubic, from: u64, to: u64) {
    for now in (from..to).step_by(10) {
        let (window, tenth) = (target(cubic), target(cubic) / 10);
        sends(cubic, now, window);
        cubic.on_ack(&ack(now, now, tenth));
    }
}

#[test]
fn the_decrease_is_to_seven_tenths_once_a_round_trip() {
    let mut cubic = with_window(100);
    cubic.on_congestion(&loss(10, 100));
    assert_eq!((target(&cubic), cubic.ssthresh()), (70_000, 70_000));
    cubic.on_congestion(&loss(99, 150));
    assert_eq!(target(&cubic), 70_000);
    cubic.on_congestion(&loss(120, 200));
    assert_eq!(target(&cubic), 49_000);
}

#[test]
fn the_window_comes_back_to_w_max_after_k_seconds() {
    // A window of 1000 datagrams is far from the Reno-friendly region. K = cbrt(300 / 0.4) = 9.086 s.
    let mut cubic = with_window(1000);
    cubic.on_congestion(&loss(10, 100));
    run(&mut cubic, 110, 110 + 9_086);
    let window = cubic.window() as f64;
    assert!((0.985e6..1.005e6).contains(&window), "{window}");
    // Concave before: half of the time gives 7/8 of the way.
    let mut half = with_window(1000);
    half.on_congestion(&loss(10, 100));
    run(&mut half, 110, 110 + 4_543);
    let window = half.window() as f64;
    assert!((0.945e6..0.97e6).contains(&window), "{window}");
    // Convex after: twice the time goes as far above as it began below.
    run(&mut cubic, 110 + 9_086, 110 + 2 * 9_086);
    let window = cubic.window() as f64;
    assert!((1.27e6..1.33e6).contains(&window), "{window}");
}

#[test]
fn small_windows_grow_like_reno() {
    // 10 datagrams to 7, then alpha = 0.529 datagrams each round trip of 100 ms: far above the cubic curve, K = 1.96 s.
    let mut cubic = with_window(20);
    cubic.on_congestion(&loss(10, 100));
    assert_eq!(target(&cubic), 14_000);
    run(&mut cubic, 110, 1110);
    let window = cubic.window() as f64;
    assert!((18_500.0..19_600.0).contains(&window), "{window}");
    // Beyond the prior window it grows by a whole datagram each round trip.
    run(&mut cubic, 1110, 1410);
    let before = cubic.window();
    run(&mut cubic, 1410, 1910);
    let growth = (cubic.window() - before) as f64 / 5.0;
    assert!((900.0..1100.0).contains(&growth), "{growth}");
}

#[test]
fn fast_convergence_gives_room() {
    let mut cubic = with_window(100);
    cubic.on_congestion(&loss(10, 100));
    assert!((cubic.curve.w_max - 100_000.0).abs() < 1.0);
    cubic.on_congestion(&loss(110, 200));
    assert!((cubic.curve.w_max - 70_000.0 * 0.85).abs() < 1.0);
}

#[test]
fn time_without_data_does_not_count() {
    let grown = |pause: u64, unused: bool| {
        let mut cubic = with_window(1000);
        cubic.on_congestion(&loss(10, 100));
        run(&mut cubic, 110, 1110);
        if unused {
            // What a flight may make of the window was made of it.
            cubic.peak = FlightPeak(target(&cubic) - 1000);
            cubic.on_ack(&ack(1110, 1110, 1000));
            assert!(cubic.idle_since.is_some());
        }
        cubic.on_sent(Instant::from_millis(1110 + pause), 1000, 1000, false);
        run(&mut cubic, 1110 + pause, 2110 + pause);
        cubic.window()
    };
    let expected = grown(0, false);
    for (pause, unused) in [(60_000, false), (60_000, true)] {
        assert!(grown(pause, unused).abs_diff(expected) < expected / 200);
    }
}

#[test]
fn a_spurious_loss_is_undone() {
    let mut cubic = with_window(100);
    cubic.on_congestion(&loss(10, 100));
    cubic.on_spurious_congestion();
    assert_eq!((target(&cubic), cubic.ssthresh()), (100_000, u64::MAX));
    // What is undone can happen again, and only once is it undone.
    cubic.on_congestion(&loss(50, 200));
    assert_eq!(target(&cubic), 70_000);
    cubic.on_congestion(&loss(201, 300));
    cubic.on_spurious_congestion();
    assert_eq!(target(&cubic), 70_000);
    cubic.on_spurious_congestion();
    assert_eq!(target(&cubic), 70_000);
}

/// §4.9.2: what is restored is cwnd, ssthresh, `cwnd_prior`, `W_max`, K, `t_epoch` and `W_est`.
#[test]
fn an_undone_reduction_leaves_no_trace() {
    let mut cubic = with_window(1000);
    cubic.on_congestion(&loss(10, 100));
    run(&mut cubic, 110, 1110);
    // It was idle for a while, which is not part of the epoch, before or after.
    cubic.on_sent(Instant::from_millis(2110), 1000, 1000, false);
    let mut undone = cubic.clone();
    undone.on_congestion(&loss(2110, 2110));
    assert!(target(&undone) < target(&cubic));
    undone.on_spurious_congestion();
    for cubic in [&mut cubic, &mut undone] {
        cubic.peak = FlightPeak(target(cubic));
        run(cubic, 2110, 5110);
    }
    assert_eq!(format!("{:?}", undone.curve), format!("{:?}", cubic.curve));
}

/// RFC 9438 §4.10: "K is set to 0, and `W_max` is set to the congestion window size at the beginning of the current congestion
/// avoidance stage", and `cwnd_prior` to the window.
#[test]
fn slow_start_may_end_without_a_loss() {
    let mut cubic = Cubic::new(MTU);
    let mut now = 1000;
    // The round-trip time rises from 40 to 60 ms, and stays there.
    for rtt in [40, 60, 60, 60, 60, 60, 60] {
        let sent = now;
        now += rtt;
        let window = target(&cubic);
        sends(&mut cubic, sent, window);
        (0..10).for_each(|_| cubic.on_ack(&ack(sent, now, 1000)));
    }
    assert!(!cubic.in_slow_start());
    // 10 at the start, 10 and 8 in full, 43 by a quarter; what came after is congestion avoidance.
    assert_eq!(cubic.ssthresh(), 38_750);
    let epoch = cubic.curve.epoch.unwrap();
    assert!(epoch.k == 0.0 && cubic.curve.w_max == 38_750.0 && cubic.curve.prior == 38_750.0);
}

#[test]
fn a_window_that_is_not_used_grows_to_twice_the_largest_flight() {
    let mut cubic = Cubic::new(MTU);
    let acked = ack(0, 100, 8000);
    cubic.on_ack(&acked);
    assert_eq!(cubic.window(), 18_000);
    cubic.on_ack(&acked);
    assert_eq!(cubic.window(), 20_000, "2 * maxFS, which is the initial window");
    sends(&mut cubic, 100, 20_000);
    cubic.on_ack(&acked);
    assert_eq!(cubic.window(), 28_000);
    cubic.on_congestion(&loss(110, 200));
    cubic.on_ack(&ack(210, 300, 8000));
    assert_eq!(cubic.window(), 19_600, "the reduction made the largest flight void");
}

#[test]
fn in_recovery_the_window_follows_the_flight() {
    let mut cubic = with_window(100);
    let event = CongestionEvent { in_flight: 98_000, prior_in_flight: 100_000, ..loss(10, 100) };
    cubic.on_congestion(&event);
    cubic.on_ack(&AckSample { in_flight: 98_000, ..ack(13, 100, 1000) });
    assert_eq!(cubic.window(), 99_000, "the lost packet may be sent again at once");
    cubic.on_sent(Instant::from_millis(100), 1000, 99_000, false);
    cubic.on_ack(&AckSample { in_flight: 89_000, ..ack(23, 110, 10_000) });
    assert_eq!(cubic.window(), 89_000 + 7_700 - 1000);
    assert!(!cubic.in_slow_start());
    cubic.on_ack(&AckSample { in_flight: 69_000, ..ack(101, 200, 1000) });
    assert!((70_000..70_100).contains(&cubic.window()), "the period is over");
}

#[test]
fn a_mark_is_not_undone() {
    let mut cubic = with_window(100);
    cubic.on_congestion(&CongestionEvent { ecn: true, lost_bytes: 0, ..loss(10, 100) });
    cubic.on_spurious_congestion();
    assert_eq!(target(&cubic), 70_000);
}

/// A tolerant controller with a window of two hundred datagrams.
fn tolerant() -> Cubic {
    let mut cubic = Cubic { tolerance: Cubic::tolerant(MTU).tolerance, ..with_window(100) };
    cubic.on_ack(&ack(0, 1, 100_000));
    assert_eq!((target(&cubic), cubic.name()), (200_000, TOLERANT_NAME));
    cubic
}

#[test]
fn a_loss_without_a_queue_is_taken_back_when_its_round_trip_is_over() {
    let mut cubic = tolerant();
    cubic.on_congestion(&loss(10, 110));
    cubic.on_ack(&ack(11, 111, 1000));
    assert_eq!((target(&cubic), cubic.ssthresh()), (140_000, 140_000), "the sender yields meanwhile");
    cubic.on_ack(&ack(111, 211, 0));
    assert_eq!((cubic.window(), cubic.ssthresh()), (200_000, u64::MAX));
    cubic.on_congestion(&loss(109, 212));
    assert_eq!(target(&cubic), 200_000, "found out late, but of the flight that was answered");
    // Without an acknowledgement between, the next period ends this one as well.
    cubic.on_congestion(&loss(120, 220));
    cubic.on_ack(&ack(130, 230, 1000));
    cubic.on_congestion(&loss(221, 321));
    assert_eq!((target(&cubic), cubic.curve.prior), (140_000, 200_000.0));
}

#[test]
fn a_loss_with_a_queue_is_not_taken_back() {
    let mut cubic = tolerant();
    cubic.on_congestion(&loss(10, 110));
    cubic.on_ack(&ack(11, 124, 1000));
    cubic.on_ack(&ack(111, 224, 0));
    assert_eq!((target(&cubic), cubic.ssthresh()), (140_000, 140_000));
}

#[test]
fn cubic_itself_takes_no_loss_back() {
    let mut cubic = Cubic { tolerance: None, ..tolerant() };
    cubic.on_congestion(&loss(10, 110));
    cubic.on_ack(&ack(11, 111, 1000));
    cubic.on_ack(&ack(111, 211, 0));
    assert_eq!(target(&cubic), 140_000);
}

#[test]
fn persistent_congestion_is_not_taken_back() {
    let mut cubic = tolerant();
    cubic.on_congestion(&CongestionEvent { persistent: true, ..loss(10, 110) });
    cubic.on_ack(&ack(111, 211, 0));
    assert_eq!(target(&cubic), 2000);
}

#[test]
fn persistent_congestion_restarts_with_k_zero() {
    let mut cubic = with_window(100);
    cubic.on_congestion(&CongestionEvent { persistent: true, ..loss(10, 100) });
    assert_eq!((cubic.window(), cubic.ssthresh()), (2000, 70_000));
    sends(&mut cubic, 110, 35_000);
    cubic.on_ack(&ack(110, 200, 68_000));
    assert_eq!(cubic.window(), 70_000);
    sends(&mut cubic, 210, 70_000);
    cubic.on_ack(&ack(210, 300, 1000));
    assert!(cubic.curve.epoch.is_some_and(|epoch| epoch.k == 0.0));
}

proptest! {
    /// Whatever happens: the window is a finite number, at least two datagrams, grows by no more than what was acknowledged, not beyond
    /// what the largest flight allows, and never in recovery.
    #[test]
    fn bounded(steps in proptest::collection::vec((0u8..7, 0u64..5000, 0u64..200_000), 1..200)) {
        let mut cubic = Cubic::new(MTU);
        let mut now = 0;
        for (kind, step, bytes) in steps {
            now += step;
            let before = target(&cubic);
            match kind {
                0..=2 => {
                    let sample = ack(now.saturating_sub(100), now, bytes);
                    let covered = cubic.curve.recovery.covers(sample.sent);
                    cubic.on_ack(&sample);
                    prop_assert!(target(&cubic) >= before);
                    prop_assert!(target(&cubic) <= before + bytes + 1);
                    prop_assert!(!covered || target(&cubic) == before);
                    // In congestion avoidance, half of a window that was used up, or Reno's datagram.
                    let (peak, mtu) = (cubic.peak.0, u64::from(MTU));
                    let limit = (2 * peak).max((peak + mtu) * 3 / 2).max(peak + 2 * mtu);
                    prop_assert!(target(&cubic) <= before.max(limit));
                }
                3 | 4 => {
                    cubic.on_congestion(&CongestionEvent { persistent: kind == 4, ..loss(now.saturating_sub(100), now) });
                    prop_assert!(target(&cubic) <= before);
                }
                5 => drop(cubic.on_sent(Instant::from_millis(now), bytes, bytes, false)),
                _ => cubic.on_spurious_congestion(),
            }
            prop_assert!(cubic.curve.window.is_finite() && target(&cubic) >= 2000);
        }
    }
}
