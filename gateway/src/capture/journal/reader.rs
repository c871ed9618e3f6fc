//! Reads the files of a journal in order, batch by batch.
//!
//! Comes in: a directory. Goes out: every good batch, once, in order. Fails on a missing file, an
//! unreadable header, files out of order, and a damaged batch that had been durable. It writes
//! nothing, and beside a running gateway it follows the live end: what is being written there may
//! or may not be seen yet, and files taken back while it reads are passed over.

mod before;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use self::before::FromCarried;
use super::disk::{Directory, Disk, File};
use super::error::on;
use super::format::{BLOCK, BLOCK_U64, BatchHeader, FileHeader, Origin};
use super::open::{file_name, file_sequence};
use super::tail::{self, Found};
use super::{Batch, JournalError, Torn};

/// Reads a journal from its oldest file on.
pub struct Reader {
    disk: Arc<dyn Disk>,
    live: bool,
    /// The first file to read, and the last.
    first: u64,
    last: u64,
    place: Option<Place>,
    /// Boots seen so far, in order.
    boots: Vec<[u8; 16]>,
    torn: Vec<Torn>,
    finished: bool,
    carried: FromCarried,
}

/// Where the reader is.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) header: FileHeader,
    file: Arc<dyn File>,
    name: String,
    pub(super) offset: u64,
    /// The batch that should be here.
    pub(super) expected: u64,
    /// Checksum of the batch before.
    pub(super) chain: u32,
    /// The batch that the next file starts with, when there is one.
    until: Option<u64>,
    /// Batches read here that no later one says are on disk: sequence, offset, bytes.
    unproven: VecDeque<(u64, u64, u64)>,
}

type Opening = (FileHeader, Arc<dyn File>);

impl Reader {
    /// Beside a running gateway or none, of the journal in `directory`. At the live end
    /// [`Reader::next`] gives `None`, and may give more later.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        Ok(Self::on(Arc::new(Directory::existing(directory)), true, u64::MAX))
    }

    /// Beside the gateway that writes it, from journal file `first` on. Gives nothing that the next
    /// file says was given up after a failure.
    #[must_use]
    pub fn follow(directory: &Path, first: u64) -> Self {
        let disk = Arc::new(Directory::existing(directory));
        Self { first, carried: FromCarried::Nothing, ..Self::on(disk, true, u64::MAX) }
    }

    pub(super) fn on(disk: Arc<dyn Disk>, live: bool, last: u64) -> Self {
        let (boots, torn) = (Vec::new(), Vec::new());
        let carried = FromCarried::Unknown;
        Self { disk, live, first: 0, last, place: None, boots, torn, finished: false, carried }
    }

    /// Unfinished ends found so far: where a crash cut off what was being written. Only a reader
    /// of a journal at rest can tell; beside a running gateway the end is simply not reached yet.
    #[must_use]
    pub fn torn(&self) -> &[Torn] {
        &self.torn
    }

    pub(super) fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    pub(super) fn boots(&self) -> &[[u8; 16]] {
        &self.boots
    }

    /// The next batch, or `None` at the end.
    ///
    /// # Errors
    ///
    /// See [`JournalError`]: each names the file and what to do.
    #[expect(clippy::should_implement_trait, reason = "it gives a Result of an Option")]
    pub fn next(&mut self) -> Result<Option<Batch>, JournalError> {
        if let Some(batch) = self.next_carried()? {
            return Ok(Some(batch));
        }
        while !self.finished {
            let Some(mut place) = self.place.take() else {
                let Some(first) = self.files()?.first().copied() else { return self.no_files() };
                let entered = self.enter(first)?;
                self.follows_carried(entered.as_ref(), first)?;
                self.place = entered;
                continue;
            };
            if self.live && place.until.is_none() {
                // What lies here may have failed, and follow again in a file begun since.
                place.until = self.first_batch(place.header.sequence.saturating_add(1))?;
            }
            if place.until.is_none_or(|until| place.expected < until)
                && let Found::Whole(batch, payload) = self.look(&place)?
                && batch.sequence == place.expected
                && batch.previous_crc == place.chain
            {
                let found = place.advance(&batch, payload);
                self.place = Some(place);
                return Ok(Some(found));
            }
            if !self.go_on(place)? {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn look(&self, place: &Place) -> Result<Found, JournalError> {
        let disk = self.disk.as_ref();
        tail::look(disk, &place.name, place.file.as_ref(), &place.header, place.offset)
    }

    /// There is no further batch at `place`: goes on to the next file, or says that this is the
    /// end, or what is wrong.
    fn go_on(&mut self, mut place: Place) -> Result<bool, JournalError> {
        let sequence = place.header.sequence;
        let next = self.files()?.into_iter().find(|file| *file > sequence);
        let Some(next) = next else {
            if !self.live {
                self.finish(&place)?;
                self.finished = true;
            }
            self.place = Some(place);
            return Ok(false);
        };
        if self.live && self.recycled(&place)? {
            self.nothing_carried_since(&place)?;
            self.place = self.enter(next)?;
            return Ok(true);
        }
        if next != sequence.saturating_add(1) {
            let path = self.disk.path(&file_name(sequence.saturating_add(1)));
            return Err(JournalError::MissingFile { path });
        }
        if place.until.is_none() {
            // The next file came to be since this one was entered: now its end is known.
            place.until = self.first_batch(next)?;
            let again = place.until.is_none_or(|until| place.expected < until);
            self.place = Some(place);
            if again {
                return Ok(true);
            }
            return self.go_on_to(next);
        }
        if place.until.is_some_and(|until| until > place.expected) {
            return Err(self.corrupt(&place));
        }
        self.place = Some(place);
        self.go_on_to(next)
    }

    fn go_on_to(&mut self, next: u64) -> Result<bool, JournalError> {
        let Some(before) = self.place.take() else { return Ok(true) };
        let Some(mut entered) = self.enter(next)? else {
            self.place = Some(before);
            return Ok(true);
        };
        let header = &entered.header;
        let follows = header.first_batch == before.expected && header.previous_crc == before.chain;
        if follows {
            if header.origin == Origin::Opened && header.abandoned > 0 {
                let path = self.disk.path(&before.name);
                self.torn.push(Torn { path, offset: header.previous_end, bytes: header.abandoned });
            }
        } else if self.live && header.first_batch < before.expected {
            // The file before failed after its last batches were seen here: they follow again.
            entered.skip(self.disk.as_ref(), before.expected)?;
        } else {
            return Err(self.corrupt(&before));
        }
        self.place = Some(entered);
        Ok(true)
    }

    /// Enters a file; `None` when it was taken back in the meantime.
    fn enter(&mut self, sequence: u64) -> Result<Option<Place>, JournalError> {
        let name = file_name(sequence);
        let Some((header, file)) = self.header(sequence)? else { return Ok(None) };
        if self.boots.last() != Some(&header.boot) {
            // A live reader may have passed over files that were taken back, and what was carried
            // over stands for files that are not there.
            let carried = matches!(self.carried, FromCarried::Read(_)) && self.place.is_none();
            let first = self.boots.is_empty() || self.live || carried;
            if self.boots.contains(&header.boot) || (!first && header.origin != Origin::Opened) {
                return Err(JournalError::BootOrder { path: self.disk.path(&name) });
            }
            self.boots.push(header.boot);
        }
        let next = sequence.saturating_add(1);
        let until = if self.files()?.contains(&next) { self.first_batch(next)? } else { None };
        let (expected, chain) = (header.first_batch, header.previous_crc);
        let offset = BLOCK_U64;
        let unproven = VecDeque::new();
        Ok(Some(Place { header, file, name, offset, expected, chain, until, unproven }))
    }

    fn first_batch(&self, sequence: u64) -> Result<Option<u64>, JournalError> {
        Ok(self.header(sequence)?.map(|(header, _)| header.first_batch))
    }

    fn header(&self, sequence: u64) -> Result<Option<Opening>, JournalError> {
        let name = file_name(sequence);
        let path = || self.disk.path(&name);
        let file = match self.disk.open_to_read(&name) {
            Err(error) if self.live && error.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            opened => opened.map_err(on("open", path()))?,
        };
        let mut block = vec![0; BLOCK];
        file.read_at(&mut block, 0).map_err(on("read", path()))?;
        let header = FileHeader::decode(&block).filter(|header| header.sequence == sequence);
        let Some(header) = header else {
            // Beside a running gateway, the file may have been taken back since it was opened.
            if self.live && !self.files()?.contains(&sequence) {
                return Ok(None);
            }
            return Err(JournalError::UnreadableHeader { path: path() });
        };
        let length = file.length().map_err(on("read", path()))?;
        if length < header.length {
            let batch = header.first_batch;
            return Err(JournalError::Corrupt { path: path(), offset: length, batch });
        }
        Ok(Some((header, file)))
    }

    /// Whether the file at `place` was taken back and begun anew under another name.
    fn recycled(&self, place: &Place) -> Result<bool, JournalError> {
        let mut block = vec![0; BLOCK];
        let path = self.disk.path(&place.name);
        place.file.read_at(&mut block, 0).map_err(on("read", path))?;
        let here = FileHeader::decode(&block);
        let named = self.files()?.contains(&place.header.sequence);
        Ok(!named || here.as_ref() != Some(&place.header))
    }

    fn finish(&mut self, place: &Place) -> Result<(), JournalError> {
        let (disk, file) = (self.disk.as_ref(), place.file.as_ref());
        let torn =
            tail::examine(disk, &place.name, file, &place.header, place.offset, place.expected)?;
        self.torn.extend(torn);
        Ok(())
    }

    /// The sequences of the files to read, in order.
    pub(super) fn files(&self) -> Result<Vec<u64>, JournalError> {
        let names = match self.disk.list() {
            // Nothing was ever captured here.
            Err(error) if self.live && error.kind() == ErrorKind::NotFound => Vec::new(),
            names => names.map_err(on("list", self.disk.path("")))?,
        };
        let mut files: Vec<u64> = names.iter().filter_map(|name| file_sequence(name)).collect();
        files.retain(|file| (self.first..=self.last).contains(file));
        files.sort_unstable();
        Ok(files)
    }

    fn corrupt(&self, place: &Place) -> JournalError {
        let path = self.disk.path(&place.name);
        JournalError::Corrupt { path, offset: place.offset, batch: place.expected }
    }
}

impl Place {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn advance(&mut self, batch: &BatchHeader, payload: Vec<u8>) -> Batch {
        let file = self.header.sequence;
        let found = Batch::read(batch.boot, file, batch.sequence, self.offset, payload);
        self.unproven.retain(|(sequence, ..)| *sequence > batch.settled);
        self.unproven.push_back((batch.sequence, self.offset, batch.padded()));
        self.offset = self.offset.saturating_add(batch.padded());
        self.expected = self.expected.saturating_add(1);
        self.chain = batch.crc;
        found
    }

    /// Makes sure that what was read at the end is on disk and not only in memory.
    ///
    /// When a sync has failed, Linux still shows the bytes but never writes them by itself; the
    /// new boot must not build on those. They are written again as they are, so a crash here
    /// leaves the same bytes or what was there before.
    pub(super) fn prove(&self, disk: &dyn Disk) -> Result<(), JournalError> {
        let path = || disk.path(&self.name);
        if self.unproven.is_empty() {
            return Ok(());
        }
        let file = disk.open(&self.name).map_err(on("open", path()))?;
        for (_, offset, length) in &self.unproven {
            let mut bytes = vec![0; usize::try_from(*length).unwrap_or_default()];
            file.read_at(&mut bytes, *offset).map_err(on("read", path()))?;
            file.write_at(&bytes, *offset).map_err(on("write", path()))?;
        }
        file.sync().map_err(on("sync", path()))
    }

    fn skip(&mut self, disk: &dyn Disk, expected: u64) -> Result<(), JournalError> {
        while self.expected < expected {
            let file = self.file.as_ref();
            match tail::look(disk, &self.name, file, &self.header, self.offset)? {
                Found::Whole(batch, payload) => drop(self.advance(&batch, payload)),
                Found::Torn | Found::Nothing => break,
            }
        }
        Ok(())
    }
}
