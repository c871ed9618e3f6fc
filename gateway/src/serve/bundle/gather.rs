//! What goes into a run's bundle: its leaves, and those that say how it began and ended.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use sealtap_common::leaf::{CONNECTION_EXTENSION, KeyRole, Leaf};
use sealtap_common::record::{Envelope, statement};
use sealtap_common::tree::Hash;

use super::BundleError;
use super::beside::Beside;
use super::covered::{self, Covering};
use super::tree::Tree;
use crate::data::DataDir;
use crate::store::{RunFilter, RunSummary, StoreReader, StoredExchange};

/// How long to wait for what is sealed and not stored yet: `TRIES` times `PAUSE`.
pub(super) const TRIES: u32 = 100;
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// How long to wait for witnesses to see all of the run, in `PAUSE`; without them it is all the same
/// a bundle.
const WITNESS_TRIES: u32 = 20;

/// Leaves read at a time while looking for one.
pub(super) const STRIDE: u64 = 1_024;

/// Exchanges read at a time.
const PAGE: u32 = 200;

/// The leaves of a bundle.
pub(super) struct Gathered {
    pub(super) tree: Tree,
    /// The run's exchanges, whose bytes are in the store, by the index of their leaf: the position.
    pub(super) exchanges: BTreeMap<u64, u64>,
    /// The other leaves.
    pub(super) context: BTreeMap<u64, Vec<u8>>,
    /// The leaves about coverages.
    pub(super) coverings: BTreeMap<u64, Covering>,
    /// The run record, if the run is closed.
    pub(super) record: Option<Vec<u8>>,
    /// What others vouch for.
    pub(super) beside: Beside,
}

impl Gathered {
    pub(super) fn last_position(&self) -> u64 {
        self.exchanges.last_key_value().map_or(0, |(_, position)| *position)
    }
}

/// Gathers the leaves of the run `id` under the newest checkpoint.
pub(super) fn gather(
    data: &DataDir,
    store: &StoreReader,
    id: [u8; 16],
) -> Result<Gathered, BundleError> {
    let (tree, summary, beside) = settled(data, store, id)?;
    let origin = origin(&tree);
    let beside = beside.about(summary.first);
    let (exchanges, context, coverings) = Default::default();
    let mut gathered = Gathered { tree, exchanges, context, coverings, record: None, beside };
    let mut inside = BTreeMap::new();
    let size = gathered.tree.size;
    let mut next = 0;
    loop {
        let page = store.page(next, PAGE, RunFilter::Id(id))?;
        let Some(last) = page.last() else { break };
        next = last.leaf_index.saturating_add(1);
        for stored in page.iter().filter(|stored| stored.leaf_index < size) {
            let (position, over) = placed(stored)?;
            gathered.exchanges.insert(stored.leaf_index, position);
            inside.extend(over.map(|over| (stored.leaf_index, over)));
        }
    }
    let bounds = gathered.exchanges.keys().next().zip(gathered.exchanges.keys().next_back());
    let Some((first, last)) = bounds.map(|(first, last)| (*first, *last)) else {
        return Err(BundleError::NotFound { text: sealtap_common::Id(id).to_string() });
    };
    let mut end = last;
    if let Some(record) = &summary.record {
        let Ok(Leaf::RunClosed(closed)) = Leaf::decode(&record.closed) else {
            return Err(BundleError::Leaf { index: record.closed_index });
        };
        let payload = statement(&origin, record.closed_index, &closed);
        let (key_id, signature) = (record.key_id.clone(), record.signature);
        gathered.record = Some(Envelope { payload, key_id, signature }.encode());
        for index in [record.closed_index, record.record_index] {
            let leaf = gathered.tree.leaf(index)?;
            gathered.context.insert(index, leaf);
        }
        end = record.record_index;
    }
    behind(&mut gathered, &summary, (first, end))?;
    before(&mut gathered, &summary, first)?;
    covered::gather(&mut gathered, store, &inside)?;
    if let Some(seen) = gathered.beside.seen_beyond(end) {
        // Nothing needs the heartbeat: all that is shown of the run is then witnessed.
        gathered.context.retain(|index, leaf| *index < seen || !holds(leaf, HEARTBEAT));
    }
    key_changes(&mut gathered)?;
    Ok(gathered)
}

/// Every change of the log's key, and those of the run-record key where there is a record: so that
/// whoever holds any key of the chain can follow it.
fn key_changes(gathered: &mut Gathered) -> Result<(), BundleError> {
    let (size, mut at) = (gathered.tree.size, 0);
    while at < size {
        let stop = at.saturating_add(STRIDE).min(size);
        for (index, bytes) in (at..stop).zip(gathered.tree.leaves(at..stop)?) {
            if !holds(&bytes, b"\"kind\":\"key-change\"") {
                continue;
            }
            let Ok(Leaf::KeyChange(leaf)) = Leaf::decode(&bytes) else {
                return Err(BundleError::Leaf { index });
            };
            if leaf.role == KeyRole::Log || gathered.record.is_some() {
                gathered.context.insert(index, bytes);
            }
        }
        at = stop;
    }
    Ok(())
}

/// The newest tree of which every exchange and record of the run is in the store, and what others
/// vouch for of it.
fn settled(
    data: &DataDir,
    store: &StoreReader,
    id: [u8; 16],
) -> Result<(Tree, RunSummary, Beside), BundleError> {
    let mut unseen = 0;
    for _ in 0..TRIES {
        let beside = Beside::read(data);
        let tree = Tree::open(&data.log())?;
        let watermark = store.watermark()?;
        let mut waiting = false;
        let mut at = watermark;
        while at < tree.size && !waiting {
            let end = at.saturating_add(STRIDE).min(tree.size);
            waiting = tree.leaves(at..end)?.iter().any(|leaf| match Leaf::decode(leaf) {
                Ok(Leaf::Exchange(leaf)) => leaf.run.id.0 == id,
                Ok(Leaf::RunClosed(leaf)) => {
                    leaf.run.0 == id
                        && !matches!(store.run(&id), Ok(Some(run)) if run.record.is_some())
                }
                _ => false,
            });
            at = end;
        }
        let summary = store.run(&id)?;
        if let Some(summary) = summary.filter(|_| !waiting) {
            let record = summary.record.as_ref().map_or(0, |record| record.record_index);
            let last = record.max(summary.last.min(tree.size.saturating_sub(1)));
            if record < tree.size && (unseen == WITNESS_TRIES || !beside.lags(last)) {
                return Ok((tree, summary, beside));
            }
            unseen += u32::from(record < tree.size);
        }
        sleep(PAUSE);
    }
    Err(BundleError::Pending)
}

/// Looks back for the restart of the run's boot, and takes the leaf that opened the run.
fn before(gathered: &mut Gathered, summary: &RunSummary, first: u64) -> Result<(), BundleError> {
    let mut end = first;
    while end > 0 {
        let start = end.saturating_sub(STRIDE);
        let leaves = gathered.tree.leaves(start..end)?;
        let leaves: Vec<_> = (start..end).zip(leaves).collect();
        for (index, bytes) in leaves.into_iter().rev() {
            let in_front = index.checked_add(1) == Some(first);
            // Most leaves are exchanges: not worth reading to the end.
            if !in_front && !holds(&bytes, b"\"kind\":\"restart\"") {
                continue;
            }
            match Leaf::decode(&bytes) {
                Ok(Leaf::RunOpened(leaf)) if leaf.run.0 == summary.id => {
                    gathered.context.insert(index, bytes);
                }
                Ok(Leaf::Restart(leaf)) if leaf.boot.0 == summary.boot => {
                    gathered.context.insert(index, bytes);
                    return Ok(());
                }
                // All of the run was under way when its boot was killed, and was sealed in the next.
                Ok(Leaf::Restart(leaf))
                    if leaf.previous.as_ref().is_some_and(|boot| boot.boot.0 == summary.boot) =>
                {
                    gathered.context.insert(index, bytes);
                }
                _ => {}
            }
        }
        end = start;
    }
    Err(BundleError::Leaf { index: 0 })
}

/// Looks ahead from the run's first leaf: for the first heartbeat of its boot behind the run, and,
/// where the store has no record of the run, for what the log says of its end: a closing leaf, or
/// the restart that accounts for its boot.
fn behind(
    gathered: &mut Gathered,
    summary: &RunSummary,
    (first, last): (u64, u64),
) -> Result<(), BundleError> {
    let (mut heartbeat, mut ended) = (false, summary.record.is_some());
    let size = gathered.tree.size;
    let mut at = first.saturating_add(1);
    while at < size && !(heartbeat && ended) {
        let stop = at.saturating_add(STRIDE).min(size);
        let leaves = gathered.tree.leaves(at..stop)?;
        for (index, bytes) in (at..stop).zip(leaves) {
            // Most leaves are exchanges: not worth reading to the end.
            if !WORTH_READING.iter().any(|kind| holds(&bytes, kind)) {
                continue;
            }
            let wanted = match Leaf::decode(&bytes) {
                Ok(Leaf::Heartbeat(leaf)) => {
                    let first_behind = !heartbeat && index > last && leaf.parts == 1;
                    let wanted = first_behind && leaf.boot.0 == summary.boot;
                    heartbeat |= wanted;
                    wanted
                }
                Ok(Leaf::RunClosed(leaf)) if !ended => {
                    ended = leaf.run.0 == summary.id;
                    ended
                }
                Ok(Leaf::Restart(leaf)) => {
                    if leaf.previous.is_none_or(|boot| boot.boot.0 != summary.boot) {
                        continue;
                    }
                    if !ended {
                        gathered.context.insert(index, bytes);
                    }
                    // Nothing of that boot but interrupted exchanges comes behind.
                    return Ok(());
                }
                _ => false,
            };
            if wanted {
                gathered.context.insert(index, bytes);
            }
        }
        at = stop;
    }
    Ok(())
}

const HEARTBEAT: &[u8] = b"\"kind\":\"heartbeat\"";

/// Kinds that say how a run ended.
const WORTH_READING: [&[u8]; 3] = [HEARTBEAT, b"\"kind\":\"restart\"", b"\"kind\":\"run-closed\""];

pub(super) fn holds(leaf: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(leaf, text).is_some()
}

/// Its position in the run; and its number, with what its leaf says of the connection it came over.
fn placed(stored: &StoredExchange) -> Result<(u64, Option<(u64, Hash)>), BundleError> {
    match Leaf::decode(&stored.leaf) {
        Ok(Leaf::Exchange(leaf)) => {
            let over = leaf.ext.get(CONNECTION_EXTENSION);
            Ok((leaf.run.position, over.map(|tag| (leaf.number, *tag))))
        }
        _ => Err(BundleError::Leaf { index: stored.leaf_index }),
    }
}

/// The log's name: the checkpoint's first line.
fn origin(tree: &Tree) -> String {
    let text = String::from_utf8_lossy(&tree.signed);
    text.lines().next().unwrap_or_default().to_owned()
}
