//! The client's side of the handshake.
//!
//! Owns what the client knows of the server (config, token, chain, and whether the server proved the config to be its own), its last
//! hello, and its key. Each rejection replaces what it tells anew. Invariant: at most [`MAX_CHLOS`] hellos are sent. No timers.

use super::{Agreement, Scene, invalid, missing};
use crate::gquic::config::{ClientConfig, Remembered, ServerId};
use crate::gquic::crypto::certs;
use crate::gquic::crypto::fnv::fnv64;
use crate::gquic::crypto::kdf::{KeyContext, KeyLevel, KeyMaterial};
use crate::gquic::crypto::server_config::Scfg;
use crate::gquic::crypto::strike::ClientNonce;
use crate::gquic::crypto::x25519::PrivateKey;
use crate::gquic::keys::Level;
use crate::gquic::params::Params;
use crate::gquic::wire::error::{ErrorCode, Violation};
use crate::gquic::wire::message::{Builder, Message, tags};
use crate::id::ResetToken;
use crate::invariants::{Negotiated, Version};
use crate::time::UnixTime;
use bytes::Bytes;
use std::sync::Arc;

/// As many as quic-go's client sends: enough for a remembered config that is stale.
const MAX_CHLOS: u8 = 3;
/// A hello must be in one packet: the smallest that paths must carry, less header, frame header, tag and a small ACK.
const MAX_CHLO_LEN: usize = 1120;

/// No certificates are remembered for others' chains: CCRT is never sent.
const NONE_CACHED: &[&[u8]] = &[];

/// See the module.
pub(in crate::gquic) struct ClientHello {
    settings: Arc<ClientConfig>,
    server: ServerId,
    negotiated: Option<Negotiated>,
    params: Params,
    config: Option<Scfg>,
    token: Bytes,
    /// The server's certificates in DER, leaf first, once it has proved with them that the config is its own.
    chain: Option<Arc<[Vec<u8>]>>,
    /// What the server permitted last time.
    remembered: Option<Params>,
    key: PrivateKey,
    nonce: Option<ClientNonce>,
    /// The nonce of the last rejection, if it had one.
    server_nonce: Bytes,
    /// The last hello, as it was sent.
    chlo: Vec<u8>,
    sent: u8,
}

/// A hello to be sent.
pub(in crate::gquic) struct Hello {
    pub(in crate::gquic) message: Vec<u8>,
    /// The initial keys, if the hello is complete; the server's half not diversified yet.
    pub(in crate::gquic) initial: Option<KeyMaterial>,
    /// The limits for data that follows at once, where that is wanted and possible.
    pub(in crate::gquic) early: Option<Params>,
}

impl ClientHello {
    /// A client that wants to talk to `server`; what is remembered of it is used.
    pub(in crate::gquic) fn new(
        settings: &Arc<ClientConfig>,
        server: ServerId,
        negotiated: Option<Negotiated>,
        params: Params,
        scene: &mut Scene<'_>,
    ) -> Self {
        let mut client = Self {
            settings: Arc::clone(settings),
            negotiated,
            params,
            config: None,
            token: Bytes::new(),
            chain: None,
            remembered: None,
            key: PrivateKey::generate(scene.rng),
            nonce: None,
            server_nonce: Bytes::new(),
            chlo: Vec::new(),
            sent: 0,
            server,
        };
        if let Some(known) = settings.recall(&client.server)
            && !client.recall(known, scene)
        {
            settings.forget(&client.server);
        }
        client
    }

    /// Uses what is remembered. Returns whether it still holds.
    fn recall(&mut self, known: Remembered, scene: &Scene<'_>) -> bool {
        let Ok(config) = read_config(&known.config, scene.now) else { return false };
        // The proof was verified once; that the certificate is still good for the name has to be seen again.
        if self.settings.trust().verify_chain(&known.chain, &self.server.name, scene.now).is_err() {
            return false;
        }
        self.config = Some(config);
        self.token = known.token;
        self.chain = Some(known.chain);
        self.remembered = Some(known.params);
        true
    }

    /// The next hello: complete if that is possible.
    ///
    /// # Errors
    /// If there were too many, or it does not fit a packet.
    pub(in crate::gquic) fn hello(&mut self, scene: &mut Scene<'_>) -> Result<Hello, Violation> {
        if self.sent == MAX_CHLOS {
            let reason = "the server rejected as many hellos as are sent";
            return Err(Violation::new(ErrorCode::CRYPTO_TOO_MANY_REJECTS, reason));
        }
        self.sent += 1;
        let mut message = Builder::new(tags::CHLO);
        message.put(tags::SNI, self.server.name.as_bytes());
        // 7.3: "the version of the very first packet. quic's client: zero unless there was a version negotiation."
        let first = self.negotiated.as_ref().map_or(0, |negotiated| negotiated.first.0);
        message.put(tags::VER, first.to_be_bytes());
        message.put(tags::PDMD, tags::X509);
        self.params.write(&mut message);
        if !self.token.is_empty() {
            message.put(tags::STK, self.token.to_vec());
        }
        let complete = self.config.as_ref().zip(self.chain.as_ref());
        if let Some(config) = &self.config {
            message.put(tags::SCID, *config.scid());
        }
        if let Some((config, chain)) = complete {
            let nonce = ClientNonce::generate(scene.rng, scene.now, config.orbit());
            message.put(tags::NONC, *nonce.as_bytes());
            self.nonce = Some(nonce);
            // 7.2: Chromium's servers give one out in a rejection, and want to see it again.
            if !self.server_nonce.is_empty() {
                message.put(tags::SNO, self.server_nonce.to_vec());
            }
            message.put(tags::AEAD, tags::AESG);
            message.put(tags::KEXS, tags::C255);
            message.put(tags::PUBS, self.key.public());
            let leaf = chain.first().map_or(&[][..], |leaf| leaf);
            message.put(tags::XLCT, fnv64(leaf).to_le_bytes());
        }
        self.chlo = message.pad().finish();
        if self.chlo.len() > MAX_CHLO_LEN {
            let reason = "name and token make the hello too large for one packet";
            return Err(Violation::new(ErrorCode::CRYPTO_CHLO_TOO_LARGE, reason));
        }
        let initial = complete.map(|(config, chain)| self.initial_keys(scene, config, chain)).transpose()?;
        let early = self.remembered.filter(|_| initial.is_some() && self.settings.early_data);
        Ok(Hello { message: self.chlo.clone(), initial, early })
    }

    fn initial_keys(
        &self,
        scene: &Scene<'_>,
        config: &Scfg,
        chain: &[Vec<u8>],
    ) -> Result<KeyMaterial, Violation> {
        let secret = self.key.agree(config.public_key()).map_err(|_| invalid(tags::PUBS))?;
        let context = self.context(scene, config, chain, &self.server_nonce);
        Ok(KeyMaterial::derive(KeyLevel::Initial, &secret, &context))
    }

    fn context<'a>(
        &'a self,
        scene: &'a Scene<'_>,
        config: &'a Scfg,
        chain: &'a [Vec<u8>],
        server_nonce: &'a [u8],
    ) -> KeyContext<'a> {
        KeyContext {
            client_nonce: self.nonce.as_ref().map_or(&[], |nonce| nonce.as_bytes()),
            server_nonce,
            cid: &scene.cid,
            chlo: &self.chlo,
            scfg: config.bytes(),
            leaf: chain.first().map_or(&[], |leaf| leaf),
        }
    }

    /// A rejection: what it brings replaces what was known, and another hello follows.
    ///
    /// # Errors
    /// If the config, the chain or the proof is refused, or the hellos are used up.
    pub(in crate::gquic) fn on_rej(
        &mut self,
        scene: &mut Scene<'_>,
        message: &Message<'_>,
    ) -> Result<Hello, Violation> {
        if let Some(token) = message.get(tags::STK) {
            self.token = Bytes::copy_from_slice(token);
        }
        self.server_nonce = message.get(tags::SNO).map_or_else(Bytes::new, Bytes::copy_from_slice);
        if let Some(bytes) = message.get(tags::SCFG)
            && self.config.as_ref().is_none_or(|config| config.bytes() != bytes)
        {
            // 7.1: "After a REJ with another SCFG forget proof and nonce". The key, too: a hello may have told it to the old one.
            (self.chain, self.remembered) = (None, None);
            if self.config.replace(read_config(bytes, scene.now)?).is_some() {
                self.key = PrivateKey::generate(scene.rng);
            }
        }
        let Some(config) = &self.config else { return Err(missing(tags::SCFG)) };
        if let (Some(signature), Some(chain)) = (message.get(tags::PROF), message.get(tags::CRT)) {
            let chain = certs::decompress(chain, NONE_CACHED)?;
            // 7.6: the signature is over the hello that this answers.
            let leaf = chain.first().map_or(&[][..], |leaf| leaf);
            let trust = self.settings.trust();
            trust.verify_proof(leaf, &self.chlo, config.bytes(), signature)?;
            trust.verify_chain(&chain, &self.server.name, scene.now)?;
            self.chain = Some(chain.into());
        }
        self.hello(scene)
    }

    /// The server's hello, in a packet of `level`.
    ///
    /// # Errors
    /// If it came in the clear, lacks something, or tells of a negotiation that was tampered with.
    pub(in crate::gquic) fn on_shlo(
        &mut self,
        scene: &Scene<'_>,
        level: Level,
        message: &Message<'_>,
    ) -> Result<Agreement, Violation> {
        // 3.5: "A SHLO that did not come at the initial level or above is error 44."
        if level == Level::Null {
            let reason = "the server's hello came in the clear";
            return Err(Violation::new(ErrorCode::CRYPTO_ENCRYPTION_LEVEL_INCORRECT, reason));
        }
        let (Some(config), Some(chain)) = (&self.config, &self.chain) else {
            let reason = "the server's hello answers no complete hello";
            return Err(Violation::new(ErrorCode::INVALID_CRYPTO_MESSAGE_TYPE, reason));
        };
        let public = message.get(tags::PUBS).ok_or_else(|| missing(tags::PUBS))?;
        let public = public.try_into().map_err(|_| invalid(tags::PUBS))?;
        self.check_versions(message)?;
        let secret = self.key.agree(public).map_err(|_| invalid(tags::PUBS))?;
        let server_nonce = message.get(tags::SNO).unwrap_or_default();
        let context = self.context(scene, config, chain, server_nonce);
        let forward = KeyMaterial::derive(KeyLevel::ForwardSecure, &secret, &context);
        let params = Params::read(message);
        // Chromium's server gives a new token here.
        let token = message.get(tags::STK).map_or_else(|| self.token.clone(), Bytes::copy_from_slice);
        let known = Remembered {
            config: Bytes::copy_from_slice(config.bytes()),
            token,
            chain: Arc::clone(chain),
            params,
        };
        self.settings.remember(self.server.clone(), known);
        Ok(Agreement {
            forward,
            params,
            reset_token: message.array(tags::SRST).map(|token| ResetToken(*token)),
        })
    }

    /// 2.4: "Afterwards compare the versions in the SHLO with the list received, reserved ones left out, in the same order; a difference is
    /// error 55."
    fn check_versions(&self, message: &Message<'_>) -> Result<(), Violation> {
        let list = message.get(tags::VER).filter(|list| list.len() % 4 == 0);
        let (versions, _) = list.ok_or_else(|| invalid(tags::VER))?.as_chunks::<4>();
        let Some(negotiated) = &self.negotiated else { return Ok(()) };
        let versions = versions.iter().map(|version| u32::from_be_bytes(*version));
        if !versions.filter(|version| !Version(*version).is_reserved()).eq(negotiated.offered.iter().copied())
        {
            let reason = "the server's versions are not those that were negotiated about";
            return Err(Violation::new(ErrorCode::VERSION_NEGOTIATION_MISMATCH, reason));
        }
        Ok(())
    }

    /// The chain that the server proved itself with.
    pub(in crate::gquic) fn chain(&self) -> Vec<Vec<u8>> {
        self.chain.as_deref().map(<[_]>::to_vec).unwrap_or_default()
    }
}

/// Reads a config that can be used now.
fn read_config(bytes: &[u8], now: UnixTime) -> Result<Scfg, Violation> {
    let config = Scfg::parse(bytes)?;
    if config.is_expired(now) {
        let reason = "the server's config has expired";
        return Err(Violation::new(ErrorCode::CRYPTO_SERVER_CONFIG_EXPIRED, reason));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::crypto::proof::ServerTrust;
    use crate::gquic::crypto::server_config::OwnScfg;
    use crate::id::Cid;
    use crate::rng::{Rng, SeededRng};
    use crate::time::UnixTime;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn client(negotiated: Option<Negotiated>, rng: &mut dyn Rng) -> ClientHello {
        let trust = ServerTrust::danger_accept_any_certificate();
        let server = ServerId { name: "localhost".into(), port: 443 };
        let params = Params::default();
        let mut scene = Scene { now: NOW, cid: Cid::EMPTY, rng };
        ClientHello::new(&Arc::new(ClientConfig::new(trust)), server, negotiated, params, &mut scene)
    }

    fn code<T>(result: Result<T, Violation>) -> Option<ErrorCode> {
        result.err().map(|violation| violation.code)
    }

    /// A client that has sent its complete hello, to a server that it believes without a proof.
    fn complete(negotiated: Option<Negotiated>) -> ClientHello {
        let mut rng = SeededRng::from_u64(1);
        let mut client = client(negotiated, &mut rng);
        let own = OwnScfg::generate(&mut rng, &[1; 8], UnixTime::from_secs(u64::MAX));
        client.config = Some(own.scfg().clone());
        client.chain = Some(Arc::new([vec![1, 2, 3]]));
        let mut scene = Scene { now: NOW, cid: Cid::EMPTY, rng: &mut rng };
        assert!(client.hello(&mut scene).is_ok_and(|hello| hello.initial.is_some()));
        client
    }

    fn shlo(change: impl FnOnce(&mut Builder<'_>)) -> Vec<u8> {
        let mut message = Builder::new(tags::SHLO);
        message.put(tags::VER, [&b"Q044"[..], &[0, 0, 0, 1]].concat());
        message.put(tags::PUBS, PrivateKey::from_bytes([9; 32]).public()).put(tags::SNO, [3; 32]);
        change(&mut message);
        message.finish()
    }

    fn on_shlo(client: &mut ClientHello, level: Level, message: &[u8]) -> Option<ErrorCode> {
        let mut rng = SeededRng::from_u64(2);
        let scene = Scene { now: NOW, cid: Cid::EMPTY, rng: &mut rng };
        code(client.on_shlo(&scene, level, &Message::parse_whole(message).unwrap()))
    }

    #[test]
    fn no_more_than_three_hellos() {
        let mut rng = SeededRng::from_u64(1);
        let mut client = client(None, &mut rng);
        let mut scene = Scene { now: NOW, cid: Cid::EMPTY, rng: &mut rng };
        for _ in 0..3 {
            let hello = client.hello(&mut scene).unwrap();
            assert_eq!((hello.message.len(), hello.initial.is_none()), (1040, true));
        }
        assert_eq!(code(client.hello(&mut scene)), Some(ErrorCode::CRYPTO_TOO_MANY_REJECTS));
    }

    #[test]
    fn what_a_servers_hello_must_be() {
        let at = |level, message: &[u8]| on_shlo(&mut complete(None), level, message);
        assert_eq!(at(Level::Initial, &shlo(|_| {})), None);
        assert_eq!(at(Level::Null, &shlo(|_| {})), Some(ErrorCode(44)));
        let mut none = Builder::new(tags::SHLO);
        assert_eq!(at(Level::Initial, &none.finish()), Some(ErrorCode(35)), "without PUBS");
        none.put(tags::PUBS, [1; 32]);
        assert_eq!(at(Level::Initial, &none.finish()), Some(ErrorCode(34)), "without VER");
        let short = shlo(|message| {
            message.put(tags::PUBS, [1; 31]);
        });
        assert_eq!(at(Level::Initial, &short), Some(ErrorCode(34)));
        let low = shlo(|message| {
            message.put(tags::PUBS, [0; 32]);
        });
        assert_eq!(at(Level::Initial, &low), Some(ErrorCode(34)));
        let mut rng = SeededRng::from_u64(1);
        let mut early = client(None, &mut rng);
        assert_eq!(on_shlo(&mut early, Level::Initial, &shlo(|_| {})), Some(ErrorCode(33)));
    }

    #[test]
    fn the_versions_must_be_those_of_the_negotiation() {
        let offered =
            |versions: &[u32]| Negotiated { first: Version(0xff00_001d), offered: versions.to_vec() };
        let with = |versions: &[u32]| {
            let mut client = complete(Some(offered(versions)));
            let first = *Message::parse_whole(&client.chlo).unwrap().array::<4>(tags::VER).unwrap();
            assert_eq!(first, [0xff, 0, 0, 0x1d]);
            on_shlo(&mut client, Level::Initial, &shlo(|_| {}))
        };
        assert_eq!(with(&[Version::Q044.0, 1]), None);
        assert_eq!(with(&[1, Version::Q044.0]), Some(ErrorCode(55)), "in the same order");
        assert_eq!(with(&[Version::Q044.0]), Some(ErrorCode(55)));
    }

    #[test]
    fn what_a_rejection_must_bring() {
        let rejected = |build: &dyn Fn(&mut Builder<'_>)| {
            let mut rng = SeededRng::from_u64(1);
            let mut client = client(None, &mut rng);
            let mut scene = Scene { now: NOW, cid: Cid::EMPTY, rng: &mut rng };
            client.hello(&mut scene).unwrap();
            let mut message = Builder::new(tags::REJ);
            build(&mut message);
            let bytes = message.finish();
            code(client.on_rej(&mut scene, &Message::parse_whole(&bytes).unwrap()))
        };
        let config = |expiry| {
            let own = OwnScfg::generate(&mut SeededRng::from_u64(3), &[1; 8], UnixTime::from_secs(expiry));
            own.scfg().bytes().to_vec()
        };
        assert_eq!(rejected(&|_| {}), Some(ErrorCode(35)), "without a config");
        assert_eq!(
            rejected(&|rej| {
                rej.put(tags::SCFG, config(u64::MAX));
            }),
            None
        );
        assert_eq!(
            rejected(&|rej| {
                rej.put(tags::SCFG, config(1));
            }),
            Some(ErrorCode(45))
        );
        let forged = rejected(&|rej| {
            rej.put(tags::SCFG, config(u64::MAX)).put(tags::PROF, [1; 64]).put(tags::CRT, [1, 0]);
        });
        assert_eq!(forged, Some(ErrorCode(42)));
        let large = rejected(&|rej| {
            rej.put(tags::SCFG, config(u64::MAX)).put(tags::STK, [1; 1100]);
        });
        assert_eq!(large, Some(ErrorCode(90)), "with that token the hello would not fit a packet");
    }
}
