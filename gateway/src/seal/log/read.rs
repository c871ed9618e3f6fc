//! Reading the published log, also beside the process that writes it. Checks nothing: `verify` does.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::Note;
use sealtap_common::tile::{FULL_WIDTH, Level, TilePath, entries};

use super::disk::{Disk, RealDisk, read_if_there};

/// How often a reader looks again when the writer has replaced a file under its hands.
const ATTEMPTS: usize = 5;

/// Why entries could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system refused to read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is not what its name says.
    #[error("{} is malformed: run `sealtap verify` on the log", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The log is shorter than that.
    #[error("the log has {size} leaves, not {wanted}")]
    PastEnd {
        /// Leaves in the log.
        size: u64,
        /// The end of the range asked for.
        wanted: u64,
    },
}

/// The published checkpoint; nothing if there is none yet. Its signature is not checked.
///
/// # Errors
/// [`ReadError`] if the file cannot be read or is no checkpoint.
pub fn published(log: &Path) -> Result<Option<Checkpoint>, ReadError> {
    published_on(&RealDisk, log)
}

/// The leaves of a range of indices, in order, from a log directory that a writer may be at work on.
///
/// # Errors
/// [`ReadError`] if the range reaches past the published end, or a file is missing or malformed.
pub fn read_entries(log: &Path, range: Range<u64>) -> Result<Vec<Vec<u8>>, ReadError> {
    for _ in 1..ATTEMPTS {
        let size = published(log)?.map_or(0, |checkpoint| checkpoint.size);
        match entries_of(&RealDisk, log, size, range.clone()) {
            // The checkpoint may have moved on twice since, which removes its partial bundle.
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
    }
    let size = published(log)?.map_or(0, |checkpoint| checkpoint.size);
    entries_of(&RealDisk, log, size, range)
}

fn published_on(disk: &dyn Disk, log: &Path) -> Result<Option<Checkpoint>, ReadError> {
    let path = log.join("checkpoint");
    let bytes = match read_if_there(disk, &path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(source) => return Err(ReadError::Io { path, source }),
    };
    let checkpoint = Note::parse(&bytes).ok().and_then(|note| Checkpoint::parse(&note.text).ok());
    checkpoint.map(Some).ok_or(ReadError::Malformed { path })
}

/// The leaves of a range in a log of `size` leaves.
pub(super) fn entries_of(
    disk: &dyn Disk,
    log: &Path,
    size: u64,
    range: Range<u64>,
) -> Result<Vec<Vec<u8>>, ReadError> {
    if range.end > size {
        return Err(ReadError::PastEnd { size, wanted: range.end });
    }
    let width = u64::from(FULL_WIDTH);
    let mut leaves = Vec::new();
    for index in range.start / width..range.end.div_ceil(width) {
        let Some(tile) = TilePath::in_tree(Level::Entries, index, size) else { continue };
        let path = log.join(tile.to_string());
        let bytes = match disk.read(&path) {
            Ok(bytes) => bytes,
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        let entries = entries(&bytes).ok().filter(|list| list.len() == usize::from(tile.width));
        let entries = entries.ok_or(ReadError::Malformed { path })?;
        let wanted = (index * width..).zip(entries).filter(|(at, _)| range.contains(at));
        leaves.extend(wanted.map(|(_, entry)| entry.to_vec()));
    }
    Ok(leaves)
}
