//! What a check says of a store from which retention took something.

use std::io;

use sealtap_common::leaf::{Leaf, Ranges};

use super::{KEY, conversation, finish, statement};
use crate::store::tests::fixture::Journal;
use crate::store::{LeafLookup, SealedExchange, Store, StoreReader};

#[test]
fn only_what_a_leaf_has_named_may_be_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let (batch, _) = conversation(4, &mut journal);
    store.put(&batch, &mut journal).unwrap();
    let (index, retention) = statement(5, 1, 2);
    store.state(&[(index, retention.clone())]).unwrap();
    finish(&mut store);
    let retention = Leaf::Retention(retention).encode().unwrap();
    let restart = br#"{"ext":{},"kind":"unknown","sealed":1,"v":1}"#.to_vec();
    let check = |statement: &[u8]| {
        let mut leaf = |index: u64| {
            Ok(match index {
                0 => restart.clone(),
                1..=4 => batch[usize::try_from(index).unwrap() - 1].leaf.clone(),
                _ => statement.to_vec(),
            })
        };
        let mut reader = StoreReader::open(directory.path()).unwrap();
        let mut found = Vec::new();
        let check = reader.check(6, &mut leaf, &mut |finding| found.push(finding.leaf)).unwrap();
        (check.exchanges, check.pruned, found)
    };
    assert_eq!(check(&retention), (2, 2, vec![]));
    assert_eq!(check(&restart), (2, 0, vec![1, 2]));
    let (_, short) = statement(5, 2, 2);
    assert_eq!(check(&Leaf::Retention(short).encode().unwrap()), (2, 1, vec![1]));
}

/// A log of four exchanges; once leaf 2 is asked for, the store prunes the first two, which `stated`
/// names behind them.
struct GoingOn<'a> {
    batch: &'a [SealedExchange],
    store: Option<Store>,
    stated: Option<Ranges>,
}

impl LeafLookup for GoingOn<'_> {
    fn leaf(&mut self, index: u64) -> io::Result<Vec<u8>> {
        if index == 2
            && let Some(mut store) = self.store.take()
        {
            assert_eq!(finish(&mut store).exchanges, 2);
        }
        let before = usize::try_from(index).unwrap().checked_sub(1);
        Ok(before.map_or_else(|| b"{}".to_vec(), |at| self.batch[at].leaf.clone()))
    }

    fn stated_since(&mut self, size: u64) -> io::Result<Vec<Ranges>> {
        assert_eq!(size, 5);
        Ok(self.stated.iter().cloned().collect())
    }
}

#[test]
fn what_goes_during_a_check_is_neither_lost_nor_checked() {
    let (_, said) = statement(5, 1, 2);
    for stated in [Some(said.leaves.clone()), None] {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, mut store) =
            (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
        let (batch, _) = conversation(4, &mut journal);
        store.put(&batch, &mut journal).unwrap();
        store.state(&[(5, said.clone())]).unwrap();
        let mut reader = StoreReader::open(directory.path()).unwrap();
        let first = reader.at_leaf(1).unwrap().unwrap();
        let (mut found, named) = (Vec::new(), stated.is_some());
        let mut log = GoingOn { batch: &batch, store: Some(store), stated };
        let check = reader.check(5, &mut log, &mut |finding| found.push(finding.leaf)).unwrap();
        assert_eq!((check.exchanges, check.pruned, check.absent), (3, 0, 0));
        assert_eq!((check.since, found), if named { (1, vec![]) } else { (0, vec![2]) });
        // One whose row was read before, and whose bytes are looked for after.
        let Ok(Leaf::Exchange(leaf)) = Leaf::decode(&first.leaf) else { panic!("{first:?}") };
        let held = reader.held(&first, &first.leaf, &leaf, &[], &mut |part, detail| {
            panic!("{part}: {detail}");
        });
        assert_eq!(held, None);
    }
}
