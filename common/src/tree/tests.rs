//! The tree against a second, naive reading of RFC 6962 section 2.1.

use proptest::prelude::*;

use super::*;

/// MTH(D[n]) exactly as the RFC writes it.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [one] => *one,
        many => {
            let middle = many.len().next_power_of_two() / 2;
            node_hash(&naive_root(&many[..middle]), &naive_root(&many[middle..]))
        }
    }
}

/// PATH(m, D[n]) exactly as the RFC writes it.
fn naive_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let middle = leaves.len().next_power_of_two() / 2;
    if index < middle {
        let mut path = naive_path(index, &leaves[..middle]);
        path.push(naive_root(&leaves[middle..]));
        path
    } else {
        let mut path = naive_path(index - middle, &leaves[middle..]);
        path.push(naive_root(&leaves[..middle]));
        path
    }
}

/// SUBPROOF(m, D[n], b) exactly as the RFC writes it.
fn naive_subproof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole { Vec::new() } else { vec![naive_root(leaves)] };
    }
    let middle = leaves.len().next_power_of_two() / 2;
    if old <= middle {
        let mut proof = naive_subproof(old, &leaves[..middle], whole);
        proof.push(naive_root(&leaves[middle..]));
        proof
    } else {
        let mut proof = naive_subproof(old - middle, &leaves[middle..], false);
        proof.push(naive_root(&leaves[..middle]));
        proof
    }
}

struct Leaves(Vec<Hash>);

impl HashSource for Leaves {
    fn subtree(&self, level: u8, index: u64) -> Option<Hash> {
        let start = usize::try_from(index << level).unwrap();
        self.0.get(start..start + (1 << level)).map(naive_root)
    }
}

fn leaves(count: usize) -> Leaves {
    Leaves((0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect())
}

#[test]
fn empty_root_is_the_digest_of_nothing() {
    assert_eq!(EMPTY_ROOT, <Hash>::from(Sha256::digest([])));
    assert_eq!(Frontier::new().root(), EMPTY_ROOT);
}

#[test]
fn frontier_proofs_and_roots_agree_with_the_rfc_for_every_small_size() {
    let all = leaves(70);
    let mut frontier = Frontier::new();
    for size in 1..=all.0.len() {
        frontier.push(all.0[size - 1]);
        let (tree, n) = (&all.0[..size], size as u64);
        let root = naive_root(tree);
        assert_eq!((frontier.size(), frontier.root()), (n, root));
        for index in 0..size {
            let proof = inclusion_proof(&all, index as u64, n).unwrap();
            assert_eq!(proof, naive_path(index, tree));
            assert_eq!(verify_inclusion(&tree[index], index as u64, n, &proof, &root), Ok(()));
        }
        for old in 1..=size {
            let proof = consistency_proof(&all, old as u64, n).unwrap();
            assert_eq!(proof, naive_subproof(old, tree, true));
            let old_root = naive_root(&tree[..old]);
            assert_eq!(verify_consistency(old as u64, &old_root, n, &root, &proof), Ok(()));
        }
    }
}

#[test]
fn a_missing_subtree_is_named() {
    assert_eq!(inclusion_proof(&leaves(3), 0, 4), Err(MissingHash { level: 1, index: 1 }));
}

proptest! {
    #[test]
    fn a_changed_proof_never_verifies(size in 1usize..200, pick in any::<prop::sample::Index>(),
                                      bit in 0usize..256, hash in any::<prop::sample::Index>()) {
        let all = leaves(size);
        let index = pick.index(size);
        let root = naive_root(&all.0);
        let proof = naive_path(index, &all.0);
        let check = |proof: &[Hash]|
            verify_inclusion(&all.0[index], index as u64, size as u64, proof, &root);
        let mut longer = proof.clone();
        longer.push(EMPTY_ROOT);
        prop_assert!(check(&longer).is_err());
        if !proof.is_empty() {
            prop_assert_eq!(check(&proof[1..]), Err(ProofError::Length));
            let mut changed = proof.clone();
            changed[hash.index(proof.len())][bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(check(&changed), Err(ProofError::Root));
        }
        prop_assert_eq!(
            verify_inclusion(&all.0[index], size as u64, size as u64, &proof, &root),
            Err(ProofError::OutOfRange)
        );
    }

    #[test]
    fn hostile_numbers_and_proofs_never_panic(
        a in any::<u64>(), b in any::<u64>(),
        proof in prop::collection::vec(any::<Hash>(), 0..70), leaf in any::<Hash>(),
    ) {
        prop_assert!(verify_inclusion(&leaf, a, b, &proof, &EMPTY_ROOT).is_err());
        let _ = verify_consistency(a, &leaf, b, &EMPTY_ROOT, &proof);
    }
}
