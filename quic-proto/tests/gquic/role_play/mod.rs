//! The recorded connections played again, with one of their ends replaced by ours: the other end says what it said then, and ours, given
//! the same random numbers and an application that does the same, says what its predecessor said, but where the description leaves it
//! free. Those places are [`CLIENT_IS_FREE`] and [`SERVER_IS_FREE`]; when to acknowledge, to raise limits and to send PINGs everybody
//! decides for himself, and so how to cut what is said on streams into frames. Everything else must be the same.
//!
//! What ours does differently changes what is signed and what keys are made of, so that the other end seals its part anew, with keys from
//! the recorded private ones, and proves itself with a certificate of the test's.
//!
//! The table has all recordings, and for each and either end what of it is played, or why it is not.

pub(crate) mod actor;
mod check;
mod play;
mod recording;
mod script;
mod setting;

use crate::support::identity_for;
use actor::Said;
use play::{HOST, Play};
use quic_proto::gquic::wire::message::{Tag, tags};
use quic_proto::id::Side;
use recording::{Recording, folder};
use std::collections::BTreeSet;

/// Tags of the client that may be missing or have another value: no common certificate sets are known here, which makes the padding longer;
/// the certificate is another one, and so is its hash; quic-go's HTTP client sends TCID, which has no effect.
const CLIENT_IS_FREE: &[Tag] = &[tags::PAD, Tag::new(*b"CCS\0"), tags::XLCT, Tag::new(*b"TCID")];
/// Tags of the server that may be missing or have another value: nobody needs quic-go's name; tokens are the server's own matter; so are
/// certificate and proof. Configs expire, so that SCFG is compared but for that.
const SERVER_IS_FREE: &[Tag] = &[Tag::new(*b"SVID"), tags::STK, tags::PROF, tags::CRT, tags::SCFG];

/// What is played of a recording.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Part {
    /// All of it, and packets have the same frames and sizes too.
    Exactly,
    /// All of it.
    All,
    /// These of its connections.
    Only(&'static [usize]),
}
use Part::{All, Exactly, Only};

/// The recordings, and what our client and our server play of them, a test each; or why not.
macro_rules! table {
    ($($test:ident: $scenario:literal, client [$($client:tt)*], server [$($server:tt)*];)*) => {
        const TABLE: &[&str] = &[$($scenario),*];
        mod our_client_says_what_the_recorded_one_said {
            use super::*;
            $(table!(@test $test $scenario Client $($client)*);)*
        }
        mod our_server_says_what_the_recorded_one_said {
            use super::*;
            $(table!(@test $test $scenario Server $($server)*);)*
        }
    };
    (@test $test:ident $scenario:literal $side:ident nothing: $why:literal) => {};
    (@test $test:ident $scenario:literal $side:ident $part:expr $(, without: $why:literal)?) => {
        #[test]
        fn $test() {
            play($scenario, Side::$side, $part);
        }
    };
}

table! {
    echo_rsa: "handshake-echo-rsa", client [Exactly], server [Exactly];
    echo_ecdsa: "handshake-echo-ecdsa", client [Exactly], server [Exactly];
    cached_scfg: "handshake-cached-scfg", client [All], server [All];
    zero_rtt_data: "handshake-0rtt-data", client [All], server [All];
    stale_scfg: "handshake-stale-scfg", client [All], server [All];
    wrong_orbit: "handshake-wrong-orbit",
        client [Only(&[0]), without: "1, as our client puts the orbit of the config into its nonce"],
        server [All];
    bulk_upload: "bulk-upload-1mb", client [All], server [All];
    bulk_download: "bulk-download", client [All], server [All];
    loss: "loss", client [All], server [All];
    connection_close: "connection-close",
        client [All],
        server [Only(&[0, 1, 2, 4]), without: "3, where both ends give up at the same moment: quic-go's client was first"];
    keep_alive: "keep-alive", client [All], server [All];
    negotiation: "version-negotiation",
        client [nothing: "it begins with a version that our client does not know"],
        server [All];
    negotiation_public_header: "version-negotiation-public-header",
        client [nothing: "it begins with a version that our client does not know"],
        server [All];
    downgrade: "version-downgrade",
        client [nothing: "both ends go on in Q043"],
        server [nothing: "both ends go on in Q043"];
    resets: "resets",
        client [Only(&[0]), without: "1 and 2, as our client says neither NSTP nor what nobody can open"],
        server [Only(&[0]), without: "1 and 2, as our public resets have the shape that clients can read, and only NSTP gets one"];
    stream_reset: "stream-reset", client [All], server [All];
    server_streams: "server-streams", client [All], server [All];
    many_streams: "many-streams", client [All], server [All];
    h2_requests: "h2-requests",
        client [All],
        server [nothing: "it answers on streams of which nothing came: HEADERS with END_STREAM are all that a client says (12.2)"];
}

#[test]
fn no_recording_is_left_out() {
    let files = std::fs::read_dir(folder()).unwrap();
    let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    let listed: BTreeSet<_> = TABLE.iter().map(|scenario| format!("{scenario}.jsonl")).collect();
    assert_eq!((&files, TABLE.len()), (&listed, files.len()));
}

fn play(scenario: &str, ours: Side, part: Part) {
    let recording = Recording::load(scenario);
    let chosen = match part {
        All | Exactly => (0..recording.connections.len()).collect(),
        Only(chosen) => chosen.to_vec(),
    };
    // Chains and signatures of either kind have other lengths.
    let rsa = recording.events("proof").any(|proof| proof["algorithm"].as_str().unwrap().starts_with("rsa"));
    let mut play = Play::new(&recording, ours, identity_for(HOST, rsa), chosen.clone());
    for number in chosen {
        let connection = &recording.connections[number];
        if connection.foreign {
            play.negotiate(connection);
            continue;
        }
        let scene = play.connect(connection);
        scene.check(if ours.is_client() { CLIENT_IS_FREE } else { SERVER_IS_FREE });
        if part == Exactly {
            let lengths = |packets: Vec<Said>| -> Vec<Said> {
                let free = ours.is_server();
                packets.into_iter().map(|said| if free { said.without_lengths() } else { said }).collect()
            };
            same_packets(&lengths(scene.actor.heard.packets), &lengths(connection.said(ours)));
        }
    }
}

/// The same packets, of the same sizes where there was no acknowledgement in them. quic-go leaves the length of the last frame out, which we
/// do only where it fills a packet.
fn same_packets(said: &[Said], recorded: &[Said]) {
    let parts = |said: &[Said]| -> Vec<_> {
        said.iter().map(|said| (said.kind.clone(), said.level.clone(), said.frames.clone())).collect()
    };
    assert_eq!(parts(said), parts(recorded));
    for (said, recorded) in said.iter().zip(recorded).filter(|(said, _)| said.alone) {
        assert!([recorded.size, recorded.size + 2].contains(&said.size), "{said:?}: not {}", recorded.size);
    }
}
