//! How much of what was written the other end has not acknowledged yet.
//!
//! The one system call of this crate that no library wraps safely.
#![expect(unsafe_code, reason = "SIOCOUTQ has no safe wrapper")]

use std::ffi::c_int;
use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` of linux/sockios.h: bytes in the send queue, sent or not, that are unacknowledged.
const SIOCOUTQ: Opcode = 0x5411;

/// Bytes of `socket`'s send queue that the other end has not acknowledged.
///
/// # Errors
///
/// Whatever the kernel answers, for instance for a descriptor that is no TCP socket.
pub(super) fn unsent_bytes(socket: impl AsFd) -> io::Result<usize> {
    // SAFETY: SIOCOUTQ writes exactly one C int through its argument (tcp(7)), which is what a
    // Getter of c_int provides, and has no other effect.
    let count = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) }?;
    Ok(usize::try_from(count).unwrap_or(0))
}
