//! Gone: leaves without what they bind, and the statements of the log that account for them.
//!
//! A gateway may prune while a check runs, under a statement behind the leaves that were checked. Nobody
//! checked that one, so what it alone names counts for itself: neither held no longer nor lost.

use sealtap_common::leaf::Ranges;

use super::error::StoreError;

/// What a finding says of what is missing.
pub(super) const LOST: &str =
    "it is not in the store, and no leaf states that it is held no longer";

/// Leaves that statements of retention name.
#[derive(Default)]
pub(super) struct Stated(Vec<(u64, u64)>);

impl Stated {
    pub(super) fn push(&mut self, leaves: &Ranges) {
        self.0.extend_from_slice(leaves.as_slice());
    }

    /// All of them in order, those that meet joined: many statements cost no more to ask than one.
    pub(super) fn merged(mut self) -> Self {
        self.0.sort_unstable();
        self.0.dedup_by(|next, before| {
            let meets = next.0 <= before.1.saturating_add(1);
            if meets {
                before.1 = before.1.max(next.1);
            }
            meets
        });
        self
    }

    fn covers(&self, first: u64, last: u64) -> bool {
        let after = self.0.partition_point(|(from, _)| *from <= first);
        after.checked_sub(1).and_then(|at| self.0.get(at)).is_some_and(|(_, to)| last <= *to)
    }
}

/// What the store does not have, apart by whether it claims to have it.
#[derive(Default)]
pub(super) struct Missing {
    gone: Gone,
    absent: Gone,
}

/// How many of them what accounts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounted {
    /// Leaves of the log that was checked state it.
    pub(super) pruned: u64,
    /// Only leaves state it that were published after those that were checked.
    pub(super) since: u64,
    /// Nothing does, and the store does not claim to have them.
    pub(super) absent: u64,
}

impl Missing {
    /// What the leaf at `index` binds is not there; `claimed` says whether the store claims it.
    pub(super) fn push(&mut self, index: u64, claimed: bool) {
        let (missing, other) = match claimed {
            true => (&mut self.gone, &mut self.absent),
            false => (&mut self.absent, &mut self.gone),
        };
        missing.push(index);
        other.interrupted();
    }

    /// One that is there comes in between.
    pub(super) fn interrupted(&mut self) {
        self.gone.interrupted();
        self.absent.interrupted();
    }

    /// Whether statements account for all of it.
    pub(super) fn is_within(&self, stated: &Stated) -> bool {
        let mut stretches = self.gone.stretches.iter().chain(&self.absent.stretches);
        stretches.all(|stretch| stated.covers(stretch.first, stretch.last))
    }

    /// What accounts for what, where `what` says what a leaf binds, if anything. What the store claims
    /// to have and nothing accounts for goes to `lost`.
    pub(super) fn resolve<T>(
        self,
        stated: &Stated,
        since: &Stated,
        what: &mut dyn FnMut(u64) -> Result<Option<T>, StoreError>,
        lost: &mut dyn FnMut(u64, T),
    ) -> Result<Accounted, StoreError> {
        let mut found = Accounted::default();
        for (missing, claimed) in [(self.absent, false), (self.gone, true)] {
            let whole = missing.resolve(stated, &mut |index| {
                let Some(what) = what(index)? else { return Ok(()) };
                if stated.covers(index, index) {
                    found.pruned += 1;
                } else if since.covers(index, index) {
                    found.since += 1;
                } else if claimed {
                    lost(index, what);
                } else {
                    found.absent += 1;
                }
                Ok(())
            })?;
            found.pruned += whole;
        }
        Ok(found)
    }
}

/// Leaves without what they bind, as stretches between those that have it: retention takes the
/// oldest, so a store of millions has few.
#[derive(Default)]
struct Gone {
    stretches: Vec<Stretch>,
    goes_on: bool,
}

struct Stretch {
    first: u64,
    last: u64,
    count: u64,
}

impl Gone {
    fn push(&mut self, index: u64) {
        match self.stretches.last_mut() {
            Some(stretch) if self.goes_on => {
                stretch.last = index;
                stretch.count += 1;
            }
            _ => self.stretches.push(Stretch { first: index, last: index, count: 1 }),
        }
        self.goes_on = true;
    }

    fn interrupted(&mut self) {
        self.goes_on = false;
    }

    /// How many statements account for whole stretches at a time; of the other stretches each leaf
    /// goes to `each`.
    fn resolve(
        self,
        stated: &Stated,
        each: &mut dyn FnMut(u64) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let mut pruned = 0;
        for Stretch { first, last, count } in self.stretches {
            if stated.covers(first, last) {
                pruned += count;
                continue;
            }
            for index in first..=last {
                each(index)?;
            }
        }
        Ok(pruned)
    }
}
