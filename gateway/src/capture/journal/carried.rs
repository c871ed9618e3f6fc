//! What was carried over: the records of exchanges that are not stored yet, taken out of old files.
//!
//! One idle stream would keep every file since its first record. So the records that are still
//! needed are copied into one file, `carried`, which takes the place of all files below a given one.
//! Comes in: which exchanges are needed. Goes out: the same records in the same order, under the
//! places they had in their first files. Fails without a change: the file is written beside the one
//! before, synced, and renamed over it; only then may the files that it stands for be taken back.
//!
//! ```text
//! magic "sealtapK" | u32 version 1 | u64 next file | u64 its first batch | u32 crc of the batch before
//! u64 length of the whole | u32 crc of all before | zeros to 4096
//! frame: u32 crc of length before and frame from here on | u32 length | boot 16 | u64 file | u64 batch
//!        | records
//! record: u64 offset of the payload in its file | u32 length | u8 kind | u64 number | payload
//! ```
//!
//! The file that follows, and with it every later one, is held against `next file` and the checksum
//! of the batch before: a missing one shows. A file that stands for others may not go before
//! everything in it is stored.

use std::sync::Arc;

use super::disk::{Disk, File};
use super::error::on;
use super::format::{BLOCK, BLOCK_U64, Fields, FileHeader};
use super::open::file_name;
use super::outage::RESUMED;
use super::{Batch, Extent, Journal, JournalError, Reader, RecordRef};

const NAME: &str = "carried";
pub(super) const NEW: &str = "carried-new";
const MAGIC: [u8; 8] = *b"sealtapK";
const VERSION: u32 = 1;
/// Bytes of the header in front of its checksum.
const HEADER: usize = 40;
/// Bytes of a frame in front of its records.
const FRAME: usize = 40;
/// Bytes of a record in front of its payload.
const RECORD: usize = 21;

/// What stands in front of the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stands {
    /// The file that follows: all below it are here.
    pub(super) next: u64,
    /// That file's first batch.
    pub(super) first_batch: u64,
    /// The checksum of the batch before.
    pub(super) chain: u32,
    /// Bytes of the whole.
    pub(super) length: u64,
}

impl Stands {
    fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&self.next.to_le_bytes());
        block.extend_from_slice(&self.first_batch.to_le_bytes());
        block.extend_from_slice(&self.chain.to_le_bytes());
        block.extend_from_slice(&self.length.to_le_bytes());
        let crc = crc32fast::hash(&block);
        block.extend_from_slice(&crc.to_le_bytes());
        block.resize(BLOCK, 0);
        block
    }

    fn decode(block: &[u8]) -> Option<Self> {
        let crc = crc32fast::hash(block.get(..HEADER)?);
        let mut fields = Fields(block);
        if fields.take::<8>()? != MAGIC || fields.u32()? != VERSION {
            return None;
        }
        let next = fields.u64()?;
        let first_batch = fields.u64()?;
        let chain = fields.u32()?;
        let length = fields.u64()?;
        (fields.u32()? == crc).then_some(Self { next, first_batch, chain, length })
    }
}

/// The carried file, read from its beginning.
#[derive(Clone)]
pub(super) struct Carried {
    disk: Arc<dyn Disk>,
    file: Arc<dyn File>,
    pub(super) stands: Stands,
    offset: u64,
}

impl Carried {
    /// The file, if there is one.
    pub(super) fn open(disk: &Arc<dyn Disk>) -> Result<Option<Self>, JournalError> {
        let path = || disk.path(NAME);
        let file = match disk.open_to_read(NAME) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(on("open", path()))?,
        };
        let mut block = vec![0; BLOCK];
        file.read_at(&mut block, 0).map_err(on("read", path()))?;
        let Some(stands) = Stands::decode(&block) else {
            return Err(JournalError::UnreadableHeader { path: path() });
        };
        let disk = Arc::clone(disk);
        Ok(Some(Self { disk, file, stands, offset: BLOCK_U64 }))
    }

    /// The next frame as the batch that it was taken from, and where its records begin here.
    pub(super) fn next(&mut self) -> Result<Option<(Batch, u64)>, JournalError> {
        if self.offset >= self.stands.length {
            return Ok(None);
        }
        let path = || self.disk.path(NAME);
        let damaged = |batch| JournalError::Corrupt { path: path(), offset: self.offset, batch };
        let mut head = [0; FRAME];
        let read = self.file.read_at(&mut head, self.offset).map_err(on("read", path()))?;
        let frame = (read == FRAME).then(|| Frame::decode(&head)).flatten();
        let frame = frame.ok_or_else(|| damaged(0))?;
        let from = self.offset.saturating_add(length_of(FRAME));
        let end = from.saturating_add(u64::from(frame.length));
        if end > self.stands.length {
            return Err(damaged(frame.sequence));
        }
        let mut records = vec![0; usize::try_from(frame.length).unwrap_or_default()];
        let read = self.file.read_at(&mut records, from).map_err(on("read", path()))?;
        if read < records.len() || checksum(self.offset, &head, &records) != frame.crc {
            return Err(damaged(frame.sequence));
        }
        self.offset = end;
        let batch = Batch::carried(frame.boot, frame.file, frame.sequence, records);
        Ok(Some((batch, from)))
    }

    fn index(mut self) -> Result<Index, JournalError> {
        let mut moved = Vec::new();
        while let Some((batch, from)) = self.next()? {
            let mut at = from;
            for record in batch.records() {
                at = at.saturating_add(length_of(RECORD));
                moved.push((record.at, at));
                at = at.saturating_add(u64::from(record.at.length));
            }
        }
        moved.sort_unstable_by_key(|(was, _)| (was.file, was.offset));
        Ok(Index { file: self.file, moved })
    }
}

struct Frame {
    crc: u32,
    length: u32,
    boot: [u8; 16],
    file: u64,
    sequence: u64,
}

impl Frame {
    fn encode(&self) -> [u8; FRAME] {
        let mut bytes = Vec::with_capacity(FRAME);
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.boot);
        bytes.extend_from_slice(&self.file.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.try_into().unwrap_or([0; FRAME])
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        Some(Self {
            crc: fields.u32()?,
            length: fields.u32()?,
            boot: fields.take()?,
            file: fields.u64()?,
            sequence: fields.u64()?,
        })
    }
}

/// Covers where the frame is, so that a frame of an earlier life of the disk's blocks is none.
fn checksum(offset: u64, head: &[u8], records: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(head.get(4..).unwrap_or_default());
    hasher.update(records);
    hasher.finalize()
}

fn length_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Where records that were carried over are now.
pub(super) struct Index {
    file: Arc<dyn File>,
    /// Where each was, and the offset of its payload here.
    moved: Vec<(Extent, u64)>,
}

impl Index {
    pub(super) fn open(disk: &Arc<dyn Disk>) -> Result<Option<Self>, JournalError> {
        Carried::open(disk)?.map(Carried::index).transpose()
    }

    /// Fills `bytes` from `part`, which lay inside a record's payload; whether it was found.
    pub(super) fn read(&self, part: Extent, bytes: &mut [u8]) -> std::io::Result<bool> {
        let after = self
            .moved
            .partition_point(|(was, _)| (was.file, was.offset) <= (part.file, part.offset));
        let Some((was, at)) = after.checked_sub(1).and_then(|index| self.moved.get(index)) else {
            return Ok(false);
        };
        let inside = part.offset.saturating_sub(was.offset);
        let end = inside.saturating_add(u64::from(part.length));
        if was.file != part.file || end > u64::from(was.length) {
            return Ok(false);
        }
        Ok(self.file.read_at(bytes, at.saturating_add(inside))? == bytes.len())
    }
}

/// Whether a record, of this boot, is carried over.
pub type Wanted<'a> = dyn Fn(&[u8; 16], &RecordRef<'_>) -> bool + 'a;

/// Writes the `wanted` records, and every end of an outage, from all files below `next` into one file;
/// gives its length. A crash before the rename leaves the file before, after it the new one;
/// either stands in front of files that are all there.
fn carry(disk: &Arc<dyn Disk>, wanted: &Wanted<'_>, next: u64) -> Result<u64, JournalError> {
    let path = || disk.path(NEW);
    let follows = disk.open_to_read(&file_name(next)).and_then(|file| {
        let mut block = vec![0; BLOCK];
        file.read_at(&mut block, 0)?;
        Ok(FileHeader::decode(&block).filter(|header| header.sequence == next))
    });
    let follows = follows.map_err(on("read", disk.path(&file_name(next))))?;
    let Some(follows) = follows else {
        return Err(JournalError::UnreadableHeader { path: disk.path(&file_name(next)) });
    };
    let mut reader = Reader::on(Arc::clone(disk), true, next.saturating_sub(1));
    let file = disk.create(NEW).map_err(on("make", path()))?;
    let mut offset = BLOCK_U64;
    while let Some(batch) = reader.next()? {
        let mut records = Vec::new();
        for record in batch.records() {
            if record.kind == RESUMED || wanted(&batch.boot, &record) {
                records.extend_from_slice(&record.at.offset.to_le_bytes());
                records.extend_from_slice(&record.at.length.to_le_bytes());
                records.push(record.kind);
                records.extend_from_slice(&record.number.to_le_bytes());
                records.extend_from_slice(record.payload);
            }
        }
        if records.is_empty() {
            continue;
        }
        let length = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let Batch { boot, file: was, sequence, .. } = batch;
        let mut frame = Frame { crc: 0, length, boot, file: was, sequence };
        frame.crc = checksum(offset, &frame.encode(), &records);
        let bytes = [frame.encode().as_slice(), &records].concat();
        file.write_at(&bytes, offset).map_err(on("write", path()))?;
        offset = offset.saturating_add(length_of(bytes.len()));
    }
    // All of it was read: the next file goes on where this stops.
    if !reader.reached(follows.first_batch, follows.previous_crc) {
        let batch = follows.first_batch;
        let path = disk.path(&file_name(next.saturating_sub(1)));
        return Err(JournalError::Corrupt { path, offset: 0, batch });
    }
    let stands = Stands {
        next,
        first_batch: follows.first_batch,
        chain: follows.previous_crc,
        length: offset,
    };
    file.write_at(&stands.encode(), 0).map_err(on("write", path()))?;
    file.sync().map_err(on("sync", path()))?;
    disk.rename(NEW, NAME).map_err(on("rename", path()))?;
    disk.sync().map_err(on("sync", disk.path("")))?;
    Ok(offset)
}

impl Journal {
    /// Copies the `wanted` records out of all files below `next`, which are then no longer needed;
    /// gives the bytes that it took. `next` must hold records that were handed on, and what is not
    /// `wanted` of the files below it must be stored. Blocks, and reads all these files.
    ///
    /// # Errors
    ///
    /// [`JournalError`]; nothing has changed then.
    pub fn carry(&self, wanted: &Wanted<'_>, next: u64) -> Result<u64, JournalError> {
        let disk = self.owner.disk();
        carry(disk, wanted, next).inspect_err(|_| {
            // Half of it is of no use, and the room may be.
            let _left = disk.remove(NEW);
        })
    }

    /// The file up to which records were carried over, and the bytes that they take.
    ///
    /// # Errors
    ///
    /// The file that has them cannot be read.
    pub fn carried(&self) -> Result<Option<(u64, u64)>, JournalError> {
        let carried = Carried::open(self.owner.disk())?;
        Ok(carried.map(|carried| (carried.stands.next, carried.stands.length)))
    }

    /// Says that nothing that was carried over is needed any more. Files above those it stood for
    /// may be taken back only after this.
    ///
    /// # Errors
    ///
    /// The file stays.
    pub fn forget_carried(&self) -> Result<(), JournalError> {
        let disk = self.owner.disk();
        match disk.remove(NAME) {
            // Gone already, though perhaps not durably.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(on("remove", disk.path(NAME)))?,
        }
        disk.sync().map_err(on("sync", disk.path("")))
    }

    /// The size of a file in bytes.
    #[must_use]
    pub fn file_size(&self) -> u64 {
        self.owner.file_size()
    }
}
