//! Retention on real database files: what goes, what stays, and what a crash between two steps leaves.

use std::io;
use std::path::Path;
use std::time::Duration;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{Extensions, Leaf, Limit, Ranges, Retention};

use sealtap_common::unit::{Maker, ProcessSeen};

use super::*;
use crate::seal::aside::SealedAside;
use crate::seal::connections::KeptUnit;
use crate::store::tests::fixture::{Journal, KEY, Sample, body_of, noise_bytes};
use crate::store::{
    Direction, LeafLookup, SealedBody, SealedExchange, Segment, Store, StoreError, StoreReader,
};

const LIMIT: Limit = Limit { age: Some(30 * 86_400 * 1_000_000), bytes: None };

fn statement(index: u64, first: u64, last: u64) -> Statement {
    let leaves = Ranges::new(vec![(first, last)]).unwrap();
    let (boot, ext, sealed) = (Id([1; 16]), Extensions::new(), 1_800_000_000_000_000);
    (index, Retention { boot, ext, leaves, limit: LIMIT, sealed })
}

/// An exchange at leaf `index` whose request consists of `parts`, a segment each.
fn exchange(index: u64, parts: &[Vec<u8>], journal: &mut Journal) -> SealedExchange {
    let mut offset = 0;
    let segments = parts.iter().map(|part| {
        let length = part.len() as u64;
        offset += length;
        Segment { offset: offset - length, length, kind: 0 }
    });
    let request = SealedBody {
        direction: Direction::Request,
        key: [u8::try_from(index).unwrap(); 32],
        dialect: sealtap_common::commit::Dialect::EventStream,
        segments: segments.collect(),
        extents: journal.append(&parts.concat()),
    };
    Sample::new(index)
        .piece(1)
        .no_response()
        .run(u8::try_from(index).unwrap())
        .run_name("named")
        .seal(vec![request], journal)
}

/// An agent's conversation: each step sends everything before it again.
fn conversation(steps: u64, journal: &mut Journal) -> (Vec<SealedExchange>, Vec<Vec<u8>>) {
    let mut parts: Vec<Vec<u8>> = (0..6).map(|part| noise_bytes(part, 3_000)).collect();
    let mut bodies = Vec::new();
    let exchanges = (1..=steps).map(|step| {
        parts.push(noise_bytes(1_000 + step, 3_000));
        bodies.push(parts.concat());
        exchange(step, &parts, journal)
    });
    (exchanges.collect(), bodies)
}

/// Whether any file of the store has these bytes.
fn holds(directory: &Path, wanted: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        memchr::memmem::find(&bytes, wanted).is_some()
    })
}

fn finish(store: &mut Store) -> PrunedNow {
    let mut all = PrunedNow::default();
    while !store.to_prune().unwrap().is_empty() {
        all += store.prune(2).unwrap();
    }
    while store.tidy().unwrap() {}
    all
}

#[test]
fn the_oldest_go_and_what_others_share_stays_until_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let (batch, bodies) = conversation(9, &mut journal);
    store.put(&batch, &mut journal).unwrap();
    let only_last = noise_bytes(1_009, 3_000);
    assert!(holds(directory.path(), &only_last));
    for (at, gone) in (1..=8_u64).enumerate() {
        store.state(&[statement(100 + gone, gone, gone)]).unwrap();
        let pruned = finish(&mut store);
        assert_eq!((pruned.exchanges, pruned.contents), (1, 0), "step {gone} is in each later one");
        let mut reader = StoreReader::open(directory.path()).unwrap();
        for (exchange, body) in batch.iter().zip(&bodies).skip(at + 1) {
            assert_eq!(body_of(&mut reader, &exchange.id, Direction::Request), *body);
        }
        let lost = &batch[at];
        let mut out = Vec::new();
        let error = reader.write_body(&lost.id, Direction::Request, &mut out).unwrap_err();
        assert!(matches!(error, StoreError::Pruned { .. }), "{error}");
        assert!(error.to_string().contains("retention of 30d, stated in leaf 10"), "{error}");
        let stored = reader.exchange(&lost.id).unwrap().unwrap();
        assert_eq!((stored.units.len(), stored.bodies.len(), stored.run_name), (0, 0, None));
        assert_eq!(stored.pruned.map(|pruned| pruned.leaf), Some(100 + gone));
    }
    store.state(&[statement(109, 9, 9)]).unwrap();
    let pruned = finish(&mut store);
    assert_eq!((pruned.exchanges, pruned.contents), (1, 15));
    for text in [only_last, noise_bytes(0, 3_000), b"named".to_vec(), b"/v1/chat".to_vec()] {
        assert!(!holds(directory.path(), &text), "{} is still there", text.escape_ascii());
    }
    let rows = |table: &str| -> i64 {
        let text = format!("SELECT count(*) FROM {table}");
        store.connection.query_row(&text, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(["body", "segment", "content", "unit", "exchange"].map(rows), [0, 0, 0, 0, 9]);
}

#[test]
fn branches_of_a_recipe_keep_what_they_share() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let trunk: Vec<Vec<u8>> = (0..10).map(|part| noise_bytes(part, 500)).collect();
    // Two conversations go on from different places of a first one.
    let branch = |upto: usize, seed: u64| {
        let own = (0..3).map(|part| noise_bytes(seed + part, 500));
        trunk[..upto].iter().cloned().chain(own).collect::<Vec<_>>()
    };
    let parts = [trunk.clone(), branch(8, 100), branch(5, 200)];
    let batch: Vec<_> =
        (1..).zip(&parts).map(|(index, parts)| exchange(index, parts, &mut journal)).collect();
    store.put(&batch, &mut journal).unwrap();
    store.state(&[statement(10, 1, 1)]).unwrap();
    // The last two parts of the trunk are in neither branch.
    assert_eq!(finish(&mut store).contents, 2);
    store.state(&[statement(11, 2, 2)]).unwrap();
    assert_eq!(finish(&mut store).contents, 3 + 3);
    let mut reader = StoreReader::open(directory.path()).unwrap();
    assert_eq!(body_of(&mut reader, &batch[2].id, Direction::Request), parts[2].concat());
    drop(reader);
    store.state(&[statement(12, 3, 3)]).unwrap();
    assert_eq!(finish(&mut store).contents, 5 + 3);
}

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

#[test]
fn age_and_size_name_the_oldest() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let batch: Vec<_> = (1..=40)
        .map(|index| exchange(index, &[noise_bytes(index, 60_000)], &mut journal))
        .collect();
    store.put(&batch, &mut journal).unwrap();
    // The fixture seals leaf n at (n + 1) ms after a fixed time.
    let start = 1_800_000_000_000_000;
    let age = Policy { max_age: Some(Duration::from_millis(10)), max_bytes: None };
    assert_eq!(store.due(age, start + 11_000).unwrap(), None);
    assert_eq!(store.due(age, start + 12_000).unwrap(), Some((1, 1)));
    assert_eq!(store.due(age, start + 20_500).unwrap(), Some((1, 9)));
    assert_eq!(store.due(age, start + 9_000_000).unwrap(), Some((1, 40)));
    assert_eq!(store.due(Policy::default(), u64::MAX).unwrap(), None);
    // What is stated is destroyed before anything else is due.
    store.state(&[statement(50, 1, 9)]).unwrap();
    assert_eq!(store.due(age, start + 9_000_000).unwrap(), None);
    finish(&mut store);
    assert_eq!(store.due(age, start + 9_000_000).unwrap(), Some((10, 40)));

    let size = |bytes| Policy { max_age: None, max_bytes: Some(bytes) };
    let before = store.size().unwrap();
    assert_eq!(store.due(size(before), 0).unwrap(), None);
    let most = before / 2;
    let mut leaf = 60;
    while let Some((first, last)) = store.due(size(most), 0).unwrap() {
        store.state(&[statement(leaf, first, last)]).unwrap();
        finish(&mut store);
        leaf += 1;
    }
    assert!(leaf < 66, "{leaf}: each statement takes a share, not a single exchange");
    let file = std::fs::metadata(directory.path().join("exchanges.db")).unwrap().len();
    assert!(store.size().unwrap() <= most && file <= most, "{file} of {most}");
    let kept = store.to_prune().unwrap().start;
    assert!((20..38).contains(&kept), "kept from {kept}");
}

/// Who made a connection, or went around, is held no longer than what is around it, and an idle log
/// forgets it too.
#[test]
fn makers_go_like_everything_else() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let (batch, _) = conversation(5, &mut journal);
    let boot = batch[0].boot;
    store.put(&batch, &mut journal).unwrap();
    let start = 1_800_000_000_000_000;
    let executable = |name: &str| Some(std::borrow::Cow::Owned(name.as_bytes().to_vec()));
    let aside = |leaf: u64, name: &str, carried: Option<(u64, u64)>| {
        let process = ProcessSeen { executable: executable(name), ..ProcessSeen::default() };
        let maker = Maker { process: Some(process), ..Maker::default() };
        let carried = carried.map(|range| (Id(boot), Ranges::new(vec![range]).unwrap()));
        let unit = Some(KeptUnit { key: [9; 32], bytes: maker.encode() });
        let sealed = start + (leaf + 1) * 1_000;
        SealedAside { leaf, unit, carried, held: None, sealed, weight: 0 }
    };
    let asides = [
        aside(4, "/usr/bin/early-maker", Some((batch[0].number, batch[2].number))),
        aside(6, "/usr/bin/late-maker", Some((batch[3].number, batch[4].number))),
        aside(7, "/usr/bin/who-went-around", None),
    ];
    store.put_asides(&asides).unwrap();
    store.put_asides(&asides).unwrap();
    let made_by = |number: u64| {
        let reader = StoreReader::open(directory.path()).unwrap();
        reader.made_by(&boot, number).unwrap().map(|made| made.leaf)
    };
    assert_eq!((made_by(batch[0].number), made_by(batch[4].number)), (Some(4), Some(6)));

    let age = Policy { max_age: Some(Duration::from_millis(10)), max_bytes: None };
    assert_eq!(store.due(age, start + 15_000).unwrap(), Some((1, 4)), "leaf 4 is an aside");
    store.state(&[statement(8, 1, 4)]).unwrap();
    finish(&mut store);
    assert_eq!((made_by(batch[0].number), made_by(batch[4].number)), (None, Some(6)));
    assert!(!holds(directory.path(), b"early-maker"), "its bytes are nowhere");
    assert!(holds(directory.path(), b"late-maker"));
    let reader = StoreReader::open(directory.path()).unwrap();
    assert!(reader.is_gone(4).unwrap() && !reader.is_gone(6).unwrap());
    drop(reader);

    // No exchange comes any more: what is behind the last one ages all the same.
    assert_eq!(store.due(age, start + 17_500).unwrap(), Some((5, 6)));
    assert_eq!(store.due(age, start + 18_500).unwrap(), Some((5, 7)));
    store.state(&[statement(9, 5, 7)]).unwrap();
    finish(&mut store);
    assert_eq!(made_by(batch[4].number), None);
    for name in [&b"late-maker"[..], b"who-went-around"] {
        assert!(!holds(directory.path(), name));
    }
    // A crash may have come before the store had them: they are stored again, and are gone.
    store.put_asides(&asides).unwrap();
    assert_eq!(made_by(batch[4].number), None);
    assert_eq!(store.due(age, u64::MAX).unwrap(), None);
}

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
    assert!(stored.pruned.is_some());
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
