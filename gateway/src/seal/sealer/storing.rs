//! The store thread: compaction, then retention in the pauses, then journal files back.
//!
//! In: sealed exchanges and statements of retention, in the order of the log. It tries again what
//! may still succeed, leaves in the journal what cannot be stored, and never notes an exchange
//! before the statements that were published with it.

mod giving_back;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use sealtap_common::leaf::{Limit, Ranges};

pub(super) use self::giving_back::CarriedOver;
use super::super::aside::SealedAside;
use super::super::backlog::Backlog;
use super::super::deferred::{Deferred, DeferredError};
use super::super::ledger::Happening;
use super::super::pins::{Held, Pins};
use super::super::progress::Progress;
use super::super::run::SealedRecord;
use super::super::sealed::SealedExchange;
use super::{LAST_TRIES, RETRY, Sealed};
use crate::capture::journal::{Extents, Journal};
use crate::clock::Timeline;
use crate::store::retention::{Keeper, Statement};
use crate::store::{Store, StoreError};

/// Exchanges stored in one transaction, at most. Ids and tags are random, so each row dirties a page
/// of an index by itself until the rows of one transaction are many enough to share pages.
const STORED: usize = 2_048;

/// Body bytes stored in one transaction, but for those of its last exchange, at most.
const STORED_BYTES: u64 = 16 * 1024 * 1024;

/// What the log thread published, for the store.
pub(super) struct Published {
    /// What retention stated; noted first, since the watermark moves past it with the exchanges.
    pub(super) stated: Vec<Statement>,
    /// Exchanges in the order of their leaves.
    pub(super) exchanges: Vec<ToStore>,
    /// Run records.
    pub(super) records: Vec<SealedRecord>,
    /// What other leaves bind.
    pub(super) asides: Vec<SealedAside>,
}

impl Published {
    /// Whether the store has nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        let leaves = self.stated.is_empty() && self.exchanges.is_empty();
        leaves && self.records.is_empty() && self.asides.is_empty()
    }
}

/// An exchange on its way to the store.
pub(super) enum ToStore {
    /// With everything that the store takes.
    Whole(SealedExchange),
    /// To be read from the journal again, since the store is behind.
    Deferred(Deferred),
}

impl ToStore {
    /// Memory taken, in bytes.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Self::Whole(exchange) => exchange.weight,
            Self::Deferred(deferred) => deferred.weight(),
        }
    }

    /// The bytes of its bodies.
    pub(super) fn body_bytes(&self) -> u64 {
        match self {
            Self::Whole(exchange) => exchange.body_bytes(),
            Self::Deferred(deferred) => deferred.body_bytes(),
        }
    }
}

/// A way to have something sealed that ends before the boot's last leaf.
pub(super) type Asking = Arc<Mutex<Option<Sender<Happening>>>>;

fn ask(asking: &Asking, leaves: Ranges, limit: Limit) -> bool {
    let asking = asking.lock().unwrap_or_else(PoisonError::into_inner);
    asking.as_ref().is_some_and(|log| log.send(Happening::Retention { leaves, limit }).is_ok())
}

/// Held by the seal thread: however that ends, nobody else asks any more, and the log thread waits
/// for nobody.
pub(super) struct LastWord(pub(super) Asking);

impl LastWord {
    /// From here on the seal thread alone has something to seal.
    pub(super) fn take(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        self.take();
    }
}

/// Everything the store thread works with.
pub(super) struct Storing {
    pub(super) store: Store,
    pub(super) extents: Extents,
    pub(super) journal: Journal,
    pub(super) pins: Arc<Pins>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) keeper: Keeper,
    pub(super) asking: Asking,
    pub(super) timeline: Timeline,
    pub(super) progress: Arc<Progress>,
    pub(super) stopping: Arc<AtomicBool>,
    pub(super) carried: CarriedOver,
    /// Told to stop, and the store still failed: nothing that follows is stored either, so that the
    /// watermark stays below what waits in the journal.
    pub(super) given_up: bool,
}

impl Storing {
    /// Stores what was recovered and then what is published, until the log thread ends.
    pub(super) fn run(mut self, recovered: Sealed, sealed: &Receiver<Published>) {
        // Compaction may wait; traffic may not.
        if let Err(error) = rustix::process::nice(10) {
            tracing::debug!(%error, "the store keeps its priority");
        }
        match self.journal.carried() {
            Ok(Some((next, bytes))) => self.carried = CarriedOver::up_to(next, bytes),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the journal keeps its files"),
        }
        self.put_records(&recovered.records);
        self.put_asides(&recovered.asides);
        self.store_all(recovered.exchanges.into_iter().map(ToStore::Whole), |_| {});
        // Also of boots in which nothing came: their files would pile up otherwise.
        self.give_back();
        loop {
            match sealed.recv_timeout(self.keeper.wait()) {
                // Statements and records first: the watermark, which exchanges move, then never
                // stands behind what is not in the store.
                Ok(Published { stated, exchanges, records, asides }) => {
                    self.state(&stated);
                    self.put_records(&records);
                    self.put_asides(&asides);
                    let backlog = Arc::clone(&self.backlog);
                    backlog.remove(asides.iter().map(|aside| aside.weight).sum());
                    drop(asides);
                    self.store_all(exchanges.into_iter(), |weight| backlog.remove(weight));
                }
                Err(RecvTimeoutError::Timeout) if self.keeper.is_on() => {}
                Err(RecvTimeoutError::Timeout) => continue,
                // What is stated and not destroyed yet is so after the next start.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let asking = Arc::clone(&self.asking);
            let now = self.timeline.now_us();
            let mut ask = |leaves, limit| ask(&asking, leaves, limit);
            self.progress.pruned(self.keeper.step(&mut self.store, now, &mut ask));
            // Where somebody reads, the database's log grows with what is destroyed as well.
            self.journal.leave_room(self.store.log_length());
        }
    }

    /// Notes what the log states; until that is noted nothing behind it may be stored, since the
    /// next start looks for statements behind the watermark only.
    fn state(&mut self, stated: &[Statement]) {
        let mut tries = 0_u32;
        while !stated.is_empty()
            && let Err(error) = self.store.state(stated)
        {
            if tries == 0 {
                tracing::error!(%error, "cannot note what retention stated; trying again");
            }
            if !self.waits(&mut tries) {
                return;
            }
        }
        self.worked(tries);
        if !stated.is_empty() {
            self.keeper.stated();
        }
    }

    /// A record that is not stored can be made again from the log.
    fn put_records(&mut self, records: &[SealedRecord]) {
        self.insist("run records", records.len(), |store| store.put_records(records));
    }

    /// Who made connections, who went around and what was asked for stays in the journal until it is
    /// stored.
    fn put_asides(&mut self, asides: &[SealedAside]) {
        let put = |store: &mut Store| store.put_asides(asides);
        if !self.insist("who made connections, went around or asked for names", asides.len(), put) {
            return;
        }
        self.pins.release_all(asides.iter().filter_map(|aside| aside.held));
        if !asides.is_empty() {
            self.give_back();
        }
    }

    /// Tries as [`Self::put`] does; whether it succeeded.
    fn insist(
        &mut self,
        what: &str,
        count: usize,
        put: impl Fn(&mut Store) -> Result<(), StoreError>,
    ) -> bool {
        let mut tries = 0_u32;
        while let Err(error) = put(&mut self.store) {
            if tries == 0 {
                tracing::error!(%error, what, count, "cannot store");
            }
            if !error.is_passing() || !self.waits(&mut tries) {
                return false;
            }
        }
        self.worked(tries);
        true
    }

    /// The store failed once more, and may work again: waits, unless it was told to stop and tried long
    /// enough. Whether it is to be tried again.
    fn waits(&self, tries: &mut u32) -> bool {
        self.progress.store_fails();
        *tries = tries.saturating_add(1);
        if self.stopping.load(Ordering::Relaxed) && *tries > LAST_TRIES {
            return false;
        }
        std::thread::sleep(RETRY);
        true
    }

    /// The store worked after so many failures.
    fn worked(&self, tries: u32) {
        if tries > 0 {
            self.progress.store_works();
        }
    }

    /// Stores exchanges, as many in one transaction as belong there; `settled` is told what each batch
    /// weighed.
    fn store_all(
        &mut self,
        exchanges: impl Iterator<Item = ToStore>,
        mut settled: impl FnMut(u64),
    ) {
        let mut exchanges = exchanges.peekable();
        let mut batch = Vec::new();
        while exchanges.peek().is_some() {
            let (mut bytes, mut weight) = (0_u64, 0_u64);
            // All of it was written before: what is read ahead now stays good.
            self.extents.refresh();
            while batch.len() < STORED
                && bytes <= STORED_BYTES
                && let Some(exchange) = exchanges.next()
            {
                bytes = bytes.saturating_add(exchange.body_bytes());
                weight = weight.saturating_add(exchange.weight());
                match exchange {
                    ToStore::Whole(exchange) => batch.push(exchange),
                    ToStore::Deferred(deferred) => batch.extend(self.restore(&deferred)),
                }
            }
            if !batch.is_empty() {
                self.store(&batch);
            }
            batch.clear();
            settled(weight);
        }
    }

    /// Reads a deferred exchange from the journal again. What cannot be read stays there.
    fn restore(&mut self, deferred: &Deferred) -> Option<SealedExchange> {
        let mut tries = 0_u32;
        loop {
            let error = match deferred.restore(&mut self.extents) {
                Ok(exchange) => return Some(exchange),
                Err(error) => error,
            };
            tries = tries.saturating_add(1);
            if tries > LAST_TRIES || matches!(error, DeferredError::OtherLeaf) {
                tracing::error!(%error, exchanges = 1, "cannot store");
                self.progress.not_stored(deferred.body_bytes());
                return None;
            }
            self.extents.refresh();
            std::thread::sleep(RETRY);
        }
    }

    /// Stores a batch; an exchange that cannot be stored for a reason of its own does not keep the
    /// others, and stays in the journal.
    fn store(&mut self, batch: &[SealedExchange]) {
        if !self.put(batch) && batch.len() > 1 {
            for exchange in batch {
                self.put(std::slice::from_ref(exchange));
                // On a full disk, what this one frees may be what the next one needs.
                self.give_back();
            }
        }
        self.give_back();
    }

    /// Tries until it succeeds, or until the reason is one that no waiting takes away, or there is no
    /// room for so many at once; whether it succeeded. The journal keeps the bytes until then.
    fn put(&mut self, batch: &[SealedExchange]) -> bool {
        let mut tries = 0_u32;
        loop {
            if self.given_up {
                return false;
            }
            let put = self.store.put(batch, &mut self.extents);
            self.journal.leave_room(self.store.log_length());
            let error = match put {
                Ok(stored) => {
                    self.progress.stored(batch, Some(stored));
                    break;
                }
                Err(error) => error,
            };
            if !error.is_passing() {
                tracing::error!(%error, exchanges = batch.len(), "cannot store");
                if batch.len() == 1 {
                    self.progress.stored(batch, None);
                }
                return false;
            }
            if tries == 0 {
                tracing::error!(%error, exchanges = batch.len(), "cannot store; trying again");
            }
            if batch.len() > 1 && matches!(error, StoreError::Full { .. }) {
                // One at a time takes the least room.
                self.progress.store_fails();
                return false;
            }
            if !self.waits(&mut tries) {
                tracing::warn!("what is not stored is left in the journal for the next start");
                self.given_up = true;
                return false;
            }
        }
        let held = |exchange: &SealedExchange| Held::Exchange((exchange.boot, exchange.number));
        self.pins.release_all(batch.iter().map(held));
        true
    }
}
