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

    /// Takes a number out, if it is there.
    pub(super) fn remove(&mut self, number: u64) {
        let before = self.ranges.range(..=number).next_back().map(|(first, last)| (*first, *last));
        let Some((first, last)) = before.filter(|(_, last)| number <= *last) else { return };
        self.ranges.remove(&first);
        if first < number {
            self.ranges.insert(first, number - 1);
        }
        if number < last {
            self.ranges.insert(number + 1, last);
        }
    }

    /// Whether every number from `first` to `last` is here.
    pub(super) fn covers(&self, first: u64, last: u64) -> bool {
        self.ranges.range(..=first).next_back().is_some_and(|(_, end)| last <= *end)
    }

    /// The first number of 1 to `highest` that is neither here nor among `open`. Takes as many steps
    /// as `open` has ranges, however many are here: a heartbeat costs what it is long.
    pub(super) fn first_missing(&self, highest: u64, open: &Ranges) -> Option<u64> {
        let mut open = open.as_slice().iter().peekable();
        let mut next = 1_u64;
        loop {
            if let Some((_, last)) = self.ranges.range(..=next).next_back()
                && next <= *last
            {
                next = last.saturating_add(1);
            }
            while open.next_if(|(_, last)| *last < next).is_some() {}
            // Ranges here do not touch, so what comes next is open or missing.
            match open.next_if(|(first, _)| *first <= next) {
                Some((_, last)) => next = last.saturating_add(1),
                None => return (next <= highest).then_some(next),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(given: impl IntoIterator<Item = u64>) -> Numbers {
        let mut numbers = Numbers::default();
        given.into_iter().for_each(|number| assert!(numbers.insert(number)));
        numbers
    }

    #[test]
    fn the_first_missing_number_is_as_counting_finds_it() {
        // Every set of sealed and every set of open numbers below seven.
        for (sealed, open) in (0_u64..64).flat_map(|s| (0_u64..64).map(move |o| (s, o))) {
            let members = |bits: u64| (1..=6).filter(move |n| bits >> (n - 1) & 1 == 1);
            let set = numbers(members(sealed));
            let ranges = Ranges::from_numbers(members(open));
            for highest in 0..=7 {
                let counted = (1..=highest).find(|n| (sealed | open) >> (n - 1) & 1 == 0);
                assert_eq!(set.first_missing(highest, &ranges), counted, "{sealed:b} {open:b}");
            }
        }
        let all = Ranges::new(vec![(1, u64::MAX)]).unwrap();
        assert_eq!(numbers([3]).first_missing(9, &all), None);
    }

    /// If each heartbeat went through all that was sealed, a log of 26 MB would take a day to check, and so
    /// would this test.
    #[test]
    fn a_heartbeat_costs_what_it_is_long_however_much_was_sealed() {
        let sealed = numbers((1..400_000).step_by(2));
        let open = Ranges::new(vec![(2, 400_000)]).unwrap();
        for _ in 0..400_000 {
            assert_eq!(sealed.first_missing(400_000, &open), None);
        }
    }

    #[test]
    fn a_number_taken_out_is_missing_and_may_come_again() {
        for taken in 1..=5 {
            let mut set = numbers(1..=5);
            assert!(set.covers(1, 5));
            set.remove(taken);
            set.remove(taken);
            assert!(!set.contains(taken) && !set.covers(1, 5));
            assert!((1..=5).filter(|n| *n != taken).all(|n| set.covers(n, n)));
            assert!(set.insert(taken));
            assert_eq!(set.ranges.len(), 1);
        }
    }
}
