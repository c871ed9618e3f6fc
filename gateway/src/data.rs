//! The data directory: where everything a gateway keeps has its place, and its one writer.
//!
//! In: the path from `--data`. Out: the paths within, and [`Writer`], which one process at a time
//! can have. Readers need no permission from it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::owned::{self, OwnedError};

/// Why a data directory cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused a step.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another user can write there.
    #[error(transparent)]
    Owned(#[from] OwnedError),
    /// Another process writes there.
    #[error(
        "another sealtap{} is writing to {}: stop it, or give this one its own --data DIR",
        process.as_ref().map(|id| format!(" (process {id})")).unwrap_or_default(), path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// Its process id, as far as it has said so.
        process: Option<u32>,
    },
}

/// The right to write to a data directory, held until dropped or until the process ends, however.
#[derive(Debug)]
pub struct Writer {
    _file: File,
}

/// The paths of one data directory.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The data directory at `root`; nothing is read or made.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether there is anything to list here; what may not be looked into is an error, not absent.
    ///
    /// # Errors
    ///
    /// The directory cannot be looked into.
    pub fn has_records(&self) -> io::Result<bool> {
        Ok(self.store().try_exists()? || self.journal().try_exists()?)
    }

    /// `log/`: the tlog-tiles directory, safe to publish.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// `staging/`: files of the log that are not yet to be seen; on one file system with `log/`.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// `store/`: sealed exchanges and their bodies.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// `journal/`: every byte that is not yet in the store.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    /// `witness/`: what others vouch for: the cosigned checkpoint, the timestamp token.
    #[must_use]
    pub fn witness(&self) -> PathBuf {
        self.root.join("witness")
    }

    /// `keys/`: 0700, each key 0600.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// `ca/`: what clients are to trust: the authority's certificate, and the system's roots with it.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.root.join("ca")
    }

    /// `lock-path`: one line that says where the checkpoint's lock lives.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.root.join("lock-path")
    }

    /// Where the lock is, once the log was opened: that has written it down.
    #[must_use]
    pub fn lock_directory(&self) -> PathBuf {
        let noted = fs::read_to_string(self.lock_path()).unwrap_or_default();
        self.root.join(noted.trim_end_matches('\n'))
    }

    /// Becomes the one writer of this directory, which is made, for the owner alone, if missing.
    ///
    /// # Errors
    /// [`DataError::InUse`] while another process is the writer; [`DataError::Owned`] where another
    /// user can write; [`DataError::Io`].
    pub fn become_writer(&self) -> Result<Writer, DataError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Io { action, path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(failed("create", &self.root))?;
        owned::check(&self.root)?;
        let path = self.root.join("writer");
        let mut file = owned::lock_file().open(&path).map_err(failed("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = file.read_to_string(&mut text).ok();
                let process = read.and_then(|_| text.trim_end().parse().ok());
                return Err(DataError::InUse { path: self.root.clone(), process });
            }
            Err(error) => return Err(failed("lock", &path)(error.into())),
        }
        // Only for the message above: the lock says who writes, not this text.
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed("write", &path))?;
        Ok(Writer { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_at_a_time() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::TempDir::new().unwrap();
        let data = DataDir::new(root.path().join("deep/data"));
        let writer = data.become_writer().unwrap();
        let mode = fs::metadata(data.root()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let error = data.become_writer().unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, DataError::InUse { process: Some(id), .. } if id == std::process::id())
        );
        assert!(text.contains("--data DIR") && text.contains("deep/data"), "{text}");
        drop(writer);
        data.become_writer().unwrap();
    }

    #[test]
    fn a_directory_that_others_prepared_is_refused_untouched() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let root = tempfile::TempDir::new().unwrap();
        let victim = root.path().join("victim");
        fs::write(&victim, "important").unwrap();
        let data = DataDir::new(root.path().join("data"));
        fs::create_dir(data.root()).unwrap();
        symlink(&victim, data.root().join("writer")).unwrap();
        fs::set_permissions(data.root(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(data.become_writer(), Err(DataError::Owned(_))));
        fs::set_permissions(data.root(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(matches!(data.become_writer(), Err(DataError::Io { action: "open", .. })));
        assert_eq!(fs::read(&victim).unwrap(), b"important");
    }
}
