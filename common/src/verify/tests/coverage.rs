//! Step 9.14, kept and broken.

use super::log::{boot, chained, heartbeat as beat, key, log_of, restart};
use crate::leaf::coverage_samples::{
    armed, canary, closed, connections, coverage, heartbeat, heartbeat_of, packets,
};
use crate::leaf::{
    Arrived, CanaryOutcome, CanaryWay, Counts, CoverageEnd, CoverageSaid, Leaf, Sums,
};
use crate::verify::{Place, Report, Verdict, What, verify};

fn report(leaves: &[Leaf]) -> Report {
    let leaves = [&[restart(1, None)], leaves].concat();
    verify(&log_of(&chained(leaves)), &[key()], &mut ())
}

fn broken(leaves: &[Leaf]) -> Vec<(What, Place)> {
    report(leaves).findings.into_iter().map(|finding| (finding.what, finding.place)).collect()
}

#[test]
fn a_coverage_is_told_of_from_its_beginning_to_its_end() {
    let ended = closed(Some(connections()), 2, CoverageEnd::Ended);
    let report = report(&[armed(), heartbeat(connections(), 1), ended]);
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    let [covered] = report.coverage.as_slice() else { panic!("one coverage") };
    assert_eq!((covered.from.0, covered.to.0), (1, 3));
    assert_eq!(covered.end, Some(CoverageEnd::Ended));
    assert_eq!(covered.connections, Some(connections()));
    assert_eq!((covered.packets, covered.older), (Some(packets()), 3), "one more came late");
    assert!(covered.foreign.contains(&("packets", 2)), "one that appeared later");
    let lines = report.lines().join("\n");
    for part in [
        "17 connections and sends seen",
        "9 led to the gateway",
        "3 let around it",
        "40 packets seen: 32 led to the gateway",
        "3 sockets were connected before",
        "1 cgroup was watched from after its making",
        "connect4 3, packets 2",
        "raw",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let json = report.to_json();
    assert!(json.contains(r#""bypass_passed":3"#), "{json}");
    assert!(json.contains(r#"{"channel":"raw","state":"not_covered"}"#), "{json}");
}

#[test]
fn one_that_nobody_closed_says_nothing_of_later() {
    let report = report(&[armed(), heartbeat(connections(), 1), beat(1, 0, &[], false)]);
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    assert_eq!(report.coverage[0].end, None);
    assert!(report.lines().join("\n").contains("open as of leaf 2"));
}

#[test]
fn one_that_broke_off_says_so_aloud() {
    let gone = report(&[armed(), closed(None, 1, CoverageEnd::LoaderGone)]);
    assert_eq!(gone.verdict(), Verdict::Valid);
    assert!(gone.lines().join("\n").contains("ENDED by"));
    let changed = closed(Some(connections()), 1, CoverageEnd::LinksChanged);
    assert!(report(&[armed(), changed]).lines().join("\n").contains("detached or replaced"));
}

#[test]
fn statements_that_cannot_be_true_together_are_found() {
    let found = |leaf: u64| vec![(What::Coverage, Place::Leaf(leaf))];
    let good = || heartbeat(connections(), 1);
    assert_eq!(broken(&[good()]), found(1), "never armed");
    assert_eq!(broken(&[armed(), armed()]), found(2), "twice");
    assert_eq!(broken(&[armed(), heartbeat(connections(), 2)]), found(2), "one is missing");
    assert_eq!(broken(&[armed(), good(), good()]), found(3), "double");
    let wrong = Sums { seen: 18, ..connections() };
    assert_eq!(broken(&[armed(), heartbeat(wrong, 1)]), found(2), "sums");
    let silent = Sums { events_read: 2, ..connections() };
    assert_eq!(broken(&[armed(), heartbeat(silent, 1)]), found(2), "events");
    let lost = Sums { seen: 41, ..packets() };
    assert_eq!(broken(&[armed(), heartbeat_of(connections(), lost, 1)]), found(2), "packets");
    let untold = Sums { events_lost: 0, ..packets() };
    assert_eq!(broken(&[armed(), heartbeat_of(connections(), untold, 1)]), found(2), "untold");
    let less = heartbeat_of(connections(), connections(), 2);
    assert_eq!(broken(&[armed(), good(), less]), found(3), "fewer packets");
    let fewer = Sums { seen: 15, via_gateway: 7, ..connections() };
    assert_eq!(broken(&[armed(), heartbeat(fewer, 1)]), found(2), "more came than were led");
    let earlier = Sums { allowed: 1, seen: 16, ..connections() };
    assert_eq!(broken(&[armed(), good(), heartbeat(earlier, 2)]), found(3), "smaller");
    let over = closed(Some(connections()), 1, CoverageEnd::Ended);
    assert_eq!(broken(&[armed(), over, heartbeat(connections(), 2)]), found(3), "closed before");
}

/// What was watched late, and what it held by then, is never taken back.
#[test]
fn what_came_late_is_not_forgotten() {
    let fewer = |change: fn(&mut Counts)| {
        let Leaf::Coverage(mut leaf) = heartbeat(connections(), 2) else { panic!("a coverage") };
        let CoverageSaid::Heartbeat(said) = &mut leaf.said else { panic!("a statement") };
        change(&mut said.counts);
        broken(&[armed(), heartbeat(connections(), 1), Leaf::Coverage(leaf)])
    };
    assert!(fewer(|counts| counts.late = 5).is_empty());
    let found = [(What::Coverage, Place::Leaf(3))];
    assert_eq!(fewer(|counts| counts.late = 0), found);
    assert_eq!(fewer(|counts| counts.older = 2), found);
}

#[test]
fn no_more_have_a_process_than_came() {
    let arrived = Arrived { attributed: 3, known: 2, ..Arrived::default() };
    let over = CoverageSaid::Closed(None, arrived, 1, CoverageEnd::LoaderGone);
    assert_eq!(broken(&[armed(), coverage(over)]), [(What::Coverage, Place::Leaf(2))]);
}

#[test]
fn a_coverage_is_its_boots_alone() {
    let next = restart(
        2,
        Some(crate::leaf::Previous {
            boot: boot(1),
            clean: false,
            highest: 0,
            open: crate::leaf::Ranges::default(),
            torn: 0,
        }),
    );
    let late = heartbeat(connections(), 1);
    assert_eq!(broken(&[armed(), next, late]), [(What::Boot, Place::Leaf(3))]);
}

/// The last canary is shown; a way around that any of them found is never forgotten.
#[test]
fn canaries_are_told_of() {
    let found = canary(1, |way| match way {
        CanaryWay::Udp4 => CanaryOutcome::Passed,
        _ => CanaryOutcome::Led,
    });
    let closed_again = canary(0, |_| CanaryOutcome::Denied);
    let report = report(&[armed(), found, closed_again]);
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    let covered = &report.coverage[0];
    assert_eq!((covered.canaries, covered.to.0), (2, 3));
    let lines = report.lines().join("\n");
    assert!(lines.contains("2 canaries, the last at"), "{lines}");
    assert!(lines.contains("WENT AROUND by udp4"), "{lines}");
    let json = report.to_json();
    assert!(json.contains(r#""passed_ever":["udp4"]"#), "{json}");
    assert!(json.contains(r#"{"control":true,"outcome":"denied","way":"raw4"}"#), "{json}");
    let over = closed(None, 1, CoverageEnd::LoaderGone);
    let late = canary(0, |_| CanaryOutcome::Led);
    assert_eq!(broken(&[armed(), over, late.clone()]), [(What::Coverage, Place::Leaf(3))]);
    assert_eq!(broken(&[late]), [(What::Coverage, Place::Leaf(1))], "never armed");
}
