//! The leaves that say what was covered while a run's exchanges were under way: the connections that these
//! came over, and of their coverages what was stated meanwhile.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::thread::sleep;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{Coverage, CoverageSaid, Leaf, Ranges, connection_tag};
use sealtap_common::tree::Hash;

use super::BundleError;
use super::gather::{Gathered, PAUSE, STRIDE, holds};
use crate::store::{KeptAside, StoreReader};

/// How long to wait for all that the leaves bind and the store does not have yet, in `PAUSE`: some of it
/// may never come.
const TRIES: u32 = 20;

/// A leaf about a coverage, and what the store keeps for it.
pub(super) struct Covering {
    pub(super) leaf: Vec<u8>,
    /// Who it is about; none where nobody is, or where that is gone.
    pub(super) maker: Option<KeptAside>,
    /// The positions in the run of the exchanges that the connection carried, with its first part.
    pub(super) carried: Vec<u64>,
}

/// What is wanted of one coverage: from the statement before the first connection came to the one by
/// which the last was over.
struct Stretch {
    first: u64,
    last: u64,
    /// Whether what follows is wanted, and whether nothing does any more.
    wanted: bool,
    over: bool,
}

/// Gathers those leaves. `exchanges` are those of the run that came over connections, by index: number,
/// and what the leaf says of its connection.
pub(super) fn gather(
    gathered: &mut Gathered,
    store: &StoreReader,
    exchanges: &BTreeMap<u64, (u64, Hash)>,
) -> Result<(), BundleError> {
    let Some((first, _)) = exchanges.first_key_value() else { return Ok(()) };
    let positions: BTreeMap<u64, u64> = exchanges
        .iter()
        .filter_map(|(index, (number, _))| Some((*number, *gathered.exchanges.get(index)?)))
        .collect();
    let mut waiting: HashSet<Hash> = exchanges.values().map(|(_, tag)| *tag).collect();
    let mut stretches = HashMap::<Id, Stretch>::new();
    let (mut found, size) = (BTreeMap::new(), gathered.tree.size);
    each(gathered, *first..size, &[b"\"kind\":\"connection\""], |index, bytes, leaf| {
        let Leaf::Connection(leaf) = leaf else { return true };
        let tag = connection_tag(&leaf.connection);
        if !waiting.contains(&tag) {
            return true;
        }
        let stretch = stretches.entry(leaf.coverage).or_insert(Stretch {
            first: leaf.first,
            last: leaf.last,
            wanted: false,
            over: false,
        });
        stretch.first = stretch.first.min(leaf.first);
        stretch.last = stretch.last.max(leaf.last);
        if leaf.part == leaf.parts {
            waiting.remove(&tag);
        }
        found.insert(index, (bytes, Vec::new(), leaf.part == 1));
        // The first part has the maker, be the exchanges of the run in a later one.
        let first = index.saturating_sub(leaf.part.saturating_sub(1));
        if let Some((_, of_all, _)) = found.get_mut(&first) {
            of_all.extend(carried(&positions, &leaf.exchanges));
        }
        !waiting.is_empty()
    })?;
    let restart = gathered.context.keys().next().copied().unwrap_or_default();
    let kinds: [&[u8]; 2] = [b"\"kind\":\"coverage-", b"\"kind\":\"bypass\""];
    if !stretches.is_empty() {
        each(gathered, restart..size, &kinds, |index, bytes, leaf| {
            if let Some(has_maker) = is_wanted(&mut stretches, leaf) {
                found.insert(index, (bytes, Vec::new(), has_maker));
            }
            stretches.values().any(|stretch| !stretch.over)
        })?;
    }
    let mut tries = TRIES;
    for (index, (leaf, carried, has_maker)) in found {
        let maker = if has_maker { kept(store, index, &mut tries)? } else { None };
        gathered.coverings.insert(index, Covering { leaf, maker, carried });
    }
    Ok(())
}

/// Whether a leaf about a coverage is wanted, and then whether it binds who it is about.
fn is_wanted(stretches: &mut HashMap<Id, Stretch>, leaf: &Leaf) -> Option<bool> {
    let (coverage, has_maker) = match leaf {
        Leaf::Coverage(leaf) => (leaf.coverage, false),
        Leaf::Bypass(leaf) => (leaf.coverage, leaf.who.is_some()),
        _ => return None,
    };
    let stretch = stretches.get_mut(&coverage).filter(|stretch| !stretch.over)?;
    let Leaf::Coverage(leaf) = leaf else { return stretch.wanted.then_some(has_maker) };
    let Coverage { said, .. } = &**leaf;
    let number = match said {
        CoverageSaid::Armed(_) => {
            // What was counted by statement 1 is held against nothing: it needs all that it counts.
            stretch.wanted = stretch.first <= 2;
            return Some(false);
        }
        CoverageSaid::Canary(_) => return stretch.wanted.then_some(false),
        CoverageSaid::Heartbeat(statement) => statement.number,
        CoverageSaid::Closed(_, _, number, _) => *number,
    };
    stretch.wanted |= number.saturating_add(1) >= stretch.first;
    stretch.over = number >= stretch.last || matches!(said, CoverageSaid::Closed(..));
    stretch.wanted.then_some(false)
}

/// The positions of those exchanges of the run that are among `exchanges`.
fn carried(positions: &BTreeMap<u64, u64>, exchanges: &Ranges) -> Vec<u64> {
    let each = exchanges.as_slice().iter();
    each.flat_map(|(first, last)| positions.range(*first..=*last)).map(|(_, at)| *at).collect()
}

/// What the store keeps for a leaf, which may be on its way there for as many `tries` as are left.
fn kept(
    store: &StoreReader,
    index: u64,
    tries: &mut u32,
) -> Result<Option<KeptAside>, BundleError> {
    loop {
        if let Some(kept) = store.aside(index)? {
            return Ok(Some(kept));
        }
        if *tries == 0 || store.is_gone(index)? {
            return Ok(None);
        }
        *tries = tries.saturating_sub(1);
        sleep(PAUSE);
    }
}

/// Calls `each` with the leaves of a range that hold any of these texts, until it wants no more.
fn each(
    gathered: &Gathered,
    range: Range<u64>,
    texts: &[&[u8]],
    mut each: impl FnMut(u64, Vec<u8>, &Leaf) -> bool,
) -> Result<(), BundleError> {
    let mut at = range.start;
    while at < range.end {
        let stop = at.saturating_add(STRIDE).min(range.end);
        for (index, bytes) in (at..stop).zip(gathered.tree.leaves(at..stop)?) {
            if !texts.iter().any(|text| holds(&bytes, text)) {
                continue;
            }
            let leaf = Leaf::decode(&bytes).map_err(|_| BundleError::Leaf { index })?;
            if !each(index, bytes, &leaf) {
                return Ok(());
            }
        }
        at = stop;
    }
    Ok(())
}
