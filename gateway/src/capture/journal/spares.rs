//! Files made ahead of need, and files taken back: the helper thread's work.
//!
//! Comes in: a wish for a file, and the lowest file still needed. Goes out: spare files of full
//! size, all zeros or of an earlier life. One with time ahead is filled with zeros, so that no sync
//! has metadata to write. Where files are used up fast that would double all writing: there a file is
//! only reserved, which reads as zeros as well, and its batches are large enough to bear the little
//! that the file system then adds to each sync. The writer waits only when it needs a file faster
//! than the disk can make one.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::JournalError;
use super::buffer::aligned;
use super::disk::Disk;
use super::error::on;
use super::open::{file_name, file_sequence};
use super::room;

const SPARE: &str = "spare-";
const FILLING: &str = "spare-new";
/// Bytes of zeros written at a time.
const STRIDE: usize = 1024 * 1024;
/// How many spare files are kept of those taken back.
const KEPT: usize = 4;
/// Where a file is full sooner than this, the next one is not filled ahead.
const FAST: Duration = Duration::from_secs(20);

/// A file of full size without a place in the journal yet.
pub(super) struct Spare {
    pub(super) name: String,
    /// Whether it is all zeros.
    pub(super) cleared: bool,
}

/// The stock of spare files.
pub(super) struct Spares {
    disk: Arc<dyn Disk>,
    file_size: u64,
    state: Mutex<State>,
    changed: Condvar,
    /// Files that have a place in the journal.
    pub(super) files: AtomicU64,
    /// What the store has yet to fold, in bytes.
    unfolded: AtomicU64,
}

#[derive(Default)]
struct State {
    ready: Vec<Spare>,
    wanted: bool,
    /// When a file was taken last.
    taken: Option<Instant>,
    /// Whether files are used up faster than they should be filled.
    fast: bool,
    /// The file that is wanted is taken however little room there is.
    pressing: bool,
    failed: Option<JournalError>,
    /// Files below this are no longer needed.
    recycle_below: u64,
    /// Files from this one on are needed by the journal itself.
    floor: Option<u64>,
    recycled_below: u64,
    named: u64,
    closing: bool,
}

impl State {
    fn next_name(&mut self) -> String {
        self.named = self.named.saturating_add(1);
        format!("{SPARE}{}", self.named)
    }
}

impl Spares {
    /// Starts with the files that an earlier process left behind.
    pub(super) fn new(disk: Arc<dyn Disk>, file_size: u64) -> Result<Self, JournalError> {
        let mut state = State::default();
        // A spare may still have another name on disk: that must be gone before it is used.
        disk.sync().map_err(on("sync", disk.path("")))?;
        for name in disk.list().map_err(on("list", disk.path("")))? {
            if name == super::carried::NEW {
                disk.remove(&name).map_err(on("remove", disk.path(&name)))?;
            }
            if !name.starts_with(SPARE) {
                continue;
            }
            // A crash leaves a spare of any content; one still being filled is too short.
            let whole = disk.open(&name).and_then(|file| file.length());
            let keep = whole.is_ok_and(|length| length == file_size);
            if let Some(number) = name.strip_prefix(SPARE).and_then(|rest| rest.parse().ok())
                && keep
                && state.ready.len() < KEPT
            {
                state.named = state.named.max(number);
                state.ready.push(Spare { name, cleared: false });
            } else {
                disk.remove(&name).map_err(on("remove", disk.path(&name)))?;
            }
        }
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let (files, unfolded) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { disk, file_size, state, changed, files, unfolded })
    }

    /// The first file is only reserved if there is none yet: whoever opens the journal waits for it.
    pub(super) fn hurry(&self) {
        self.state().fast = true;
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn file_size(&self) -> u64 {
        self.file_size
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leave_room(&self, unfolded: u64) {
        self.unfolded.store(unfolded, Ordering::Relaxed);
    }

    /// Whether one more file may hold records, for which `takes` bytes are taken first.
    fn check_room(&self, takes: u64) -> Result<(), JournalError> {
        let files = self.files.load(Ordering::Relaxed).saturating_add(1);
        let unfolded = self.unfolded.load(Ordering::Relaxed);
        room::check(self.disk.available(), takes, files, self.file_size, unfolded)
            .map_err(on("take a new file in", self.disk.path("")))
    }

    /// A spare file, waiting for one if none is ready. Asks for the next one at once. Fails where
    /// too little room is left besides, unless it is `pressing`; spare files are then given up.
    pub(super) fn take(&self, pressing: bool) -> Result<Spare, JournalError> {
        if !pressing && let Err(full) = self.check_room(0) {
            let ready = std::mem::take(&mut self.state().ready);
            for spare in ready {
                // What stays is found at the next start.
                let _left = self.disk.remove(&spare.name);
            }
            return Err(full);
        }
        let mut state = self.state();
        // What failed earlier may work by now.
        state.failed = None;
        loop {
            state.wanted = true;
            state.pressing = pressing;
            if let Some(spare) = state.ready.pop() {
                state.pressing = false;
                let now = Instant::now();
                let before = state.taken.replace(now);
                state.fast = before.is_some_and(|before| now.duration_since(before) < FAST);
                self.changed.notify_all();
                return Ok(spare);
            }
            self.changed.notify_all();
            if let Some(error) = state.failed.take() {
                (state.wanted, state.pressing) = (false, false);
                return Err(error);
            }
            if state.closing {
                let closed = io::Error::other("the journal is closing");
                return Err(on("allocate", self.disk.path(FILLING))(closed));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many spare files there are.
    pub(super) fn ready(&self) -> u64 {
        u64::try_from(self.state().ready.len()).unwrap_or(u64::MAX)
    }

    /// Journal files with a sequence below `file` may be taken back.
    pub(super) fn recycle_below(&self, file: u64) {
        let mut state = self.state();
        let file = file.min(state.floor.unwrap_or(u64::MAX));
        state.recycle_below = state.recycle_below.max(file);
        self.changed.notify_all();
    }

    /// Keeps files from `floor` on, whatever else is said, until told otherwise.
    pub(super) fn keep(&self, floor: Option<u64>) {
        self.state().floor = floor;
    }

    /// The first file that the journal itself needs.
    pub(super) fn floor(&self) -> Option<u64> {
        self.state().floor
    }

    pub(super) fn close(&self) {
        self.state().closing = true;
        self.changed.notify_all();
    }

    /// The helper thread: works until closed.
    pub(super) fn run(&self) {
        // However this ends, nobody may wait for a file afterwards.
        let _closed = Closed(self);
        let mut state = self.state();
        while !state.closing {
            if state.recycled_below < state.recycle_below {
                let below = state.recycle_below;
                drop(state);
                let done = self.recycle(below);
                state = self.state();
                // What could not be taken back now is found again with the next file.
                state.recycled_below = below;
                if let Err(error) = done {
                    tracing::warn!(%error, "journal files stay although they are not needed");
                }
            } else if state.wanted && state.ready.is_empty() && state.failed.is_none() {
                let name = state.next_name();
                let (pressing, fast) = (state.pressing, state.fast);
                drop(state);
                let enough = if pressing { Ok(()) } else { self.check_room(self.file_size) };
                let made = enough.and_then(|()| self.make(&name, fast));
                state = self.state();
                match made {
                    Ok(()) => state.ready.push(Spare { name, cleared: true }),
                    Err(error) => state.failed = Some(error),
                }
                state.wanted = false;
                self.changed.notify_all();
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Makes a file of zeros, written or only reserved. A crash leaves it short, or whole under either
    /// name; size and content are synced before it is a spare.
    fn make(&self, name: &str, fast: bool) -> Result<(), JournalError> {
        let path = self.disk.path(FILLING);
        let filled = self.write_zeros(fast).map_err(on("allocate", path));
        if filled.is_err() {
            // The room it took may be what others need; if it stays, the next start removes it.
            let _left = self.disk.remove(FILLING);
            return filled;
        }
        self.disk.rename(FILLING, name).map_err(on("rename", self.disk.path(FILLING)))
    }

    fn write_zeros(&self, fast: bool) -> io::Result<()> {
        let file = self.disk.create(FILLING)?;
        // A full disk says so here, at once, and is not filled to the brim again and again.
        let reads_as_zeros = file.reserve(self.file_size)?;
        if fast && reads_as_zeros {
            return file.sync();
        }
        // Past the cache like the batches, or each of them would first have to clear its place there.
        let file = self.disk.open_for_batches(FILLING)?;
        let (mut zeros, start) = aligned(STRIDE);
        zeros.resize(start.saturating_add(STRIDE), 0);
        let zeros = zeros.get(start..).unwrap_or_default();
        let stride = u64::try_from(STRIDE).unwrap_or(u64::MAX);
        let mut offset = 0;
        while offset < self.file_size {
            if self.state().closing {
                return Err(io::Error::other("the journal is closing"));
            }
            let left = usize::try_from(self.file_size.saturating_sub(offset)).unwrap_or(STRIDE);
            file.write_at(zeros.get(..left.min(STRIDE)).unwrap_or_default(), offset)?;
            offset = offset.saturating_add(stride);
        }
        file.sync()
    }

    /// Takes back the files below `below`, oldest first. A crash in between leaves the later
    /// ones: the names are made durable one by one, so no hole can appear in the middle.
    fn recycle(&self, below: u64) -> Result<(), JournalError> {
        let names = self.disk.list().map_err(on("list", self.disk.path("")))?;
        let mut old: Vec<u64> = names.iter().filter_map(|name| file_sequence(name)).collect();
        old.sort_unstable();
        // The last file is in use, whatever was asked for.
        old.pop();
        for sequence in old.into_iter().take_while(|sequence| *sequence < below) {
            let name = file_name(sequence);
            let whole = self.disk.open(&name).and_then(|file| file.length());
            // Where room is short, others need it more.
            let of_use = whole.is_ok_and(|length| length == self.file_size);
            let of_use = of_use && self.check_room(0).is_ok();
            let spare = {
                let mut state = self.state();
                (of_use && state.ready.len() < KEPT).then(|| state.next_name())
            };
            match &spare {
                Some(spare) => self.disk.rename(&name, spare),
                None => self.disk.remove(&name),
            }
            .map_err(on("take back", self.disk.path(&name)))?;
            self.disk.sync().map_err(on("sync", self.disk.path("")))?;
            self.files.fetch_sub(1, Ordering::Relaxed);
            if let Some(name) = spare {
                self.state().ready.push(Spare { name, cleared: false });
                self.changed.notify_all();
            }
        }
        Ok(())
    }
}

struct Closed<'a>(&'a Spares);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}
