//! Step 4: which files are there, against which files the checkpoint's tree has.

use std::collections::BTreeSet;

use super::{CHECKPOINT, Place, Report, What, report::Check};
use crate::tile::{TilePath, tiles};

/// Missing files that are named one by one before the rest is only counted.
const NAMED: usize = 8;

/// The tile files that may be read: those of the tree, and partial tiles of one tree before it.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Tiles that the tree has and that are there.
    pub needed: BTreeSet<TilePath>,
    /// Partial tiles that the tree has outgrown; to be compared with what took their place.
    pub superseded: BTreeSet<TilePath>,
}

/// Sorts the files into those needed, those left over from one earlier tree, and strangers.
pub(super) fn check(paths: &[String], size: u64, report: &mut Report) -> Listed {
    let mut listed = Listed::default();
    // The sizes at which every superseded tile so far belonged to the tree at once.
    let (mut from, mut to) = (0, size);
    for path in paths.iter().filter(|path| *path != CHECKPOINT) {
        let Ok(tile) = path.parse::<TilePath>() else {
            report.find(What::Stranger, Place::file(path), "no file of a log has this name");
            continue;
        };
        if TilePath::in_tree(tile.level, tile.index, size) == Some(tile) {
            listed.needed.insert(tile);
            continue;
        }
        // A tile of a later tree begins past `to`, so only outgrown ones can pass.
        let (first, end) = tile.sizes();
        if first.max(from) < end.min(to) {
            (from, to) = (first.max(from), end.min(to));
            listed.superseded.insert(tile);
        } else {
            let detail = format!("a tree of {size} leaves has no such tile");
            report.find(What::Stranger, Place::file(path), detail);
        }
    }
    // Ends after as many tiles as are there and a few more, however large the size claims to be.
    let missing: Vec<TilePath> =
        tiles(size).filter(|tile| !listed.needed.contains(tile)).take(NAMED + 1).collect();
    for tile in missing.iter().take(NAMED) {
        report.find(What::Missing, Place::file(tile), "the tree has this tile");
    }
    if missing.len() > NAMED {
        report.find(What::Missing, Place::Log, "more tiles are missing than are named here");
    }
    report.ran(Check::Names);
    listed
}
