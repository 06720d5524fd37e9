//! Socket options that no safe interface has (Linux). Owns nothing. Timers: none.

use std::net::UdpSocket;
use std::{io, os::fd::AsRawFd};

/// Sets an option of the level `SOL_SOCKET`.
///
/// # Safety
/// `value` is of the type that the option takes, and the pointers in it, if any, are good for as long as the call.
#[allow(unsafe_code, reason = "no safe interface has these socket options")]
pub(crate) unsafe fn set<T>(socket: &UdpSocket, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the kernel copies as many bytes as `value` has; the caller answers for what they mean.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
