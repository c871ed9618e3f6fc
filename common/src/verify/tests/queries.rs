//! Step 9.19, kept and broken.

use super::log::{boot, chained, heartbeat as beat, key, log_of, restart};
use crate::encoding::Id;
use crate::leaf::coverage_samples::{armed, closed, connections, heartbeat_of, packets, queries};
use crate::leaf::{Coverage, CoverageEnd, DnsQueries, Leaf, Sums};
use crate::verify::{Place, Report, Verdict, What, verify};

fn report(leaves: &[Leaf]) -> Report {
    let leaves = [&[restart(1, None)], leaves].concat();
    verify(&log_of(&chained(leaves)), &[key()], &mut ())
}

fn broken(leaves: &[Leaf]) -> Vec<(What, Place)> {
    report(leaves).findings.into_iter().map(|finding| (finding.what, finding.place)).collect()
}

fn asked(number: u64, statement: u64, seen: u64) -> Leaf {
    Leaf::DnsQueries(Box::new(queries(number, statement, seen)))
}

/// A statement by which so many packets had been allowed.
fn stated(allowed: u64, number: u64) -> Leaf {
    let seen = packets().seen + allowed;
    heartbeat_of(connections(), Sums { allowed, seen, ..packets() }, number)
}

#[test]
fn every_packet_that_was_allowed_is_told_of() {
    let leaves =
        [armed(), asked(1, 1, 5), stated(5, 1), stated(5, 2), asked(2, 3, 4), stated(9, 3)];
    let report = report(&leaves);
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    let [queried] = report.queries.as_slice() else { panic!("one coverage") };
    assert_eq!((queried.seen, queried.parsed, queried.unparsable), (9, 5, 2));
    assert_eq!((queried.lost, queried.cut, queried.questions, queried.omitted), (2, 2, 9, 2));
    assert_eq!(queried.leaves, [2, 5]);
    let lines = report.lines().join("\n");
    for part in
        ["9 packets to the resolver: 5 read with 9 questions, 2 could not be read", "2 of them"]
    {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    assert!(report.to_json().contains(r#""leaves":[2,5]"#), "{}", report.to_json());
}

#[test]
fn none_is_left_out_and_none_made_up() {
    for leaves in [
        &[armed(), stated(1, 1)][..],
        &[armed(), asked(1, 1, 4), stated(5, 1)],
        &[armed(), asked(1, 1, 6), stated(5, 1)],
        &[armed(), asked(1, 1, 5), stated(5, 1), stated(6, 2)],
    ] {
        let at = u64::try_from(leaves.len()).unwrap();
        assert_eq!(broken(leaves), [(What::Coverage, Place::Leaf(at))], "{leaves:?}");
    }
}

#[test]
fn each_statement_has_one_leaf_in_front_of_it() {
    let more = |leaf: &DnsQueries| Leaf::DnsQueries(Box::new(leaf.clone()));
    let good = queries(1, 1, 5);
    for leaf in
        [DnsQueries { number: 2, ..good.clone() }, DnsQueries { statement: 2, ..good.clone() }]
    {
        let findings = broken(&[armed(), more(&leaf), stated(5, 1)]);
        assert_eq!(findings, [(What::Coverage, Place::Leaf(2))], "{leaf:?}");
    }
    let twice = [armed(), asked(1, 1, 3), asked(2, 1, 4), stated(7, 1)];
    assert_eq!(broken(&twice), [(What::Coverage, Place::Leaf(3))]);
    let late = [armed(), closed(None, 1, CoverageEnd::LoaderGone), asked(1, 2, 5)];
    assert_eq!(broken(&late), [(What::Coverage, Place::Leaf(3))]);
    // Another coverage, another boot, and one that is over.
    let strange = DnsQueries { coverage: Id([77; 16]), ..good.clone() };
    assert_eq!(broken(&[armed(), more(&strange)]), [(What::Coverage, Place::Leaf(2))]);
    let elsewhere = DnsQueries { boot: boot(2), ..good.clone() };
    assert_eq!(broken(&[armed(), more(&elsewhere)]).len(), 1);
    let over = [
        armed(),
        closed(None, 1, CoverageEnd::LoaderGone),
        beat(1, 0, &[], true),
        more(&DnsQueries { statement: 2, ..good }),
    ];
    assert!(broken(&over).contains(&(What::Boot, Place::Leaf(4))));
}

#[test]
fn what_was_read_before_the_numbers_were_lost_stands() {
    let leaves = [armed(), asked(1, 1, 5), closed(None, 1, CoverageEnd::LoaderGone)];
    let report = report(&leaves);
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    assert_eq!(report.queries[0].seen, 5);
}

#[test]
fn a_leaf_says_what_adds_up() {
    let good = queries(1, 1, 5);
    assert!(Leaf::decode(&good.encode().unwrap()).is_ok());
    let none = DnsQueries { names: None, ..good.clone() };
    for wrong in [
        DnsQueries { seen: 6, ..good.clone() },
        DnsQueries { lost: 2, ..good.clone() },
        DnsQueries { lost: u64::MAX >> 11, ..good.clone() },
        DnsQueries { cut: 5, ..good.clone() },
        DnsQueries { omitted: 6, ..good.clone() },
        DnsQueries { omitted: 5, ..good.clone() },
        DnsQueries { number: 0, ..good.clone() },
        DnsQueries { statement: 0, ..good.clone() },
        DnsQueries { seen: 0, parsed: 0, unparsable: 0, lost: 0, cut: 0, ..good },
        none,
    ] {
        assert!(Leaf::decode(&wrong.encode().unwrap()).is_err(), "{wrong:?}");
    }
}

#[test]
fn numbers_of_two_coverages_are_apart() {
    let other = |leaf| match leaf {
        Leaf::Coverage(leaf) => {
            Leaf::Coverage(Box::new(Coverage { coverage: Id([9; 16]), ..*leaf }))
        }
        other => other,
    };
    let leaves = [armed(), other(armed()), asked(1, 1, 5), other(stated(0, 1)), stated(5, 1)];
    let report = report(&leaves);
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    assert_eq!(report.queries.len(), 1);
}
