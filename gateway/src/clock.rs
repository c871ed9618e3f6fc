//! Clock: one timeline per boot of the gateway, which never runs backwards.
//!
//! Times in records are microseconds since the Unix epoch, counted by `CLOCK_BOOTTIME` from one
//! reading of the wall clock at start. A step of the wall clock therefore cannot put an end before
//! its beginning; heartbeats carry fresh readings of both clocks, which is where a step shows.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A reading of both clocks, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `CLOCK_BOOTTIME`: since the machine started, suspended time included.
    pub boottime_us: u64,
    /// The wall clock: since the Unix epoch.
    pub wall_us: u64,
}

impl Reading {
    /// Reads both clocks now.
    #[must_use]
    pub fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_us = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        Self { boottime_us: boottime_ns() / 1_000, wall_us }
    }
}

/// `CLOCK_BOOTTIME` in nanoseconds.
#[must_use]
pub fn boottime_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The timeline of one boot of the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Timeline {
    anchor: Reading,
}

impl Timeline {
    /// A timeline anchored at the present reading of both clocks, but not before `floor_us`
    /// (microseconds since the Unix epoch): the latest time an earlier boot has sealed.
    #[must_use]
    pub fn start(floor_us: u64) -> Self {
        let mut anchor = Reading::now();
        anchor.wall_us = anchor.wall_us.max(floor_us);
        Self { anchor }
    }

    /// Now on this timeline, in microseconds since the Unix epoch.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        let elapsed = (boottime_ns() / 1_000).saturating_sub(self.anchor.boottime_us);
        self.anchor.wall_us.saturating_add(elapsed)
    }
}
