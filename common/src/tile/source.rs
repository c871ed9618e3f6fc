//! Proofs out of stored tiles: a [`HashSource`] over the hash tiles of a tree of one size.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{FULL_WIDTH, Level, TilePath};
use crate::tree::{Hash, HashSource, node_hash};

/// The hashes of a stored tree. Each tile is read once, when it is first needed.
///
/// What it gives is as right as the tiles are: check the proof that is made of it.
pub struct TileSource<F> {
    size: u64,
    read: F,
    tiles: RefCell<BTreeMap<TilePath, Option<Vec<Hash>>>>,
}

impl<F: Fn(&TilePath) -> Option<Vec<u8>>> TileSource<F> {
    /// The tree of `size` leaves whose hash tiles `read` gives.
    pub const fn new(size: u64, read: F) -> Self {
        Self { size, read, tiles: RefCell::new(BTreeMap::new()) }
    }

    fn tile(&self, tile: TilePath) -> Option<Vec<Hash>> {
        if let Some(held) = self.tiles.borrow().get(&tile) {
            return held.clone();
        }
        let hashes = (self.read)(&tile).and_then(|bytes| {
            let (hashes, rest) = bytes.as_chunks::<32>();
            let whole = hashes.len() == usize::from(tile.width) && rest.is_empty();
            whole.then(|| hashes.to_vec())
        });
        self.tiles.borrow_mut().insert(tile, hashes.clone());
        hashes
    }
}

impl<F: Fn(&TilePath) -> Option<Vec<u8>>> HashSource for TileSource<F> {
    fn subtree(&self, level: u8, index: u64) -> Option<Hash> {
        let within = level % 8;
        let first = index.checked_shl(u32::from(within)).filter(|at| at >> within == index)?;
        let width = u64::from(FULL_WIDTH);
        let tile = TilePath::in_tree(Level::Hashes(level / 8), first / width, self.size)?;
        let from = usize::try_from(first % width).ok()?;
        let mut row = self.tile(tile)?.get(from..from + (1_usize << within))?.to_vec();
        while row.len() > 1 {
            let (pairs, _) = row.as_chunks::<2>();
            row = pairs.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        row.first().copied()
    }
}
