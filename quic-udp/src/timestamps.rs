//! Switches off what quinn-udp switches on and nobody here asks for: the kernel's time stamps on what is received (`SO_TIMESTAMPNS`).
//!
//! Owns nothing. They cost more than their own time: quinn-udp has 96 bytes for what the kernel tells of a message, and of a message that was
//! put together (GRO) the stamp, the size of the datagrams and our address fill them, so that the ECN codepoint, which comes last, is cut
//! off. Timers: none.

use crate::sockopt;
use std::io;
use std::net::UdpSocket;

/// Has the kernel put no time stamps on what `socket` receives.
#[allow(unsafe_code, reason = "no safe interface has this socket option")]
pub(crate) fn switch_off(socket: &UdpSocket) -> io::Result<()> {
    let off: libc::c_int = 0;
    // SAFETY: the option takes an integer.
    unsafe { sockopt::set(socket, libc::SO_TIMESTAMPNS, &off) }
}
