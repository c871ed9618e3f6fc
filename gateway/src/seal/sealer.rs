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
mod logging;
mod storing;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use self::digesting::{Digesting, Place};
use self::logging::LogThread;
use self::storing::{Asking, CarriedOver, LastWord, Storing};
use super::aside::SealedAside;
use super::backlog::{Backlog, LIMIT, Taker};
use super::digest::Digest;
use super::ledger::Ledger;
use super::log::Log;
use super::pins::Pins;
use super::progress::Progress;
use super::run::SealedRecord;
use super::sealed::SealedExchange;
use super::witness::Announcer;
use crate::capture::journal::{Batch, Extents, Journal, JournalError};
use crate::clock::Timeline;
use crate::store::Store;
use crate::store::retention::{Keeper, Policy};
use arc_swap::ArcSwap;

/// How long to wait before a failed step is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How long a thread that has just worked lets the next work gather. Whoever hands it over meanwhile
/// has nobody to wake, which would cost more than most of the work itself.
const GATHER: Duration = Duration::from_millis(2);

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

/// What is in the log and goes to the store.
#[derive(Debug, Default)]
pub struct Sealed {
    /// Exchanges in the order of their leaves.
    pub exchanges: Vec<SealedExchange>,
    /// Run records.
    pub records: Vec<SealedRecord>,
    /// What leaves bind that are none of exchanges.
    pub asides: Vec<SealedAside>,
}

/// The threads, to be waited for at the end.
pub struct Sealer {
    threads: Vec<JoinHandle<()>>,
    stopping: Arc<AtomicBool>,
    unsealed: Arc<AtomicBool>,
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
    pub recovered: Sealed,
    /// How often things happen.
    pub pace: Pace,
    /// Told how far each thread is.
    pub progress: Arc<Progress>,
    /// How long the store holds what, and the clock it goes by.
    pub retention: (Arc<ArcSwap<Policy>>, Timeline),
    /// Who hears of each checkpoint.
    pub announcer: Option<Announcer>,
}

impl Sealer {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let Parts { batches, journal, directory, extents, ledger, log, store, .. } = parts;
        let Parts { pins, recovered, pace, progress, retention, announcer, .. } = parts;
        let (policy, timeline) = retention;
        let (happenings, happened) = channel();
        let (sealed, to_store) = channel();
        let stopping = Arc::new(AtomicBool::new(false));
        let unsealed = Arc::new(AtomicBool::new(false));
        let asking: Asking = Arc::new(Mutex::new(Some(happenings.clone())));
        progress.start(log.size(), &recovered.exchanges);
        let backlog = Arc::new(Backlog::new(LIMIT));
        let log_thread = LogThread {
            ledger,
            log,
            sealed,
            pins: Arc::clone(&pins),
            backlog: Arc::clone(&backlog),
            pace,
            announcer,
            progress: Arc::clone(&progress),
            stopping: Arc::clone(&stopping),
            waiting: 0,
            unsealed: Arc::clone(&unsealed),
        };
        let storing = Storing {
            store,
            extents,
            journal: journal.clone(),
            pins: Arc::clone(&pins),
            backlog: Arc::clone(&backlog),
            keeper: Keeper::following(policy),
            asking: Arc::clone(&asking),
            timeline,
            progress: Arc::clone(&progress),
            stopping: Arc::clone(&stopping),
            carried: CarriedOver::default(),
            given_up: false,
        };
        let digesting = Digesting {
            batches,
            happenings,
            last_word: LastWord(asking),
            journal,
            directory,
            pins,
            backlog: Arc::clone(&backlog),
            pace,
            progress,
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
        Ok(Self { threads, stopping, unsealed })
    }

    /// Waits until everything the journal handed over is sealed and stored; the journal must be
    /// closed before.
    ///
    /// # Errors
    ///
    /// [`JournalError::ReaderGone`] when a thread panicked, and has said so: its work is in the
    /// journal for the next start; [`JournalError::Unsealed`] when the log could not be written.
    pub fn finish(self) -> Result<(), JournalError> {
        self.stopping.store(true, Ordering::Relaxed);
        let mut finished = Ok(());
        for thread in self.threads {
            if thread.join().is_err() {
                finished = Err(JournalError::ReaderGone);
            }
        }
        if finished.is_ok() && self.unsealed.load(Ordering::Relaxed) {
            return Err(JournalError::Unsealed);
        }
        finished
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(run)
}
