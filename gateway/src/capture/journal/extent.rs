//! Bytes read back by extent, for what comes after sealing.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::carried::Index;
use super::disk::{Directory, Disk, File};
use super::error::on;
use super::format::{Fields, RECORD_HEADER};
use super::open::file_name;
use super::{Extent, JournalError};

/// Files kept open.
const OPEN: usize = 8;

/// Bytes read at once by [`Extents::read_part`]: many small records lie in them.
const CHUNK: usize = 64 * 1024;
/// [`CHUNK`] as a file offset.
const CHUNK_U64: u64 = 64 * 1024;
/// So many are kept: the records of exchanges that ran side by side lie among each other.
const CHUNKS: usize = 24;
/// A part of so many bytes is read by itself.
const LARGE: usize = 16 * 1024;

/// Bytes of a file, read ahead.
struct Chunk {
    /// Its sequence; 0, which no file has, where the bytes are of no use any more.
    file: u64,
    offset: u64,
    bytes: Vec<u8>,
}

/// Reads payloads of records back, keeping the files it used last open.
///
/// An extent is good until [`super::Journal::recycle_below`] was called with a later file.
pub struct Extents {
    disk: Arc<dyn Disk>,
    /// The one used last is at the end.
    open: Vec<(u64, Arc<dyn File>)>,
    /// What was read for parts; the one used last is at the end.
    chunks: Vec<Chunk>,
    /// Where records are that were carried over, once one was looked for in vain.
    carried: Option<Index>,
}

impl Extents {
    /// Of the journal in `directory`.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self::on(Arc::new(Directory::existing(directory)))
    }

    pub(super) fn on(disk: Arc<dyn Disk>) -> Self {
        Self { disk, open: Vec::new(), chunks: Vec::new(), carried: None }
    }

    /// Adds the bytes at `extent` to the end of `bytes`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or holds no record of that length there.
    pub fn read(&mut self, extent: Extent, bytes: &mut Vec<u8>) -> Result<(), JournalError> {
        let name = file_name(extent.file);
        let file = self.file(extent.file, &name)?;
        let mut head = [0; RECORD_HEADER];
        let header = u64::try_from(RECORD_HEADER).unwrap_or_default();
        let read = |bytes: &mut [u8], offset| {
            let wanted = bytes.len();
            let count = file.read_at(bytes, offset).map_err(on("read", self.disk.path(&name)))?;
            Ok::<bool, JournalError>(count == wanted)
        };
        let absent = || JournalError::NoSuchExtent {
            path: self.disk.path(&name),
            offset: extent.offset,
            length: extent.length,
        };
        let from = extent.offset.checked_sub(header).ok_or_else(absent)?;
        if !read(&mut head, from)? || Fields(&head).u32() != Some(extent.length) {
            return Err(absent());
        }
        let start = bytes.len();
        let length = usize::try_from(extent.length).unwrap_or(usize::MAX);
        bytes.resize(start.saturating_add(length), 0);
        let whole = read(bytes.get_mut(start..).unwrap_or_default(), extent.offset);
        if !matches!(whole, Ok(true)) {
            bytes.truncate(start);
        }
        if whole? { Ok(()) } else { Err(absent()) }
    }

    /// Adds the bytes at `part`, which lies inside the payload of a record, to the end of `bytes`.
    /// Unlike [`Extents::read`] it cannot tell whether a record is there. Reads ahead, since parts
    /// are wanted in ascending order and most are small; [`Extents::refresh`] goes before parts
    /// that were written since.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or ends before.
    pub fn read_part(&mut self, part: Extent, bytes: &mut Vec<u8>) -> Result<(), JournalError> {
        let length = usize::try_from(part.length).unwrap_or(usize::MAX);
        let start = bytes.len();
        if length >= LARGE {
            if let Some(file) = self.open_part(part, length, bytes)? {
                bytes.resize(start.saturating_add(length), 0);
                let name = file_name(part.file);
                let read = file.read_at(bytes.get_mut(start..).unwrap_or_default(), part.offset);
                if read.as_ref().ok() != Some(&length) {
                    bytes.truncate(start);
                    read.map_err(on("read", self.disk.path(&name)))?;
                    return Err(self.absent(part));
                }
            }
            return Ok(());
        }
        let end = part.offset.saturating_add(u64::from(part.length));
        let mut at = part.offset;
        while at < end {
            let Some(found) = self.in_chunks(part.file, at) else {
                bytes.truncate(start);
                let Some(file) = self.open_part(part, length, bytes)? else { return Ok(()) };
                at = part.offset;
                self.read_ahead(file.as_ref(), part, end)?;
                continue;
            };
            let wanted = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let found = found.get(..wanted).unwrap_or(found);
            bytes.extend_from_slice(found);
            at = at.saturating_add(u64::try_from(found.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// The file that `part` is in; nothing where `part` was carried over, and has been read from there.
    fn open_part(
        &mut self,
        part: Extent,
        length: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<Option<Arc<dyn File>>, JournalError> {
        if self.read_carried(part, length, bytes)? {
            return Ok(None);
        }
        let name = file_name(part.file);
        match self.file(part.file, &name) {
            Err(JournalError::Disk { source, .. }) if source.kind() == ErrorKind::NotFound => {
                self.carried = Index::open(&self.disk)?;
                if self.read_carried(part, length, bytes)? {
                    return Ok(None);
                }
                self.file(part.file, &name).map(Some)
            }
            file => file.map(Some),
        }
    }

    /// Reads the chunks that `part`, which ends at `end`, lies in; all of it is in them then.
    fn read_ahead(&mut self, file: &dyn File, part: Extent, end: u64) -> Result<(), JournalError> {
        let mut offset = part.offset - part.offset % CHUNK_U64;
        while offset < end {
            let known = |chunk: &Chunk| chunk.file == part.file && chunk.offset == offset;
            let mut chunk = match self.chunks.iter().position(known) {
                Some(index) => self.chunks.remove(index),
                None if self.chunks.len() >= CHUNKS => self.chunks.remove(0),
                None => Chunk { file: 0, offset: 0, bytes: Vec::new() },
            };
            chunk.bytes.resize(CHUNK, 0);
            let path = || self.disk.path(&file_name(part.file));
            let read = file.read_at(&mut chunk.bytes, offset);
            let count = read.map_err(|error| on("read", path())(error))?;
            chunk.bytes.truncate(count);
            (chunk.file, chunk.offset) = (part.file, offset);
            self.chunks.push(chunk);
            let wanted = end.saturating_sub(offset).min(CHUNK_U64);
            if u64::try_from(count).unwrap_or(u64::MAX) < wanted {
                return Err(self.absent(part));
            }
            offset = offset.saturating_add(CHUNK_U64);
        }
        Ok(())
    }

    /// What was read ahead of `file` from `at` on, if anything.
    fn in_chunks(&self, file: u64, at: u64) -> Option<&[u8]> {
        let offset = at - at % CHUNK_U64;
        let known = |chunk: &&Chunk| chunk.file == file && chunk.offset == offset;
        let chunk = self.chunks.iter().rev().find(known)?;
        let from = usize::try_from(at.checked_sub(offset)?).ok()?;
        chunk.bytes.get(from..).filter(|bytes| !bytes.is_empty())
    }

    fn absent(&self, part: Extent) -> JournalError {
        JournalError::NoSuchExtent {
            path: self.disk.path(&file_name(part.file)),
            offset: part.offset,
            length: part.length,
        }
    }

    fn read_carried(
        &self,
        part: Extent,
        length: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<bool, JournalError> {
        let Some(carried) = &self.carried else { return Ok(false) };
        let start = bytes.len();
        bytes.resize(start.saturating_add(length), 0);
        let read = carried.read(part, bytes.get_mut(start..).unwrap_or_default());
        if !matches!(read, Ok(true)) {
            bytes.truncate(start);
        }
        read.map_err(on("read", self.disk.path("carried")))
    }

    /// Forgets what was read ahead: where records have been written since, it is out of date.
    pub fn refresh(&mut self) {
        // Their memory is used again.
        for chunk in &mut self.chunks {
            chunk.file = 0;
        }
    }

    /// Closes files below `file`, which are no longer needed.
    pub fn forget_below(&mut self, file: u64) {
        self.open.retain(|(sequence, _)| *sequence >= file);
        self.chunks.retain(|chunk| chunk.file >= file);
    }

    /// Lets go of what was carried over, where that is not needed any more.
    pub fn forget_carried(&mut self) {
        self.carried = None;
    }

    fn file(&mut self, sequence: u64, name: &str) -> Result<Arc<dyn File>, JournalError> {
        let known = self.open.iter().position(|(open, _)| *open == sequence);
        let entry = match known {
            Some(index) => self.open.remove(index),
            None => {
                let opened = self.disk.open_to_read(name);
                (sequence, opened.map_err(on("open", self.disk.path(name)))?)
            }
        };
        if self.open.len() >= OPEN {
            self.open.remove(0);
        }
        let file = Arc::clone(&entry.1);
        self.open.push(entry);
        Ok(file)
    }
}
