use super::*;
use quic_proto::net::{Datagram, Ecn, Transmit};
use std::net::UdpSocket;
use std::num::NonZeroU16;

fn socket(addr: &str) -> Socket<UdpSocket> {
    Socket::new(bind(addr.parse().unwrap()).unwrap(), None, Ok).unwrap()
}

fn transmit(path: FourTuple, len: usize, segment: u16) -> Transmit {
    Transmit { path, ecn: Some(Ecn::Ect0), len, segment_size: NonZeroU16::new(segment), departure: None }
}

/// A batch of `len` bytes that count upwards.
fn counting(transmit: Transmit) -> SendBatch {
    let mut batch = SendBatch::new();
    batch.fill(|buf| {
        buf[..transmit.len].iter_mut().enumerate().for_each(|(at, byte)| *byte = at as u8);
        Some(transmit)
    });
    batch
}

/// All datagrams that arrive until `bytes` have: where they came from, their ECN codepoint, and their payload.
fn receive(socket: &Socket<UdpSocket>, bytes: usize) -> Vec<(FourTuple, Option<Ecn>, Vec<u8>)> {
    let (mut batch, mut all) = (ReceiveBatch::new(), Vec::new());
    while all.iter().map(|(_, _, payload): &(_, _, Vec<u8>)| payload.len()).sum::<usize>() < bytes {
        match socket.try_receive(&mut batch) {
            Ok(()) => {
                while let Some(Datagram { path, ecn, payload }) = batch.next_datagram() {
                    all.push((path, ecn, payload.to_vec()));
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                std::thread::yield_now();
            }
        }
    }
    all
}

#[test]
fn a_full_batch_is_one_system_call() {
    let (a, b) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    let segments = a.max_segments().get().min(44);
    let len = segments * 1452 - 52;
    let mut batch = counting(transmit(a.path_to(b.local_addr()).unwrap(), len, 1452));
    a.try_send(&mut batch).unwrap();
    assert!(batch.is_empty());
    let all = receive(&b, len);
    let expected: Vec<u8> = (0..len).map(|at| at as u8).collect();
    assert_eq!(all.iter().map(|(_, _, payload)| payload.len()).max(), Some(1452));
    assert!(all.iter().flat_map(|(_, _, payload)| payload).eq(&expected));
    assert!(
        all.iter().all(|(_, ecn, _)| *ecn == Some(Ecn::Ect0)),
        "the codepoint is told of what was put together too"
    );
    let (sent, received) = (a.stats(), b.stats());
    assert_eq!((sent.sent_datagrams, sent.sent_bytes, sent.send_calls), (segments as u64, len as u64, 1));
    assert_eq!((received.received_datagrams, received.received_bytes), (segments as u64, len as u64));
    assert!(received.receive_calls <= segments as u64);
}

#[test]
fn ecn_and_addresses_go_both_ways() {
    for (any, to) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")] {
        let (a, b) = (socket(any), socket(any));
        let remote = SocketAddr::new(to.parse().unwrap(), b.local_addr().port());
        a.try_send(&mut counting(transmit(a.path_to(remote).unwrap(), 100, 0))).unwrap();
        let (path, ecn, payload) = receive(&b, 100).pop().unwrap();
        assert_eq!((path.local, ecn, payload.len()), (Some(remote), Some(Ecn::Ect0), 100));
        assert_eq!(path.remote, SocketAddr::new(to.parse().unwrap(), a.local_addr().port()));
        // The answer leaves from the address that was asked.
        b.try_send(&mut counting(transmit(path, 50, 0))).unwrap();
        assert_eq!(receive(&a, 50).pop().unwrap().0, FourTuple { local: Some(path.remote), remote });
    }
}

/// All that a batch has goes with it when it leaves at a time that it names, over both families; where nobody holds it back it is here at
/// once.
#[cfg(target_os = "linux")]
#[test]
fn batches_leave_at_their_times() {
    for (any, to) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")] {
        let bound = bind(any.parse().unwrap()).unwrap();
        let a = Socket::new(bound, Some(Instant::from_millis(1)), Ok).unwrap();
        let b = socket(any);
        let remote = SocketAddr::new(to.parse().unwrap(), b.local_addr().port());
        let local = Some(SocketAddr::new(to.parse().unwrap(), a.local_addr().port()));
        let departure = Some(Instant::from_millis(2));
        let timed = Transmit { departure, ..transmit(FourTuple { local, remote }, 2500, 1200) };
        a.try_send(&mut counting(timed)).unwrap();
        let all = receive(&b, 2500);
        assert_eq!(all.iter().map(|(.., payload)| payload.len()).collect::<Vec<_>>(), [1200, 1200, 100]);
        for (path, ecn, _) in all {
            assert_eq!(
                (path.local, Some(path.remote), ecn),
                (Some(remote), local, Some(Ecn::Ect0)),
                "{any} {to}"
            );
        }
        assert_eq!(a.stats().send_calls, 1);
    }
}

#[cfg(not(target_os = "linux"))]
#[test]
fn times_are_refused_where_there_are_none() {
    let bound = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = Socket::<UdpSocket>::new(bound, Some(Instant::EPOCH), Ok).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.get_ref().unwrap().is::<NoDepartureTimes>());
}

#[test]
fn what_cannot_be_sent_is_lost() {
    let (a, b) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    let path = a.path_to(b.local_addr()).unwrap();
    // Our address is not ours.
    let elsewhere = FourTuple { local: Some("192.0.2.1:7".parse().unwrap()), remote: b.local_addr() };
    let mut batch = counting(transmit(elsewhere, 100, 0));
    a.try_send(&mut batch).unwrap();
    assert!(batch.is_empty());
    assert_eq!((a.stats().sent_datagrams, a.stats().refused_datagrams), (0, 1));
    a.try_send(&mut counting(transmit(path, 100, 0))).unwrap();
    assert_eq!(receive(&b, 100).len(), 1, "the next one is not affected");
}

/// Linux refuses to segment for a socket that sends without checksums, which stands for devices and paths that cannot.
#[cfg(target_os = "linux")]
#[test]
#[allow(unsafe_code, reason = "a socket option that no safe interface has")]
fn a_batch_that_is_refused_leaves_one_by_one() {
    use std::os::fd::AsRawFd;
    let (a, b) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    assert!(a.max_segments().get() > 1, "this kernel segments");
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open and the option's value an integer of the length that is given.
    let set = unsafe {
        libc::setsockopt(
            a.io().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
    a.try_send(&mut counting(transmit(a.path_to(b.local_addr()).unwrap(), 5000, 1200))).unwrap();
    let lens: Vec<_> = receive(&b, 5000).iter().map(|(_, _, payload)| payload.len()).collect();
    assert_eq!(lens, [1200, 1200, 1200, 1200, 200]);
    assert_eq!(a.max_segments().get(), 1, "and the protocol is not asked for batches any more");
    assert_eq!((a.stats().send_calls, a.stats().refused_datagrams), (5, 0));
}
