//! What leaves bind that are none of exchanges: who made a connection, and which exchanges it carried.

use sealtap_common::encoding::Id;
use sealtap_common::leaf::Ranges;

use super::connections::KeptUnit;
use super::pins::Held;

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
