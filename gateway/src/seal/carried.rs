//! Connections that earlier boots left: those whose leaves are in the log, and those that are still to
//! be sealed, with what the log says came over them. Ways around and names of earlier boots as well, as
//! far as their leaves are in the log: the others are counted by no statement, and never will be.
//!
//! The journal keeps a connection's own records until its leaf is stored, but not those of exchanges
//! that are; which of them it carried the log says, since each exchange's leaf names its connection.

use std::collections::{BTreeSet, HashMap, HashSet};

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    CONNECTION_EXTENSION, ConnectionEnd, CoverageSaid, Leaf, Ranges, connection_tag,
};
use sealtap_common::tree::Hash;

use super::aside::SealedAside;
use super::connections::{DigestedConnection, KeptUnit};
use super::log::Log;
use super::pins::Held;
use super::recovery::{RecoveryError, STRIDE, leaves};
use crate::capture::record::kind;

/// A way around, or names, that the journal still has: what it keeps for it, its boot, and the unit.
pub(super) type Noted = (Held, [u8; 16], KeptUnit);

/// What became of connections, ways around and names that the journal tells of.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// To be sealed.
    pub(super) unsealed: Vec<DigestedConnection>,
    /// To be stored: their leaves are in the log.
    pub(super) sealed: Vec<SealedAside>,
    /// Of coverages that the log never heard of, and ways around and names without a leaf: nobody will
    /// be told of these.
    pub(super) unheard: Vec<Held>,
}

/// What the log says of one.
#[derive(Default)]
struct Found {
    /// Its index, and when it was sealed.
    leaf: Option<(u64, u64)>,
    exchanges: BTreeSet<u64>,
}

/// Holds what the journal tells of against the log; looks back as far as the restart of its oldest boot.
pub(super) fn reconcile(
    log: &Log,
    connections: Vec<DigestedConnection>,
    noted: Vec<Noted>,
) -> Result<Reconciled, RecoveryError> {
    let mut boots: HashSet<[u8; 16]> =
        connections.iter().map(|connection| connection.leaf.boot.0).collect();
    boots.extend(noted.iter().map(|(_, boot, _)| *boot));
    let mut noted: HashMap<Held, KeptUnit> =
        noted.into_iter().map(|(held, _, unit)| (held, unit)).collect();
    let mut all = Reconciled::default();
    let mut found: HashMap<Hash, Found> = connections
        .iter()
        .map(|connection| (connection_tag(&connection.leaf.connection), Found::default()))
        .collect();
    // The last statement of each coverage that was armed, and that each of the others has.
    let (mut armed, mut stated) = (HashSet::new(), HashMap::<Id, u64>::new());
    let mut end = log.size();
    while end > 0 && !boots.is_empty() {
        let start = end.saturating_sub(STRIDE);
        for (index, _, leaf) in leaves(log, start..end)?.into_iter().rev() {
            match leaf {
                Leaf::Connection(leaf) => {
                    if let Some(found) = found.get_mut(&connection_tag(&leaf.connection)) {
                        // From behind: the first part comes last.
                        found.leaf = Some((index, leaf.sealed));
                    }
                }
                Leaf::Exchange(leaf) => {
                    let tag = leaf.ext.get(CONNECTION_EXTENSION);
                    if let Some(found) = tag.and_then(|tag| found.get_mut(tag)) {
                        found.exchanges.insert(leaf.number);
                    }
                }
                Leaf::Coverage(leaf) => {
                    let last = stated.entry(leaf.coverage).or_default();
                    match &leaf.said {
                        CoverageSaid::Armed(_) => drop(armed.insert(leaf.coverage)),
                        CoverageSaid::Heartbeat(said) => *last = said.number.max(*last),
                        CoverageSaid::Closed(_, _, number, _) => *last = (*number).max(*last),
                        CoverageSaid::Canary(_) => {}
                    }
                }
                Leaf::Bypass(leaf) => {
                    let held = Held::Aside(kind::WENT_AROUND, leaf.coverage.0, leaf.number);
                    let found = noted.remove_entry(&held);
                    all.sealed.extend(found.map(|unit| bound_at(index, leaf.sealed, unit)));
                }
                Leaf::DnsQueries(leaf) => {
                    let held = Held::Aside(kind::NAMES_ASKED, leaf.coverage.0, leaf.number);
                    let found = noted.remove_entry(&held);
                    all.sealed.extend(found.map(|unit| bound_at(index, leaf.sealed, unit)));
                }
                Leaf::Restart(leaf) => {
                    boots.remove(&leaf.boot.0);
                }
                _ => {}
            }
        }
        end = start;
    }
    all.unheard.extend(noted.into_keys());
    for mut connection in connections {
        let said = found.remove(&connection_tag(&connection.leaf.connection)).unwrap_or_default();
        let own = connection.leaf.exchanges.as_slice().iter();
        let own = own.flat_map(|(first, last)| *first..=*last);
        let exchanges = Ranges::from_numbers(said.exchanges.into_iter().chain(own));
        let held = Some(connection.held());
        if let Some((leaf, sealed)) = said.leaf {
            let carried = Some((connection.leaf.boot, exchanges));
            let unit = Some(connection.unit);
            all.sealed.push(SealedAside { leaf, unit, carried, held, sealed, weight: 0 });
        } else if armed.contains(&connection.leaf.coverage) {
            connection.leaf.exchanges = exchanges;
            if connection.leaf.end == ConnectionEnd::Interrupted {
                // The journal may not have what was stated while it was open.
                let last = stated.get(&connection.leaf.coverage).copied().unwrap_or_default();
                connection.leaf.last = connection.leaf.last.max(last.saturating_add(1));
            }
            all.unsealed.push(connection);
        } else {
            all.unheard.extend(held);
        }
    }
    Ok(all)
}

fn bound_at(leaf: u64, sealed: u64, (held, unit): (Held, KeptUnit)) -> SealedAside {
    SealedAside { leaf, unit: Some(unit), carried: None, held: Some(held), sealed, weight: 0 }
}
