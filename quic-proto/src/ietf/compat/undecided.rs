//! A server's TLS session whose version is still to be chosen (RFC 9368 §2.3).
//!
//! A session wants to know the version and our transport parameters before it reads anything, and the version depends on what the client lists in
//! its own. So the client's hello is looked into first.
//!
//! Invariants: nothing is written before the version is chosen; it is chosen once, and is the client's own unless the client has listed another one
//! that we prefer. At most [`MAX_HELLO`] bytes are kept. Timers: none.

use super::Versions;
use crate::crypto::{Hello, NewKeys, PacketKeys, TlsServerConfig, TlsSession};
use crate::error::{TransportError, TransportErrorCode};
use crate::id::Side;
use crate::ietf::wire::{VersionInformation, version_info};
use crate::invariants::Version;
use std::sync::Arc;

/// Longer hellos are not waited for; whether they are read is up to the session.
const MAX_HELLO: usize = 1 << 16;

/// A session that begins when the client's hello is there.
pub(in crate::ietf) struct Undecided {
    tls: Arc<dyn TlsServerConfig>,
    /// The version of the client's first flight, in the end the one in use.
    version: Version,
    /// Those that we like better, the best first.
    preferred: Versions,
    /// What we tell the client to be available.
    available: Versions,
    /// Our encoded transport parameters, but for the versions.
    params: Vec<u8>,
    hello: Vec<u8>,
    session: Option<Box<dyn TlsSession>>,
}

impl Undecided {
    pub(in crate::ietf) fn new(
        tls: Arc<dyn TlsServerConfig>,
        version: Version,
        preferred: Versions,
        available: Versions,
        params: Vec<u8>,
    ) -> Self {
        Self { tls, version, preferred, available, params, hello: Vec::new(), session: None }
    }

    /// Begins the session, if the hello is whole.
    fn begin(&mut self) -> Result<(), TransportError> {
        match self.tls.peek_hello(&self.hello) {
            Hello::Incomplete if self.hello.len() < MAX_HELLO => return Ok(()),
            Hello::Complete(params) => self.version = self.choose(params),
            Hello::Incomplete | Hello::Opaque => {}
        }
        let mut params = std::mem::take(&mut self.params);
        version_info::encode(&mut params, self.version, &self.available);
        let session = self
            .tls
            .start(self.version.0, params)
            .map_err(|error| TransportError::new(TransportErrorCode::INTERNAL_ERROR, error.to_string()))?;
        let hello = std::mem::take(&mut self.hello);
        self.session.insert(session).read(&hello)
    }

    /// RFC 9368 §2.3: "the server MUST select one of these versions that it (1) supports and (2) knows the client's Chosen Version is
    /// compatible with." Of what is malformed the session's owner will hear.
    fn choose(&self, params: &[u8]) -> Version {
        let info = VersionInformation::find(params, Side::Client).ok().flatten();
        let Some(info) = info.filter(|info| info.chosen == self.version) else { return self.version };
        let listed = |version: &&Version| info.available().any(|listed| listed == **version);
        self.preferred.iter().find(listed).copied().unwrap_or(self.version)
    }
}

impl TlsSession for Undecided {
    fn read(&mut self, data: &[u8]) -> Result<(), TransportError> {
        if let Some(session) = &mut self.session {
            return session.read(data);
        }
        self.hello.extend_from_slice(data);
        self.begin()
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        self.session.as_mut()?.write(out)
    }

    fn is_handshaking(&self) -> bool {
        self.session.as_ref().is_none_or(|session| session.is_handshaking())
    }

    fn peer_params(&self) -> Option<&[u8]> {
        self.session.as_ref()?.peer_params()
    }

    fn chosen_version(&self) -> Option<u32> {
        self.session.as_ref().map(|_| self.version.0)
    }

    fn next_packet_keys(&mut self) -> Option<PacketKeys> {
        self.session.as_mut()?.next_packet_keys()
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.session.as_ref()?.alpn()
    }

    fn server_name(&self) -> Option<&str> {
        self.session.as_ref()?.server_name()
    }

    fn peer_certificates(&self) -> Vec<Vec<u8>> {
        self.session.as_ref().map_or(Vec::new(), |session| session.peer_certificates())
    }

    fn cipher_suite(&self) -> Option<&'static str> {
        self.session.as_ref()?.cipher_suite()
    }

    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        self.session.as_ref().is_some_and(|session| session.export_keying_material(out, label, context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::TlsClientConfig;
    use crate::crypto::null::{NullClient, NullServer};
    use smallvec::smallvec;

    /// A server that prefers version 2, for a client of version 1.
    fn undecided() -> Undecided {
        let tls = Arc::new(NullServer::default());
        let (preferred, available) = (smallvec![Version::V2], smallvec![Version::V2, Version::V1]);
        Undecided::new(tls, Version::V1, preferred, available, Vec::new())
    }

    /// The first message of a client that chose this version and lists these.
    fn hello(chosen: Version, available: &[Version]) -> Vec<u8> {
        let (mut params, mut hello) = (Vec::new(), Vec::new());
        version_info::encode(&mut params, chosen, available);
        let mut session = NullClient::default().start(1, "localhost", params).unwrap();
        assert!(session.write(&mut hello).is_none());
        hello
    }

    #[test]
    fn the_best_that_the_client_lists() {
        const V1: Version = Version::V1;
        const V2: Version = Version::V2;
        for (chosen, available, expected) in [
            (V1, &[V1, V2][..], V2),
            (V1, &[V2, Version(7), V1], V2),
            (V1, &[V1], V1),
            (V1, &[V1, Version(7)], V1),
            // Malformed, or of another version than the packets: the peer will be told.
            (V1, &[V2], V1),
            (V2, &[V1, V2], V1),
        ] {
            let (mut session, hello) = (undecided(), hello(chosen, available));
            let (last, first) = hello.split_last().unwrap();
            session.read(first).unwrap();
            let mut out = Vec::new();
            assert!(session.write(&mut out).is_none() && out.is_empty() && session.is_handshaking());
            assert_eq!((session.chosen_version(), session.peer_params()), (None, None));
            session.read(&[*last]).unwrap();
            assert_eq!(session.chosen_version(), Some(expected.0), "{chosen} {available:?}");
            assert!(session.write(&mut out).is_some() && !out.is_empty());
            assert!(session.hello.capacity() == 0 && session.peer_params().is_some());
        }
    }

    #[test]
    fn what_cannot_be_looked_into_is_left_to_the_session() {
        let mut session = undecided();
        assert!(session.read(&[99, 0, 0]).is_err(), "no hello");
        assert_eq!(session.chosen_version(), Some(Version::V1.0));
    }

    /// Says of every hello that more has to come.
    struct Insatiable;

    impl TlsServerConfig for Insatiable {
        fn start(
            &self,
            version: u32,
            params: Vec<u8>,
        ) -> Result<Box<dyn TlsSession>, crate::crypto::TlsConfigError> {
            NullServer::default().start(version, params)
        }

        fn peek_hello<'a>(&self, _bytes: &'a [u8]) -> Hello<'a> {
            Hello::Incomplete
        }
    }

    #[test]
    fn a_hello_without_end_is_not_kept() {
        let mut session = Undecided { tls: Arc::new(Insatiable), ..undecided() };
        let mut read = 0;
        while session.chosen_version().is_none() {
            let _ = session.read(&[1; 1000]);
            read += 1000;
            assert!(read <= MAX_HELLO + 1000 && session.hello.len() <= MAX_HELLO + 1000);
        }
        assert!(session.hello.is_empty());
    }
}
