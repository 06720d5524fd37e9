//! Switches off what quinn-udp switches on and nobody here asks for: the kernel's time stamps on what is received (`SO_TIMESTAMPNS`).
//!
//! Owns nothing. They cost more than their own time: quinn-udp has 96 bytes for what the kernel tells of a message, and of a message that was
//! put together (GRO) the stamp, the size of the datagrams and our address fill them, so that the ECN codepoint, which comes last, is cut
//! off. Timers: none.

use std::net::UdpSocket;
use std::{io, os::fd::AsRawFd};

/// Has the kernel put no time stamps on what `socket` receives.
#[allow(unsafe_code, reason = "no safe interface has this socket option")]
pub(crate) fn switch_off(socket: &UdpSocket) -> io::Result<()> {
    let off: libc::c_int = 0;
    // SAFETY: the descriptor is open; the option's value is an integer of the length that is given, which the kernel copies.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const off).cast(),
            size_of_val(&off) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
