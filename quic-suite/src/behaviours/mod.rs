//! The behaviours: how connections begin, what streams do, how it all ends.
//!
//! Owns nothing but the list of them, which [`suite!`](crate::suite) turns into tests. Timers: none.

pub mod connecting;
mod differences;
pub mod ending;
pub mod streaming;

use quic_proto::error::{AppError, ConnectionError};

/// Makes a module of tests, `$name`, that run all behaviours of a version on an adapter.
#[macro_export]
macro_rules! suite {
    ($name:ident, $adapter:ty, V1) => {
        mod $name {
            use super::*;
            $crate::suite!(@common $adapter, V1);
            // Google QUIC has no Retry, and no two connections between the same ports.
            $crate::suite!(@tests $adapter, V1, connecting: retry_proves_the_address, many_connections_at_once);
        }
    };
    ($name:ident, $adapter:ty, Q044) => {
        mod $name {
            use super::*;
            $crate::suite!(@common $adapter, Q044);
        }
    };
    (@common $adapter:ty, $version:ident) => {
        $crate::suite!(@tests $adapter, $version, connecting:
            both_ends_agree, refused_clients_are_told, ignored_clients_ask_again, nobody_answers,
            some_addresses_are_no_addresses, cancelled_accepts_lose_nothing);
        $crate::suite!(@tests $adapter, $version, streaming:
            streams_of_all_kinds, empty_streams_end, many_streams_wait_their_turn, much_goes_both_ways,
            a_reader_that_does_not_read_stops_its_writer, cancelled_calls_do_nothing, resets_carry_codes,
            stops_carry_codes, delivery_is_told, ended_parts_stay_ended);
        $crate::suite!(@tests $adapter, $version, ending:
            a_close_delivers_what_was_finished, a_server_closes_too, an_abort_is_immediate, both_close_at_once,
            what_came_is_read_after_the_end, silence_ends_a_connection, keep_alives_prevent_that,
            an_endpoint_shuts_down, waiting_clients_are_refused_at_shutdown, waiters_hear_of_the_end);
    };
    (@tests $adapter:ty, $version:ident, $part:ident: $($behaviour:ident),*) => {
        $(
            #[test]
            fn $behaviour() {
                $crate::behaviours::$part::$behaviour::<$adapter>($crate::Version::$version);
            }
        )*
    };
}

/// What an end learns of the other's close.
fn closed_by_peer(code: u32, reason: &[u8]) -> ConnectionError {
    ConnectionError::PeerApplication { code: AppError::from(code), reason: reason.to_vec().into() }
}

/// Bytes that differ from place to place, so that any that are swapped, lost or repeated show.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    let byte =
        |at: usize| ((at as u64 ^ u64::from(seed) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    (0..len).map(byte).collect()
}
