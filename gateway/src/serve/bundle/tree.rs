//! The published tree as a bundle needs it: one checkpoint, its leaves, their proofs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::Note;
use sealtap_common::tile::{Level, TilePath};
use sealtap_common::tree::{
    Hash, HashSource, MissingHash, consistency_proof, inclusion_proof, node_hash,
};

use crate::seal::log::{ReadError, read_entries};

/// How often the right edge is read again.
const ATTEMPTS: u32 = 10;

/// Tiles that are held at once; a proof needs one a level.
const HELD: usize = 256;

/// Why the tree cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file of the log.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is no checkpoint, or it cannot be read.
    #[error("{}: there is no checkpoint to prove anything under", path.display())]
    Checkpoint {
        /// Where it should be.
        path: PathBuf,
    },
    /// A hash tile is not there; the log may have moved on.
    #[error("the tree's hashes cannot be read: {0}")]
    Hash(#[from] MissingHash),
}

/// The tree under one checkpoint.
pub(in crate::serve) struct Tree {
    log: PathBuf,
    /// The signed checkpoint's bytes.
    pub(super) signed: Vec<u8>,
    /// Leaves in it.
    pub(in crate::serve) size: u64,
    /// The partial tiles of this size, which the log takes away as it grows.
    edge: HashMap<TilePath, Vec<Hash>>,
    /// Full tiles, which never change.
    tiles: RefCell<HashMap<TilePath, Vec<Hash>>>,
}

impl Tree {
    /// The tree as it is published now.
    pub(in crate::serve) fn open(log: &Path) -> Result<Self, TreeError> {
        let mut tries = 0;
        loop {
            match Self::look(log) {
                // The log moved on while its right edge was read.
                Err(TreeError::Hash(_)) if tries < ATTEMPTS => tries += 1,
                looked => return looked,
            }
        }
    }

    fn look(log: &Path) -> Result<Self, TreeError> {
        let path = log.join("checkpoint");
        let missing = || TreeError::Checkpoint { path: path.clone() };
        let signed = fs::read(&path).map_err(|_| missing())?;
        let note = Note::parse(&signed).map_err(|_| missing())?;
        let size = Checkpoint::parse(&note.text).map_err(|_| missing())?.size;
        let mut edge = HashMap::new();
        for level in 0..8_u8 {
            let index = size.checked_shr(u32::from(level) * 8 + 8).unwrap_or(0);
            let tile = TilePath::in_tree(Level::Hashes(level), index, size);
            if let Some(tile) = tile.filter(|tile| !tile.is_full()) {
                let hashes = read(log, &tile).ok_or(MissingHash { level: level * 8, index })?;
                edge.insert(tile, hashes);
            }
        }
        Ok(Self { log: log.to_owned(), signed, size, edge, tiles: RefCell::default() })
    }

    /// The leaves of a range.
    pub(in crate::serve) fn leaves(
        &self,
        range: std::ops::Range<u64>,
    ) -> Result<Vec<Vec<u8>>, TreeError> {
        Ok(read_entries(&self.log, range)?)
    }

    /// One leaf.
    pub(super) fn leaf(&self, index: u64) -> Result<Vec<u8>, TreeError> {
        let mut leaves = self.leaves(index..index.saturating_add(1))?;
        leaves.pop().ok_or(TreeError::Hash(MissingHash { level: 0, index }))
    }

    /// The inclusion proof of a leaf.
    pub(super) fn proof(&self, index: u64) -> Result<Vec<Hash>, TreeError> {
        Ok(inclusion_proof(self, index, self.size)?)
    }

    /// The proof that this tree grew out of its first `size` leaves.
    pub(super) fn consistency(&self, size: u64) -> Result<Vec<Hash>, TreeError> {
        Ok(consistency_proof(self, size, self.size)?)
    }

    /// The hashes of a tile.
    fn tile(&self, level: u8, index: u64) -> Option<Vec<Hash>> {
        let path = TilePath::in_tree(Level::Hashes(level), index, self.size)?;
        if let Some(found) = self.edge.get(&path) {
            return Some(found.clone());
        }
        if let Some(found) = self.tiles.borrow().get(&path) {
            return Some(found.clone());
        }
        let hashes = read(&self.log, &path)?;
        let mut tiles = self.tiles.borrow_mut();
        if tiles.len() >= HELD {
            tiles.clear();
        }
        tiles.insert(path, hashes.clone());
        Some(hashes)
    }
}

/// The hashes in a tile's file.
fn read(log: &Path, tile: &TilePath) -> Option<Vec<Hash>> {
    let bytes = fs::read(log.join(tile.to_string())).ok()?;
    Some(bytes.as_chunks::<32>().0.get(..usize::from(tile.width))?.to_vec())
}

impl HashSource for Tree {
    fn subtree(&self, level: u8, index: u64) -> Option<Hash> {
        let (tile_level, height) = (level / 8, level % 8);
        let first = index.checked_shl(u32::from(height))?;
        let tile = self.tile(tile_level, first / 256)?;
        let start = usize::try_from(first % 256).ok()?;
        let mut row = tile.get(start..start.checked_add(1 << height)?)?.to_vec();
        while row.len() > 1 {
            row = row.as_chunks::<2>().0.iter().map(|[a, b]| node_hash(a, b)).collect();
        }
        row.pop()
    }
}
