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

/// Files that hold little that is needed, at least, before that is carried over.
const CARRIED: u64 = 4;

/// Exchanges stored in one transaction, at most.
const STORED: usize = 256;

pub(super) struct Storing {
    pub(super) store: Store,
    pub(super) extents: Extents,
    pub(super) journal: Journal,
    pub(super) pins: Arc<Pins>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) carried: CarriedOver,
}

/// What was carried over.
#[derive(Default)]
pub(super) struct CarriedOver {
    /// The file up to which it stands for all.
    next: u64,
    bytes: u64,
    /// After a failure: the file with which it is tried again.
    again: u64,
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
        match self.journal.carried() {
            Ok(Some((next, bytes))) => self.carried = CarriedOver { next, bytes, again: 0 },
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the journal keeps its files"),
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

    /// Gives back the journal's files that nothing needs any more, and those of which only little is
    /// needed, once that is carried over.
    fn give_back(&mut self) {
        let floor = self.journal.floor().unwrap_or(u64::MAX);
        let lowest = self.pins.lowest().min(floor);
        if self.carried.next > 0 && lowest >= self.carried.next {
            if let Err(error) = self.journal.forget_carried() {
                tracing::warn!(%error, "journal files stay although they are not needed");
                return;
            }
            self.carried = CarriedOver::default();
            self.extents.forget_carried();
        }
        self.extents.forget_below(lowest);
        self.journal.recycle_below(lowest);
        self.carry(lowest);
    }

    /// Carries over what old files hold of exchanges that are not stored, when the files are much
    /// larger than that: the journal stays within a small multiple of what is needed of it.
    fn carry(&mut self, lowest: u64) {
        let (reading, under_way) = self.pins.progress();
        let files = reading.saturating_sub(lowest.max(self.carried.next));
        let size = self.journal.file_size();
        let worth = under_way.max(self.carried.bytes).saturating_add(size.saturating_mul(CARRIED));
        if files.saturating_mul(size) < worth || reading < self.carried.again {
            return;
        }
        let needed = self.pins.needed();
        match self.journal.carry(&needed.exchanges, needed.reading) {
            Ok(bytes) => {
                tracing::debug!(bytes, files, "carried over what is not stored yet");
                self.carried = CarriedOver { next: needed.reading, bytes, again: 0 };
                self.extents.forget_carried();
                self.extents.forget_below(needed.reading);
                self.journal.recycle_below(needed.reading);
            }
            Err(error) => {
                tracing::warn!(%error, "journal files stay although little of them is needed");
                self.carried.again = reading.saturating_add(CARRIED);
            }
        }
    }
}
