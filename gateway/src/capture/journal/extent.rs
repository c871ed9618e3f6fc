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
const WINDOW: usize = 256 * 1024;

/// Reads payloads of records back, keeping the files it used last open.
///
/// An extent is good until [`super::Journal::recycle_below`] was called with a later file.
pub struct Extents {
    disk: Arc<dyn Disk>,
    /// The one used last is at the end.
    open: Vec<(u64, Arc<dyn File>)>,
    /// What was read last for parts: file, offset, bytes.
    window: (u64, u64, Vec<u8>),
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
        Self { disk, open: Vec::new(), window: (0, 0, Vec::new()), carried: None }
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
        if self.in_window(part, length).is_none() {
            let name = file_name(part.file);
            if self.read_carried(part, length, bytes)? {
                return Ok(());
            }
            let file = match self.file(part.file, &name) {
                Err(JournalError::Disk { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    self.carried = Index::open(&self.disk)?;
                    if self.read_carried(part, length, bytes)? {
                        return Ok(());
                    }
                    self.file(part.file, &name)?
                }
                file => file?,
            };
            let mut window = std::mem::take(&mut self.window.2);
            window.resize(length.max(WINDOW), 0);
            let count = file
                .read_at(&mut window, part.offset)
                .map_err(on("read", self.disk.path(&name)))?;
            window.truncate(count);
            self.window = (part.file, part.offset, window);
        }
        let Some(found) = self.in_window(part, length) else {
            return Err(JournalError::NoSuchExtent {
                path: self.disk.path(&file_name(part.file)),
                offset: part.offset,
                length: part.length,
            });
        };
        bytes.extend_from_slice(found);
        Ok(())
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

    fn in_window(&self, part: Extent, length: usize) -> Option<&[u8]> {
        let (file, offset, bytes) = &self.window;
        let from = part.offset.checked_sub(*offset).filter(|_| *file == part.file)?;
        let from = usize::try_from(from).ok()?;
        bytes.get(from..from.checked_add(length)?)
    }

    /// Forgets what was read ahead: where records have been written since, it is out of date.
    pub fn refresh(&mut self) {
        self.window.2.clear();
    }

    /// Closes files below `file`, which are no longer needed.
    pub fn forget_below(&mut self, file: u64) {
        self.open.retain(|(sequence, _)| *sequence >= file);
        if self.window.0 < file {
            self.window.2.clear();
        }
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
