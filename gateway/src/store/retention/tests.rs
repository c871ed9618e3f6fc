//! Retention on real database files: what goes, and what stays.

mod checked;
mod later;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sealtap_common::encoding::Id;
use sealtap_common::leaf::{Extensions, Limit, Ranges, Retention};
use sealtap_common::unit::{Maker, ProcessSeen};

use super::*;
use crate::seal::aside::SealedAside;
use crate::seal::connections::KeptUnit;
use crate::store::tests::fixture::{Journal, KEY, Sample, body_of, noise_bytes};
use crate::store::{
    Direction, SealedBody, SealedExchange, Segment, Store, StoreError, StoreReader,
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
    while store.tidy().unwrap() != Tidied::Wholly {}
    all
}

/// What was destroyed stays in the database's file while somebody reads what was before, and goes then.
#[test]
fn a_reader_in_the_way_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let secret = noise_bytes(77, 3_000);
    store.put(&[exchange(1, std::slice::from_ref(&secret), &mut journal)], &mut journal).unwrap();
    let kept = |directory: &Path| holds(directory, &secret);
    let reader = Connection::open(directory.path().join("exchanges.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM exchange").unwrap();
    store.state(&[statement(2, 1, 1)]).unwrap();
    while !store.to_prune().unwrap().is_empty() {
        store.prune(2).unwrap();
    }
    let mut tidied = store.tidy().unwrap();
    while tidied == Tidied::PagesAreLeft {
        tidied = store.tidy().unwrap();
    }
    assert_eq!((tidied, kept(directory.path())), (Tidied::LogIsLeft, true));
    reader.execute_batch("ROLLBACK").unwrap();
    assert_eq!((store.tidy().unwrap(), kept(directory.path())), (Tidied::Wholly, false));
}

/// Nor does retention wait for it: what is due next is asked for all the same.
#[test]
fn a_reader_in_the_way_keeps_retention_from_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, mut store) =
        (Journal::default(), Store::open(directory.path(), &KEY).unwrap());
    let (batch, _) = conversation(2, &mut journal);
    store.put(&batch[..1], &mut journal).unwrap();
    let reader = Connection::open(directory.path().join("exchanges.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM exchange").unwrap();
    let policy = Policy { max_age: Some(Duration::from_millis(10)), max_bytes: None };
    let mut keeper = Keeper::following(Arc::new(ArcSwap::from_pointee(policy)));
    let deadline = Instant::now() + Duration::from_secs(60);
    for number in 1..=2 {
        let mut asked = Vec::new();
        while asked.is_empty() {
            assert!(Instant::now() < deadline, "nothing is asked for: {number}");
            let mut ask = |leaves: Ranges, _: Limit| {
                asked.extend(leaves.as_slice().iter().copied());
                true
            };
            keeper.step(&mut store, u64::MAX, &mut ask);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(asked, [(number, number)]);
        store.state(&[statement(10 + number, number, number)]).unwrap();
        keeper.stated();
        store.put(&batch[1..], &mut journal).unwrap();
    }
    assert!(keeper.is_on());
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
