//! The writer's side of the queue: what to do next, and what became of it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::Down;
use super::super::buffer::Buffer;
use super::{Activity, ENOUGH, Shared, State, Work};

/// Records nobody waits for are written after this long.
const LINGER: Duration = Duration::from_millis(50);
/// So many must wait before records are left to gather.
const CROWD: usize = 3;
/// Bounds of how long they gather, the second over all pauses together.
const SHORTEST: Duration = Duration::from_micros(100);
const LONGEST: Duration = Duration::from_millis(1);
/// After so long without records, memory that a burst has left is given back and the writer sleeps
/// until a record comes.
const IDLE: Duration = Duration::from_secs(5);

impl Shared {
    /// Blocks the writer until there is something to do.
    pub(in super::super) fn next(&self) -> Work {
        let linger = LINGER.min(self.options.sync_interval);
        let began = Instant::now();
        let mut since = None;
        let mut crowd = Crowd::default();
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
                (state, since) = match began.elapsed() < IDLE {
                    // Traffic is about: the writer looks again by itself, so that the first record
                    // of a batch wakes nobody, and only whoever waits for it does.
                    true => {
                        let dozed = Some(Instant::now());
                        (self.doze(state, linger), dozed)
                    }
                    false => (self.idle(state), None),
                };
                continue;
            }
            let waited = since.get_or_insert_with(Instant::now).elapsed();
            if state.closing || gathered >= ENOUGH || waited >= linger {
                return Work::Write(self.take(&mut state));
            }
            if state.urgent {
                let last = self.counters.last_sync_ns.load(Ordering::Relaxed);
                let Some(pause) = crowd.pause(self.waiters().count(), last) else {
                    return Work::Write(self.take(&mut state));
                };
                // Still busy, so that nobody spends a system call on waking it.
                state.writer = Activity::Busy;
                (state, _) =
                    self.work.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.doze(state, linger.saturating_sub(waited));
        }
    }

    /// Waits until somebody waits for a record, or for `time`.
    fn doze<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        time: Duration,
    ) -> MutexGuard<'a, State> {
        state.writer = Activity::Lingering;
        let waited = self.work.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits for a record, with less memory.
    fn idle<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.writer = Activity::Idle;
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
        self.wake(end);
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
        self.wake(u64::MAX);
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
        self.wake(u64::MAX);
        self.pool.room.notify_waiters();
    }

    /// Wakes those who waited for `end` or less, once the lock is free: the first thing they do may be
    /// to take it.
    fn wake(&self, end: u64) {
        let due = self.waiters().due(end);
        for waker in due {
            waker.wake();
        }
    }
}

/// Those who wait while records gather.
#[derive(Default)]
struct Crowd {
    seen: usize,
    paused: Duration,
}

impl Crowd {
    /// How long records that `count` wait for may go on gathering; `None` when it is time to write.
    /// Where few wait, at once, for a pause would only make them slower. Where many do, for about
    /// as long as a sync takes (`last`, in nanoseconds), so that one sync serves more of them, and
    /// again for as long as more have come meanwhile.
    fn pause(&mut self, count: usize, last: u64) -> Option<Duration> {
        let grown = count > self.seen;
        self.seen = count;
        if count < CROWD || !grown || self.paused >= LONGEST {
            return None;
        }
        let pause = Duration::from_nanos(last).clamp(SHORTEST, LONGEST);
        let pause = pause.min(LONGEST.saturating_sub(self.paused));
        self.paused = self.paused.saturating_add(pause);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_written_for_at_once() {
        assert_eq!(Crowd::default().pause(CROWD - 1, 200_000), None);
    }

    #[test]
    fn many_are_gathered_for_as_long_as_more_come() {
        let mut crowd = Crowd::default();
        let sync = Duration::from_micros(200);
        assert_eq!(crowd.pause(CROWD, 200_000), Some(sync));
        assert_eq!(crowd.pause(CROWD + 1, 200_000), Some(sync));
        assert_eq!(crowd.pause(CROWD + 1, 200_000), None, "nobody came meanwhile");
    }

    #[test]
    fn nobody_waits_for_long() {
        for last in [0, 1_000, 300_000, 1_000_000, 50_000_000] {
            let mut crowd = Crowd::default();
            let pauses: Duration = (CROWD..1_000).map_while(|count| crowd.pause(count, last)).sum();
            assert_eq!(pauses, LONGEST, "after a sync of {last} ns");
        }
    }
}
