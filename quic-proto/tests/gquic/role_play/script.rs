//! The random numbers of a recording.

use super::recording::{Recording, value};
use crate::describe::bytes;
use quic_proto::gquic::wire::message::tags;
use quic_proto::id::Side;
use quic_proto::rng::{Rng, SeededRng};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// The random numbers of the recording, by their lengths, and others when those are used up.
#[derive(Clone)]
pub(super) struct Scripted {
    script: Arc<Mutex<BTreeMap<usize, VecDeque<Vec<u8>>>>>,
    rest: Arc<Mutex<SeededRng>>,
}

impl Scripted {
    pub(super) fn new() -> Self {
        Self { script: Arc::default(), rest: Arc::new(Mutex::new(SeededRng::from_u64(1))) }
    }

    /// From now on this comes among those of its length.
    fn expect(&self, number: impl Into<Vec<u8>>) {
        let number = number.into();
        self.script.lock().unwrap().entry(number.len()).or_default().push_back(number);
    }

    /// What the client drew: ids, keys and nonces.
    pub(super) fn of_client(&self, recording: &Recording, chosen: &[usize]) {
        for connection in chosen.iter().map(|number| &recording.connections[*number]) {
            self.expect(&connection.cid[..]);
            for hello in &connection.messages[Side::Client as usize] {
                if let (public @ [_, ..], nonce) = (value(hello, tags::PUBS), value(hello, tags::NONC)) {
                    self.expect(recording.private(public));
                    self.expect(&nonce[12..]);
                }
            }
        }
    }

    /// What the server drew after so many restarts: its config, and a nonce of either kind and a key for each connection.
    pub(super) fn of_server(&self, recording: &Recording, chosen: &[usize], life: usize) {
        let config = recording.events("server_config").nth(life).unwrap();
        // The salt of our first token, which is the server's own matter.
        self.expect([1; 16]);
        self.expect(bytes(&config["orbit"]));
        self.expect(bytes(&config["scid"]));
        self.expect(recording.private(&bytes(&config["public"])));
        let connections = chosen.iter().map(|number| &recording.connections[*number]);
        for connection in connections.filter(|c| recording.config_at(c.starts()).0 == life) {
            let Some(nonce) = connection.diversification() else { continue };
            let shlo = connection.messages[Side::Server as usize].last().unwrap();
            self.expect(nonce);
            self.expect(value(shlo, tags::SNO));
            self.expect(recording.private(value(shlo, tags::PUBS)));
        }
    }
}

impl Rng for Scripted {
    fn fill(&mut self, dest: &mut [u8]) {
        match self.script.lock().unwrap().get_mut(&dest.len()).and_then(VecDeque::pop_front) {
            Some(number) => dest.copy_from_slice(&number),
            None => self.rest.lock().unwrap().fill(dest),
        }
    }

    fn child(&mut self) -> Box<dyn Rng> {
        Box::new(self.clone())
    }

    fn next_u64(&mut self) -> u64 {
        self.rest.lock().unwrap().next_u64()
    }
}
