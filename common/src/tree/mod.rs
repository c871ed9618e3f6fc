//! The Merkle tree of RFC 6962 over SHA-256 (section 2.1), without any storage.
//!
//! In: leaf bytes or leaf hashes, proofs. Out: hashes, roots, proofs, or a typed reason why a proof
//! does not hold. [`Frontier`] grows a tree leaf by leaf in memory of its depth only.

mod frontier;
mod proof;
#[cfg(test)]
mod tests;

pub use frontier::Frontier;
pub use proof::{
    HashSource, MissingHash, ProofError, consistency_proof, inclusion_proof, subtree_root,
    verify_consistency, verify_inclusion,
};

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: a leaf hash, a node hash, a root, or a commitment.
pub type Hash = [u8; 32];

/// The root of the tree with no leaves: SHA-256 of the empty string.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The hash of a leaf: SHA-256(0x00 ‖ data).
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::new().chain_update([0x00]).chain_update(data).finalize().into()
}

/// The hash of an interior node: SHA-256(0x01 ‖ left ‖ right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([0x01]).chain_update(left).chain_update(right).finalize().into()
}
