//! What both ends of a recorded connection know: the handshake messages, and the keys that follow from them.

use crate::describe::bytes;
use quic_proto::crypto::PacketKey;
use quic_proto::gquic::crypto::certs;
use quic_proto::gquic::crypto::fnv::fnv64;
use quic_proto::gquic::crypto::kdf::{KeyContext, KeyLevel, KeyMaterial};
use quic_proto::gquic::crypto::null_aead::NullAead;
use quic_proto::gquic::crypto::proof::verify_signature;
use quic_proto::gquic::crypto::server_config::Scfg;
use quic_proto::gquic::crypto::x25519::PrivateKey;
use quic_proto::gquic::wire::header::NONCE_LEN;
use quic_proto::gquic::wire::message::tags;
use quic_proto::gquic::wire::{Frame, Frames, Message};
use quic_proto::id::Side;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};

/// What the connections of a recording share.
pub(crate) struct Known {
    /// Private keys, by public key.
    keys: BTreeMap<[u8; 32], PrivateKey>,
    /// Server configs that came in a REJ, by name.
    configs: BTreeMap<Vec<u8>, Scfg>,
    /// Leaf certificates that came in a REJ, by hash.
    leaves: BTreeMap<u64, Vec<u8>>,
    /// The signatures that were verified, with the hello and the config under them.
    proofs: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
}

impl Known {
    pub(crate) fn new(lines: &[Value]) -> Self {
        let pairs = lines.iter().filter(|line| line["event"] == "x25519_keypair");
        let keys = pairs.map(|pair| {
            let key = PrivateKey::from_bytes(bytes(&pair["private"]).try_into().unwrap());
            assert_eq!(key.public().to_vec(), bytes(&pair["public"]));
            (key.public(), key)
        });
        Self { keys: keys.collect(), configs: BTreeMap::new(), leaves: BTreeMap::new(), proofs: Vec::new() }
    }

    /// The recorded proofs are those that were verified.
    pub(crate) fn check_proofs(&self, lines: &[Value]) {
        let recorded = lines.iter().filter(|line| line["event"] == "proof");
        let recorded: Vec<_> = recorded
            .map(|line| (bytes(&line["signature"]), bytes(&line["chlo"]), bytes(&line["scfg"])))
            .collect();
        assert_eq!(self.proofs, recorded);
    }

    /// The secret shared by the owners of two public keys, computed at both ends.
    fn agree(&self, a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
        let secret = self.keys[a].agree(b).unwrap();
        assert_eq!(Ok(secret), self.keys[b].agree(a));
        secret
    }
}

/// One connection.
pub(crate) struct Connection {
    cid: Vec<u8>,
    /// Stream 1 as each end sent it, indexed by the sender.
    crypto: [CryptoStream; 2],
    /// The largest packet number that was received from each end.
    largest: [u64; 2],
    /// The hello that came last.
    chlo: Vec<u8>,
    initial: Option<KeyMaterial>,
    forward_secure: Option<KeyMaterial>,
}

/// Received data of stream 1.
#[derive(Default)]
struct CryptoStream {
    pieces: BTreeMap<u64, Vec<u8>>,
    /// What came in order and is not yet a whole message.
    pending: Vec<u8>,
    end: u64,
    /// Messages that were read and not yet found in the recording.
    read: VecDeque<Vec<u8>>,
}

impl CryptoStream {
    fn insert(&mut self, offset: u64, data: &[u8]) {
        self.pieces.insert(offset, data.to_vec());
        while let Some((offset, data)) = self.pieces.pop_first() {
            if offset > self.end {
                self.pieces.insert(offset, data);
                return;
            }
            let new = data.get((self.end - offset) as usize..).unwrap_or_default();
            self.pending.extend_from_slice(new);
            self.end += new.len() as u64;
        }
    }

    fn next_message(&mut self) -> Option<Vec<u8>> {
        let message = Message::parse(&self.pending).unwrap()?.bytes().to_vec();
        self.pending.drain(..message.len());
        self.read.push_back(message.clone());
        Some(message)
    }
}

impl Connection {
    pub(crate) fn new(cid: Vec<u8>) -> Self {
        Self {
            cid,
            crypto: [CryptoStream::default(), CryptoStream::default()],
            largest: [0; 2],
            chlo: Vec::new(),
            initial: None,
            forward_secure: None,
        }
    }

    pub(crate) fn largest(&self, from: Side) -> u64 {
        self.largest[from as usize]
    }

    /// The key of a level for what `from` sends, if there is one by now.
    pub(crate) fn key(
        &self,
        level: &str,
        from: Side,
        nonce: Option<&[u8; NONCE_LEN]>,
    ) -> Option<Box<dyn PacketKey>> {
        let material = match level {
            "null" => return Some(Box::new(NullAead::new(from))),
            "initial" => {
                let initial = self.initial.as_ref()?;
                nonce.map_or_else(|| initial.clone(), |nonce| initial.diversify(nonce))
            }
            _ => self.forward_secure.clone()?,
        };
        Some(Box::new(if from.is_client() { material.client_key() } else { material.server_key() }))
    }

    /// The payload of a packet arrived at the other end.
    pub(crate) fn on_frames(&mut self, from: Side, number: u64, payload: &[u8], known: &mut Known) {
        let largest = &mut self.largest[from as usize];
        *largest = number.max(*largest);
        for frame in Frames::new(payload) {
            if let Frame::Stream { stream: 1, offset, data, .. } = frame.unwrap() {
                self.crypto[from as usize].insert(offset, data);
            }
        }
        while let Some(message) = self.crypto[from as usize].next_message() {
            self.on_message(from, &message, known);
        }
    }

    fn on_message(&mut self, from: Side, bytes: &[u8], known: &mut Known) {
        let message = Message::parse_whole(bytes).unwrap();
        match (from, message.tag()) {
            (Side::Client, tags::CHLO) => {
                self.chlo = bytes.to_vec();
                if message.get(tags::PUBS).is_some() {
                    self.derive_initial(known);
                }
            }
            (Side::Server, tags::REJ) => self.on_rej(&message, known),
            (Side::Server, tags::SHLO) => self.derive_forward_secure(&message, known),
            (from, tag) => panic!("{from:?} sends {tag}"),
        }
    }

    fn on_rej(&self, rej: &Message<'_>, known: &mut Known) {
        let Some(scfg) = rej.get(tags::SCFG) else { return };
        let config = Scfg::parse(scfg).unwrap();
        known.configs.insert(config.scid().to_vec(), config);
        let (Some(proof), Some(chain)) = (rej.get(tags::PROF), rej.get(tags::CRT)) else { return };
        let chain = certs::decompress(chain, &[] as &[&[u8]]).unwrap();
        verify_signature(&chain[0], &self.chlo, scfg, proof).unwrap();
        known.proofs.push((proof.to_vec(), self.chlo.clone(), scfg.to_vec()));
        known.leaves.insert(fnv64(&chain[0]), chain[0].clone());
    }

    /// The context of the complete hello, with a nonce of the server.
    fn derive(
        &self,
        level: KeyLevel,
        server_public: Option<&[u8; 32]>,
        server_nonce: &[u8],
        known: &Known,
    ) -> KeyMaterial {
        let chlo = Message::parse_whole(&self.chlo).unwrap();
        let scfg = &known.configs[chlo.get(tags::SCID).unwrap()];
        let context = KeyContext {
            client_nonce: chlo.get(tags::NONC).unwrap(),
            server_nonce,
            cid: &self.cid,
            chlo: &self.chlo,
            scfg: scfg.bytes(),
            leaf: &known.leaves[&chlo.u64(tags::XLCT).unwrap()],
        };
        let client_public = chlo.array(tags::PUBS).unwrap();
        let secret = known.agree(client_public, server_public.unwrap_or(scfg.public_key()));
        KeyMaterial::derive(level, &secret, &context)
    }

    fn derive_initial(&mut self, known: &Known) {
        let chlo = Message::parse_whole(&self.chlo).unwrap();
        let nonce = chlo.get(tags::SNO).unwrap_or_default();
        self.initial = Some(self.derive(KeyLevel::Initial, None, nonce, known));
    }

    fn derive_forward_secure(&mut self, shlo: &Message<'_>, known: &Known) {
        let (public, nonce) = (shlo.array(tags::PUBS), shlo.get(tags::SNO).unwrap());
        self.forward_secure = Some(self.derive(KeyLevel::ForwardSecure, public, nonce, known));
    }

    /// The next message that `receiver` read is the recorded one.
    pub(crate) fn check_message(&mut self, receiver: Side, line: &Value) {
        let bytes_of_message =
            self.crypto[!receiver as usize].read.pop_front().unwrap_or_else(|| panic!("{line}"));
        let message = Message::parse_whole(&bytes_of_message).unwrap();
        assert_eq!(message.tag().to_string(), line["message"].as_str().unwrap());
        let recorded = line["tags"].as_array().unwrap();
        assert_eq!(message.iter().count(), recorded.len());
        for ((tag, value), recorded) in message.iter().zip(recorded) {
            assert_eq!(
                (&tag.to_bytes()[..], value.len() as u64),
                (&bytes(&recorded["tag_hex"])[..], recorded["len"].as_u64().unwrap())
            );
            let expected = recorded.get("value").map_or_else(|| vec![0; value.len()], bytes);
            assert_eq!(value, expected, "{tag}");
        }
    }

    pub(crate) fn all_messages_were_recorded(&self) -> bool {
        self.crypto.iter().all(|stream| stream.read.is_empty())
    }
}
