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

/// The buffers of a receive call, 1 MiB of them.
pub struct ReceiveBatch {
    data: Box<[u8]>,
    metas: [RecvMeta; MESSAGES],
    messages: usize,
    bound: SocketAddr,
}

impl ReceiveBatch {
    /// Buffers with nothing in them.
    pub fn new() -> Self {
        Self {
            data: vec![0; MESSAGES * MESSAGE_SIZE].into(),
            metas: [RecvMeta::default(); MESSAGES],
            messages: 0,
            bound: SocketAddr::from(([0; 4], 0)),
        }
    }

    /// One system call. Returns how many datagrams and bytes it gave.
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
        self.messages = state.recv(socket, &mut slices, &mut self.metas)?;
        let metas = &self.metas[..self.messages];
        let datagrams = metas.iter().map(|meta| meta.len.div_ceil(stride(meta)).max(1)).sum();
        Ok((datagrams, metas.iter().map(|meta| meta.len).sum()))
    }

    /// Whether the last call was filled to the last message: there may be more where that came from.
    pub fn is_full(&self) -> bool {
        self.messages == MESSAGES
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
}
