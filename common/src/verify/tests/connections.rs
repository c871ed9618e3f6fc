//! Steps 9.15 to 9.17, kept and broken.

use super::log::{chained, exchange, heartbeat as beat, key, log_of, restart};
use crate::encoding::Id;
use crate::leaf::coverage_samples::{
    armed, bypass, bypass_leaf, canary, connection, connection_leaf, connections, coverage, refused,
};
use crate::leaf::{
    Arrived, BypassUnit, BypassVerdict, CONNECTION_EXTENSION, CanaryOutcome, CanaryWay, Connection,
    ConnectionEnd, Counts, CoverageEnd, CoverageSaid, Leaf, Listed, Outcome, Statement, Sums,
    connection_tag,
};
use crate::verify::of_coverage::OfCoverage;
use crate::verify::{Place, Report, Verdict, What, verify};

/// An exchange that came over the connection with this number.
fn over(number: u64, connection: u8) -> Leaf {
    let Leaf::Exchange(mut leaf) = exchange(1, number, 3, Outcome::Complete) else { panic!() };
    let tag = connection_tag(&Id([connection; 16]));
    leaf.ext.insert(CONNECTION_EXTENSION.to_owned(), tag);
    Leaf::Exchange(leaf)
}

/// A statement: so many had come, so many ways around were read.
fn stated(number: u64, known: u64, read: u64) -> Leaf {
    stated_with(number, known, read, 0)
}

/// The same, and so many were led here and turned away.
fn stated_with(number: u64, known: u64, read: u64, refused_led: u64) -> Leaf {
    let connections = Sums {
        bypass_denied: 0,
        bypass_passed: read,
        events_lost: 0,
        events_read: read,
        seen: 9 + 2 + 1 + 1 + read,
        ..connections()
    };
    let arrived = Arrived { attributed: 0, known, refused: 1, refused_led };
    let packets = Sums::default();
    let counts = Counts { connections, foreign: Listed::default(), late: 0, older: 2, packets };
    coverage(CoverageSaid::Heartbeat(Statement { arrived, counts, number }))
}

fn report(leaves: &[Leaf]) -> Report {
    let leaves = [&[restart(1, None)], leaves].concat();
    verify(&log_of(&chained(leaves)), &[key()], &mut ())
}

fn broken(leaves: &[Leaf]) -> Vec<(What, Place)> {
    report(leaves).findings.into_iter().map(|finding| (finding.what, finding.place)).collect()
}

fn at(leaf: u64) -> Vec<(What, Place)> {
    vec![(What::Coverage, Place::Leaf(leaf))]
}

/// Two connections before the first statement, a third before the second, all over.
fn good() -> Vec<Leaf> {
    vec![
        armed(),
        over(1, 1),
        over(2, 2),
        over(3, 1),
        connection(1, 1, &[1, 3]),
        refused(1, None),
        bypass(1, 1, 1),
        bypass(2, 1, 70),
        stated(1, 2, 71),
        connection(2, 1, &[2]),
        over(4, 3),
        connection(3, 2, &[4]),
        stated(2, 3, 71),
        exchange(1, 5, 4, Outcome::Complete),
        beat(1, 5, &[], true),
    ]
}

#[test]
fn exchanges_are_joined_to_their_coverage() {
    let report = report(&good());
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    let [joined] = report.joined.as_slice() else { panic!("one coverage") };
    assert_eq!((joined.carried, joined.exchanges, joined.refused), (3, 4, 1));
    assert_eq!((joined.open, joined.missed, joined.around), (0, 6, 71));
    assert_eq!(report.reach.len(), 2);
    assert_eq!((report.reach[0].inside, report.reach[0].outside), (4, 0));
    assert_eq!((report.reach[1].inside, report.reach[1].outside), (0, 1));
    let lines = report.lines().join("\n");
    for part in ["3 connections came", "inside: 4 exchanges", "1 refused", "4 exchanges inside, 0"]
    {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let json = report.to_json();
    assert!(json.contains(r#""carried":3"#) && json.contains(r#""inside":4"#), "{json}");
}

/// Without one of these leaves something shows, and so with one of them twice.
#[test]
fn nothing_is_dropped_or_doubled() {
    for (at, leaf) in good().iter().enumerate().skip(1).take(11) {
        // A refused connection is told of so that it is known; a flood of them is only counted.
        let is_refused = matches!(leaf, Leaf::Connection(leaf) if leaf.exchanges.is_empty());
        let mut fewer = good();
        fewer.remove(at);
        assert_eq!(broken(&fewer).is_empty(), is_refused, "without {at}");
        let mut twice = good();
        twice.insert(at, leaf.clone());
        assert!(!broken(&twice).is_empty(), "{at} twice");
    }
}

#[test]
fn a_connection_belongs_to_the_statement_that_is_first_to_count_it() {
    let place = |wrong: u64, at: usize| {
        let mut leaves = good();
        let Leaf::Connection(leaf) = &mut leaves[at] else { panic!("a connection") };
        (leaf.first, leaf.last) = (wrong, wrong.max(leaf.last));
        broken(&leaves)
    };
    assert_eq!(place(2, 4)[0], at(5)[0], "the first one, before its statement");
    assert_eq!(place(2, 9)[0], at(10)[0], "the second one, behind its statement");
    assert_eq!(place(1, 11)[0], at(12)[0], "the third one, too early");
    assert!(place(1, 4).is_empty(), "as it was");
    // What comes after the last statement is for the next, which nobody made.
    let mut leaves = good();
    leaves.insert(13, connection(4, 3, &[]));
    assert!(broken(&leaves).is_empty());
    leaves[13] = connection(5, 2, &[]);
    assert_eq!(broken(&leaves)[0], at(14)[0], "statement 2 counts three");
}

#[test]
fn an_exchange_is_carried_by_the_connection_that_it_names() {
    let with = |at: usize, exchanges: &[u64]| {
        let mut leaves = good();
        leaves[at] = match &leaves[at] {
            Leaf::Connection(leaf) => connection(leaf.number, leaf.first, exchanges),
            _ => panic!("a connection"),
        };
        broken(&leaves)
    };
    assert_eq!(with(4, &[1])[0], at(5)[0], "one is left out");
    assert_eq!(with(4, &[1, 2, 3])[0], at(5)[0], "one came over another");
    assert_eq!(with(9, &[2, 9])[0], at(10)[0], "one is not there");
    assert_eq!(with(11, &[4, 5])[0], at(12)[0], "one does not exist yet");
    let mut leaves = good();
    leaves.insert(12, over(6, 1));
    assert_eq!(broken(&leaves)[0], at(13)[0], "its connection was over");
    let mut leaves = good();
    leaves[13] = over(5, 9);
    assert_eq!(broken(&leaves), [(What::Coverage, Place::Log)], "over one that has no leaf");
    leaves.truncate(14);
    assert!(broken(&leaves).is_empty(), "it may still be open");
}

#[test]
fn a_connection_may_have_parts() {
    let part = |part: u64, parts: u64, exchanges: &[u64]| {
        let leaf = connection_leaf(1, 1, exchanges);
        Leaf::Connection(Box::new(Connection { part, parts, ..leaf }))
    };
    let all = |parts: &[Leaf]| {
        let front = [armed(), over(1, 1), over(2, 2), over(3, 1)];
        broken(&[&front, parts, &[beat(1, 3, &[2], false)]].concat())
    };
    assert!(all(&[part(1, 2, &[1]), part(2, 2, &[3])]).is_empty());
    assert_eq!(all(&[part(1, 2, &[1]), part(2, 3, &[3])])[0], at(6)[0], "another number of parts");
    assert_eq!(all(&[part(1, 2, &[3]), part(2, 2, &[1])])[0], at(6)[0], "backwards");
    let adjoining = [part(1, 2, &[1]), part(2, 2, &[2])];
    let front = [armed(), over(1, 1), over(2, 1)];
    let joined = [&front[..], &adjoining, &[beat(1, 2, &[], false)]].concat();
    assert_eq!(broken(&joined)[0], at(5)[0], "no hole between");
    assert_eq!(all(&[part(2, 2, &[1, 3])]), at(5), "without the first");
    assert_eq!(all(&[part(1, 2, &[1])])[0], at(6)[0], "without the last");
}

#[test]
fn ways_around_are_told_of_before_they_are_counted() {
    let around =
        |leaves: &[Leaf], read: u64| broken(&[&[armed()], leaves, &[stated(1, 0, read)]].concat());
    assert!(around(&[], 0).is_empty());
    assert!(around(&[bypass(1, 1, 1), bypass(2, 1, 4)], 5).is_empty());
    assert_eq!(around(&[], 1), at(2), "counted and not told of");
    assert_eq!(around(&[bypass(1, 1, 1)], 0), at(3), "told of and not counted");
    assert_eq!(around(&[bypass(2, 1, 1)], 1), at(2), "one is left out");
    assert_eq!(around(&[bypass(1, 2, 1)], 1), at(2), "of another statement");
    let mut packet = bypass_leaf(1, 1, 3);
    packet.unit = BypassUnit::Packet;
    assert_eq!(around(&[Leaf::Bypass(Box::new(packet))], 0), at(3), "packets that nobody counted");
    let mut denied = bypass_leaf(1, 1, 1);
    denied.verdict = BypassVerdict::Denied;
    assert_eq!(around(&[Leaf::Bypass(Box::new(denied))], 1), at(3), "the kernel stopped none");
}

#[test]
fn more_cannot_come_than_were_led_here() {
    let refused_here = [armed(), refused(1, Some(7)), stated(1, 9, 0)];
    assert_eq!(broken(&refused_here), at(3), "nine of nine came, and one was refused");
    assert_eq!(broken(&[armed(), stated_with(1, 9, 0, 1)]), at(2), "ten of nine");
    assert_eq!(broken(&[armed(), stated_with(1, 3, 0, 2)]), at(2), "two of one that was refused");
    assert_eq!(broken(&[armed(), refused(1, Some(7)), stated(1, 8, 0)]), at(3), "not counted");
    assert!(broken(&[armed(), refused(1, Some(7)), stated_with(1, 8, 0, 1)]).is_empty());
    let fewer = [armed(), stated_with(1, 5, 0, 1), stated(2, 5, 0)];
    assert_eq!(broken(&fewer), at(3), "fewer turned away than before");
    assert!(broken(&[armed(), refused(1, None), stated(1, 9, 0)]).is_empty());
    let behind = |counted| [armed(), stated_with(1, 8, 0, counted), refused(1, Some(7))];
    assert!(broken(&behind(1)).is_empty());
    assert_eq!(broken(&behind(0)), at(3), "a statement that stands in front of its leaf");
    let blind = |refused_led| {
        let arrived = Arrived { refused: 1, refused_led, ..Arrived::default() };
        let end = CoverageSaid::Closed(None, arrived, 1, CoverageEnd::NumbersWrong);
        [armed(), refused(1, Some(7)), coverage(end)]
    };
    assert!(broken(&blind(1)).is_empty());
    assert_eq!(broken(&blind(0)), at(3), "nor is it counted without the kernel's numbers");
    assert_eq!(broken(&[armed(), stated(1, 5, 0), stated(2, 4, 0)]), at(3), "fewer than before");
    assert_eq!(broken(&[connection(1, 1, &[])]), at(1), "a coverage that nobody armed");
}

/// Whoever holds the log's key could put down to a canary what was led here and never came.
#[test]
fn a_canary_hides_no_connection() {
    let by_tcp4 = |led: u64| {
        canary(led, |way| match way {
            CanaryWay::Tcp4 => CanaryOutcome::Led,
            _ => CanaryOutcome::Denied,
        })
    };
    let good = [armed(), by_tcp4(1), stated(1, 8, 0)];
    assert!(broken(&good).is_empty(), "{:?}", report(&good).findings);
    assert_eq!(report(&good).joined[0].missed, 0, "eight came, and one was the canary's");
    assert_eq!(broken(&[armed(), by_tcp4(2), stated(1, 2, 0)]), at(2), "it made one");
    assert_eq!(broken(&[armed(), by_tcp4(1 << 50), stated(1, 2, 0)]), at(2), "it made one");
    let one = report(&[armed(), by_tcp4(1 << 50), stated(1, 2, 0)]);
    assert_eq!(one.joined[0].missed, 6, "nine led here, two came, one was the canary's");
    let many = [armed(), by_tcp4(1), by_tcp4(1), stated(1, 8, 0)];
    assert_eq!(broken(&many), at(4), "eight came, and two were canaries': nine were led here");
    let later = [armed(), by_tcp4(1), stated(1, 2, 0), by_tcp4(1), stated(2, 8, 0)];
    assert_eq!(broken(&later), at(5), "the canary before counts as well");
    let refused = [armed(), refused(1, Some(7)), by_tcp4(1), stated(1, 8, 0)];
    assert_eq!(broken(&refused), at(4), "and one was refused");
    let behind = [armed(), stated(1, 9, 0), by_tcp4(1)];
    assert!(broken(&behind).is_empty(), "no statement counts that one yet");
    assert_eq!(report(&behind).joined[0].missed, 0);
}

/// If each statement went through all that waits for a later one, these would take hours.
#[test]
fn a_statement_costs_what_belongs_to_it_however_much_waits() {
    const MANY: u64 = 400_000;
    let said = |refused: bool| {
        let mut of = OfCoverage::new(Id([8; 16]), Id([1; 16]));
        let mut report = Report::default();
        let connections = Sums { via_gateway: u64::MAX, ..Sums::default() };
        let counts = Counts { connections, ..Counts::default() };
        for number in 1..=MANY {
            let first = if refused { number } else { MANY + 1 };
            let end = if refused { ConnectionEnd::Refused } else { ConnectionEnd::Closed };
            let leaf = Connection { number, first, end, ..connection_leaf(1, 1, &[]) };
            of.connection(&leaf, number).unwrap();
        }
        let many = if refused { MANY } else { 0 };
        let arrived = Arrived { refused: many, refused_led: many, ..Arrived::default() };
        for number in 1..=MANY {
            of.statement(Some(&counts), arrived, number, (number, &mut report)).unwrap();
        }
        let known = if refused { 0 } else { MANY };
        let arrived = Arrived { known, ..arrived };
        of.statement(Some(&counts), arrived, MANY + 1, (0, &mut report)).unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        of.finish(known)
    };
    assert_eq!(said(false).open, 0);
    assert_eq!(said(true).missed, u64::MAX - MANY);
}

#[test]
fn nothing_is_left_out_of_a_boot_that_is_over() {
    let mut leaves = good();
    leaves.remove(11);
    leaves.remove(10);
    let gone = broken(&leaves);
    assert!(gone.contains(&(What::Coverage, Place::Log)), "{gone:?}");
    leaves.truncate(11);
    let report = report(&leaves);
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert_eq!(report.joined[0].open, 1, "it may still be open");
}

/// Nothing would count it.
#[test]
fn nothing_goes_around_behind_the_end_of_a_coverage() {
    let mut leaves = good();
    let Leaf::Coverage(last) = leaves[12].clone() else { panic!("a statement") };
    let CoverageSaid::Heartbeat(said) = last.said.clone() else { panic!("a statement") };
    let end =
        CoverageSaid::Closed(Some(said.counts), said.arrived, said.number, CoverageEnd::Ended);
    leaves[12] = coverage(end);
    assert!(broken(&leaves).is_empty(), "{:?}", report(&leaves).findings);
    leaves.insert(13, bypass(3, 3, 1));
    assert_eq!(broken(&leaves)[0], at(14)[0]);
}
