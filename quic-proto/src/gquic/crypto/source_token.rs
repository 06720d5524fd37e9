//! Source address tokens (STK): a client shows that it has had its address.
//!
//! Opaque for the client. Ours are the address tokens of the endpoint's [`TokenKey`], bound to the IP address and not to the port, and
//! accepted for 24 hours as quic-go does. A Retry token is not taken for one. No state, no timers.

use crate::crypto::token::{AddressToken, InvalidToken, TokenKey, TokenLifetimes, ValidToken};
use crate::rng::Rng;
use crate::time::{Duration, UnixTime};
use std::net::{IpAddr, SocketAddr};

/// How long a token is accepted.
pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes a token for a client at `ip`.
pub fn seal(key: &TokenKey, rng: &mut dyn Rng, ip: IpAddr, now: UnixTime) -> Vec<u8> {
    key.seal_address(rng, &AddressToken { ip, issued: now })
}

/// Checks a token that came from `remote`.
///
/// # Errors
/// If it proves nothing: the hello that it came in is to be rejected, with a new token.
pub fn check(key: &TokenKey, token: &[u8], remote: SocketAddr, now: UnixTime) -> Result<(), InvalidToken> {
    let lifetimes = TokenLifetimes { retry: Duration::ZERO, address: LIFETIME };
    match key.open(token, remote, now, &lifetimes)? {
        ValidToken::New { .. } => Ok(()),
        ValidToken::Retry { .. } => Err(InvalidToken::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::token::RetryToken;
    use crate::id::Cid;
    use crate::rng::SeededRng;

    #[test]
    fn tokens_prove_an_address_for_a_day() {
        let (key, mut rng) = (TokenKey::new(&[7; 32]), SeededRng::from_u64(1));
        let remote: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let at = UnixTime::from_secs;
        let token = seal(&key, &mut rng, remote.ip(), at(1000));
        assert_eq!(check(&key, &token, remote, at(1000)), Ok(()));
        assert_eq!(check(&key, &token, SocketAddr::new(remote.ip(), 5), at(1000 + 86400)), Ok(()));
        let expired = check(&key, &token, remote, at(1000 + 86401));
        assert_eq!(expired, Err(InvalidToken::Expired { retry: false }));
        let other = check(&key, &token, "192.0.2.2:443".parse().unwrap(), at(1000));
        assert_eq!(other, Err(InvalidToken::OtherAddress { retry: false }));
        assert_eq!(check(&TokenKey::new(&[8; 32]), &token, remote, at(1000)), Err(InvalidToken::Unknown));
        for len in 0..token.len() {
            assert_eq!(check(&key, &token[..len], remote, at(1000)), Err(InvalidToken::Unknown));
        }
        assert_ne!(token, seal(&key, &mut rng, remote.ip(), at(1000)), "each is another");
    }

    #[test]
    fn retry_tokens_are_none() {
        let (key, mut rng) = (TokenKey::new(&[7; 32]), SeededRng::from_u64(1));
        let remote: SocketAddr = "192.0.2.1:443".parse().unwrap();
        let issued = UnixTime::from_secs(1000);
        let cid = Cid::EMPTY;
        let retry = RetryToken { original_dcid: cid, retry_scid: cid, address: remote, issued };
        let token = key.seal_retry(&mut rng, &retry);
        assert_eq!(check(&key, &token, remote, issued), Err(InvalidToken::Unknown));
    }
}
