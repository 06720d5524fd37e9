//! Every property of a link, seen from outside: exact where it is exact, within bounds for fixed seeds where it is random.

mod common;

use common::{Flood, flood};
use quic_proto::net::Ecn;
use quic_proto::time::{Duration, Instant};
use quic_sim::units::{kib, mbit, ms, percent, secs, us};
use quic_sim::{DOWN, Fate, Link, Loss, Queue, Report, UP};

fn arrivals(report: &Report<Flood>) -> &[(u64, Instant, Option<Ecn>, bool)] {
    &report.server().received
}

fn numbers(report: &Report<Flood>) -> Vec<u64> {
    arrivals(report).iter().map(|arrival| arrival.0).collect()
}

#[test]
fn rate_and_delay_are_exact() {
    // 1250 bytes at 10 Mbit/s take 1 ms; the k-th of a burst arrives after k + 1 of them and 20 ms.
    let report = flood(20, ms(0), 1250).rate(mbit(10)).delay(ms(20)).run(1);
    let times: Vec<_> = arrivals(&report).iter().map(|arrival| arrival.1).collect();
    let expected: Vec<_> = (0..20).map(|k| Instant::from_millis(21 + k)).collect();
    assert_eq!(times, expected);
    assert_eq!(report.elapsed, ms(40));
}

#[test]
fn a_perfect_link_takes_no_time() {
    let report = flood(5, ms(1), 100).run(1).expect_ok();
    let times: Vec<_> = arrivals(&report).iter().map(|arrival| arrival.1).collect();
    assert_eq!(times, (0..5).map(Instant::from_millis).collect::<Vec<_>>());
    assert_eq!(report.links[UP.0].passed_bytes, 500);
    assert_eq!(report.links[DOWN.0].offered, 0);
}

#[test]
fn jitter_spreads_and_keeps_the_order() {
    let report = flood(2_000, us(500), 100).delay(ms(10)).jitter(ms(8)).run(2);
    let delays: Vec<Duration> =
        arrivals(&report).iter().map(|(n, at, ..)| *at - (Instant::EPOCH + us(500) * *n as u32)).collect();
    assert!(delays.iter().all(|delay| *delay >= ms(10) && *delay <= ms(18)));
    assert!(delays.iter().any(|delay| *delay < ms(12)) && delays.iter().any(|delay| *delay > ms(17)));
    assert!(numbers(&report).is_sorted());
    // Spaced wider than the jitter, nothing is held back by its predecessor: the mean is in the middle.
    let report = flood(2_000, ms(20), 100).delay(ms(10)).jitter(ms(8)).run(2);
    let sum: Duration = arrivals(&report).iter().map(|(n, at, ..)| *at - Instant::from_millis(20 * n)).sum();
    let mean = sum / 2_000;
    assert!(mean > us(13_700) && mean < us(14_300), "{mean:?}");
}

#[test]
fn stalls_hold_back_and_let_go_at_once() {
    let report = flood(20_000, ms(1), 100).delay(ms(10)).stall(ms(100), ms(30)).run(4);
    let arrivals = arrivals(&report);
    let delay = |n: u64, at: Instant| at - Instant::from_millis(n);
    assert!(arrivals.iter().all(|(n, at, ..)| (ms(10)..=ms(40)).contains(&delay(*n, *at))));
    assert!(numbers(&report).is_sorted());
    // 15 of 115 ms on average.
    let held = arrivals.iter().filter(|(n, at, ..)| delay(*n, *at) > ms(10)).count();
    assert!((2_200..3_000).contains(&held), "{held}");
    // What is held back comes out with what was behind it.
    let mut longest = arrivals.chunk_by(|a, b| a.1 == b.1).map(<[_]>::len);
    assert!(longest.any(|len| len >= 25));
    assert_eq!(arrivals.len(), 20_000);
}

#[test]
fn loss_has_its_rate() {
    let report = flood(20_000, us(10), 100).loss(percent(3)).run(3);
    let lost = report.trace.count(Fate::Lost);
    assert!((480..720).contains(&lost), "{lost}"); // 5 standard deviations of 24
    assert_eq!(lost + arrivals(&report).len(), 20_000);
}

#[test]
fn bursts_lose_in_bursts() {
    let report = flood(20_000, us(10), 100).loss(Loss::bursts(percent(3), 6.0)).run(4);
    let lost = report.trace.count(Fate::Lost);
    let bursts = numbers(&report).windows(2).filter(|w| w[1] > w[0] + 1).count();
    let length = lost as f64 / bursts as f64;
    assert!((300..900).contains(&lost), "{lost}");
    assert!((4.5..7.5).contains(&length), "{length}");
}

#[test]
fn named_datagrams_are_lost() {
    let report = flood(6, ms(1), 100).up(|link| link.loss(Loss::Exactly(vec![1, 4]))).run(5);
    assert_eq!(numbers(&report), [0, 2, 3, 5]);
}

#[test]
fn reordering_holds_back_its_share() {
    let report = flood(10_000, ms(1), 100).delay(ms(5)).reorder(percent(2), us(3_500)).run(6);
    let late =
        arrivals(&report).iter().filter(|(n, at, ..)| *at == Instant::from_millis(5 + n) + us(3_500)).count();
    assert!((130..270).contains(&late), "{late}");
    assert_eq!(report.links[UP.0].reordered, late as u64);
    assert_eq!(arrivals(&report).len(), 10_000);
    let overtaken = numbers(&report).windows(2).filter(|w| w[1] < w[0]).count();
    assert!(overtaken > 100, "{overtaken}");
}

#[test]
fn duplicates_are_extra() {
    let report = flood(10_000, us(10), 100).duplicate(percent(2)).run(7);
    let copies = report.trace.count(Fate::Duplicated);
    assert!((130..270).contains(&copies), "{copies}");
    assert_eq!(arrivals(&report).len(), 10_000 + copies);
}

#[test]
fn corruption_changes_bytes_and_not_lengths() {
    let report = flood(10_000, us(10), 100).corrupt(percent(2)).run(8);
    let corrupted = report.trace.count(Fate::Corrupted);
    let intact = arrivals(&report).iter().filter(|arrival| arrival.3).count();
    assert!((130..270).contains(&corrupted), "{corrupted}");
    assert_eq!(intact + corrupted, 10_000);
    assert!(report.trace.entries().iter().all(|entry| entry.len == 100));
}

#[test]
fn marks_only_what_is_capable() {
    let count_ce = |ecn| {
        let mut flood = flood(5_000, us(10), 100);
        flood = flood.at(ms(0), move |net| net.node_mut(quic_sim::NodeId(0)).ecn = ecn);
        let report = flood.mark(percent(10)).run(9);
        arrivals(&report).iter().filter(|arrival| arrival.2 == Some(Ecn::Ce)).count()
    };
    let marked = count_ce(Some(Ecn::Ect0));
    assert!((390..610).contains(&marked), "{marked}");
    assert_eq!(count_ce(None), 0);
}

#[test]
fn marks_above_a_threshold() {
    let ect = |net: &mut quic_sim::Network<Flood>| net.node_mut(quic_sim::NodeId(0)).ecn = Some(Ecn::Ect0);
    let report = flood(20, ms(1), 1250).at(ms(0), ect).up(|l| l.rate(mbit(1)).mark_above(5_000)).run(9);
    let marks: Vec<_> = arrivals(&report).iter().map(|arrival| arrival.2 == Some(Ecn::Ce)).collect();
    // One is on the wire, four make 5000 bytes, the next finds no more than that; from then on the queue only grows.
    assert!(marks[..5].iter().all(|marked| !marked) && marks[8..].iter().all(|marked| *marked), "{marks:?}");
}

#[test]
fn bleaching_clears_the_codepoint() {
    let ect = |net: &mut quic_sim::Network<Flood>| net.node_mut(quic_sim::NodeId(0)).ecn = Some(Ecn::Ect0);
    let report = flood(10, ms(1), 100).at(ms(0), ect).up(Link::bleach_ecn).run(1);
    assert!(arrivals(&report).iter().all(|arrival| arrival.2.is_none()));
}

#[test]
fn mtu_is_the_largest_payload() {
    let fits = flood(1, ms(1), 1200).mtu(1200).run(1);
    let not = flood(1, ms(1), 1201).mtu(1200).run(1);
    assert_eq!((arrivals(&fits).len(), arrivals(&not).len()), (1, 0));
    assert_eq!(not.trace.count(Fate::TooBig), 1);
}

#[test]
fn full_queue_drops_the_tail() {
    // One on the wire, four in 4 KiB of queue.
    let report = flood(10, ms(0), 1000).rate(mbit(8)).queue(Queue::drop_tail(kib(4))).run(1);
    assert_eq!(numbers(&report), [0, 1, 2, 3, 4]);
    assert_eq!(report.trace.count(Fate::QueueFull), 5);
    assert_eq!(report.links[UP.0].queue_peak, 4000);
}

#[test]
fn codel_keeps_the_wait_near_its_target() {
    // 10 % more than the link takes, for 20 s: drop-tail waits as long as its queue is, CoDel controls the wait.
    let wait = |queue| {
        let report = flood(22_000, us(909), 1250).rate(mbit(10)).queue(queue).run(10);
        let waits = arrivals(&report).iter().filter(|a| a.1 > Instant::EPOCH + secs(15));
        let waits: Vec<_> =
            waits.map(|(n, at, ..)| (*at - Instant::EPOCH).saturating_sub(us(909) * *n as u32)).collect();
        (waits.iter().sum::<Duration>() / waits.len() as u32, report.trace.count(Fate::CoDel))
    };
    let (tail, none) = wait(Queue::drop_tail(kib(512)));
    let (codel, dropped) = wait(Queue::codel());
    assert!(tail > ms(400) && none == 0, "{tail:?}");
    assert!(codel < ms(40) && dropped > 500, "{codel:?}, {dropped} dropped");
}

#[test]
fn black_outs_have_exact_ends() {
    let report = flood(10, ms(1), 100).black_out(ms(3), ms(6)).run(1);
    assert_eq!(numbers(&report), [0, 1, 2, 6, 7, 8, 9]);
    assert_eq!(report.trace.count(Fate::BlackedOut), 3);
}

#[test]
fn links_change_while_they_run() {
    let slower = |net: &mut quic_sim::Network<Flood>| net.reshape(UP, |link| link.delay(ms(50)));
    let report = flood(4, ms(10), 100).delay(ms(5)).at(ms(15), slower).run(1);
    let times: Vec<_> = arrivals(&report).iter().map(|a| (a.1 - Instant::EPOCH).as_millis()).collect();
    assert_eq!(times, [5, 15, 70, 80]);
}
