//! Which journal files are still needed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts, for each journal file, the exchanges that begin in it and are not stored yet.
#[derive(Debug, Default)]
pub struct Pins {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, u64>,
    /// The file that records are being read from.
    reading: u64,
}

impl Pins {
    /// Notes that records up to those in `file` have been read.
    pub fn reading(&self, file: u64) {
        self.state().reading = file;
    }

    /// Keeps `file` and everything after it.
    pub fn hold(&self, file: u64) {
        *self.state().files.entry(file).or_default() += 1;
    }

    /// Lets go of one exchange that began in `file`.
    pub fn release(&self, file: u64) {
        let mut state = self.state();
        if let Some(count) = state.files.get_mut(&file) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                state.files.remove(&file);
            }
        }
    }

    /// The first file that is still needed.
    #[must_use]
    pub fn lowest(&self) -> u64 {
        let state = self.state();
        state.files.keys().next().copied().unwrap_or(state.reading).min(state.reading)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
