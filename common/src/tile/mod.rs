//! Tiles: how the tree and its entries lie in files (C2SP tlog-tiles, tile height 8).
//!
//! In: a tree size, leaf hashes, file names, file bytes. Out: which files a tree needs, their names
//! and exact bytes. [`Edge`] turns a stream of leaf hashes into hash tiles. Never touches a file.

mod bundle;
mod edge;
mod path;
mod source;
#[cfg(test)]
mod tests;

pub use bundle::{BundleError, MAX_ENTRY, entries, push_entry};
pub use edge::{Edge, RestoreError};
pub use path::{Level, PathError, TilePath, entry_tiles, hash_tiles, tiles};
pub use source::TileSource;

/// Hashes or entries in a full tile.
pub const FULL_WIDTH: u16 = 256;
