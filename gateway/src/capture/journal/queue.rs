//! The queue between callers and the writer: records gather here, and callers wait here.
//!
//! Comes in: records, and positions to wait for. Goes out: groups of buffers for the writer,
//! answers for the callers. Nothing here touches a disk or holds a lock over a suspension.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::buffer::{Buffer, Pool};
use super::format::{BATCH_HEADER, RECORD_HEADER};
use super::waiters::{Place, Waiters};
use super::{Down, Durability, Options, Position, Ticket};

/// Records nobody waits for are written after this long.
const LINGER: Duration = Duration::from_millis(50);
/// Or when so many bytes have gathered. A batch has at most as many: larger ones were measured to
/// cost more in fresh memory than they save in writes.
const ENOUGH: u64 = 1024 * 1024;
/// After so long without records, memory that a burst has left is given back.
const IDLE: Duration = Duration::from_secs(5);

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
    settle_gaps: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Waits for a first record.
    Idle,
    /// Lets records gather.
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
            settle_gaps: false,
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
        self.hurry(&mut state);
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
        if state.writer == Activity::Idle || state.end.saturating_sub(state.taken) >= ENOUGH {
            self.nudge(&mut state);
        }
        Ok(position)
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
    fn hurry(&self, state: &mut State) {
        state.urgent = true;
        self.nudge(state);
    }

    /// Wakes the writer unless it will look by itself.
    fn nudge(&self, state: &mut State) {
        if state.writer != Activity::Busy {
            state.writer = Activity::Busy;
            self.work.notify_one();
        }
    }

    pub(super) async fn room(&self) {
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

    /// Blocks the writer until there is something to do.
    pub(super) fn next(&self) -> Work {
        let linger = LINGER.min(self.options.sync_interval);
        let mut since = None;
        let mut state = self.state();
        loop {
            if state.settle_gaps {
                state.settle_gaps = false;
                return Work::SettleGaps;
            }
            let gathered = state.end.saturating_sub(state.taken);
            if gathered == 0 {
                state.urgent = false;
                if state.closing {
                    return Work::Close;
                }
                state.writer = Activity::Idle;
                state = self.idle(state);
                continue;
            }
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            if state.urgent || state.closing || gathered >= ENOUGH || waited >= linger {
                return Work::Write(self.take(&mut state));
            }
            state.writer = Activity::Lingering;
            let left = linger.saturating_sub(waited);
            (state, _) =
                self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for a record; after a while, with less memory.
    fn idle<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
        let (mut state, timeout) = waited;
        if !timeout.timed_out() || state.writer != Activity::Idle || state.closing {
            return state;
        }
        self.pool.shrink();
        if state.current.is_empty() {
            state.current = self.pool.take();
        }
        self.work.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, state: &mut State) -> VecDeque<Buffer> {
        state.urgent = false;
        state.writer = Activity::Busy;
        state.taken = state.end;
        let mut group = std::mem::take(&mut state.full);
        if !state.current.is_empty() {
            group.push_back(std::mem::replace(&mut state.current, self.pool.take()));
        }
        group
    }

    /// All records up to `end` are on disk: wakes those who waited for them.
    pub(super) fn advance(&self, end: u64) {
        self.watermark.store(end, Ordering::Release);
        wake(self.waiters().due(end));
    }

    /// Whether all up to `end` is on disk.
    pub(super) fn is_durable(&self, end: u64) -> bool {
        self.watermark.load(Ordering::Acquire) >= end
    }

    /// Refuses everything from now on; what had gathered comes out.
    pub(super) fn go_down(&self, down: Down) -> VecDeque<Buffer> {
        let mut state = self.state();
        state.down = Some(down.clone());
        state.last_down = Some(down);
        state.refused = 0;
        state.epoch = state.epoch.saturating_add(1);
        self.epoch.store(state.epoch, Ordering::Release);
        let gathered = self.take(&mut state);
        drop(state);
        wake(self.waiters().due(u64::MAX));
        self.pool.room.notify_waiters();
        gathered
    }

    /// Still refuses, for another reason.
    pub(super) fn stay_down(&self, down: Down) {
        let mut state = self.state();
        state.last_down = Some(down.clone());
        state.down = Some(down);
    }

    /// Works again. The record that `told` makes of the count of refused begins comes before all
    /// others, under the number of the last exchange begun. Returns where that record ends.
    pub(super) fn go_up(&self, kind: u8, told: impl FnOnce(u64) -> Vec<u8>) -> u64 {
        let mut state = self.state();
        let payload = told(state.refused);
        let length = u32::try_from(payload.len()).unwrap_or_default();
        state.down = None;
        let number = state.number;
        self.push(&mut state, kind, number, &[&payload], length);
        state.urgent = true;
        state.end
    }

    /// Waits up to `time`, or less when the journal is to close; whether it is.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state();
        while !state.closing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (state, _) =
                self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state.closing
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        self.work.notify_one();
    }

    /// Nothing will ever be written again: nobody may wait for it.
    pub(super) fn closed(&self, why: Down) {
        let mut state = self.state();
        state.closing = true;
        state.last_down.get_or_insert_with(|| why.clone());
        state.down.get_or_insert(why);
        state.epoch = state.epoch.saturating_add(1);
        self.epoch.store(state.epoch, Ordering::Release);
        drop(state);
        wake(self.waiters().due(u64::MAX));
        self.pool.room.notify_waiters();
    }

    pub(super) fn settle_gaps(&self) {
        let mut state = self.state();
        state.settle_gaps = true;
        self.nudge(&mut state);
    }

    pub(super) fn down(&self) -> Option<Down> {
        self.state().down.clone()
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
        let mut state = shared.state();
        if position.end > state.taken {
            shared.hurry(&mut state);
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

fn wake(due: Vec<Waker>) {
    for waker in due {
        waker.wake();
    }
}
