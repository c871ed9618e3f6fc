//! The exchange numbers that have been seen, as ranges: a boot that leaves nothing out needs one.

use std::collections::BTreeMap;

use crate::leaf::Ranges;

/// A set of numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    /// First number of each range to its last; ranges do not touch.
    ranges: BTreeMap<u64, u64>,
}

impl Numbers {
    /// Adds a number; `false` when it was there.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let before = self.ranges.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = number.checked_add(1).and_then(|next| self.ranges.remove(&next));
        self.ranges.insert(first, last.unwrap_or(number));
        true
    }

    /// Whether a number was added.
    pub(super) fn contains(&self, number: u64) -> bool {
        let before = self.ranges.range(..=number).next_back();
        before.is_some_and(|(_, last)| number <= *last)
    }

    /// The highest number, 0 when there is none.
    pub(super) fn highest(&self) -> u64 {
        self.ranges.last_key_value().map_or(0, |(_, last)| *last)
    }

    /// The first number of 1 to `highest` that is neither here nor among `open`.
    pub(super) fn first_missing(&self, highest: u64, open: &Ranges) -> Option<u64> {
        let open = open.as_slice().iter().copied();
        let mut all: Vec<(u64, u64)> =
            self.ranges.iter().map(|(a, b)| (*a, *b)).chain(open).collect();
        all.sort_unstable();
        let mut next = 1;
        for (first, last) in all {
            if first > next {
                break;
            }
            next = next.max(last.saturating_add(1));
        }
        (next <= highest).then_some(next)
    }
}
