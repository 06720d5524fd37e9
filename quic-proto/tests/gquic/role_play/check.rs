//! Whether our end said what was recorded, and heard what was said.

use super::actor::{self, without_words};
use super::play::Scene;
use super::recording::{Tags, value};
use quic_proto::error::{AppError, ConnectionError, TransportErrorCode};
use quic_proto::gquic::wire::message::{Message, Tag, tags};
use quic_proto::gquic::wire::{ErrorCode, Frame};
use quic_proto::time::{Duration, Instant};
use std::collections::BTreeSet;

impl Scene<'_, '_> {
    /// What ours said is what was recorded, where it is not free.
    pub(super) fn check(&self, free: &[Tag]) {
        let (ours, heard) = (self.play.ours, &self.actor.heard);
        let recorded = &self.script.messages[ours as usize];
        let said = heard.messages();
        assert_eq!(said.len(), recorded.len(), "handshake messages");
        for (said, recorded) in said.iter().zip(recorded) {
            same_message(*said, recorded, free);
            if let Some(config) = said.get(tags::SCFG) {
                let recorded = Message::parse_whole(value(recorded, tags::SCFG)).unwrap();
                let recorded: Tags = recorded.iter().map(|(tag, value)| (tag, value.to_vec())).collect();
                same_message(Message::parse_whole(config).unwrap(), &recorded, &[tags::EXPY]);
            }
        }
        assert_eq!(heard.message_places(), self.recorded_places(), "types and levels of messages");
        assert_eq!(heard.streams, self.script.spoken(ours), "what was said on streams");
        let free = |frame: &Frame<'_>| {
            matches!(
                frame,
                Frame::Ack(_)
                    | Frame::Ping
                    | Frame::Stream { .. }
                    | Frame::RstStream { .. }
                    | Frame::WindowUpdate { .. }
            )
        };
        // How often to say that one is blocked depends on when one tried.
        let others: BTreeSet<_> = self
            .script
            .frames(ours)
            .filter(|frame| !free(frame))
            .map(|frame| without_words(&frame))
            .collect();
        assert_eq!(heard.others, others, "BLOCKED and CONNECTION_CLOSE");
        let late = |pings: &mut dyn Iterator<Item = Instant>| keep_alives(self.script.starts(), pings);
        let recorded = late(&mut self.script.pings(ours));
        assert_eq!(late(&mut heard.pings.iter().copied()), recorded, "PINGs that keep the connection alive");
        self.check_application();
        self.check_end();
    }

    fn recorded_places(&self) -> Vec<(String, String)> {
        let ours = self.play.ours;
        let said = self.script.said(ours);
        let begins = |packet: &&actor::Said, start: u64| {
            packet.frames.iter().any(|frame| frame["stream_id"] == 1 && frame["offset"] == start)
        };
        let starts = self.script.message_starts(ours);
        let places = starts.into_iter().map(|start| {
            let packet = said.iter().find(|packet| begins(packet, start)).unwrap();
            (packet.kind.clone(), packet.level.clone())
        });
        places.collect()
    }

    /// Our application got what the played end said, as far as it wanted it.
    fn check_application(&self) {
        let refused: Vec<u32> = self
            .script
            .frames(self.play.ours)
            .filter_map(|frame| match frame {
                Frame::RstStream { stream, code, .. } if code.0 == 0 => Some(stream),
                _ => None,
            })
            .collect();
        for (stream, spoken) in self.script.spoken(!self.play.ours) {
            if refused.contains(&stream) {
                continue;
            }
            let got = self.application.got.get(&stream).cloned().unwrap_or_default();
            let reset = spoken.reset.filter(|(code, _)| *code != 0).map(|(code, _)| code);
            assert_eq!(got.reset.map(|(code, _)| code), reset, "stream {stream}");
            // What was not read when the reset came is gone.
            let same = if reset.is_some() {
                spoken.data.starts_with(&got.data)
            } else {
                (&got.data, got.fin) == (&spoken.data, spoken.fin)
            };
            assert!(same, "stream {stream}: {} bytes of {}", got.data.len(), spoken.data.len());
        }
    }

    /// Our application learns of the end what the played end said.
    fn check_end(&self) {
        let said = self.script.frames(!self.play.ours).find_map(|frame| match frame {
            Frame::ConnectionClose { code, reason } => Some((code, reason)),
            _ => None,
        });
        let Some((code, words)) = said else { return };
        let application = code.name().is_none() || code == ErrorCode::PEER_GOING_AWAY;
        match self.application.closed.as_ref().expect("it ended") {
            &ConnectionError::PeerApplication { code: heard, ref reason } if application => {
                let expected = if code.name().is_none() { code.0 } else { 0 };
                assert_eq!((heard, &reason[..]), (AppError::from(expected), words));
            }
            ConnectionError::PeerTransport(error) if !application => {
                assert_eq!(error.code, TransportErrorCode::google(code.0));
            }
            other => panic!("{other}"),
        }
    }
}

/// How often a connection that began then was kept alive: in the first second PINGs have other reasons, and some are sent again.
pub(super) fn keep_alives(start: Instant, pings: &mut dyn Iterator<Item = Instant>) -> usize {
    let mut last = start;
    pings.filter(|ping| *ping > std::mem::replace(&mut last, *ping) + Duration::from_secs(1)).count()
}

/// What was said is what was recorded, but for the tags in `free`.
fn same_message(said: Message<'_>, recorded: &Tags, free: &[Tag]) {
    for (tag, value) in said.iter().filter(|(tag, _)| !free.contains(tag)) {
        assert!(recorded.contains(&(tag, value.to_vec())), "{tag} is not as recorded");
    }
    for (tag, _) in recorded.iter().filter(|(tag, _)| !free.contains(tag)) {
        assert!(said.get(*tag).is_some(), "{tag} was said");
    }
}
