//! Gone: exchanges without contents, and the statements of the log that account for them.

use sealtap_common::leaf::Ranges;

use super::error::StoreError;

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

/// Exchanges without contents, as stretches between those that have them: retention takes the
/// oldest, so a store of millions has few.
#[derive(Default)]
pub(super) struct Gone {
    stretches: Vec<Stretch>,
    goes_on: bool,
}

struct Stretch {
    first: u64,
    last: u64,
    exchanges: u64,
}

impl Gone {
    pub(super) fn push(&mut self, index: u64) {
        match self.stretches.last_mut() {
            Some(stretch) if self.goes_on => {
                stretch.last = index;
                stretch.exchanges += 1;
            }
            _ => self.stretches.push(Stretch { first: index, last: index, exchanges: 1 }),
        }
        self.goes_on = true;
    }

    /// One that is not gone comes in between.
    pub(super) fn interrupted(&mut self) {
        self.goes_on = false;
    }

    /// How many exchanges statements account for whole stretches at a time; of the other stretches
    /// each leaf goes to `each`, with whether one names it.
    pub(super) fn resolve(
        self,
        stated: &Stated,
        each: &mut dyn FnMut(u64, bool) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let mut pruned = 0;
        for Stretch { first, last, exchanges } in self.stretches {
            if stated.covers(first, last) {
                pruned += exchanges;
                continue;
            }
            for index in first..=last {
                each(index, stated.covers(index, index))?;
            }
        }
        Ok(pruned)
    }
}
