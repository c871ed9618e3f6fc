//! The growing end of the log in memory, and the files that a batch of leaves makes of it. Pure.

use std::collections::BTreeMap;

use sealtap_common::tile::{Edge, Level, TilePath, push_entry};
use sealtap_common::tree::leaf_hash;
use sealtap_common::{Hash, checkpoint::Checkpoint};

use super::LogError;

/// Hash levels that a tree of 2^64 leaves can have.
const LEVELS: u8 = 8;

/// Whole tile files by their path.
pub(super) type Files = BTreeMap<TilePath, Vec<u8>>;

/// Everything that appending needs of the leaves before: the unfinished tile of each level.
#[derive(Clone, Debug, Default)]
pub(super) struct Tip {
    edge: Edge,
    /// The last entry bundle, if it is not full: kept so that the next batch need not read it.
    bundle: Vec<u8>,
}

/// What a batch makes of a tip.
pub(super) struct Grown {
    /// The tip after the batch.
    pub(super) tip: Tip,
    /// The files that the tree after it has and the tree before it had not.
    pub(super) files: Files,
    /// The leaf hashes of the batch, which tell whether a batch is offered again.
    pub(super) hashes: Vec<Hash>,
}

impl Tip {
    pub(super) const fn new(edge: Edge, bundle: Vec<u8>) -> Self {
        Self { edge, bundle }
    }

    pub(super) const fn size(&self) -> u64 {
        self.edge.size()
    }

    pub(super) fn root(&self) -> Hash {
        self.edge.root()
    }

    /// The unsigned checkpoint of this tip.
    pub(super) fn checkpoint(&self, origin: &str) -> Checkpoint {
        Checkpoint { origin: origin.to_owned(), size: self.size(), root: self.root() }
    }

    /// What `leaves` make of this tip, which itself does not change.
    pub(super) fn grow(&self, leaves: &[Vec<u8>]) -> Result<Grown, LogError> {
        let mut tip = self.clone();
        let mut files = Files::new();
        let mut hashes = Vec::with_capacity(leaves.len());
        for (position, leaf) in leaves.iter().enumerate() {
            push_entry(&mut tip.bundle, leaf)
                .map_err(|_| LogError::LeafTooLong { position, length: leaf.len() })?;
            let hash = leaf_hash(leaf);
            hashes.push(hash);
            tip.edge.push(hash, |path, bytes| {
                files.insert(path, bytes.to_vec());
            });
            if let Some(path) = last_bundle(tip.size()).filter(TilePath::is_full) {
                files.insert(path, std::mem::take(&mut tip.bundle));
            }
        }
        let before = self.size();
        let is_new = |path: &TilePath| !(path.sizes().0..path.sizes().1).contains(&before);
        let partial = tip.edge.partial_tiles().filter(|(path, _)| is_new(path));
        files.extend(partial.map(|(path, bytes)| (path, bytes.to_vec())));
        if let Some(path) = last_bundle(tip.size()).filter(|path| !path.is_full() && is_new(path)) {
            files.insert(path, tip.bundle.clone());
        }
        Ok(Grown { tip, files, hashes })
    }
}

/// The entry bundle that holds the last leaf.
fn last_bundle(size: u64) -> Option<TilePath> {
    TilePath::in_tree(Level::Entries, size.checked_sub(1)? / 256, size)
}

/// The partial tiles of a tree: at most one a level, and one entry bundle.
pub(super) fn partial_tiles(size: u64) -> impl Iterator<Item = TilePath> {
    let hashes = (0..LEVELS).filter_map(move |level| {
        let index = size.checked_shr(u32::from(level) * 8 + 8).unwrap_or(0);
        TilePath::in_tree(Level::Hashes(level), index, size)
    });
    last_bundle(size).into_iter().chain(hashes).filter(|path| !path.is_full())
}
