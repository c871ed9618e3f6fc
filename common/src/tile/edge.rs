//! The right edge of a tiled tree: makes hash tiles from leaf hashes as they come.

use super::{FULL_WIDTH, Level, TilePath};
use crate::tree::{EMPTY_ROOT, Hash, node_hash};

/// The unfinished hash tile of each level. Whoever appends leaves gets every tile that becomes full;
/// [`Edge::partial_tiles`] gives the rest of what a checkpoint at this size needs.
///
/// Holds at most 255 hashes per level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// Why an edge could not be restored from stored tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The source does not have the tile.
    #[error("{0} is missing")]
    Missing(TilePath),
    /// The tile's bytes are not `width` hashes.
    #[error("{0} does not hold exactly its hashes")]
    Length(TilePath),
}

impl Edge {
    /// A tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a stored tree of `size` leaves again; `read` gives the bytes of one hash tile.
    ///
    /// Reads one partial tile a level. Compare [`Edge::root`] with the checkpoint afterwards.
    ///
    /// # Errors
    /// [`RestoreError`] names the tile that is missing or misshapen.
    pub fn restore(
        size: u64,
        mut read: impl FnMut(&TilePath) -> Option<Vec<u8>>,
    ) -> Result<Self, RestoreError> {
        let mut levels = Vec::new();
        let mut nodes = size;
        for level in 0..8 {
            if nodes == 0 {
                break;
            }
            let (index, width) = (nodes / u64::from(FULL_WIDTH), nodes % u64::from(FULL_WIDTH));
            let mut hashes = Vec::new();
            if let Some(path) = u16::try_from(width)
                .ok()
                .filter(|width| *width > 0)
                .map(|width| TilePath { level: Level::Hashes(level), index, width })
            {
                let bytes = read(&path).ok_or(RestoreError::Missing(path))?;
                let (chunks, rest) = bytes.as_chunks::<32>();
                if chunks.len() != usize::from(path.width) || !rest.is_empty() {
                    return Err(RestoreError::Length(path));
                }
                hashes.extend_from_slice(chunks);
            }
            levels.push(hashes);
            nodes = index;
        }
        Ok(Self { size, levels })
    }

    /// Appends a leaf by its hash; `full` is called with each hash tile that this completes, lowest
    /// level first, and its 8,192 bytes.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(TilePath, &[u8])) {
        let mut nodes = self.size;
        self.size += 1;
        let mut hash = leaf;
        for level in 0..8_u8 {
            if self.levels.len() <= usize::from(level) {
                self.levels.push(Vec::with_capacity(usize::from(FULL_WIDTH)));
            }
            let Some(tile) = self.levels.get_mut(usize::from(level)) else { return };
            tile.push(hash);
            if tile.len() < usize::from(FULL_WIDTH) {
                return;
            }
            let index = nodes / u64::from(FULL_WIDTH);
            full(
                TilePath { level: Level::Hashes(level), index, width: FULL_WIDTH },
                tile.as_flattened(),
            );
            hash = perfect_root(tile);
            tile.clear();
            nodes = index;
        }
    }

    /// The number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree as it is now.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut right: Option<Hash> = None;
        for tile in &self.levels {
            // A tile of k nodes is one perfect subtree per set bit of k, the smallest at its end.
            let mut end = tile.len();
            while end > 0 {
                let start = end & (end - 1);
                if let Some(nodes) = tile.get(start..end) {
                    let left = perfect_root(nodes);
                    right = Some(right.map_or(left, |right| node_hash(&left, &right)));
                }
                end = start;
            }
        }
        right.unwrap_or(EMPTY_ROOT)
    }

    /// The partial hash tiles that a checkpoint at this size needs, with their bytes.
    pub fn partial_tiles(&self) -> impl Iterator<Item = (TilePath, &[u8])> {
        (0_u8..).zip(&self.levels).filter_map(|(level, hashes)| {
            let width = u16::try_from(hashes.len()).ok().filter(|width| *width > 0)?;
            let nodes = self.size.checked_shr(u32::from(level) * 8).unwrap_or(0);
            let index = nodes / u64::from(FULL_WIDTH);
            let path = TilePath { level: Level::Hashes(level), index, width };
            Some((path, hashes.as_flattened()))
        })
    }
}

/// The root over a power of two of nodes.
fn perfect_root(nodes: &[Hash]) -> Hash {
    let mut row: Vec<Hash> = nodes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().unwrap_or(EMPTY_ROOT)
}
