//! Datagrams on their way in.
//!
//! Owns [`ReceiveBatch`], the buffers that every receive call fills again, and how much of what is in them was taken. Invariants: nothing is
//! allocated after the start; a datagram lies where the kernel put it until the next call, and the protocol decrypts it there; what was not
//! taken before that call is lost. Timers: none.

use crate::address;
use quic_proto::net::{Datagram, Ecn, FourTuple};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

/// Messages that one system call takes. With GRO a message holds up to 64 datagrams.
const MESSAGES: usize = 16;

/// Messages that one system call takes while they are large: a quarter of a megabyte, which the processor's caches still hold when it is
/// decrypted and read. A receiver that takes more at once reads slower than it could, gets behind, and then finds more still.
const LARGE_MESSAGES: usize = 4;

/// How long messages are on average when they are large.
const LARGE: usize = MESSAGE_SIZE / 4;

/// Room for one message: the largest UDP payload, which is also the most that GRO puts together.
const MESSAGE_SIZE: usize = 1 << 16;

/// Failures of a socket in a row before it is given up. Single ones happen: a datagram of ours was answered by an ICMP error.
const MAX_FAILURES: u32 = 100;

/// The buffers of a receive call, 1 MiB of them.
pub struct ReceiveBatch {
    data: Box<[u8]>,
    metas: [RecvMeta; MESSAGES],
    messages: usize,
    /// How many the next call takes at most.
    limit: usize,
    drained: bool,
    /// The message that is being taken, and how many of its bytes are.
    at: (usize, usize),
    /// Where that message came from, and its ECN codepoint.
    of: (FourTuple, Option<Ecn>),
    bound: SocketAddr,
    /// Calls in a row that failed.
    failures: u32,
}

impl ReceiveBatch {
    /// Buffers with nothing in them.
    pub fn new() -> Self {
        Self {
            data: vec![0; MESSAGES * MESSAGE_SIZE].into(),
            metas: [RecvMeta::default(); MESSAGES],
            messages: 0,
            limit: MESSAGES,
            drained: false,
            at: (0, 0),
            of: (FourTuple::to(SocketAddr::from(([0; 4], 0))), None),
            bound: SocketAddr::from(([0; 4], 0)),
            failures: 0,
        }
    }

    /// One system call. Returns how many datagrams and bytes it gave; none if it failed for once.
    pub(crate) fn fill(
        &mut self,
        state: &UdpSocketState,
        socket: UdpSockRef<'_>,
        bound: SocketAddr,
    ) -> io::Result<(usize, usize)> {
        (self.messages, self.at, self.bound) = (0, (0, 0), bound);
        let mut chunks = self.data.chunks_exact_mut(MESSAGE_SIZE);
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        match state.recv(socket, &mut slices[..self.limit], &mut self.metas[..self.limit]) {
            Ok(messages) => (self.messages, self.failures) = (messages, 0),
            Err(error) => self.note(error)?,
        }
        let metas = &self.metas[..self.messages];
        let datagrams = metas.iter().map(|meta| meta.len.div_ceil(stride(meta)).max(1)).sum();
        let bytes = metas.iter().map(|meta| meta.len).sum();
        // A system that gives one message at a time never says that there is no more, and a failure does not either.
        self.drained = (1..self.limit.min(BATCH_SIZE)).contains(&self.messages);
        self.limit = if bytes > self.messages * LARGE { LARGE_MESSAGES } else { MESSAGES };
        Ok((datagrams, bytes))
    }

    /// The next datagram of what the last call received, for the protocol to decrypt in place.
    pub fn next_datagram(&mut self) -> Option<Datagram<'_>> {
        let (message, start) = self.at;
        let meta = self.metas[..self.messages].get(message)?;
        let len = meta.len.min(MESSAGE_SIZE);
        let end = (start + stride(meta)).min(len);
        self.at = if end < len { (message, end) } else { (message + 1, 0) };
        if start == 0 {
            let local = address::local(self.bound, meta.dst_ip);
            let path = FourTuple { local, remote: address::canonical(meta.addr) };
            self.of = (path, meta.ecn.and_then(|ecn| Ecn::from_bits(ecn as u8)));
        }
        let (path, ecn) = self.of;
        let buffer = message * MESSAGE_SIZE;
        Some(Datagram { path, ecn, payload: &mut self.data[buffer + start..buffer + end] })
    }

    /// Whether all that the last call received was taken.
    pub fn is_empty(&self) -> bool {
        self.at.0 >= self.messages
    }

    /// Whether the last call got less than it had room for: the socket had no more, and tells when more comes.
    pub fn drained_the_socket(&self) -> bool {
        self.drained
    }
}

impl ReceiveBatch {
    /// Lets a failure pass, unless there were too many or it only says that there is nothing.
    fn note(&mut self, error: io::Error) -> io::Result<()> {
        if error.kind() == io::ErrorKind::WouldBlock {
            return Err(error);
        }
        self.failures += 1;
        tracing::debug!(%error, failures = self.failures, "receive");
        if self.failures > MAX_FAILURES { Err(error) } else { Ok(()) }
    }
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// The length of every datagram of a message but the last.
fn stride(meta: &RecvMeta) -> usize {
    meta.stride.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_cut_into_datagrams() {
        let mut batch = ReceiveBatch::new();
        batch.metas[0].len = 2500;
        batch.metas[0].stride = 1200;
        batch.metas[1].len = 100;
        batch.metas[1].stride = 100;
        batch.messages = 2;
        let mut lens = Vec::new();
        while let Some(datagram) = batch.next_datagram() {
            lens.push(datagram.payload.len());
            assert_eq!(batch.is_empty(), lens.len() == 4);
        }
        assert_eq!(lens, [1200, 1200, 100, 100]);
    }

    #[test]
    fn passing_failures_pass() {
        let mut batch = ReceiveBatch::new();
        for _ in 0..MAX_FAILURES {
            batch.note(io::ErrorKind::ConnectionRefused.into()).unwrap();
            assert!(
                batch.note(io::ErrorKind::WouldBlock.into()).is_err(),
                "it always says that there is nothing"
            );
        }
        assert!(batch.note(io::ErrorKind::ConnectionRefused.into()).is_err());
    }
}
