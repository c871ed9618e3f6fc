//! The view of a log's files that verification needs; reading them is the caller's affair.

use std::collections::BTreeMap;

/// A log's files by their path below its root, with `/` between the parts.
pub trait LogFiles {
    /// The path of every file, in any order.
    ///
    /// # Errors
    /// [`FileError`] when the files cannot be listed; the verdict is then undecided.
    fn list(&self) -> Result<Vec<String>, FileError>;

    /// The bytes of one file; `None` when there is no such file.
    ///
    /// # Errors
    /// [`FileError`] when it is there but cannot be read; the verdict is then undecided.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, FileError>;
}

/// A file that could not be read: says nothing about the log's validity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {path}: {reason}")]
pub struct FileError {
    /// Which file or directory.
    pub path: String,
    /// Why, in the system's words.
    pub reason: String,
}

/// Files held in memory.
impl LogFiles for BTreeMap<String, Vec<u8>> {
    fn list(&self) -> Result<Vec<String>, FileError> {
        Ok(self.keys().cloned().collect())
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        Ok(self.get(path).cloned())
    }
}
