//! Damage: whatever is edited, taken out or torn is found and named.

use std::io;
use std::path::Path;

use rusqlite::Connection;
use sealtap_common::websocket::{Indexer, MessageIndex};

use super::super::{
    Direction, Finding, RunFilter, SealedExchange, Slot, Store, StoreError, StoreReader, schema,
};
use super::fixture::{Journal, KEY, Sample, noise_bytes, text_bytes};

/// A store of three exchanges over a log that begins with a leaf of another kind.
fn filled(directory: &Path) -> Vec<SealedExchange> {
    let mut journal = Journal::default();
    let batch: Vec<_> = (1..4)
        .map(|leaf| {
            let request = noise_bytes(leaf, 90_000);
            Sample::new(leaf).run_name("one").bodies(&mut journal, &request, &text_bytes(leaf, 900))
        })
        .collect();
    Store::open(directory, &KEY).unwrap().put(&batch, &mut journal).unwrap();
    batch
}

fn findings(directory: &Path, batch: &[SealedExchange]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut leaf = |index: u64| -> io::Result<Vec<u8>> {
        let exchange = batch.iter().find(|exchange| exchange.leaf_index == index);
        Ok(exchange.map_or_else(|| b"{}".to_vec(), |exchange| exchange.leaf.clone()))
    };
    let mut reader = StoreReader::open(directory).unwrap();
    let check = reader.check(4, &mut leaf, &mut |finding| found.push(finding)).unwrap();
    assert_eq!(check.findings, found.len() as u64);
    found
}

#[test]
fn a_sound_store_gives_no_finding() {
    let directory = tempfile::tempdir().unwrap();
    let batch = filled(directory.path());
    assert_eq!(findings(directory.path(), &batch), Vec::new());
}

#[test]
fn what_is_in_the_log_and_nowhere_else_is_a_finding_below_the_watermark_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let batch = [0, 1, 2].map(|leaf| Sample::new(leaf).bodies(&mut journal, b"q", b"a"));
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    store.put(&batch[..1], &mut journal).unwrap();
    let mut leaf = |index: u64| Ok(batch[usize::try_from(index).unwrap()].leaf.clone());
    let mut reader = StoreReader::open(directory.path()).unwrap();
    let check = reader.check(3, &mut leaf, &mut |finding| panic!("{finding}")).unwrap();
    assert_eq!((check.exchanges, check.absent, check.bytes), (1, 2, 2));
    store.advance(2).unwrap();
    store.advance(1).unwrap();
    assert_eq!(store.watermark().unwrap(), 2);
    let mut found = Vec::new();
    let check = reader.check(3, &mut leaf, &mut |finding| found.push(finding.to_string())).unwrap();
    assert_eq!((check.absent, check.findings), (1, 1));
    let id = super::super::facts::hex(&batch[1].id);
    assert_eq!(
        found,
        [format!(
            "leaf 1, exchange {id}, record: it is not in the store, and no leaf states that it is held no longer"
        )]
    );
}

#[test]
fn every_edit_of_a_row_is_found() {
    // What is done to the database, at which leaf it must show, and in which part.
    let edits = [
        ("UPDATE exchange SET record = x'7b7d' WHERE leaf = 2", 2, "record"),
        ("UPDATE exchange SET number = 99 WHERE leaf = 2", 2, "record"),
        ("UPDATE exchange SET boot = zeroblob(16) WHERE leaf = 2", 2, "record"),
        ("UPDATE exchange SET id = zeroblob(16) WHERE leaf = 2", 2, "record"),
        ("UPDATE exchange SET leaf = 0 WHERE leaf = 2", 2, "record"),
        ("UPDATE run SET id = zeroblob(16)", 2, "record"),
        ("DELETE FROM run", 2, "record"),
        ("UPDATE run SET name = 'evil'", 2, "run"),
        ("UPDATE run SET name = NULL", 2, "run"),
        ("DELETE FROM exchange WHERE leaf = 2", 2, "record"),
        ("UPDATE unit SET key = zeroblob(32) WHERE place = 2 * 8", 2, "request head"),
        ("UPDATE unit SET bytes = x'7b7d' WHERE place = 2 * 8 + 2", 2, "response head"),
        ("DELETE FROM unit WHERE place = 2 * 8 + 5", 2, "context"),
        ("INSERT INTO unit VALUES (2 * 8 + 4, zeroblob(32), x'7b7d')", 2, "interim answers"),
        ("UPDATE body SET key = zeroblob(32) WHERE place = 2 * 2 + 1", 2, "response body"),
        ("UPDATE body SET dialect = 'event-stream/1' WHERE place = 4", 2, "request body"),
        ("UPDATE body SET length = length - 1 WHERE place = 4", 2, "request body"),
        ("UPDATE body SET sha256 = zeroblob(32) WHERE place = 4", 2, "request body"),
        ("UPDATE body SET recipe = x'' WHERE place = 4", 2, "request body"),
        ("UPDATE body SET recipe = x'80' WHERE place = 4", 2, "request body"),
        ("UPDATE body SET parent = 4, shared = 1, depth = 1 WHERE place = 4", 2, "request body"),
        ("DELETE FROM body WHERE place = 4", 2, "request body"),
        ("DELETE FROM content WHERE key = 4", 2, "request body"),
        ("UPDATE content SET form = 7 WHERE key = 4", 2, "request body"),
        ("UPDATE content SET form = 1 WHERE key = 4", 2, "request body"),
        ("UPDATE content SET bytes = zeroblob(length(bytes)) WHERE key = 4", 2, "request body"),
        ("UPDATE content SET bytes = substr(bytes, 2) WHERE key = 4", 2, "request body"),
        ("UPDATE content SET bytes = substr(bytes, 2) WHERE key = 6", 2, "response body"),
    ];
    for (edit, leaf, part) in edits {
        let directory = tempfile::tempdir().unwrap();
        let batch = filled(directory.path());
        let database = Connection::open(schema::file(directory.path())).unwrap();
        database.pragma_update(None, "foreign_keys", false).unwrap();
        assert!(database.execute(edit, []).unwrap() > 0, "{edit}");
        drop(database);
        let found = findings(directory.path(), &batch);
        assert!(
            found.iter().any(|finding| finding.leaf == leaf && finding.part == part),
            "{edit}: {found:?}"
        );
    }
}

#[test]
fn damaged_bytes_end_show_body_with_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let batch = filled(directory.path());
    let database = Connection::open(schema::file(directory.path())).unwrap();
    let edit = "UPDATE content SET bytes = zeroblob(length(bytes)) WHERE key = 4";
    assert_eq!(database.execute(edit, []).unwrap(), 1);
    let mut reader = StoreReader::open(directory.path()).unwrap();
    let mut out = Vec::new();
    let error = reader.write_body(&batch[1].id, Direction::Request, &mut out).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("request body"), "{error}");
}

#[test]
fn a_torn_database_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path());
    let file = schema::file(directory.path());
    let whole = std::fs::read(&file).unwrap();
    // Each half of the file in turn is overwritten; the header is left.
    for range in [4096..whole.len() / 2, whole.len() / 2..whole.len()] {
        let mut torn = whole.clone();
        torn[range].fill(0xa5);
        std::fs::write(&file, &torn).unwrap();
        let read = StoreReader::open(directory.path()).and_then(|mut reader| {
            for exchange in reader.page(0, 10, RunFilter::All)? {
                for direction in [Direction::Request, Direction::Response] {
                    reader.write_body(&exchange.id, direction, &mut io::sink())?;
                }
            }
            Ok(())
        });
        let error = read.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("exchanges.db"), "{error}");
    }
}

#[test]
fn a_message_index_that_its_bodies_do_not_bear_out_is_found() {
    let text = [0x81, 2, b'h', b'i'];
    let close = [0x88, 0];
    let side = |bytes: &[u8]| {
        let mut indexer = Indexer::default();
        indexer.push(bytes);
        indexer.finish()
    };
    let index = |request: &[u8]| MessageIndex { request: side(request), response: side(&close) };
    let found = |unit: Vec<u8>| {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::default();
        let session = Sample::new(0).unit(Slot::Messages, unit).bodies(&mut journal, &text, &close);
        let batch = [session];
        Store::open(directory.path(), &KEY).unwrap().put(&batch, &mut journal).unwrap();
        let mut leaf = |_: u64| Ok(batch[0].leaf.clone());
        let mut found = Vec::new();
        let mut reader = StoreReader::open(directory.path()).unwrap();
        reader.check(1, &mut leaf, &mut |finding| found.push(finding)).unwrap();
        found
    };
    assert_eq!(found(index(&text).encode()), Vec::new());
    let later = String::from_utf8(index(&text).encode()).unwrap().replace("1,0]", "1,99]");
    assert_eq!(found(later.into_bytes()), Vec::new(), "times are the gateway's word");
    for odd in [index(&close).encode(), index(b"").encode(), b"{}".to_vec()] {
        let found = found(odd);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].part, "message index", "{found:?}");
    }
}

#[test]
fn a_body_that_does_not_begin_as_was_told_is_found() {
    use sealtap_common::commit::Dialect;
    use sealtap_common::encoding::Id;
    use sealtap_common::leaf::{Leaf, Prefix, Progress, ProgressEntry, Ranges};

    use crate::seal::cutter::Cutter;

    let directory = tempfile::tempdir().unwrap();
    let batch = filled(directory.path());
    let body = noise_bytes(1, 90_000);
    let prefix = |length: usize| {
        let mut cutter = Cutter::new([0; 32], Dialect::Bytes);
        cutter.push(&body[..length]);
        cutter.prefix()
    };
    let found = |prefix: &Prefix| {
        let (exchange, number) = (Id(batch[0].id), batch[0].number);
        let entries = vec![ProgressEntry { exchange, number, request: *prefix, response: None }];
        let (boot, ext, unchanged) = (Id([0xb0; 16]), Default::default(), Ranges::default());
        let told = Leaf::Progress(Progress { boot, entries, ext, sealed: 0, unchanged });
        let told = told.encode().unwrap();
        let mut leaf = |index: u64| -> io::Result<Vec<u8>> {
            let exchange = batch.iter().find(|exchange| exchange.leaf_index == index);
            Ok(exchange.map_or_else(|| told.clone(), |exchange| exchange.leaf.clone()))
        };
        let mut reader = StoreReader::open(directory.path()).unwrap();
        let mut found = Vec::new();
        reader.check(4, &mut leaf, &mut |finding| found.push(finding.to_string())).unwrap();
        found
    };
    for length in [0, 1, 65_535, 65_536, 65_537, 89_999, 90_000] {
        let told = prefix(length);
        assert_eq!(found(&told), Vec::<String>::new(), "{length}");
        let mut others = Vec::new();
        if let Some(tail) = told.tail {
            let mut other = tail;
            other[0] ^= 1;
            others.push(Prefix { tail: Some(other), ..told });
            others.push(Prefix { length: told.length + 1, ..told });
        }
        if told.segments > 0 {
            others.push(Prefix { root: [1; 32], ..told });
        }
        for other in others {
            let findings = found(&other);
            assert_eq!(findings.len(), 1, "{length} {other:?}");
            assert!(findings[0].contains("does not begin"), "{findings:?}");
        }
    }
}

#[test]
fn rows_that_no_leaf_leads_to_are_counted() {
    let edits = [
        "INSERT INTO exchange SELECT leaf + 1000, zeroblob(16), zeroblob(16), 77, run, record, ttfb,
         duration FROM exchange WHERE leaf = 2",
        "INSERT INTO exchange SELECT -1, zeroblob(16), zeroblob(16), 77, run, record, ttfb,
         duration FROM exchange WHERE leaf = 2",
        "INSERT INTO unit VALUES (999999, zeroblob(32), x'41')",
        "INSERT INTO unit VALUES (-1, zeroblob(32), x'41')",
        "INSERT INTO body SELECT place + 100000, key, dialect, length, segments, sha256, parent,
         shared, depth, recipe FROM body LIMIT 1",
    ];
    for edit in edits {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let strays = || {
            let reader = StoreReader::open(directory.path()).unwrap();
            reader.strays(&mut || Ok(4)).unwrap().words()
        };
        assert_eq!(strays(), None);
        let database = Connection::open(schema::file(directory.path())).unwrap();
        assert_eq!(database.execute(edit, []).unwrap(), 1, "{edit}");
        drop(database);
        assert!(strays().is_some_and(|words| words.contains("has 1 ")), "{edit}");
    }
}

#[test]
fn what_is_no_store_of_ours_is_refused_at_once() {
    let edits = [
        "ALTER TABLE exchange RENAME TO ex2; CREATE VIEW exchange AS SELECT * FROM ex2",
        "ALTER TABLE run RENAME TO run2; CREATE VIEW run AS WITH RECURSIVE r(key) AS
         (SELECT 1 UNION ALL SELECT key + 1 FROM r) SELECT key, zeroblob(16) id, 'n' name FROM r",
        "CREATE TABLE evil(x)",
        "CREATE TRIGGER evil AFTER INSERT ON unit BEGIN DELETE FROM unit; END",
        "CREATE INDEX evil ON unit(key)",
    ];
    for edit in edits {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let database = Connection::open(schema::file(directory.path())).unwrap();
        database.execute_batch(edit).unwrap();
        drop(database);
        let error = StoreReader::open(directory.path()).err().unwrap();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{edit}: {error}");
        let error = Store::open(directory.path(), &KEY).err().unwrap();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{edit}: {error}");
    }
    for name in ["exchanges.db", "exchanges.db-wal"] {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let file = directory.path().join(name);
        let _ = std::fs::remove_file(&file);
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &file, kind, mode, 0).unwrap();
        let error = StoreReader::open(directory.path()).err().unwrap();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{name}: {error}");
        let error = Store::open(directory.path(), &KEY).err().unwrap();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{name}: {error}");
    }
}

#[test]
fn a_value_that_no_waiting_makes_smaller_is_refused_and_keeps_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    let limit = rusqlite::limits::Limit::SQLITE_LIMIT_LENGTH;
    store.connection.set_limit(limit, 20_000).unwrap();
    let large = Sample::new(0).bodies(&mut journal, &noise_bytes(1, 60_000), b"ok");
    let small = Sample::new(1).bodies(&mut journal, b"q", b"a");
    let error = store.put(&[large], &mut journal).unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }) && !error.is_passing(), "{error}");
    assert_eq!(store.put(&[small], &mut journal).unwrap().exchanges, 1);
}

#[test]
fn a_recipe_of_millions_is_found_without_being_unfolded() {
    let directory = tempfile::tempdir().unwrap();
    let batch = filled(directory.path());
    let database = Connection::open(schema::file(directory.path())).unwrap();
    let edit = "UPDATE body SET recipe = zeroblob(200000000) WHERE place = 4";
    assert_eq!(database.execute(edit, []).unwrap(), 1);
    drop(database);
    let found = findings(directory.path(), &batch);
    assert!(found.iter().any(|finding| finding.part == "request body"), "{found:?}");
}
