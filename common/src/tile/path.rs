//! Names of tile files, and the exact set of them that a tree of a given size has.

use std::fmt;
use std::str::FromStr;

use super::FULL_WIDTH;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Node hashes at height `8 * level` above the leaves (level 0 holds leaf hashes).
    Hashes(u8),
    /// The entries (leaf data) themselves: an entry bundle.
    Entries,
}

/// One tile file of a log. Its text is the path below the log's root, such as
/// `tile/0/x001/x234/067.p/5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    /// What the tile holds.
    pub level: Level,
    /// Position among the tiles of its level.
    pub index: u64,
    /// Hashes or entries in it: 1 to 256, where 256 is a full tile.
    pub width: u16,
}

/// A file name that names no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a tile path: want tile/<level or entries>/<index>[.p/<width>] as in C2SP tlog-tiles")]
pub struct PathError;

impl TilePath {
    /// Whether the tile has all its 256 hashes or entries.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == FULL_WIDTH
    }

    /// The tile of this level that holds position `index` in a tree of `size` leaves, if any.
    #[must_use]
    pub fn in_tree(level: Level, index: u64, size: u64) -> Option<Self> {
        let nodes = nodes_at(level, size);
        let before = index.checked_mul(u64::from(FULL_WIDTH))?;
        let width = nodes.checked_sub(before)?.min(u64::from(FULL_WIDTH));
        let width = u16::try_from(width).ok()?;
        (width > 0).then_some(Self { level, index, width })
    }

    /// The half-open range of tree sizes in which this very file (with this width) belongs.
    ///
    /// A full tile belongs to every larger tree, a partial one only until its next node completes.
    #[must_use]
    pub fn sizes(&self) -> (u64, u64) {
        let shift = height(self.level);
        let nodes = self
            .index
            .checked_mul(u64::from(FULL_WIDTH))
            .and_then(|before| before.checked_add(u64::from(self.width)));
        let at =
            |nodes: u64| if nodes.leading_zeros() >= shift { nodes << shift } else { u64::MAX };
        let Some(nodes) = nodes else { return (u64::MAX, u64::MAX) };
        (at(nodes), if self.is_full() { u64::MAX } else { at(nodes + 1) })
    }
}

/// Height above the leaves of the nodes in a level.
fn height(level: Level) -> u32 {
    match level {
        Level::Hashes(level) => u32::from(level) * 8,
        Level::Entries => 0,
    }
}

/// Complete nodes at a level in a tree of `size` leaves.
fn nodes_at(level: Level, size: u64) -> u64 {
    size.checked_shr(height(level)).unwrap_or(0)
}

/// Every tile of one level in a tree of `size` leaves, in order.
fn level_tiles(level: Level, size: u64) -> impl Iterator<Item = TilePath> {
    let count = nodes_at(level, size).div_ceil(u64::from(FULL_WIDTH));
    (0..count).filter_map(move |index| TilePath::in_tree(level, index, size))
}

/// Every hash tile of a tree of `size` leaves, lowest level first.
pub fn hash_tiles(size: u64) -> impl Iterator<Item = TilePath> {
    (0..8).flat_map(move |level| level_tiles(Level::Hashes(level), size))
}

/// Every entry bundle of a tree of `size` leaves, in order.
pub fn entry_tiles(size: u64) -> impl Iterator<Item = TilePath> {
    level_tiles(Level::Entries, size)
}

/// Exactly the tile files that a log with `size` leaves has.
pub fn tiles(size: u64) -> impl Iterator<Item = TilePath> {
    entry_tiles(size).chain(hash_tiles(size))
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::Hashes(level) => write!(f, "tile/{level}/")?,
            Level::Entries => f.write_str("tile/entries/")?,
        }
        // Groups of three digits; all but the last carry an x (FORMAT.md, Tiles).
        let mut unit = 1_u64;
        while self.index / unit >= 1000 {
            unit *= 1000;
        }
        while unit > 1 {
            write!(f, "x{:03}/", self.index / unit % 1000)?;
            unit /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let path = parse(text).ok_or(PathError)?;
        // One text per tile: leading zeros, needless groups and a width of 256 all print otherwise.
        if path.to_string() == text { Ok(path) } else { Err(PathError) }
    }
}

fn parse(text: &str) -> Option<TilePath> {
    let (level, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let level = match level {
        "entries" => Level::Entries,
        number => Level::Hashes(number.parse().ok().filter(|level| *level < 64)?),
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => {
            (index, width.parse().ok().filter(|w| (1..FULL_WIDTH).contains(w))?)
        }
        None => (rest, FULL_WIDTH),
    };
    let index = index.split('/').try_fold(0_u64, |index, group| {
        let digits = group.strip_prefix('x').unwrap_or(group);
        index.checked_mul(1000)?.checked_add(digits.parse::<u16>().ok().map(u64::from)?)
    })?;
    Some(TilePath { level, index, width })
}
