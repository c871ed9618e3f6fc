//! The machine's file system for a start that may find nothing to do.
//!
//! In: what the [`Disk`] is asked. Out: the same from [`RealDisk`], but for names of directories that
//! were there before: these are noted, and waited for in one go by [`Patient::settle`], each
//! directory once. Nothing may be signed before that. Afterwards it is [`RealDisk`].

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Access, Disk, Entry, RealDisk};

/// [`RealDisk`], with names of directories waited for together.
#[derive(Debug)]
pub(crate) struct Patient {
    /// Directories whose names are to be on disk; nothing once they were waited for.
    waiting: Mutex<Option<BTreeSet<PathBuf>>>,
}

impl Patient {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::new(Some(BTreeSet::new())) }
    }

    /// Waits until every name that was noted is on disk.
    ///
    /// # Errors
    /// What the system says of the first that cannot be; then all of them are still to be waited for.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let mut waiting = self.waiting();
        for directory in waiting.iter().flatten() {
            match RealDisk.sync_directory(directory) {
                // One that may not be read was not made by us.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                result => result?,
            }
        }
        *waiting = None;
        Ok(())
    }

    fn waiting(&self) -> MutexGuard<'_, Option<BTreeSet<PathBuf>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for Patient {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(directory)
    }

    fn create_directory(&self, path: &Path, access: Access) -> io::Result<()> {
        RealDisk.create_directory(path, access)
    }

    fn write(&self, path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
        RealDisk.write(path, bytes, access)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_directory(path)
    }

    fn sync_name(&self, directory: &Path, found: &Path) -> io::Result<()> {
        match &mut *self.waiting() {
            Some(waiting) => {
                waiting.insert(directory.to_owned());
                Ok(())
            }
            None => RealDisk.sync_name(directory, found),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_directory(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::log::disk::settle_directories;

    #[test]
    fn names_are_noted_once_each_and_then_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Patient::new();
        let (a, b) = (directory.path().join("deep/a"), directory.path().join("deep/b"));
        settle_directories(&disk, &a, Access::Private).unwrap();
        settle_directories(&disk, &b, Access::Private).unwrap();
        let noted = disk.waiting().clone().unwrap();
        let above: BTreeSet<_> = a.ancestors().skip(1).map(Path::to_owned).collect();
        assert_eq!(noted, above);
        disk.settle().unwrap();
        assert!(disk.waiting().is_none());
        settle_directories(&disk, &a, Access::Private).unwrap();
        assert!(disk.waiting().is_none(), "from then on each is waited for at once");
        // One that is gone is an error, and nothing counts as settled.
        let disk = Patient::new();
        let gone = directory.path().join("gone");
        disk.sync_name(&gone, &gone.join("x")).unwrap();
        assert!(disk.settle().is_err());
        assert!(disk.waiting().is_some());
    }
}
