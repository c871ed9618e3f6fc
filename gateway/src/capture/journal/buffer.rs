//! Buffers: where records gather, and the pool that bounds the memory they take.
//!
//! A buffer starts on a block boundary of memory and leaves room for the batch header in front of
//! its records, so that it is written, handed on and used again without a copy.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::format::{BATCH_HEADER, BLOCK, RECORD_HEADER};

/// Memory a new buffer takes, in bytes.
const FRESH: usize = 64 * 1024;
/// A buffer that grew beyond this is freed rather than kept for the next batch.
const KEPT: usize = 2 * 1024 * 1024;
/// How many buffers are kept for the next batches, whatever their size.
const SPARE: usize = 4;
/// Bytes of memory up to which more of them are kept: under load a dozen batches are under way. Without
/// load all of it is given back.
const SPARE_BYTES: usize = 8 * 1024 * 1024;

/// Records in the making of one batch.
pub(super) struct Buffer {
    memory: Vec<u8>,
    /// Where the first aligned byte of `memory` is.
    start: usize,
    /// Header and records, without padding.
    used: usize,
    records: u32,
    /// What this buffer counts against the limit on pending bytes.
    charged: usize,
    /// Memory it took when it was handed on.
    lent: usize,
    /// Position in the stream of records after the last record here.
    pub(super) end: u64,
}

impl Buffer {
    fn new(capacity: usize) -> Self {
        let (memory, start) = aligned(capacity.max(FRESH));
        let mut buffer = Self { memory, start, used: 0, records: 0, charged: 0, lent: 0, end: 0 };
        buffer.clear();
        buffer
    }

    fn clear(&mut self) {
        self.memory.truncate(self.start);
        self.memory.resize(self.start.saturating_add(BATCH_HEADER), 0);
        self.used = BATCH_HEADER;
        self.records = 0;
        self.charged = 0;
        self.end = 0;
    }

    /// Adds one record; `length` is the sum of the lengths of `parts`.
    pub(super) fn push(&mut self, kind: u8, number: u64, parts: &[&[u8]], length: u32) {
        let before = self.memory.len();
        let needed = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(RECORD_HEADER);
        if self.memory.capacity().saturating_sub(before) < needed {
            self.grow(needed);
        }
        self.memory.extend_from_slice(&length.to_le_bytes());
        self.memory.push(kind);
        self.memory.extend_from_slice(&number.to_le_bytes());
        for part in parts {
            self.memory.extend_from_slice(part);
        }
        self.used = self.memory.len().saturating_sub(self.start);
        self.records = self.records.saturating_add(1);
    }

    fn grow(&mut self, needed: usize) {
        let wanted = self.used.saturating_add(needed).saturating_add(BLOCK);
        let (mut memory, start) = aligned(wanted.max(self.memory.capacity().saturating_mul(2)));
        memory.extend_from_slice(self.whole());
        self.memory = memory;
        self.start = start;
    }

    /// Bytes of memory it takes.
    fn memory(&self) -> usize {
        self.memory.capacity()
    }

    /// Whether there is no record.
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of header and records.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// How many records there are.
    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// The records, without header and padding.
    pub(super) fn payload(&self) -> &[u8] {
        let from = self.start.saturating_add(BATCH_HEADER);
        self.memory.get(from..self.start.saturating_add(self.used)).unwrap_or_default()
    }

    /// Puts the batch header in front and pads with zeros to whole blocks.
    pub(super) fn finish(&mut self, header: &[u8; BATCH_HEADER]) {
        let end = self.start.saturating_add(self.used);
        self.memory.truncate(end);
        let padded = self.start.saturating_add(self.used.next_multiple_of(BLOCK));
        if padded > self.memory.capacity() {
            self.grow(BLOCK);
        }
        let padded = self.start.saturating_add(self.used.next_multiple_of(BLOCK));
        self.memory.resize(padded, 0);
        if let Some(place) = self.memory.get_mut(self.start..).and_then(<[u8]>::first_chunk_mut) {
            *place = *header;
        }
    }

    /// All bytes from the header on; whole blocks once finished.
    pub(super) fn whole(&self) -> &[u8] {
        self.memory.get(self.start..).unwrap_or_default()
    }
}

/// Empty memory of at least `capacity` usable bytes after its first aligned byte.
pub(super) fn aligned(capacity: usize) -> (Vec<u8>, usize) {
    let mut memory: Vec<u8> = Vec::with_capacity(capacity.saturating_add(BLOCK));
    let offset = memory.as_ptr().align_offset(BLOCK);
    let start = if offset < BLOCK { offset } else { 0 };
    memory.resize(start, 0);
    (memory, start)
}

/// Gives buffers out, takes them back, and counts what is held.
pub(super) struct Pool {
    free: Mutex<Vec<Buffer>>,
    held: AtomicUsize,
    /// Memory of what is handed on, in bytes.
    lent: AtomicUsize,
    limit: usize,
    /// Told when there is room again.
    pub(super) room: Notify,
}

impl Pool {
    pub(super) fn new(limit: usize) -> Self {
        let (free, held, lent) = (Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicUsize::new(0));
        Self { free, held, lent, limit, room: Notify::new() }
    }

    /// An empty buffer: the largest there is, or it grows again, which takes fresh memory and a copy;
    /// of those the one that came back last.
    pub(super) fn take(&self) -> Buffer {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let largest = (0..free.len()).max_by_key(|index| free.get(*index).map(Buffer::memory));
        match largest {
            Some(index) => free.remove(index),
            None => Buffer::new(FRESH),
        }
    }

    /// Frees what is kept for the next batch.
    pub(super) fn shrink(&self) {
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }

    /// Counts `bytes` more in `buffer`.
    pub(super) fn charge(&self, buffer: &mut Buffer, bytes: usize) {
        buffer.charged = buffer.charged.saturating_add(bytes);
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A buffer comes back; what it held counts no longer.
    pub(super) fn give_back(&self, mut buffer: Buffer) {
        let charged = buffer.charged;
        self.lent.fetch_sub(std::mem::take(&mut buffer.lent), Ordering::Relaxed);
        buffer.clear();
        if buffer.memory() <= KEPT {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = free
                .iter()
                .fold(buffer.memory(), |kept, other| kept.saturating_add(other.memory()));
            if free.len() < SPARE || kept <= SPARE_BYTES {
                free.push(buffer);
            }
        }
        let before = self.held.fetch_sub(charged, Ordering::AcqRel);
        if before > self.limit && before.saturating_sub(charged) <= self.limit {
            self.room.notify_waiters();
        }
    }

    /// A batch is handed on, and may wait long for its reader: where many do, it takes no more memory
    /// than its bytes need.
    pub(super) fn lend(&self, mut buffer: Buffer) -> Buffer {
        let lent = self.lent.load(Ordering::Relaxed).saturating_add(buffer.memory());
        let roomy = buffer.memory() > buffer.memory.len().saturating_mul(4).max(FRESH * 2);
        if roomy && lent > SPARE_BYTES {
            let (mut memory, start) = aligned(buffer.whole().len());
            memory.extend_from_slice(buffer.whole());
            let charged = std::mem::take(&mut buffer.charged);
            let Buffer { used, records, end, .. } = buffer;
            self.give_back(buffer);
            buffer = Buffer { memory, start, used, records, charged, lent: 0, end };
        }
        buffer.lent = buffer.memory();
        self.lent.fetch_add(buffer.lent, Ordering::Relaxed);
        buffer
    }

    /// Bytes held by records that are pending, being written, or not yet dropped by their reader.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Whether more may come in.
    pub(super) fn has_room(&self) -> bool {
        self.held() <= self.limit
    }
}
