//! Which journal files are still needed, and by what.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// A boot and an exchange's number in it.
pub type Exchange = ([u8; 16], u64);

/// Something whose records the journal must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Held {
    /// An exchange that is not stored yet.
    Exchange(Exchange),
    /// An outage that is not in the log yet: its boot and when it began.
    Gap([u8; 16], u64),
    /// A connection whose leaf, or what that binds, is not stored yet: its boot and its id.
    Connection([u8; 16], [u8; 16]),
}

/// Knows for each exchange that is not stored, and each outage that is not sealed, the journal file
/// that its records begin in.
#[derive(Debug, Default)]
pub struct Pins {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<Held, u64>,
    /// How many of them begin in each file.
    files: BTreeMap<u64, u64>,
    /// The file that records are being read from.
    reading: u64,
    /// Bytes of the records of exchanges under way.
    under_way: u64,
}

/// What is needed at one moment.
#[derive(Debug)]
pub struct Needed {
    /// The exchanges that are not stored, and the number 0 in boots with connections that are not.
    pub exchanges: HashSet<Exchange>,
    /// The file that records are being read from: all of it is needed, and all after it.
    pub reading: u64,
}

impl Pins {
    /// Notes that records up to those in `file` have been read, and that exchanges under way have
    /// `under_way` bytes of records so far.
    pub fn reading(&self, file: u64, under_way: u64) {
        let mut state = self.state();
        state.reading = file;
        state.under_way = under_way;
    }

    /// Keeps what begins in `file`.
    pub fn hold(&self, held: Held, file: u64) {
        self.hold_all([(held, file)]);
    }

    /// Keeps each of what begins in a file.
    pub fn hold_all(&self, begun: impl IntoIterator<Item = (Held, u64)>) {
        let mut state = self.state();
        for (held, file) in begun {
            if state.held.insert(held, file).is_none() {
                *state.files.entry(file).or_default() += 1;
            }
        }
    }

    /// Lets go.
    pub fn release(&self, held: Held) {
        self.release_all([held]);
    }

    /// Lets go of each.
    pub fn release_all(&self, all: impl IntoIterator<Item = Held>) {
        let mut state = self.state();
        for held in all {
            let Some(file) = state.held.remove(&held) else { continue };
            if let Some(count) = state.files.get_mut(&file) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    state.files.remove(&file);
                }
            }
        }
    }

    /// The first file that is still needed.
    #[must_use]
    pub fn lowest(&self) -> u64 {
        let state = self.state();
        state.files.keys().next().copied().unwrap_or(state.reading).min(state.reading)
    }

    /// The file that records are being read from, and the bytes of exchanges under way.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let state = self.state();
        (state.reading, state.under_way)
    }

    /// Everything that is needed now.
    #[must_use]
    pub fn needed(&self) -> Needed {
        let state = self.state();
        let exchanges = state.held.keys().filter_map(|held| match held {
            Held::Exchange(exchange) => Some(*exchange),
            // What is recorded of connections has the number of no exchange.
            Held::Connection(boot, _) => Some((*boot, 0)),
            Held::Gap(..) => None,
        });
        Needed { exchanges: exchanges.collect(), reading: state.reading }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
