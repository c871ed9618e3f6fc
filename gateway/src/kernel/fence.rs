//! Fence: what a command loses before its program begins, so that it cannot take away what holds it.
//!
//! In: the machine's mounts, and whom it is to run as. Out: a child that has no capability and can get none, sees of
//! cgroups its own alone and of pinned objects none, and makes no socket but of the families whose traffic
//! the kernel programs see (`families`). Fails before the program begins, with the step that failed.
//!
//! Why each: with CAP_NET_RAW it would make raw sockets; with CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN or
//! CAP_PERFMON it would detach programs or change their maps; with CAP_SYS_PTRACE, CAP_DAC_OVERRIDE,
//! CAP_DAC_READ_SEARCH or CAP_SYS_MODULE it would reach those who may; the rest are of no use to a program
//! that calls models, and each is a way to one of these. A user 0 without any of them still owns the files
//! by which cgroups are left and pins are removed; so these are out of sight, in a namespace of mounts whose
//! upper layer only CAP_SYS_ADMIN takes away; so is the record, and so are the switches and devices by which it
//! could have others act (`hidden`). A namespace of users would give none of this back, what is mounted
//! before it being locked in it, and cannot be made (`families`). Of the caller's descriptors three stay
//! (`inherited`). Processes of the same user outside are out of reach by a domain of its own (`domain`),
//! where the kernel has such.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Gid, Uid, chdir, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use seccompiler::{BpfProgram, apply_filter};

use super::domain::Domain;
use super::families::filters;
use super::hidden::{Hidden, unescaped};
use super::raw::{close_at_exec, leave_namespaces};

/// Why there is no fence.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// The list of mounts, or where this process is.
    #[error("the machine's mounts and this folder cannot be read: {0}")]
    Mounts(#[from] io::Error),
    /// What is to be hidden.
    #[error("what the command is not to see cannot be hidden: {0}")]
    Hidden(io::Error),
    /// The domain.
    #[error("no Landlock domain can be made: {0}")]
    Domain(io::Error),
    /// The filters of calls.
    #[error("no filter of system calls can be made for this architecture: {0}")]
    Filters(#[from] seccompiler::BackendError),
}

/// Whom a command runs as, in no other group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    user: Uid,
    group: Gid,
}

impl User {
    /// By numbers.
    #[must_use]
    pub fn new(user: u32, group: u32) -> Self {
        Self { user: Uid::from_raw(user), group: Gid::from_raw(group) }
    }

    /// Whether files that are root's own are its own.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.user.is_root()
    }
}

/// What a child does to itself.
#[derive(Debug)]
pub struct Fence {
    /// Where cgroups are mounted.
    cgroups: Vec<CString>,
    /// Where pinned objects are.
    pins: Vec<CString>,
    hidden: Hidden,
    /// Where it begins: found anew, since what is mounted over a folder does not cover who is in it.
    folder: CString,
    user: Option<User>,
    domain: Option<Domain>,
    filters: Vec<BpfProgram>,
}

/// The steps, in their order. An error is told across fork as one number: the step's times [`STEP`], and
/// what the system said.
const STEPS: [&str; 11] = [
    "no namespaces of mounts and cgroups of its own",
    "its cgroup alone cannot be mounted",
    "pinned objects cannot be hidden",
    "capabilities cannot be given up",
    "`no_new_privs` cannot be set",
    "the filter of system calls is not taken",
    "the user cannot be taken on",
    "the record, the kernel's switches or devices cannot be hidden",
    "its Landlock domain cannot be entered",
    "the folder that it begins in is not to be had behind it",
    "descriptors that the caller left open cannot be kept from it",
];

/// More than any number of an error.
const STEP: i32 = 0x1000;

/// The highest number that a capability can have.
const CAPABILITIES: u32 = 63;

impl Fence {
    /// Prepares one, so that the child has nothing left to do but system calls. The folders of the
    /// record are hidden.
    ///
    /// # Errors
    ///
    /// [`FenceError`].
    pub fn new(user: Option<User>, record: &[PathBuf]) -> Result<Self, FenceError> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let folder = std::env::current_dir()?;
        let root = user.map_or_else(|| getuid().is_root(), |user| user.is_root());
        Ok(Self {
            cgroups: mounted(&mounts, "cgroup2"),
            pins: mounted(&mounts, "bpf"),
            hidden: Hidden::new(record, &folder, root).map_err(FenceError::Hidden)?,
            folder: CString::new(folder.into_os_string().into_vec()).map_err(io::Error::other)?,
            user,
            domain: Domain::new().map_err(FenceError::Domain)?,
            filters: filters()?,
        })
    }

    /// Whether processes of the same user outside are out of a command's reach on this kernel.
    #[must_use]
    pub fn keeps_processes_apart() -> bool {
        Domain::is_there()
    }

    /// Goes behind it, for good. Only system calls.
    pub(super) fn enter(&self) -> io::Result<()> {
        at(0, leave_namespaces())?;
        // Nothing that is mounted outside later comes in.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        at(0, mount_change(c"/", private))?;
        let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let (flags, empty) = (plain | MountFlags::RDONLY, Some(c"size=4k,mode=0555"));
        for place in &self.cgroups {
            // The system refuses a file system directly on top of itself.
            at(1, mount(c"none", place.as_c_str(), c"tmpfs", flags, empty))?;
            // Who owns its files could make cgroups, or close these files to whoever ends it.
            let read_only = plain | MountFlags::RDONLY;
            at(1, mount(c"cgroup2", place.as_c_str(), c"cgroup2", read_only, None))?;
        }
        for place in &self.pins {
            at(2, mount(c"none", place.as_c_str(), c"tmpfs", flags, empty))?;
        }
        at(7, self.hidden.enter())?;
        at(9, chdir(self.folder.as_c_str()))?;
        at(3, clear_ambient_capability_set())?;
        for number in 0..=CAPABILITIES {
            let one = CapabilitySet::from_bits_retain(1 << number);
            match capability_is_in_bounding_set(one) {
                Ok(true) => at(3, remove_capability_from_bounding_set(one))?,
                Ok(false) => {}
                // The kernel knows no more of them.
                Err(_) => break,
            }
        }
        if let Some(User { user, group }) = self.user {
            at(6, set_thread_groups(&[group]))?;
            at(6, set_thread_res_gid(group, group, group))?;
            at(6, set_thread_res_uid(user, user, user))?;
        }
        let none = CapabilitySet::empty();
        let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
        at(3, set_capabilities(None, sets))?;
        at(4, set_no_new_privs(true))?;
        if let Some(domain) = &self.domain {
            at(8, domain.enter())?;
        }
        at(10, close_at_exec())?;
        for filter in &self.filters {
            let taken = apply_filter(filter);
            at(5, taken.map_err(|_| Errno::INVAL))?;
        }
        Ok(())
    }

    /// Which step it was that failed in the child, if it was one.
    #[must_use]
    pub fn refused(error: &io::Error) -> Option<String> {
        let code = error.raw_os_error().filter(|code| *code >= STEP)?;
        let step = usize::try_from(code / STEP).ok()?.checked_sub(1)?;
        let said = io::Error::from_raw_os_error(code % STEP);
        STEPS.get(step).map(|step| format!("{step}: {said}"))
    }
}

fn at(step: i32, done: rustix::io::Result<()>) -> io::Result<()> {
    let code = |error: Errno| step.saturating_add(1).saturating_mul(STEP) + error.raw_os_error();
    done.map_err(|error| io::Error::from_raw_os_error(code(error)))
}

/// Where file systems of a kind are mounted; each place once.
fn mounted(mounts: &str, kind: &str) -> Vec<CString> {
    let mut places: Vec<CString> = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(place), Some(found)) = (fields.next(), fields.next()) else { continue };
        if found == kind
            && let Ok(place) = CString::new(unescaped(place))
            && !places.contains(&place)
        {
            places.push(place);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_in_the_child_is_told_by_one_number() {
        for (step, words) in STEPS.iter().enumerate() {
            let step = i32::try_from(step).unwrap();
            let error = at(step, Err(Errno::BUSY)).unwrap_err();
            let busy = io::Error::from_raw_os_error(Errno::BUSY.raw_os_error());
            assert_eq!(Fence::refused(&error), Some(format!("{words}: {busy}")));
        }
        // What the system says by itself is none of these.
        assert_eq!(Fence::refused(&io::Error::from_raw_os_error(2)), None);
        assert_eq!(Fence::refused(&io::Error::from_raw_os_error(i32::MAX)), None);
    }

    #[test]
    fn every_place_of_a_kind_is_covered_once() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n\
            x /a\\040b\\134c cgroup2 rw 0 0\nx /sys/fs/cgroup cgroup2 ro 0 0\nx /cgroup2 tmpfs rw 0 0\n";
        let places = mounted(mounts, "cgroup2");
        assert_eq!(places, [c"/sys/fs/cgroup".to_owned(), c"/a b\\c".to_owned()]);
        assert_eq!(mounted(mounts, "bpf"), [c"/sys/fs/bpf".to_owned()]);
    }
}
