//! Server configs (SCFG): the long-lived public key of a server, which a client may remember to start without a round trip.
//!
//! Owns their building, their reading, and the rotation at a server: one config is given out, the one before it is still accepted. The
//! bytes of a config enter signatures and keys, so that they are kept as they came and never written anew.
//!
//! Invariants: a parsed [`Scfg`] has an X25519 key and AES-128-GCM; a server keeps at most two configs. No timers: the server looks when
//! it needs a config whether the next one is due.

use super::x25519::{LEN as KEY_LEN, PrivateKey};
use crate::codec::{Reader, UnexpectedEnd};
use crate::gquic::wire::message::tags;
use crate::gquic::wire::{Builder, ErrorCode, Message, Tag, Violation};
use crate::rng::Rng;
use crate::time::{Duration, UnixTime};

/// Length of the name of a config.
pub const SCID_LEN: usize = 16;
/// Length of an orbit.
pub const ORBIT_LEN: usize = 8;
/// How long a config of ours is valid. An arbitrary choice: its private key is worth as much as 0-RTT data is.
pub const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A server config as it was on the wire, and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scfg {
    bytes: Vec<u8>,
    scid: [u8; SCID_LEN],
    orbit: [u8; ORBIT_LEN],
    expiry: UnixTime,
    public_key: [u8; KEY_LEN],
}

impl Scfg {
    /// Reads a config; whether it is expired is another question.
    ///
    /// # Errors
    /// If it is no config, lacks something, or has no key exchange or AEAD that we know.
    pub fn parse(bytes: &[u8]) -> Result<Self, Violation> {
        let message = Message::parse_whole(bytes)?;
        if message.tag() != tags::SCFG {
            let reason = format!("{} is no server config", message.tag());
            return Err(Violation::new(ErrorCode::INVALID_CRYPTO_MESSAGE_TYPE, reason));
        }
        let aeads = required(&message, tags::AEAD)?.as_chunks().0;
        let exchanges = required(&message, tags::KEXS)?.as_chunks().0;
        let has_aead = aeads.contains(&tags::AESG.to_bytes());
        let exchange = exchanges.iter().position(|exchange| *exchange == tags::C255.to_bytes());
        let Some(exchange) = exchange.filter(|_| has_aead) else {
            let reason = "the server config has no X25519 with AES-128-GCM";
            return Err(Violation::new(ErrorCode::CRYPTO_NO_SUPPORT, reason));
        };
        let public_key = public_key(required(&message, tags::PUBS)?, exchange)
            .map_err(|_| Violation::new(ErrorCode::INVALID_CRYPTO_MESSAGE_PARAMETER, "PUBS is not valid"))?;
        Ok(Self {
            bytes: bytes.to_vec(),
            scid: array(&message, tags::SCID)?,
            orbit: array(&message, tags::OBIT)?,
            expiry: UnixTime::from_secs(u64::from_le_bytes(array(&message, tags::EXPY)?)),
            public_key,
        })
    }

    /// The whole message, as it came.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its name.
    pub fn scid(&self) -> &[u8; SCID_LEN] {
        &self.scid
    }

    /// What client nonces for it must name.
    pub fn orbit(&self) -> &[u8; ORBIT_LEN] {
        &self.orbit
    }

    /// The server's X25519 key.
    pub fn public_key(&self) -> &[u8; KEY_LEN] {
        &self.public_key
    }

    /// Whether its time is over. quic-go's configs are valid for ever.
    pub fn is_expired(&self, now: UnixTime) -> bool {
        self.expiry < now
    }
}

fn required<'a>(message: &Message<'a>, tag: Tag) -> Result<&'a [u8], Violation> {
    message.get(tag).ok_or_else(|| {
        let reason = format!("the server config has no {tag}");
        Violation::new(ErrorCode::CRYPTO_MESSAGE_PARAMETER_NOT_FOUND, reason)
    })
}

fn array<const N: usize>(message: &Message<'_>, tag: Tag) -> Result<[u8; N], Violation> {
    required(message, tag)?.try_into().map_err(|_| {
        let reason = format!("{tag} of the server config has not {N} bytes");
        Violation::new(ErrorCode::INVALID_CRYPTO_MESSAGE_PARAMETER, reason)
    })
}

/// The key at the place `at` of a list in which each has its length (3 bytes, little-endian) in front.
fn public_key(list: &[u8], at: usize) -> Result<[u8; KEY_LEN], UnexpectedEnd> {
    let mut r = Reader::new(list);
    let mut next = || {
        let [a, b, c] = r.array()?;
        r.bytes(u32::from_le_bytes([a, b, c, 0]) as usize)
    };
    for _ in 0..at {
        next()?;
    }
    next()?.try_into().map_err(|_| UnexpectedEnd)
}

/// A config of our own, with its private key.
#[derive(Clone, Debug)]
pub struct OwnScfg {
    scfg: Scfg,
    key: PrivateKey,
}

impl OwnScfg {
    /// A new config with a random name and key.
    pub fn generate(rng: &mut dyn Rng, orbit: &[u8; ORBIT_LEN], expiry: UnixTime) -> Self {
        let mut scid = [0; SCID_LEN];
        rng.fill(&mut scid);
        Self::new(scid, PrivateKey::generate(rng), *orbit, expiry)
    }

    /// A config made of these.
    pub fn new(scid: [u8; SCID_LEN], key: PrivateKey, orbit: [u8; ORBIT_LEN], expiry: UnixTime) -> Self {
        let public_key = key.public();
        let mut keys = vec![KEY_LEN as u8, 0, 0];
        keys.extend(public_key);
        let mut message = Builder::new(tags::SCFG);
        message.put(tags::AEAD, tags::AESG).put(tags::SCID, scid).put(tags::PUBS, keys);
        message.put(tags::KEXS, tags::C255).put(tags::OBIT, orbit);
        message.put(tags::EXPY, expiry.as_secs().to_le_bytes());
        Self { scfg: Scfg { bytes: message.finish(), scid, orbit, expiry, public_key }, key }
    }

    /// The config as clients get it.
    pub fn scfg(&self) -> &Scfg {
        &self.scfg
    }

    /// Its private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }
}

/// The configs of a server: one to give out, and the one before it.
#[derive(Clone, Debug)]
pub struct ScfgRotation {
    orbit: [u8; ORBIT_LEN],
    current: OwnScfg,
    previous: Option<OwnScfg>,
    rotate_at: UnixTime,
}

impl ScfgRotation {
    /// Starts with a new config.
    pub fn new(rng: &mut dyn Rng, now: UnixTime) -> Self {
        let mut orbit = [0; ORBIT_LEN];
        rng.fill(&mut orbit);
        let current = OwnScfg::generate(rng, &orbit, after(now, LIFETIME));
        Self { orbit, current, previous: None, rotate_at: after(now, LIFETIME / 2) }
    }

    /// The config to give out; a new one in the middle of the life of the last one.
    pub fn current(&mut self, rng: &mut dyn Rng, now: UnixTime) -> &OwnScfg {
        if now >= self.rotate_at {
            let next = OwnScfg::generate(rng, &self.orbit, after(now, LIFETIME));
            self.previous = Some(std::mem::replace(&mut self.current, next));
            self.rotate_at = after(now, LIFETIME / 2);
        }
        &self.current
    }

    /// The config that a client names, if it is still accepted.
    pub fn find(&self, scid: &[u8], now: UnixTime) -> Option<&OwnScfg> {
        let configs = [Some(&self.current), self.previous.as_ref()];
        configs.into_iter().flatten().find(|own| own.scfg.scid == scid && !own.scfg.is_expired(now))
    }
}

fn after(now: UnixTime, time: Duration) -> UnixTime {
    UnixTime::from_secs(now.as_secs().saturating_add(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::vectors::{bytes, recorded};
    use crate::rng::SeededRng;
    use proptest::prelude::*;

    #[test]
    fn a_recorded_config_is_read_and_built() {
        let json = &recorded("handshake-echo-ecdsa", "server_config")[0];
        let recorded_bytes = bytes(&json["scfg"]);
        let scfg = Scfg::parse(&recorded_bytes).unwrap();
        assert_eq!(scfg.bytes(), recorded_bytes);
        assert_eq!(
            (scfg.scid().to_vec(), scfg.orbit().to_vec()),
            (bytes(&json["scid"]), bytes(&json["orbit"]))
        );
        assert_eq!(scfg.public_key().to_vec(), bytes(&json["public"]));
        assert!(!scfg.is_expired(UnixTime::from_secs(u64::MAX)), "valid for ever");

        let pair = &recorded("handshake-echo-ecdsa", "x25519_keypair")[0];
        let key = PrivateKey::from_bytes(bytes(&pair["private"]).try_into().unwrap());
        let own = OwnScfg::new(scfg.scid, key, scfg.orbit, UnixTime::from_secs(u64::MAX));
        assert_eq!(own.scfg(), &scfg);
    }

    /// A config with these values in the place of the right ones, `None` for none.
    fn with(changes: &[(Tag, Option<Vec<u8>>)]) -> Result<Scfg, Violation> {
        let own = OwnScfg::generate(&mut SeededRng::from_u64(1), &[7; ORBIT_LEN], UnixTime::from_secs(1000));
        let message = Message::parse_whole(own.scfg.bytes()).unwrap();
        let mut builder = Builder::new(tags::SCFG);
        for (tag, value) in message.iter() {
            match changes.iter().find(|(changed, _)| *changed == tag) {
                Some((_, Some(value))) => builder.put(tag, value.clone()),
                Some((_, None)) => continue,
                None => builder.put(tag, value),
            };
        }
        Scfg::parse(&builder.finish())
    }

    #[test]
    fn what_is_missing_or_wrong_has_its_code() {
        let expired = with(&[]).unwrap();
        assert!(
            !expired.is_expired(UnixTime::from_secs(1000)) && expired.is_expired(UnixTime::from_secs(1001))
        );
        for tag in [tags::AEAD, tags::SCID, tags::PUBS, tags::KEXS, tags::OBIT, tags::EXPY] {
            let code = with(&[(tag, None)]).unwrap_err().code;
            assert_eq!(code, ErrorCode::CRYPTO_MESSAGE_PARAMETER_NOT_FOUND, "{tag}");
        }
        for tag in [tags::SCID, tags::PUBS, tags::OBIT, tags::EXPY] {
            let code = with(&[(tag, Some(vec![1; 5]))]).unwrap_err().code;
            assert_eq!(code, ErrorCode::INVALID_CRYPTO_MESSAGE_PARAMETER, "{tag}");
        }
        for tag in [tags::AEAD, tags::KEXS] {
            let code = with(&[(tag, Some(b"CC20P256".to_vec()))]).unwrap_err().code;
            assert_eq!(code, ErrorCode::CRYPTO_NO_SUPPORT, "{tag}");
        }
        let code = Scfg::parse(&Builder::new(tags::CHLO).finish()).unwrap_err().code;
        assert_eq!(code, ErrorCode::INVALID_CRYPTO_MESSAGE_TYPE);
    }

    #[test]
    fn our_key_is_found_among_others() {
        let list = [&[2, 0, 0, 9, 9, 32, 0, 0][..], &[5; 32]].concat();
        let exchanges = b"P256C255".to_vec();
        let scfg = with(&[(tags::KEXS, Some(exchanges)), (tags::PUBS, Some(list.clone()))]).unwrap();
        assert_eq!(scfg.public_key(), &[5; 32]);
        let other_order = with(&[(tags::KEXS, Some(b"C255P256".to_vec())), (tags::PUBS, Some(list))]);
        assert_eq!(other_order.unwrap_err().code, ErrorCode::INVALID_CRYPTO_MESSAGE_PARAMETER);
    }

    #[test]
    fn configs_rotate() {
        let mut rng = SeededRng::from_u64(1);
        let at = |days: u64| UnixTime::from_secs(days * 24 * 60 * 60);
        let mut configs = ScfgRotation::new(&mut rng, at(0));
        let first = *configs.current(&mut rng, at(3)).scfg().scid();
        let second = *configs.current(&mut rng, at(4)).scfg().scid();
        assert_ne!(first, second);
        assert!(configs.find(&first, at(7)).is_some() && configs.find(&second, at(11)).is_some());
        assert!(configs.find(&first, at(8)).is_none(), "expired");
        assert!(configs.find(&second, at(12)).is_none(), "expired");
        assert!(configs.find(&[0; SCID_LEN], at(4)).is_none() && configs.find(b"", at(4)).is_none());
        let (a, b) = (configs.find(&first, at(5)).unwrap(), configs.find(&second, at(5)).unwrap());
        assert_eq!(a.scfg().orbit(), b.scfg().orbit(), "clients keep the orbit");
        assert_ne!(a.key().public(), b.key().public());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(pubs in proptest::collection::vec(any::<u8>(), 0..60), bytes: Vec<u8>) {
            let _ = with(&[(tags::PUBS, Some(pubs))]);
            let _ = Scfg::parse(&bytes);
        }
    }
}
