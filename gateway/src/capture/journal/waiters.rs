//! Those who wait for a position to be on disk, in the order of their positions.
//!
//! Advancing touches only those who are due, however many wait behind them.

use std::collections::BTreeMap;
use std::task::Waker;

/// Wakers by position; the second part of the key tells apart those who wait for the same one.
#[derive(Default)]
pub(super) struct Waiters {
    waiting: BTreeMap<(u64, u64), Waker>,
    last: u64,
}

/// One place in the queue, given up when it is not needed any more.
pub(super) type Place = (u64, u64);

impl Waiters {
    /// Waits for `position`, in the given place or a new one.
    pub(super) fn wait(&mut self, place: Option<Place>, position: u64, waker: &Waker) -> Place {
        let place = place.unwrap_or_else(|| {
            self.last = self.last.saturating_add(1);
            (position, self.last)
        });
        self.waiting
            .entry(place)
            .and_modify(|old| old.clone_from(waker))
            .or_insert_with(|| waker.clone());
        place
    }

    /// Gives a place up.
    pub(super) fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    /// Takes out those who waited for `position` or less.
    pub(super) fn due(&mut self, position: u64) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= position
        {
            due.push(first.remove());
        }
        due
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }
}
