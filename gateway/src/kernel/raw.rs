//! Raw: all of the gateway that the compiler cannot check.
//!
//! Four things: values of maps are bytes to the kernel, one socket option and the question for the
//! programs at a hook have no safe wrapper, and a child joins its cgroup between fork and exec.
#![expect(unsafe_code, reason = "the kernel's interface: maps, a socket option, hooks, fork")]

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use sealtap_common::kernel::{Bank, Endpoint, FLOW_OPTION, Flow, Settings, Watch};

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
// SAFETY: as above.
unsafe impl aya::Pod for Value<Endpoint> {}

/// Where programs are attached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// A cgroup, by its folder: what runs for it, from there and from all above.
    Cgroup(BorrowedFd<'a>),
    /// A device, by its index.
    Device(u32),
}

/// The kernel's question for programs at a hook (`union bpf_attr`, `BPF_PROG_QUERY`).
#[repr(C)]
struct Query {
    place: u32,
    hook: u32,
    flags: u32,
    attached: u32,
    programs: u64,
    count: u32,
    rest: [u32; 9],
}

/// The programs at a hook by their ids; none where the kernel does not say.
pub(super) fn programs_at(place: Place<'_>, hook: u32) -> Vec<u32> {
    const QUERY: libc::c_int = 16;
    const EFFECTIVE: u32 = 1;
    /// More than a hook takes, at each of the depths at which a cgroup may be watched.
    const ROOM: usize = 64 * 17;
    let mut programs = vec![0_u32; ROOM];
    let (place, flags) = match place {
        Place::Cgroup(folder) => (u32::try_from(folder.as_raw_fd()).unwrap_or(0), EFFECTIVE),
        Place::Device(index) => (index, 0),
    };
    let mut query = Query {
        place,
        hook,
        flags,
        attached: 0,
        programs: u64::try_from(programs.as_mut_ptr().addr()).unwrap_or(0),
        count: u32::try_from(ROOM).unwrap_or(0),
        rest: [0; 9],
    };
    // SAFETY: the kernel reads and writes as many bytes as the question has, and at most `count`
    // numbers behind the address in it, which are there until this returns.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, QUERY, &raw mut query, size_of::<Query>()) };
    let count = if answer == 0 { usize::try_from(query.count).unwrap_or(0) } else { 0 };
    programs.truncate(count);
    programs
}

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
