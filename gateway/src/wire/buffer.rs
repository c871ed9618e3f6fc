//! Read buffers, held only while there is something in them.
//!
//! A gateway mostly waits: ten thousand open streams must not hold ten thousand buffers. A
//! [`Chunk`] is taken from a pool when bytes arrive and goes back when they have
//! been passed on, so a stream at rest owns none.

use std::cell::RefCell;
use std::ops::{Deref, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Bytes read at once, at most: two segments, so that a request of about one segment is read whole
/// with its head. Of a buffer, only what was ever read into takes memory.
pub const CHUNK: usize = 128 * 1024;

/// Buffers a thread keeps for reuse, at most (2 MiB a thread).
const KEPT: usize = 16;

/// Buffers kept for all threads, at most (6 MiB).
const KEPT_FOR_ALL: usize = 48;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// What one thread has read another may pass on, so buffers move between threads: what is too much
/// for one of them goes to the next. A new one costs the zeroing of its pages.
static FOR_ALL: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Some bytes in a pooled buffer, which returns to the pool when this is dropped.
#[derive(Debug)]
pub struct Chunk {
    storage: Option<Box<[u8]>>,
    range: Range<usize>,
}

impl Chunk {
    /// An empty chunk with a buffer from the pool.
    #[must_use]
    pub fn take() -> Self {
        let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        let pooled = pooled.or_else(|| for_all().pop());
        let storage = pooled.unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
        Self { storage: Some(storage), range: 0..0 }
    }

    /// A chunk without bytes and without a buffer.
    #[must_use]
    pub fn empty() -> Self {
        Self { storage: None, range: 0..0 }
    }

    /// A chunk with a copy of `bytes`.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        if bytes.len() > CHUNK {
            return Self { storage: Some(bytes.into()), range: 0..bytes.len() };
        }
        let mut chunk = Self::take();
        let length = bytes.len().min(CHUNK);
        if let (Some(to), Some(from)) = (chunk.storage_mut().get_mut(..length), bytes.get(..length))
        {
            to.copy_from_slice(from);
            chunk.range = 0..length;
        }
        chunk
    }

    /// The whole buffer, to be filled; [`Chunk::set`] then says which part counts.
    pub fn storage_mut(&mut self) -> &mut [u8] {
        self.storage.as_deref_mut().unwrap_or_default()
    }

    /// Makes `range` of the buffer the content; a range outside the buffer makes it empty.
    pub fn set(&mut self, range: Range<usize>) {
        let length = self.storage.as_deref().map_or(0, <[u8]>::len);
        self.range = if range.start <= range.end && range.end <= length { range } else { 0..0 };
    }

    /// Where the content stands in the buffer.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Drops the first `count` bytes of the content.
    pub fn advance(&mut self, count: usize) {
        self.range.start = self.range.start.saturating_add(count).min(self.range.end);
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.storage
            .as_deref()
            .and_then(|storage| storage.get(self.range.clone()))
            .unwrap_or_default()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let Some(storage) = self.storage.take().filter(|storage| storage.len() == CHUNK) else {
            return;
        };
        // At thread exit the pool may be gone; the buffer is then simply freed.
        let more = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < KEPT {
                pool.push(storage);
                return None;
            }
            Some(storage)
        });
        if let Ok(Some(storage)) = more {
            let mut pool = for_all();
            if pool.len() < KEPT_FOR_ALL {
                pool.push(storage);
            }
        }
    }
}

fn for_all() -> MutexGuard<'static, Vec<Box<[u8]>>> {
    FOR_ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Payload bytes of a body: a pooled read buffer, or a frame that HTTP/2 handed over.
#[derive(Debug)]
pub enum Payload {
    /// From a transport read here.
    Chunk(Chunk),
    /// From a DATA frame.
    Frame(Bytes),
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Chunk(chunk) => chunk,
            Self::Frame(bytes) => bytes,
        }
    }
}
