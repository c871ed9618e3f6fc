//! Rules 9.9 to 9.11: what is said of runs is what their leaves say.

use super::log::{ORIGIN, boot, chained, exchange, heartbeat, log_of, restart, verdict};
use crate::encoding::Id;
use crate::leaf::{
    ClosedReason, Extensions, Isolation, IsolationBasis, IsolationLevel, Leaf, Outcome, RunAfter,
    RunClosed, RunOpened, RunRecord,
};
use crate::record::{Closing, Tally, record_hash, statement};
use crate::tree::{Hash, leaf_hash};
use crate::unit::RunNamedBy;
use crate::verify::Verdict;

fn hash(leaf: &Leaf) -> Hash {
    leaf_hash(&leaf.encode().unwrap())
}

/// The closing leaf of the run with this id, from the leaves so far.
fn closing(leaves: &[Leaf], run: u8) -> RunClosed {
    let mut tally: Option<Tally> = None;
    for (index, leaf) in (0..).zip(leaves) {
        let Leaf::Exchange(own) = leaf else { continue };
        match &mut tally {
            _ if own.run.id != Id([run; 16]) => {}
            None => tally = Some(Tally::new(own, hash(leaf), index)),
            Some(tally) => tally.push(own, hash(leaf), index),
        }
    }
    tally.unwrap().close(Closing {
        by: RunNamedBy::Path,
        isolation: Isolation { basis: IsolationBasis::Assumed, level: IsolationLevel::SameUser },
        reason: ClosedReason::Idle,
        sealed: 2_000,
    })
}

fn record(index: u64, closed: &RunClosed) -> RunRecord {
    RunRecord {
        boot: boot(1),
        ext: Extensions::new(),
        record: record_hash(&statement(ORIGIN, index, closed)),
        run: closed.run,
        sealed: closed.sealed,
    }
}

fn opened(run: u8, previous: u8, closed: Hash) -> Leaf {
    Leaf::RunOpened(RunOpened {
        boot: boot(1),
        ext: Extensions::new(),
        previous: RunAfter { closed, run: Id([previous; 16]) },
        run: Id([run; 16]),
        sealed: 2_000,
    })
}

/// A run of three exchanges, closed and recorded; another under its name, opened.
fn leaves() -> Vec<Leaf> {
    let mut leaves = chained(vec![
        restart(1, None),
        exchange(1, 1, 5, Outcome::Complete),
        exchange(1, 2, 6, Outcome::Complete),
        exchange(1, 3, 5, Outcome::Interrupted),
        exchange(1, 4, 5, Outcome::Complete),
    ]);
    let closed = closing(&leaves, 5);
    let record = record(5, &closed);
    leaves.push(Leaf::RunClosed(Box::new(closed)));
    leaves.push(Leaf::RunRecord(record));
    let closed = hash(&leaves[5]);
    leaves.push(opened(7, 5, closed));
    let Leaf::Exchange(mut next) = exchange(1, 5, 7, Outcome::Complete) else { panic!() };
    next.sealed = 2_000;
    leaves.push(Leaf::Exchange(next));
    let Leaf::Heartbeat(mut last) = heartbeat(1, 5, &[], true) else { panic!() };
    last.sealed = 2_000;
    leaves.push(Leaf::Heartbeat(last));
    leaves
}

fn wants(verdict_wanted: Verdict, what: &str, leaves: &[Leaf]) {
    assert_eq!(verdict(&log_of(leaves)), verdict_wanted, "{what}");
}

#[test]
fn a_closed_run_says_what_its_leaves_say() {
    wants(Verdict::Valid, "as it is", &leaves());
    type Edit = fn(&mut RunClosed);
    let edits: [(&str, Edit); 9] = [
        ("count", |leaf| leaf.count += 1),
        ("first", |leaf| leaf.first += 1),
        ("last index", |leaf| leaf.last.index -= 1),
        ("last hash", |leaf| leaf.last.hash[0] ^= 1),
        ("root", |leaf| leaf.root[0] ^= 1),
        ("started", |leaf| leaf.started += 1),
        ("ended", |leaf| leaf.ended += 1),
        ("output", |leaf| leaf.output = None),
        ("run", |leaf| leaf.run = Id([9; 16])),
    ];
    for (what, edit) in edits {
        let mut leaves = leaves();
        leaves.truncate(7);
        let Leaf::RunClosed(closed) = &mut leaves[5] else { panic!("order of leaves") };
        edit(closed);
        // The record follows the edit, so that the closing leaf alone is wrong.
        let closed = closed.clone();
        leaves[6] = Leaf::RunRecord(record(5, &closed));
        wants(Verdict::Invalid, what, &leaves);
    }
}

#[test]
fn a_record_is_that_of_the_closing_in_front() {
    let mut other = leaves();
    let Leaf::RunRecord(record) = &mut other[6] else { panic!("order of leaves") };
    record.record[0] ^= 1;
    wants(Verdict::Invalid, "another record", &other);
    let mut apart = leaves();
    apart.truncate(7);
    let Leaf::Heartbeat(mut beat) = heartbeat(1, 4, &[], false) else { panic!() };
    beat.sealed = 2_000;
    apart.insert(6, Leaf::Heartbeat(beat));
    wants(Verdict::Invalid, "not directly behind", &apart);
    let mut twice = leaves();
    twice.truncate(7);
    twice.push(twice[6].clone());
    wants(Verdict::Invalid, "a second record", &twice);
    let mut without = leaves();
    without.truncate(6);
    wants(Verdict::Valid, "a run may be closed without a record", &without);
}

#[test]
fn a_closed_run_does_not_go_on() {
    let mut leaves = leaves();
    let again = leaves[5].clone();
    leaves.truncate(7);
    leaves.push(again);
    wants(Verdict::Invalid, "closed twice", &leaves);
    leaves.truncate(7);
    let Leaf::Exchange(mut late) = exchange(1, 5, 5, Outcome::Complete) else { panic!() };
    late.sealed = 2_000;
    late.run.position = 4;
    late.run.previous = Some(hash(&leaves[4]));
    leaves.push(Leaf::Exchange(late));
    wants(Verdict::Invalid, "an exchange behind the closing", &leaves);
}

#[test]
fn an_opening_names_a_closed_run_and_its_own_first_leaf_follows() {
    let mut other = leaves();
    other[7] = opened(7, 5, [1; 32]);
    wants(Verdict::Invalid, "another closing leaf", &other);
    let mut open = leaves();
    open[7] = opened(7, 6, hash(&open[2]));
    wants(Verdict::Invalid, "a run that is open", &open);
    let mut late = leaves();
    let closed = hash(&late[5]);
    late[7] = opened(6, 5, closed);
    wants(Verdict::Invalid, "a run that has leaves", &late);
    let mut alone = leaves();
    alone.remove(8);
    wants(Verdict::Invalid, "no exchange behind it", &alone);
}
