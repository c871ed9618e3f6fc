//! A cgroup of one's own, for one command.
//!
//! In: a name. Out: a cgroup below this process's own, which the command's processes are born into. The folder
//! of the hierarchy's root is nobody's to write to: what is made right in it only a capability takes away
//! again. So there a cgroup called `sealtap` is made first, which stays, empty, and is root's own.
//! Fails where there is no cgroup v2 or it cannot be written. On drop it is taken away again, with what was
//! made below it; what still runs in it goes back to where this process is, or is ended where it is
//! confined. One whose processes did not end stays, and they in it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use sealtap_common::kernel::LEVELS;

use super::depth::Depth;
use super::raw::Joining;
use crate::config::Scope;

/// The initial namespace of cgroups (`PROC_CGROUP_INIT_INO` of the kernel's `proc_ns.h`).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFB;

/// What is made where nobody may write, and the right to that its owner has elsewhere.
const SHARED: &str = "sealtap";
const WRITE: u32 = 0o200;

/// The list of a cgroup's processes.
const PROCESSES: &str = "cgroup.procs";

/// What ends all of a cgroup's processes at once (Linux 5.14).
const KILL: &str = "cgroup.kill";

/// Whether there are any, there or below; and its line where there are none.
const EVENTS: &str = "cgroup.events";
const UNPOPULATED: &[u8] = b"populated 0";

/// Between two looks at what is to end.
const PAUSE: Duration = Duration::from_millis(10);

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
    /// A folder of it that may hold what is wanted, or more of it.
    #[error(
        "the folder {path} cannot be looked into ({source}), and may hold what scope {wanted} names: let the \
         gateway's user read that folder, or name a cgroup by its path; or a container by its whole id, and start the \
         gateway when it is there"
    )]
    Closed {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// The scope.
        wanted: Scope,
    },
    /// Too deep.
    #[error(
        "the cgroup {path} lies {level} levels below the machine's root, and the kernel's programs look at the \
         first {LEVELS} alone, the root among them: use one that lies higher"
    )]
    Deep {
        /// The cgroup.
        path: PathBuf,
        /// How deep.
        level: u32,
    },
    /// Perhaps too deep.
    #[error(
        "how deep the cgroups lie that are seen here is not to be known (by /proc/2/cgroup and \
         /proc/self/mountinfo), and the kernel's programs look at the first {LEVELS} levels alone: run sealtap in \
         the machine's own namespaces of cgroups and of processes"
    )]
    Unknown,
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
    /// What ends what runs in it, where that may not run elsewhere.
    confined: Option<Ending>,
    /// Whether something in it did not end.
    stays: bool,
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
        let levels = Depth::of_root(&root).ok_or(CgroupError::Unknown)?.levels(&path, &root)?;
        fs::create_dir(&path).map_err(at(&path))?;
        let mut made = Self { path, parent, id: 0, levels, confined: None, stays: false };
        made.id = fs::metadata(&made.path).map_err(at(&made.path))?.ino();
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

    /// From now on what runs in it never runs anywhere else: at the end it is ended. What that takes is
    /// opened now: a command of root owns these files, and can close them to whoever has no capability.
    ///
    /// # Errors
    ///
    /// [`CgroupError::File`]: a kernel that cannot end a cgroup at once.
    pub fn confine(&mut self) -> Result<(), CgroupError> {
        self.confined = Some(self.ending()?);
        Ok(())
    }

    /// What ends its processes, from anywhere.
    ///
    /// # Errors
    ///
    /// [`CgroupError::File`].
    pub fn ending(&self) -> Result<Ending, CgroupError> {
        let (kill, events) = (self.path.join(KILL), self.path.join(EVENTS));
        Ok(Ending {
            kill: OpenOptions::new().write(true).open(&kill).map_err(at(&kill))?,
            events: File::open(&events).map_err(at(&events))?,
        })
    }

    /// Ends what runs in it, where that is confined, and waits until nothing does, at most for `bound`.
    ///
    /// # Errors
    ///
    /// Something may still run in it. It stays then, also on drop.
    pub fn end(&mut self, bound: Duration) -> io::Result<()> {
        let Some(ending) = &mut self.confined else { return Ok(()) };
        let ended = ending.all(bound);
        self.stays = ended.is_err();
        ended
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
    fn empty(&mut self) -> io::Result<()> {
        if let Some(ending) = &mut self.confined {
            return ending.now();
        }
        let back = self.parent.join(PROCESSES);
        for folder in [vec![self.path.clone()], all_below(&self.path)].concat() {
            let listed = fs::read_to_string(folder.join(PROCESSES)).unwrap_or_default();
            for process in listed.lines() {
                // One that has ended meanwhile needs no place.
                let _ = fs::write(&back, process);
            }
        }
        Ok(())
    }
}

/// Ends all processes of a cgroup.
#[derive(Debug)]
pub struct Ending {
    kill: File,
    events: File,
}

impl Ending {
    /// Now.
    ///
    /// # Errors
    ///
    /// The cgroup is gone.
    pub fn now(&mut self) -> io::Result<()> {
        self.kill.write_all(b"1")
    }

    /// Now, and until there is none left, at most for `bound`.
    ///
    /// # Errors
    ///
    /// There may be some left.
    fn all(&mut self, bound: Duration) -> io::Result<()> {
        let began = Instant::now();
        loop {
            match self.now().and_then(|()| self.is_populated()) {
                Ok(false) => return Ok(()),
                // One that is gone has had none before.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => return Ok(()),
                Err(error) => return Err(error),
                Ok(true) if began.elapsed() >= bound => {
                    let said = format!("it still runs {} s after it was killed", bound.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, said));
                }
                Ok(true) => sleep(PAUSE),
            }
        }
    }

    fn is_populated(&self) -> io::Result<bool> {
        let mut text = [0; 256];
        let length = self.events.read_at(&mut text, 0)?;
        let lines = text.get(..length).unwrap_or_default().split(|byte| *byte == b'\n');
        Ok(!lines.into_iter().any(|line| line == UNPOPULATED))
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        for _ in 0..50 {
            for made in all_below(&self.path).iter().rev() {
                // One that something runs in is tried again.
                let _ = fs::remove_dir(made);
            }
            match fs::remove_dir(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                // A process that has just ended keeps it a moment longer.
                Err(_) if self.empty().is_ok() => sleep(PAUSE),
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

/// All folders below one, each behind the one that it lies in. Whoever made them may have closed them to
/// others; who owns them opens them again.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        let _ = fs::set_permissions(&folder, Permissions::from_mode(0o755));
        let inside = below(&folder);
        found.extend_from_slice(&inside);
        left.extend(inside);
    }
    found
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

pub(super) fn is_first_namespace() -> bool {
    fs::metadata("/proc/self/ns/cgroup").is_ok_and(|namespace| namespace.ino() == FIRST_NAMESPACE)
}
