//! The threads behind the traffic: records are digested, leaves sealed, exchanges stored.
//!
//! ```text
//! journal ──batches──▶ seal ──happenings──▶ log ──sealed exchanges──▶ store
//! ```
//!
//! Each hands on what it made and holds nobody up. The log thread publishes a checkpoint at most
//! once an interval and at once when it had been idle. The store thread gives journal files back. A
//! failure is said, and tried again until it goes away: what is not sealed or stored yet is in the
//! journal, and what waits in memory is bounded by the [`Backlog`]. A thread that ends before its
//! time takes the journal down with it, and so the gateway: nothing is captured that nobody seals.

mod digesting;
mod storing;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use self::digesting::{Digesting, Place};
use self::storing::{CarriedOver, Storing};
use super::backlog::{Backlog, LIMIT, Taker};
use super::digest::Digest;
use super::ledger::{Entry, Happening, Ledger};
use super::log::Log;
use super::pins::Pins;
use super::sealed::SealedExchange;
use crate::capture::journal::{Batch, Extents, Journal, JournalError};
use crate::store::Store;

/// How long to wait before a failed step is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Leaves that wait for a checkpoint, at most, before one is made ahead of its time.
const BATCH: usize = 16_384;

/// Tries that the store still gets once the gateway is told to stop.
const LAST_TRIES: u32 = 3;

/// How often things happen.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The shortest time between two checkpoints.
    pub checkpoint: Duration,
    /// The longest time without a heartbeat.
    pub heartbeat: Duration,
    /// How long an exchange may be open without the log saying how far it has come.
    pub progress: Duration,
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
    /// Where its files are.
    pub directory: PathBuf,
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
    pub recovered: Vec<SealedExchange>,
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
        let Parts {
            batches,
            journal,
            directory,
            extents,
            ledger,
            log,
            store,
            pins,
            recovered,
            pace,
        } = parts;
        let (happenings, happened) = channel();
        let (sealed, to_store) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let backlog = Arc::new(Backlog::new(LIMIT));
        let log_thread = LogThread {
            ledger,
            log,
            sealed,
            pins: Arc::clone(&pins),
            backlog: Arc::clone(&backlog),
            pace,
            stopping: Arc::clone(&stopping),
        };
        let storing = Storing {
            store,
            extents,
            journal: journal.clone(),
            pins: Arc::clone(&pins),
            backlog: Arc::clone(&backlog),
            stopping: Arc::clone(&stopping),
            carried: CarriedOver::default(),
        };
        let digesting = Digesting {
            batches,
            happenings,
            journal,
            directory,
            pins,
            backlog: Arc::clone(&backlog),
            pace,
            digest: Digest::default(),
            place: Place::default(),
        };
        let (taker, other) = (Taker(Arc::clone(&backlog)), Taker(backlog));
        let threads = vec![
            spawn("seal", move || digesting.run())?,
            spawn("log", move || {
                // Moved in here: dropped when the thread ends, however it does.
                let _taker = taker;
                log_thread.run(&happened);
            })?,
            spawn("store", move || {
                let _taker = other;
                storing.run(recovered, &to_store);
            })?,
        ];
        Ok(Self { threads, stopping })
    }

    /// Waits until everything the journal handed over is sealed and stored; the journal must be
    /// closed before.
    ///
    /// # Errors
    ///
    /// [`JournalError::ReaderGone`] when a thread panicked, and has said so: its work is in the
    /// journal for the next start.
    pub fn finish(self) -> Result<(), JournalError> {
        self.stopping.store(true, Ordering::Relaxed);
        let mut finished = Ok(());
        for thread in self.threads {
            if thread.join().is_err() {
                finished = Err(JournalError::ReaderGone);
            }
        }
        finished
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run)
}

struct LogThread {
    ledger: Ledger,
    log: Log,
    sealed: Sender<Vec<SealedExchange>>,
    pins: Arc<Pins>,
    backlog: Arc<Backlog>,
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
        let gaps: Vec<_> = entries.iter().filter_map(|entry| entry.gap).collect();
        let (leaves, exchanges): (Vec<_>, Vec<_>) =
            entries.into_iter().map(|entry| (entry.leaf, entry.exchange)).unzip();
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
        let sealed: Vec<_> = sealed.collect();
        self.backlog.has_told();
        for gap in gaps {
            self.pins.release(gap);
        }
        // Without a store the journal would only grow: the log ends with it.
        sealed.is_empty() || self.sealed.send(sealed).is_ok()
    }
}
