//! Scopes: which cgroups a name stands for now.
//!
//! In: a scope of the configuration. Out: each cgroup that it stands for, with its id, or none where
//! there is none yet. Asks the hierarchy and nothing else: no service manager, no container engine.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use sealtap_common::kernel::LEVELS;

use super::cgroup::{CgroupError, is_first_namespace, of_process, root};
use crate::config::Scope;

/// What engines put before a container's id in the name of its cgroup, where systemd makes it.
const ENGINES: [&str; 6] = ["docker-", "cri-containerd-", "libpod-", "crio-", "nerdctl-", "lxc-"];

/// What follows it for the process that only watches the container.
const MONITOR: &str = "conmon-";

/// Digits of an id that stands alone, where no systemd makes it.
const ID: usize = 64;

/// How deep is looked for what is wanted: further than the kernel's programs look, so that it is said.
const DEEPEST: u32 = 4 * LEVELS;

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
    ///
    /// # Errors
    ///
    /// [`CgroupError`]: part of the hierarchy cannot be read, so that not all is known.
    pub fn cgroups(&self, scope: &Scope) -> Result<Vec<Found>, CgroupError> {
        match self.cgroups_in(scope, &mut |_| ()) {
            (found, None) => Ok(found),
            (_, Some(error)) => Err(error),
        }
    }

    /// The same, with the first thing that could not be read; `entered` is told of each folder that one
    /// could come to be in, before that is looked at.
    #[must_use]
    pub fn cgroups_in(
        &self,
        scope: &Scope,
        entered: &mut dyn FnMut(&Path),
    ) -> (Vec<Found>, Option<CgroupError>) {
        let mut walked = Walked::default();
        match scope {
            Scope::Cgroup(path) => {
                let place = self.root.join(path.trim_matches('/'));
                let above: Vec<_> = place.ancestors().skip(1).collect();
                // From above, as they are made.
                for folder in above.into_iter().rev().filter(|at| at.starts_with(&self.root)) {
                    entered(folder);
                }
                walked.add(self.at(&place));
            }
            Scope::Unit(name) => {
                self.walk(&self.root, 0, entered, &mut walked, &|listed| listed == name);
            }
            Scope::Container(pattern) => {
                self.walk(&self.root, 0, entered, &mut walked, &|listed| {
                    container(listed).is_some_and(|id| matches(pattern, id))
                });
            }
        }
        walked.found.sort_by(|a, b| a.path.cmp(&b.path));
        (walked.found, walked.error)
    }

    /// Whether what was found is there no more: what cannot be looked at may well be.
    #[must_use]
    pub fn is_gone(&self, found: &Found) -> bool {
        match fs::metadata(self.root.join(found.path.trim_matches('/'))) {
            Ok(meta) => meta.ino() != found.id,
            Err(error) => says_gone(&error),
        }
    }

    /// Every cgroup of a wanted name; what is below one belongs to it anyway.
    fn walk(
        &self,
        at: &Path,
        depth: u32,
        entered: &mut dyn FnMut(&Path),
        walked: &mut Walked,
        wanted: &dyn Fn(&str) -> bool,
    ) {
        if depth >= DEEPEST {
            let path = at.to_owned();
            return walked.add(Err(CgroupError::Deep { path, level: depth }));
        }
        if depth < LEVELS {
            entered(at);
        }
        let entries = match fs::read_dir(at) {
            Ok(entries) => entries,
            Err(error) => return walked.failed(at, error),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return walked.failed(at, error),
            };
            let place = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {}
                Ok(_) => continue,
                Err(error) => {
                    walked.failed(&place, error);
                    continue;
                }
            }
            match entry.file_name().to_str() {
                Some(name) if wanted(name) => walked.add(self.at(&place)),
                _ => self.walk(&place, depth.saturating_add(1), entered, walked, wanted),
            }
        }
    }

    /// The cgroup at that place; none where there is none.
    fn at(&self, place: &Path) -> Result<Option<Found>, CgroupError> {
        let failed = |source| CgroupError::File { path: place.to_owned(), source };
        let meta = match fs::metadata(place) {
            Ok(meta) if meta.is_dir() => meta,
            Ok(_) => return Ok(None),
            Err(error) if says_gone(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let Ok(below) = place.strip_prefix(&self.root) else { return Ok(None) };
        let level = u32::try_from(below.components().count()).unwrap_or(u32::MAX);
        if level >= LEVELS {
            return Err(CgroupError::Deep { path: place.to_owned(), level });
        }
        let name = below.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
        // What is above a namespace's root is not to be seen from within.
        let levels = if self.all_levels { (1 << LEVELS) - 1 } else { 1 << level };
        Ok(Some(Found { id: meta.ino(), path: format!("/{name}"), levels }))
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

/// What was found so far, and the first thing that could not be looked at.
#[derive(Default)]
struct Walked {
    found: Vec<Found>,
    error: Option<CgroupError>,
}

impl Walked {
    fn add(&mut self, at: Result<Option<Found>, CgroupError>) {
        match at {
            Ok(found) => self.found.extend(found),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
    }

    fn failed(&mut self, at: &Path, source: io::Error) {
        if !says_gone(&source) {
            self.error.get_or_insert(CgroupError::File { path: at.to_owned(), source });
        }
    }
}

/// Whether the cgroup went meanwhile; any other error says nothing about it.
fn says_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NODEV | Errno::NOTDIR))
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
        hierarchy.cgroups(&scope).unwrap().into_iter().map(|found| found.path).collect()
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
        assert_eq!(hierarchy.cgroups(&Scope::Cgroup("/apps/x".into())).unwrap()[0].levels, 1 << 2);
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

    /// A cgroup that is wanted comes in one of these folders, and what is in it is nobody's business.
    #[test]
    fn folders_that_one_may_come_in_are_told_of() {
        let id = "7".repeat(64);
        let all = [format!("/a/docker-{id}.scope/in/it"), "/a/b".to_owned()];
        let (folder, hierarchy) = made(&all);
        let entered = |scope: &str| {
            let mut entered = Vec::new();
            let scope: Scope = scope.parse().unwrap();
            let _ = hierarchy.cgroups_in(&scope, &mut |at| {
                let below = at.strip_prefix(folder.path()).unwrap();
                entered.push(below.to_str().unwrap().to_owned());
            });
            entered.sort();
            entered
        };
        assert_eq!(entered("container:*"), ["", "a", "a/b"]);
        assert_eq!(entered("/a/c/d"), ["", "a", "a/c"], "there or not");
    }

    /// One that lies deeper than the kernel's programs look is not left out in silence, nor is what is there
    /// taken for gone.
    #[test]
    fn what_is_too_deep_is_said_and_what_is_there_is_not_gone() {
        let deep = format!("{}/agent.service", "/a".repeat(20));
        let (folder, hierarchy) = made(&[deep, "/b/agent.service".to_owned()]);
        let (found, error) =
            hierarchy.cgroups_in(&"unit:agent.service".parse().unwrap(), &mut |_| ());
        assert_eq!(found.len(), 1);
        assert!(matches!(error, Some(CgroupError::Deep { level: 21, .. })), "{error:?}");
        assert!(!hierarchy.is_gone(&found[0]));
        // Another one of the same name is not it.
        assert!(hierarchy.is_gone(&Found { id: found[0].id + 1, ..found[0].clone() }));
        fs::remove_dir(folder.path().join("b/agent.service")).unwrap();
        assert!(hierarchy.is_gone(&found[0]));
        fs::remove_dir(folder.path().join("b")).unwrap();
        assert!(hierarchy.is_gone(&found[0]));
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
