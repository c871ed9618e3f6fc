//! What leaves bind beside exchanges: whatever is edited, taken out or put in is found and named.

use std::io;
use std::path::Path;

use rusqlite::Connection as Database;
use sealtap_common::commit::{self, BodyKey, Unit, UnitKind};
use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    Attribution, Bypass, BypassUnit, BypassVerdict, BypassWay, Connection, ConnectionEnd,
    DnsQueries, Extensions, Limit, Passed, Ranges, Retention, Side,
};

use super::super::retention::statements;
use super::super::{Beside, Finding, LeafLookup, Store, StoreReader, schema};
use super::fixture::KEY;
use crate::seal::aside::SealedAside;
use crate::seal::connections::KeptUnit;

const BOOT: Id = Id([0xb0; 16]);

/// A log's leaves, and the units that a journal is said to have. A store prunes what it was told to once
/// leaf 3 is asked for.
struct Log {
    leaves: Vec<Vec<u8>>,
    kept: Vec<Unit>,
    pruning: Option<Store>,
}

impl LeafLookup for Log {
    fn leaf(&mut self, index: u64) -> io::Result<Vec<u8>> {
        if index == 3
            && let Some(mut store) = self.pruning.take()
        {
            assert!(!store.to_prune().unwrap().is_empty());
            store.prune(64).unwrap();
        }
        Ok(self.leaves[usize::try_from(index).unwrap()].clone())
    }

    fn stated_since(&mut self, size: u64) -> io::Result<Vec<Ranges>> {
        let further = &self.leaves[usize::try_from(size).unwrap()..];
        // Leaves of no kind, which a log of a later version may have, state nothing.
        let stated =
            further.iter().filter_map(|leaf| statements(size, std::slice::from_ref(leaf)).ok());
        Ok(stated.flatten().map(|(_, retention)| retention.leaves).collect())
    }

    fn keeps(&mut self, unit: &Unit) -> io::Result<bool> {
        Ok(self.kept.contains(unit))
    }
}

fn bind(kind: UnitKind, bytes: &[u8]) -> Unit {
    commit::unit(&BodyKey::new([9; 32]), kind, bytes)
}

/// A connection in two parts, of which the second one carried more.
fn connection(part: u64, exchanges: &[(u64, u64)]) -> Vec<u8> {
    let leaf = Connection {
        attribution: Attribution::Unknown,
        began: 1,
        boot: BOOT,
        bytes: Passed::default(),
        connection: Id([2; 16]),
        cookie: Some(3),
        coverage: Id([1; 16]),
        end: ConnectionEnd::Closed,
        ended: 2,
        exchanges: Ranges::new(exchanges.to_vec()).unwrap(),
        ext: Extensions::new(),
        first: 1,
        kernel: None,
        last: 1,
        maker: bind(UnitKind::Maker, b"its maker"),
        number: 1,
        part,
        parts: 2,
        sealed: 100,
        side: Side::Client,
    };
    leaf.encode().unwrap()
}

fn bypass(number: u64, who: Option<Unit>) -> Vec<u8> {
    let leaf = Bypass {
        boot: BOOT,
        count: 1,
        coverage: Id([1; 16]),
        ext: Extensions::new(),
        number,
        sealed: 103,
        statement: 1,
        unit: BypassUnit::Packet,
        verdict: BypassVerdict::Passed,
        way: BypassWay::Raw,
        who,
    };
    leaf.encode().unwrap()
}

fn queries() -> Vec<u8> {
    let leaf = DnsQueries {
        boot: BOOT,
        coverage: Id([1; 16]),
        cut: 0,
        ext: Extensions::new(),
        lost: 0,
        names: Some(bind(UnitKind::Questions, b"its names")),
        number: 1,
        omitted: 0,
        parsed: 1,
        questions: 1,
        sealed: 105,
        seen: 1,
        statement: 1,
        unparsable: 0,
    };
    leaf.encode().unwrap()
}

/// Who made a connection at leaf 1, of two parts; who went around at 3; at 4 a way around that only
/// counts; at 5 names; at 6 a statement of retention over `gone`, if there is any.
fn log(gone: Option<(u64, u64)>) -> Log {
    let other = b"{}".to_vec();
    let retention = |range| {
        let leaves = Ranges::new(vec![range]).unwrap();
        let limit = Limit { age: Some(1), bytes: None };
        let leaf = Retention { boot: BOOT, ext: Extensions::new(), leaves, limit, sealed: 106 };
        leaf.encode().unwrap()
    };
    let leaves = vec![
        other.clone(),
        connection(1, &[(1, 1), (3, 4)]),
        connection(2, &[(7, 7)]),
        bypass(1, Some(bind(UnitKind::Maker, b"who went"))),
        bypass(2, None),
        queries(),
        gone.map_or(other, retention),
    ];
    Log { leaves, kept: Vec::new(), pruning: None }
}

/// The same leaves, for a log of files.
pub(in super::super) fn leaves(gone: Option<(u64, u64)>) -> Vec<Vec<u8>> {
    log(gone).leaves
}

fn asides() -> [SealedAside; 3] {
    let aside = |leaf, bytes: &[u8], sealed| {
        let unit = Some(KeptUnit { key: [9; 32], bytes: bytes.to_vec() });
        SealedAside { leaf, unit, carried: None, held: None, sealed, weight: 0 }
    };
    let carried = Ranges::new(vec![(1, 1), (3, 4), (7, 7)]).unwrap();
    [
        SealedAside { carried: Some((BOOT, carried)), ..aside(1, b"its maker", 100) },
        aside(3, b"who went", 103),
        aside(5, b"its names", 105),
    ]
}

/// Each leaf of the log but the ones of no kind is read as what it is.
#[test]
fn the_log_is_one_that_can_be_read() {
    for (index, leaf) in log(Some((1, 2))).leaves.iter().enumerate().skip(1) {
        sealtap_common::leaf::Leaf::decode(leaf).unwrap_or_else(|error| panic!("{index}: {error}"));
    }
}

/// A store with what these leaves bind.
pub(in super::super) fn filled(directory: &Path) -> Store {
    let mut store = Store::open(directory, &KEY).unwrap();
    store.put_asides(&asides()).unwrap();
    store
}

fn check(directory: &Path, log: &mut Log) -> (Beside, Vec<Finding>) {
    check_of(7, directory, log)
}

fn check_of(size: u64, directory: &Path, log: &mut Log) -> (Beside, Vec<Finding>) {
    let mut found = Vec::new();
    let mut reader = StoreReader::open(directory).unwrap();
    let check = reader.check(size, log, &mut |finding| found.push(finding)).unwrap();
    assert_eq!(check.findings, found.len() as u64);
    (check.beside, found)
}

fn edited(directory: &Path, edit: &str) {
    let database = Database::open(schema::file(directory)).unwrap();
    assert!(database.execute(edit, []).unwrap() > 0, "{edit}");
}

#[test]
fn what_is_as_it_was_sealed_gives_no_finding() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path()));
    let (beside, found) = check(directory.path(), &mut log(None));
    assert_eq!(found, Vec::new());
    assert_eq!(beside, Beside { checked: 3, ..Beside::default() });
    let reader = StoreReader::open(directory.path()).unwrap();
    assert_eq!(reader.strays(&mut || Ok(7)).unwrap().words(), None);
}

#[test]
fn every_edit_of_a_row_is_found() {
    let edits = [
        ("UPDATE aside SET bytes = CAST('her maker' AS BLOB) WHERE leaf = 1", 1, "maker"),
        ("UPDATE aside SET key = zeroblob(32) WHERE leaf = 1", 1, "maker"),
        ("UPDATE aside SET key = x'' WHERE leaf = 1", 1, "maker"),
        ("DELETE FROM aside WHERE leaf = 1", 1, "maker"),
        ("UPDATE aside SET leaf = 2 WHERE leaf = 1", 1, "maker"),
        ("UPDATE aside SET leaf = 2 WHERE leaf = 1", 2, "unit"),
        ("UPDATE carried SET last = 5 WHERE first = 3", 1, "maker"),
        ("UPDATE carried SET boot = zeroblob(16) WHERE first = 7", 1, "maker"),
        ("UPDATE carried SET leaf = 3 WHERE first = 7", 1, "maker"),
        ("UPDATE carried SET leaf = 3 WHERE first = 7", 3, "who went around"),
        ("UPDATE carried SET leaf = 6 WHERE first = 7", 6, "unit"),
        ("DELETE FROM carried WHERE first = 7", 1, "maker"),
        ("INSERT INTO carried VALUES (zeroblob(16), 9, 9, 1)", 1, "maker"),
        ("INSERT INTO carried VALUES (zeroblob(16), 9, 9, 5)", 5, "names"),
        ("UPDATE aside_time SET sealed = 1 WHERE leaf = 1", 1, "maker"),
        ("DELETE FROM aside_time WHERE leaf = 3", 3, "who went around"),
        ("INSERT INTO aside_time VALUES (0, 1)", 0, "unit"),
        ("UPDATE aside SET bytes = CAST('who went!' AS BLOB) WHERE leaf = 3", 3, "who went around"),
        ("DELETE FROM aside WHERE leaf = 3", 3, "who went around"),
        ("INSERT INTO aside VALUES (4, zeroblob(32), x'7b7d')", 4, "unit"),
        ("UPDATE aside SET bytes = CAST('no names!' AS BLOB) WHERE leaf = 5", 5, "names"),
        ("DELETE FROM aside WHERE leaf = 5", 5, "names"),
        ("INSERT INTO aside VALUES (6, zeroblob(32), x'7b7d')", 6, "unit"),
    ];
    for (edit, leaf, part) in edits {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path()));
        edited(directory.path(), edit);
        let (_, found) = check(directory.path(), &mut log(None));
        assert!(
            found.iter().any(|finding| finding.leaf == leaf && finding.part == part),
            "{edit}: {found:?}"
        );
    }
    // A row too many shows by itself, and nothing else does.
    for edit in [
        "INSERT INTO aside VALUES (4, zeroblob(32), x'7b7d')",
        "INSERT INTO aside_time VALUES (2, 1)",
    ] {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path()));
        edited(directory.path(), edit);
        assert_eq!(check(directory.path(), &mut log(None)).1.len(), 1, "{edit}");
    }
}

#[test]
fn what_is_gone_with_all_of_its_rows_is_found_or_unknown() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path()));
    for table in schema::ASIDE_TABLES {
        edited(directory.path(), &format!("DELETE FROM {table} WHERE leaf IN (1, 5)"));
    }
    let (beside, found) = check(directory.path(), &mut log(None));
    assert_eq!((beside.checked, beside.absent), (1, 0));
    let found: Vec<String> = found.iter().map(Finding::to_string).collect();
    let missing = "it is not in the store, and no leaf states that it is held no longer";
    assert_eq!(found, [format!("leaf 1, maker: {missing}"), format!("leaf 5, names: {missing}")]);
    // The journal has one, and a leaf states that the other is held no longer.
    let mut log = log(Some((4, 5)));
    log.kept.push(bind(UnitKind::Maker, b"its maker"));
    let (beside, found) = check(directory.path(), &mut log);
    assert_eq!(found, Vec::new());
    assert_eq!(beside, Beside { checked: 1, pending: 1, pruned: 1, ..Beside::default() });
}

#[test]
fn what_the_store_does_not_claim_to_have_is_no_finding() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    let beside = |checked, absent| Beside { checked, absent, ..Beside::default() };
    assert_eq!(check(directory.path(), &mut log(None)), (beside(0, 3), Vec::new()));
    store.put_asides(&asides()[1..2]).unwrap();
    let (counted, found) = check(directory.path(), &mut log(None));
    assert_eq!((counted, found.len()), (beside(1, 1), 1), "{found:?}");
    assert_eq!((found[0].leaf, found[0].part), (1, "maker"));
}

#[test]
fn what_retention_took_is_no_finding() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = filled(directory.path());
    let mut log = log(Some((1, 5)));
    store.state(&statements(6, &log.leaves[6..]).unwrap()).unwrap();
    let checked = Beside { checked: 3, ..Beside::default() };
    assert_eq!(check(directory.path(), &mut log), (checked, Vec::new()), "stated, and still there");
    store.prune(64).unwrap();
    let pruned = Beside { pruned: 3, ..Beside::default() };
    assert_eq!(check(directory.path(), &mut log), (pruned, Vec::new()));
}

/// A gateway prunes beside the check, under a statement behind the leaves that are checked.
#[test]
fn what_retention_takes_meanwhile_is_no_finding() {
    let check = |stated: &[u8]| {
        let directory = tempfile::tempdir().unwrap();
        let mut store = filled(directory.path());
        let mut log = log(Some((1, 5)));
        store.state(&statements(6, &log.leaves[6..]).unwrap()).unwrap();
        log.pruning = Some(store);
        log.leaves[6] = stated.to_vec();
        check_of(6, directory.path(), &mut log)
    };
    let since = Beside { checked: 1, since: 2, ..Beside::default() };
    assert_eq!(check(&log(Some((1, 5))).leaves[6]), (since, Vec::new()));
    // Without a leaf that says so it is lost, and each by itself.
    let lost = |stated: &[u8]| -> Vec<u64> {
        check(stated).1.iter().map(|finding| finding.leaf).collect()
    };
    assert_eq!(lost(b"{}"), [3, 5]);
    assert_eq!(lost(&log(Some((1, 3))).leaves[6]), [5]);
}

/// Of a data directory from elsewhere no more is read than tells that it is too much.
#[test]
fn more_rows_than_a_leaf_seals_are_found_and_not_all_read() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path()));
    let many =
        "WITH RECURSIVE number(it) AS (SELECT 100 UNION ALL SELECT it + 1 FROM number LIMIT 900)
        INSERT INTO carried SELECT zeroblob(1000), it, it, 1 FROM number";
    edited(directory.path(), many);
    let (_, found) = check(directory.path(), &mut log(None));
    let found: Vec<String> = found.iter().map(Finding::to_string).collect();
    assert_eq!(found, ["leaf 1, maker: more exchanges are stored as its own than were sealed"]);
    let Ok(rows) = StoreReader::open(directory.path()).unwrap().bound_rows(1, 3) else { panic!() };
    assert_eq!(rows.carried.len(), 4);
    assert!(rows.carried.iter().all(|(boot, ..)| boot.len() <= 17));
}

#[test]
fn a_store_that_lacks_a_table_has_none_of_it() {
    for table in schema::ASIDE_TABLES {
        let directory = tempfile::tempdir().unwrap();
        drop(filled(directory.path()));
        let database = Database::open(schema::file(directory.path())).unwrap();
        database.execute_batch(&format!("DROP TABLE {table}")).unwrap();
        let (beside, found) = check(directory.path(), &mut log(None));
        let leaves: Vec<u64> = found.iter().map(|finding| finding.leaf).collect();
        assert_eq!((beside, leaves), (Beside::default(), vec![1, 3, 5]), "{table}");
        let reader = StoreReader::open(directory.path()).unwrap();
        assert_eq!(reader.strays(&mut || Ok(7)).unwrap().words(), None, "{table}");
    }
}

#[test]
fn rows_at_no_leaf_of_the_log_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    drop(filled(directory.path()));
    edited(directory.path(), "INSERT INTO aside VALUES (70, zeroblob(32), x'7b7d')");
    edited(directory.path(), "INSERT INTO aside_time VALUES (-1, 1)");
    edited(directory.path(), "INSERT INTO carried VALUES (zeroblob(16), 9, 9, 71)");
    let reader = StoreReader::open(directory.path()).unwrap();
    let strays = reader.strays(&mut || Ok(7)).unwrap();
    assert_eq!(strays.beside, 3);
    let words = "the store has 3 row(s) on connections, ways around or names at no leaf of the log";
    assert_eq!(strays.words().as_deref(), Some(words));
}
