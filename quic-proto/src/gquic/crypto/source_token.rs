//! Source address tokens (STK): a client shows that it receives what is sent to its address.
//!
//! Opaque for the client. There are two kinds, both sealed by a [`TokenKey`]. One is for later connections: it is bound to the IP address
//! and not to the port, and accepted for 24 hours as quic-go does. The other is for the answer to a rejection of which the server kept
//! nothing: it is bound to the connection and the port, holds for as long as a handshake may last, and remembers for the server where in
//! its stream that rejection ended. No state, no timers.

use crate::crypto::token::{AddressToken, RetryToken, TokenKey, TokenLifetimes, ValidToken};
use crate::id::Cid;
use crate::rng::Rng;
use crate::time::{Duration, UnixTime};
use std::net::{IpAddr, SocketAddr};

/// How long a token for later connections is accepted.
pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a token for an answer is accepted: longer than any handshake.
pub const ANSWER_LIFETIME: Duration = Duration::from_secs(60);

/// Makes a token for later connections of a client at `ip`.
pub fn seal(key: &TokenKey, rng: &mut dyn Rng, ip: IpAddr, now: UnixTime) -> Vec<u8> {
    key.seal_address(rng, &AddressToken { ip, issued: now })
}

/// Makes a token for the answer of the client at `address` to a rejection in the connection `cid` that ends at the offset `end`. Its length
/// does not depend on that.
pub fn seal_answer(
    key: &TokenKey,
    rng: &mut dyn Rng,
    address: SocketAddr,
    now: UnixTime,
    cid: Cid,
    end: u64,
) -> Vec<u8> {
    let end = Cid::new(&end.to_be_bytes()).expect("invariant: 8 bytes are not more than 20");
    key.seal_retry(rng, &RetryToken { original_dcid: cid, retry_scid: end, address, issued: now })
}

/// What a token proves that came from `remote` in a hello of the connection `cid`: that the client receives there, and where the server's
/// stream goes on, which is its start with a token of an earlier connection. `None` if it proves nothing.
pub fn check(key: &TokenKey, token: &[u8], remote: SocketAddr, now: UnixTime, cid: Cid) -> Option<u64> {
    let lifetimes = TokenLifetimes { retry: ANSWER_LIFETIME, address: LIFETIME };
    match key.open(token, remote, now, &lifetimes).ok()? {
        ValidToken::New { .. } => Some(0),
        ValidToken::Retry { original_dcid, retry_scid } if original_dcid == cid => {
            retry_scid.first_chunk().map(|end| u64::from_be_bytes(*end))
        }
        ValidToken::Retry { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    const NOW: UnixTime = UnixTime::from_secs(1000);

    fn setting() -> (TokenKey, SeededRng, SocketAddr, Cid) {
        let remote = "192.0.2.1:443".parse().unwrap();
        (TokenKey::new(&[7; 32]), SeededRng::from_u64(1), remote, Cid::new(&[1; 8]).unwrap())
    }

    fn after(seconds: u64) -> UnixTime {
        UnixTime::from_secs(NOW.as_secs() + seconds)
    }

    #[test]
    fn tokens_prove_an_address_for_a_day() {
        let (key, mut rng, remote, cid) = setting();
        let token = seal(&key, &mut rng, remote.ip(), NOW);
        assert_eq!(check(&key, &token, remote, NOW, cid), Some(0));
        let other_port = SocketAddr::new(remote.ip(), 5);
        assert_eq!(check(&key, &token, other_port, after(86400), Cid::EMPTY), Some(0));
        assert_eq!(check(&key, &token, remote, after(86401), cid), None);
        assert_eq!(check(&key, &token, "192.0.2.2:443".parse().unwrap(), NOW, cid), None);
        assert_eq!(check(&TokenKey::new(&[8; 32]), &token, remote, NOW, cid), None);
        for len in 0..token.len() {
            assert_eq!(check(&key, &token[..len], remote, NOW, cid), None);
        }
        assert_ne!(token, seal(&key, &mut rng, remote.ip(), NOW), "each is another");
    }

    #[test]
    fn answers_belong_to_their_connection() {
        let (key, mut rng, remote, cid) = setting();
        let mut token = |end| seal_answer(&key, &mut rng, remote, NOW, cid, end);
        assert_eq!(token(0).len(), token(u64::MAX).len());
        let token = token(233);
        assert_eq!(check(&key, &token, remote, after(60), cid), Some(233));
        assert_eq!(check(&key, &token, remote, after(61), cid), None);
        assert_eq!(check(&key, &token, remote, NOW, Cid::new(&[2; 8]).unwrap()), None);
        assert_eq!(check(&key, &token, SocketAddr::new(remote.ip(), 5), NOW, cid), None);
    }
}
