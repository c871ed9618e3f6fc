//! The journal: an append-only, group-committed record of every byte that passed.
//!
//! Comes in: records (a kind, an exchange number, bytes) from any thread. Goes out: the same
//! records in the same order, in batches that are on disk, to one reader beside the writer and to
//! whoever reads the files after a crash. Fails: closed. When the disk refuses, nobody may begin
//! an exchange, every open one is over, and the journal comes back by itself when it can.
//! It never writes or syncs on a caller's thread, never trusts a file whose sync failed, never
//! passes over a damaged batch in silence, and never drops a record that it reported durable.
//!
//! # Threads
//!
//! Callers copy records into a buffer under a short lock. One writer thread takes the buffer,
//! writes it, syncs it, wakes those who waited for it, and hands the very same buffer on. While it
//! syncs, records gather in the next buffer: that is the group commit. Where three or more wait,
//! records gather for about the time of a sync before they are written, and longer while more come
//! to wait, 1 ms at most; one or two are never held up. Records nobody waits for are written after at most 50 ms (or
//! [`Options::sync_interval`], if that is less), so that the reader of batches is never far
//! behind. *Every batch that is handed on has been synced*, under either durability; `Relaxed`
//! only means that callers do not wait for it. One helper thread makes files ahead of need and
//! takes back those no longer needed.
//!
//! # The directory
//!
//! | name | is |
//! |---|---|
//! | `00000000000000000001.journal` | a file of the journal; its sequence, twenty digits |
//! | `spare-1` | a file of full size without a place yet; its content means nothing |
//! | `spare-new` | a file being made |
//! | `carried` | records of exchanges not yet stored, from files taken back; see `carried.rs` |
//! | `carried-new` | the same, being written |
//! | `reserve` | two blocks that say when refusing began and ended |
//! | `lock` | held by the one process that writes |
//!
//! # The files
//!
//! Little endian. A file is of fixed size, made before use so that `fdatasync` has little or no
//! metadata to write, and cut in blocks of 4096 bytes. The first block is the file header:
//!
//! ```text
//! magic "sealtapJ" | u32 version 1 | u64 sequence | boot 16 | salt 16 | u64 first batch
//! u32 checksum of the batch before | u8 origin (1 opened, 2 rotated, 3 resumed) | u8 cleared
//! u64 file length | u64 end of the good part of the file before | u64 bytes abandoned there
//! 8 zeros | u32 crc of all before
//! ```
//!
//! Batches follow, each starting on a block and padded with zeros to whole blocks:
//!
//! ```text
//! magic "sealtapB" | u32 crc of salt, header from here on, records | u32 crc of the batch before
//! u64 file sequence | u64 batch sequence | u64 settled | u32 bytes of records | u32 records
//! boot 16 | records
//! record: u32 length | u8 kind | u64 number | payload
//! ```
//!
//! Batch sequences are consecutive over files and boots. `settled` is the last batch known to be
//! on disk when this one was written. File sequences are never given twice, and each file has a
//! random salt, so neither what a recycled file held before nor anything that passes through the
//! gateway can be taken for one of its batches.
//!
//! # Reading
//!
//! The header of the next file says where a file ends: everything before must be there, everything
//! behind was torn by a crash or abandoned after a failed write, and is skipped. In the last file,
//! the first batch that does not check is the end. If a later batch there says that the missing
//! one had been settled, the file is damaged and opening fails; otherwise what lies there is a
//! torn tail: named, with its place and size.

mod batch;
mod blocks;
mod buffer;
mod carried;
#[cfg(test)]
mod damage;
mod disk;
mod error;
mod extent;
#[cfg(test)]
mod faults;
mod format;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod model;
mod open;
mod outage;
mod queue;
mod reader;
#[cfg(test)]
mod refusals;
mod reserve;
mod room;
mod spares;
mod tail;
#[cfg(test)]
mod tests;
mod waiters;
mod writer;

use std::sync::Arc;
use std::time::Duration;

pub use batch::{Batch, Extent, RecordRef};
pub use carried::Wanted;
pub use error::{Down, JournalError};
pub use extent::Extents;
pub use open::{Opened, Recovered};
pub use outage::{RESUMED, Reason, Resumed};
pub use reader::Reader;
pub use reserve::Gap;
pub use tail::Torn;

use crate::clock::Timeline;
use crate::tally::Spread;

/// Records of this kind and above are the journal's own.
pub const FIRST_OWN_KIND: u8 = 200;

/// When a caller may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When what it waits for is on disk.
    Strict,
    /// At once; a crash may lose the last records.
    Relaxed,
}

/// How a journal is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of a file in bytes, rounded down to whole blocks; at least 32 KiB.
    pub file_size: u64,
    /// Bytes that may be on their way (gathering, being written, or not yet dropped by the reader
    /// of batches) before [`Journal::room`] holds callers back.
    pub max_pending: usize,
    /// The longest a record waits for a sync when nobody asks for one; above 50 ms it is 50 ms.
    pub sync_interval: Duration,
    /// When callers may go on.
    pub durability: Durability,
    /// How long to wait between attempts to come back after a failure.
    pub retry_interval: Duration,
    /// Where times come from.
    pub timeline: Timeline,
    /// Whether opening is not to wait until a first file is filled with zeros: it is only reserved
    /// then, and each of its syncs costs the file system a little more.
    pub hurried: bool,
}

impl Options {
    /// The defaults: files of 64 MiB, 8 MiB pending, strict.
    #[must_use]
    pub fn new(timeline: Timeline) -> Self {
        Self {
            file_size: 64 * 1024 * 1024,
            max_pending: 8 * 1024 * 1024,
            sync_interval: Duration::from_secs(1),
            durability: Durability::Strict,
            retry_interval: Duration::from_millis(500),
            timeline,
            hurried: false,
        }
    }
}

/// The right to append to one exchange, until the journal fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The exchange's number: from 1, consecutive in the order of the records.
    pub number: u64,
    /// Which stretch of working order the exchange belongs to.
    pub epoch: u64,
}

/// A place in the stream of records, just after one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    end: u64,
    epoch: u64,
}

/// What a journal has done and how it fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes gathering, being written, or not yet dropped by the reader of batches.
    pub pending: usize,
    /// Syncs of batches done.
    pub syncs: u64,
    /// Bytes of batches written and synced, headers and padding included.
    pub bytes: u64,
    /// How long the last sync took, in nanoseconds.
    pub last_sync_ns: u64,
    /// How long a sync took on average, in nanoseconds.
    pub mean_sync_ns: u64,
    /// How long syncs took.
    pub sync_times: Spread,
    /// Files that hold records.
    pub files: u64,
    /// Filled files without a place yet.
    pub spares: u64,
    /// Bytes that may be pending before callers are held back.
    pub limit: usize,
    /// Why the journal refuses, if it does.
    pub down: Option<Down>,
}

/// The journal, to append to. Cheap to clone; the last one to go closes it.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<queue::Shared>,
    owner: Arc<open::Owner>,
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Journal").finish_non_exhaustive()
    }
}
