//! The threads behind the traffic: records are digested, leaves sealed, exchanges stored.
//!
//! ```text
//! journal ──batches──▶ seal ──happenings──▶ log ──sealed exchanges──▶ store
//! ```
//!
//! Each hands on what it made and holds nobody up but the one before it. The log thread publishes
//! a checkpoint at most once an interval and at once when it had been idle. The store thread gives
//! journal files back. A failure is said, and tried again until it goes away: what is not sealed or
//! stored yet is in the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use sealtap_common::leaf::Ranges;

use super::digest::{Digest, Event};
use super::ledger::{Entry, Happening, Ledger};
use super::log::Log;
use super::pins::Pins;
use super::run::SealedRecord;
use super::sealed::SealedExchange;
use crate::capture::journal::{Batch, Extents, Journal};
use crate::store::Store;

/// How long to wait before a failed step is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Leaves that wait for a checkpoint, at most, before one is made ahead of its time.
const BATCH: usize = 16_384;

/// Exchanges stored in one transaction, at most.
const STORED: usize = 256;

/// Tries that the store still gets once the gateway is told to stop.
const LAST_TRIES: u32 = 3;

/// How often things happen.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The shortest time between two checkpoints.
    pub checkpoint: Duration,
    /// The longest time without a heartbeat.
    pub heartbeat: Duration,
}

/// What is in the log and goes to the store.
#[derive(Debug, Default)]
pub struct Sealed {
    /// Exchanges in the order of their leaves.
    pub exchanges: Vec<SealedExchange>,
    /// Run records.
    pub records: Vec<SealedRecord>,
}

/// The threads, to be waited for at the end.
pub struct Sealer {
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
}

/// What the threads work with.
pub struct Parts {
    /// Batches as the journal hands them over.
    pub batches: Receiver<Batch>,
    /// The journal, to give files back to.
    pub journal: Journal,
    /// Where its bytes are read back.
    pub extents: Extents,
    /// Makes leaves.
    pub ledger: Ledger,
    /// Takes leaves.
    pub log: Log,
    /// Takes exchanges.
    pub store: Store,
    /// Which files are needed.
    pub pins: Arc<Pins>,
    /// What recovery found to be sealed and what to be stored, in order.
    pub recovered: Sealed,
    /// How often things happen.
    pub pace: Pace,
}

impl Sealer {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let Parts { batches, journal, extents, ledger, log, store, pins, recovered, pace } = parts;
        let (happenings, happened) = channel();
        let (sealed, to_store) = channel();
        let seal_pins = Arc::clone(&pins);
        let stopping = Arc::new(AtomicBool::new(false));
        let log_thread = LogThread { ledger, log, sealed, pace, stopping: Arc::clone(&stopping) };
        let storing =
            StoreThread { store, extents, journal, pins, stopping: Arc::clone(&stopping) };
        let threads = vec![
            spawn("seal", move || digest(&batches, &happenings, &seal_pins, pace))?,
            spawn("log", move || log_thread.run(&happened))?,
            spawn("store", move || storing.run(recovered, &to_store))?,
        ];
        Ok(Self { threads, stopping })
    }

    /// Waits until everything the journal handed over is sealed and stored; the journal must be
    /// closed before.
    pub fn finish(self) {
        self.stopping.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A thread that panicked has said so; its work is in the journal for the next start.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run)
}

/// Digests batches until the journal is closed.
fn digest(batches: &Receiver<Batch>, happenings: &Sender<Happening>, pins: &Pins, pace: Pace) {
    let mut digest = Digest::default();
    let mut next = Instant::now() + pace.heartbeat;
    loop {
        match batches.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(batch) => {
                let mut events = Vec::new();
                digest.batch(&batch, |event| events.push(event));
                // Held before anybody hears of them, or they could be let go of first.
                for file in digest.begun() {
                    pins.hold(file);
                }
                for event in events {
                    tell(happenings, event);
                }
                pins.reading(batch.file);
            }
            Err(RecvTimeoutError::Timeout) => {
                let (highest, open) = (digest.highest(), digest.open());
                let _ = happenings.send(Happening::Heartbeat { highest, open, closing: false });
                next = Instant::now() + pace.heartbeat;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() >= next {
            let (highest, open) = (digest.highest(), digest.open());
            let _ = happenings.send(Happening::Heartbeat { highest, open, closing: false });
            next = Instant::now() + pace.heartbeat;
        }
    }
    digest.interrupt(|event| tell(happenings, event));
    let open = Ranges::from_numbers([]);
    let highest = digest.highest();
    let _ = happenings.send(Happening::Heartbeat { highest, open, closing: true });
}

fn tell(happenings: &Sender<Happening>, event: Event) {
    let happening = match event {
        Event::Exchange(digested) => Happening::Exchange(digested),
        Event::RunOpened { run, previous } => Happening::RunOpened { run, previous },
        Event::RunEnded(run, reason) => Happening::RunEnded(run, reason),
        Event::Gap(gap) => Happening::Gap(gap),
    };
    let _ = happenings.send(happening);
}

struct LogThread {
    ledger: Ledger,
    log: Log,
    sealed: Sender<Sealed>,
    pace: Pace,
    stopping: Arc<AtomicBool>,
}

impl LogThread {
    fn run(mut self, happened: &Receiver<Happening>) {
        let mut entries = Vec::new();
        let mut published = None::<Instant>;
        loop {
            let happening = if entries.is_empty() {
                happened.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                let due = published.map_or_else(Instant::now, |at| at + self.pace.checkpoint);
                happened.recv_timeout(due.saturating_duration_since(Instant::now()))
            };
            let disconnected = matches!(happening, Err(RecvTimeoutError::Disconnected));
            if let Ok(happening) = happening {
                match self.ledger.enter(happening) {
                    Ok(made) => entries.extend(made),
                    Err(error) => tracing::error!(%error, "a leaf cannot be made"),
                }
                let due = published.is_none_or(|at| at.elapsed() >= self.pace.checkpoint);
                if !due && entries.len() < BATCH {
                    continue;
                }
                // More may be at hand: one checkpoint for all of it.
                while entries.len() < BATCH
                    && let Ok(happening) = happened.try_recv()
                {
                    match self.ledger.enter(happening) {
                        Ok(made) => entries.extend(made),
                        Err(error) => tracing::error!(%error, "a leaf cannot be made"),
                    }
                }
            }
            if !entries.is_empty() {
                if !self.publish(std::mem::take(&mut entries)) {
                    // Nothing may follow what is missing; the next start seals it all.
                    return;
                }
                published = Some(Instant::now());
            }
            if disconnected {
                break;
            }
        }
        if let Err(error) = self.log.close() {
            tracing::error!(%error, "the log cannot be tidied; the next start does it");
        }
    }

    /// Appends until it succeeds, since what is in `entries` has no other way into the log, or until
    /// the gateway stops; whether it succeeded.
    fn publish(&mut self, entries: Vec<Entry>) -> bool {
        let mut records = Vec::new();
        let mut split = |entry: Entry| {
            records.extend(entry.record.map(|record| *record));
            (entry.leaf, entry.exchange)
        };
        let (leaves, exchanges): (Vec<_>, Vec<_>) = entries.into_iter().map(&mut split).unzip();
        let (mut complained, mut tries) = (false, 0_u32);
        let range = loop {
            match self.log.append(&leaves) {
                Ok(range) => break range,
                Err(error) if !complained => {
                    tracing::error!(%error, leaves = leaves.len(), "cannot seal; trying again");
                    complained = true;
                }
                Err(_) => {}
            }
            tries = tries.saturating_add(1);
            if self.stopping.load(Ordering::Relaxed) && tries > LAST_TRIES {
                tracing::warn!(leaves = leaves.len(), "left unsealed; the next start seals them");
                return false;
            }
            std::thread::sleep(RETRY);
        };
        if complained {
            tracing::info!(leaves = leaves.len(), "sealed after all");
        }
        let sealed = range
            .zip(leaves)
            .zip(exchanges)
            .filter_map(|((index, leaf), exchange)| Some(exchange?.into_sealed(index, leaf)));
        let exchanges: Vec<_> = sealed.collect();
        if !exchanges.is_empty() || !records.is_empty() {
            let _ = self.sealed.send(Sealed { exchanges, records });
        }
        true
    }
}

struct StoreThread {
    store: Store,
    extents: Extents,
    journal: Journal,
    pins: Arc<Pins>,
    stopping: Arc<AtomicBool>,
}

impl StoreThread {
    fn run(mut self, recovered: Sealed, sealed: &Receiver<Sealed>) {
        // Compaction may wait; traffic may not.
        if let Err(error) = rustix::process::nice(10) {
            tracing::debug!(%error, "the store keeps its priority");
        }
        self.take(recovered);
        while let Ok(sealed) = sealed.recv() {
            self.take(sealed);
        }
    }

    /// Records first: the watermark, which exchanges move, then never stands behind a record that
    /// is not in the store.
    fn take(&mut self, sealed: Sealed) {
        self.put_records(&sealed.records);
        for batch in sealed.exchanges.chunks(STORED) {
            self.store(batch);
        }
    }

    /// Tries as [`Self::put`] does. A record that is not stored can be made again from the log.
    fn put_records(&mut self, records: &[SealedRecord]) {
        let mut tries = 0_u32;
        while let Err(error) = self.store.put_records(records) {
            if tries == 0 {
                tracing::error!(%error, records = records.len(), "cannot store run records");
            }
            tries = tries.saturating_add(1);
            let stopping = self.stopping.load(Ordering::Relaxed) && tries > LAST_TRIES;
            if !error.is_passing() || stopping {
                return;
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Stores a batch; an exchange that cannot be stored for a reason of its own does not keep the
    /// others, and stays in the journal.
    fn store(&mut self, batch: &[SealedExchange]) {
        if self.put(batch) || batch.len() == 1 {
            return;
        }
        for exchange in batch {
            self.put(std::slice::from_ref(exchange));
        }
    }

    /// Tries until it succeeds, or until the reason is one that no waiting takes away; whether it
    /// succeeded. The journal keeps the bytes until then.
    fn put(&mut self, batch: &[SealedExchange]) -> bool {
        let mut tries = 0_u32;
        loop {
            self.extents.refresh();
            let Err(error) = self.store.put(batch, &mut self.extents) else { break };
            if !error.is_passing() {
                tracing::error!(%error, exchanges = batch.len(), "cannot store");
                return false;
            }
            if tries == 0 {
                tracing::error!(%error, exchanges = batch.len(), "cannot store; trying again");
            }
            tries = tries.saturating_add(1);
            if self.stopping.load(Ordering::Relaxed) && tries > LAST_TRIES {
                tracing::warn!(exchanges = batch.len(), "left in the journal for the next start");
                return false;
            }
            std::thread::sleep(RETRY);
        }
        for exchange in batch {
            self.pins.release(exchange.first_file);
        }
        let lowest = self.pins.lowest();
        self.extents.forget_below(lowest);
        self.journal.recycle_below(lowest);
        true
    }
}
