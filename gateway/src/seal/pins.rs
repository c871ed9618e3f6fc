//! Which journal files are still needed, and by what.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::capture::connection::{aside_of, connection_of};
use crate::capture::journal::RecordRef;

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
    /// A way around, or names, of which what the leaf binds is not stored yet: the kind of the record,
    /// the coverage, and the number there.
    Aside(u8, [u8; 16], u64),
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
    /// The exchanges that are not stored.
    pub exchanges: HashSet<Exchange>,
    /// The connections that are not, by boot and id.
    pub connections: HashSet<([u8; 16], [u8; 16])>,
    /// The ways around and the names that are not, by the kind of the record, coverage and number.
    pub asides: HashSet<(u8, [u8; 16], u64)>,
    /// The file that records are being read from: all of it is needed, and all after it.
    pub reading: u64,
}

impl Needed {
    /// Whether a record of this boot is one of theirs. What is noted beside, of coverages, is in the
    /// log, or in a file that is being read.
    #[must_use]
    pub fn wants(&self, boot: &[u8; 16], record: &RecordRef<'_>) -> bool {
        if let Some(aside) = aside_of(record) {
            return self.asides.contains(&aside);
        }
        match connection_of(record) {
            Some(connection) => self.connections.contains(&(*boot, connection)),
            None => self.exchanges.contains(&(*boot, record.number)),
        }
    }
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
        let (mut exchanges, mut connections) = (HashSet::new(), HashSet::new());
        let mut asides = HashSet::new();
        for held in state.held.keys() {
            match held {
                Held::Exchange(exchange) => drop(exchanges.insert(*exchange)),
                Held::Connection(boot, id) => drop(connections.insert((*boot, *id))),
                Held::Aside(kind, coverage, number) => {
                    asides.insert((*kind, *coverage, *number));
                }
                Held::Gap(..) => {}
            }
        }
        Needed { exchanges, connections, asides, reading: state.reading }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
