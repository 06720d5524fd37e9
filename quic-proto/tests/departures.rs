//! Datagrams that name the time at which they are to leave, for sockets that can hold them back (`EndpointConfig::departure_times`).

mod common;

use common::{EPOCH, Pair, null_client, null_server};
use quic_proto::config::{EndpointConfig, TransportConfig};
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::AppError;
use quic_proto::rng::SeededRng;
use quic_proto::time::{Duration, Instant};
use std::sync::Arc;

/// The longest head start.
const MAX_AHEAD: Duration = Duration::from_millis(5);

/// A client whose socket can hold datagrams back, or not, and a server that takes a few megabytes; a round trip of 20 ms.
fn connected(departure_times: bool) -> (Pair, ConnectionHandle) {
    let config = EndpointConfig::new(&[1; 32]).departure_times(departure_times).build().unwrap();
    let client = Endpoint::new(config, None, Box::new(SeededRng::from_u64(1)), EPOCH);
    let room = 8 << 20;
    let transport = TransportConfig::default().stream_window(room, room).connection_window(room, room);
    let transport = transport.send_buffer(room).build().unwrap();
    let server = null_server().transport(Arc::clone(&transport)).build().unwrap();
    let mut pair = Pair::of(client, common::endpoint(2, Some(server)));
    let handle = pair.connect(&null_client().transport(transport));
    pair.settle();
    pair.departures.clear();
    (pair, handle)
}

/// When a datagram left, at last.
fn left(&(handed_out, departure, _): &(Instant, Option<Instant>, usize)) -> Instant {
    departure.unwrap_or(handed_out)
}

#[test]
fn without_the_option_everything_leaves_at_once() {
    let (mut pair, handle) = connected(false);
    pair.client_sends(handle, &[7; 1_000_000]);
    pair.settle();
    assert!(pair.departures.len() > 600);
    assert!(pair.departures.iter().all(|(_, departure, _)| departure.is_none()));
}

#[test]
fn nothing_overtakes_and_nothing_leaves_too_long_after_it_was_handed_out() {
    let (mut pair, handle) = connected(true);
    pair.client_sends(handle, &[7; 1_000_000]);
    pair.settle();
    let later = pair.departures.iter().filter(|(_, departure, _)| departure.is_some()).count();
    assert!(later > 100, "{later} of {} were handed out early", pair.departures.len());
    for &(handed_out, departure, _) in &pair.departures {
        let ahead = departure.map_or(Duration::ZERO, |departure| departure - handed_out);
        // A quarter of the round trip is 5 ms too.
        assert!(ahead <= MAX_AHEAD, "{ahead:?}");
        assert!(
            departure.is_none_or(|departure| departure > handed_out),
            "a time is named only if it is to come"
        );
    }
    assert!(pair.departures.is_sorted_by_key(left));
}

#[test]
fn the_head_start_is_a_quarter_of_a_short_round_trip() {
    let (mut pair, handle) = connected(true);
    pair.delay = Duration::from_millis(1);
    pair.client_sends(handle, &[7; 300_000]);
    pair.settle();
    let rtt = pair.c(handle).stats().path.rtt;
    assert!(rtt < Duration::from_millis(3), "{rtt:?}");
    pair.departures.clear();
    // More than leaves in one burst at such a rate.
    pair.client_sends(handle, &[7; 1_000_000]);
    pair.settle();
    let ahead = pair.departures.iter().map(|entry| left(entry) - entry.0).max().unwrap();
    assert!(ahead > Duration::ZERO && ahead <= rtt / 4, "{ahead:?} of {rtt:?}");
}

/// RFC 9002 §7.7: what is handed out early is no larger a burst for it.
#[test]
fn departures_keep_to_the_rate() {
    let (mut pair, handle) = connected(true);
    pair.client_sends(handle, &[7; 1_000_000]);
    // The window, and the rate with it, grows meanwhile; the last rate is the highest.
    pair.settle();
    let path = pair.c(handle).stats().path;
    assert_eq!(pair.c(handle).stats().counters.lost_packets, 0);
    let burst = (path.pacing_rate / 500).max(10 * u64::from(path.mtu));
    for first in 0..pair.departures.len() {
        let (start, mut bytes) = (left(&pair.departures[first]), 0);
        for entry in pair.departures[first..].iter().take(400) {
            bytes += entry.2 as u64;
            let time = (left(entry) - start).as_secs_f64();
            let allowed = burst as f64 + path.pacing_rate as f64 * time;
            assert!(
                bytes as f64 <= allowed + 1.0,
                "{bytes} bytes in {time} s from {start:?}: {allowed} are allowed"
            );
        }
    }
    let mut times: Vec<_> = pair.departures.iter().map(left).collect();
    times.dedup();
    assert!(times.len() > 50, "they leave at {} times", times.len());
}

/// RFC 9002 §5.1: a sample is "the time elapsed since the largest acknowledged packet was sent". Sent is what left.
#[test]
fn round_trips_count_from_the_departure() {
    let (mut pair, handle) = connected(true);
    pair.client_sends(handle, &[7; 1_000_000]);
    pair.run(Duration::from_millis(60));
    let path = pair.c(handle).stats().path;
    let way = Duration::from_millis(20);
    assert!(pair.departures.iter().any(|(_, departure, _)| departure.is_some()));
    assert_eq!(path.min_rtt, way);
    assert!(path.rtt < way + Duration::from_millis(1), "{:?}", path.rtt);
}

#[test]
fn an_acknowledgement_does_not_overtake_what_waits() {
    let (mut pair, handle) = connected(true);
    let id = pair.client_sends(handle, &[7; 1_000_000]);
    pair.settle();
    // The server answers all the time, so that the client owes acknowledgements while it sends.
    let server = pair.accepted[0];
    let up = pair.s(server).open(quic_proto::id::Dir::Uni).unwrap();
    pair.s(server).send_stream(up).unwrap().write(&[8; 200_000]).unwrap();
    pair.client_sends(handle, &[7; 500_000]);
    pair.settle();
    assert!(pair.departures.is_sorted_by_key(left));
    assert_eq!(
        (pair.c(handle).stats().counters.lost_packets, pair.s(server).stats().counters.lost_packets),
        (0, 0),
        "{id:?}"
    );
}

/// A close leaves after what was handed out before: it would end the connection for it.
#[test]
fn a_close_does_not_overtake() {
    let (mut pair, handle) = connected(true);
    pair.client_sends(handle, &[7; 300_000]);
    pair.run(Duration::from_millis(45));
    let last = pair.departures.last().map(left).unwrap();
    assert!(last > pair.now, "something waits to leave");
    let now = pair.now;
    pair.c(handle).close(now, AppError::from(0), b"");
    pair.poll();
    assert!(left(pair.departures.last().unwrap()) >= last);
    pair.settle();
    assert!(pair.server_closed().is_some());
}

/// Something was acknowledged before it was to leave: the system does not hold back, and does not get another chance. The round trip is
/// not sampled, as it would be none.
#[test]
fn a_socket_that_does_not_hold_back_is_found_out() {
    let (mut pair, handle) = connected(true);
    pair.holds_back = false;
    pair.delay = Duration::from_millis(1);
    pair.client_sends(handle, &[7; 1_000_000]);
    pair.settle();
    assert!(pair.departures.iter().any(|(_, departure, _)| departure.is_some()), "it was tried");
    assert!(pair.c(handle).stats().path.min_rtt > Duration::ZERO);
    pair.departures.clear();
    pair.client_sends(handle, &[7; 300_000]);
    pair.settle();
    assert!(
        pair.departures.len() > 200 && pair.departures.iter().all(|(_, departure, _)| departure.is_none())
    );
    assert_eq!(pair.client_closed(), None);
}
