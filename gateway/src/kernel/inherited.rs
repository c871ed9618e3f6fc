//! Inherited: what whoever started sealtap left open for a command behind the fence.
//!
//! In: this process's three standard descriptors; the others are closed when the command begins (`fence`). Out:
//! which of them it may have as they are, and which through a pipe only. Through a directory or a descriptor
//! that is a path alone, files behind the fence can be opened; through a unix socket comes any descriptor at
//! all; a file of the kernel that is open for writing is a way out of the cgroup. Fails with what it is.

use std::fmt;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, fstatfs};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use super::raw::with_descriptor;

/// File systems by which the kernel is told what to do: cgroups of both versions, `/proc`, `/sys`, debugfs, tracefs,
/// binfmt_misc, configfs, securityfs, efivarfs, SELinux, pins of BPF, fusectl (`linux/magic.h`).
const KERNEL: [u64; 13] = [
    0x6367_7270,
    0x0027_e0eb,
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x4249_4e4d,
    0x6265_6570,
    0x7363_6673,
    0xde5e_81e4,
    0xf97c_ff8c,
    0xcafe_4a11,
    0x6573_5543,
];

/// How a command may have one of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// As it is.
    Given,
    /// A stream of a unix socket: what is read and written, and nothing beside it.
    Piped,
}

/// One that it may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Its number.
    pub number: RawFd,
    /// What it is.
    pub what: &'static str,
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, what } = self;
        write!(
            formatter,
            "descriptor {number} is {what}, which would go around the gateway or the fence (take a file, a \
             pipe or a terminal)"
        )
    }
}

/// How a command may have a standard descriptor.
///
/// # Errors
///
/// Not at all.
pub fn standard(number: RawFd) -> Result<Standard, Unfit> {
    with_descriptor(number, look).map_err(|what| Unfit { number, what })
}

fn look(descriptor: BorrowedFd<'_>) -> Result<Standard, &'static str> {
    let (Ok(stat), Ok(flags)) = (fstat(descriptor), fcntl_getfl(descriptor)) else {
        // There is none.
        return Ok(Standard::Given);
    };
    if flags.contains(OFlags::PATH) {
        return Err("open as a path alone");
    }
    let of_kernel = || {
        let kind = fstatfs(descriptor).map(|system| u64::try_from(system.f_type).unwrap_or(0));
        kind.is_ok_and(|kind| KERNEL.contains(&kind))
    };
    match FileType::from_raw_mode(stat.st_mode) {
        // By its name under `/proc/self/fd` it could be opened once more, as the caller sees it, to be written.
        FileType::RegularFile if of_kernel() => Err("a file of the kernel"),
        FileType::RegularFile | FileType::CharacterDevice | FileType::Fifo => Ok(Standard::Given),
        FileType::Socket => match (socket_domain(descriptor), socket_type(descriptor)) {
            (Ok(AddressFamily::UNIX), Ok(SocketType::STREAM)) => Ok(Standard::Piped),
            (Ok(AddressFamily::UNIX), _) => Err("a unix socket that is no stream"),
            _ => Err("a network socket"),
        },
        FileType::Directory => Err("a directory"),
        FileType::BlockDevice => Err("a disk"),
        _ => Err("neither file, pipe nor terminal"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn what_gives_more_than_bytes_is_not_given() {
        let is = |descriptor: &dyn AsFd| look(descriptor.as_fd());
        let path = libc::O_PATH;
        let path = File::options().read(true).custom_flags(path).open("/dev/null").unwrap();
        assert!(is(&path).unwrap_err().contains("path"));
        assert_eq!(is(&File::open("/").unwrap()), Err("a directory"));
        assert_eq!(is(&UdpSocket::bind("127.0.0.1:0").unwrap()), Err("a network socket"));
        assert!(is(&UnixDatagram::unbound().unwrap()).is_err());
        assert!(is(&eventfd(0, EventfdFlags::CLOEXEC).unwrap()).unwrap_err().contains("neither"));
        let own = File::options().write(true).open("/proc/self/comm").unwrap();
        assert!(is(&own).unwrap_err().contains("of the kernel"));
        // What a shell, a build, an editor or a service manager gives.
        assert_eq!(is(&UnixStream::pair().unwrap().0), Ok(Standard::Piped));
        assert!(is(&File::open("/proc/self/comm").unwrap()).unwrap_err().contains("kernel"));
        assert_eq!(is(&File::open("/dev/null").unwrap()), Ok(Standard::Given));
        assert_eq!(is(&tempfile::tempfile().unwrap()), Ok(Standard::Given));
        assert_eq!(is(&std::io::pipe().unwrap().0), Ok(Standard::Given));
    }
}
