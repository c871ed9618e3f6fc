//! Inclusion and consistency proofs: made from a source of subtree hashes, checked without one.

use super::{Hash, node_hash};

/// Gives the hashes of perfect subtrees of a stored tree.
pub trait HashSource {
    /// The root of the perfect subtree of `2^level` leaves whose first leaf is `index * 2^level`,
    /// or `None` when it is not stored.
    fn subtree(&self, level: u8, index: u64) -> Option<Hash>;
}

/// A subtree that the source did not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no hash for the subtree of 2^{level} leaves at index {index}: the tree is not complete")]
pub struct MissingHash {
    /// Height of the subtree above the leaves.
    pub level: u8,
    /// Position among the subtrees of that height.
    pub index: u64,
}

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf lies outside the tree, or the older tree is larger than the newer.
    #[error("the proof is asked for a position outside the tree")]
    OutOfRange,
    /// Too many or too few hashes for these sizes.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The root of leaves `start..end`, where `start` is a multiple of the largest power of two below
/// the length (every range that occurs in a proof is).
///
/// # Errors
/// [`MissingHash`] when the source lacks a subtree.
pub fn subtree_root(
    source: &impl HashSource,
    start: u64,
    end: u64,
) -> Result<Option<Hash>, MissingHash> {
    let mut right = None;
    let mut rest = end.saturating_sub(start);
    // Perfect subtrees, smallest (rightmost) first; the fold joins each with all to its right.
    let mut first = end;
    while rest > 0 {
        let level = level_of(rest.trailing_zeros());
        rest &= rest - 1;
        first -= 1 << level;
        let index = first >> level;
        let hash = source.subtree(level, index).ok_or(MissingHash { level, index })?;
        right = Some(right.map_or(hash, |right| node_hash(&hash, &right)));
    }
    Ok(right)
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves, nearest hash first.
///
/// # Errors
/// [`MissingHash`] when the source lacks a subtree. An index outside the tree gives an empty proof,
/// which does not verify.
pub fn inclusion_proof(
    source: &impl HashSource,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, MissingHash> {
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    if index >= size {
        return Ok(proof);
    }
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.extend(subtree_root(source, middle, end)?);
            end = middle;
        } else {
            proof.extend(subtree_root(source, start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The consistency proof from the tree of `old` leaves to the tree of `new` leaves.
///
/// # Errors
/// [`MissingHash`] when the source lacks a subtree. Sizes out of order give an empty proof.
pub fn consistency_proof(
    source: &impl HashSource,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, MissingHash> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    // Walks down the right edge of the old tree; `start..end` always holds leaf `old - 1`.
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.extend(subtree_root(source, middle, end)?);
            end = middle;
        } else {
            proof.extend(subtree_root(source, start, middle)?);
            start = middle;
        }
    }
    // The old tree's own root is known to whoever checks, so it is not sent.
    if start != 0 {
        proof.extend(subtree_root(source, start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that `leaf` is the leaf at `index` of the tree with this size and root
/// (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// [`ProofError`] names what does not hold.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree (`old`, `old_root`) is a prefix of the tree (`new`, `new_root`)
/// (RFC 9162, section 2.1.4.2).
///
/// # Errors
/// [`ProofError`] names what does not hold.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::OutOfRange);
    }
    if old == new || old == 0 {
        if !proof.is_empty() {
            return Err(ProofError::Length);
        }
        let holds = if old == 0 { *old_root == super::EMPTY_ROOT } else { old_root == new_root };
        return if holds { Ok(()) } else { Err(ProofError::Root) };
    }
    let mut hashes = proof.iter();
    // A perfect old tree is itself the first hash of the walk.
    let first =
        if old.is_power_of_two() { old_root } else { hashes.next().ok_or(ProofError::Length)? };
    let (mut node, mut last) = (old - 1, new - 1);
    let skip = node.trailing_ones();
    node >>= skip;
    last >>= skip;
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in hashes {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(ProofError::Root) }
}

/// The largest power of two smaller than `length` (which is at least 2).
const fn split(length: u64) -> u64 {
    1 << (u64::BITS - 1 - (length - 1).leading_zeros())
}

/// A bit position of a `u64` always fits a byte.
fn level_of(bit: u32) -> u8 {
    u8::try_from(bit).unwrap_or(u8::MAX)
}
