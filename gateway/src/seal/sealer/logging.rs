//! The log thread: what happened in, leaves and checkpoints out.
//!
//! The first that happens after a pause is published at once; under load, what gathers in between is
//! published together, once an interval. Sealed exchanges go on to the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Instant;

use super::super::aside::SealedAside;
use super::super::backlog::Backlog;
use super::super::deferred::Deferred;
use super::super::ledger::{Entry, Happening, Ledger};
use super::super::log::Log;
use super::super::pins::Pins;
use super::super::progress::Progress;
use super::super::witness::Announcer;
use super::storing::{Published, ToStore};
use super::{GATHER, LAST_TRIES, Pace, RETRY};
use crate::store::retention::statements;

/// Leaves that wait for a checkpoint, at most, before one is made ahead of its time.
const BATCH: usize = 16_384;

/// Everything the log thread works with.
pub(super) struct LogThread {
    pub(super) ledger: Ledger,
    pub(super) log: Log,
    pub(super) sealed: Sender<Published>,
    pub(super) pins: Arc<Pins>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) pace: Pace,
    pub(super) announcer: Option<Announcer>,
    pub(super) progress: Arc<Progress>,
    pub(super) stopping: Arc<AtomicBool>,
    /// Bytes of the exchanges that wait for the next checkpoint.
    pub(super) waiting: u64,
    /// Set when something was left for the next start to seal.
    pub(super) unsealed: Arc<AtomicBool>,
}

impl LogThread {
    pub(super) fn run(mut self, happened: &Receiver<Happening>) {
        let mut entries = Vec::new();
        let mut published = None::<Instant>;
        loop {
            let mut disconnected = false;
            if entries.is_empty() {
                self.waiting = 0;
                match happened.recv() {
                    Ok(happening) => self.enter(happening, &mut entries),
                    Err(_) => disconnected = true,
                }
            } else {
                std::thread::sleep(GATHER);
            }
            // More may be at hand: one checkpoint for all of it.
            while !disconnected && !self.is_pressing(&entries) {
                match happened.try_recv() {
                    Ok(happening) => self.enter(happening, &mut entries),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => disconnected = true,
                }
            }
            let due = published.is_none_or(|at| at.elapsed() >= self.pace.checkpoint);
            if !due && !disconnected && !self.is_pressing(&entries) {
                continue;
            }
            if !entries.is_empty() {
                // From its beginning: what publishing takes is no part of the pause.
                let began = Instant::now();
                if !self.publish(std::mem::take(&mut entries)) {
                    // Nothing may follow what is missing; the next start seals it all.
                    self.unsealed.store(true, Ordering::Relaxed);
                    return;
                }
                published = Some(began);
            }
            if disconnected {
                break;
            }
        }
        if let Err(error) = self.log.close() {
            tracing::error!(%error, "the log cannot be tidied; the next start does it");
        }
    }

    /// Whether so much waits that it is published ahead of its time.
    fn is_pressing(&self, entries: &[Entry]) -> bool {
        entries.len() >= BATCH || self.backlog.is_pressing(self.waiting)
    }

    fn enter(&mut self, happening: Happening, entries: &mut Vec<Entry>) {
        self.waiting = self.waiting.saturating_add(match &happening {
            Happening::Exchange(digested) => digested.weight(),
            Happening::Connection(connection) => connection.weight,
            Happening::Bypass(bypass) => bypass.weight,
            Happening::DnsQueries(queries) => queries.weight,
            _ => 0,
        });
        match self.ledger.enter(happening) {
            Ok(made) => entries.extend(made),
            Err(error) => tracing::error!(%error, "a leaf cannot be made"),
        }
    }

    /// Appends until it succeeds, since what is in `entries` has no other way into the log, or until
    /// the gateway stops; whether it succeeded.
    fn publish(&mut self, entries: Vec<Entry>) -> bool {
        let gaps: Vec<_> = entries.iter().filter_map(|entry| entry.gap).collect();
        let (mut records, mut asides) = (Vec::new(), Vec::new());
        let mut split = |entry: Entry| {
            records.extend(entry.record.map(|record| *record));
            asides.push(entry.aside);
            (entry.leaf, entry.exchange)
        };
        let (leaves, exchanges): (Vec<_>, Vec<_>) = entries.into_iter().map(&mut split).unzip();
        let (mut complained, mut tries) = (false, 0_u32);
        let began = Instant::now();
        let range = loop {
            if self.announcer.as_ref().is_some_and(Announcer::halted) {
                tracing::error!(leaves = leaves.len(), "left unsealed: a witness saw another log");
                return false;
            }
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
        let took = duration_us(began);
        tracing::debug!(
            leaves = leaves.len(),
            size = range.end,
            duration_us = took,
            "checkpoint published"
        );
        if let Some(announcer) = &self.announcer {
            announcer.announce(self.log.checkpoint());
        }
        if complained {
            tracing::info!(leaves = leaves.len(), "sealed after all");
        }
        let (mut sealed, mut others) = (Vec::new(), Vec::new());
        let (leaf_count, size) = (range.end.saturating_sub(range.start), range.end);
        let (mut count, mut body_bytes) = (0_u64, 0_u64);
        let defer = self.backlog.should_defer();
        let asides = SealedAside::of(range.clone().zip(asides));
        self.backlog.publish(asides.iter().map(|aside| aside.weight).sum());
        for ((index, leaf), exchange) in range.zip(leaves).zip(exchanges) {
            let Some((digested, linked)) = exchange else {
                others.push((index, leaf));
                continue;
            };
            let weight = digested.weight();
            let deferred = defer.then(|| Deferred::of(&digested, index, linked)).flatten();
            let exchange = match deferred {
                Some(deferred) => {
                    self.backlog.defer(weight, deferred.weight());
                    ToStore::Deferred(deferred)
                }
                None => ToStore::Whole(digested.into_sealed(index, leaf)),
            };
            self.backlog.publish(exchange.weight());
            count = count.saturating_add(1);
            body_bytes = body_bytes.saturating_add(exchange.body_bytes());
            sealed.push(exchange);
        }
        self.progress.published(began, leaf_count, size, (count, body_bytes));
        // The ledger made these leaves: each decodes.
        let stated = others
            .iter()
            .filter_map(|(index, leaf)| statements(*index, std::slice::from_ref(leaf)).ok()?.pop());
        let published = Published { stated: stated.collect(), exchanges: sealed, records, asides };
        self.backlog.has_told();
        for gap in gaps {
            self.pins.release(gap);
        }
        // Without a store the journal would only grow: the log ends with it.
        published.is_empty() || self.sealed.send(published).is_ok()
    }
}

/// Microseconds since `began`, as messages have them.
fn duration_us(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
}
