//! Datagrams on their way in.
//!
//! Owns [`ReceiveBatch`], the buffers that every receive call fills again. Invariants: nothing is allocated after the start; a datagram lies
//! where the kernel put it until the next call, and the protocol decrypts it there. Timers: none.

use crate::address;
use quic_proto::net::{Datagram, Ecn, FourTuple};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;

/// Messages that one system call takes. With GRO a message holds up to 64 datagrams.
const MESSAGES: usize = 16;

/// Room for one message: the largest UDP payload, which is also the most that GRO puts together.
const MESSAGE_SIZE: usize = 1 << 16;

/// Failures of a socket in a row before it is given up. Single ones happen: a datagram of ours was answered by an ICMP error.
const MAX_FAILURES: u32 = 100;

/// The buffers of a receive call, 1 MiB of them.
pub struct ReceiveBatch {
    data: Box<[u8]>,
    metas: [RecvMeta; MESSAGES],
    messages: usize,
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
        (self.messages, self.bound) = (0, bound);
        let mut chunks = self.data.chunks_exact_mut(MESSAGE_SIZE);
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        match state.recv(socket, &mut slices, &mut self.metas) {
            Ok(messages) => (self.messages, self.failures) = (messages, 0),
            Err(error) => self.note(error)?,
        }
        let metas = &self.metas[..self.messages];
        let datagrams = metas.iter().map(|meta| meta.len.div_ceil(stride(meta)).max(1)).sum();
        Ok((datagrams, metas.iter().map(|meta| meta.len).sum()))
    }

    /// What the last call received, for the protocol to decrypt in place.
    pub fn datagrams(&mut self) -> impl Iterator<Item = Datagram<'_>> {
        let bound = self.bound;
        let buffers = self.data.chunks_exact_mut(MESSAGE_SIZE);
        buffers.zip(&self.metas).take(self.messages).flat_map(move |(buffer, meta)| {
            let local = address::local(bound, meta.dst_ip);
            let path = FourTuple { local, remote: address::canonical(meta.addr) };
            let ecn = meta.ecn.and_then(|ecn| Ecn::from_bits(ecn as u8));
            let payloads = buffer[..meta.len.min(MESSAGE_SIZE)].chunks_mut(stride(meta));
            payloads.map(move |payload| Datagram { path, ecn, payload })
        })
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
        let lens: Vec<_> = batch.datagrams().map(|datagram| datagram.payload.len()).collect();
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
