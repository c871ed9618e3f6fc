//! A cgroup of one's own, for one command.
//!
//! In: a name. Out: a cgroup below this process's own, which the command's processes are born into. The folder
//! of the hierarchy's root is nobody's to write to: what is made right in it only a capability takes away
//! again. So there a cgroup called `sealtap` is made first, which stays, empty, and is root's own.
//! Fails where there is no cgroup v2 or it cannot be written. On drop it is taken away again; what
//! still runs in it goes back to where this process is, or is ended where it is confined.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sealtap_common::kernel::LEVELS;

use super::raw::Joining;

/// The initial namespace of cgroups (`PROC_CGROUP_INIT_INO` of the kernel's `proc_ns.h`).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFB;

/// What is made where nobody may write, and the right to that its owner has elsewhere.
const SHARED: &str = "sealtap";
const WRITE: u32 = 0o200;

/// The list of a cgroup's processes.
const PROCESSES: &str = "cgroup.procs";

/// What ends all of a cgroup's processes at once (Linux 5.14).
const KILL: &str = "cgroup.kill";

/// Why there is no cgroup to be had.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No hierarchy of the second version.
    #[error("no cgroup v2 is mounted: mount one (`mount -t cgroup2 none /sys/fs/cgroup/unified`)")]
    Missing,
    /// A file of it.
    #[error("cannot use the cgroup {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too deep.
    #[error("the cgroup {path} lies {level} levels deep, and only {LEVELS} are looked at")]
    Deep {
        /// The cgroup.
        path: PathBuf,
        /// How deep.
        level: u32,
    },
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError::File { path, source }
}

/// A cgroup that exists as long as this does.
#[derive(Debug)]
pub struct OwnCgroup {
    path: PathBuf,
    parent: PathBuf,
    id: u64,
    levels: u32,
    /// Whether what runs in it may not run elsewhere.
    confined: bool,
}

impl OwnCgroup {
    /// Makes one called `name` below this process's own.
    ///
    /// # Errors
    ///
    /// [`CgroupError`].
    pub fn new(name: &str) -> Result<Self, CgroupError> {
        let root = root()?;
        let own = PathBuf::from("/proc/self/cgroup");
        let listed = fs::read_to_string(&own).map_err(at(&own))?;
        let own = of_process(&listed).ok_or(CgroupError::Missing)?;
        let parent = root.join(own.trim_start_matches('/'));
        let path = place(&parent)?.join(name);
        let level = depth(&path, &root);
        fs::create_dir(&path).map_err(at(&path))?;
        let mut made = Self { path, parent, id: 0, levels: 0, confined: false };
        made.id = fs::metadata(&made.path).map_err(at(&made.path))?.ino();
        made.levels = if is_first_namespace() {
            if level >= LEVELS {
                return Err(CgroupError::Deep { path: made.path.clone(), level });
            }
            1 << level
        } else {
            // What is above the namespace's root is not to be seen from here.
            (1 << LEVELS) - 1
        };
        Ok(made)
    }

    /// What the kernel calls it: the inode of its folder.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Bit n: it may lie n levels below the root.
    #[must_use]
    pub fn levels(&self) -> u32 {
        self.levels
    }

    /// From now on what runs in it never runs anywhere else: at the end it is ended.
    ///
    /// # Errors
    ///
    /// [`CgroupError::File`]: a kernel that cannot end a cgroup at once.
    pub fn confine(&mut self) -> Result<(), CgroupError> {
        self.ending()?;
        self.confined = true;
        Ok(())
    }

    /// What ends its processes, from anywhere.
    ///
    /// # Errors
    ///
    /// [`CgroupError::File`].
    pub fn ending(&self) -> Result<Ending, CgroupError> {
        let path = self.path.join(KILL);
        let file = OpenOptions::new().write(true).open(&path).map_err(at(&path))?;
        Ok(Ending(file))
    }

    /// Whether anything runs in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        fs::read_to_string(self.path.join(PROCESSES)).is_ok_and(|listed| listed.is_empty())
    }

    /// Has a command be born into it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::File`].
    pub fn joining(&self) -> Result<Joining, CgroupError> {
        let path = self.path.join(PROCESSES);
        let file = OpenOptions::new().write(true).open(&path).map_err(at(&path))?;
        Ok(Joining::new(file))
    }

    /// Puts what runs in it back to where this process is, or ends it.
    fn empty(&self) -> io::Result<()> {
        if self.confined {
            return fs::write(self.path.join(KILL), "1");
        }
        let back = self.parent.join(PROCESSES);
        for process in fs::read_to_string(self.path.join(PROCESSES))?.lines() {
            // One that has ended meanwhile needs no place.
            let _ = fs::write(&back, process);
        }
        Ok(())
    }
}

/// Ends all processes of a cgroup.
#[derive(Debug)]
pub struct Ending(File);

impl Ending {
    /// Now.
    ///
    /// # Errors
    ///
    /// The cgroup is gone.
    pub fn now(&mut self) -> io::Result<()> {
        self.0.write_all(b"1")
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                // A process that has just ended keeps it a moment longer.
                Err(_) if self.empty().is_ok() => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                Err(_) => break,
            }
        }
        tracing::warn!(path = %self.path.display(), "the command's cgroup cannot be taken away");
    }
}

/// Where one can be made that can be taken away without a capability.
fn place(parent: &Path) -> Result<PathBuf, CgroupError> {
    if fs::metadata(parent).map_err(at(parent))?.permissions().mode() & WRITE != 0 {
        return Ok(parent.to_owned());
    }
    let shared = parent.join(SHARED);
    match fs::create_dir(&shared) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(&shared)(error)),
        _ => Ok(shared),
    }
}

/// Where cgroups of the second version are mounted.
pub(super) fn root() -> Result<PathBuf, CgroupError> {
    let mounts = PathBuf::from("/proc/self/mounts");
    let text = fs::read_to_string(&mounts).map_err(at(&mounts))?;
    let root = text.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    });
    root.ok_or(CgroupError::Missing)
}

/// The folder of a cgroup by its number, at `root` or below it; none where there is none.
pub(super) fn folder_of(root: &Path, id: u64) -> Option<PathBuf> {
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        if fs::metadata(&folder).is_ok_and(|meta| meta.ino() == id) {
            return Some(folder);
        }
        left.extend(below(&folder));
    }
    None
}

/// The folders right below one.
pub(super) fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// The root's folder, to attach to.
pub(super) fn open_root() -> Result<(File, PathBuf), CgroupError> {
    let path = root()?;
    let file = File::open(&path).map_err(at(&path))?;
    Ok((file, path))
}

/// The cgroup of the second version in `/proc/PID/cgroup`.
pub(super) fn of_process(listed: &str) -> Option<&str> {
    listed.lines().find_map(|line| line.strip_prefix("0::"))
}

fn depth(path: &Path, root: &Path) -> u32 {
    let below = path.strip_prefix(root).map_or(0, |below| below.components().count());
    u32::try_from(below).unwrap_or(u32::MAX)
}

pub(super) fn is_first_namespace() -> bool {
    fs::metadata("/proc/self/ns/cgroup").is_ok_and(|namespace| namespace.ino() == FIRST_NAMESPACE)
}
