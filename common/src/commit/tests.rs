//! Commitments against the formulas of FORMAT.md spelled out by hand, and tiling.

use proptest::prelude::*;
use sha2::Digest as _;

use super::*;
use crate::tree::{EMPTY_ROOT, leaf_hash, node_hash};

/// HMAC as RFC 2104 writes it, for a key of one block at most.
fn plain_hmac(key: &[u8], message: &[u8]) -> Hash {
    let block =
        |pad: u8| -> Vec<u8> { (0..64).map(|n| key.get(n).copied().unwrap_or(0) ^ pad).collect() };
    let inner = Sha256::digest([block(0x36), message.to_vec()].concat());
    Sha256::digest([block(0x5c), inner.to_vec()].concat()).into()
}

fn key() -> BodyKey {
    BodyKey::new([3; 32])
}

#[test]
fn salts_and_commitments_follow_the_formulas() {
    let salt = plain_hmac(&[3; 32], b"sealtap/v1/salt\0\0\0\0\x05");
    assert_eq!(*key().salt(5).bytes(), salt);
    let message = b"sealtap/v1/segment\0\0\0\0\0\0\0\0\x05hello";
    assert_eq!(commit(&key().salt(5), b"hello"), plain_hmac(&salt, message));
}

#[test]
fn a_secrets_tag_follows_the_formula_whatever_the_case_of_its_name() {
    let message = b"\0\0\0\x11sealtap/v1/header\0\0\0\x01a\0\0\0\x02bc\0\0\0\x01d";
    let tag = secret_tag(&[3; 32], b"a", b"bC", b"d");
    assert_eq!(tag, plain_hmac(&[3; 32], message));
    assert_ne!(tag, secret_tag(&[3; 32], b"ab", b"c", b"d"), "parts do not run together");
}

#[test]
fn pieces_give_the_same_commitment_and_a_wrong_length_is_refused() {
    let salt = key().salt(0);
    let whole = commit(&salt, b"hello world");
    assert_eq!(commit_parts(&salt, 11, [&b"hello"[..], b"", b" world"]), Ok(whole));
    assert_eq!(
        commit_parts(&salt, 12, [&b"hello"[..]]),
        Err(LengthMismatch { announced: 12, fed: 5 })
    );
    assert_ne!(commit(&salt, b""), commit(&key().salt(1), b""));
}

#[test]
fn a_body_is_the_tree_of_its_tuples() {
    let mut body = BodyRoot::new();
    assert_eq!(
        body.finish(Dialect::Bytes),
        Body { dialect: Dialect::Bytes, length: 0, root: EMPTY_ROOT, segments: 0 }
    );
    let first = body.push(PIECE, UnitKind::Bytes, [1; 32]).unwrap();
    let second = body.push(5, UnitKind::EventGroup, [2; 32]).unwrap();
    let tuple = [
        &[1][..],
        &[0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 1, 0, 0],
        &[0, 0, 0, 0, 0, 0, 0, 5],
        &[0, 6],
        &[2; 32],
    ]
    .concat();
    assert_eq!(second.encode().as_slice(), tuple);
    let finished = body.finish(Dialect::Bytes);
    let root = node_hash(&leaf_hash(&first.encode()), &leaf_hash(&tuple));
    assert_eq!((finished.length, finished.segments, finished.root), (PIECE + 5, 2, root));
    assert!(finished.is_consistent());
    assert!(!Body { segments: 3, ..finished }.is_consistent());
}

#[test]
fn segments_that_do_not_tile_are_named() {
    let tuple =
        |index, offset, length| Tuple { index, offset, length, kind: 0, commitment: [0; 32] };
    let mut body = BodyRoot::new();
    body.push_tuple(&tuple(0, 0, 4)).unwrap();
    let before = body.finish(Dialect::Bytes);
    for (wrong, error) in [
        (tuple(0, 4, 1), TilingError::Index { expected: 1, found: 0 }),
        (tuple(1, 3, 1), TilingError::Offset { index: 1, expected: 4, found: 3 }),
        (tuple(1, 5, 1), TilingError::Offset { index: 1, expected: 4, found: 5 }),
        (tuple(1, 4, 0), TilingError::Empty(1)),
        (tuple(1, 4, u64::MAX), TilingError::Overflow),
    ] {
        assert_eq!(body.push_tuple(&wrong), Err(error));
        assert_eq!(body.finish(Dialect::Bytes), before, "a refused segment changes nothing");
    }
}

#[test]
fn a_unit_is_a_body_of_one_segment() {
    let mut body = BodyRoot::new();
    body.push(4, UnitKind::Context, commit(&key().salt(0), b"unit")).unwrap();
    let unit = unit(&key(), UnitKind::Context, b"unit");
    assert_eq!((unit.length, unit.root), (4, body.finish(Dialect::Bytes).root));
}

#[test]
fn unit_kinds_have_the_numbers_of_the_registry() {
    for kind in UnitKind::ALL {
        assert_eq!(UnitKind::from_number(kind.number()), Some(kind));
    }
    assert_eq!(UnitKind::from_number(10), None);
}

#[test]
fn secrets_do_not_print() {
    assert_eq!(format!("{:?} {:?}", key(), key().salt(0)), "BodyKey(..) Salt(..)");
}

proptest! {
    #[test]
    fn tuples_survive(index: u32, offset: u64, length: u64, kind: u16, commitment: [u8; 32]) {
        let tuple = Tuple { index, offset, length, kind, commitment };
        let bytes = tuple.encode();
        prop_assert_eq!(Tuple::decode(&bytes), Some(tuple));
        let mut other = bytes;
        other[0] = 2;
        prop_assert_eq!(Tuple::decode(&other), None);
    }

    #[test]
    fn splitting_never_changes_a_commitment(bytes in prop::collection::vec(any::<u8>(), 0..300), cut: prop::sample::Index) {
        let salt = key().salt(7);
        let (a, b) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(commit_parts(&salt, bytes.len() as u64, [a, b]), Ok(commit(&salt, &bytes)));
    }
}
