//! Privileges: how a gateway that root started becomes an ordinary user for good.
//!
//! In: a user's name. Out: directories that are that user's, and then a process without a capability
//! and without a way back. Users and capabilities belong to threads, not to processes: all of this is
//! done while there is one, and every later one is born without. Fails as a whole: a process that could
//! not give up everything does not go on.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

/// The machine's own lists of users and groups.
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// Why privileges are not given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// There is nobody of that name.
    #[error(
        "no user {0} in {USERS}: make one (`useradd --system {0}`), or give the number of a user"
    )]
    Unknown(String),
    /// The user is root by another name.
    #[error("user {0} is root: name an ordinary user")]
    Root(String),
    /// Only root can become another user.
    #[error("only root can become user {0}: start as root, or leave the user out")]
    NotRoot(String),
    /// A file or directory.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused a step.
    #[error("cannot {step}: {source}; nothing was served")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What was given up is still there.
    #[error("{0} after privileges were given up: nothing was served")]
    Left(&'static str),
}

/// An ordinary user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
}

impl User {
    /// The user of that name or number, with its groups.
    ///
    /// # Errors
    ///
    /// There is none, or it is root.
    pub fn find(name: &str) -> Result<Self, PrivilegeError> {
        let read = |path: &str| {
            fs::read_to_string(path)
                .map_err(|source| PrivilegeError::Io { path: path.into(), source })
        };
        let user = Self::listed(name, &read(USERS)?, &read(GROUPS).unwrap_or_default());
        let user = user.ok_or_else(|| PrivilegeError::Unknown(name.to_owned()))?;
        match user.uid {
            0 => Err(PrivilegeError::Root(user.name)),
            _ => Ok(user),
        }
    }

    /// By the lists as passwd(5) and group(5) have them. A number that is not listed is a user all the
    /// same, with a group of that number.
    fn listed(name: &str, users: &str, groups: &str) -> Option<Self> {
        let number: Option<u32> = name.parse().ok();
        let found = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (listed, _) = (fields.next()?, fields.next()?);
            let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            (listed == name || number == Some(uid)).then(|| (listed.to_owned(), uid, gid))
        });
        let (name, uid, gid) = found.or_else(|| number.map(|uid| (name.to_owned(), uid, uid)))?;
        let member = |line: &str| {
            let mut fields = line.split(':').skip(2);
            let (gid, members) = (fields.next()?.parse().ok()?, fields.next()?);
            members.split(',').any(|member| member == name).then_some(gid)
        };
        let mut all: Vec<u32> = groups.lines().filter_map(member).chain([gid]).collect();
        all.sort_unstable();
        all.dedup();
        Some(Self { name, uid, gid, groups: all })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the directory for this user alone where there is none; one that is there stays as it is.
    ///
    /// # Errors
    ///
    /// [`PrivilegeError::Io`].
    pub fn own(&self, path: &Path) -> Result<(), PrivilegeError> {
        let failed = |source| PrivilegeError::Io { path: path.to_owned(), source };
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            fs::create_dir_all(above).map_err(failed)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        // The very directory that was made, or nothing: who may write above could have put a link there.
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::NOFOLLOW;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        let made = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
        fchown(made, Some(self.uid), Some(self.gid)).map_err(failed)
    }

    /// Becomes this user, for good: no capability in any set, no other group, and nothing that is
    /// executed later gets more.
    ///
    /// # Errors
    ///
    /// [`PrivilegeError`]; the process must not go on then.
    pub fn become_for_good(&self) -> Result<(), PrivilegeError> {
        if threads().map_err(|error| step("count threads")(error))? != 1 {
            return Err(PrivilegeError::Left("other threads would keep what this one gives up"));
        }
        let root = geteuid().is_root();
        if !root && geteuid().as_raw() != self.uid {
            return Err(PrivilegeError::NotRoot(self.name.clone()));
        }
        if root {
            let groups: Vec<Gid> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
            set_thread_groups(&groups).map_err(step("leave root's groups"))?;
            // While it is root: nothing else may change this set.
            lower_bounds(CapabilitySet::empty())?;
            let (gid, uid) = (Gid::from_raw(self.gid), Uid::from_raw(self.uid));
            set_thread_res_gid(gid, gid, gid).map_err(step("change the group"))?;
            set_thread_res_uid(uid, uid, uid).map_err(step("change the user"))?;
        }
        keep(CapabilitySet::empty())?;
        self.check(root)
    }

    /// Asks the system whether it is so; `bounded` where root gave everything up, which alone may.
    fn check(&self, bounded: bool) -> Result<(), PrivilegeError> {
        let path = PathBuf::from("/proc/thread-self/status");
        let status = fs::read_to_string(&path);
        let status = status.map_err(|source| PrivilegeError::Io { path, source })?;
        if let Some(what) = self.left(&status, bounded) {
            return Err(PrivilegeError::Left(what));
        }
        match set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT) {
            Err(_) => Ok(()),
            Ok(()) => Err(PrivilegeError::Left("root could be had again")),
        }
    }

    /// What proc_pid_status(5) shows that was to be given up.
    fn left(&self, status: &str, bounded: bool) -> Option<&'static str> {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or("?").split_ascii_whitespace()
        };
        let all = |name: &str, wanted: &dyn Fn(&str) -> bool| field(name).all(wanted);
        let is = |number: u32| move |text: &str| text.parse() == Ok(number);
        let none = |text: &str| u64::from_str_radix(text, 16) == Ok(0);
        let known = |text: &str| text.parse().is_ok_and(|group| self.groups.contains(&group));
        let checks = [
            (all("Uid", &is(self.uid)), "another user was left"),
            (!bounded || all("Gid", &is(self.gid)), "another group was left"),
            (!bounded || all("Groups", &known), "a group of root was left"),
            (all("CapEff", &none) && all("CapPrm", &none), "a capability was left"),
            (all("CapInh", &none) && all("CapAmb", &none), "a capability could be passed on"),
            (!bounded || all("CapBnd", &none), "a capability could be had again"),
            (all("NoNewPrivs", &is(1)), "new privileges could be had"),
        ];
        checks.into_iter().find(|(held, _)| !held).map(|(_, what)| what)
    }
}

/// Has this thread keep these capabilities at most, and whatever it starts none beyond: no other in any set,
/// and nothing that is executed later gets more. Other threads keep what they have.
///
/// # Errors
///
/// [`PrivilegeError::Step`]; the thread must not go on then.
pub fn keep_only(kept: CapabilitySet) -> Result<(), PrivilegeError> {
    let has = capabilities(None).map_err(step("read capabilities"))?;
    // Who cannot lower the bounds has no root to get anything from.
    if has.effective.contains(CapabilitySet::SETPCAP) {
        lower_bounds(kept)?;
    }
    keep(kept & has.permitted)
}

fn lower_bounds(kept: CapabilitySet) -> Result<(), PrivilegeError> {
    for one in all_capabilities().filter(|one| !kept.contains(*one)) {
        remove_capability_from_bounding_set(one)
            .map_err(step("lower the capability bounding set"))?;
    }
    Ok(())
}

fn keep(kept: CapabilitySet) -> Result<(), PrivilegeError> {
    clear_ambient_capability_set().map_err(step("clear ambient capabilities"))?;
    let inheritable = CapabilitySet::empty();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable };
    set_capabilities(None, sets).map_err(step("give up capabilities"))?;
    set_no_new_privs(true).map_err(step("refuse new privileges"))
}

fn step(step: &'static str) -> impl Fn(Errno) -> PrivilegeError {
    move |source| PrivilegeError::Step { step, source: source.into() }
}

/// Every capability that this kernel knows and that is still in the bounding set.
fn all_capabilities() -> impl Iterator<Item = CapabilitySet> {
    let all = (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit));
    // The kernel refuses to be asked of one that it does not know.
    all.filter(|one| capability_is_in_bounding_set(*one).unwrap_or(false))
}

fn threads() -> rustix::io::Result<usize> {
    let tasks = fs::read_dir("/proc/self/task").map_err(|_| Errno::NOENT)?;
    Ok(tasks.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ntap:x:120:130::/:/bin/false\n";
    const GROUP: &str = "root:x:0:\nssl:x:77:other,tap\nadm:x:4:tapper\ntap:x:130:\n";

    #[test]
    fn users_are_found_by_name_and_by_number_with_their_groups() {
        let tap = User::listed("tap", PASSWD, GROUP).unwrap();
        assert_eq!(tap, User { name: "tap".into(), uid: 120, gid: 130, groups: vec![77, 130] });
        assert_eq!(User::listed("120", PASSWD, GROUP), Some(tap));
        let other = User::listed("4711", PASSWD, GROUP).unwrap();
        assert_eq!((other.uid, other.gid, other.groups), (4711, 4711, vec![4711]));
        assert_eq!(User::listed("nobody-here", PASSWD, GROUP), None);
    }

    /// Each line of what the system shows is looked at.
    #[test]
    fn what_was_left_is_seen() {
        let user = User { name: "x".into(), uid: 7, gid: 8, groups: vec![8, 9] };
        let good = "Uid:\t7\t7\t7\t7\nGid:\t8\t8\t8\t8\nGroups:\t8 9 \nNoNewPrivs:\t1\n\
                    CapInh:\t0000\nCapPrm:\t0000\nCapEff:\t0000\nCapBnd:\t0000\nCapAmb:\t0000\n";
        assert_eq!(user.left(good, true), None);
        let bad = [
            ("7\t7\n", "0\t7\n"),
            ("8\t8\n", "8\t0\n"),
            ("8 9", "8 0"),
            ("NoNewPrivs:\t1", "NoNewPrivs:\t0"),
            ("NoNewPrivs:\t1\n", ""),
            ("CapInh:\t0", "CapInh:\t1"),
            ("CapPrm:\t0", "CapPrm:\t1"),
            ("CapEff:\t0", "CapEff:\t1"),
            ("CapBnd:\t0", "CapBnd:\t1"),
            ("CapAmb:\t0", "CapAmb:\t1"),
        ];
        for (from, to) in bad {
            assert!(user.left(&good.replace(from, to), true).is_some(), "{from:?} as {to:?}");
        }
    }

    #[test]
    fn root_is_no_ordinary_user() {
        assert!(matches!(User::find("root"), Err(PrivilegeError::Root(_))));
        assert!(matches!(User::find("no such user"), Err(PrivilegeError::Unknown(_))));
    }

    /// The tests run on many threads: nothing may be given up here.
    #[test]
    fn other_threads_keep_nothing_back() {
        let user = User { name: "x".into(), uid: 4711, gid: 4711, groups: vec![4711] };
        std::thread::spawn(move || {
            assert!(matches!(user.become_for_good(), Err(PrivilegeError::Left(_))));
        })
        .join()
        .unwrap();
    }
}
