//! The one door to the disk for keys, lock and log.
//!
//! In: paths and whole files. Out: `io::Result`, nothing else. [`RealDisk`] is the only
//! implementation in the product; tests put one in its place that fails, is killed, or loses power
//! at any single operation. Never retries and never hides an error.

#[cfg(test)]
pub(crate) mod faulty;
mod patient;
#[cfg(test)]
mod tests;

pub(crate) use patient::Patient;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Who may read a file or directory that is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nobody but the owner: 0600, directories 0700.
    Private,
    /// What the umask leaves of 0644, directories 0755.
    Public,
}

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name within the directory.
    pub name: std::ffi::OsString,
    /// What it is itself; a link is [`Kind::Other`], whatever it leads to.
    pub kind: Kind,
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file with bytes.
    File,
    /// A link, pipe, socket or device: nothing that is ever read here.
    Other,
}

/// Steps on a file system. Paths are absolute or relative to the process, as with `std::fs`.
pub trait Disk: Send + Sync {
    /// The whole file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// What the directory holds, by name.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;

    /// Makes one directory, whose parent must exist.
    fn create_directory(&self, path: &Path, access: Access) -> io::Result<()>;

    /// Writes a whole file from its beginning, in place of what was there, and waits until its bytes
    /// and its length are on disk (its name may not be). After an error anything may be there.
    fn write(&self, path: &Path, bytes: &[u8], access: Access) -> io::Result<()>;

    /// Waits until the names in a directory are on disk.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Waits until the name of `found`, a directory that may be older than this process, is on disk in
    /// `directory`. A name that was waited for once need not be again.
    fn sync_name(&self, directory: &Path, _found: &Path) -> io::Result<()> {
        self.sync_directory(directory)
    }

    /// Moves a file to a new name in one step, in place of what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = fs::read_dir(directory)?
            .map(|entry| {
                let entry = entry?;
                let kind = match entry.file_type()? {
                    kind if kind.is_dir() => Kind::Directory,
                    kind if kind.is_file() => Kind::File,
                    _ => Kind::Other,
                };
                Ok(Entry { name: entry.file_name(), kind })
            })
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_directory(&self, path: &Path, access: Access) -> io::Result<()> {
        let mode = if access == Access::Private { 0o700 } else { 0o755 };
        fs::DirBuilder::new().mode(mode).create(path)
    }

    fn write(&self, path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
        // Synced through the descriptor that wrote: one opened later may miss a write-back error.
        write_unsynced(path, bytes, access)?.sync_data()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_name(&self, directory: &Path, found: &Path) -> io::Result<()> {
        let metadata = fs::metadata(found)?;
        // Not by its path alone: another directory of that name would have to be waited for.
        let made = metadata.created().ok();
        let name = (found.to_owned(), metadata.dev(), metadata.ino(), made);
        if settled().contains(&name) {
            return Ok(());
        }
        self.sync_directory(directory)?;
        settled().insert(name);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
}

/// A directory: its path, its device, its number there, and when it was made, where that is known:
/// numbers come again.
type Name = (PathBuf, u64, u64, Option<SystemTime>);

/// Directories whose names this process has waited for: keys, log and lock share the ones above.
static SETTLED: Mutex<BTreeSet<Name>> = Mutex::new(BTreeSet::new());

fn settled() -> MutexGuard<'static, BTreeSet<Name>> {
    SETTLED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_unsynced(path: &Path, bytes: &[u8], access: Access) -> io::Result<File> {
    let mode = if access == Access::Private { 0o600 } else { 0o644 };
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Puts a small file in place durably and in one step: whoever looks, now or after a power loss,
/// finds the old bytes or the new ones, never a part.
///
/// `temporary` must be on the same file system; a leftover of it from a crash is overwritten. A
/// crash before the rename leaves the old file and the temporary one; after it, the new file, which
/// only the sync of the directory makes certain to survive a power loss.
pub(crate) fn replace(
    disk: &dyn Disk,
    temporary: &Path,
    path: &Path,
    bytes: &[u8],
    access: Access,
) -> io::Result<()> {
    disk.write(temporary, bytes, access)?;
    disk.rename(temporary, path)?;
    disk.sync_directory(parent(path))
}

/// Makes a directory and those above it that are missing, each synced into its parent. Ones that
/// exist are left as they are.
pub(crate) fn create_directories(disk: &dyn Disk, path: &Path, access: Access) -> io::Result<()> {
    match disk.create_directory(path, access) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let Some(parent) = path.parent() else { return Err(error) };
            create_directories(disk, parent, access)?;
            disk.create_directory(path, access)?;
        }
        result => result?,
    }
    disk.sync_directory(parent(path))
}

/// As [`create_directories`], and syncs the names of all directories above, made now or before: a
/// process that made one may have died before it was on disk. For starts, not for every batch.
pub(crate) fn settle_directories(disk: &dyn Disk, path: &Path, access: Access) -> io::Result<()> {
    create_directories(disk, path, access)?;
    let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    for (found, above) in path.ancestors().zip(above) {
        match disk.sync_name(above, found) {
            // One that may not be read was not made by us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            result => result?,
        }
    }
    Ok(())
}

/// The directory that a path's name is in.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// The file's bytes, or nothing if there is no such file.
pub(crate) fn read_if_there(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match disk.read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a file; that it is gone already is as good.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
