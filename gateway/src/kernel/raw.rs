//! Raw: all of the gateway that the compiler cannot check.
//!
//! Three things: values of maps are bytes to the kernel, two socket options have no safe wrapper, and a
//! child joins its cgroup between fork and exec.
#![expect(unsafe_code, reason = "the kernel's interface: bytes of maps, a socket option, fork")]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use sealtap_common::kernel::{Bank, FLOW_OPTION, Flow, Settings, Watch};

/// A value of a map.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(super) struct Value<T>(pub(super) T);

// SAFETY: these are `repr(C)`, made of integers alone, and without padding, which their sizes assert
// where they are defined; any bytes are one of them.
unsafe impl aya::Pod for Value<Watch> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<Settings> {}
// SAFETY: as above.
unsafe impl aya::Pod for Value<Bank> {}

/// The flow in an event; none where it has another length.
pub(super) fn flow_in(event: &[u8]) -> Option<Flow> {
    if event.len() != size_of::<Flow>() {
        return None;
    }
    // SAFETY: as many bytes as a flow has are there, and any bytes are one; the read needs no
    // alignment.
    Some(unsafe { event.as_ptr().cast::<Flow>().read_unaligned() })
}

/// What the kernel noted of an accepted connection before its first packet; none where it noted
/// nothing, since nobody sent it here.
#[must_use]
pub fn flow_of(socket: impl AsFd) -> Option<Flow> {
    let mut flow = Flow::default();
    let whole = size_of::<Flow>();
    let mut length = libc::socklen_t::try_from(whole).ok()?;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes into `flow`, and any bytes are one.
    let answer = unsafe {
        libc::getsockopt(
            descriptor,
            libc::SOL_IP,
            FLOW_OPTION,
            (&raw mut flow).cast(),
            &raw mut length,
        )
    };
    let written = usize::try_from(length).ok()?;
    (answer == 0 && written == whole && flow.destination.port != 0).then_some(flow)
}

/// Bytes that came over a TCP connection, and bytes that its other end acknowledged, as the kernel
/// counts them; none where it does not say.
#[must_use]
pub fn bytes_of(socket: impl AsFd) -> Option<(u64, u64)> {
    /// Of `struct tcp_info` (linux/tcp.h), up to the end of `tcpi_bytes_received`.
    const LENGTH: usize = 136;
    const ACKED: usize = 120;
    const RECEIVED: usize = 128;
    let mut info = [0_u8; LENGTH];
    let mut length = libc::socklen_t::try_from(LENGTH).ok()?;
    let descriptor = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes into `info`, and any bytes are good.
    let answer = unsafe {
        libc::getsockopt(
            descriptor,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if answer != 0 || usize::try_from(length) != Ok(LENGTH) {
        return None;
    }
    let number = |at: usize| {
        let bytes = info.get(at..)?.first_chunk::<8>()?;
        Some(u64::from_ne_bytes(*bytes))
    };
    Some((number(RECEIVED)?, number(ACKED)?))
}

/// Where a child is to be before its program begins.
#[derive(Debug)]
pub struct Joining(File);

impl Joining {
    /// By the list of a cgroup's processes, open for writing.
    pub(super) fn new(processes: File) -> Self {
        Self(processes)
    }

    /// Has the child of `command` join before its program begins; where it cannot, it does not.
    pub fn before(self, command: &mut Command) {
        let Self(mut processes) = self;
        let join = move || -> io::Result<()> { processes.write_all(b"0") };
        // SAFETY: between fork and exec, one `write` to a descriptor that is open, and nothing else:
        // no lock, no memory.
        unsafe { command.pre_exec(join) };
    }
}
