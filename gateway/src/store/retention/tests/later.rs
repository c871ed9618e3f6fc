//! What comes after retention took something: the next start, one that was late, a later version.

use super::{KEY, Tidied, body_of, conversation, finish, statement};
use crate::store::tests::fixture::Journal;
use crate::store::{Direction, Store, StoreError, StoreReader};

#[test]
fn every_step_may_be_the_last_before_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let (batch, bodies) = conversation(7, &mut journal);
    let open = || Store::open(directory.path(), &KEY).unwrap();
    let mut store = open();
    store.put(&batch[..6], &mut journal).unwrap();
    // The leaf is out and not noted: nothing is gone; the next start is told of it again.
    drop(store);
    let mut store = open();
    assert!(store.to_prune().unwrap().is_empty());
    store.state(&[statement(6, 1, 5)]).unwrap();
    // Noted, and nothing destroyed.
    drop(store);
    let mut store = open();
    store.state(&[statement(6, 1, 5)]).unwrap();
    assert_eq!(store.to_prune().unwrap(), 0..6);
    assert_eq!(store.prune(2).unwrap().exchanges, 2);
    // Some destroyed, nothing given back.
    drop(store);
    let mut store = open();
    assert_eq!(store.to_prune().unwrap(), 3..6);
    // One that had waited in the journal comes behind retention: only its row.
    assert_eq!(store.put(&batch[..1], &mut journal).unwrap().present, 1);
    assert_eq!(finish(&mut store).exchanges, 3);
    store.put(&batch, &mut journal).unwrap();
    drop(store);
    let store = open();
    assert!(store.to_prune().unwrap().is_empty());
    let mut reader = StoreReader::open(directory.path()).unwrap();
    for (exchange, body) in batch.iter().zip(&bodies).skip(5) {
        assert_eq!(body_of(&mut reader, &exchange.id, Direction::Request), *body);
    }
}

#[test]
fn what_comes_behind_retention_leaves_its_row_only() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let (batch, _) = conversation(3, &mut journal);
    store.put(&batch[1..], &mut journal).unwrap();
    store.state(&[statement(9, 1, 2)]).unwrap();
    finish(&mut store);
    assert_eq!(store.put(&batch[..1], &mut journal).unwrap().exchanges, 1);
    assert!(store.compacted(&batch[0].boot, batch[0].number).unwrap());
    let reader = StoreReader::open(directory.path()).unwrap();
    let stored = reader.exchange(&batch[0].id).unwrap().unwrap();
    assert_eq!((stored.units.len(), stored.bodies.len()), (0, 0));
    assert_eq!(stored.run_name, None, "whose other exchanges are gone as well");
    assert!(stored.pruned.is_some());
}

#[test]
fn what_goes_while_it_is_read_is_gone_and_not_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let (batch, _) = conversation(2, &mut journal);
    store.put(&batch, &mut journal).unwrap();
    let mut reader = StoreReader::open(directory.path()).unwrap();
    let mut read = 0;
    let error = reader
        .each_segment(&batch[1].id, Direction::Request, &mut |_, _| {
            read += 1;
            if read == 1 {
                store.state(&[statement(9, 1, 2)])?;
                finish(&mut store);
            }
            Ok(())
        })
        .unwrap_err();
    assert_eq!(read, 1, "the body has more than one segment");
    assert!(matches!(error, StoreError::Pruned { .. }), "{error}");
}

#[test]
fn a_store_that_cannot_be_written_anew_is_tidied_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let (batch, _) = conversation(2, &mut journal);
    store.put(&batch, &mut journal).unwrap();
    store.connection.execute_batch("PRAGMA auto_vacuum = NONE; VACUUM").unwrap();
    store.state(&[statement(9, 1, 2)]).unwrap();
    while !store.to_prune().unwrap().is_empty() {
        store.prune(64).unwrap();
    }
    // Nothing can be written, as on a disk without room; folding the log in is no writing.
    store.connection.execute_batch("PRAGMA query_only = ON").unwrap();
    assert_eq!(store.tidy().unwrap(), Tidied::Wholly);
}

#[test]
fn a_store_of_the_first_version_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let (batch, bodies) = conversation(3, &mut journal);
    store.put(&batch, &mut journal).unwrap();
    // As version 1 left it: no table, no way to shrink.
    let made = "DROP TABLE retention; PRAGMA user_version = 1; PRAGMA auto_vacuum = NONE; VACUUM";
    store.connection.execute_batch(made).unwrap();
    drop(store);
    let mut reader = StoreReader::open(directory.path()).unwrap();
    assert_eq!(body_of(&mut reader, &batch[0].id, Direction::Request), bodies[0]);
    assert_eq!(reader.at_leaf(9).unwrap(), None);
    drop(reader);
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    store.state(&[statement(9, 1, 2)]).unwrap();
    finish(&mut store);
    let mut reader = StoreReader::open(directory.path()).unwrap();
    assert_eq!(body_of(&mut reader, &batch[2].id, Direction::Request), bodies[2]);
}
