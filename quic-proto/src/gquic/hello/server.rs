//! The server's side of the handshake, for a client that has shown that it receives what is sent to its address.
//!
//! Owns what must be the same from one hello to the next. Invariants: the same complete hello is accepted once, as far as the register of
//! nonces reaches; at most [`MAX_REJECTIONS`] rejections are signed for a connection. No timers.

use super::chlo::Chlo;
use super::reject::reject;
use super::{Agreement, Scene, invalid};
use crate::gquic::config::ServerConfig;
use crate::gquic::crypto::kdf::{KeyContext, KeyLevel, KeyMaterial};
use crate::gquic::crypto::server_config::OwnScfg;
use crate::gquic::crypto::source_token;
use crate::gquic::crypto::strike::{ClientNonce, Freshness};
use crate::gquic::crypto::x25519::PrivateKey;
use crate::gquic::params::Params;
use crate::gquic::wire::error::{ErrorCode, Violation};
use crate::gquic::wire::header::NONCE_LEN;
use crate::gquic::wire::message::{Builder, Message, tags};
use crate::invariants::Version;
use smallvec::SmallVec;
use std::net::SocketAddr;
use std::sync::Arc;

/// Chromium's client gives up after four hellos.
const MAX_REJECTIONS: u8 = 4;

/// See the module.
pub(in crate::gquic) struct ServerHello {
    settings: Arc<ServerConfig>,
    remote: SocketAddr,
    versions: SmallVec<[Version; 4]>,
    params: Params,
    rejections: u8,
}

/// What the server says.
pub(in crate::gquic) enum Answer {
    /// A rejection, in the clear.
    Reject(Vec<u8>),
    /// The server's hello, at the initial level.
    Accept(Box<Accept>),
}

/// A complete hello was accepted.
pub(in crate::gquic) struct Accept {
    pub(in crate::gquic) message: Vec<u8>,
    /// The initial keys, diversified.
    pub(in crate::gquic) initial: KeyMaterial,
    /// What they were diversified with.
    pub(in crate::gquic) nonce: [u8; NONCE_LEN],
    pub(in crate::gquic) agreement: Agreement,
    pub(in crate::gquic) server_name: String,
}

/// A hello that has all that a complete one needs.
struct Complete<'a> {
    config: OwnScfg,
    nonce: ClientNonce,
    public: &'a [u8; 32],
}

impl ServerHello {
    /// A server, known by `versions`, for a client at `remote`.
    pub(in crate::gquic) fn new(
        settings: &Arc<ServerConfig>,
        remote: SocketAddr,
        versions: &[Version],
        params: Params,
    ) -> Self {
        Self {
            settings: Arc::clone(settings),
            remote,
            versions: SmallVec::from_slice(versions),
            params,
            rejections: 0,
        }
    }

    /// The settings.
    pub(in crate::gquic) fn settings(&self) -> &ServerConfig {
        &self.settings
    }

    /// The client's hello.
    ///
    /// # Errors
    /// What closes the connection (7.1).
    pub(in crate::gquic) fn on_chlo(
        &mut self,
        scene: &mut Scene<'_>,
        message: &Message<'_>,
    ) -> Result<Answer, Violation> {
        let chlo = Chlo::read(*message, &self.versions)?;
        if let Some(complete) = self.complete(scene, &chlo)?
            && self.is_fresh(scene, complete.nonce)
        {
            return self.accept(scene, &chlo, &complete).map(|accept| Answer::Accept(Box::new(accept)));
        }
        if self.rejections == MAX_REJECTIONS {
            let reason = "the client has sent more hellos than are answered";
            return Err(Violation::new(ErrorCode::CRYPTO_TOO_MANY_REJECTS, reason));
        }
        self.rejections += 1;
        let token = source_token::seal(self.settings.tokens(), scene.rng, self.remote.ip(), scene.now);
        reject(&self.settings, scene, &chlo, token, true).map(Answer::Reject)
    }

    /// 7.1: "A CHLO is complete for quic-go's server if: PUBS is there, SCID is that of its SCFG, XLCT is 8 bytes and the hash of its leaf
    /// certificate, and STK is acceptable." The last was seen to before there was a connection.
    fn complete<'a>(&self, scene: &Scene<'_>, chlo: &Chlo<'a>) -> Result<Option<Complete<'a>>, Violation> {
        let message = &chlo.message;
        let config = message.get(tags::SCID).and_then(|scid| self.settings.find(scid, scene.now));
        let leaf = message.u64(tags::XLCT) == Some(self.settings.proof().leaf_hash());
        let (Some(public), Some(config), true) = (message.get(tags::PUBS), config, leaf) else {
            return Ok(None);
        };
        let nonce = message.array(tags::NONC).map(|nonce| ClientNonce::from_bytes(*nonce));
        let nonce = nonce.filter(|nonce| nonce.has_orbit(config.scfg().orbit()));
        let nonce = nonce.ok_or_else(|| invalid(tags::NONC))?;
        for (tag, value) in [(tags::AEAD, tags::AESG), (tags::KEXS, tags::C255)] {
            if message.get(tag) != Some(&value.to_bytes()[..]) {
                let reason = format!("{tag} of the client's hello is not just {value}");
                return Err(Violation::new(ErrorCode::CRYPTO_NO_SUPPORT, reason));
            }
        }
        let wrong =
            || Violation::new(ErrorCode::INTERNAL_ERROR, "PUBS of the client's hello has not 32 bytes");
        Ok(Some(Complete { config, nonce, public: public.try_into().map_err(|_| wrong())? }))
    }

    /// Whether a hello with this nonce can be no replay. A client whose clock is wrong is told apart from an old recording by its answer to
    /// a rejection, which only it gets.
    fn is_fresh(&self, scene: &Scene<'_>, nonce: ClientNonce) -> bool {
        match self.settings.strike(nonce, scene.now) {
            Freshness::Fresh => true,
            Freshness::Replayed => false,
            Freshness::Unknown => self.rejections > 0,
        }
    }

    fn accept(
        &self,
        scene: &mut Scene<'_>,
        chlo: &Chlo<'_>,
        complete: &Complete<'_>,
    ) -> Result<Accept, Violation> {
        let Complete { config, nonce: client_nonce, public } = complete;
        let low_order = |_| invalid(tags::PUBS);
        let (mut nonce, mut server_nonce) = ([0; NONCE_LEN], [0; 32]);
        scene.rng.fill(&mut nonce);
        scene.rng.fill(&mut server_nonce);
        let key = PrivateKey::generate(scene.rng);
        let context = KeyContext {
            client_nonce: client_nonce.as_bytes(),
            // Chapter 8: "quic-go's server ignores an SNO in a CHLO for the initial keys"; ours gives none out in a rejection either.
            server_nonce: &[],
            cid: &scene.cid,
            chlo: chlo.message.bytes(),
            scfg: config.scfg().bytes(),
            leaf: self.settings.proof().leaf(),
        };
        let secret = config.key().agree(public).map_err(low_order)?;
        let initial = KeyMaterial::derive(KeyLevel::Initial, &secret, &context).diversify(&nonce);
        let secret = key.agree(public).map_err(low_order)?;
        let context = KeyContext { server_nonce: &server_nonce, ..context };
        let forward = KeyMaterial::derive(KeyLevel::ForwardSecure, &secret, &context);
        let mut message = Builder::new(tags::SHLO);
        message.put(tags::SNO, server_nonce);
        let versions: Vec<u8> = self.versions.iter().flat_map(|version| version.0.to_be_bytes()).collect();
        message.put(tags::VER, versions);
        message.put(tags::PUBS, key.public());
        self.params.write(&mut message);
        let agreement = Agreement { forward, params: Params::read(&chlo.message), reset_token: None };
        let server_name = chlo.server_name.to_owned();
        Ok(Accept { message: message.finish(), initial, nonce, agreement, server_name })
    }
}
