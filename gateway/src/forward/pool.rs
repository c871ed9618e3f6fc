//! Connections that wait for their next exchange.
//!
//! HTTP/1 connections are taken out for one exchange at a time and come back when both messages
//! ended well; HTTP/2 connections are shared up to the streams their upstream allows. What is not
//! used is closed when its time has come, whether or not anybody asks for it again, and there is a
//! bound over all upstreams, since clients choose some of their names. The lock is held for a push
//! or a pop, never over a suspension or a system call.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;

use crate::wire::buffer::Chunk;
use crate::wire::stream::{Reader, Writer};

/// Idle HTTP/1 connections kept for one upstream.
const KEPT: usize = 256;

/// Idle HTTP/1 connections kept for all upstreams together; the oldest goes first.
const KEPT_OVER_ALL: usize = 1_024;

/// HTTP/2 connections shared for one upstream at a time.
const SHARED: usize = 16;

/// Streams on one shared HTTP/2 connection, where its upstream allows as many. Together they cannot
/// use up the connection's window, so that those that stall never hold up the others.
pub(super) const STREAMS: u32 = 128;

/// How long an HTTP/2 connection without a stream is kept.
const SHARED_KEEP: Duration = Duration::from_secs(60);

/// An HTTP/1 connection at rest.
#[derive(Debug)]
pub struct Idle {
    /// The receiving direction.
    pub reader: Reader,
    /// The sending direction.
    pub writer: Writer,
    /// What records say of it.
    pub facts: Facts,
    /// Whether it has carried an exchange.
    pub used: bool,
}

/// What records say of a connection to an upstream.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The address it was made to.
    pub address: String,
    /// Version and protocol of TLS.
    pub tls: Option<String>,
}

/// A shared HTTP/2 connection.
#[derive(Debug)]
pub struct Shared {
    sender: SendRequest<Bytes>,
    facts: Facts,
    /// Streams leased to exchanges; `h2` counts only those that are on the wire.
    leased: Arc<AtomicUsize>,
    used: Instant,
}

impl Shared {
    /// A connection that makes streams with `sender`.
    #[must_use]
    pub fn new(sender: SendRequest<Bytes>, facts: Facts) -> Self {
        Self { sender, facts, leased: Arc::default(), used: Instant::now() }
    }

    fn leased(&self) -> usize {
        self.leased.load(Ordering::Relaxed)
    }

    fn lease(&mut self) -> Lease {
        self.used = Instant::now();
        self.leased.fetch_add(1, Ordering::Relaxed);
        let (sender, leased) = (self.sender.clone(), Arc::clone(&self.leased));
        Lease { sender, facts: self.facts.clone(), leased }
    }
}

/// One stream's place on a shared HTTP/2 connection, given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    /// Makes the stream.
    pub sender: SendRequest<Bytes>,
    /// What records say of the connection.
    pub facts: Facts,
    leased: Arc<AtomicUsize>,
}

impl Lease {
    /// Which connection it is, for [`Pool::unshare`].
    #[must_use]
    pub fn connection(&self) -> Which {
        Which(Arc::downgrade(&self.leased))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leased.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The identity of a shared connection.
#[derive(Clone, Debug)]
pub struct Which(Weak<AtomicUsize>);

#[derive(Debug, Default)]
struct Slot {
    idle: VecDeque<(Instant, Idle)>,
    shared: Vec<Shared>,
}

#[derive(Debug, Default)]
struct Slots {
    by_upstream: HashMap<String, Slot>,
    /// HTTP/1 connections in all slots.
    idle: usize,
    /// Whether a task sweeps.
    swept: bool,
}

/// The idle connections of every upstream, by its key.
#[derive(Debug)]
pub struct Pool {
    slots: Mutex<Slots>,
    keep: Duration,
}

impl Pool {
    /// A pool that lets go of a connection after `keep` without use.
    #[must_use]
    pub fn new(keep: Duration) -> Self {
        Self { slots: Mutex::default(), keep }
    }

    /// The connection used last that is still alive, if there is any.
    pub async fn take(&self, key: &str) -> Option<Idle> {
        self.alive(key, |_| true).await
    }

    /// One that was made to ask what is spoken there, and has carried nothing yet.
    pub async fn take_unused(&self, key: &str) -> Option<Idle> {
        self.alive(key, |idle| !idle.used).await
    }

    async fn alive(&self, key: &str, wanted: fn(&Idle) -> bool) -> Option<Idle> {
        loop {
            let (since, mut idle) = self.pop(key, wanted)?;
            if since.elapsed() > self.keep {
                continue;
            }
            // An upstream that closed or talked out of turn has nothing to wait for.
            if matches!(idle.reader.read_now().await, Ok(None)) {
                return Some(idle);
            }
        }
    }

    /// Puts a connection back.
    pub fn put(self: &Arc<Self>, key: &str, idle: Idle, carry: &Chunk) {
        if !carry.is_empty() {
            return;
        }
        // Closed after the lock is free.
        let mut evicted = None;
        {
            let mut slots = self.lock();
            if slots.idle >= KEPT_OVER_ALL {
                evicted = slots.evict();
            }
            let slot = slots.by_upstream.entry(key.to_owned()).or_default();
            if slot.idle.len() < KEPT {
                slot.idle.push_back((Instant::now(), idle));
                slots.idle += 1;
            }
            self.sweep_later(&mut slots);
        }
        drop(evicted);
    }

    /// A stream's place on an HTTP/2 connection to an upstream: on the first that has one, and where
    /// no more connections may be made, on the one with the shortest queue.
    #[must_use]
    pub fn lease(&self, key: &str) -> Option<Lease> {
        let most = usize::try_from(STREAMS).unwrap_or(usize::MAX);
        let mut slots = self.lock();
        let shared = &mut slots.by_upstream.get_mut(key)?.shared;
        let free = shared.iter_mut().position(|shared| {
            shared.leased() < shared.sender.current_max_send_streams().min(most)
        });
        let chosen = match free {
            Some(free) => shared.get_mut(free),
            None if shared.len() < SHARED => None,
            None => shared.iter_mut().min_by_key(|shared| shared.leased()),
        };
        chosen.map(Shared::lease)
    }

    /// Shares a new HTTP/2 connection to an upstream, and gives its first place. Beyond the bound it
    /// serves that one exchange and ends.
    #[must_use]
    pub fn share(self: &Arc<Self>, key: &str, mut new: Shared) -> Lease {
        let lease = new.lease();
        let mut slots = self.lock();
        let shared = &mut slots.by_upstream.entry(key.to_owned()).or_default().shared;
        if shared.len() < SHARED {
            shared.push(new);
        }
        self.sweep_later(&mut slots);
        lease
    }

    /// Closes the connection that has waited longest, else one that is shared by nobody.
    pub fn make_room(&self) {
        let mut slots = self.lock();
        let idle = slots.evict();
        let shared = if idle.is_none() { slots.unused() } else { None };
        // Closed after the lock is free.
        drop(slots);
        drop((idle, shared));
    }

    /// Forgets an HTTP/2 connection to an upstream: it takes no more streams.
    pub fn unshare(&self, key: &str, which: &Which) {
        let mut slots = self.lock();
        if let Some(slot) = slots.by_upstream.get_mut(key) {
            slot.shared
                .retain(|shared| !std::ptr::eq(Arc::as_ptr(&shared.leased), which.0.as_ptr()));
        }
    }

    fn pop(&self, key: &str, wanted: fn(&Idle) -> bool) -> Option<(Instant, Idle)> {
        let mut slots = self.lock();
        let idle = &mut slots.by_upstream.get_mut(key)?.idle;
        let at = idle.iter().rposition(|(_, idle)| wanted(idle))?;
        let popped = idle.remove(at)?;
        slots.idle = slots.idle.saturating_sub(1);
        Some(popped)
    }

    /// Starts the task that closes what is past its time; it ends when nothing is left.
    fn sweep_later(self: &Arc<Self>, slots: &mut Slots) {
        if std::mem::replace(&mut slots.swept, true) {
            return;
        }
        let (pool, every) = (Arc::downgrade(self), self.keep.max(Duration::from_millis(10)) / 2);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                let Some(pool) = pool.upgrade() else { return };
                let (closed, left) = pool.lock().sweep(pool.keep);
                drop(closed);
                if !left {
                    return;
                }
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    /// Takes out what is past its time, and says whether anything is left.
    fn sweep(&mut self, keep: Duration) -> (Vec<Idle>, bool) {
        let mut closed = Vec::new();
        self.by_upstream.retain(|_, slot| {
            let stale = slot.idle.partition_point(|(since, _)| since.elapsed() > keep);
            closed.extend(slot.idle.drain(..stale).map(|(_, idle)| idle));
            slot.shared.retain(|shared| shared.leased() > 0 || shared.used.elapsed() < SHARED_KEEP);
            !slot.idle.is_empty() || !slot.shared.is_empty()
        });
        self.idle = self.idle.saturating_sub(closed.len());
        self.swept = !self.by_upstream.is_empty();
        (closed, self.swept)
    }

    /// Takes out an HTTP/2 connection without a stream.
    fn unused(&mut self) -> Option<Shared> {
        self.by_upstream.values_mut().find_map(|slot| {
            let unused = slot.shared.iter().position(|shared| shared.leased() == 0)?;
            Some(slot.shared.swap_remove(unused))
        })
    }

    /// Takes out the connection that has waited longest.
    fn evict(&mut self) -> Option<Idle> {
        let waited = |slot: &Slot| slot.idle.front().map(|(since, _)| *since);
        let slots = self.by_upstream.values_mut().filter(|slot| !slot.idle.is_empty());
        let (_, idle) = slots.min_by_key(|slot| waited(slot))?.idle.pop_front()?;
        self.idle = self.idle.saturating_sub(1);
        Some(idle)
    }
}

#[cfg(test)]
mod tests;
