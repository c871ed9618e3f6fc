//! The sealtap record format: tree, tiles, notes, leaves, commitments, and verification.
//!
//! Comes in: bytes of a log, keys, the bytes of bodies. Goes out: canonical bytes to store, or a
//! typed reason why something does not hold. This library is pure: no file, socket, clock or
//! randomness; the feature `directory` adds the one module that reads files. `FORMAT.md` beside it
//! is the normative text; the steps numbered there are named here.

pub mod bundle;
pub mod checkpoint;
pub mod commit;
#[cfg(feature = "directory")]
pub mod directory;
pub mod encoding;
pub mod json;
pub mod keyring;
pub mod leaf;
pub mod note;
pub mod policy;
pub mod record;
pub mod tile;
pub mod timestamp;
pub mod tree;
pub mod unit;
pub mod verify;
pub mod websocket;
pub mod witness;
mod words;

pub use encoding::Id;
pub use tree::Hash;
