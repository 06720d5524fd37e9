//! The rule as a classic BPF program, which Linux asks for the socket of each datagram (`SO_ATTACH_REUSEPORT_CBPF`, socket(7)).
//!
//! Owns nothing. The program sees the UDP payload; what it returns is an index into the group, and anything beyond the group has the kernel
//! choose by the addresses. A load beyond the end of the datagram ends it with index 0. Timers: none.

use super::{LONG_DCID, LONG_DCID_LEN, LONG_FORM, SHORT_DCID, Shards};
use crate::sockopt;
use libc::sock_filter;
use std::io;
use std::net::UdpSocket;

const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const JUMP_IF_SET: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const MODULO: u16 = (libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K) as u16;
const RETURN_VALUE: u16 = (libc::BPF_RET | libc::BPF_A) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// [`Shards::of`] for the kernel. Jumps count from the next instruction.
pub(super) fn program(shards: Shards) -> [sock_filter; 10] {
    let jump = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let step = |code, k| jump(code, 0, 0, k);
    [
        step(LOAD_BYTE, 0),
        jump(JUMP_IF_SET, 0, 4, LONG_FORM.into()), // not set: to the short header
        step(LOAD_BYTE, LONG_DCID_LEN as u32),
        jump(JUMP_IF_EQUAL, 5, 0, 0), // no id: to the last line
        step(LOAD_BYTE, LONG_DCID as u32),
        step(JUMP, 1), // past the short header
        step(LOAD_BYTE, SHORT_DCID as u32),
        step(MODULO, shards.count() as u32),
        step(RETURN_VALUE, 0),
        step(RETURN, u32::MAX),
    ]
}

/// Sets the program for the whole group that `socket` belongs to.
#[allow(unsafe_code, reason = "no safe interface has this socket option")]
pub(super) fn attach(socket: &UdpSocket, program: &[sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the option takes a `sock_fprog`, which points to as many instructions as it says; the kernel copies them and keeps no pointer.
    unsafe { sockopt::set(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program) }
}
