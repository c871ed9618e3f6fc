//! Pins: links that stay when whoever made them is gone.
//!
//! ```text
//! /sys/fs/bpf/sealtap/ID-PROCESS-STARTED/sealtap_connect4 ...
//! ```
//!
//! In: an instance, which is one gateway's programs. Out: a folder of a BPF file system with its links, as
//! long as that is not taken away; a link holds its program, and a program its maps, so nothing else is
//! pinned. The folder's name says whose it is: the gateway's process, and when that started, since numbers
//! of processes come again. Fails with the path.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};

use super::process::{Found, found, started_at};
use super::raw;

/// Where a BPF file system belongs.
const FILE_SYSTEM: &str = "/sys/fs/bpf";

/// The folder in it.
const FOLDER: &str = "sealtap";

/// What marks such a file system (`BPF_FS_MAGIC` of `linux/magic.h`).
const MAGIC: u64 = 0xcafe_4a11;

/// Why links cannot be pinned, or pins not be read.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// There is no such file system, and none can be mounted.
    #[error(
        "no BPF file system is mounted at {FILE_SYSTEM}, and none can be: {0} (`mount -t bpf none {FILE_SYSTEM}`)"
    )]
    Missing(io::Error),
    /// A file of it.
    #[error("cannot use the pin {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// One gateway's programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// What it is called.
    pub id: String,
    /// Its gateway's process.
    pub process: u32,
    /// When that started, in clock ticks since the machine did.
    pub started: u64,
}

impl Instance {
    /// The one of this process.
    #[must_use]
    pub fn own(id: &str) -> Self {
        let process = std::process::id();
        Self { id: id.to_owned(), process, started: started_at(process).unwrap_or_default() }
    }

    /// Whether its gateway is still there.
    #[must_use]
    pub fn lives(&self) -> bool {
        match found(self.process) {
            Found::There(stat) => stat.started == self.started,
            Found::Gone => false,
            // What it left closed is not opened for want of a descriptor.
            Found::Unread(_) => true,
        }
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        Path::new(FILE_SYSTEM).join(FOLDER).join(self.to_string())
    }

    fn parse(name: &str) -> Option<Self> {
        let (rest, started) = name.rsplit_once('-')?;
        let (id, process) = rest.rsplit_once('-')?;
        let (process, started) = (process.parse().ok()?, started.parse().ok()?);
        Some(Self { id: id.to_owned(), process, started })
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Such a file system admits no dot in a name.
        write!(formatter, "{}-{}-{}", self.id.replace('.', "-"), self.process, self.started)
    }
}

/// Has a BPF file system, and a folder in it that is root's alone.
///
/// # Errors
///
/// [`PinsError`].
pub fn prepare() -> Result<(), PinsError> {
    if !is_mounted() {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mounted = mount("bpf", FILE_SYSTEM, "bpf", flags, Some(c"mode=0700"));
        mounted.map_err(|error| PinsError::Missing(error.into()))?;
    }
    let folder = Path::new(FILE_SYSTEM).join(FOLDER);
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(&folder)(error)),
        _ => Ok(()),
    }
}

fn is_mounted() -> bool {
    let kind = statfs(FILE_SYSTEM).map(|found| u64::try_from(found.f_type).unwrap_or_default());
    kind == Ok(MAGIC)
}

/// Pins links, by their descriptors and names, in an instance's folder; all or none.
pub(super) fn pin(folder: &Path, links: &[(RawFd, String)]) -> Result<(), PinsError> {
    // The gateway may not be root: it gives a name, and no place.
    let name = folder.file_name().and_then(|name| name.to_str()).and_then(Instance::parse);
    let ours = Path::new(FILE_SYSTEM).join(FOLDER);
    if name.is_none() || folder.parent() != Some(&ours) || !is_mounted() {
        return Err(at(folder)(io::ErrorKind::InvalidInput.into()));
    }
    fs::DirBuilder::new().mode(0o700).create(folder).map_err(at(folder))?;
    for (descriptor, name) in links {
        let path = folder.join(name);
        let named = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
        let pinned = named.and_then(|named| raw::pin(*descriptor, &named));
        if let Err(error) = pinned {
            let _ = remove(folder);
            return Err(at(&path)(error));
        }
    }
    Ok(())
}

/// Takes an instance's pins away; gives the names of those that were there. With the last holder of a
/// link goes the link, and what it kept closed is open.
///
/// # Errors
///
/// [`PinsError::File`].
pub fn remove(folder: &Path) -> Result<Vec<String>, PinsError> {
    let mut removed = names(folder)?;
    for name in &removed {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(at(&path))?;
    }
    fs::remove_dir(folder).map_err(at(folder))?;
    removed.sort();
    Ok(removed)
}

/// Takes the pins away that a gateway has left which is gone. The gateway that asks for it may not be root,
/// so it is looked at once more.
pub(super) fn take_away(folder: &Path) -> Result<(), PinsError> {
    let name = folder.file_name().and_then(|name| name.to_str()).and_then(Instance::parse);
    match name.filter(|instance| instance.folder() == *folder && !instance.lives()) {
        Some(_) => remove(folder).map(drop),
        None => Err(at(folder)(io::ErrorKind::InvalidInput.into())),
    }
}

/// The names in an instance's folder.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, PinsError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

/// Every instance that has pins, in the order of their names.
#[must_use]
pub(super) fn pinned() -> Vec<Instance> {
    let folder = Path::new(FILE_SYSTEM).join(FOLDER);
    let names = if is_mounted() { names(&folder).unwrap_or_default() } else { Vec::new() };
    let mut found: Vec<_> = names.iter().filter_map(|name| Instance::parse(name)).collect();
    found.sort();
    found
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    let path = path.to_owned();
    move |source| PinsError::File { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_says_whose_it_is() {
        let own = Instance::own("0a1b.2");
        assert!(own.lives());
        let read = Instance::parse(&own.to_string()).unwrap();
        assert_eq!(
            (read.process, read.started, read.id.as_str()),
            (own.process, own.started, "0a1b-2")
        );
        assert!(read.lives());
        // The same number, of another process.
        assert!(!Instance { started: own.started + 1, ..own }.lives());
        for other in ["", "maps", "a-b-c", "1-2", "x-1-2-", "x--1-2-3.4"] {
            assert_eq!(Instance::parse(other), None, "{other}");
        }
    }
}
