//! Scopes: which cgroups a name stands for now.
//!
//! In: a scope of the configuration. Out: each cgroup that it stands for, with its id, or none where
//! there is none yet. Asks the hierarchy and nothing else: no service manager, no container engine.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sealtap_common::kernel::LEVELS;

use super::cgroup::{CgroupError, is_first_namespace, of_process, root};
use crate::config::Scope;

/// What engines put before a container's id in the name of its cgroup, where systemd makes it.
const ENGINES: [&str; 6] = ["docker-", "cri-containerd-", "libpod-", "crio-", "nerdctl-", "lxc-"];

/// What follows it for the process that only watches the container.
const MONITOR: &str = "conmon-";

/// Digits of an id that stands alone, where no systemd makes it.
const ID: usize = 64;

/// A cgroup that a scope stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// What the kernel calls it.
    pub id: u64,
    /// Its path below the root of the hierarchy.
    pub path: String,
    /// Bit n: it may lie n levels below the root.
    pub levels: u32,
}

/// The hierarchy, and where this process is in it.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    root: PathBuf,
    own: String,
    all_levels: bool,
}

impl Hierarchy {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn find() -> Result<Self, CgroupError> {
        let listed = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = of_process(&listed).ok_or(CgroupError::Missing)?.to_owned();
        Ok(Self { root: root()?, own, all_levels: !is_first_namespace() })
    }

    /// This process's own cgroup.
    #[must_use]
    pub fn own(&self) -> &str {
        &self.own
    }

    /// Where it is mounted.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether its root is the machine's.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.all_levels
    }

    /// Whether this process is in that cgroup, or below it.
    #[must_use]
    pub fn holds_this_process(&self, path: &str) -> bool {
        let below = self.own.strip_prefix(path);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The cgroups that `scope` stands for now, by path.
    #[must_use]
    pub fn cgroups(&self, scope: &Scope) -> Vec<Found> {
        let mut found = Vec::new();
        match scope {
            Scope::Cgroup(path) => found.extend(self.at(&self.root.join(path.trim_matches('/')))),
            Scope::Unit(name) => self.walk(&self.root, 0, &mut found, &|listed| listed == name),
            Scope::Container(pattern) => {
                self.walk(&self.root, 0, &mut found, &|listed| {
                    container(listed).is_some_and(|id| matches(pattern, id))
                });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// Every cgroup of a wanted name; what is below one belongs to it anyway.
    fn walk(&self, at: &Path, depth: u32, found: &mut Vec<Found>, wanted: &dyn Fn(&str) -> bool) {
        if depth >= LEVELS {
            return;
        }
        for entry in fs::read_dir(at).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match entry.file_name().to_str() {
                Some(name) if wanted(name) => found.extend(self.at(&entry.path())),
                _ => self.walk(&entry.path(), depth.saturating_add(1), found, wanted),
            }
        }
    }

    fn at(&self, place: &Path) -> Option<Found> {
        let meta = fs::metadata(place).ok().filter(fs::Metadata::is_dir)?;
        let below = place.strip_prefix(&self.root).ok()?;
        let level = u32::try_from(below.components().count()).ok().filter(|n| *n < LEVELS)?;
        // What is above a namespace's root is not to be seen from within.
        let levels = if self.all_levels { (1 << LEVELS) - 1 } else { 1 << level };
        Some(Found { id: meta.ino(), path: format!("/{}", below.to_str()?), levels })
    }
}

/// The id in the name of a container's cgroup: `docker-ID.scope` and the like where systemd makes them,
/// the bare id elsewhere.
fn container(name: &str) -> Option<&str> {
    let plain = name.strip_suffix(".scope").unwrap_or(name);
    match ENGINES.iter().find_map(|engine| plain.strip_prefix(engine)) {
        Some(id) if id.starts_with(MONITOR) => None,
        Some(id) => Some(id),
        None => {
            let id = plain.len() == ID && plain.bytes().all(|byte| byte.is_ascii_hexdigit());
            id.then_some(plain)
        }
    }
}

/// Whether `pattern` stands for all of `text`; `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| rest.get(at..).is_some_and(|rest| matches(after, rest)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(paths: &[String]) -> (tempfile::TempDir, Hierarchy) {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            fs::create_dir_all(folder.path().join(path.trim_start_matches('/'))).unwrap();
        }
        let root = folder.path().to_owned();
        (folder, Hierarchy { root, own: "/system.slice/tap.service".into(), all_levels: false })
    }

    fn paths(hierarchy: &Hierarchy, scope: &str) -> Vec<String> {
        let scope: Scope = scope.parse().unwrap();
        hierarchy.cgroups(&scope).into_iter().map(|found| found.path).collect()
    }

    #[test]
    fn units_and_cgroups_are_found_where_they_are() {
        let all =
            ["/system.slice/agent.service/sub", "/a.slice/a-b.slice/agent.service", "/apps/x"];
        let (_folder, hierarchy) = made(&all.map(str::to_owned));
        assert_eq!(
            paths(&hierarchy, "unit:agent.service"),
            ["/a.slice/a-b.slice/agent.service", "/system.slice/agent.service"]
        );
        assert_eq!(paths(&hierarchy, "/apps/x"), ["/apps/x"]);
        assert_eq!(hierarchy.cgroups(&Scope::Cgroup("/apps/x".into()))[0].levels, 1 << 2);
        assert!(paths(&hierarchy, "/apps/y").is_empty());
        assert!(paths(&hierarchy, "unit:other.service").is_empty());
    }

    /// As docker, containerd, podman and CRI-O lay them out, with and without systemd.
    #[test]
    fn containers_are_found_in_every_layout() {
        let id = |digit: char| digit.to_string().repeat(64);
        let all = [
            format!("/system.slice/docker-{}.scope", id('1')),
            format!("/docker/{}", id('2')),
            format!("/kubepods.slice/kubepods-pod9.slice/cri-containerd-{}.scope", id('3')),
            format!("/machine.slice/libpod-{}.scope/container", id('4')),
            format!("/machine.slice/libpod-conmon-{}.scope", id('4')),
            format!("/kubepods/besteffort/pod7/{}", id('5')),
            "/system.slice/ssh.service".to_owned(),
        ];
        let (_folder, hierarchy) = made(&all);
        assert_eq!(paths(&hierarchy, "container:*").len(), 5);
        assert_eq!(paths(&hierarchy, "container:1111*"), [all[0].clone()]);
        assert_eq!(paths(&hierarchy, &format!("container:{}", id('2'))), [all[1].clone()]);
        // What is below it belongs to it.
        let podman = format!("/machine.slice/libpod-{}.scope", id('4'));
        assert_eq!(paths(&hierarchy, "container:4444*"), [podman]);
        assert!(paths(&hierarchy, "container:1111").is_empty(), "a pattern says that it is one");
    }

    #[test]
    fn a_scope_that_holds_the_gateway_is_known() {
        let (_folder, hierarchy) = made(&[]);
        for path in ["/system.slice", "/system.slice/tap.service"] {
            assert!(hierarchy.holds_this_process(path), "{path}");
        }
        for path in ["/system.slice/tap", "/system.slice/tap.service/below", "/user.slice"] {
            assert!(!hierarchy.holds_this_process(path), "{path}");
        }
    }
}
