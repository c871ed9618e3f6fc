//! Opening a journal: what was there is examined, a new file is begun, the threads start.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::carried::Carried;
use super::disk::{Directory, Disk};
use super::error::on;
use super::format::{BLOCK_U64, FileHeader, Origin};
use super::outage::{RESUMED, Resumed};
use super::queue::Shared;
use super::reserve::{Gap, Reserve};
use super::spares::Spares;
use super::writer::{Writer, begin_file};
use super::{
    Batch, Down, Durability, Journal, JournalError, Options, Position, Reader, Stats, Ticket, Torn,
};

pub(super) const FILE_ENDING: &str = ".journal";
const LOCK: &str = "lock";
/// The smallest useful file: its header and a few batches.
const LEAST_FILE: u64 = 8 * BLOCK_U64;
/// Batches that may wait for their reader; their bytes also count against the pending limit.
const BATCHES: usize = 64;

/// A journal at work.
pub struct Opened {
    /// To append to.
    pub journal: Journal,
    /// Every batch from now on, each on disk. To be read promptly and to the end: what is not
    /// read holds callers back, and when the reader goes away the journal fails.
    pub batches: Receiver<Batch>,
    /// What earlier boots left.
    pub recovered: Recovered,
}

/// An outage that has ended: its boot and its number there.
type Ended = ([u8; 16], u64);

/// What earlier boots left in the journal.
pub struct Recovered {
    /// Reads it all, and ends where the new boot begins.
    pub reader: Reader,
    /// Boots in the journal, oldest first.
    pub boots: Vec<[u8; 16]>,
    /// Ends that a crash left unfinished, oldest first; nobody was told these were durable.
    pub torn: Vec<Torn>,
    /// Times since when earlier boots refused, with no known end; until
    /// [`Journal::settle_gaps`] they are told at every start.
    pub open_gaps: Vec<Gap>,
    /// The first file of the new boot: those below it belong to earlier ones.
    pub first_file: u64,
    /// Files below this one are carried over, and only wait to be taken back.
    carried: u64,
}

/// Owns the threads. When the last journal goes, they stop by themselves.
pub(super) struct Owner {
    shared: Arc<Shared>,
    spares: Arc<Spares>,
    writer: Mutex<Option<JoinHandle<Result<(), JournalError>>>>,
}

/// The helper thread; when this goes, it has ended.
struct Helper {
    spares: Arc<Spares>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    fn start(spares: Arc<Spares>) -> Result<Self, JournalError> {
        let work = Arc::clone(&spares);
        let thread = Some(thread("journal-files", move || work.run())?);
        Ok(Self { spares, thread })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.spares.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's helper thread panicked");
        }
    }
}

impl Owner {
    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        self.spares.disk()
    }

    pub(super) fn spares(&self) -> &Spares {
        &self.spares
    }

    pub(super) fn file_size(&self) -> u64 {
        self.spares.file_size()
    }
}

impl Journal {
    /// Opens the journal in `directory`, which is made when it is not there, for a new boot.
    ///
    /// Every batch already there is read once, so that damage is known now and not later.
    ///
    /// # Errors
    ///
    /// See [`JournalError`].
    pub fn open(
        directory: &Path,
        boot: [u8; 16],
        options: Options,
    ) -> Result<Opened, JournalError> {
        let disk = Directory::make(directory).map_err(on("make", directory.to_owned()))?;
        Self::open_on(Arc::new(disk), boot, options)
    }

    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        boot: [u8; 16],
        options: Options,
    ) -> Result<Opened, JournalError> {
        if options.file_size < LEAST_FILE {
            let given = options.file_size;
            return Err(JournalError::FileSize { given, least: LEAST_FILE });
        }
        let file_size = options.file_size.div_euclid(BLOCK_U64).saturating_mul(BLOCK_U64);
        let lock = disk.lock(LOCK).map_err(on("lock", disk.path(LOCK)))?;
        let lock = lock.ok_or_else(|| JournalError::InUse { path: disk.path(LOCK) })?;

        let mut reserve = Reserve::open(Arc::clone(&disk))?;
        let (mut recovered, header, ended) = recover(&disk, boot, file_size)?;
        // A crash came between the record that ends a gap and the reserve: the record counts.
        reserve.keep(|gap| !ended.contains(&(gap.boot, gap.number)))?;
        recovered.open_gaps = reserve.gaps().to_vec();
        let spares = Arc::new(Spares::new(Arc::clone(&disk), file_size)?);
        if options.hurried {
            spares.hurry();
        }
        let helper = Helper::start(Arc::clone(&spares))?;
        let names = disk.list().map_err(on("list", disk.path("")))?;
        let files = names.iter().filter(|name| file_sequence(name).is_some()).count();
        let files = u64::try_from(files).unwrap_or_default().saturating_add(1);
        spares.files.store(files, Ordering::Relaxed);
        // However little room there is: what earlier boots left can be stored by a boot only.
        let current = begin_file(disk.as_ref(), &spares.take(true)?, header)?;

        let shared = Arc::new(Shared::new(options, file_size));
        // A crash came before the files that others stand for were taken back.
        spares.recycle_below(recovered.carried);
        let (sender, batches) = sync_channel(BATCHES);
        let writer =
            Writer::new(Arc::clone(&shared), disk, Arc::clone(&spares), sender, current, reserve);
        let writer = thread("journal", move || {
            let result = writer.run();
            // The lock is held until nobody touches a file any more.
            drop(helper);
            drop(lock);
            result
        })?;
        let writer = Mutex::new(Some(writer));
        let owner = Arc::new(Owner { shared: Arc::clone(&shared), spares, writer });
        Ok(Opened { journal: Self { shared, owner }, batches, recovered })
    }

    /// Gives the next exchange its number and appends its first record under the same lock, so
    /// that numbers are consecutive in the order of the records.
    ///
    /// # Errors
    ///
    /// When the journal is down: no number is used up, and the refusal is counted.
    pub fn begin(&self, kind: u8, parts: &[&[u8]]) -> Result<(Ticket, Position), Down> {
        self.shared.begin(kind, parts)
    }

    /// Appends a record that belongs to no exchange; its number is 0.
    ///
    /// # Errors
    ///
    /// When the journal is down.
    pub fn note(&self, kind: u8, parts: &[&[u8]]) -> Result<Position, Down> {
        self.shared.note(kind, parts)
    }

    /// Appends a record: the bytes of `parts`, one after the other. Copies them and returns.
    ///
    /// # Errors
    ///
    /// When the journal is down or was down since the exchange began: the exchange is over.
    /// [`Down::TooLong`] when the record has more than [`Journal::record_limit`] bytes.
    pub fn append(&self, ticket: Ticket, kind: u8, parts: &[&[u8]]) -> Result<Position, Down> {
        self.shared.append(ticket, kind, parts)
    }

    /// Bytes one record may have.
    #[must_use]
    pub fn record_limit(&self) -> usize {
        self.shared.record_limit()
    }

    /// Waits while more than [`Options::max_pending`] bytes are on their way.
    pub async fn room(&self) {
        self.shared.room().await;
    }

    /// Whether [`Journal::durable`] waits.
    #[must_use]
    pub fn is_strict(&self) -> bool {
        self.shared.options.durability == Durability::Strict
    }

    /// Waits until everything up to `position` is on disk; relaxed, returns at once.
    ///
    /// # Errors
    ///
    /// When the journal has failed since: what `position` names may or may not be on disk, and
    /// the exchange is over.
    pub async fn durable(&self, position: Position) -> Result<(), Down> {
        self.shared.durable(position).await
    }

    /// Says that every journal file with a sequence below `file` is no longer needed.
    pub fn recycle_below(&self, file: u64) {
        self.owner.spares.recycle_below(file);
    }

    /// The first file that the journal itself still needs: it holds the end of an outage that is
    /// written nowhere else yet.
    #[must_use]
    pub fn floor(&self) -> Option<u64> {
        self.owner.spares.floor()
    }

    /// Says that the gaps found when opening are in the signed log: the reserve forgets them.
    pub fn settle_gaps(&self) {
        self.shared.settle_gaps();
    }

    /// Waits until the journal has ended: because it was closed, or because it cannot go on.
    pub async fn ended(&self) {
        self.shared.ended().await;
    }

    /// To be asked when the batches have ended: whether everything that was appended is on disk and
    /// was handed on.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn ended_well(&self) -> Result<(), Down> {
        self.shared.ended_well()
    }

    /// Makes the writer thread panic at the next thing it does.
    #[cfg(test)]
    pub(crate) fn panic(&self) {
        self.shared.panic();
    }

    /// What the journal has done and how it fares.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        let syncs = counters.syncs.load(Ordering::Relaxed);
        Stats {
            pending: self.shared.pool.held(),
            syncs,
            bytes: counters.bytes.load(Ordering::Relaxed),
            last_sync_ns: counters.last_sync_ns.load(Ordering::Relaxed),
            mean_sync_ns: counters
                .sync_ns
                .load(Ordering::Relaxed)
                .checked_div(syncs)
                .unwrap_or_default(),
            sync_times: counters.sync_times.spread(),
            files: self.owner.spares.files.load(Ordering::Relaxed),
            spares: self.owner.spares.ready(),
            limit: self.shared.options.max_pending,
            down: self.shared.down(),
        }
    }

    /// Writes and syncs what is pending, and stops. Blocks; the reader of batches has to go on
    /// reading until they end.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unwritten`] when the journal was down and records are lost.
    pub fn close(self) -> Result<(), JournalError> {
        self.shared.close();
        let writer = self.owner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return Ok(()) };
        writer.join().unwrap_or_else(|_| {
            let cause = Down::Failed("the writer thread panicked".into());
            Err(JournalError::Unwritten { bytes: 0, cause })
        })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Reads what is there, and says what the first file of the new boot is to tell of it.
fn recover(
    disk: &Arc<dyn Disk>,
    boot: [u8; 16],
    length: u64,
) -> Result<(Recovered, FileHeader, Vec<Ended>), JournalError> {
    let mut reader = Reader::on(Arc::clone(disk), false, u64::MAX);
    let mut ended = Vec::new();
    while let Some(batch) = reader.next()? {
        let resumed = batch.records().filter(|record| record.kind == RESUMED);
        let gaps = resumed.filter_map(|record| Resumed::decode(record.payload));
        ended.extend(gaps.map(|resumed| (batch.boot, resumed.gap)));
    }
    let torn = reader.torn().to_vec();
    let last = reader.place();
    if let Some(last) = last {
        last.prove(disk.as_ref())?;
    }
    let sequence = last.map_or(0, |last| last.header.sequence);
    let header = FileHeader {
        sequence: sequence.saturating_add(1),
        boot,
        salt: [0; 16],
        first_batch: last.map_or(1, |last| last.expected),
        previous_crc: last.map_or(0, |last| last.chain),
        origin: Origin::Opened,
        cleared: false,
        length,
        previous_end: last.map_or(0, |last| last.offset),
        abandoned: last
            .and_then(|last| torn.last().filter(|torn| torn.path == disk.path(last.name())))
            .map_or(0, |torn| torn.bytes),
    };
    let boots = reader.boots().to_vec();
    if boots.contains(&boot) {
        return Err(JournalError::BootOrder { path: disk.path(&file_name(header.sequence)) });
    }
    let reader = Reader::on(Arc::clone(disk), false, sequence);
    let first_file = header.sequence;
    let carried = Carried::open(disk)?.map_or(0, |carried| carried.stands.next);
    let open_gaps = Vec::new();
    let recovered = Recovered { reader, boots, torn, open_gaps, first_file, carried };
    Ok((recovered, header, ended))
}

fn thread<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, JournalError> {
    Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|source| JournalError::Thread { name, source })
}

/// The name of the journal file with this sequence.
pub(super) fn file_name(sequence: u64) -> String {
    format!("{sequence:020}{FILE_ENDING}")
}

/// The sequence of the journal file with this name.
pub(super) fn file_sequence(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(FILE_ENDING)?;
    let sequence = digits.parse().ok()?;
    (file_name(sequence) == name).then_some(sequence)
}
