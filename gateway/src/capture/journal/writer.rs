//! The writer: the one thread that puts batches on disk.
//!
//! Comes in: groups of buffers. Goes out: the same buffers as batches, once they are synced. Fails
//! with what was tried on which file; everything not yet settled is then kept, in order, to be
//! written again elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Instant;

use super::buffer::Buffer;
use super::disk::{Disk, File};
use super::error::on;
use super::format::{BLOCK_U64, BatchHeader, FileHeader, Origin};
use super::open::file_name;
use super::outage::Outages;
use super::queue::{Shared, Work};
use super::reserve::Reserve;
use super::spares::Spares;
use super::{Batch, Down, JournalError};

/// The file being written.
pub(super) struct Current {
    pub(super) header: FileHeader,
    pub(super) file: Arc<dyn File>,
    pub(super) name: String,
    /// Where the next batch goes.
    pub(super) offset: u64,
    /// Where the last settled batch ends.
    pub(super) settled_end: u64,
}

/// A batch written but not yet synced.
struct Written {
    buffer: Buffer,
    offset: u64,
    crc: u32,
}

/// Everything the writer thread owns.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) spares: Arc<Spares>,
    pub(super) batches: SyncSender<Batch>,
    pub(super) current: Current,
    /// The last batch that is on disk, and its checksum.
    pub(super) settled: u64,
    pub(super) settled_crc: u32,
    /// Written behind it, oldest first.
    written: VecDeque<Written>,
    /// Yet to be written.
    pub(super) rest: VecDeque<Buffer>,
    pub(super) reserve: Reserve,
    pub(super) outages: Outages,
    /// Nobody takes batches any more.
    pub(super) reader_gone: bool,
    /// The journal closes: what was accepted is written as long as there is any room.
    pub(super) closing: bool,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        spares: Arc<Spares>,
        batches: SyncSender<Batch>,
        current: Current,
        reserve: Reserve,
    ) -> Self {
        let settled = current.header.first_batch.saturating_sub(1);
        let settled_crc = current.header.previous_crc;
        Self {
            shared,
            disk,
            spares,
            batches,
            current,
            settled,
            settled_crc,
            written: VecDeque::new(),
            rest: VecDeque::new(),
            reserve,
            outages: Outages::default(),
            reader_gone: false,
            closing: false,
        }
    }

    /// The writer thread: works until closed, and leaves nothing unwritten if it can.
    pub(super) fn run(mut self) -> Result<(), JournalError> {
        let _closed = Closed(Arc::clone(&self.shared), Arc::clone(&self.spares));
        let mut result = Ok(());
        loop {
            match self.shared.next() {
                Work::Write(group) => self.rest.extend(group),
                Work::SettleGaps => self.forget_gaps(),
                Work::Close => break,
            }
            if let Err(error) = self.flush()
                && let Err(error) = self.outage(error)
            {
                // Whoever asks later hears that this was no end in good order.
                self.shared.closed(Down::Failed(error.to_string().into()));
                result = Err(error);
                break;
            }
            self.end_outage();
        }
        result
    }

    pub(super) fn unwritten(&self, cause: Down) -> JournalError {
        let bytes = self.rest.iter().fold(0_usize, |sum, buffer| sum + buffer.payload().len());
        JournalError::Unwritten { bytes: u64::try_from(bytes).unwrap_or(u64::MAX), cause }
    }

    /// Writes and syncs all that is to be written, going on to the next file where one is full.
    pub(super) fn flush(&mut self) -> Result<(), JournalError> {
        while let Some(buffer) = self.rest.pop_front() {
            let length = super::format::padded(u64::try_from(buffer.used()).unwrap_or(u64::MAX));
            if self.current.offset.saturating_add(length) > self.current.header.length {
                self.rest.push_front(buffer);
                // The next file's header says that this one is complete: so it must be.
                self.settle()?;
                self.change_file(Origin::Rotated)?;
                continue;
            }
            self.write(buffer)?;
        }
        self.settle()
    }

    /// Writes one batch. A crash leaves any of its blocks written or not; its checksum tells.
    fn write(&mut self, mut buffer: Buffer) -> Result<(), JournalError> {
        let behind = u64::try_from(self.written.len()).unwrap_or(u64::MAX);
        let header = BatchHeader {
            crc: 0,
            previous_crc: self.written.back().map_or(self.settled_crc, |written| written.crc),
            file: self.current.header.sequence,
            sequence: self.settled.saturating_add(behind).saturating_add(1),
            settled: self.settled,
            length: u32::try_from(buffer.payload().len()).unwrap_or(u32::MAX),
            records: buffer.records(),
            boot: self.current.header.boot,
        };
        let (bytes, crc) = header.seal(&self.current.header.salt, buffer.payload());
        buffer.finish(&bytes);
        let offset = self.current.offset;
        if let Err(source) = self.current.file.write_at(buffer.whole(), offset) {
            self.rest.push_front(buffer);
            return Err(on("write", self.disk.path(&self.current.name))(source));
        }
        self.current.offset = offset.saturating_add(header.padded());
        self.written.push_back(Written { buffer, offset, crc });
        Ok(())
    }

    /// Syncs what was written, tells those who waited, hands the batches on. A crash before the
    /// sync may lose them, and nobody was told; a crash after it loses nothing.
    fn settle(&mut self) -> Result<(), JournalError> {
        let Some(last) = self.written.back() else { return Ok(()) };
        let (end, crc) = (last.buffer.end, last.crc);
        let started = Instant::now();
        self.current.file.sync().map_err(on("sync", self.disk.path(&self.current.name)))?;
        self.count(started);
        let first = self.settled.saturating_add(1);
        let count = u64::try_from(self.written.len()).unwrap_or(u64::MAX);
        self.settled = self.settled.saturating_add(count);
        self.settled_crc = crc;
        self.current.settled_end = self.current.offset;
        self.shared.advance(end);
        for (sequence, written) in (first..).zip(std::mem::take(&mut self.written)) {
            self.hand_on(sequence, written)?;
        }
        Ok(())
    }

    fn hand_on(&mut self, sequence: u64, written: Written) -> Result<(), JournalError> {
        let FileHeader { boot, sequence: file, .. } = self.current.header;
        let buffer = self.shared.pool.lend(written.buffer);
        let pool = Arc::clone(&self.shared.pool);
        let batch = Batch::lent(boot, file, sequence, written.offset, buffer, pool);
        // Blocks while the reader is behind: callers then wait for room, and memory stays bounded.
        self.batches.send(batch).map_err(|_| {
            self.reader_gone = true;
            JournalError::ReaderGone
        })
    }

    fn count(&self, started: Instant) {
        let counters = &self.shared.counters;
        let took = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let bytes = self.current.offset.saturating_sub(self.current.settled_end);
        counters.syncs.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        counters.last_sync_ns.store(took, Ordering::Relaxed);
        counters.sync_ns.fetch_add(took, Ordering::Relaxed);
        counters.sync_times.add(started.elapsed());
        let batches = self.written.len();
        tracing::debug!(batches, bytes, duration_us = took / 1_000, "batches synced");
    }

    /// What was written but not synced is to be written again.
    pub(super) fn take_back(&mut self) {
        while let Some(written) = self.written.pop_back() {
            self.rest.push_front(written.buffer);
        }
    }

    /// Goes on in a new file.
    ///
    /// A file in which no batch was settled is replaced under its own name and keeps its account
    /// of the file before it, so that failing again and again uses up neither room nor sequences.
    pub(super) fn change_file(&mut self, origin: Origin) -> Result<(), JournalError> {
        let old = &self.current;
        let replaces = old.header.first_batch > self.settled;
        let mut header = FileHeader {
            sequence: old.header.sequence.saturating_add(1),
            first_batch: self.settled.saturating_add(1),
            previous_crc: self.settled_crc,
            origin,
            previous_end: old.settled_end,
            abandoned: old.offset.saturating_sub(old.settled_end),
            ..old.header.clone()
        };
        if replaces {
            header = old.header.clone();
        }
        let spare = self.spares.take(self.closing)?;
        self.current = begin_file(self.disk.as_ref(), &spare, header).inspect_err(|_| {
            // It may be under either name; a spare of unknown state is of no use.
            let _left = self.disk.remove(&spare.name);
        })?;
        if !replaces {
            self.spares.files.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// However the writer ends, nobody may wait for it afterwards.
struct Closed(Arc<Shared>, Arc<Spares>);

impl Drop for Closed {
    fn drop(&mut self) {
        let panicked = || Down::Failed("its writer thread panicked".into());
        self.0.closed(if thread::panicking() { panicked() } else { Down::Closed });
        self.1.close();
    }
}

/// Makes a spare file the file that `header` describes, with a salt of its own.
///
/// A crash before the rename leaves a spare; after it, an empty file of the journal. The header is
/// synced before the rename and the name after it: a file that has its name has its header, and
/// no batch is written to a file whose name could be lost.
pub(super) fn begin_file(
    disk: &dyn Disk,
    spare: &super::spares::Spare,
    mut header: FileHeader,
) -> Result<Current, JournalError> {
    header.cleared = spare.cleared;
    header.salt = salt();
    let name = file_name(header.sequence);
    let file = disk.open_for_batches(&spare.name).map_err(on("open", disk.path(&spare.name)))?;
    file.write_at(&header.encode(), 0).map_err(on("write", disk.path(&spare.name)))?;
    file.sync().map_err(on("sync", disk.path(&spare.name)))?;
    disk.rename(&spare.name, &name).map_err(on("rename", disk.path(&spare.name)))?;
    disk.sync().map_err(on("sync", disk.path("")))?;
    Ok(Current { header, file, name, offset: BLOCK_U64, settled_end: BLOCK_U64 })
}

fn salt() -> [u8; 16] {
    let mut salt = [0; 16];
    if getrandom::fill(&mut salt).is_err() {
        // Without the system's randomness the file's identity still keeps stale batches out.
        return salt;
    }
    salt
}
