//! What leaves bind that are none of exchanges: who made a connection, and which exchanges it carried.

use sealtap_common::encoding::Id;
use sealtap_common::leaf::Ranges;

use super::connections::KeptUnit;
use super::pins::Held;

/// It, before its leaf stands in the log.
#[derive(Debug)]
pub struct Aside {
    /// The unit that the leaf binds.
    pub unit: KeptUnit,
    /// The boot and the numbers of the exchanges that a connection carried.
    pub carried: Option<(Id, Ranges)>,
    /// What the journal keeps until it is stored.
    pub held: Option<Held>,
}

/// The same, and where the leaf stands.
#[derive(Debug)]
pub struct SealedAside {
    /// The index of the leaf; of several parts, of the first.
    pub leaf: u64,
    /// The unit that the leaf binds.
    pub unit: KeptUnit,
    /// The boot and the numbers of the exchanges that a connection carried.
    pub carried: Option<(Id, Ranges)>,
    /// What the journal keeps until it is stored.
    pub held: Option<Held>,
}

impl SealedAside {
    /// Those of leaves at these places.
    #[must_use]
    pub fn of(all: impl Iterator<Item = (u64, Option<Box<Aside>>)>) -> Vec<Self> {
        let sealed = all.filter_map(|(leaf, aside)| {
            let Aside { unit, carried, held } = *aside?;
            Some(Self { leaf, unit, carried, held })
        });
        sealed.collect()
    }
}
