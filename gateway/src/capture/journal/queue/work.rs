//! The writer's side of the queue: what to do next, and what became of it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::Down;
use super::super::buffer::Buffer;
use super::{Activity, ENOUGH, Shared, State, Work, wake};

/// Records nobody waits for are written after this long.
const LINGER: Duration = Duration::from_millis(50);
/// So many must wait before records are left to gather.
const CROWD: usize = 3;
/// Bounds of how long they gather.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(1);
/// After so long without records, memory that a burst has left is given back.
const IDLE: Duration = Duration::from_secs(5);

impl Shared {
    /// Blocks the writer until there is something to do.
    pub(in super::super) fn next(&self) -> Work {
        let linger = LINGER.min(self.options.sync_interval);
        let mut since = None;
        let mut state = self.state();
        loop {
            #[cfg(test)]
            if std::mem::take(&mut state.panic) {
                drop(state);
                panic!("as the test wants it");
            }
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
            if state.closing || gathered >= ENOUGH || waited >= linger {
                return Work::Write(self.take(&mut state));
            }
            if state.urgent {
                let gather = self.gather();
                if waited >= gather {
                    return Work::Write(self.take(&mut state));
                }
                // Still busy, so that nobody spends a system call on waking it.
                let left = gather.saturating_sub(waited);
                (state, _) =
                    self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.writer = Activity::Lingering;
            let left = linger.saturating_sub(waited);
            (state, _) =
                self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How long records that are waited for may gather before they are written. Nothing where few
    /// wait, for it would only make them slower; where many do, about as long as a sync takes, so
    /// that one sync serves more of them.
    fn gather(&self) -> Duration {
        if self.waiters().count() < CROWD {
            return Duration::ZERO;
        }
        let last = self.counters.last_sync_ns.load(Ordering::Relaxed);
        Duration::from_nanos(last).clamp(SHORTEST, LONGEST)
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
    pub(in super::super) fn advance(&self, end: u64) {
        self.watermark.store(end, Ordering::Release);
        wake(self.waiters().due(end));
    }

    /// Whether all up to `end` is on disk.
    pub(in super::super) fn is_durable(&self, end: u64) -> bool {
        self.watermark.load(Ordering::Acquire) >= end
    }

    /// Refuses everything from now on; what had gathered comes out.
    pub(in super::super) fn go_down(&self, down: Down) -> VecDeque<Buffer> {
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
    pub(in super::super) fn stay_down(&self, down: Down) {
        let mut state = self.state();
        state.last_down = Some(down.clone());
        state.down = Some(down);
    }

    /// Works again. The record that `told` makes of the count of refused begins comes before all
    /// others, under the number of the last exchange begun. Returns where that record ends.
    pub(in super::super) fn go_up(&self, kind: u8, told: impl FnOnce(u64) -> Vec<u8>) -> u64 {
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
    pub(in super::super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state();
        while !state.closing {
            #[cfg(test)]
            if std::mem::take(&mut state.retry) {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (state, _) =
                self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state.closing
    }

    pub(in super::super) fn close(&self) {
        let mut state = self.state();
        state.closing = true;
        self.work.notify_one();
    }

    /// Nothing will ever be written again: nobody may wait for it.
    pub(in super::super) fn closed(&self, why: Down) {
        let mut state = self.state();
        state.closing = true;
        state.over = true;
        state.last_down.get_or_insert_with(|| why.clone());
        state.down.get_or_insert(why);
        state.epoch = state.epoch.saturating_add(1);
        self.epoch.store(state.epoch, Ordering::Release);
        drop(state);
        wake(self.waiters().due(u64::MAX));
        self.pool.room.notify_waiters();
    }
}
