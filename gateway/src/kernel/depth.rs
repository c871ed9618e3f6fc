//! Depth: how far below the machine's own root the hierarchy begins that is mounted here.
//!
//! In: what `/proc` says of this process's namespace of cgroups and of its mounts. Out: levels to be added to what is
//! seen. The kernel's programs count from the machine's root, whatever is seen from here: a cgroup that lies deeper
//! than they look is never found by them, and all that it sends passes uncounted.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sealtap_common::kernel::LEVELS;

use super::cgroup::{CgroupError, is_first_namespace, of_process};

/// The initial namespace of processes (`PROC_PID_INIT_INO` of the kernel's `proc_ns.h`).
const FIRST_PROCESSES: u64 = 0xEFFF_FFFC;

/// The kernel's own process that begins its threads: it is in the root, and is never moved.
const KTHREADD: &str = "/proc/2/cgroup";

/// This process's mounts (proc_pid_mountinfo(5)).
const MOUNTS: &str = "/proc/self/mountinfo";

/// Where what is mounted begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Depth {
    /// So many levels below the machine's root.
    above: u32,
    /// Whether that is this process's own namespace's word, and not what another's cgroup is called in it. Else all
    /// levels are looked at: to be wrong would be to see nothing.
    own: bool,
}

impl Depth {
    /// That of `root`, where the hierarchy is mounted; none where nothing says.
    pub(super) fn of_root(root: &Path) -> Option<Self> {
        let own = is_first_namespace();
        let of_namespace = match own {
            true => 0,
            // Elsewhere that number is another process's.
            false if !is_first_of_processes() => return None,
            false => above(of_process(&fs::read_to_string(KTHREADD).ok()?)?)?,
        };
        let mounts = fs::read_to_string(MOUNTS).ok()?;
        let above = below(of_namespace, mounted(&mounts, root.to_str()?)?)?;
        Some(Self { above, own })
    }

    /// At the machine's root, or so many levels below.
    #[cfg(test)]
    pub(super) fn at(above: u32) -> Self {
        Self { above, own: true }
    }

    /// Whether it is the machine's own root.
    pub(super) fn is_none(self) -> bool {
        self.own && self.above == 0
    }

    /// How deep what lies so many levels below it really lies.
    fn and(self, below: usize) -> u32 {
        self.above.saturating_add(u32::try_from(below).unwrap_or(u32::MAX))
    }

    /// The levels at which the cgroup at `path`, below `root`, may lie, by bits.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Deep`].
    pub(super) fn levels(self, path: &Path, root: &Path) -> Result<u32, CgroupError> {
        let below = path.strip_prefix(root).map_or(0, |below| below.components().count());
        let level = self.and(below);
        if level >= LEVELS {
            return Err(CgroupError::Deep { path: path.to_owned(), level });
        }
        Ok(if self.own { 1 << level } else { (1 << LEVELS) - 1 })
    }
}

/// Whether processes are numbered here as the machine numbers them.
pub(super) fn is_first_of_processes() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() == FIRST_PROCESSES)
}

/// How far a namespace's root lies below the machine's, which is `path` as it is seen from there; none where that
/// is another cgroup.
fn above(path: &str) -> Option<u32> {
    parts(path).try_fold(0_u32, |level, part| (part == "..").then_some(level)?.checked_add(1))
}

/// The same of `path`, as it is seen from a root that lies so far below.
fn below(above: u32, path: &str) -> Option<u32> {
    parts(path).try_fold(above, |level, part| match part {
        ".." => level.checked_sub(1),
        _ => level.checked_add(1),
    })
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// Which cgroup is mounted at `place`, the last one that was, as it is seen from the namespace's root.
fn mounted<'a>(listed: &'a str, place: &str) -> Option<&'a str> {
    let cgroup = |line: &'a str| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        (at == place && file_system.split(' ').next() == Some("cgroup2")).then_some(root)
    };
    listed.lines().rev().find_map(cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_lies_as_deep_as_its_way_up_is_long() {
        assert_eq!(above("/"), Some(0));
        assert_eq!(above("/.."), Some(1));
        assert_eq!(above("/../../.."), Some(3));
        // Whatever that is, it is not the root.
        assert_eq!(above("/../init.scope"), None);
        assert_eq!(above("/a"), None);
    }

    #[test]
    fn what_is_mounted_lies_below_its_namespace_or_above() {
        assert_eq!(below(0, "/"), Some(0));
        assert_eq!(below(3, "/"), Some(3));
        assert_eq!(below(3, "/../.."), Some(1));
        assert_eq!(below(3, "/../x/y"), Some(4));
        assert_eq!(below(0, "/a.slice/b.scope"), Some(2));
        assert_eq!(below(1, "/../.."), None, "above the machine's root");
    }

    #[test]
    fn the_mount_that_is_seen_is_found() {
        let listed = "24 30 0:22 / /proc rw - proc proc rw\n\
            41 31 0:38 /../.. /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n\
            42 31 0:38 /a /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n\
            43 31 0:38 /b /sys/fs/cgroup/unified rw,relatime - cgroup2 none rw\n\
            44 31 0:39 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        assert_eq!(mounted(listed, "/sys/fs/cgroup"), Some("/../.."));
        assert_eq!(mounted(listed, "/sys/fs/cgroup/unified"), Some("/b"), "it covers the other");
        assert_eq!(mounted(listed, "/sys/fs/cgroup/pids"), None, "it is of the first version");
        assert_eq!(mounted(listed, "/sys"), None);
    }

    #[test]
    fn where_others_say_how_deep_it_is_all_levels_are_looked_at() {
        let (root, path) = (Path::new("/there"), Path::new("/there/a/b"));
        let [own, said] = [true, false].map(|own| Depth { above: 13, own }.levels(path, root));
        assert_eq!((own.unwrap(), said.unwrap()), (1 << 15, 0xffff));
        for own in [true, false] {
            let refused = Depth { above: 14, own }.levels(path, root);
            assert!(matches!(refused, Err(CgroupError::Deep { level: 16, .. })), "{refused:?}");
        }
    }
}
