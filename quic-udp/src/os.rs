//! What an adapter takes from the operating system beside sockets: secrets and the wall clock.
//!
//! Owns nothing. Timers: none.

use quic_proto::time::UnixTime;
use std::io;
use std::time::SystemTime;

/// 32 bytes that nobody can guess.
///
/// # Errors
/// If the operating system gives no randomness.
pub fn secret() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// The time of day, to the second; 1970 if the clock says that it is earlier.
pub fn wall_clock() -> UnixTime {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_secs(since_1970.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ() {
        assert_ne!(secret().unwrap(), secret().unwrap());
    }
}
