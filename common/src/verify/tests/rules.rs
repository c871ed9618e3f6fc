//! Each rule of step 9, kept and broken.

use super::log::{boot, chained, exchange, heartbeat, key, log_of, restart};
use crate::encoding::Id;
use crate::leaf::{
    Adopted, Exchange, Extensions, Gap, GapAction, GapReason, Heartbeat, Leaf, Limit, Outcome,
    Prefix, Previous, Progress, ProgressEntry, Ranges, Retention,
};
use crate::verify::{Finding, Place, What, verify};

use Outcome::{ClientCancelled, Complete, Interrupted};

fn findings(leaves: &[Leaf]) -> Vec<Finding> {
    verify(&log_of(leaves), &[key()], &mut ()).findings
}

/// The rules that leaves break once they are chained, and where.
fn broken(leaves: Vec<Leaf>) -> Vec<(What, Place)> {
    findings(&chained(leaves)).into_iter().map(|finding| (finding.what, finding.place)).collect()
}

/// The rules broken after an edit of one leaf, the hashes of the tree being right.
fn edited(mut leaves: Vec<Leaf>, at: usize, edit: impl Fn(&mut Exchange)) -> Vec<(What, Place)> {
    leaves = chained(leaves);
    if let Leaf::Exchange(leaf) = &mut leaves[at] {
        edit(leaf);
    }
    findings(&leaves).into_iter().map(|finding| (finding.what, finding.place)).collect()
}

fn previous(n: u8, clean: bool, highest: u64, open: &[u64]) -> Option<Previous> {
    let open = Ranges::from_numbers(open.iter().copied());
    Some(Previous { boot: boot(n), clean, highest, open, torn: 0 })
}

fn numbers(n: u8, numbers: &[u64]) -> Vec<Leaf> {
    numbers.iter().map(|number| exchange(n, *number, 7, Complete)).collect()
}

fn log(parts: &[&[Leaf]]) -> Vec<Leaf> {
    parts.concat()
}

const NONE: [(What, Place); 0] = [];

#[test]
fn a_boot_that_closes_and_one_that_follows() {
    let first = log(&[&[restart(1, None)], &numbers(1, &[2, 1]), &[heartbeat(1, 3, &[3], false)]]);
    let first = log(&[&first, &numbers(1, &[3]), &[heartbeat(1, 3, &[], true)]]);
    assert_eq!(broken(first.clone()), NONE);
    let second = log(&[&first, &[restart(2, previous(1, true, 3, &[]))]]);
    assert_eq!(broken(second), NONE);
    for highest in [2, 4] {
        let other = log(&[&first, &[restart(2, previous(1, true, highest, &[]))]]);
        assert_eq!(broken(other)[0], (What::Number, Place::Leaf(6)));
    }
    let unclean = log(&[&first, &[restart(2, previous(1, false, 3, &[]))]]);
    assert_eq!(broken(unclean), [(What::Boot, Place::Leaf(6))]);
    let late = log(&[&first, &numbers(1, &[4])]);
    assert_eq!(broken(late), [(What::Boot, Place::Leaf(6))]);
    let again = log(&[&first, &[heartbeat(1, 3, &[], false)]]);
    assert_eq!(broken(again), [(What::Boot, Place::Leaf(6))]);
}

#[test]
fn boots_follow_each_other_by_name() {
    assert_eq!(broken(numbers(1, &[1])), [(What::Boot, Place::Leaf(0))]);
    let stranger = vec![restart(1, previous(9, false, 0, &[]))];
    assert_eq!(broken(stranger), [(What::Boot, Place::Leaf(0))]);
    let one = restart(1, None);
    for second in [restart(2, None), restart(2, previous(9, false, 0, &[]))] {
        assert_eq!(broken(vec![one.clone(), second]), [(What::Boot, Place::Leaf(1))]);
    }
    assert_eq!(broken(vec![one.clone(), restart(1, previous(1, false, 0, &[]))])[0].0, What::Boot);
    let other = vec![one.clone(), heartbeat(2, 0, &[], false)];
    assert_eq!(broken(other), [(What::Boot, Place::Leaf(1))]);
    let clean = vec![one, restart(2, previous(1, true, 0, &[]))];
    assert_eq!(broken(clean), [(What::Boot, Place::Leaf(1))]);
}

#[test]
fn a_number_is_sealed_once_and_never_missing() {
    let start = [restart(1, None)];
    let twice = log(&[&start, &numbers(1, &[1, 1])]);
    assert_eq!(broken(twice), [(What::Number, Place::Leaf(2))]);
    for closing in [false, true] {
        let hole = log(&[&start, &numbers(1, &[1, 3]), &[heartbeat(1, 3, &[], closing)]]);
        assert_eq!(broken(hole), [(What::Number, Place::Leaf(3))]);
    }
    let low = log(&[&start, &numbers(1, &[1, 2]), &[heartbeat(1, 1, &[], false)]]);
    assert_eq!(broken(low), [(What::Number, Place::Leaf(3))]);
    let falls = log(&[&start, &[heartbeat(1, 2, &[1, 2], false), heartbeat(1, 1, &[1], false)]]);
    assert_eq!(broken(falls), [(What::Number, Place::Leaf(2))]);
}

#[test]
fn after_a_crash_every_number_is_accounted_for() {
    let crashed = |then: &[Leaf], open: &[u64]| {
        let before = log(&[&[restart(1, None)], &numbers(1, &[1])]);
        log(&[&before, &[restart(2, previous(1, false, 3, open))], then])
    };
    let open = exchange(1, 3, 7, Interrupted);
    let late = exchange(1, 2, 7, ClientCancelled);
    assert_eq!(broken(crashed(&[late.clone(), open.clone()], &[3])), NONE);
    assert_eq!(broken(crashed(std::slice::from_ref(&open), &[3])), [(What::Number, Place::Log)]);
    assert_eq!(broken(crashed(std::slice::from_ref(&late), &[3])), [(What::Number, Place::Log)]);
    let finished = exchange(1, 3, 7, Complete);
    assert_eq!(broken(crashed(&[late.clone(), finished], &[3])), [(What::Number, Place::Leaf(4))]);
    let above = exchange(1, 4, 7, Interrupted);
    let leaves = crashed(&[late.clone(), open.clone(), above], &[3]);
    assert_eq!(broken(leaves), [(What::Number, Place::Leaf(5))]);
    // Ranges may run over numbers that have a leaf.
    assert_eq!(broken(crashed(&[late, open], &[1, 3])), NONE);
    let too_low = log(&[
        &[restart(1, None)],
        &numbers(1, &[1, 2]),
        &[restart(2, previous(1, false, 1, &[]))],
    ]);
    assert_eq!(broken(too_low), [(What::Number, Place::Leaf(3))]);
}

#[test]
fn times_run_forward() {
    let leaves = || log(&[&[restart(1, None)], &numbers(1, &[1])]);
    assert_eq!(edited(leaves(), 1, |leaf| leaf.sealed = 999), [(What::Time, Place::Leaf(1))]);
    assert_eq!(edited(leaves(), 1, |leaf| leaf.started = 2), [(What::Time, Place::Leaf(1))]);
    assert_eq!(edited(leaves(), 1, |leaf| leaf.ended = 2000), [(What::Time, Place::Leaf(1))]);
}

#[test]
fn a_run_is_a_chain() {
    let leaves = || log(&[&[restart(1, None)], &numbers(1, &[1, 2])]);
    for (at, edit) in [
        (1, (|leaf: &mut Exchange| leaf.run.position = 2) as fn(&mut Exchange)),
        (1, |leaf| leaf.run.previous = Some([0; 32])),
        (2, |leaf| leaf.run.position = 3),
        (2, |leaf| leaf.run.previous = None),
        (2, |leaf| leaf.run.id = Id([8; 16])),
    ] {
        let found = edited(leaves(), at, edit);
        assert_eq!(found[0], (What::Run, Place::Leaf(at as u64)), "{found:?}");
    }
}

#[test]
fn a_split_heartbeat_is_read_as_one() {
    let part = |part: u64, highest: u64, open: &[u64]| match heartbeat(1, highest, open, false) {
        Leaf::Heartbeat(beat) => Leaf::Heartbeat(Heartbeat { part, parts: 2, ..beat }),
        other => other,
    };
    let start = [restart(1, None)];
    assert_eq!(
        broken(log(&[&start, &[part(1, 3, &[1]), part(2, 3, &[3])], &numbers(1, &[2])])),
        [(What::Number, Place::Leaf(2))]
    );
    assert_eq!(
        broken(log(&[&start, &numbers(1, &[2]), &[part(1, 3, &[1]), part(2, 3, &[3])]])),
        NONE
    );
    assert_eq!(broken(log(&[&start, &[part(1, 3, &[1, 2, 3])]])), [(What::Heartbeat, Place::Log)]);
    assert_eq!(
        broken(log(&[&start, &[part(2, 3, &[1, 2, 3])]])),
        [(What::Heartbeat, Place::Leaf(1))]
    );
    for wrong in [part(2, 4, &[4]), part(1, 3, &[3]), heartbeat(1, 3, &[1, 2, 3], false)] {
        let found = broken(log(&[&start, &[part(1, 3, &[1, 2]), wrong]]));
        assert_eq!(found[0], (What::Heartbeat, Place::Leaf(2)));
    }
    let overlap = log(&[&start, &[part(1, 3, &[1, 2]), part(2, 3, &[2, 3])]]);
    assert_eq!(broken(overlap), [(What::Heartbeat, Place::Leaf(2))]);
}

#[test]
fn gaps_and_adoptions_are_bounded() {
    let gap = |began, ended| {
        let (action, reason) = (GapAction::Refused, GapReason::DiskFull);
        let ext = Extensions::new();
        Leaf::Gap(Gap { action, began, boot: boot(1), count: 1, ended, ext, reason, sealed: 0 })
    };
    let adopted =
        |size| Leaf::Adopted(Adopted { boot: boot(1), ext: Extensions::new(), sealed: 0, size });
    let start = restart(1, None);
    assert_eq!(
        broken(vec![start.clone(), gap(5, Some(6)), gap(5, None), adopted(0), adopted(4)]),
        NONE
    );
    for (wrong, what) in
        [(gap(6, Some(5)), What::Time), (gap(5000, None), What::Time), (adopted(2), What::Boot)]
    {
        assert_eq!(broken(vec![start.clone(), wrong]), [(what, Place::Leaf(1))]);
    }
}

#[test]
fn retention_names_what_came_before_it() {
    let retention = |n, first, last| {
        let leaves = Ranges::new(vec![(first, last)]).unwrap();
        let limit = Limit { age: None, bytes: Some(7) };
        let ext = Extensions::new();
        Leaf::Retention(Retention { boot: boot(n), ext, leaves, limit, sealed: 0 })
    };
    let start = restart(1, None);
    let stated = vec![start.clone(), retention(1, 1, 1), retention(1, 1, 1)];
    assert_eq!(broken(stated), [(What::Leaf, Place::Leaf(1))], "a leaf does not name itself");
    let again = vec![start.clone(), heartbeat(1, 0, &[], false), retention(1, 1, 1)];
    assert_eq!(broken([again.clone(), again[2..].to_vec()].concat()), NONE);
    assert_eq!(broken(vec![start.clone(), retention(2, 1, 1)]), [(What::Boot, Place::Leaf(1))]);
    let goodbye = heartbeat(1, 0, &[], true);
    let late = vec![start, goodbye, retention(1, 1, 1)];
    assert_eq!(broken(late), [(What::Boot, Place::Leaf(2))]);
}

fn progress(entries: &[(u64, u64, Option<u64>)], unchanged: &[u64]) -> Leaf {
    let prefix = |length: u64| Prefix {
        length,
        root: crate::tree::EMPTY_ROOT,
        segments: 0,
        tail: (length > 0).then_some([u8::try_from(length).unwrap(); 32]),
    };
    let entries = entries.iter().map(|(number, request, response)| ProgressEntry {
        exchange: Id([7; 16]),
        number: *number,
        request: prefix(*request),
        response: response.map(prefix),
    });
    Leaf::Progress(Progress {
        boot: boot(1),
        entries: entries.collect(),
        ext: Extensions::new(),
        sealed: 0,
        unchanged: Ranges::from_numbers(unchanged.iter().copied()),
    })
}

#[test]
fn an_open_exchange_only_grows() {
    let start = [restart(1, None)];
    let told = [
        progress(&[(1, 0, None), (2, 0, None)], &[]),
        progress(&[(1, 0, Some(3))], &[2]),
        progress(&[], &[1, 2]),
        progress(&[(1, 0, Some(9))], &[]),
    ];
    let good = log(&[&start, &told, &numbers(1, &[2, 1]), &[heartbeat(1, 2, &[], false)]]);
    assert_eq!(broken(good.clone()), NONE);

    // Shrinks, changes in place, loses its answer, has it another id.
    for wrong in [(1, 0, Some(2)), (1, 0, None)] {
        let found = broken(log(&[&start, &told, &[progress(&[wrong], &[])]]));
        assert_eq!(found, [(What::Progress, Place::Leaf(5))]);
    }
    let mut other = progress(&[(1, 0, Some(9))], &[]);
    if let Leaf::Progress(leaf) = &mut other {
        leaf.entries[0].exchange = Id([8; 16]);
    }
    assert_eq!(broken(log(&[&start, &told, &[other]])), [(What::Progress, Place::Leaf(5))]);

    // Unknown numbers, numbers with a leaf, numbers that are then forgotten.
    for range in [&[3][..], &[1, 2, 3]] {
        let found = broken(log(&[&start, &told, &[progress(&[], range)]]));
        assert_eq!(found, [(What::Progress, Place::Leaf(5))]);
    }
    let wide = Leaf::Progress(Progress {
        boot: boot(1),
        entries: Vec::new(),
        ext: Extensions::new(),
        sealed: 0,
        unchanged: Ranges::new(vec![(1, (1 << 53) - 1)]).unwrap(),
    });
    assert_eq!(broken(log(&[&start, &told, &[wide]])), [(What::Progress, Place::Leaf(5))]);
    for late in [progress(&[(1, 0, Some(9))], &[]), progress(&[], &[1])] {
        assert_eq!(broken(log(&[&good, &[late]])), [(What::Progress, Place::Leaf(8))]);
    }
    let forgotten = log(&[&start, &told, &numbers(1, &[1]), &[heartbeat(1, 1, &[], false)]]);
    assert_eq!(broken(forgotten), [(What::Number, Place::Leaf(6))]);

    // The leaf has less than was said, or another beginning.
    let shorter = log(&[&start, &[progress(&[(1, 0, Some(10))], &[])], &numbers(1, &[1])]);
    assert_eq!(broken(shorter), [(What::Progress, Place::Leaf(2))]);
    let found = edited(good, 6, |leaf| leaf.exchange = Id([8; 16]));
    assert!(found.contains(&(What::Progress, Place::Leaf(6))), "{found:?}");
}

#[test]
fn only_the_boot_that_runs_tells_of_progress() {
    let first = [restart(1, None), progress(&[(1, 4, None)], &[])];
    let second = [restart(2, previous(1, false, 1, &[1])), progress(&[], &[1])];
    let found = broken(log(&[&first, &second]));
    assert!(found.contains(&(What::Boot, Place::Leaf(3))), "{found:?}");
}
