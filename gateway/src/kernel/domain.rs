//! Domain: what keeps a command from reaching into programs outside of its own, by Landlock.
//!
//! Out: a command that is inside has no more right to a process outside than a stranger has: not to its
//! memory, its descriptors or its root by `/proc`, and from Linux 6.12 on neither to send it a signal nor
//! to connect to its abstract unix sockets. Nothing else changes. Absent where the kernel has no Landlock.
#![expect(unsafe_code, reason = "the kernel's interface: Landlock has no safe wrapper here")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;

use rustix::io::Errno;

/// What a set of rules is about (`struct landlock_ruleset_attr` of `linux/landlock.h`).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Rules {
    files: u64,
    net: u64,
    scoped: u64,
}

/// What is allowed beneath a folder (`struct landlock_path_beneath_attr`).
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    folder: i32,
}

/// `LANDLOCK_CREATE_RULESET_VERSION`, `LANDLOCK_RULE_PATH_BENEATH`.
const VERSION: u32 = 1;
const PATH_BENEATH: u32 = 1;

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET` and `LANDLOCK_SCOPE_SIGNAL`: since the sixth version.
const SCOPES: u64 = 0b11;
const SCOPES_SINCE: libc::c_long = 6;

/// `LANDLOCK_ACCESS_FS_MAKE_BLOCK`, which takes a capability anyway; and `LANDLOCK_ACCESS_FS_REFER`, without
/// which nothing could be moved between folders, since the second version.
const MAKE_BLOCK: u64 = 1 << 11;
const REFER: u64 = 1 << 13;
const REFER_SINCE: libc::c_long = 2;

/// Where a command is to be.
#[derive(Debug)]
pub(super) struct Domain(OwnedFd);

impl Domain {
    /// Whether this kernel has any.
    pub(super) fn is_there() -> bool {
        version().is_some()
    }

    /// A new one; none where the kernel has no Landlock.
    ///
    /// # Errors
    ///
    /// The kernel has it and makes none.
    pub(super) fn new() -> io::Result<Option<Self>> {
        let Some(version) = version() else { return Ok(None) };
        if version >= SCOPES_SINCE {
            let rules = Rules { scoped: SCOPES, ..Rules::default() };
            return made(&rules, size_of::<Rules>()).map(|made| Some(Self(made)));
        }
        // Before that a domain has to be about files: about what the command cannot do without one either.
        let files = if version >= REFER_SINCE { MAKE_BLOCK | REFER } else { MAKE_BLOCK };
        let domain = made(&Rules { files, ..Rules::default() }, size_of::<u64>())?;
        let root = File::options().read(true).custom_flags(libc::O_PATH).open("/")?;
        let rule = Beneath { allowed: files, folder: root.as_raw_fd() };
        let number = domain.as_raw_fd();
        // SAFETY: the kernel reads one rule, which is there until this returns.
        let answer = unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, number, PATH_BENEATH, &raw const rule, 0)
        };
        if answer == 0 { Ok(Some(Self(domain))) } else { Err(io::Error::last_os_error()) }
    }

    /// Has this thread be in it, and whatever it starts, for good. One system call; `no_new_privs` comes
    /// before.
    pub(super) fn enter(&self) -> rustix::io::Result<()> {
        // SAFETY: two numbers.
        let answer =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0) };
        match answer {
            0 => Ok(()),
            _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
        }
    }
}

/// Which version of Landlock the kernel has.
fn version() -> Option<libc::c_long> {
    let nothing = std::ptr::null::<Rules>();
    // SAFETY: with this flag the kernel reads nothing.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    (version > 0).then_some(version)
}

fn made(rules: &Rules, length: usize) -> io::Result<OwnedFd> {
    let rules = std::ptr::from_ref(rules);
    // SAFETY: the kernel reads `length` bytes of `rules`, which has no fewer.
    let made = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, rules, length, 0_u32) };
    match RawFd::try_from(made) {
        // SAFETY: the kernel has just made it, closed on exec, and nobody else knows it.
        Ok(made) if made >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(made) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread of its own goes in: it has no other way back to what the tests' process may do.
    #[test]
    fn what_is_inside_does_not_reach_what_is_outside() {
        let Some(domain) = Domain::new().unwrap() else {
            assert!(!Domain::is_there());
            return;
        };
        let mut outside =
            std::process::Command::new("sleep").arg("60").spawn().expect("it can be started");
        let of_outside = format!("/proc/{}/root", outside.id());
        assert!(std::fs::read_link(&of_outside).is_ok());
        let inside = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            domain.enter().unwrap();
            std::fs::read_link(&of_outside).is_ok()
        });
        assert!(!inside.join().unwrap());
        outside.kill().unwrap();
        outside.wait().unwrap();
    }
}
