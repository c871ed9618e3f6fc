//! Why the log could not be opened, or a batch not appended: what, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use crate::seal::lock::LockError;

/// Why the log could not be used. Every variant but [`LogError::Io`] and [`LogError::Lock`] is
/// something that a person has to look at; nothing was changed then.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
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
    /// The lock store could not be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A leaf does not fit an entry bundle; nothing of its batch was taken.
    #[error("leaf {position} of the batch has {length} bytes; the limit is 65535")]
    LeafTooLong {
        /// Position in the batch, from 0.
        position: usize,
        /// Its bytes.
        length: usize,
    },
    /// A checkpoint is not one that this log's key signed.
    #[error("{} is not a checkpoint of this log: {reason}; restore it, or keys/log.key, from the same backup", path.display())]
    Checkpoint {
        /// The file: the published one or the lock's.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The log has tiles, but neither it nor the lock has a checkpoint.
    #[error("{} is missing but the log has files such as {}: restore it, or start with a new data directory", path.display(), example.display())]
    CheckpointMissing {
        /// Where the checkpoint should be.
        path: PathBuf,
        /// A file that says that there was one.
        example: PathBuf,
    },
    /// The log has leaves but its lock is not where it should be.
    #[error("the log has {size} leaves but no lock at {}: it may be an old copy. If it is the latest one there is, start once with --adopt, which seals that as a leaf; if the lock is elsewhere, say --lock DIR", lock.display())]
    LockMissing {
        /// Where the lock should be.
        lock: PathBuf,
        /// Leaves in the published log.
        size: u64,
    },
    /// The published checkpoint is newer than the lock.
    #[error("log/checkpoint has {published} leaves but the lock {} only {locked}: the lock is an old copy, or another gateway signed with this key. Find out which; to go on with this log, move the lock away and start once with --adopt", lock.display())]
    LockBehind {
        /// The lock's file.
        lock: PathBuf,
        /// Leaves in the lock's checkpoint.
        locked: u64,
        /// Leaves in the published checkpoint.
        published: u64,
    },
    /// Lock and published log are two histories.
    #[error("log/checkpoint (size {published}) and the lock {} (size {locked}) are of different trees: two gateways signed with this key. Do not go on with either; keep both as evidence", lock.display())]
    Forked {
        /// The lock's file.
        lock: PathBuf,
        /// Leaves in the lock's checkpoint.
        locked: u64,
        /// Leaves in the published checkpoint.
        published: u64,
    },
    /// The data directory is an old copy: the lock has signed more than it holds.
    #[error("this is an old copy of the log: it has {published} leaves, but {locked} were signed (lock {}; {} is missing). Restore the latest copy; without one, the missing leaves are lost and the log cannot go on under this key", lock.display(), missing.display())]
    RolledBack {
        /// The lock's file.
        lock: PathBuf,
        /// Leaves that were signed.
        locked: u64,
        /// Leaves that are published.
        published: u64,
        /// The first file that the signed tree needs and that is not there.
        missing: PathBuf,
    },
    /// A file that the checkpoint needs is not there.
    #[error("{} is missing: restore it from a copy of the log", path.display())]
    MissingTile {
        /// The file.
        path: PathBuf,
    },
    /// A tile's bytes are not those that the checkpoint commits to.
    #[error("{} was changed: its bytes are not those that were signed; restore it from a copy of the log", path.display())]
    ChangedTile {
        /// The file.
        path: PathBuf,
    },
    /// A leaf is not the one that the checkpoint commits to.
    #[error("leaf {index} in {} was changed: it is not the one that was signed; restore the file from a copy of the log", path.display())]
    ChangedLeaf {
        /// The entry bundle.
        path: PathBuf,
        /// The leaf's index in the log.
        index: u64,
    },
    /// An entry bundle does not hold its number of whole entries.
    #[error("{} is cut or overlong: it does not hold exactly {want} entries; restore it from a copy of the log", path.display())]
    MisshapenBundle {
        /// The entry bundle.
        path: PathBuf,
        /// The entries it should hold.
        want: u16,
    },
    /// The right edge of the tree does not give the signed root.
    #[error(
        "the tiles at the log's right edge do not give the root signed at size {size} (one of {}): restore them from a copy of the log",
        list(paths)
    )]
    ChangedEdge {
        /// Leaves in the signed tree.
        size: u64,
        /// The partial tiles there.
        paths: Vec<PathBuf>,
    },
    /// A file that no log of this size has.
    #[error("{} does not belong to a log of {size} leaves: move it out of log/", path.display())]
    Stranger {
        /// The file.
        path: PathBuf,
        /// Leaves in the log.
        size: u64,
    },
}

impl LogError {
    /// For `map_err`: a system error in a step on `path`.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
