//! Connections that earlier boots left: those whose leaves are in the log, and those that are still to
//! be sealed, with what the log says came over them.
//!
//! The journal keeps a connection's own records until its leaf is stored, but not those of exchanges
//! that are; which of them it carried the log says, since each exchange's leaf names its connection.

use std::collections::{BTreeSet, HashMap, HashSet};

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{CONNECTION_EXTENSION, CoverageSaid, Leaf, Ranges, connection_tag};
use sealtap_common::tree::Hash;

use super::aside::SealedAside;
use super::connections::DigestedConnection;
use super::log::Log;
use super::recovery::{RecoveryError, STRIDE, leaves};

/// What became of connections that the journal tells of.
#[derive(Debug, Default)]
pub(super) struct Connections {
    /// To be sealed.
    pub(super) unsealed: Vec<Box<DigestedConnection>>,
    /// To be stored: their leaves are in the log.
    pub(super) sealed: Vec<SealedAside>,
    /// Of coverages that the log never heard of: nobody will be told of these.
    pub(super) unheard: HashSet<[u8; 16]>,
}

/// What the log says of one.
#[derive(Default)]
struct Found {
    leaf: Option<u64>,
    exchanges: BTreeSet<u64>,
}

/// Holds connections against the log; looks back as far as the restart of their oldest boot.
pub(super) fn reconcile(
    log: &Log,
    connections: Vec<Box<DigestedConnection>>,
) -> Result<Connections, RecoveryError> {
    let mut boots: HashSet<[u8; 16]> =
        connections.iter().map(|connection| connection.leaf.boot.0).collect();
    let mut found: HashMap<Hash, Found> = connections
        .iter()
        .map(|connection| (connection_tag(&connection.leaf.connection), Found::default()))
        .collect();
    let mut armed: HashSet<Id> = HashSet::new();
    let mut end = log.size();
    while end > 0 && !boots.is_empty() {
        let start = end.saturating_sub(STRIDE);
        for (index, _, leaf) in leaves(log, start..end)?.into_iter().rev() {
            match leaf {
                Leaf::Connection(leaf) => {
                    if let Some(found) = found.get_mut(&connection_tag(&leaf.connection)) {
                        // From behind: the first part comes last.
                        found.leaf = Some(index);
                    }
                }
                Leaf::Exchange(leaf) => {
                    let tag = leaf.ext.get(CONNECTION_EXTENSION);
                    if let Some(found) = tag.and_then(|tag| found.get_mut(tag)) {
                        found.exchanges.insert(leaf.number);
                    }
                }
                Leaf::Coverage(leaf) => {
                    if let CoverageSaid::Armed(_) = leaf.said {
                        armed.insert(leaf.coverage);
                    }
                }
                Leaf::Restart(leaf) => {
                    boots.remove(&leaf.boot.0);
                }
                _ => {}
            }
        }
        end = start;
    }
    let mut all = Connections::default();
    for mut connection in connections {
        let said = found.remove(&connection_tag(&connection.leaf.connection)).unwrap_or_default();
        let own = connection.leaf.exchanges.as_slice().iter();
        let own = own.flat_map(|(first, last)| *first..=*last);
        let exchanges = Ranges::from_numbers(said.exchanges.into_iter().chain(own));
        let held = Some(connection.held());
        if let Some(leaf) = said.leaf {
            let carried = Some((connection.leaf.boot, exchanges));
            all.sealed.push(SealedAside { leaf, unit: connection.unit, carried, held });
        } else if armed.contains(&connection.leaf.coverage) {
            connection.leaf.exchanges = exchanges;
            all.unsealed.push(connection);
        } else {
            all.unheard.insert(connection.leaf.connection.0);
        }
    }
    Ok(all)
}
