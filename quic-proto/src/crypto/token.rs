//! Tokens that a server gives to clients, so that they can show that they own their address (RFC 9000 §8.1), and stateless reset
//! tokens (RFC 9000 §10.3).
//!
//! A token holds what the server would otherwise have to remember, sealed under a secret that may be shared by servers behind one
//! address. Each is sealed with a key of its own, derived from the secret, the epoch and 16 random bytes, so that any number of them can
//! be given out.
//!
//! Keys rotate with the epoch, the number of the token lifetimes that have passed since 1970: tokens of this epoch and of the one before
//! are opened, which is all that have not expired, and what is older there is no key for. Epochs follow from the time and keys from the
//! secret, rather than from chance, so that servers which share secret and lifetimes agree on them without a word, and a restart loses
//! nothing. (A secret that may have leaked must be replaced: by other settings for the endpoint.)
//!
//! A token belongs to a version of QUIC, and opens for connections of that one only.
//!
//! Layout: the epoch modulo 256, 16 random bytes, the sealed content and its tag. Content: kind, time of issue in microseconds (8 bytes), address
//! family and address; in a token for Retry the port and two connection ids with their lengths; in one for a later connection the memo, if there
//! is any.
//!
//! No clock is read: the caller says what time it is. Timers: none.

use super::ring::OutputLen;
use crate::id::{Cid, ResetToken};
use crate::invariants::Version;
use crate::rng::Rng;
use crate::time::{Duration, UnixTime};
use ::ring::{aead, hkdf, hmac};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Seals and opens address tokens.
pub struct TokenKey {
    secret: hkdf::Prk,
    pub(crate) lifetimes: TokenLifetimes,
}

/// What a Retry token holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryToken {
    /// Destination Connection ID of the client's first Initial packet.
    pub original_dcid: Cid,
    /// The connection id that the Retry packet told the client to use.
    pub retry_scid: Cid,
    /// Where the client's first packet came from.
    pub address: SocketAddr,
    /// When the token was made.
    pub issued: UnixTime,
    /// The version of the connection that it is for.
    pub version: Version,
}

/// What a token for a later connection holds: of a `NEW_TOKEN` frame, or of a protocol of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressToken {
    /// The client's address. Its port is left out: it will be another one next time.
    pub ip: IpAddr,
    /// When the token was made.
    pub issued: UnixTime,
    /// The version of the connection on which it is given.
    pub version: Version,
    /// What the server wants to be reminded of.
    pub memo: Option<Memo>,
}

/// What a server leaves itself in a token.
pub type Memo = [u8; 16];

/// How long tokens are accepted after they were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenLifetimes {
    /// Of Retry tokens: a round trip or a few (RFC 9000 §8.1.3).
    pub retry: Duration,
    /// Of tokens for later connections.
    pub address: Duration,
}

/// What a token that holds has proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValidToken {
    /// The client answers a Retry packet.
    Retry {
        /// Destination Connection ID of the client's first Initial packet.
        original_dcid: Cid,
        /// The connection id that the Retry packet told the client to use.
        retry_scid: Cid,
    },
    /// The client has had this address before.
    New {
        /// Different for each token: whoever wants tokens to work once only (RFC 9000 §8.1.4) remembers these.
        unique: [u8; SALT_LEN],
        /// How long ago it was made.
        age: Duration,
        /// As it was put in.
        memo: Option<Memo>,
    },
}

/// A token that proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidToken {
    /// We did not make it, or with another secret, or for another version.
    #[error("the token was not made with our secret, or not for this version")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired {
        /// Whether it is from a Retry packet.
        retry: bool,
    },
    /// It was given to another address.
    #[error("the token belongs to another address")]
    OtherAddress {
        /// Whether it is from a Retry packet.
        retry: bool,
    },
}

impl InvalidToken {
    /// Whether the connection must be refused with `INVALID_TOKEN`; if not, go on as if no token had come.
    ///
    /// RFC 9000 §8.1.2: "If a server receives a client Initial that contains an invalid Retry token but is otherwise valid, it knows
    /// the client will not accept another Retry token." §8.1.3: with any other invalid token, "the server SHOULD proceed as if the
    /// client did not have a validated address".
    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::Expired { retry: true } | Self::OtherAddress { retry: true })
    }
}

/// Random bytes in front of each token.
const SALT_LEN: usize = 16;
/// The epoch and those bytes.
const HEAD_LEN: usize = 1 + SALT_LEN;
/// Longer than any token that we make.
const MAX_TOKEN_LEN: usize = 128;
// RFC 9000 §8.1.1: tokens "MUST be constructed in a way that allows the server to identify how it was provided to a client".
const KIND_RETRY: u8 = 1;
const KIND_ADDRESS: u8 = 2;

impl TokenKey {
    /// From 32 secret bytes, which may also serve [`ResetKey::new`]. Keys rotate with the longer of the lifetimes, so that these are part of
    /// what servers share that accept each other's tokens.
    pub fn new(secret: &[u8; 32], lifetimes: TokenLifetimes) -> Self {
        Self { secret: hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret), lifetimes }
    }

    /// Makes the token for a Retry packet; at most 128 bytes.
    pub fn seal_retry(&self, rng: &mut dyn Rng, token: &RetryToken) -> Vec<u8> {
        let mut content = start(KIND_RETRY);
        content.extend_from_slice(&token.issued.as_micros().to_be_bytes());
        put_ip(&mut content, token.address.ip());
        content.extend_from_slice(&token.address.port().to_be_bytes());
        for cid in [&token.original_dcid, &token.retry_scid] {
            content.push(cid.len() as u8);
            content.extend_from_slice(cid);
        }
        self.seal(rng, token.issued, token.version, content)
    }

    /// Makes a token for a later connection; at most 128 bytes.
    pub fn seal_address(&self, rng: &mut dyn Rng, token: &AddressToken) -> Vec<u8> {
        let mut content = start(KIND_ADDRESS);
        content.extend_from_slice(&token.issued.as_micros().to_be_bytes());
        put_ip(&mut content, token.ip);
        content.extend(token.memo.iter().flatten());
        self.seal(rng, token.issued, token.version, content)
    }

    /// Opens a token that came from `remote` at `now`, on a connection of `version`.
    ///
    /// # Errors
    /// [`InvalidToken`] says what is wrong with it and whether that is fatal to the connection.
    pub fn open(
        &self,
        token: &[u8],
        remote: SocketAddr,
        now: UnixTime,
        version: Version,
    ) -> Result<ValidToken, InvalidToken> {
        let ([named], rest) = token.split_first_chunk().ok_or(InvalidToken::Unknown)?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_LEN>().ok_or(InvalidToken::Unknown)?;
        let epoch = self.accepted_epoch(*named, now).ok_or(InvalidToken::Unknown)?;
        let mut buffer = [0; MAX_TOKEN_LEN];
        let buffer = buffer.get_mut(..sealed.len()).ok_or(InvalidToken::Unknown)?;
        buffer.copy_from_slice(sealed);
        let (key, nonce) = self.derive(epoch, version, salt);
        let content =
            key.open_in_place(nonce, aead::Aad::empty(), buffer).map_err(|_| InvalidToken::Unknown)?;
        let content = Content::parse(content).ok_or(InvalidToken::Unknown)?;

        let (retry, lifetime) = match content.retry {
            Some(_) => (true, self.lifetimes.retry),
            None => (false, self.lifetimes.address),
        };
        // Clocks of servers that share the secret may differ a little: a token from the future has age zero.
        let age = now.saturating_duration_since(content.issued);
        if age > lifetime {
            return Err(InvalidToken::Expired { retry });
        }
        let same_port = content.retry.as_ref().is_none_or(|retry| retry.port == remote.port());
        if content.ip != remote.ip().to_canonical() || !same_port {
            return Err(InvalidToken::OtherAddress { retry });
        }
        Ok(match content.retry {
            Some(RetryContent { original_dcid, retry_scid, .. }) => {
                ValidToken::Retry { original_dcid, retry_scid }
            }
            None => ValidToken::New { unique: *salt, age, memo: content.memo },
        })
    }

    /// The epoch of a time. An epoch is as long as a token lives.
    fn epoch(&self, time: UnixTime) -> u64 {
        let length = self.lifetimes.retry.max(self.lifetimes.address).as_secs();
        time.as_secs() / length.max(1)
    }

    /// The epoch that a token names, if its tokens are accepted at `now`: this one or the one before, or the next one of a server whose
    /// clock is a little ahead.
    fn accepted_epoch(&self, named: u8, now: UnixTime) -> Option<u64> {
        let current = self.epoch(now);
        let around = [Some(current), current.checked_sub(1), current.checked_add(1)];
        around.into_iter().flatten().find(|epoch| *epoch as u8 == named)
    }

    /// Makes a token of what was [started](start) and has its content.
    fn seal(&self, rng: &mut dyn Rng, issued: UnixTime, version: Version, mut token: Vec<u8>) -> Vec<u8> {
        let epoch = self.epoch(issued);
        let mut salt = [0; SALT_LEN];
        rng.fill(&mut salt);
        let (key, nonce) = self.derive(epoch, version, &salt);
        let tag = key
            .seal_in_place_separate_tag(nonce, aead::Aad::empty(), &mut token[HEAD_LEN..])
            .expect("invariant: a token is shorter than the AEAD's limit of 64 GiB");
        token[0] = epoch as u8;
        token[1..HEAD_LEN].copy_from_slice(&salt);
        token.extend_from_slice(tag.as_ref());
        debug_assert!(token.len() <= MAX_TOKEN_LEN);
        token
    }

    /// One key for each token: the nonce needs not be random then, and no number of tokens wears the secret out.
    ///
    /// And for each version. RFC 9369 §5: "Servers MUST validate the originating version of any session ticket or token and not accept one
    /// issued from a different version."
    fn derive(
        &self,
        epoch: u64,
        Version(version): Version,
        salt: &[u8; SALT_LEN],
    ) -> (aead::LessSafeKey, aead::Nonce) {
        let mut okm = [0; 32 + aead::NONCE_LEN];
        let info = [b"quic address token", &epoch.to_be_bytes()[..], &version.to_be_bytes(), salt];
        expand(&self.secret, &info, &mut okm);
        let (key, nonce) = okm.split_at(32);
        let key =
            aead::UnboundKey::new(&aead::AES_256_GCM, key).expect("invariant: AES-256 keys have 32 bytes");
        let nonce = aead::Nonce::try_assume_unique_for_key(nonce).expect("invariant: nonces have 12 bytes");
        (aead::LessSafeKey::new(key), nonce)
    }
}

/// Derives stateless reset tokens from connection ids, so that they can be given after a restart (RFC 9000 §10.3.2).
#[derive(Clone)]
pub struct ResetKey {
    /// Shared: every connection has one.
    key: Arc<hmac::Key>,
}

impl ResetKey {
    /// From 32 secret bytes, which may also serve [`TokenKey::new`].
    pub fn new(secret: &[u8; 32]) -> Self {
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
        let mut key = [0; 32];
        expand(&secret, &[b"quic stateless reset"], &mut key);
        Self { key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key)) }
    }

    /// The token that belongs to a connection id of ours.
    pub fn token(&self, cid: &[u8]) -> ResetToken {
        let tag = hmac::sign(&self.key, cid);
        let token = tag.as_ref().first_chunk().copied();
        ResetToken(token.expect("invariant: HMAC-SHA256 has 32 bytes"))
    }
}

fn expand(secret: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) {
    secret
        .expand(info, OutputLen(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("invariant: no key is longer than 255 hashes");
}

/// A token of which only the kind is there yet, in the place where it stays: one piece of memory is all that it takes.
fn start(kind: u8) -> Vec<u8> {
    let mut token = Vec::with_capacity(MAX_TOKEN_LEN);
    token.resize(HEAD_LEN, 0);
    token.push(kind);
    token
}

/// An IPv4 address is the same client whether the socket shows it as such or mapped into IPv6.
fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

/// The content of a token of either kind.
struct Content {
    issued: UnixTime,
    ip: IpAddr,
    retry: Option<RetryContent>,
    memo: Option<Memo>,
}

struct RetryContent {
    port: u16,
    original_dcid: Cid,
    retry_scid: Cid,
}

impl Content {
    fn parse(mut rest: &[u8]) -> Option<Self> {
        let rest = &mut rest;
        let [kind] = *take(rest)?;
        let issued = UnixTime::from_micros(u64::from_be_bytes(*take(rest)?));
        let ip = match take(rest)? {
            [4] => IpAddr::from(*take::<4>(rest)?),
            [6] => IpAddr::from(*take::<16>(rest)?),
            _ => return None,
        };
        let retry = match kind {
            KIND_RETRY => Some(RetryContent {
                port: u16::from_be_bytes(*take(rest)?),
                original_dcid: take_cid(rest)?,
                retry_scid: take_cid(rest)?,
            }),
            KIND_ADDRESS => None,
            _ => return None,
        };
        let memo = if rest.is_empty() { None } else { Some(*take(rest)?) };
        let sound = rest.is_empty() && (retry.is_none() || memo.is_none());
        sound.then_some(Self { issued, ip, retry, memo })
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(taken)
}

fn take_cid(rest: &mut &[u8]) -> Option<Cid> {
    let [len] = *take(rest)?;
    let (cid, tail) = rest.split_at_checked(usize::from(len))?;
    *rest = tail;
    Cid::new(cid).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;
    use proptest::prelude::*;

    const LIFETIMES: TokenLifetimes =
        TokenLifetimes { retry: Duration::from_secs(15), address: Duration::from_secs(86_400) };

    fn retry() -> RetryToken {
        RetryToken {
            original_dcid: Cid::new(&[1; 20]).unwrap(),
            retry_scid: Cid::new(&[2; 20]).unwrap(),
            address: "[2001:db8::1]:4433".parse().unwrap(),
            issued: UnixTime::from_secs(1_000),
            version: Version::V1,
        }
    }

    #[test]
    fn retry_tokens_bind_the_address_and_expire() {
        let key = TokenKey::new(&[3; 32], LIFETIMES);
        let token = key.seal_retry(&mut SeededRng::from_u64(1), &retry());
        assert!(token.len() <= MAX_TOKEN_LEN);
        let open = |remote: &str, now| {
            key.open(&token, remote.parse().unwrap(), UnixTime::from_secs(now), Version::V1)
        };
        let RetryToken { original_dcid, retry_scid, .. } = retry();
        let valid = Ok(ValidToken::Retry { original_dcid, retry_scid });
        assert_eq!(open("[2001:db8::1]:4433", 1_000), valid);
        assert_eq!(open("[2001:db8::1]:4433", 1_015), valid);
        assert_eq!(open("[2001:db8::1]:4433", 990), valid, "a server whose clock is behind");
        let expired = open("[2001:db8::1]:4433", 1_016).unwrap_err();
        assert_eq!(expired, InvalidToken::Expired { retry: true });
        for other in ["[2001:db8::1]:4434", "[2001:db8::2]:4433", "192.0.2.1:4433"] {
            let error = open(other, 1_000).unwrap_err();
            assert_eq!(error, InvalidToken::OtherAddress { retry: true });
            assert!(error.is_fatal() && expired.is_fatal());
        }
    }

    #[test]
    fn address_tokens_bind_the_ip_only_and_differ() {
        let key = TokenKey::new(&[3; 32], LIFETIMES);
        let mut rng = SeededRng::from_u64(1);
        let (ip, version) = ("192.0.2.1".parse().unwrap(), Version::V1);
        let content = AddressToken { ip, issued: UnixTime::from_secs(5), version, memo: None };
        let tokens = [key.seal_address(&mut rng, &content), key.seal_address(&mut rng, &content)];
        let open = |token: &[u8], remote: &str, now| {
            key.open(token, remote.parse().unwrap(), UnixTime::from_secs(now), Version::V1)
        };
        let unique = tokens.each_ref().map(|token| match open(token, "192.0.2.1:1", 100) {
            Ok(ValidToken::New { unique, memo: None, .. }) => unique,
            other => panic!("{other:?}"),
        });
        assert_ne!(unique[0], unique[1]);
        // A socket for both families shows the same client so.
        assert!(open(&tokens[0], "[::ffff:192.0.2.1]:9", 100).is_ok());
        let error = open(&tokens[0], "192.0.2.2:1", 100).unwrap_err();
        assert_eq!(error, InvalidToken::OtherAddress { retry: false });
        assert!(!error.is_fatal(), "RFC 9000 §8.1.3: as if there were no token");
        let error = open(&tokens[0], "192.0.2.1:1", 86_406).unwrap_err();
        assert_eq!(error, InvalidToken::Expired { retry: false });
    }

    #[test]
    fn other_secrets_and_changed_tokens_prove_nothing() {
        let token = TokenKey::new(&[3; 32], LIFETIMES).seal_retry(&mut SeededRng::from_u64(1), &retry());
        let open = |key: &TokenKey, token: &[u8]| {
            key.open(token, retry().address, UnixTime::from_secs(1_000), Version::V1)
        };
        assert_eq!(open(&TokenKey::new(&[4; 32], LIFETIMES), &token), Err(InvalidToken::Unknown));
        let key = TokenKey::new(&[3; 32], LIFETIMES);
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 0x10;
            assert_eq!(open(&key, &changed), Err(InvalidToken::Unknown));
            assert_eq!(open(&key, &token[..at]), Err(InvalidToken::Unknown));
        }
    }

    #[test]
    fn tokens_of_another_version_prove_nothing() {
        // RFC 9369 §5: servers must "not accept one issued from a different version".
        let key = TokenKey::new(&[3; 32], LIFETIMES);
        let (now, address) = (UnixTime::from_secs(1_000), retry().address);
        for (version, other) in [(Version::V1, Version::V2), (Version::V2, Version::V1)] {
            let mut rng = SeededRng::from_u64(1);
            let retry = key.seal_retry(&mut rng, &RetryToken { version, ..retry() });
            let content = AddressToken { ip: address.ip(), issued: now, version, memo: None };
            for token in [retry, key.seal_address(&mut rng, &content)] {
                assert!(key.open(&token, address, now, version).is_ok());
                assert_eq!(key.open(&token, address, now, other), Err(InvalidToken::Unknown));
            }
        }
    }

    #[test]
    fn keys_rotate_with_the_lifetime() {
        const DAY: u64 = 86_400;
        let key = TokenKey::new(&[3; 32], LIFETIMES);
        let (ip, remote) = ("192.0.2.1".parse().unwrap(), "192.0.2.1:1".parse().unwrap());
        let mut rng = SeededRng::from_u64(1);
        let memo = Some(*b"as it was put in");
        let version = Version::V2;
        let mut sealed = |at| {
            let issued = UnixTime::from_secs(at);
            key.seal_address(&mut rng, &AddressToken { ip, issued, version, memo })
        };
        // From the last second of one epoch, and the first of the next.
        let (old, new) = (sealed(10 * DAY - 1), sealed(10 * DAY));
        let open = |token: &[u8], at| key.open(token, remote, UnixTime::from_secs(at), version);
        let opened = open(&old, 11 * DAY - 1);
        let whole = matches!(opened, Ok(ValidToken::New { memo: reminder, .. }) if reminder == memo);
        assert!(whole, "a whole life under the key before the present one: {opened:?}");
        assert_eq!(open(&old, 11 * DAY), Err(InvalidToken::Unknown), "two rotations ago");
        assert_eq!(open(&new, 11 * DAY + 5), Err(InvalidToken::Expired { retry: false }));
        assert!(open(&new, 10 * DAY - 60).is_ok(), "from a server whose clock is ahead");
        assert_eq!(open(&new, 9 * DAY - 60), Err(InvalidToken::Unknown));
        // Another server that shares the secret, and has just started.
        let other = TokenKey::new(&[3; 32], LIFETIMES);
        assert!(other.open(&old, remote, UnixTime::from_secs(10 * DAY), version).is_ok());
        // The epoch that a token names is not just a label: with another it does not open.
        let renamed = [&new[..1], &old[1..]].concat();
        assert_eq!(open(&renamed, 10 * DAY), Err(InvalidToken::Unknown));
        assert_eq!(open(&[], 0), Err(InvalidToken::Unknown));
    }

    #[test]
    fn reset_tokens_repeat_for_a_secret_and_differ_for_others() {
        let key = ResetKey::new(&[1; 32]);
        assert_eq!(key.token(&[1, 2, 3]), ResetKey::new(&[1; 32]).token(&[1, 2, 3]));
        assert_ne!(key.token(&[1, 2, 3]), key.token(&[1, 2, 4]));
        assert_ne!(key.token(&[1, 2, 3]), ResetKey::new(&[2; 32]).token(&[1, 2, 3]));
    }

    proptest! {
        #[test]
        fn junk_is_never_valid(token in prop::collection::vec(any::<u8>(), 0..300)) {
            let remote = retry().address;
            let key = TokenKey::new(&[3; 32], LIFETIMES);
            let opened = key.open(&token, remote, UnixTime::from_secs(0), Version::V1);
            prop_assert_eq!(opened, Err(InvalidToken::Unknown));
        }

        #[test]
        fn parsing_never_panics(content in prop::collection::vec(any::<u8>(), 0..120), kind in 0u8..4, family in 0u8..8) {
            let mut content = content;
            if content.len() > 9 { content[0] = kind; content[9] = family; }
            let _ = Content::parse(&content);
        }
    }
}
