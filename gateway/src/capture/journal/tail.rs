//! What lies behind the last good batch: nothing, a torn tail, or damage.

use std::path::PathBuf;

use super::disk::{Disk, File};
use super::error::on;
use super::format::{BATCH_HEADER, BLOCK, BLOCK_U64, BatchHeader, FileHeader};
use super::{JournalError, batch};

/// Blocks read at a time.
const STRIDE: usize = 256;

/// Bytes at the end of a file that a crash left unfinished. Nobody was told they were durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub path: PathBuf,
    /// Where the unfinished bytes start.
    pub offset: u64,
    /// How many there are, whole blocks.
    pub bytes: u64,
}

/// What `file` holds at a place where a batch could be.
pub(super) enum Found {
    /// A batch and its records.
    Whole(BatchHeader, Vec<u8>),
    /// The header of a batch of this file, whose content does not check.
    Torn,
    /// Nothing of this file's.
    Nothing,
}

/// Looks at `offset` for a batch.
pub(super) fn look(
    disk: &dyn Disk,
    name: &str,
    file: &dyn File,
    header: &FileHeader,
    offset: u64,
) -> Result<Found, JournalError> {
    let read = |bytes: &mut [u8], at| file.read_at(bytes, at).map_err(on("read", disk.path(name)));
    if offset.saturating_add(BLOCK_U64) > header.length {
        return Ok(Found::Nothing);
    }
    let mut block = vec![0; BLOCK];
    if read(&mut block, offset)? < BLOCK {
        return Ok(Found::Nothing);
    }
    let Some(batch) = identify(header, &block) else { return Ok(Found::Nothing) };
    if offset.saturating_add(batch.padded()) > header.length {
        return Ok(Found::Torn);
    }
    let length = usize::try_from(batch.length).unwrap_or(usize::MAX);
    let mut payload = block.split_off(BATCH_HEADER);
    let first = payload.len();
    payload.resize(length, 0);
    if let Some(rest) = payload.get_mut(first..).filter(|rest| !rest.is_empty()) {
        let wanted = rest.len();
        if read(rest, offset.saturating_add(BLOCK_U64))? < wanted {
            return Ok(Found::Torn);
        }
    }
    let whole =
        batch.matches(&header.salt, &payload) && batch::count(&payload) == Some(batch.records);
    Ok(if whole { Found::Whole(batch, payload) } else { Found::Torn })
}

fn identify(header: &FileHeader, block: &[u8]) -> Option<BatchHeader> {
    let batch = BatchHeader::decode(block)?;
    (batch.file == header.sequence && batch.boot == header.boot).then_some(batch)
}

/// Examines the last file from `offset` on, where batch `expected` is not whole.
///
/// Returns the torn tail, if there is one to see: in a file that held something else before, a
/// batch whose first block never arrived leaves no trace. Fails when a later batch proves that
/// the missing one had been on disk.
pub(super) fn examine(
    disk: &dyn Disk,
    name: &str,
    file: &dyn File,
    header: &FileHeader,
    offset: u64,
    expected: u64,
) -> Result<Option<Torn>, JournalError> {
    let mut end = offset;
    let mut at = offset;
    let mut blocks = vec![0; STRIDE * BLOCK];
    while at < header.length {
        let read = file.read_at(&mut blocks, at).map_err(on("read", disk.path(name)))?;
        if read < BLOCK {
            break;
        }
        let chunk = at;
        let mut here = at;
        for block in blocks.get(..read).unwrap_or_default().chunks_exact(BLOCK) {
            let place = here;
            here = here.saturating_add(BLOCK_U64);
            if place < at {
                continue;
            }
            at = here;
            if header.cleared && block.iter().any(|byte| *byte != 0) {
                end = end.max(here);
            }
            let Some(found) = identify(header, block).filter(|found| found.sequence >= expected)
            else {
                continue;
            };
            let whole = match look(disk, name, file, header, place)? {
                Found::Whole(batch, _) if batch.settled >= expected => {
                    return Err(JournalError::Corrupt {
                        path: disk.path(name),
                        offset,
                        batch: expected,
                    });
                }
                Found::Whole(..) => true,
                Found::Torn | Found::Nothing => false,
            };
            // A header that does not check may lie about its length: it says where a torn tail
            // ends, but nothing is skipped for it. The salt keeps captured bytes from posing as
            // a batch.
            let after = place.saturating_add(found.padded()).min(header.length);
            if whole || (place == offset && found.sequence == expected) {
                end = end.max(after);
            }
            if whole {
                at = at.max(after);
            }
        }
        if at == chunk {
            break;
        }
    }
    let bytes = end.saturating_sub(offset);
    Ok((bytes > 0).then(|| Torn { path: disk.path(name), offset, bytes }))
}
