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

use super::cgroup::{CgroupError, of_process, root};
use super::depth::Depth;
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

/// What a scope stands for, as far as that can be seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Its cgroups, by path.
    pub found: Vec<Found>,
    /// The first that cannot be looked at; or a folder that one may be in, or another one.
    pub error: Option<CgroupError>,
    /// Where it was found, and there is but one of it, the first folder that is closed.
    pub passed: Option<CgroupError>,
}

/// The hierarchy, and where this process is in it.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    root: PathBuf,
    own: String,
    /// How far its root lies below the machine's; none where that is not to be known.
    depth: Option<Depth>,
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
        let root = root()?;
        let depth = Depth::of_root(&root);
        Ok(Self { root, own, depth })
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
        self.depth.is_some_and(Depth::is_none)
    }

    /// Whether this process is in that cgroup, or below it.
    #[must_use]
    pub fn holds_this_process(&self, path: &str) -> bool {
        let below = self.own.strip_prefix(path);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The cgroups that `scope` stands for now, by path. Folders that are closed are passed over
    /// where none of them can hold one.
    ///
    /// # Errors
    ///
    /// [`CgroupError`]: one cannot be looked at, or there may be one that could not be.
    pub fn cgroups(&self, scope: &Scope) -> Result<Vec<Found>, CgroupError> {
        let Seen { found, error, .. } = self.cgroups_in(scope, &mut |_| ());
        error.map_or(Ok(found), Err)
    }

    /// The same, with what could not be read; `entered` is told of each folder that one could come to be
    /// in, before that is looked at.
    #[must_use]
    pub fn cgroups_in(&self, scope: &Scope, entered: &mut dyn FnMut(&Path)) -> Seen {
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
        walked.seen(scope)
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
        let levels = self.depth.ok_or(CgroupError::Unknown)?.levels(place, &self.root)?;
        let name = below.to_str().ok_or_else(|| failed(io::ErrorKind::InvalidFilename.into()))?;
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

/// What was found so far; the first of these that could not be looked at; and the first folder that could not be
/// looked into.
#[derive(Default)]
struct Walked {
    found: Vec<Found>,
    error: Option<CgroupError>,
    closed: Option<(PathBuf, io::Error)>,
}

impl Walked {
    fn add(&mut self, at: Result<Option<Found>, CgroupError>) {
        match at {
            Ok(found) => self.found.extend(found),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
    }

    fn failed(&mut self, at: &Path, source: io::Error) {
        let path = at.to_owned();
        match Errno::from_io_error(&source) {
            _ if says_gone(&source) => {}
            Some(Errno::ACCESS | Errno::PERM | Errno::NAMETOOLONG) => {
                self.closed.get_or_insert((path, source));
            }
            _ => self.add(Err(CgroupError::File { path, source })),
        }
    }

    fn seen(self, wanted: &Scope) -> Seen {
        let Self { mut found, mut error, closed } = self;
        found.sort_by(|a, b| a.path.cmp(&b.path));
        let mut passed = None;
        if let Some((path, source)) = closed {
            match found.is_empty() || may_be_several(wanted) {
                true => {
                    let wanted = wanted.clone();
                    error.get_or_insert(CgroupError::Closed { path, source, wanted });
                }
                false => passed = Some(CgroupError::File { path, source }),
            }
        }
        Seen { found, error, passed }
    }
}

/// Whether it may stand for one that was not found beside those that were: a container's whole id names but one.
fn may_be_several(wanted: &Scope) -> bool {
    !matches!(wanted, Scope::Container(pattern) if !pattern.contains('*'))
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
mod tests;
