//! Raw: all of the gateway that the compiler cannot check.
//!
//! Values of maps are bytes to the kernel; socket options, pins of links, the question for the programs
//! at a hook and ranges of descriptors have no safe wrapper; and a child joins its cgroup and loses its
//! rights between fork and exec.
#![expect(unsafe_code, reason = "the kernel's interface: maps, pins, hooks, descriptors, fork")]

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::thread::UnshareFlags;
use sealtap_common::kernel::{Bank, Endpoint, FLOW_OPTION, Flow, Query, Settings, Watch};

use super::fence::Fence;

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
struct Programs {
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
    let mut query = Programs {
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
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, QUERY, &raw mut query, size_of::<Programs>()) };
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

/// The query in an entry; none where it has another length.
pub(super) fn query_in(entry: &[u8]) -> Option<Query> {
    if entry.len() != size_of::<Query>() {
        return None;
    }
    // SAFETY: as above, for a query.
    Some(unsafe { entry.as_ptr().cast::<Query>().read_unaligned() })
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

/// The cookie of the network namespace that this process is in; none where the kernel does not say, which Linux
/// does from 5.14 on.
pub(super) fn own_namespace() -> Option<u64> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    let (mut cookie, mut length) = (0_u64, libc::socklen_t::try_from(size_of::<u64>()).ok()?);
    // SAFETY: the kernel writes at most `length` bytes into `cookie`, and any bytes are a number.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (answer == 0 && usize::try_from(length) == Ok(size_of::<u64>())).then_some(cookie)
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

/// Where a child is to be before its program begins, and what it is to have lost.
#[derive(Debug)]
pub struct Joining {
    processes: File,
    fence: Option<Fence>,
}

impl Joining {
    /// By the list of a cgroup's processes, open for writing.
    pub(super) fn new(processes: File) -> Self {
        Self { processes, fence: None }
    }

    /// Behind a fence as well.
    #[must_use]
    pub fn behind(self, fence: Fence) -> Self {
        Self { fence: Some(fence), ..self }
    }

    /// Has the child of `command` join before its program begins; where it cannot, it does not. What
    /// failed behind the fence is told by [`Fence::refused`].
    pub fn before(self, command: &mut Command) {
        let Self { mut processes, fence } = self;
        let join = move || -> io::Result<()> {
            processes.write_all(b"0")?;
            fence.as_ref().map_or(Ok(()), Fence::enter)
        };
        // SAFETY: between fork and exec, system calls alone, on what was prepared before: one `write` to a
        // descriptor that is open, and those of the fence. No lock, no memory.
        unsafe { command.pre_exec(join) };
    }
}

/// Leaves the namespaces of mounts and cgroups for new ones.
pub(super) fn leave_namespaces() -> rustix::io::Result<()> {
    // SAFETY: what is unsafe about it is a table of descriptors that is no longer shared; that flag is
    // not among these.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP) }
}

/// What `BPF_OBJ_PIN` takes (`union bpf_attr` of `linux/bpf.h`), as far as it is used.
#[repr(C)]
struct PinCall {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// Holds what is behind a descriptor of this process at `path` of a BPF file system.
///
/// # Errors
///
/// It is no object of BPF, or the path is not there or taken.
pub(super) fn pin(descriptor: RawFd, path: &CStr) -> io::Result<()> {
    const OBJ_PIN: libc::c_int = 6;
    let descriptor = u32::try_from(descriptor).map_err(io::Error::other)?;
    let address = u64::try_from(path.as_ptr().addr()).map_err(io::Error::other)?;
    let call = PinCall { path: address, descriptor, flags: 0 };
    // SAFETY: the kernel reads `size_of` bytes of `call`, and the path up to its end; both outlive the
    // call. A number that is no descriptor is an error and nothing else.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, OBJ_PIN, &raw const call, size_of::<PinCall>()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has every descriptor above the three standard ones be closed when the next program begins.
///
/// # Errors
///
/// A kernel before 5.11.
pub(super) fn close_at_exec() -> rustix::io::Result<()> {
    // SAFETY: three numbers; nothing is closed before the program that holds it is gone.
    let answer =
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match answer {
        0 => Ok(()),
        _ => Err(rustix::io::Errno::from_io_error(&io::Error::last_os_error())
            .unwrap_or(rustix::io::Errno::INVAL)),
    }
}

/// What `BPF_MAP_CREATE` takes, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct MapCall {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
    inner: u32,
}

/// An array of one number, or, with `inner`, of one map like that.
///
/// # Errors
///
/// No right to, or no such kind of map.
pub(super) fn array_of_one(inner: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    const MAP_CREATE: libc::c_int = 0;
    const ARRAY: u32 = 2;
    const ARRAY_OF_MAPS: u32 = 12;
    let mut call = MapCall { kind: ARRAY, key: 4, value: 4, entries: 1, ..MapCall::default() };
    if let Some(inner) = inner {
        call.kind = ARRAY_OF_MAPS;
        call.inner = u32::try_from(inner.as_raw_fd()).map_err(io::Error::other)?;
    }
    // SAFETY: the kernel reads `size_of` bytes of `call`, which outlives the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, MAP_CREATE, &raw const call, size_of::<MapCall>()) };
    match RawFd::try_from(answer) {
        // SAFETY: the kernel has just made it, for nobody else.
        Ok(made @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(made) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What `BPF_MAP_UPDATE_ELEM` takes.
#[repr(C)]
struct EntryCall {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Puts the map `inner` in the one place of `outer`.
///
/// # Errors
///
/// It is not like those that `outer` was made for.
pub(super) fn put_map(outer: BorrowedFd<'_>, inner: BorrowedFd<'_>) -> io::Result<()> {
    const UPDATE: libc::c_int = 2;
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).map_err(io::Error::other);
    let (key, value) = (0_u32, number(inner)?);
    let address = |of: &u32| u64::try_from((&raw const *of).addr()).map_err(io::Error::other);
    let call = EntryCall {
        map: number(outer)?,
        unused: 0,
        key: address(&key)?,
        value: address(&value)?,
        flags: 0,
    };
    // SAFETY: the kernel reads `size_of` bytes of `call`, and at the two addresses in it as many as the map's
    // keys and values have, which are four each; all of it outlives the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, UPDATE, &raw const call, size_of::<EntryCall>()) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor above the three standard ones.
///
/// # Errors
///
/// A kernel before 5.9.
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: called before anything of this process holds a descriptor of its own, so what is closed
    // came from whoever started it.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Does something with an open descriptor by its number.
pub(super) fn with_descriptor<T>(number: RawFd, look: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
    // SAFETY: the number comes from this process's own list; one that has been closed meanwhile makes
    // each call on it fail, and none of those that are made closes it or writes to it.
    look(unsafe { BorrowedFd::borrow_raw(number) })
}
