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

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::digest::{Digest, Event};
use super::ledger::{Entry, Happening, Ledger};
use super::log::Log;
use super::pins::Pins;
use super::progress::Progress;
use super::sealed::SealedExchange;
use super::storing::{Asking, Published, StoreThread};
use crate::capture::journal::{Batch, Extents, Journal};
use crate::clock::Timeline;
use crate::store::Store;
use crate::store::retention::{Keeper, Policy, statements};

/// How long to wait before a failed step is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// Leaves that wait for a checkpoint, at most, before one is made ahead of its time.
const BATCH: usize = 16_384;

/// Tries that the store still gets once the gateway is told to stop.
pub(super) const LAST_TRIES: u32 = 3;

/// How often things happen.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The shortest time between two checkpoints.
    pub checkpoint: Duration,
    /// The longest time without a heartbeat.
    pub heartbeat: Duration,
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
    pub recovered: Vec<SealedExchange>,
    /// How often things happen.
    pub pace: Pace,
    /// Told how far each thread is.
    pub progress: Arc<Progress>,
    /// How long the store holds what, and the clock it goes by.
    pub retention: (Policy, Timeline),
}

impl Sealer {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(parts: Parts) -> std::io::Result<Self> {
        let Parts { batches, journal, extents, ledger, log, store, pins, recovered, pace, .. } =
            parts;
        let (progress, (policy, timeline)) = (parts.progress, parts.retention);
        let (happenings, happened) = channel();
        let (sealed, to_store) = channel();
        let seal_pins = Arc::clone(&pins);
        let stopping = Arc::new(AtomicBool::new(false));
        let asking: Asking = Arc::new(Mutex::new(Some(happenings.clone())));
        progress.start(log.size(), &recovered);
        let log_thread = LogThread {
            ledger,
            log,
            sealed,
            pace,
            progress: Arc::clone(&progress),
            stopping: Arc::clone(&stopping),
        };
        let storing = StoreThread {
            store,
            extents,
            journal,
            pins,
            keeper: Keeper::new(policy),
            asking: Arc::clone(&asking),
            timeline,
            progress: Arc::clone(&progress),
            stopping: Arc::clone(&stopping),
        };
        let behind = Behind { happenings, asking, pins: seal_pins, progress };
        let threads = vec![
            spawn("seal", move || digest(&batches, &behind, pace))?,
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

/// Whom the seal thread tells.
struct Behind {
    happenings: Sender<Happening>,
    asking: Asking,
    pins: Arc<Pins>,
    progress: Arc<Progress>,
}

impl Behind {
    fn tell(&self, event: Event) {
        let happening = match event {
            Event::Exchange(digested) => {
                self.progress.digested();
                Happening::Exchange(digested)
            }
            Event::RunEnded(run) => Happening::RunEnded(run),
            Event::Gap(gap) => {
                self.progress.gap(gap.count);
                Happening::Gap(gap)
            }
        };
        let _ = self.happenings.send(happening);
    }

    fn heartbeat(&self, digest: &Digest, closing: bool) {
        let (highest, open) = (digest.highest(), digest.open());
        let _ = self.happenings.send(Happening::Heartbeat { highest, open, closing });
    }
}

/// Digests batches until the journal is closed.
fn digest(batches: &Receiver<Batch>, behind: &Behind, pace: Pace) {
    let mut digest = Digest::default();
    let mut next = Instant::now() + pace.heartbeat;
    loop {
        match batches.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(batch) => {
                let mut events = Vec::new();
                digest.batch(&batch, |event| events.push(event));
                // Held before anybody hears of them, or they could be let go of first.
                for file in digest.begun() {
                    behind.pins.hold(file);
                }
                for event in events {
                    behind.tell(event);
                }
                behind.pins.reading(batch.file);
            }
            Err(RecvTimeoutError::Timeout) => {
                behind.heartbeat(&digest, false);
                next = Instant::now() + pace.heartbeat;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if Instant::now() >= next {
            behind.heartbeat(&digest, false);
            next = Instant::now() + pace.heartbeat;
        }
    }
    digest.interrupt(|event| behind.tell(event));
    // Nobody else may have the last word, nor keep the log thread waiting for one.
    behind.asking.lock().unwrap_or_else(PoisonError::into_inner).take();
    behind.heartbeat(&digest, true);
}

struct LogThread {
    ledger: Ledger,
    log: Log,
    sealed: Sender<Published>,
    pace: Pace,
    progress: Arc<Progress>,
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
        let (leaves, exchanges): (Vec<_>, Vec<_>) =
            entries.into_iter().map(|entry| (entry.leaf, entry.exchange)).unzip();
        let (mut complained, mut tries) = (false, 0_u32);
        let began = Instant::now();
        let range = loop {
            match self.log.append(&leaves) {
                Ok(range) => break range,
                Err(error) if !complained => {
                    tracing::error!(%error, leaves = leaves.len(), "cannot seal; trying again");
                    complained = true;
                }
                Err(_) => {}
            }
            self.progress.log_fails();
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
        let (mut sealed, mut others) = (Vec::with_capacity(leaves.len()), Vec::new());
        let (count, size) = (range.end.saturating_sub(range.start), range.end);
        for ((index, leaf), exchange) in range.zip(leaves).zip(exchanges) {
            match exchange {
                Some(exchange) => sealed.push(exchange.into_sealed(index, leaf)),
                None => others.push((index, leaf)),
            }
        }
        self.progress.published(began, count, size, &sealed);
        // The ledger made these leaves: each decodes.
        let stated = others
            .iter()
            .filter_map(|(index, leaf)| statements(*index, std::slice::from_ref(leaf)).ok()?.pop());
        let published = Published { stated: stated.collect(), exchanges: sealed };
        if !published.exchanges.is_empty() || !published.stated.is_empty() {
            let _ = self.sealed.send(published);
        }
        true
    }
}
