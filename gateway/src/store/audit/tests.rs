//! What a data directory is found to be while a gateway prunes it.

use std::iter;
use std::sync::Arc;
use std::thread;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{Extensions, Leaf, Limit, Retention};

use super::*;
use crate::seal::keys::Keys;
use crate::seal::lock::LockPlace;
use crate::seal::log::{Log, Options};
use crate::store::Store;
use crate::store::retention::statements;
use crate::store::tests::bound;
use crate::store::tests::fixture::{Journal, KEY, Sample, noise_bytes};

/// A data directory whose log has these leaves.
fn logged(leaves: &[Vec<u8>]) -> (tempfile::TempDir, DataDir, Log) {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::new(directory.path().join("data"));
    drop(data.become_writer().unwrap());
    let keys = Arc::new(Keys::load_or_create(&data.keys(), None).unwrap());
    let lock = LockPlace::new(Some(directory.path().join("lock")));
    let (mut log, _) = Log::open(&Options { data: &data, keys, lock, adopt: false }).unwrap();
    log.append(leaves).unwrap();
    (directory, data, log)
}

/// What is said of the directory where the report has checked so many leaves.
fn audited(data: &DataDir, size: u64) -> Report {
    let mut report = Report { size, ..Report::default() };
    audit(data, &mut report);
    report
}

const BEYOND: &str = "went while this ran, under leaves that came after those that were checked";

/// Units of connections, ways around and names go between the check of the log and that of the store.
#[test]
fn units_that_go_meanwhile_are_undecided() {
    let leaves = bound::leaves(Some((1, 5)));
    let (before, statement) = leaves.split_at(6);
    let (_directory, data, mut log) = logged(before);
    let mut store = bound::filled(&data.store());
    let report = audited(&data, 6);
    assert_eq!((&*report.findings, report.undecided.len()), (&[][..], 0));
    assert!(matches!(report.bodies, Bodies::Checked { units: 3, .. }), "{:?}", report.bodies);

    store.state(&statements(6, statement).unwrap()).unwrap();
    store.prune(64).unwrap();
    // The leaf that names them is not published: they are lost.
    assert_eq!(audited(&data, 6).findings.len(), 3);
    log.append(statement).unwrap();
    let report = audited(&data, 6);
    assert_eq!(report.findings, []);
    let said = report.undecided.into_iter().collect::<Vec<_>>();
    assert!(
        said.len() == 1 && said[0].contains(&format!("what 3 leaves bind {BEYOND}")),
        "{said:?}"
    );
    // One that looks again finds the leaf among those that it has checked.
    let report = audited(&data, 7);
    assert_eq!((&*report.findings, report.undecided.len()), (&[][..], 0));
}

/// Retention takes one exchange after the other while the store is held against the log, again and again: none
/// is ever found to be lost or to differ.
#[test]
fn exchanges_that_go_meanwhile_are_undecided() {
    const COUNT: u64 = 48;
    let mut journal = Journal::default();
    let exchanges: Vec<_> = (1..=COUNT)
        .map(|index| {
            let body = noise_bytes(index, 20_000);
            Sample::new(index).bodies(&mut journal, &body, &body)
        })
        .collect();
    // No statement of retention names the first leaf, which is a restart.
    let leaves = exchanges.iter().map(|exchange| exchange.leaf.clone());
    let leaves: Vec<_> = iter::once(b"{}".to_vec()).chain(leaves).collect();
    let size = COUNT + 1;
    let (_directory, data, mut log) = logged(&leaves);
    let mut store = Store::open(&data.store(), &KEY).unwrap();
    store.put(&exchanges, &mut journal).unwrap();
    let report = audited(&data, size);
    assert_eq!(report.findings, []);
    assert!(matches!(report.bodies, Bodies::Checked { opened: COUNT, pruned: 0, .. }));

    let (boot, ext) = (Id(exchanges[0].boot), Extensions::new());
    let leaves = Ranges::new(vec![(1, COUNT)]).unwrap();
    let limit = Limit { age: Some(1), bytes: None };
    let retention = Retention { boot, ext, leaves, limit, sealed: 1_800_000_000_000_000 };
    log.append(&[Leaf::Retention(retention.clone()).encode().unwrap()]).unwrap();
    store.state(&[(size, retention)]).unwrap();
    let pruning = thread::spawn(move || {
        while !store.to_prune().unwrap().is_empty() {
            store.prune(1).unwrap();
        }
    });
    loop {
        let is_over = pruning.is_finished();
        let report = audited(&data, size);
        assert_eq!(report.findings, []);
        if is_over {
            let said = report.undecided.into_iter().collect::<Vec<_>>();
            let all = format!("what {COUNT} leaves bind {BEYOND}");
            assert!(said.len() == 1 && said[0].contains(&all), "{said:?}");
            break;
        }
    }
    pruning.join().unwrap();
}
