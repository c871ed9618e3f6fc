//! The data directory: where everything a gateway keeps has its place.

use std::path::{Path, PathBuf};

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

    /// `keys/`: 0700, each key 0600.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// `lock-path`: one line that says where the checkpoint's lock lives.
    #[must_use]
    pub fn lock_path(&self) -> PathBuf {
        self.root.join("lock-path")
    }
}
