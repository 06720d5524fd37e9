//! Our end at the beginning: endpoint, settings, time.

use super::check::keep_alives;
use super::recording::{Connection, Recording, value};
use super::script::Scripted;
use quic_proto::config::{EndpointConfig, TransportConfig};
use quic_proto::crypto::rustls::Identity;
use quic_proto::endpoint::Endpoint;
use quic_proto::gquic::wire::message::tags;
use quic_proto::gquic::wire::{Frame, Frames};
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use quic_proto::id::Side;
use quic_proto::time::{Duration, Instant, UnixTime};
use std::sync::Arc;

/// What our end has to do with Google QUIC.
pub(super) enum Settings {
    Client(Arc<gquic::ClientConfig>),
    Server(Arc<gquic::ServerConfig>),
}

pub(super) fn copy(identity: &Identity) -> Identity {
    Identity { chain: identity.chain.clone(), key: identity.key.clone_key() }
}

pub(super) fn client_settings(recording: &Recording, trust: ServerTrust) -> Settings {
    let early = recording.events("key_derivation").any(|line| line["level"] == "initial_client_only");
    // quic-go's client remembers nothing; where it does, it was made to for the recording.
    let returns = recording.connections.iter().any(|connection| {
        let first = connection.messages[Side::Client as usize].first();
        first.is_some_and(|first| !value(first, tags::STK).is_empty())
    });
    let settings = gquic::ClientConfig::new(trust).early_data(early);
    Settings::Client(Arc::new(settings.remember_servers(usize::from(returns))))
}

pub(super) fn server_settings(identity: &Identity, life: usize) -> Settings {
    let proof = ProofSource::from_identity(copy(identity)).unwrap();
    Settings::Server(Arc::new(gquic::ServerConfig::new(proof, &[7 + life as u8; 32])))
}

/// An endpoint at the time of the recording, with its random numbers; the server's after so many restarts.
pub(super) fn endpoint(
    recording: &Recording,
    ours: Side,
    chosen: &[usize],
    epoch: UnixTime,
    life: usize,
) -> Endpoint {
    let rng = Scripted::new();
    let config = EndpointConfig::new(&[1; 32]).build().unwrap();
    let endpoint = Endpoint::new(config, None, Box::new(rng.clone()), epoch);
    match ours {
        Side::Client => rng.of_client(recording, chosen),
        Side::Server => rng.of_server(recording, chosen, life),
    }
    endpoint
}

/// The limits that an end told.
pub(super) fn transport(connection: &Connection, ours: Side) -> Arc<TransportConfig> {
    let told = &connection.messages[ours as usize];
    let told = told.iter().find(|message| !value(message, tags::ICSL).is_empty());
    let number =
        |tag| told.map_or(100, |told| u32::from_le_bytes(value(told, tag).try_into().unwrap()).into());
    let keeps_alive = keep_alives(connection.starts(), &mut connection.pings(ours)) > 0;
    let config = TransportConfig::default()
        .max_idle_timeout(Some(Duration::from_secs(number(tags::ICSL))))
        .max_bidi_streams(number(tags::MIDS))
        .connection_window(number(tags::CFCW), 1 << 20)
        .stream_window(number(tags::SFCW), 1 << 20)
        .keep_alive(keeps_alive.then(|| Duration::from_secs(number(tags::ICSL)) / 2))
        .mtu_discovery(false);
    config.build().unwrap()
}

/// The wall clock when the recording began, by the nonces in it: they tell seconds.
pub(super) fn epoch(recording: &Recording) -> UnixTime {
    let nonces: Vec<(u64, Instant)> = recording
        .connections
        .iter()
        .filter_map(|connection| {
            let complete = connection.messages[Side::Client as usize].last()?;
            let seconds = u32::from_be_bytes(*value(complete, tags::NONC).first_chunk()?);
            let last = connection.message_starts(Side::Client).pop()?;
            let said = connection.packets.iter().find(|packet| {
                packet.from.is_client()
                    && Frames::new(&packet.plain)
                        .any(|frame| matches!(frame, Ok(Frame::Stream { stream: 1, offset, .. }) if offset == last))
            })?;
            Some((seconds.into(), said.at))
        })
        .collect();
    let Some((first, _)) = nonces.first() else { return UnixTime::from_secs(1_800_000_000) };
    // In steps of 5 ms; what fits is a part of a second, of which the middle is taken.
    let from = (first - 1000) * 1_000_000;
    let candidates = (0..1_000_000).map(|step| UnixTime::from_micros(from + step * 5_000));
    let fits = |epoch: &UnixTime| nonces.iter().all(|(seconds, at)| epoch.at(*at).as_secs() == *seconds);
    let fitting: Vec<UnixTime> = candidates.skip_while(|epoch| !fits(epoch)).take_while(fits).collect();
    fitting[fitting.len() / 2]
}
