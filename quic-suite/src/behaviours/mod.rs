//! The behaviours: how connections begin, what streams do, how it all ends.
//!
//! Owns nothing but the list of them, which [`suite!`](crate::suite) turns into tests. Timers: none.

pub mod connecting;
pub mod ending;
pub mod streaming;

use crate::Connection;
use quic_proto::error::{AppError, ConnectionError, TransportErrorCode};
use quic_proto::invariants::Version;

/// Makes a module of tests, `$name`, that run all behaviours on an adapter with a version.
#[macro_export]
macro_rules! suite {
    ($name:ident, $adapter:ty, $version:expr) => {
        mod $name {
            use super::*;
            $crate::suite!(@tests $adapter, $version, connecting:
                both_ends_agree, refused_clients_are_told, ignored_clients_ask_again, retry_proves_the_address,
                nobody_answers, some_addresses_are_no_addresses, cancelled_accepts_lose_nothing,
                many_connections_at_once);
            $crate::suite!(@tests $adapter, $version, streaming:
                streams_of_all_kinds, empty_streams_end, many_streams_wait_their_turn,
                a_hundred_streams_at_once, a_hundred_megabytes_each_way, much_goes_both_ways,
                departure_times_change_nothing, a_reader_that_does_not_read_stops_its_writer, cancelled_calls_do_nothing,
                resets_carry_codes,
                stops_carry_codes, delivery_is_told, ended_parts_stay_ended);
            $crate::suite!(@tests $adapter, $version, ending:
                a_close_delivers_what_was_finished, a_server_closes_too, an_abort_is_immediate, both_close_at_once,
                what_came_is_read_after_the_end, silence_ends_a_connection, keep_alives_prevent_that,
                an_endpoint_shuts_down, waiting_clients_are_refused_at_shutdown, waiters_hear_of_the_end);
        }
    };
    (@tests $adapter:ty, $version:expr, $part:ident: $($behaviour:ident),*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::behaviours::$part::$behaviour::<$adapter>($version);
            }
        )*
    };
}

/// What an end learns of the other's close. Codes are above 256, as Google QUIC has meanings of its own for those below.
fn closed_by_peer(code: u32, reason: &[u8]) -> ConnectionError {
    ConnectionError::PeerApplication { code: AppError::from(code), reason: reason.to_vec().into() }
}

/// Bytes that differ from place to place, so that any that are swapped, lost or repeated show.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let byte =
        |at: usize| ((at as u64 ^ u64::from(seed) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (0..len).map(byte).collect()
}

/// Whether a version has what RFC 9000 has and Google QUIC has not: streams of one direction, `STOP_SENDING`, ALPN.
fn is_ietf(version: Version) -> bool {
    version != Version::Q044
}

/// How many connections there can be at once between two endpoints: those of Google QUIC are told apart by the client's address.
fn parallel(version: Version, wanted: usize) -> usize {
    if is_ietf(version) { wanted } else { 1 }
}

/// What a client is told that is not wanted: `CONNECTION_REFUSED` (RFC 9000 §20.1), in Google QUIC `PEER_GOING_AWAY`.
fn assert_refused(version: Version, reason: Option<ConnectionError>) {
    match reason.expect("it is not wanted") {
        ConnectionError::PeerTransport(error) if is_ietf(version) => {
            assert_eq!(error.code, TransportErrorCode::CONNECTION_REFUSED);
        }
        ConnectionError::PeerApplication { code, .. } if !is_ietf(version) => {
            assert_eq!(code, AppError::from(0));
        }
        other => panic!("{other}"),
    }
}

/// A stream to write to: of one direction, if the version has such streams. Where there is a way back, dropping it would stop the stream.
async fn open_one_way<C: Connection>(connection: &C) -> Result<(C::Send, Option<C::Recv>), ConnectionError> {
    if is_ietf(connection.version()) {
        Ok((connection.open_uni().await?, None))
    } else {
        connection.open_bi().await.map(|(send, back)| (send, Some(back)))
    }
}

/// The next of such streams of the peer's.
async fn accept_one_way<C: Connection>(
    connection: &C,
) -> Result<(C::Recv, Option<C::Send>), ConnectionError> {
    if is_ietf(connection.version()) {
        Ok((connection.accept_uni().await?, None))
    } else {
        connection.accept_bi().await.map(|(back, recv)| (recv, Some(back)))
    }
}
