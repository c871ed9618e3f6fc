//! The machine's monotonic clock, which all processes of the bench share.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on the monotonic clock.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
