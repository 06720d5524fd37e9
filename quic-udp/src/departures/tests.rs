use super::*;
use crate::bind;
use quinn_udp::EcnCodepoint;
use std::time::Duration;

fn socket() -> UdpSocket {
    let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn transmit(to: &UdpSocket) -> Transmit<'static> {
    Transmit {
        destination: to.local_addr().unwrap(),
        ecn: Some(EcnCodepoint::Ect0),
        contents: b"hello you",
        segment_size: Some(5),
        src_ip: Some("127.0.0.1".parse().unwrap()),
    }
}

#[test]
fn all_items_have_room_and_are_aligned() {
    let mut control = Control::default();
    control.push(1, 61, &7u64.to_ne_bytes());
    control.push(41, 67, &2u32.to_ne_bytes());
    control.push(17, 103, &1200u16.to_ne_bytes());
    control.push(41, 50, &[9; 20]);
    let bytes = control.bytes();
    assert_eq!(bytes.len() % size_of::<usize>(), 0);
    let second = bytes[size_of::<usize>() + 8 + 8..].first_chunk().unwrap();
    assert_eq!(usize::from_ne_bytes(*second), size_of::<usize>() + 8 + 4, "the length without what fills up");
}

/// The kernel reads our time as such: it refuses it from a socket that did not ask for times, and only then.
#[test]
fn the_kernel_takes_the_time_and_all_else() {
    let (from, to) = (socket(), socket());
    let without = Departures { socket: from.try_clone().unwrap().into(), origin: 0 };
    let refused = without.try_send(Instant::EPOCH, &transmit(&to)).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EINVAL));
    let departures = Departures::new(&from, Instant::from_millis(5)).unwrap();
    departures.try_send(Instant::from_millis(7), &transmit(&to)).unwrap();
    let mut buf = [0; 100];
    for expected in [&b"hello"[..], b" you"] {
        let (len, _) = to.recv_from(&mut buf).unwrap();
        assert_eq!(&buf[..len], expected);
    }
}

#[test]
fn the_clock_is_that_of_the_standard_library() {
    let socket = socket();
    let (before, start) = (monotonic_nanos().unwrap(), std::time::Instant::now());
    let departures = Departures::new(&socket, Instant::from_millis(3)).unwrap();
    let (taken, after) = (departures.origin + 3_000_000, monotonic_nanos().unwrap());
    assert!(before <= taken && taken <= after);
    std::thread::sleep(Duration::from_millis(20));
    assert!(u128::from(monotonic_nanos().unwrap() - before) >= start.elapsed().as_nanos() - 1_000_000);
}

/// Only where the loopback interface has the queueing discipline, in a network namespace of its own:
///
/// `unshare -n sh -c 'ip link set lo up; tc qdisc replace dev lo root fq; cargo test -p quic-udp fq_keeps -- --ignored'`
#[test]
#[ignore = "needs root and a kernel with sch_fq"]
fn fq_keeps_to_the_times() {
    let (from, to) = (socket(), socket());
    let start = std::time::Instant::now();
    let departures = Departures::new(&from, Instant::EPOCH).unwrap();
    let plain = Transmit { segment_size: None, ..transmit(&to) };
    for number in 1..=20 {
        departures.try_send(Instant::from_millis(10 * number), &plain).unwrap();
    }
    for number in 1..=20 {
        to.recv_from(&mut [0; 100]).unwrap();
        let late = start.elapsed().checked_sub(Duration::from_millis(10 * number)).expect("not too early");
        eprintln!("datagram {number}: {late:?} late");
    }
}
