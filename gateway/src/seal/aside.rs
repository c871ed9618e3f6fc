//! What leaves bind that are none of exchanges: who made a connection, and which exchanges it carried.

use sealtap_common::encoding::Id;
use sealtap_common::leaf::Ranges;

use super::connections::{KeptUnit, LEAF};
use super::pins::Held;

/// What the kernel noted, on its way from the journal to its leaf.
#[derive(Debug)]
pub struct DigestedAside<L> {
    /// The leaf, but for its time.
    pub leaf: L,
    /// The unit that the leaf binds.
    pub unit: Option<KeptUnit>,
    /// What the journal keeps for it; nothing where no unit is to be stored.
    pub held: Option<Held>,
    /// The journal file that its record is in.
    pub first_file: u64,
    /// What is counted of it on its way to the store, in bytes; 0 where nothing is.
    pub weight: u64,
}

impl<L> DigestedAside<L> {
    /// Not counted so far; `held` is what the journal keeps while there is a unit to store.
    pub(super) fn new(leaf: L, unit: Option<KeptUnit>, held: Held, first_file: u64) -> Self {
        let held = unit.is_some().then_some(held);
        Self { leaf, unit, held, first_file, weight: 0 }
    }

    /// Counts it from now on; about how much memory it takes, its leaf included, in bytes.
    pub fn weigh(&mut self) -> u64 {
        let unit = self.unit.as_ref().map_or(0, KeptUnit::taken);
        self.weight = u64::try_from(size_of::<Self>() + unit + LEAF).unwrap_or(u64::MAX);
        self.weight
    }

    /// What is sealed at a time, with what the store is to keep of it.
    pub(super) fn at(self, sealed: u64) -> (L, Aside) {
        let Self { leaf, unit, held, weight, .. } = self;
        (leaf, Aside { unit, carried: None, held, sealed, weight })
    }
}

/// It, before its leaf stands in the log.
#[derive(Debug)]
pub struct Aside {
    /// The unit that the leaf binds, if it binds one.
    pub unit: Option<KeptUnit>,
    /// The boot and the numbers of the exchanges that a connection carried.
    pub carried: Option<(Id, Ranges)>,
    /// What the journal keeps until it is stored.
    pub held: Option<Held>,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// About how much memory it was counted with, in bytes.
    pub weight: u64,
}

/// The same, and where the leaf stands.
#[derive(Debug)]
pub struct SealedAside {
    /// The index of the leaf; of several parts, of the first.
    pub leaf: u64,
    /// The unit that the leaf binds, if it binds one.
    pub unit: Option<KeptUnit>,
    /// The boot and the numbers of the exchanges that a connection carried.
    pub carried: Option<(Id, Ranges)>,
    /// What the journal keeps until it is stored.
    pub held: Option<Held>,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// About how much memory it was counted with, in bytes.
    pub weight: u64,
}

impl SealedAside {
    /// Those of leaves at these places.
    #[must_use]
    pub fn of(all: impl Iterator<Item = (u64, Option<Box<Aside>>)>) -> Vec<Self> {
        let sealed = all.filter_map(|(leaf, aside)| {
            let Aside { unit, carried, held, sealed, weight } = *aside?;
            Some(Self { leaf, unit, carried, held, sealed, weight })
        });
        sealed.collect()
    }
}
