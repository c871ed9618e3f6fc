//! How much is on its way behind the journal: what bounds the memory of `seal`, `log` and `store`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Bytes of exchanges that may wait for their leaf or for the store before the seal thread leaves
/// what follows in the journal's files.
pub(super) const LIMIT: u64 = 48 * 1024 * 1024;

/// The share of the limit that may wait for a checkpoint before one is made ahead of its time, and
/// that may wait for the store before what follows is deferred: one of so many.
const SHARE: u64 = 6;

/// Bytes of exchanges that are digested and not stored.
#[derive(Debug)]
pub(super) struct Backlog {
    /// All of them.
    held: AtomicU64,
    /// Those whose leaf is in the log.
    published: AtomicU64,
    limit: u64,
    abandoned: AtomicBool,
    /// Progress was told that the log may not have yet.
    telling: AtomicBool,
}

impl Backlog {
    /// Nothing on its way yet.
    #[must_use]
    pub(super) fn new(limit: u64) -> Self {
        Self {
            held: AtomicU64::new(0),
            published: AtomicU64::new(0),
            limit,
            abandoned: AtomicBool::new(false),
            telling: AtomicBool::new(false),
        }
    }

    /// `bytes` more are on their way.
    pub(super) fn add(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Of what waited for the log, `bytes` are deferred from now on.
    pub(super) fn defer(&self, bytes: u64, deferred: u64) {
        self.held.fetch_add(deferred, Ordering::Relaxed);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// `bytes` wait for the store from now on.
    pub(super) fn publish(&self, bytes: u64) {
        self.published.fetch_add(bytes, Ordering::Relaxed);
    }

    /// `bytes` are stored, or were given up.
    pub(super) fn remove(&self, bytes: u64) {
        self.published.fetch_sub(bytes, Ordering::Relaxed);
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether `bytes` that wait for a checkpoint are so many that it should not wait.
    pub(super) fn is_pressing(&self, bytes: u64) -> bool {
        bytes > self.limit / SHARE
    }

    /// Whether so much waits for the store that what follows should take less memory.
    pub(super) fn should_defer(&self) -> bool {
        self.published.load(Ordering::Relaxed) > self.limit / SHARE
    }

    /// Whether no more should be digested now.
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) > self.limit && !self.is_abandoned()
    }

    /// Asks to tell progress; not while the last time may still wait for the log.
    pub(super) fn may_tell(&self) -> bool {
        !self.telling.swap(true, Ordering::Relaxed)
    }

    /// The log has taken what it was given.
    pub(super) fn has_told(&self) {
        self.telling.store(false, Ordering::Relaxed);
    }

    /// Nobody takes anything any more.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether nobody takes anything any more.
    #[must_use]
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// Held by a thread that takes: however it ends, nobody waits for it afterwards.
#[derive(Debug)]
pub(super) struct Taker(pub(super) std::sync::Arc<Backlog>);

impl Drop for Taker {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
