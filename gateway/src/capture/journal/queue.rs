//! The queue between callers and the writer: records gather here, and callers wait here.
//!
//! Comes in: records, and positions to wait for. Goes out: groups of buffers for the writer,
//! answers for the callers. Nothing here touches a disk or holds a lock over a suspension.

mod work;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::buffer::{Buffer, Pool};
use super::format::{BATCH_HEADER, RECORD_HEADER};
use super::waiters::{Place, Waiters};
use super::{Down, Durability, Options, Position, Ticket};

/// Records nobody waits for are written when so many bytes have gathered, or after a while. A batch has at most as many: larger ones were measured to
/// cost more in fresh memory than they save in writes.
const ENOUGH: u64 = 1024 * 1024;

/// What callers and the writer share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) pool: Arc<Pool>,
    pub(super) counters: Counters,
    largest: usize,
    state: Mutex<State>,
    work: Condvar,
    /// The end of what is on disk.
    watermark: AtomicU64,
    epoch: AtomicU64,
    waiters: Mutex<Waiters>,
}

/// Counted by the writer, read by anyone.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) syncs: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) last_sync_ns: AtomicU64,
    pub(super) sync_ns: AtomicU64,
    pub(super) sync_times: crate::tally::Histogram,
}

struct State {
    full: VecDeque<Buffer>,
    current: Buffer,
    epoch: u64,
    /// Why records are refused now.
    down: Option<Down>,
    /// Why the tickets of the epoch before are void.
    last_down: Option<Down>,
    /// The last exchange number given.
    number: u64,
    /// Begins refused since the journal went down.
    refused: u64,
    /// End of the last record appended.
    end: u64,
    /// End of the last record taken by the writer.
    taken: u64,
    /// Someone waits for what has gathered.
    urgent: bool,
    writer: Activity,
    closing: bool,
    /// The writer has ended.
    over: bool,
    settle_gaps: bool,
    /// A test wants the writer to panic.
    #[cfg(test)]
    panic: bool,
    /// A test wants the writer to try again at once.
    #[cfg(test)]
    retry: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Waits for a first record.
    Idle,
    /// Looks again by itself, soon enough for records that nobody waits for.
    Lingering,
    /// Looks again by itself.
    Busy,
}

/// What the writer is to do next.
pub(super) enum Work {
    /// Write these, in order.
    Write(VecDeque<Buffer>),
    /// The gaps of earlier boots are sealed; the reserve may forget them.
    SettleGaps,
    /// Stop; everything was taken.
    Close,
}

impl Shared {
    pub(super) fn new(options: Options, file_size: u64) -> Self {
        let pool = Arc::new(Pool::new(options.max_pending));
        let largest = ENOUGH.min(file_size.saturating_sub(super::format::BLOCK_U64));
        let state = State {
            full: VecDeque::new(),
            current: pool.take(),
            epoch: 0,
            down: None,
            last_down: None,
            number: 0,
            refused: 0,
            end: 0,
            taken: 0,
            urgent: false,
            writer: Activity::Busy,
            closing: false,
            over: false,
            settle_gaps: false,
            #[cfg(test)]
            panic: false,
            #[cfg(test)]
            retry: false,
        };
        Self {
            options,
            pool,
            counters: Counters::default(),
            largest: usize::try_from(largest).unwrap_or(usize::MAX),
            state: Mutex::new(state),
            work: Condvar::new(),
            watermark: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            waiters: Mutex::new(Waiters::default()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes one record may have.
    pub(super) fn record_limit(&self) -> usize {
        self.largest.saturating_sub(BATCH_HEADER + RECORD_HEADER)
    }

    pub(super) fn begin(&self, kind: u8, parts: &[&[u8]]) -> Result<(Ticket, Position), Down> {
        let length = self.length(parts)?;
        let mut state = self.state();
        if let Some(down) = state.refusal() {
            state.refused = state.refused.saturating_add(1);
            return Err(down);
        }
        state.number = state.number.saturating_add(1);
        let ticket = Ticket { number: state.number, epoch: state.epoch };
        let position = self.push(&mut state, kind, ticket.number, parts, length);
        // Whoever needs it on disk says so when the head is here as well: one sync for both.
        self.notice(state);
        Ok((ticket, position))
    }

    /// Appends a record that belongs to no exchange.
    pub(super) fn note(&self, kind: u8, parts: &[&[u8]]) -> Result<Position, Down> {
        let epoch = self.state().epoch;
        self.append(Ticket { number: 0, epoch }, kind, parts)
    }

    pub(super) fn append(
        &self,
        ticket: Ticket,
        kind: u8,
        parts: &[&[u8]],
    ) -> Result<Position, Down> {
        let length = self.length(parts)?;
        let mut state = self.state();
        if let Some(down) = state.refusal() {
            return Err(down);
        }
        if ticket.epoch != state.epoch {
            return Err(state.void());
        }
        let position = self.push(&mut state, kind, ticket.number, parts, length);
        self.notice(state);
        Ok(position)
    }

    /// Wakes a writer that would not look by itself in time.
    fn notice(&self, state: MutexGuard<'_, State>) {
        if state.writer == Activity::Idle || state.end.saturating_sub(state.taken) >= ENOUGH {
            self.nudge(state);
        }
    }

    fn length(&self, parts: &[&[u8]]) -> Result<u32, Down> {
        let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let limit = self.record_limit();
        match u32::try_from(length) {
            Ok(short) if length <= limit => Ok(short),
            _ => Err(Down::TooLong { length, limit }),
        }
    }

    fn push(
        &self,
        state: &mut State,
        kind: u8,
        number: u64,
        parts: &[&[u8]],
        length: u32,
    ) -> Position {
        let size = RECORD_HEADER.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        if state.current.used().saturating_add(size) > self.largest {
            let full = std::mem::replace(&mut state.current, self.pool.take());
            state.full.push_back(full);
        }
        self.pool.charge(&mut state.current, size);
        state.current.push(kind, number, parts, length);
        state.end = state.end.saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        state.current.end = state.end;
        Position { end: state.end, epoch: state.epoch }
    }

    /// What has gathered is wanted now.
    fn hurry(&self, mut state: MutexGuard<'_, State>) {
        state.urgent = true;
        self.nudge(state);
    }

    /// Wakes the writer unless it will look by itself. It is woken once the lock is free, or the first
    /// thing it did would be to wait for it.
    fn nudge(&self, mut state: MutexGuard<'_, State>) {
        if state.writer != Activity::Busy {
            state.writer = Activity::Busy;
            drop(state);
            self.work.notify_one();
        }
    }

    pub(super) async fn room(&self) {
        if self.pool.has_room() {
            return;
        }
        loop {
            let mut told = pin!(self.pool.room.notified());
            // Listed before looking, so that room made in between is not missed.
            told.as_mut().enable();
            if self.pool.has_room() || self.state().refusal().is_some() {
                return;
            }
            told.await;
        }
    }

    /// Waits until the writer has ended, however it did.
    pub(super) async fn ended(&self) {
        loop {
            let mut told = pin!(self.pool.room.notified());
            told.as_mut().enable();
            if self.state().over {
                return;
            }
            told.await;
        }
    }

    /// Why the writer ended, unless it was told to and left nothing unwritten.
    pub(super) fn ended_well(&self) -> Result<(), Down> {
        match self.state().down.clone() {
            None | Some(Down::Closed) => Ok(()),
            Some(down) => Err(down),
        }
    }

    pub(super) async fn durable(&self, position: Position) -> Result<(), Down> {
        if self.options.durability == Durability::Relaxed {
            return self.still_valid(position);
        }
        let mut wait = Wait { shared: self, place: None };
        poll_fn(|context| wait.poll(position, context.waker())).await
    }

    fn still_valid(&self, position: Position) -> Result<(), Down> {
        if self.epoch.load(Ordering::Acquire) == position.epoch {
            return Ok(());
        }
        Err(self.state().void())
    }

    pub(super) fn settle_gaps(&self) {
        let mut state = self.state();
        state.settle_gaps = true;
        self.nudge(state);
    }

    pub(super) fn down(&self) -> Option<Down> {
        self.state().down.clone()
    }

    #[cfg(test)]
    pub(super) fn panic(&self) {
        let mut state = self.state();
        state.panic = true;
        self.nudge(state);
    }

    /// Ends the pause between two attempts to come back.
    #[cfg(test)]
    pub(super) fn retry(&self) {
        self.state().retry = true;
        self.work.notify_one();
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiters().count()
    }
}

impl State {
    fn refusal(&self) -> Option<Down> {
        self.down.clone().or_else(|| self.closing.then_some(Down::Closed))
    }

    fn void(&self) -> Down {
        self.down.clone().or_else(|| self.last_down.clone()).unwrap_or(Down::Closed)
    }
}

/// One caller's wait; gives its place up when the caller goes away.
struct Wait<'a> {
    shared: &'a Shared,
    place: Option<Place>,
}

impl Wait<'_> {
    fn poll(&mut self, position: Position, waker: &Waker) -> Poll<Result<(), Down>> {
        let shared = self.shared;
        // The watermark first: it counts only as long as no outage has come behind it.
        if shared.watermark.load(Ordering::Acquire) >= position.end
            && shared.epoch.load(Ordering::Acquire) == position.epoch
        {
            // Whoever moved the watermark takes this one's place out, if there is one.
            self.place = None;
            return Poll::Ready(Ok(()));
        }
        {
            let mut waiters = shared.waiters();
            // Both are set before the waiters are woken, so looking under the lock misses nothing.
            if shared.epoch.load(Ordering::Acquire) != position.epoch {
                drop(waiters);
                return Poll::Ready(shared.still_valid(position));
            }
            if shared.watermark.load(Ordering::Acquire) >= position.end {
                return Poll::Ready(Ok(()));
            }
            let first = self.place.is_none();
            self.place = Some(waiters.wait(self.place, position.end, waker));
            if !first {
                return Poll::Pending;
            }
        }
        let state = shared.state();
        if position.end > state.taken {
            shared.hurry(state);
        }
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.waiters().leave(place);
        }
    }
}
