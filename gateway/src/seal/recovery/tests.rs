//! What a crash leaves of connections, ways around and names.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::capture::connection::{NamesAsked, WhoWent, samples};
use crate::capture::journal::{self, Journal, Opened};
use crate::capture::record::kind;
use crate::clock::Timeline;
use crate::data::DataDir;
use crate::seal::around::went_around;
use crate::seal::keys::Keys;
use crate::seal::lock::LockPlace;
use crate::seal::log::Options;
use crate::seal::queries::names_asked;
use crate::store::StoreReader;

fn open(data: &DataDir, boot: u8) -> Opened {
    let options = journal::Options::new(Timeline::start(0));
    Journal::open(&data.journal(), [boot; 16], options).unwrap()
}

/// A log and a store.
fn started(directory: &Path, data: &DataDir) -> (Log, Store, Arc<Keys>) {
    let keys = Arc::new(Keys::load_or_create(&data.keys(), None).unwrap());
    let lock = LockPlace::new(Some(directory.join("lock")));
    let (log, _) =
        Log::open(&Options { data, keys: Arc::clone(&keys), lock, adopt: false }).unwrap();
    let store = Store::open(&data.store(), keys.store()).unwrap();
    (log, store, keys)
}

/// A connection that came before its coverage was armed, of which a crash left nothing in the log: the
/// journal's files would stay for ever.
#[test]
fn a_connection_that_nobody_will_be_told_of_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::new(directory.path().join("data"));
    let _writer = data.become_writer().unwrap();
    let (log, store, _) = started(directory.path(), &data);
    let began = postcard::to_stdvec(&samples::began(2)).unwrap();
    let Opened { journal, batches, .. } = open(&data, 1);
    journal.note(kind::CONNECTION_BEGAN, &[&began]).unwrap();
    journal.close().unwrap();
    drop(batches);

    let mut opened = open(&data, 2);
    let pins = Pins::default();
    let recovery = recover(&log, &store, &mut opened.recovered, &pins).unwrap();
    let told = |happening: &Happening| matches!(happening, Happening::Connection(_));
    assert!(!recovery.happenings.iter().any(told));
    let needed = pins.needed();
    assert!(needed.reading > 0, "the record was read");
    assert!(needed.connections.is_empty(), "{needed:?}");
    assert_eq!(pins.lowest(), needed.reading);
}

/// A crash between the leaf and the store: what the leaves bind comes from the journal, and is let go of
/// once it is stored. What has no leaf has none any more.
#[test]
fn what_leaves_of_ways_around_and_names_bind_is_stored_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::new(directory.path().join("data"));
    let _writer = data.become_writer().unwrap();
    let (mut log, mut store, _) = started(directory.path(), &data);
    let destination = "192.0.2.1:9".parse().unwrap();
    let around = |number| {
        let who = WhoWent { destination, process: 1, executable: None };
        samples::went_around(number, Some(([3; 32], who)))
    };
    let names = |number| NamesAsked {
        coverage: [9; 16],
        number,
        statement: 1,
        seen: 1,
        parsed: 1,
        unparsable: 0,
        lost: 0,
        cut: 0,
        questions: 1,
        omitted: 0,
        names: Some(([4; 32], b"the names".to_vec())),
    };
    let around = |number| postcard::to_stdvec(&around(number)).unwrap();
    let names = |number| postcard::to_stdvec(&names(number)).unwrap();
    let Opened { journal, batches, .. } = open(&data, 1);
    for number in [1, 2] {
        journal.note(kind::WENT_AROUND, &[&around(number)]).unwrap();
        journal.note(kind::NAMES_ASKED, &[&names(number)]).unwrap();
    }
    journal.close().unwrap();
    drop(batches);
    // The second of each has no leaf yet.
    let sealed = 77;
    let bypass = went_around([1; 16], &around(1), 1).unwrap().leaf;
    let queries = names_asked([1; 16], &names(1), 1).unwrap().leaf;
    let leaves = [
        sealtap_common::leaf::Bypass { sealed, ..bypass }.encode().unwrap(),
        sealtap_common::leaf::DnsQueries { sealed, ..queries }.encode().unwrap(),
    ];
    log.append(&leaves).unwrap();

    let mut opened = open(&data, 2);
    let pins = Pins::default();
    let recovery = recover(&log, &store, &mut opened.recovered, &pins).unwrap();
    let mut asides = recovery.asides;
    asides.sort_by_key(|aside| aside.leaf);
    let places: Vec<_> = asides.iter().map(|aside| (aside.leaf, aside.sealed)).collect();
    assert_eq!(places, [(0, 77), (1, 77)]);
    assert_eq!(pins.needed().asides.len(), 2, "{:?}", pins.needed());
    store.put_asides(&asides).unwrap();
    pins.release_all(asides.iter().filter_map(|aside| aside.held));
    assert_eq!(pins.lowest(), pins.needed().reading);
    let mut reader = StoreReader::open(&data.store()).unwrap();
    let mut leaf = |index: u64| Ok(leaves[usize::try_from(index).unwrap()].clone());
    let check = reader.check(2, &mut leaf, &mut |finding| panic!("{finding}")).unwrap();
    assert_eq!(check.beside.checked, 2);
}
