//! Tests of the store on real database files.

pub(super) mod bound;
mod capture;
mod crash;
mod damage;
pub(crate) mod fixture;
mod growth;
mod trouble;

use super::{Direction, Found, RunFilter, Slot, Store, StoreError, StoreReader};
use fixture::{Journal, KEY, Sample, body_of, text_bytes};

#[test]
fn an_exchange_comes_back_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let request = text_bytes(1, 200_000);
    let response = text_bytes(2, 70_001);
    let sealed = Sample::new(0).run_name("nightly").bodies(&mut journal, &request, &response);
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    let stored = store.put(std::slice::from_ref(&sealed), &mut journal).unwrap();
    assert_eq!((stored.exchanges, stored.present, stored.bytes_read), (1, 0, 270_001));
    assert!(stored.bytes_kept < stored.bytes_read, "{stored:?}");
    assert!(store.compacted(&sealed.boot, sealed.number).unwrap());
    assert!(!store.compacted(&sealed.boot, sealed.number + 1).unwrap());
    assert_eq!(store.watermark().unwrap(), 1);

    let mut reader = StoreReader::open(directory.path()).unwrap();
    let back = reader.exchange(&sealed.id).unwrap().unwrap();
    assert_eq!(back.leaf, sealed.leaf);
    assert_eq!(back.run_name.as_deref(), Some("nightly"));
    assert_eq!(back.ttfb_ns, sealed.ttfb_ns);
    for unit in &sealed.units {
        assert_eq!(back.unit(unit.slot), Some(unit.bytes.as_slice()));
    }
    assert_eq!(back.unit(Slot::Interim), None);
    assert_eq!(body_of(&mut reader, &sealed.id, Direction::Request), request);
    assert_eq!(body_of(&mut reader, &sealed.id, Direction::Response), response);
    let segments = reader.segments(&sealed.id, Direction::Response).unwrap();
    assert_eq!(segments, sealed.bodies[1].segments);
}

#[test]
fn empty_bodies_and_uneven_segments_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let long = text_bytes(3, 3 << 20);
    let sealed = Sample::new(0).piece(60_001).bodies(&mut journal, b"", &long);
    assert_eq!((sealed.bodies[0].segments.len(), sealed.bodies[1].segments.len()), (0, 53));
    Store::open(directory.path(), &KEY)
        .unwrap()
        .put(std::slice::from_ref(&sealed), &mut journal)
        .unwrap();
    let mut reader = StoreReader::open(directory.path()).unwrap();
    assert_eq!(body_of(&mut reader, &sealed.id, Direction::Request), b"");
    assert_eq!(body_of(&mut reader, &sealed.id, Direction::Response), long);
}

#[test]
fn a_batch_given_again_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let batch: Vec<_> = (0..5)
        .map(|leaf| Sample::new(leaf).bodies(&mut journal, &text_bytes(leaf, 9_000), b"ok"))
        .collect();
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    assert_eq!(store.put(&batch[..3], &mut journal).unwrap().exchanges, 3);
    let again = store.put(&batch, &mut journal).unwrap();
    assert_eq!((again.exchanges, again.present), (2, 3));
    let mut other = batch[0].clone();
    other.leaf.push(b' ');
    let error = store.put(&[other], &mut journal).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    let mut moved = batch[1].clone();
    moved.leaf_index = 77;
    let error = store.put(&[moved], &mut journal).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    assert_eq!(
        StoreReader::open(directory.path()).unwrap().page(0, 100, RunFilter::All).unwrap().len(),
        5
    );
}

#[test]
fn a_name_a_prefix_and_an_id_find_exchanges() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let mut store = Store::open(directory.path(), &KEY).unwrap();
    let batch: Vec<_> = [("alone", 1), ("pair", 2), ("pair", 2)]
        .into_iter()
        .enumerate()
        .map(|(leaf, (name, run))| {
            let sample = Sample::new(leaf as u64).run(run).run_name(name);
            sample.bodies(&mut journal, b"q", b"a")
        })
        .collect();
    store.put(&batch, &mut journal).unwrap();
    let reader = StoreReader::open(directory.path()).unwrap();
    assert_eq!(reader.find("alone").unwrap(), Found::One(batch[0].id));
    assert_eq!(reader.find("pair").unwrap(), Found::Many(vec![batch[1].id, batch[2].id]));
    assert_eq!(reader.find("nobody").unwrap(), Found::None);
    assert_eq!(reader.find("").unwrap(), Found::None);
    let id = super::facts::hex(&batch[1].id);
    for length in 12..=32 {
        assert_eq!(reader.find(&id[..length]).unwrap(), Found::One(batch[1].id), "{length}");
    }
    let pair = reader.runs("pair").unwrap();
    assert_eq!(pair.len(), 1);
    assert_eq!(reader.page(0, 10, RunFilter::Id(pair[0].id)).unwrap().len(), 2);
    assert_eq!(reader.page(2, 10, RunFilter::Id(pair[0].id)).unwrap().len(), 1);
    assert_eq!(reader.page(0, 10, RunFilter::Name("pair")).unwrap().len(), 2);
    assert_eq!(reader.newest(2).unwrap()[1].id, batch[2].id);
}

#[test]
fn a_hole_an_overlap_or_a_short_read_stores_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = Journal::default();
    let good = Sample::new(0).bodies(&mut journal, &text_bytes(9, 100_000), b"answer");
    let sound = Sample::new(1).bodies(&mut journal, &text_bytes(8, 100_000), b"answer");
    let mut store = Store::open(directory.path(), &KEY).unwrap();

    let mut hole = sound.clone();
    hole.bodies[0].segments[1].offset += 1;
    let mut long = sound.clone();
    long.bodies[0].segments[1].length += 1;
    let mut lacking = sound.clone();
    lacking.bodies[0].extents.pop();
    let mut recut = sound.clone();
    recut.bodies[0].segments.truncate(1);
    recut.bodies[0].segments[0].length = 100_000;
    let mut renamed = sound.clone();
    renamed.number += 1;
    let mut rekeyed = sound.clone();
    rekeyed.bodies[1].key = [0x77; 32];
    let mut swapped = sound.clone();
    swapped.units[0].bytes = good.units[2].bytes.clone();
    let mut moved = sound.clone();
    moved.bodies[0].extents[0].offset += 1;
    let cases = [hole, long, lacking, recut, renamed, rekeyed, swapped, moved];
    for (case, bad) in cases.into_iter().enumerate() {
        let error = store.put(&[good.clone(), bad], &mut journal).unwrap_err();
        assert!(matches!(error, StoreError::Malformed { .. }), "{case}: {error}");
    }
    journal.files[0].truncate(150_000);
    let error = store.put(&[good.clone(), sound], &mut journal).unwrap_err();
    assert!(matches!(error, StoreError::Journal { file: 0, .. }), "{error}");
    assert!(error.to_string().contains("journal file 0 at byte"), "{error}");

    let reader = StoreReader::open(directory.path()).unwrap();
    assert_eq!(reader.page(0, 10, RunFilter::All).unwrap(), Vec::new());
    assert_eq!(store.watermark().unwrap(), 0);
    assert_eq!(store.put(&[good], &mut journal).unwrap().exchanges, 1);
}

#[test]
fn a_foreign_file_a_newer_format_and_another_key_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = super::schema::file(directory.path());
    let missing = StoreReader::open(directory.path()).err().unwrap();
    assert!(matches!(missing, StoreError::Missing { .. }), "{missing}");
    std::fs::write(&file, vec![b'x'; 8192]).unwrap();
    let error = Store::open(directory.path(), &KEY).err().unwrap();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    std::fs::remove_file(&file).unwrap();
    rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE notes(t)").unwrap();
    let error = Store::open(directory.path(), &KEY).err().unwrap();
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    std::fs::remove_file(&file).unwrap();
    drop(Store::open(directory.path(), &KEY).unwrap());
    let error = Store::open(directory.path(), &[9; 32]).err().unwrap();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
    let raw = rusqlite::Connection::open(&file).unwrap();
    raw.pragma_update(None, "user_version", 7).unwrap();
    drop(raw);
    let error = StoreReader::open(directory.path()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 7, known: 2, .. }), "{error}");
    let error = Store::open(directory.path(), &KEY).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 7, known: 2, .. }), "{error}");
}
