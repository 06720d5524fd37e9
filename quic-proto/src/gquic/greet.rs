//! What a server says before there is a connection, and without keeping anything (chapter 7.1).
//!
//! A hello without a token that proves its address gets a rejection with such a token and the server config, but without the chain: it is
//! smaller than the hello, so that nobody can be flooded with it. Only the answer, with the token, is worth a connection.
//!
//! Invariants: an answer is one packet, shorter than the datagram that it answers, always of the number [`NUMBER`]. The client numbers its
//! hellos by their place in stream 1; ours goes on behind the rejection, whose end the token tells. Timers: none.

use super::config::{ServerConfig, VERSIONS};
use super::crypto::null_aead::NullAead;
use super::crypto::source_token::{self, Proof};
use super::hello::Scene;
use super::hello::chlo::Chlo;
use super::hello::reject::reject;
use super::keys::TAG_LEN;
use super::stream_id;
use super::wire::error::{ErrorCode, Violation};
use super::wire::frame::{Frame, Frames};
use super::wire::header::{self, LongHeader, LongType};
use super::wire::message::{Message, tags};
use super::wire::negotiation::{encode_public, parse_public};
use super::wire::reset::PublicReset;
use super::wire::{ack, encode};
use crate::codec::Writer;
use crate::config::family::{Greeting, ServerFamily, Stranger};
use crate::crypto::PacketKey;
use crate::engine::lifecycle::sent_reason;
use crate::id::{Cid, PacketNumber, Side};
use crate::invariants::Version;
use crate::rng::Rng;

/// The number of an answer. A client takes the first one that comes; connections start behind it.
pub(super) const NUMBER: PacketNumber = 1;
/// The number of a refusal: behind an answer that may have gone before.
const REFUSAL: PacketNumber = NUMBER + 1;
/// 7.3: "quic-go's server drops a first packet whose part behind the header has less than 1024 bytes."
const MIN_BODY: usize = 1024;
/// The largest datagram that is looked at.
const MAX_DATAGRAM: usize = 1500;

impl ServerFamily for ServerConfig {
    fn versions(&self) -> &[Version] {
        VERSIONS
    }

    fn greet(&self, rng: &mut dyn Rng, stranger: &Stranger<'_>, out: &mut [u8]) -> Greeting {
        let mut copy = [0; MAX_DATAGRAM];
        let Some(packet) = copy.get_mut(..stranger.payload.len()) else { return Greeting::Ignore };
        packet.copy_from_slice(stranger.payload);
        let Some(hello) = Hello::open(packet) else { return Greeting::Ignore };
        let chlo = match Chlo::read(hello.message, stranger.versions) {
            Ok(chlo) => chlo,
            Err(violation) => return answer(refusal(out, &hello.cid, NUMBER, &violation)),
        };
        // 7.2: NSTP: "quic's server answers with a public reset". In the shape that clients can read.
        if chlo.message.get(tags::NSTP).is_some() {
            return answer(public_reset(out, &hello));
        }
        let (remote, now) = (stranger.path.remote, stranger.now);
        let proof = source_token::check(self.tokens(), chlo.token, remote, now, hello.cid);
        // Where our stream would go on is known from tokens only.
        if hello.offset > 0 && !matches!(proof, Some(Proof::Answer { .. })) {
            return Greeting::Ignore;
        }
        if proof.is_some() {
            return Greeting::Meet(hello.cid);
        }
        answer(self.reject_stranger(rng, stranger, &hello, &chlo, out))
    }

    fn greet_old(&self, stranger: &Stranger<'_>, out: &mut [u8]) -> Option<usize> {
        let public = parse_public(stranger.payload)?;
        let mut w = Writer::new(out);
        encode_public(&mut w, &public.cid, stranger.versions);
        let fits = !w.overflowed() && w.len() < stranger.payload.len();
        fits.then_some(w.len())
    }

    fn refuse(&self, cid: &Cid, out: &mut [u8]) -> Option<usize> {
        let violation = Violation::new(ErrorCode::PEER_GOING_AWAY, "the server accepts no connections now");
        refusal(out, cid, REFUSAL, &violation)
    }
}

impl ServerConfig {
    /// The rejection that costs us nothing.
    fn reject_stranger(
        &self,
        rng: &mut dyn Rng,
        stranger: &Stranger<'_>,
        hello: &Hello<'_>,
        chlo: &Chlo<'_>,
        out: &mut [u8],
    ) -> Option<usize> {
        let (remote, now, cid) = (stranger.path.remote, stranger.now, hello.cid);
        let mut rejection = |end| {
            let mut scene = Scene { now, cid, rng };
            let token = source_token::seal_answer(self.tokens(), scene.rng, remote.ip(), now, cid, end);
            reject(self, &mut scene, chlo, token, false).ok()
        };
        // The token tells where the rejection ends, and is as long whatever it tells.
        let end = rejection(0)?.len() as u64;
        let rejection = rejection(end)?;
        let len = null_packet(out, &cid, NUMBER, |w| {
            ack::encode_ack(w, std::iter::once(hello.number..=hello.number), 0, 1);
            encode::stream_header(w, stream_id::CRYPTO, 0, None, false);
            w.bytes(&rejection);
        })?;
        (len < stranger.payload.len()).then_some(len)
    }
}

/// A client's hello, as the first packet of a connection brings it.
struct Hello<'a> {
    cid: Cid,
    number: PacketNumber,
    offset: u64,
    message: Message<'a>,
}

impl<'a> Hello<'a> {
    /// Opens a packet of the null level that holds a whole message of stream 1.
    fn open(packet: &'a mut [u8]) -> Option<Self> {
        let LongHeader { kind, dcid: cid, scid, number, len, .. } =
            header::parse_long(packet, Side::Client).ok()?;
        let named = cid.len() == header::CID_LEN && scid.is_empty();
        // The type that clients use for early data is never that of a hello.
        if !named || kind == LongType::ZeroRtt || packet.len() < len + MIN_BODY {
            return None;
        }
        let (head, body) = packet.split_at_mut(len);
        let len = NullAead::new(Side::Client).open(0, head, body).ok()?;
        let number = number.expand(0);
        for frame in Frames::new(&body[..len]) {
            if let Frame::Stream { stream: stream_id::CRYPTO, offset, data, .. } = frame.ok()? {
                let message = Message::parse(data).ok()??;
                return Some(Self { cid, number, offset, message });
            }
        }
        None
    }
}

fn answer(len: Option<usize>) -> Greeting {
    len.map_or(Greeting::Ignore, Greeting::Answer)
}

/// A packet that closes the connection before there is one.
fn refusal(out: &mut [u8], cid: &Cid, number: PacketNumber, violation: &Violation) -> Option<usize> {
    let reason = sent_reason(violation.reason.as_bytes());
    null_packet(out, cid, number, |w| encode::connection_close(w, violation.code, reason))
}

fn public_reset(out: &mut [u8], hello: &Hello<'_>) -> Option<usize> {
    let reset = PublicReset { cid: hello.cid.first_chunk().copied(), nonce: 0, rejected: hello.number };
    let packet = reset.encode();
    out.get_mut(..packet.len())?.copy_from_slice(&packet);
    Some(packet.len())
}

/// A server's packet of the null level.
fn null_packet(
    out: &mut [u8],
    cid: &Cid,
    number: PacketNumber,
    frames: impl FnOnce(&mut Writer<'_>),
) -> Option<usize> {
    let room = out.len().checked_sub(TAG_LEN)?;
    let mut w = Writer::new(&mut out[..room]);
    header::encode_long(&mut w, LongType::Handshake, &Cid::EMPTY, cid, number, None);
    let header_len = w.len();
    frames(&mut w);
    if w.overflowed() {
        return None;
    }
    let len = w.len() + TAG_LEN;
    NullAead::new(Side::Server).seal(number, &mut out[..len], header_len);
    Some(len)
}
