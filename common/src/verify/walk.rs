//! Steps 5 to 8: one pass over the entry bundles that rebuilds every hash tile and the root, and
//! hands each leaf on. Holds one bundle and the tree's right edge, however long the log.

use std::collections::BTreeMap;

use super::history::History;
use super::names::Listed;
use super::{Check, FileError, Inspector, LogFiles, Place, Report, What};
use crate::checkpoint::Checkpoint;
use crate::leaf::Leaf;
use crate::tile::{Edge, Level, TilePath, entries, entry_tiles};
use crate::tree::{Hash, leaf_hash};

/// Roots of the log's first leaves by their number, as far as the pass came.
pub(super) type Marks = BTreeMap<u64, Option<Hash>>;

/// Runs the pass. Fills in the root of the first leaves at each of `marks`.
pub(super) fn check(
    files: &impl LogFiles,
    checkpoint: &Checkpoint,
    marks: &mut Marks,
    listed: &Listed,
    history: &mut History,
    inspector: &mut impl Inspector,
    report: &mut Report,
) -> Result<(), FileError> {
    let mut walk = Walk { files, listed, edge: Edge::new(), failure: None };
    if let Some(root) = marks.get_mut(&0) {
        *root = Some(walk.edge.root());
    }
    for tile in entry_tiles(checkpoint.size) {
        // Without its entries the tree cannot be rebuilt any further.
        let Some(hashes) = bundle(files, listed, tile, history, inspector, report)? else {
            let rest = checkpoint.size - walk.edge.size();
            report.undecided(format!("{rest} leaves from {tile} on could not be checked"));
            return Ok(());
        };
        for hash in hashes {
            walk.push(hash, report);
            if let Some(root) = marks.get_mut(&walk.edge.size()) {
                *root = Some(walk.edge.root());
            }
        }
        if let Some(error) = walk.failure.take() {
            return Err(error);
        }
    }
    walk.partial_tiles(report)?;
    report.ran(Check::Tree);
    // Step 7.
    if walk.edge.root() != checkpoint.root {
        report.find(What::Root, Place::Log, "the entries lead to another root than was signed");
    }
    report.ran(Check::Root);
    history.finish(report);
    report.ran(Check::Leaves);
    Ok(())
}

/// Step 5: one entry bundle; gives its leaf hashes, or `None` when it cannot be read as one.
fn bundle(
    files: &impl LogFiles,
    listed: &Listed,
    tile: TilePath,
    history: &mut History,
    inspector: &mut impl Inspector,
    report: &mut Report,
) -> Result<Option<Vec<Hash>>, FileError> {
    let Some(bytes) = read(files, listed, tile, report)? else { return Ok(None) };
    let found = match entries(&bytes) {
        Ok(found) if found.len() == usize::from(tile.width) => found,
        Ok(found) => {
            let detail = format!("holds {} entries, not {}", found.len(), tile.width);
            report.find(What::Bundle, Place::file(tile), detail);
            return Ok(None);
        }
        Err(error) => {
            report.find(What::Bundle, Place::file(tile), error.to_string());
            return Ok(None);
        }
    };
    prefix(files, listed, tile, &bytes, report)?;
    let mut hashes = Vec::with_capacity(found.len());
    let first = tile.index * u64::from(crate::tile::FULL_WIDTH);
    for (index, entry) in (first..).zip(found) {
        let hash = leaf_hash(entry);
        hashes.push(hash);
        match Leaf::decode(entry) {
            Ok(leaf) => {
                history.leaf(index, &leaf, hash, report);
                for finding in inspector.leaf(index, &leaf) {
                    report.add(finding);
                }
            }
            Err(error) => report.find(What::Leaf, Place::Leaf(index), error.to_string()),
        }
    }
    Ok(Some(hashes))
}

/// The tree being rebuilt, and the stored tiles that it is held against.
struct Walk<'a, F> {
    files: &'a F,
    listed: &'a Listed,
    edge: Edge,
    /// A file that could not be read, met where it could not be returned.
    failure: Option<FileError>,
}

impl<F: LogFiles> Walk<'_, F> {
    /// Step 6 for full tiles, as each becomes full.
    fn push(&mut self, hash: Hash, report: &mut Report) {
        let (files, listed, failure) = (self.files, self.listed, &mut self.failure);
        self.edge.push(hash, |tile, bytes| {
            if let Err(error) = compare(files, listed, tile, bytes, report) {
                failure.get_or_insert(error);
            }
        });
    }

    /// Step 6 for the partial tiles at the right edge.
    fn partial_tiles(&self, report: &mut Report) -> Result<(), FileError> {
        self.edge
            .partial_tiles()
            .try_for_each(|(tile, bytes)| compare(self.files, self.listed, tile, bytes, report))
    }
}

/// Step 6: a stored hash tile is, byte for byte, what the entries give.
fn compare(
    files: &impl LogFiles,
    listed: &Listed,
    tile: TilePath,
    bytes: &[u8],
    report: &mut Report,
) -> Result<(), FileError> {
    if let Some(stored) = read(files, listed, tile, report)?
        && stored != bytes
    {
        report.find(What::HashTile, Place::file(tile), "differs from the hashes of the entries");
    }
    prefix(files, listed, tile, bytes, report)
}

/// Step 8: partial tiles that this tile took the place of hold the beginning of it.
fn prefix(
    files: &impl LogFiles,
    listed: &Listed,
    tile: TilePath,
    bytes: &[u8],
    report: &mut Report,
) -> Result<(), FileError> {
    let narrower = TilePath { width: 0, ..tile }..tile;
    for old in listed.superseded.range(narrower) {
        let Some(stored) = files.read(&old.to_string())? else { continue };
        let entries_in = |stored: &[u8]| entries(stored).map_or(0, |found| found.len());
        let width = match old.level {
            Level::Entries => entries_in(&stored),
            Level::Hashes(_) => stored.len() / 32,
        };
        if width != usize::from(old.width) || !bytes.starts_with(&stored) {
            let detail = format!("not the beginning of {tile}, which took its place");
            report.find(What::Superseded, Place::file(old), detail);
        }
    }
    Ok(())
}

/// A needed tile; `None` when it is missing, which step 4 has reported unless it went since.
fn read(
    files: &impl LogFiles,
    listed: &Listed,
    tile: TilePath,
    report: &mut Report,
) -> Result<Option<Vec<u8>>, FileError> {
    if !listed.needed.contains(&tile) {
        return Ok(None);
    }
    let bytes = files.read(&tile.to_string())?;
    if bytes.is_none() {
        report.find(What::Missing, Place::file(tile), "was there when the files were listed");
    }
    Ok(bytes)
}
