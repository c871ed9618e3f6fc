//! The one door to the disk: everything the journal asks of a directory and its files.
//!
//! The real directory is here; tests bring one in memory that fails, forgets and tears.

use std::fs::{self, File as StdFile, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use rustix::io::Errno;

use super::blocks::Blocks;

/// One directory. Names are plain file names inside it.
pub(super) trait Disk: Send + Sync {
    /// The path of `name`, for messages.
    fn path(&self, name: &str) -> PathBuf;
    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// An empty file to read and write; an existing one is emptied.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// An existing file to read and write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// An existing file to write batches to, past the system's cache where that can be.
    fn open_for_batches(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open(name)
    }
    /// An existing file to read.
    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name, in place of any file of that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the names durable.
    fn sync(&self) -> io::Result<()>;
    /// Bytes that may still be taken; as many as there can be where the disk does not say.
    fn available(&self) -> u64 {
        u64::MAX
    }
    /// Takes the lock `name` for as long as the answer lives; `None`: another process has it.
    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Send + Sync>>>;
}

/// One file.
pub(super) trait File: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes sure of room for a file of `length` bytes, without writing them; whether the file is as
    /// long now, and reads as zeros.
    fn reserve(&self, length: u64) -> io::Result<bool>;
    /// Reads until `bytes` is full or the file ends; how many bytes were read.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes the content durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// The file's size in bytes.
    fn length(&self) -> io::Result<u64>;
}

/// A directory of the machine.
pub(super) struct Directory {
    path: PathBuf,
    /// Kept open by whoever writes, so that making a name durable takes no descriptor.
    handle: Option<StdFile>,
}

impl Directory {
    /// The directory at `path`, made when it is not there, readable by its owner only.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                StdFile::open(parent)?.sync_all()?;
            }
        }
        Ok(Self { path: path.to_owned(), handle: Some(StdFile::open(path)?) })
    }

    /// The directory at `path`; nothing is read or made.
    pub(super) fn existing(path: &Path) -> Self {
        Self { path: path.to_owned(), handle: None }
    }

    fn options() -> OpenOptions {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        options
    }
}

impl Disk for Directory {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = Self::options().create(true).truncate(true).open(self.path(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Self::options().open(self.path(name))?))
    }

    fn open_for_batches(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Blocks::open(&Self::options(), &self.path(name))?))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(StdFile::open(self.path(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync(&self) -> io::Result<()> {
        match &self.handle {
            Some(handle) => handle.sync_all(),
            None => StdFile::open(&self.path)?.sync_all(),
        }
    }

    fn available(&self) -> u64 {
        match statvfs(&self.path) {
            // A disk that tells no size tells no room either.
            Ok(found) if found.f_blocks > 0 => found.f_bavail.saturating_mul(found.f_frsize),
            _ => u64::MAX,
        }
    }

    fn lock(&self, name: &str) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = Self::options().create(true).truncate(false).open(self.path(name))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl File for StdFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn reserve(&self, length: u64) -> io::Result<bool> {
        match fallocate(self, FallocateFlags::empty(), 0, length) {
            Ok(()) => Ok(true),
            // Writing zeros will tell.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0_usize;
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            match FileExt::read_at(self, rest, at) {
                Ok(0) => break,
                Ok(count) => read = read.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
