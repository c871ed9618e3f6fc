//! Every step of every batch fails, dies, or loses power in turn; the log must come out whole.
//!
//! Kept through all of it: what is published always verifies; the lock is never behind it; each
//! published checkpoint extends all earlier ones; no leaf that `append` has accepted is lost.

use std::sync::Arc;

use super::super::disk::faulty::{FAULTS, Fault, FaultyDisk};
use super::*;

/// Crosses the end of a tile, ends on one, and fills several at once.
const SIZES: [u64; 4] = [255, 1, 4, 260];

/// A small generator of choices: splitmix64.
struct Choices(u64);

impl Choices {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn flip(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

/// The number of leaves accepted so far, and of those that anyone may have seen published.
#[derive(Default)]
struct Witness {
    accepted: u64,
    seen: u64,
}

impl Witness {
    /// Looks at what is published, as anyone may at any time.
    fn look(&mut self, place: &Place) {
        let log = place.data.log();
        let published = log.is_dir().then(|| audit(&log, place.keys.log().public())).flatten();
        let Some(published) = published else {
            assert_eq!(self.accepted, 0, "a log with accepted leaves has a checkpoint");
            return;
        };
        let size = published.checkpoint.size;
        let locked = std::fs::read(place.lock_file()).unwrap();
        let locked = Checkpoint::parse(&Note::parse(&locked).unwrap().text).unwrap();
        assert!(locked.size >= size, "the lock is behind what is published");
        assert_eq!(published.leaves, leaves(0, size), "leaves are those offered, in order");
        // Two trees over the beginning of one list of leaves are never a fork.
        self.seen = self.seen.max(size);
    }

    /// After the log has been opened or a batch accepted.
    fn accept(&mut self, size: u64) {
        assert!(size >= self.accepted, "accepted leaves are lost");
        assert!(size >= self.seen, "published leaves are lost");
        self.accepted = size;
    }
}

/// The steps that opening and all batches take when nothing goes wrong.
fn steps() -> u64 {
    let place = Place::new();
    let disk = Arc::new(FaultyDisk::over(&place.root));
    let (mut log, _) = place.open_on(disk.clone()).unwrap();
    for batch in batches(&SIZES) {
        log.append(&batch).unwrap();
    }
    log.close().unwrap();
    disk.steps()
}

/// Appends what of all batches is not in the log yet, one batch at a time.
fn go_on(log: &mut Log, witness: &mut Witness, place: &Place) -> Result<(), LogError> {
    let mut end = 0;
    for size in SIZES {
        end += size;
        let begin = log.size();
        if begin >= end {
            continue;
        }
        let range = log.append(&leaves(begin, end - begin));
        if range.is_err() {
            witness.look(place);
        }
        assert_eq!(range?, begin..end);
        witness.accept(end);
    }
    Ok(())
}

#[test]
fn each_step_goes_wrong_once() {
    for step in 1..=steps() {
        for fault in FAULTS {
            let place = Place::new();
            let mut witness = Witness::default();
            let disk = Arc::new(FaultyDisk::over(&place.root));
            disk.plan(step, fault);
            // Opening may be what fails; then again, as the operator would.
            let mut opened = place.open_on(disk.clone());
            for _ in 0..3 {
                witness.look(&place);
                let failed = match &mut opened {
                    Ok((log, _)) => go_on(log, &mut witness, &place).is_err(),
                    Err(_) => true,
                };
                if !failed {
                    break;
                }
                assert!(disk.struck(), "an error without a fault at {step} {fault:?}");
                if opened.is_err() || matches!(fault, Fault::Kill | Fault::KillPersisted) {
                    drop(opened);
                    let again = Arc::new(FaultyDisk::over(&place.root));
                    opened = place.open_on(again);
                    let log =
                        &opened.as_ref().unwrap_or_else(|e| panic!("{step} {fault:?}: {e}")).0;
                    witness.accept(log.size());
                }
            }
            let (log, _) = opened.unwrap();
            log.close().unwrap();
            witness.look(&place);
            assert_eq!(witness.accepted, SIZES.iter().sum::<u64>(), "{step} {fault:?}");
            let last = Arc::new(FaultyDisk::over(&place.root));
            drop(place.open_on(last).unwrap_or_else(|e| panic!("{step} {fault:?}: {e}")));
            let published = audit(&place.data.log(), place.keys.log().public()).unwrap();
            assert_eq!(published.superfluous, 0, "{step} {fault:?}");
            assert_eq!(files(&place.data.staging()).len(), 0);
        }
    }
}

/// A batch that fails is either not in the log at all, or is the log's to complete.
#[test]
fn a_failed_batch_is_given_back_or_kept_and_the_log_says_which() {
    let (mut given_back, mut kept) = (0, 0);
    for (step, fault) in (1..).flat_map(|step| {
        [Fault::Fails, Fault::FailsPersisted, Fault::Torn].map(|fault| (step, fault))
    }) {
        let place = Place::new();
        let disk = Arc::new(FaultyDisk::over(&place.root));
        let (mut log, _) = place.open_on(disk.clone()).unwrap();
        log.append(&leaves(0, 255)).unwrap();
        let published = || (files(&place.data.log()), files(&place.lock));
        let before = (published(), log.root());
        disk.plan(step, fault);
        let outcome = log.append(&leaves(255, 5));
        if !disk.struck() {
            break;
        }
        match (outcome, log.pending()) {
            // A failure after publication is for the next batch to mend.
            (Ok(range), None) => assert_eq!(range, 255..260),
            (Ok(_), Some(_)) => panic!("accepted and yet pending at {step} {fault:?}"),
            (Err(_), None) => {
                given_back += 1;
                let mut after = published();
                after.1.retain(|path, _| path.extension().is_none_or(|end| end != "new"));
                assert!((after, log.root()) == before, "{step} {fault:?}");
                assert_eq!(log.append(&leaves(900, 3)).unwrap(), 255..258);
                assert_eq!(log.entries(255..258).unwrap(), leaves(900, 3));
            }
            (Err(_), Some(pending)) => {
                kept += 1;
                assert_eq!((pending, log.size()), (255..260, 255));
                if step % 2 == 0 {
                    assert_eq!(log.complete().unwrap(), Some(255..260));
                    assert_eq!(log.complete().unwrap(), None);
                }
                assert_eq!(log.append(&leaves(900, 3)).unwrap(), 260..263);
                assert_eq!(log.entries(255..260).unwrap(), leaves(255, 5));
                assert_eq!(log.entries(260..263).unwrap(), leaves(900, 3));
            }
        }
        log.close().unwrap();
        audit(&place.data.log(), place.keys.log().public()).unwrap();
    }
    assert!(given_back > 5 && kept > 5, "{given_back} given back, {kept} kept");
}

#[test]
fn processes_die_again_and_again_and_power_is_lost() {
    let steps = steps();
    for seed in 0..200 {
        let mut choices = Choices(seed);
        let mut place = Place::new().movable();
        let mut witness = Witness::default();
        let mut disk = Arc::new(FaultyDisk::over(&place.root));
        for _ in 0..6 {
            let fault = if choices.flip() { Fault::Kill } else { Fault::KillPersisted };
            disk.plan(1 + choices.next() % steps, fault);
            if let Ok((mut log, _)) = place.open_on(disk.clone()) {
                witness.look(&place);
                witness.accept(log.size());
                // Whether this goes through or dies is the plan's to say.
                let _ = go_on(&mut log, &mut witness, &place);
            }
            if choices.flip() {
                // The process died; the machine goes on, with nothing more synced than was.
                disk = Arc::new(disk.survivor());
            } else {
                let other = Place::new().movable();
                disk.lose_power(&place.root, &other.root, || choices.flip());
                place = other;
                disk = Arc::new(FaultyDisk::over(&place.root));
            }
            witness.look(&place);
        }
        disk.calm();
        let (mut log, _) = place.open_on(disk).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        witness.accept(log.size());
        go_on(&mut log, &mut witness, &place).unwrap();
        log.close().unwrap();
        witness.look(&place);
    }
}
