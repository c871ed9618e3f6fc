//! Progress: how far the threads behind the traffic have come, for whoever watches.
//!
//! In: a word from each thread after each step. Out: [`Standing`], a reading of all of it at once.
//! One short lock, taken by three background threads and a reader; no thread of traffic comes here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::sealed::SealedExchange;
use crate::store::{PrunedNow, Stored};

/// What has been done since the gateway started, and what waits.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Exchanges that are digested and have no leaf in the published log yet.
    pub unsealed: u64,
    /// Since when the oldest of them waits.
    pub unsealed_since: Option<Instant>,
    /// Leaves published since the start.
    pub leaves: u64,
    /// Leaves in the log.
    pub log_size: u64,
    /// When the last checkpoint was published.
    pub checkpoint_at: Option<SystemTime>,
    /// Since when the log cannot be written.
    pub log_failing: Option<Instant>,
    /// Gaps in capture that have been read from the journal.
    pub gaps: u64,
    /// Exchanges that those gaps refused.
    pub gap_exchanges: u64,
    /// Sealed exchanges that are not in the store yet.
    pub unstored: u64,
    /// Body bytes of them.
    pub unstored_bytes: u64,
    /// Since when the store cannot be written.
    pub store_failing: Option<Instant>,
    /// Exchanges that the store could not take for a reason of their own.
    pub not_stored: u64,
    /// What compaction has done.
    pub stored: Stored,
    /// What retention has done.
    pub pruned: PrunedNow,
}

impl Standing {
    /// How long the oldest exchange without a leaf has waited.
    #[must_use]
    pub fn seal_lag(&self) -> Duration {
        self.unsealed_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// The one place that all of them write to.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Standing>);

impl Progress {
    /// Everything as it is now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.lock().clone()
    }

    /// The log as it was opened, and what recovery left for the store.
    pub fn start(&self, log_size: u64, recovered: &[SealedExchange]) {
        let mut standing = self.lock();
        standing.log_size = log_size;
        standing.checkpoint_at = Some(SystemTime::now());
        waits(&mut standing, recovered);
    }

    /// So many exchanges are digested.
    pub(super) fn digested(&self, exchanges: u64) {
        if exchanges == 0 {
            return;
        }
        let mut standing = self.lock();
        standing.unsealed = standing.unsealed.saturating_add(exchanges);
        standing.unsealed_since.get_or_insert_with(Instant::now);
    }

    pub(super) fn gap(&self, exchanges: u64) {
        let mut standing = self.lock();
        standing.gaps = standing.gaps.saturating_add(1);
        standing.gap_exchanges = standing.gap_exchanges.saturating_add(exchanges);
    }

    pub(super) fn log_fails(&self) {
        self.lock().log_failing.get_or_insert_with(Instant::now);
    }

    /// `leaves` ending at `log_size` are published, by a step that began at `began`: what is still
    /// unsealed has come since. Among them are so many exchanges with so many body bytes.
    pub(super) fn published(
        &self,
        began: Instant,
        leaves: u64,
        log_size: u64,
        (exchanges, bytes): (u64, u64),
    ) {
        let mut standing = self.lock();
        standing.unsealed = standing.unsealed.saturating_sub(exchanges);
        standing.unsealed_since = (standing.unsealed > 0).then_some(began);
        standing.leaves = standing.leaves.saturating_add(leaves);
        standing.log_size = log_size;
        standing.checkpoint_at = Some(SystemTime::now());
        standing.log_failing = None;
        standing.unstored = standing.unstored.saturating_add(exchanges);
        standing.unstored_bytes = standing.unstored_bytes.saturating_add(bytes);
    }

    pub(super) fn store_fails(&self) {
        self.lock().store_failing.get_or_insert_with(Instant::now);
    }

    /// The store can be written again.
    pub(super) fn store_works(&self) {
        self.lock().store_failing = None;
    }

    /// A batch is in the store, or was given up on.
    pub(super) fn stored(&self, batch: &[SealedExchange], stored: Option<Stored>) {
        let mut standing = self.lock();
        let bytes = batch.iter().map(SealedExchange::body_bytes).sum();
        settled(&mut standing, count(batch), bytes);
        match stored {
            Some(stored) => standing.stored += stored,
            None => standing.not_stored = standing.not_stored.saturating_add(count(batch)),
        }
    }

    /// One exchange with so many body bytes was given up on before it could be offered to the store.
    pub(super) fn not_stored(&self, bytes: u64) {
        let mut standing = self.lock();
        settled(&mut standing, 1, bytes);
        standing.not_stored = standing.not_stored.saturating_add(1);
    }

    pub(super) fn pruned(&self, pruned: PrunedNow) {
        self.lock().pruned += pruned;
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settled(standing: &mut Standing, exchanges: u64, bytes: u64) {
    standing.unstored = standing.unstored.saturating_sub(exchanges);
    standing.unstored_bytes = standing.unstored_bytes.saturating_sub(bytes);
    standing.store_failing = None;
}

fn waits(standing: &mut Standing, sealed: &[SealedExchange]) {
    standing.unstored = standing.unstored.saturating_add(count(sealed));
    let bytes = sealed.iter().map(SealedExchange::body_bytes).sum();
    standing.unstored_bytes = standing.unstored_bytes.saturating_add(bytes);
}

fn count(exchanges: &[SealedExchange]) -> u64 {
    u64::try_from(exchanges.len()).unwrap_or(u64::MAX)
}
