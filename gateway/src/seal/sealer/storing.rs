//! The store thread: sealed exchanges in, journal files given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use super::super::backlog::Backlog;
use super::super::pins::{Held, Pins};
use super::super::sealed::SealedExchange;
use super::{LAST_TRIES, RETRY};
use crate::capture::journal::{Extents, Journal};
use crate::store::Store;

/// Exchanges stored in one transaction, at most.
const STORED: usize = 256;

pub(super) struct Storing {
    pub(super) store: Store,
    pub(super) extents: Extents,
    pub(super) journal: Journal,
    pub(super) pins: Arc<Pins>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) stopping: Arc<AtomicBool>,
}

impl Storing {
    pub(super) fn run(
        mut self,
        recovered: Vec<SealedExchange>,
        sealed: &Receiver<Vec<SealedExchange>>,
    ) {
        // Compaction may wait; traffic may not.
        if let Err(error) = rustix::process::nice(10) {
            tracing::debug!(%error, "the store keeps its priority");
        }
        for batch in recovered.chunks(STORED) {
            self.store(batch);
        }
        drop(recovered);
        while let Ok(exchanges) = sealed.recv() {
            for batch in exchanges.chunks(STORED) {
                self.store(batch);
                self.backlog.remove(batch.iter().map(|exchange| exchange.weight).sum());
            }
        }
    }

    /// Stores a batch; an exchange that cannot be stored for a reason of its own does not keep the
    /// others, and stays in the journal.
    fn store(&mut self, batch: &[SealedExchange]) {
        if !self.put(batch) && batch.len() > 1 {
            for exchange in batch {
                self.put(std::slice::from_ref(exchange));
            }
        }
        self.give_back();
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
            self.pins.release(Held::Exchange((exchange.boot, exchange.number)));
        }
        true
    }

    /// Gives back the journal's files that nothing needs any more.
    fn give_back(&mut self) {
        let floor = self.journal.floor().unwrap_or(u64::MAX);
        let lowest = self.pins.lowest().min(floor);
        self.extents.forget_below(lowest);
        self.journal.recycle_below(lowest);
    }
}
