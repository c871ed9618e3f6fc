//! Gates: one side of a case waits until the other has come to a point, never for a time.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long anything in the harness waits before it calls a case failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The same where a whole gateway begins or ends: what a busy or emulated machine takes for that says nothing.
pub const OF_A_GATEWAY: Duration = Duration::from_secs(90);

/// A count that only grows, and can be waited for.
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<(Mutex<u64>, Condvar)>,
}

impl Gate {
    /// Adds one and wakes who waits.
    pub fn open(&self) {
        *self.state.0.lock().expect("no holder of a gate panics") += 1;
        self.state.1.notify_all();
    }

    /// Waits until the gate has been opened at least `times` times.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`].
    pub fn wait(&self, times: u64) {
        let (count, changed) = &*self.state;
        let guard = count.lock().expect("no holder of a gate panics");
        let (guard, timeout) = changed
            .wait_timeout_while(guard, PATIENCE, |count| *count < times)
            .expect("no holder of a gate panics");
        drop(guard);
        assert!(!timeout.timed_out(), "waited in vain for a gate to be opened {times} times");
    }

    /// How often it has been opened so far.
    pub fn count(&self) -> u64 {
        *self.state.0.lock().expect("no holder of a gate panics")
    }
}

/// Tries `probe` again until it gives something.
///
/// # Panics
/// If that takes longer than [`PATIENCE`]; `what` says what was waited for.
pub fn poll<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll_for(PATIENCE, what, probe)
}

/// The same with another patience.
///
/// # Panics
/// If it takes longer than that.
pub fn poll_for<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
