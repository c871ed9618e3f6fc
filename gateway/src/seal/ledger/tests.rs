//! Connections become leaves: parts of them, and what is counted of each.

use std::collections::HashMap;
use std::sync::Arc;

use sealtap_common::leaf::{
    Attribution, BypassUnit, BypassVerdict, BypassWay, ConnectionEnd, Isolation, IsolationBasis,
    IsolationLevel, Passed, Side, Unit,
};

use super::*;
use crate::seal::connections::KeptUnit;
use crate::seal::digest::Event;
use crate::seal::keys::Keys;

const BOOT: [u8; 16] = [1; 16];

fn ledger() -> Ledger {
    let directory = tempfile::tempdir().unwrap();
    let keys = Arc::new(Keys::load_or_create(&directory.path().join("k"), Some("o")).unwrap());
    let isolation = Isolation { basis: IsolationBasis::Assumed, level: IsolationLevel::SameUser };
    let runs = Runs::new(BOOT, keys, isolation, HashMap::new());
    Ledger::new(BOOT, Policy::Strict, Timeline::start(0), 0, 0, runs)
}

fn connection(exchanges: Ranges) -> DigestedConnection {
    let leaf = Connection {
        attribution: Attribution::Unknown,
        began: 1,
        boot: Id(BOOT),
        bytes: Passed::default(),
        connection: Id([2; 16]),
        cookie: Some(3),
        coverage: Id([4; 16]),
        end: ConnectionEnd::Closed,
        ended: 2,
        exchanges,
        ext: Extensions::new(),
        first: 1,
        kernel: None,
        last: 1,
        maker: Unit { length: 9, root: [5; 32] },
        number: 1,
        part: 1,
        parts: 1,
        sealed: 0,
        side: Side::Client,
    };
    let unit = KeptUnit { key: [6; 32], bytes: vec![7; 100] };
    DigestedConnection { leaf, unit, first_file: 1, weight: 0 }
}

fn bypass() -> DigestedBypass {
    let leaf = sealtap_common::leaf::Bypass {
        boot: Id(BOOT),
        count: 5,
        coverage: Id([4; 16]),
        ext: Extensions::new(),
        number: 1,
        sealed: 0,
        statement: 1,
        unit: BypassUnit::Packet,
        verdict: BypassVerdict::Passed,
        way: BypassWay::Raw,
        who: None,
    };
    DigestedBypass { leaf, unit: None, held: None, first_file: 0, weight: 0 }
}

/// If each part copied what all of them have, this would copy some 400 GB, on the thread that seals.
#[test]
fn a_connection_of_millions_of_exchanges_is_sealed_in_one_pass() {
    const MANY: u64 = 6_000_000;
    let ranges = Ranges::new((1..=MANY).map(|number| (3 * number, 3 * number)).collect()).unwrap();
    let happening = Happening::Connection(Box::new(connection(ranges.clone())));
    let entries = ledger().enter(happening).unwrap();
    assert_eq!(entries.len(), usize::try_from(MANY).unwrap().div_ceil(RANGES));
    let mut joined = Ranges::default();
    for (part, entry) in (1_u64..).zip(&entries) {
        let Leaf::Connection(leaf) = Leaf::decode(&entry.leaf).unwrap() else { panic!() };
        assert_eq!((leaf.part, leaf.parts), (part, entries.len() as u64));
        joined.extend(&leaf.exchanges).unwrap();
        assert_eq!(entry.aside.is_some(), part == 1);
    }
    assert_eq!(joined, ranges);
    assert_eq!(entries[0].aside.as_ref().unwrap().carried, Some((Id(BOOT), ranges)));
}

/// What the seal thread counts is what the store thread counts off again.
#[test]
fn what_is_counted_of_connections_and_ways_around_reaches_the_store() {
    let few = connection(Ranges::from_numbers([1]));
    let many = connection(Ranges::new((1..=1_000).map(|n| (2 * n, 2 * n)).collect()).unwrap());
    let mut events: Vec<_> =
        [few, many].map(|one| Event::Connection(Box::new(one))).into_iter().collect();
    events.push(Event::Bypass(Box::new(bypass())));
    let (exchanges, bytes) = Event::weigh(&mut events);
    assert_eq!(exchanges, 0);
    let mut ledger = ledger();
    let mut weights = Vec::new();
    for event in events {
        let happening = match event {
            Event::Connection(connection) => Happening::Connection(connection),
            Event::Bypass(bypass) => Happening::Bypass(bypass),
            _ => unreachable!(),
        };
        let entries = ledger.enter(happening).unwrap();
        let asides = entries.into_iter().filter_map(|entry| entry.aside);
        weights.extend(asides.map(|aside| aside.weight));
    }
    assert_eq!(weights.iter().sum::<u64>(), bytes);
    assert!(weights[0] > 100 && weights[2] > 100, "{weights:?}");
    assert!(weights[1] > weights[0] + 16_000, "each of its ranges counts: {weights:?}");
}
