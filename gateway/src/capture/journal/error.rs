//! What can go wrong with a journal, for those who open it and those who append.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a journal cannot be opened, read or closed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process writes here.
    #[error(
        "{path} is held by another process: stop the gateway that uses this data directory, or \
         give this one its own with --data"
    )]
    InUse {
        /// The lock.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("cannot {action} {path}: {source}")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Options that cannot work.
    #[error("journal files of {given} bytes are too small: give at least {least}")]
    FileSize {
        /// Bytes asked for.
        given: u64,
        /// Bytes needed.
        least: u64,
    },
    /// A file's first block is not a header of that file.
    #[error(
        "{path} has no readable journal header: its first block is damaged or the file is not \
         part of this journal; restore it from a copy, or move the journal directory away and \
         start anew (what was not sealed is then lost)"
    )]
    UnreadableHeader {
        /// The file.
        path: PathBuf,
    },
    /// A file between two others is not there.
    #[error(
        "{path} is missing from the middle of the journal: restore it from a copy, or move the \
         journal directory away and start anew (what was not sealed is then lost)"
    )]
    MissingFile {
        /// Where it should be.
        path: PathBuf,
    },
    /// Files of different boots are mixed up.
    #[error(
        "{path} belongs to a boot that does not follow from the file before it: files of another \
         journal were put among these; move them away"
    )]
    BootOrder {
        /// The first file out of order.
        path: PathBuf,
    },
    /// A batch that had been on disk is damaged.
    #[error(
        "{path} is damaged at byte {offset}: batch {batch} was durable and does not check any \
         more; the disk or something that writes to it is at fault; restore the file from a copy, \
         or move the journal directory away and start anew (what was not sealed is then lost)"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the batch should start.
        offset: u64,
        /// Its sequence.
        batch: u64,
    },
    /// What the reserve says cannot be read, or cannot be written.
    #[error(
        "{path} cannot be used: it tells when exchanges were refused; restore it from a copy, or \
         remove it to go on without knowing whether there was such a time"
    )]
    Reserve {
        /// The file.
        path: PathBuf,
    },
    /// An extent does not name a record's payload.
    #[error("{path} holds no record payload of {length} bytes at byte {offset}")]
    NoSuchExtent {
        /// The file.
        path: PathBuf,
        /// Where the payload should start.
        offset: u64,
        /// Its length in bytes.
        length: u32,
    },
    /// A thread could not be started.
    #[error("cannot start the journal's {name} thread: {source}")]
    Thread {
        /// Which one.
        name: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Whoever took the batches has gone: what is captured would never be sealed.
    #[error("the stage that seals what the journal captured has stopped: restart the gateway")]
    ReaderGone,
    /// The gateway ended while its log could not be written.
    #[error(
        "the log could not be written: what it lacks is in the journal, and the next start seals it"
    )]
    Unsealed,
    /// The journal closed while it was failing.
    #[error("the journal closed with {bytes} bytes of records unwritten: {cause}")]
    Unwritten {
        /// Bytes of records that are lost.
        bytes: u64,
        /// Why they could not be written.
        cause: Down,
    },
}

/// Why the journal takes no record now, or not from this exchange any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Down {
    /// No room on the disk (`ENOSPC`, `EDQUOT`).
    #[error("the journal's disk is full: {0}")]
    DiskFull(Arc<str>),
    /// A write, a sync or an allocation failed.
    #[error("the journal failed: {0}")]
    Failed(Arc<str>),
    /// A record of more bytes than a batch takes; the journal itself is well.
    #[error("a record of {length} bytes is longer than the journal takes ({limit} bytes)")]
    TooLong {
        /// Bytes of the record.
        length: usize,
        /// Bytes a record may have.
        limit: usize,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl Down {
    /// What a failed `action` on `path` makes of the journal.
    pub(super) fn after(action: &'static str, path: &Path, source: &io::Error) -> Self {
        let text: Arc<str> = format!("cannot {action} {}: {source}", path.display()).into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<JournalError> for Down {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::Disk { action, path, source } => Self::after(action, path, source),
            _ => Self::Failed(error.to_string().into()),
        }
    }
}

/// Says what was tried on which file, for `map_err`.
pub(super) fn on(action: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> JournalError {
    move |source| JournalError::Disk { action, path, source }
}
