//! Connections that wait for their next exchange.
//!
//! HTTP/1 connections are taken out for one exchange at a time and come back when both messages
//! ended well; HTTP/2 connections are shared. The lock is held for a push or a pop, never over a
//! suspension or a system call.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;

use crate::wire::buffer::Chunk;
use crate::wire::stream::{Reader, Writer};

/// Idle connections kept for one upstream.
const KEPT: usize = 256;

/// An HTTP/1 connection at rest.
#[derive(Debug)]
pub struct Idle {
    /// The receiving direction.
    pub reader: Reader,
    /// The sending direction.
    pub writer: Writer,
    /// What records say of it.
    pub facts: Facts,
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
#[derive(Clone, Debug)]
pub struct Shared {
    /// Makes streams.
    pub sender: SendRequest<Bytes>,
    /// What records say of it.
    pub facts: Facts,
}

#[derive(Debug, Default)]
struct Slot {
    idle: Vec<(Instant, Idle)>,
    shared: Option<Shared>,
}

/// The idle connections of every upstream, by its key.
#[derive(Debug)]
pub struct Pool {
    slots: Mutex<HashMap<String, Slot>>,
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
        loop {
            let mut idle = self.pop(key)?;
            // An upstream that closed or talked out of turn has nothing to wait for.
            if matches!(idle.reader.read_now().await, Ok(None)) {
                return Some(idle);
            }
        }
    }

    /// Puts a connection back.
    pub fn put(&self, key: &str, idle: Idle, carry: &Chunk) {
        if !carry.is_empty() {
            return;
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry(key.to_owned()).or_default();
        if slot.idle.len() < KEPT {
            slot.idle.push((Instant::now(), idle));
        }
    }

    /// The HTTP/2 connection to an upstream, if there is one.
    pub fn shared(&self, key: &str) -> Option<Shared> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(key)?.shared.clone()
    }

    /// Makes `shared` the HTTP/2 connection to an upstream.
    pub fn share(&self, key: &str, shared: Shared) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.entry(key.to_owned()).or_default().shared = Some(shared);
    }

    /// Forgets the HTTP/2 connection to an upstream: it takes no more streams.
    pub fn unshare(&self, key: &str) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(key) {
            slot.shared = None;
        }
    }

    fn pop(&self, key: &str) -> Option<Idle> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.get_mut(key)?;
        let keep = self.keep;
        // Oldest first; those past their time are dropped with one sweep.
        let stale = slot.idle.partition_point(|(since, _)| since.elapsed() > keep);
        slot.idle.drain(..stale);
        slot.idle.pop().map(|(_, idle)| idle)
    }
}
