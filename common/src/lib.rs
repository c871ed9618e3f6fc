//! The sealtap record format: tree, tiles, notes, leaves, commitments, and verification.
//!
//! Comes in: bytes of a log, keys, the bytes of bodies. Goes out: canonical bytes to store, or a
//! typed reason why something does not hold. This library is pure: no file, socket, clock or
//! randomness; the feature `directory` adds the one module that reads files. `FORMAT.md` beside it
//! is the normative text; the steps numbered there are named here.

#![cfg_attr(not(feature = "records"), no_std)]

pub mod kernel;

#[cfg(feature = "records")]
pub mod bundle;
#[cfg(feature = "records")]
pub mod checkpoint;
#[cfg(feature = "records")]
pub mod commit;
#[cfg(feature = "directory")]
pub mod directory;
#[cfg(feature = "records")]
pub mod encoding;
#[cfg(feature = "records")]
pub mod json;
#[cfg(feature = "records")]
pub mod keyring;
#[cfg(feature = "records")]
pub mod leaf;
#[cfg(feature = "records")]
pub mod note;
#[cfg(feature = "records")]
pub mod policy;
#[cfg(feature = "records")]
pub mod record;
#[cfg(feature = "records")]
pub mod tile;
#[cfg(feature = "records")]
pub mod timestamp;
#[cfg(feature = "records")]
pub mod tree;
#[cfg(feature = "records")]
pub mod unit;
#[cfg(feature = "records")]
pub mod verify;
#[cfg(feature = "records")]
pub mod websocket;
#[cfg(feature = "records")]
pub mod witness;
#[cfg(feature = "records")]
mod words;

#[cfg(feature = "records")]
pub use encoding::Id;
#[cfg(feature = "records")]
pub use tree::Hash;
