//! What a server says to a hello that it cannot complete.

use super::Scene;
use super::chlo::Chlo;
use crate::gquic::config::ServerConfig;
use crate::gquic::wire::error::Violation;
use crate::gquic::wire::message::{Builder, tags};

/// A rejection with a new `token`, and the config in use. Who has shown that it receives what is sent to its address (`proved`) gets the
/// chain and the proof too: they are what makes a rejection large and costs a signature.
///
/// # Errors
/// If our key fails to sign.
pub(in crate::gquic) fn reject(
    settings: &ServerConfig,
    scene: &mut Scene<'_>,
    chlo: &Chlo<'_>,
    token: Vec<u8>,
    proved: bool,
) -> Result<Vec<u8>, Violation> {
    let config = settings.current(scene.rng, scene.now);
    let scfg = config.scfg().bytes();
    let proof = settings.proof();
    let signature = if proved { Some(proof.sign(chlo.message.bytes(), scfg)?) } else { None };
    let mut message = Builder::new(tags::REJ);
    message.put(tags::STK, token);
    message.put(tags::SCFG, scfg);
    if let Some(signature) = signature {
        message.put(tags::PROF, signature);
        message.put(tags::CRT, proof.packed_chain());
    }
    Ok(message.finish())
}
