//! Whether the files of a log are those of a signed tree.
//!
//! In: the tree that the checkpoint signs, and where its files are (in `log/`, or still in
//! `staging/`). Out: the tip to go on from, or the first file that is wrong. Changes nothing. Up to
//! [`FULL_CHECK`] leaves every byte is checked; in a larger log the right edge, the tiles of the
//! last [`RECENT_TILES`] times 256 leaves, and that no file is missing or strange.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sealtap_common::Hash;
use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::tile::{Edge, FULL_WIDTH, Level, RestoreError, TilePath, entries, tiles};
use sealtap_common::tree::leaf_hash;

use super::LogError;
use super::disk::{Disk, Kind};
use super::staging::{Directories, relative};
use super::tip::{Tip, partial_tiles};

/// Leaves up to which a log is checked whole when it is opened: about a second of reading and
/// hashing for each million leaves of a kilobyte.
pub(super) const FULL_CHECK: u64 = 1_000_000;

/// Full bundles before the right edge that are checked in a larger log.
const RECENT_TILES: u64 = 64;

/// The files of a log, found by looking.
pub(super) struct Found {
    /// Tiles of the tree, and where each is read from.
    tiles: BTreeMap<TilePath, PathBuf>,
    /// Those of them that have yet to move into the log.
    pub(super) waiting: BTreeSet<TilePath>,
    /// Partial tiles of earlier checkpoints that a crash kept from being removed.
    pub(super) superseded: Vec<TilePath>,
    /// Directories in the log without a file in them, deepest first.
    pub(super) empty: Vec<PathBuf>,
    /// The tree they are to be of.
    size: u64,
}

impl Found {
    /// Looks through `log/` and `staging/` for the files of a tree of `size` leaves.
    pub(super) fn look(
        disk: &dyn Disk,
        directories: &Directories,
        size: u64,
    ) -> Result<Self, LogError> {
        let mut found = Self {
            tiles: BTreeMap::new(),
            waiting: BTreeSet::new(),
            superseded: Vec::new(),
            empty: Vec::new(),
            size,
        };
        found.walk(disk, &directories.log, &directories.log)?;
        for (tile, path) in directories.waiting(disk)? {
            // What lies in the log already has been published; a second copy says nothing.
            if found.belongs(&tile) && !found.tiles.contains_key(&tile) {
                found.tiles.insert(tile, path);
                found.waiting.insert(tile);
            }
        }
        Ok(found)
    }

    /// Returns whether there was any file.
    fn walk(&mut self, disk: &dyn Disk, log: &Path, at: &Path) -> Result<bool, LogError> {
        let mut any = false;
        for entry in disk.list(at).map_err(LogError::io("list", at))? {
            let path = at.join(&entry.name);
            if entry.kind == Kind::Directory {
                if self.walk(disk, log, &path)? {
                    any = true;
                } else {
                    self.empty.push(path);
                }
                continue;
            }
            any = true;
            // A link could lead out of the log, and a pipe would be waited for.
            let name = relative(&path, log).filter(|_| entry.kind == Kind::File);
            if name == Some("checkpoint") {
                continue;
            }
            match name.and_then(|name| name.parse::<TilePath>().ok()) {
                Some(tile) if self.belongs(&tile) => {
                    self.tiles.insert(tile, path);
                }
                Some(tile) if tile.sizes().1 <= self.size => self.superseded.push(tile),
                _ => return Err(LogError::Stranger { path, size: self.size }),
            }
        }
        Ok(any)
    }

    fn belongs(&self, tile: &TilePath) -> bool {
        let (from, to) = tile.sizes();
        (from..to).contains(&self.size)
    }

    /// The tiles that a tree of `before` leaves had not.
    pub(super) fn since(&self, before: u64) -> impl Iterator<Item = &TilePath> {
        self.tiles.keys().filter(move |tile| tile.sizes().0 > before)
    }

    /// The first file of the tree that is nowhere.
    pub(super) fn missing(&self) -> Option<TilePath> {
        tiles(self.size).find(|tile| !self.tiles.contains_key(tile))
    }

    fn read(&self, disk: &dyn Disk, tile: &TilePath) -> Result<Vec<u8>, LogError> {
        let path = self.path(tile);
        disk.read(path).map_err(LogError::io("read", path))
    }

    fn path(&self, tile: &TilePath) -> &Path {
        self.tiles.get(tile).map_or(Path::new("?"), PathBuf::as_path)
    }

    /// The tip of the tree that `checkpoint` signs, once its files have been found to be right.
    pub(super) fn check(
        &self,
        disk: &dyn Disk,
        directories: &Directories,
        checkpoint: &Checkpoint,
        everything: bool,
    ) -> Result<Tip, LogError> {
        let edge = if everything {
            self.check_everything(disk, checkpoint)?
        } else {
            self.check_recent(disk, checkpoint)?
        };
        for tile in &self.superseded {
            let path = directories.tile(tile);
            let bytes = disk.read(&path).map_err(LogError::io("read", &path))?;
            let now = TilePath::in_tree(tile.level, tile.index, self.size);
            let now = now.map(|now| self.read(disk, &now)).transpose()?.unwrap_or_default();
            if !is_prefix(tile, &bytes, &now) {
                return Err(LogError::ChangedTile { path });
            }
        }
        let last = partial_tiles(self.size).find(|tile| tile.level == Level::Entries);
        let bundle = last.map(|tile| self.read(disk, &tile)).transpose()?.unwrap_or_default();
        Ok(Tip::new(edge, bundle))
    }

    /// The root of the first `size` leaves of a tree that has been checked.
    pub(super) fn root_at(&self, disk: &dyn Disk, size: u64) -> Result<Hash, LogError> {
        Ok(self.edge_at(disk, size)?.root())
    }

    /// The edge at a size up to this one's: a narrower tile is the beginning of the wider one.
    fn edge_at(&self, disk: &dyn Disk, size: u64) -> Result<Edge, LogError> {
        let mut failed = None;
        let edge = Edge::restore(size, |narrow| {
            let wide = TilePath::in_tree(narrow.level, narrow.index, self.size)?;
            match self.read(disk, &wide) {
                Ok(mut bytes) if bytes.len() == usize::from(wide.width) * 32 => {
                    bytes.truncate(usize::from(narrow.width) * 32);
                    Some(bytes)
                }
                Ok(_) => {
                    failed = Some(LogError::ChangedTile { path: self.path(&wide).to_owned() });
                    None
                }
                Err(error) => {
                    failed = Some(error);
                    None
                }
            }
        });
        edge.map_err(|error| {
            let (RestoreError::Missing(tile) | RestoreError::Length(tile)) = error;
            failed.unwrap_or(LogError::MissingTile { path: self.path(&tile).to_owned() })
        })
    }

    /// Every byte of every file: the tree is made again from the entries.
    fn check_everything(&self, disk: &dyn Disk, checkpoint: &Checkpoint) -> Result<Edge, LogError> {
        let mut edge = Edge::new();
        let mut wrong_leaf = None;
        let mut wrong_tile = None;
        let mut compare = |tile: TilePath, bytes: &[u8]| -> Result<(), LogError> {
            if wrong_tile.is_none() && self.read(disk, &tile)? != bytes {
                wrong_tile = Some(LogError::ChangedTile { path: self.path(&tile).to_owned() });
            }
            Ok(())
        };
        for bundle in sealtap_common::tile::entry_tiles(self.size) {
            let hashes = self.bundle_hashes(disk, &bundle)?;
            if wrong_leaf.is_none() {
                wrong_leaf = self.compare_leaves(disk, &bundle, &hashes)?;
            }
            let mut outcome = Ok(());
            for hash in hashes {
                edge.push(hash, |tile, bytes| {
                    if outcome.is_ok() {
                        outcome = compare(tile, bytes);
                    }
                });
            }
            outcome?;
        }
        for (tile, bytes) in edge.partial_tiles() {
            compare(tile, bytes)?;
        }
        // If the entries give the signed root they are right, and a tile that differs is wrong; if
        // not, a tile that differs from its entries says which of them was changed.
        let right = edge.root() == checkpoint.root;
        match (right, wrong_leaf, wrong_tile) {
            (true, _, None) => Ok(edge),
            (true, _, Some(wrong)) | (false, Some(wrong), _) | (false, None, Some(wrong)) => {
                Err(wrong)
            }
            (false, None, None) => Err(self.changed_edge()),
        }
    }

    /// The leaf hashes of an entry bundle.
    fn bundle_hashes(&self, disk: &dyn Disk, tile: &TilePath) -> Result<Vec<Hash>, LogError> {
        let bytes = self.read(disk, tile)?;
        let entries = entries(&bytes).ok().filter(|list| list.len() == usize::from(tile.width));
        let entries = entries.ok_or_else(|| LogError::MisshapenBundle {
            path: self.path(tile).to_owned(),
            want: tile.width,
        })?;
        Ok(entries.into_iter().map(leaf_hash).collect())
    }

    /// The first leaf of a bundle that the hash tile beside it does not have.
    fn compare_leaves(
        &self,
        disk: &dyn Disk,
        bundle: &TilePath,
        hashes: &[Hash],
    ) -> Result<Option<LogError>, LogError> {
        let tile = self.read(disk, &TilePath { level: Level::Hashes(0), ..*bundle })?;
        let wrong = (0_u64..).zip(hashes).zip(tile.as_chunks::<32>().0);
        let wrong = wrong.into_iter().find(|((_, leaf), hash)| leaf != hash);
        Ok(wrong.map(|((position, _), _)| LogError::ChangedLeaf {
            path: self.path(bundle).to_owned(),
            index: bundle.index * u64::from(FULL_WIDTH) + position,
        }))
    }

    /// The right edge, and the newest full tiles with their entries up to the edge.
    fn check_recent(&self, disk: &dyn Disk, checkpoint: &Checkpoint) -> Result<Edge, LogError> {
        let edge = self.edge_at(disk, self.size)?;
        if edge.root() != checkpoint.root {
            return Err(self.changed_edge());
        }
        let full = self.size / u64::from(FULL_WIDTH);
        for index in full.saturating_sub(RECENT_TILES)..full.saturating_add(1) {
            let Some(bundle) = TilePath::in_tree(Level::Entries, index, self.size) else { break };
            let hashes = self.bundle_hashes(disk, &bundle)?;
            let wrong = self.compare_leaves(disk, &bundle, &hashes)?;
            self.check_path(disk, index)?;
            if let Some(wrong) = wrong {
                return Err(wrong);
            }
        }
        Ok(edge)
    }

    /// Each full tile from level 0 to the edge above tile `index`, against its place in its parent.
    fn check_path(&self, disk: &dyn Disk, index: u64) -> Result<(), LogError> {
        let mut index = index;
        for level in 0..8_u8 {
            let tile = TilePath::in_tree(Level::Hashes(level), index, self.size);
            // A partial tile is part of the edge, whose root has been compared.
            let Some(tile) = tile.filter(TilePath::is_full) else { return Ok(()) };
            let mut whole = Edge::new();
            let bytes = self.read(disk, &tile)?;
            for hash in bytes.as_chunks::<32>().0 {
                whole.push(*hash, |_, _| {});
            }
            let parent = TilePath::in_tree(Level::Hashes(level + 1), index / 256, self.size);
            let Some(parent) = parent else { return Ok(()) };
            let place = usize::try_from(index % 256).unwrap_or_default();
            let said = self.read(disk, &parent)?.as_chunks::<32>().0.get(place).copied();
            if bytes.len() != usize::from(FULL_WIDTH) * 32 || said != Some(whole.root()) {
                return Err(LogError::ChangedTile { path: self.path(&tile).to_owned() });
            }
            index /= 256;
        }
        Ok(())
    }

    fn changed_edge(&self) -> LogError {
        let paths = partial_tiles(self.size).map(|tile| self.path(&tile).to_owned()).collect();
        LogError::ChangedEdge { size: self.size, paths }
    }
}

/// Whether a superseded partial tile is the beginning of what took its place.
fn is_prefix(tile: &TilePath, bytes: &[u8], now: &[u8]) -> bool {
    let whole = match tile.level {
        Level::Hashes(_) => bytes.len() == usize::from(tile.width) * 32,
        Level::Entries => entries(bytes).is_ok_and(|list| list.len() == usize::from(tile.width)),
    };
    whole && now.starts_with(bytes)
}
