//! Runs: closed once, recorded, forgotten.

use std::collections::HashMap;
use std::sync::Arc;

use sealtap_common::commit::{Body, Dialect, Unit};
use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    ClosedReason, End, Exchange, Extensions, Isolation, IsolationBasis, IsolationLevel, Leaf,
    Outcome, Policy, Request,
};
use sealtap_common::record::{Envelope, record_hash, statement};
use sealtap_common::tree::EMPTY_ROOT;
use sealtap_common::unit::RunNamedBy;

use super::Runs;
use crate::seal::keys::Keys;

const BOOT: [u8; 16] = [1; 16];

fn runs(directory: &tempfile::TempDir) -> (Runs, Arc<Keys>) {
    let keys = Arc::new(Keys::load_or_create(&directory.path().join("k"), Some("o")).unwrap());
    let isolation = Isolation { basis: IsolationBasis::Assumed, level: IsolationLevel::SameUser };
    (Runs::new(BOOT, Arc::clone(&keys), isolation, HashMap::new()), keys)
}

fn exchange(runs: &Runs, run: u8, number: u64) -> Exchange {
    let body = Body { dialect: Dialect::Bytes, length: 0, root: EMPTY_ROOT, segments: 0 };
    Exchange {
        boot: Id(BOOT),
        context: Unit { length: 1, root: [2; 32] },
        ended: number,
        error: None,
        exchange: Id([9; 16]),
        ext: Extensions::new(),
        number,
        outcome: Outcome::Interrupted,
        policy: Policy::Strict,
        request: Request { body, end: End::Interrupted, head: None, same: true, trailers: None },
        response: None,
        run: runs.link([run; 16]),
        sealed: number,
        started: number,
        tunnel: None,
    }
}

fn push(runs: &mut Runs, run: u8, number: u64, index: u64) {
    let leaf = exchange(runs, run, number);
    let bytes = leaf.encode().unwrap();
    runs.push(&leaf, RunNamedBy::Path, &bytes, index);
}

#[test]
fn a_run_is_closed_once_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (mut runs, keys) = runs(&directory);
    assert_eq!(runs.close([5; 16], ClosedReason::Idle, 9, 1).unwrap(), None);
    push(&mut runs, 5, 1, 1);
    push(&mut runs, 5, 2, 4);
    assert_eq!(runs.link([5; 16]).position, 3);
    let ended = runs.close([5; 16], ClosedReason::Idle, 9, 7).unwrap().unwrap();
    let stored = ended.record;
    let Ok(Leaf::RunClosed(leaf)) = Leaf::decode(&ended.closed) else { panic!("a closing leaf") };
    assert_eq!((leaf.count, leaf.first, leaf.last.index, leaf.started), (2, 1, 4, 1));
    let Ok(Leaf::RunRecord(record)) = Leaf::decode(&ended.leaf) else { panic!("a record's leaf") };
    let payload = statement("o", 7, &leaf);
    assert_eq!(record.record, record_hash(&payload));
    let envelope = Envelope { payload, key_id: stored.key_id, signature: stored.signature };
    assert!(envelope.holds_under(keys.run_record().public()));
    assert_eq!(runs.count(), 0);
    assert_eq!(runs.close([5; 16], ClosedReason::Idle, 9, 9).unwrap(), None);
}

#[test]
fn a_later_run_of_a_name_names_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let (mut runs, _) = runs(&directory);
    runs.took_over([6; 16], [5; 16]);
    assert_eq!(runs.opening([6; 16], 3).unwrap(), None, "that run was never closed");
    push(&mut runs, 5, 1, 1);
    let ended = runs.close([5; 16], ClosedReason::Idle, 9, 2).unwrap().unwrap();
    runs.took_over([6; 16], [5; 16]);
    let opened = runs.opening([6; 16], 9).unwrap().unwrap();
    let Ok(Leaf::RunOpened(opened)) = Leaf::decode(&opened) else { panic!("an opening leaf") };
    assert_eq!(opened.previous.closed, sealtap_common::tree::leaf_hash(&ended.closed));
    assert_eq!(runs.opening([6; 16], 9).unwrap(), None, "it is said once");
}

#[test]
fn closed_names_are_forgotten_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let (mut runs, _) = runs(&directory);
    for n in 0..super::GENERATION * 3 {
        runs.remember(u128::to_be_bytes(n as u128), [0; 32]);
        assert!(runs.young.len() + runs.old.len() <= 2 * super::GENERATION);
    }
}
