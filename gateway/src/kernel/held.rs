//! Held: what waits for the executable of who did it.
//!
//! In: things that processes did, and when these connected. Out: each with the path of what the process ran
//! then, as soon as that is known or will not be; at once where all is asked for, or where too much waits.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::readings::{Executable, Readings};

/// How long something waits.
const LIMIT: Duration = Duration::from_millis(500);

/// How much does.
const MOST: usize = 1024;

/// Between two looks: longer each time.
const SOON: Duration = Duration::from_millis(2);
const LATER: Duration = Duration::from_millis(16);

/// What waits, in its order.
pub(super) struct Held<T> {
    waiting: Vec<Waiting<T>>,
    /// When it is looked at again, and how long after that.
    next: Instant,
    pause: Duration,
}

struct Waiting<T> {
    what: T,
    process: u32,
    connected: u64,
    since: Instant,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { waiting: Vec::new(), next: Instant::now(), pause: SOON }
    }
}

impl<T> Held<T> {
    /// How long nothing is to be looked at; none where nothing waits.
    pub(super) fn pause(&self) -> Option<Duration> {
        let left = self.next.saturating_duration_since(Instant::now());
        (!self.waiting.is_empty()).then_some(left)
    }

    /// Takes something that a process did which `connected` then; process 0 is nobody.
    pub(super) fn push(&mut self, what: T, process: u32, connected: u64) {
        let since = Instant::now();
        self.waiting.push(Waiting { what, process, connected, since });
        (self.next, self.pause) = (since, SOON);
    }

    /// Gives what is known, or will not be; `all` of it where nothing may wait longer.
    pub(super) fn release(
        &mut self,
        readings: &mut Readings,
        all: bool,
    ) -> Vec<(T, Option<String>)> {
        if !all && self.next > Instant::now() {
            return Vec::new();
        }
        self.next = Instant::now() + self.pause;
        self.pause = self.pause.saturating_mul(2).min(LATER);
        // What each did is in the past: how it is now is asked for once.
        let mut now = HashMap::new();
        let all = all || self.waiting.len() > MOST;
        let mut released = Vec::new();
        // What a process did later is not given before.
        let mut behind = HashSet::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let Waiting { process, connected, since, .. } = waiting;
            let executable = match process {
                0 => Executable::Unknown,
                _ => {
                    let now = now.entry(process).or_insert_with(|| readings.now(process));
                    readings.of(process, connected, now)
                }
            };
            let late = executable != Executable::NotYet || since.elapsed() >= LIMIT;
            if !all && (!late || behind.contains(&process)) {
                behind.insert(process);
                self.waiting.push(waiting);
            } else {
                released.push((waiting.what, executable.known()));
            }
        }
        released
    }
}
