//! Shares: how much of something that there is little of one scope may have.
//!
//! In: who wants one, and who gives one back; whoever it is stands by the id of its watched cgroup. Out: whether it
//! gets one. Nobody gets more than is left for others: alone, a scope has half of all, a second one half of
//! the rest, so that however much one keeps for good, there is some for who comes later.

use std::collections::HashMap;

/// What there is, and who has it.
pub(super) struct Shares {
    free: usize,
    taken: HashMap<u64, usize>,
}

impl Shares {
    pub(super) fn new(all: usize) -> Self {
        Self { free: all, taken: HashMap::new() }
    }

    /// Whether `scope` may have one more.
    pub(super) fn may(&self, scope: u64) -> bool {
        self.taken.get(&scope).copied().unwrap_or_default() < self.free
    }

    /// Gives `scope` one more, if it may have it.
    pub(super) fn take(&mut self, scope: u64) -> bool {
        let may = self.may(scope);
        if may {
            self.free = self.free.saturating_sub(1);
            let taken = self.taken.entry(scope).or_default();
            *taken = taken.saturating_add(1);
        }
        may
    }

    /// Takes one back that `scope` has.
    pub(super) fn give(&mut self, scope: u64) {
        let Some(taken) = self.taken.get_mut(&scope) else { return };
        *taken = taken.saturating_sub(1);
        self.free = self.free.saturating_add(1);
        if *taken == 0 {
            self.taken.remove(&scope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_no_more_than_is_left_for_others() {
        let mut shares = Shares::new(8);
        let mut takes = |scope| (0..9).filter(|_| shares.take(scope)).count();
        assert_eq!([1, 2, 3, 4].map(&mut takes), [4, 2, 1, 1]);
        assert_eq!([1, 5].map(&mut takes), [0, 0], "none is left");
        // What is given back is there for whoever has none.
        shares.give(1);
        assert!(!shares.take(1) && !shares.take(2) && shares.take(5));
        (0..9).for_each(|_| [1, 2, 3, 4, 5, 6].into_iter().for_each(|scope| shares.give(scope)));
        assert_eq!((shares.free, shares.taken.len()), (8, 0), "no more than were taken");
    }
}
