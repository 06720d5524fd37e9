//! Source address tokens (STK): a client shows that it receives what is sent to its address.
//!
//! Opaque for the client, sealed by a [`TokenKey`] whose keys rotate with the days. A token is bound to the IP address and not to the port,
//! and accepted for 24 hours as quic-go does. One that a rejection brings of which the server kept nothing remembers for the server, as long
//! as that connection goes on, where in its stream the rejection ended, and tells by its age how long the answer took. No state, no timers.

use crate::crypto::token::{AddressToken, Memo, TokenKey, TokenLifetimes, ValidToken};
use crate::id::Cid;
use crate::invariants::Version;
use crate::rng::Rng;
use crate::time::{Duration, UnixTime};
use std::net::{IpAddr, SocketAddr};

/// How long a token is accepted.
pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The key of a server's tokens. Servers that share the secret accept each other's.
pub fn key(secret: &[u8; 32]) -> TokenKey {
    TokenKey::new(secret, TokenLifetimes { retry: Duration::ZERO, address: LIFETIME })
}

/// Makes a token for a client at `ip`.
pub fn seal(key: &TokenKey, rng: &mut dyn Rng, ip: IpAddr, now: UnixTime) -> Vec<u8> {
    key.seal_address(rng, &AddressToken { ip, issued: now, version: Version::Q044, memo: None })
}

/// Makes a token for a client at `ip` that goes into a rejection in the connection `cid` that ends at the offset `end`. Its length does not
/// depend on that.
pub fn seal_answer(
    key: &TokenKey,
    rng: &mut dyn Rng,
    ip: IpAddr,
    now: UnixTime,
    cid: Cid,
    end: u64,
) -> Vec<u8> {
    let memo = cid.first_chunk().map(|cid| memo(*cid, end));
    key.seal_address(rng, &AddressToken { ip, issued: now, version: Version::Q044, memo })
}

/// What a token proves: that the client receives at its address, and then this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// It was there in an earlier connection.
    Known,
    /// It answers a rejection in this connection.
    Answer {
        /// Where the rejection ended in the server's stream.
        end: u64,
        /// How long ago that was.
        after: Duration,
    },
}

/// What a token proves that came from `remote` in a hello of the connection `cid`; `None` if nothing.
pub fn check(key: &TokenKey, token: &[u8], remote: SocketAddr, now: UnixTime, cid: Cid) -> Option<Proof> {
    let Ok(ValidToken::New { memo, age, .. }) = key.open(token, remote, now, Version::Q044) else {
        return None;
    };
    let end = memo.and_then(|memo| end_in(&memo, cid));
    Some(end.map_or(Proof::Known, |end| Proof::Answer { end, after: age }))
}

/// The connection, and the end of its rejection.
fn memo(cid: [u8; 8], end: u64) -> Memo {
    let mut memo = [0; 16];
    let (of, place) = memo.split_at_mut(8);
    of.copy_from_slice(&cid);
    place.copy_from_slice(&end.to_be_bytes());
    memo
}

/// The end in a [`memo`], if it is about this connection.
fn end_in(memo: &Memo, cid: Cid) -> Option<u64> {
    let (of, end) = memo.split_first_chunk::<8>()?;
    end.first_chunk().filter(|_| of[..] == *cid).map(|end| u64::from_be_bytes(*end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    const NOW: UnixTime = UnixTime::from_secs(1000);

    fn setting() -> (TokenKey, SeededRng, SocketAddr, Cid) {
        let remote = "192.0.2.1:443".parse().unwrap();
        (key(&[7; 32]), SeededRng::from_u64(1), remote, Cid::new(&[1; 8]).unwrap())
    }

    fn after(seconds: u64) -> UnixTime {
        UnixTime::from_secs(NOW.as_secs() + seconds)
    }

    #[test]
    fn tokens_prove_an_address_for_a_day() {
        let (key, mut rng, remote, cid) = setting();
        let token = seal(&key, &mut rng, remote.ip(), NOW);
        assert_eq!(check(&key, &token, remote, NOW, cid), Some(Proof::Known));
        let other_port = SocketAddr::new(remote.ip(), 5);
        assert_eq!(check(&key, &token, other_port, after(86400), Cid::EMPTY), Some(Proof::Known));
        assert_eq!(check(&key, &token, remote, after(86401), cid), None);
        assert_eq!(check(&key, &token, "192.0.2.2:443".parse().unwrap(), NOW, cid), None);
        assert_eq!(check(&super::key(&[8; 32]), &token, remote, NOW, cid), None);
        for len in 0..token.len() {
            assert_eq!(check(&key, &token[..len], remote, NOW, cid), None);
        }
        assert_ne!(token, seal(&key, &mut rng, remote.ip(), NOW), "each is another");
    }

    #[test]
    fn answers_belong_to_their_connection() {
        let (key, mut rng, remote, cid) = setting();
        let mut token = |end| seal_answer(&key, &mut rng, remote.ip(), NOW, cid, end);
        assert_eq!(token(0).len(), token(u64::MAX).len());
        let token = token(233);
        let answer = Proof::Answer { end: 233, after: Duration::from_micros(60_000_007) };
        let now = UnixTime::from_micros(after(60).as_micros() + 7);
        assert_eq!(check(&key, &token, remote, now, cid), Some(answer));
        let other = Cid::new(&[2; 8]).unwrap();
        assert_eq!(
            check(&key, &token, remote, after(86400), other),
            Some(Proof::Known),
            "as good as any for later"
        );
        assert_eq!(check(&key, &token, remote, after(86401), cid), None);
        assert_eq!(check(&key, &token, "192.0.2.2:443".parse().unwrap(), NOW, cid), None);
    }
}
