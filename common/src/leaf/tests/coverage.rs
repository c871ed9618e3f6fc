//! What the kernel says: samples, and what no leaf may say.

use super::*;

pub(crate) fn connections() -> Sums {
    Sums {
        allowed: 2,
        bypass_denied: 1,
        bypass_passed: 3,
        // Those that were read have leaves of their own.
        events_lost: 4,
        events_read: 0,
        loopback: 1,
        seen: 17,
        unparsable: 1,
        via_gateway: 9,
    }
}

pub(crate) fn coverage(said: CoverageSaid) -> Leaf {
    let (boot, coverage) = (Id([1; 16]), Id([8; 16]));
    let ext = Extensions::new();
    Leaf::Coverage(Box::new(Coverage { boot, coverage, ext, said, sealed: 4 }))
}

pub(crate) fn armed() -> Leaf {
    let program =
        |program, id| Attached { at: At::Cgroup(1), id, link: Some(id + 1), program, tag: 0xab };
    coverage(CoverageSaid::Armed(Armed {
        channels: Channel::ALL.iter().map(|_| ChannelState::NotCovered).collect(),
        machine: Id([9; 16]),
        foreign: Listed::of(vec![Foreign { beside: KernelProgram::Connect4, id: 3 }]).unwrap(),
        mode: CoverageMode::Observe,
        object: [7; 32],
        older: 2,
        programs: Listed::of(vec![
            program(KernelProgram::Connect4, 5),
            program(KernelProgram::Asked, 7),
            Attached { at: At::Device(2), link: None, ..program(KernelProgram::Uplink, 9) },
            Attached { at: At::Machine, ..program(KernelProgram::Exec, 11) },
        ])
        .unwrap(),
    }))
}

pub(crate) fn packets() -> Sums {
    // Those that are allowed have leaves of their own.
    Sums { allowed: 0, loopback: 3, seen: 40, via_gateway: 32, ..connections() }
}

fn counts(connections: Sums, packets: Sums) -> Counts {
    let foreign = vec![
        Foreign { beside: KernelProgram::Connect4, id: 3 },
        Foreign { beside: KernelProgram::Packets, id: 2 },
    ];
    Counts { connections, foreign: Listed::of(foreign).unwrap(), late: 1, older: 3, packets }
}

pub(crate) fn heartbeat(connections: Sums, number: u64) -> Leaf {
    heartbeat_of(connections, packets(), number)
}

pub(crate) fn heartbeat_of(connections: Sums, packets: Sums, number: u64) -> Leaf {
    let arrived = Arrived { attributed: 7, known: 8, refused: 20, refused_led: 1 };
    let counts = counts(connections, packets);
    coverage(CoverageSaid::Heartbeat(Statement { arrived, counts, number }))
}

pub(crate) fn closed(connections: Option<Sums>, number: u64, end: CoverageEnd) -> Leaf {
    let counts = connections.map(|connections| counts(connections, packets()));
    let arrived = Arrived { attributed: 7, known: 8, refused: 20, refused_led: 1 };
    coverage(CoverageSaid::Closed(counts, arrived, number, end))
}

pub(crate) fn queries(number: u64, statement: u64, seen: u64) -> DnsQueries {
    let (boot, coverage, ext) = (Id([1; 16]), Id([8; 16]), Extensions::new());
    DnsQueries {
        boot,
        coverage,
        cut: 1,
        ext,
        lost: 1,
        names: Some(Unit { length: 90, root: [5; 32] }),
        number,
        omitted: 1,
        parsed: seen.saturating_sub(2),
        questions: seen,
        sealed: 4,
        seen,
        statement,
        unparsable: 1,
    }
}

pub(crate) fn canary(led: u64, of: impl Fn(CanaryWay) -> CanaryOutcome) -> Leaf {
    let trial = |way: &CanaryWay| {
        let outcome = of(*way);
        Trial { control: outcome != CanaryOutcome::Unavailable, outcome }
    };
    let trials = CanaryWay::ALL.iter().map(trial).collect();
    coverage(CoverageSaid::Canary(Canary { led, trials }))
}

pub(super) fn samples() -> Vec<Leaf> {
    vec![
        armed(),
        heartbeat(connections(), 1),
        closed(Some(connections()), 2, CoverageEnd::Ended),
        closed(None, 2, CoverageEnd::LoaderGone),
        closed(None, 2, CoverageEnd::Unwatched),
        connection(3, 1, &[4, 5, 9]),
        refused(1, None),
        bypass(1, 1, 1),
        Leaf::Bypass(Box::new(Bypass { who: None, count: 70, ..bypass_leaf(2, 1, 1) })),
        Leaf::DnsQueries(Box::new(queries(1, 1, 5))),
        Leaf::DnsQueries(Box::new(DnsQueries { names: None, omitted: 5, ..queries(2, 2, 5) })),
        canary(0, |_| CanaryOutcome::Unavailable),
        canary(5, |way| match way {
            CanaryWay::Tcp4 => CanaryOutcome::Led,
            CanaryWay::Raw4 => CanaryOutcome::Denied,
            _ => CanaryOutcome::Passed,
        }),
    ]
}

/// A connection that carried these exchanges.
pub(crate) fn connection_leaf(number: u64, first: u64, exchanges: &[u64]) -> Connection {
    let own = u8::try_from(number).unwrap();
    Connection {
        attribution: Attribution::KernelTask,
        began: 1,
        boot: Id([1; 16]),
        bytes: Passed { from_client: 10, to_client: 20 },
        connection: Id([own; 16]),
        cookie: Some(0x1f + number),
        coverage: Id([8; 16]),
        end: ConnectionEnd::Closed,
        ended: 2,
        exchanges: Ranges::from_numbers(exchanges.iter().copied()),
        ext: Extensions::new(),
        first,
        kernel: Some(Passed { from_client: 10, to_client: 21 }),
        last: first,
        maker: Unit { length: 99, root: [own; 32] },
        number,
        part: 1,
        parts: 1,
        sealed: 4,
        side: Side::Client,
    }
}

pub(crate) fn connection(number: u64, first: u64, exchanges: &[u64]) -> Leaf {
    Leaf::Connection(Box::new(connection_leaf(number, first, exchanges)))
}

/// A connection that was turned away.
pub(crate) fn refused(number: u64, cookie: Option<u64>) -> Leaf {
    let leaf = connection_leaf(number, 1, &[]);
    Leaf::Connection(Box::new(Connection {
        attribution: Attribution::Unknown,
        connection: Id([200 + u8::try_from(number).unwrap(); 16]),
        cookie,
        end: ConnectionEnd::Refused,
        kernel: None,
        ..leaf
    }))
}

pub(crate) fn bypass_leaf(number: u64, statement: u64, count: u64) -> Bypass {
    Bypass {
        boot: Id([1; 16]),
        count,
        coverage: Id([8; 16]),
        ext: Extensions::new(),
        number,
        sealed: 4,
        statement,
        unit: BypassUnit::Connect,
        verdict: BypassVerdict::Passed,
        way: BypassWay::Udp,
        who: (count == 1).then_some(Unit { length: 99, root: [7; 32] }),
    }
}

pub(crate) fn bypass(number: u64, statement: u64, count: u64) -> Leaf {
    Leaf::Bypass(Box::new(bypass_leaf(number, statement, count)))
}

#[test]
fn numbers_add_up_or_they_do_not() {
    let good = connections();
    assert!(good.add_up() && Sums::default().add_up());
    for (name, _) in good.all() {
        let more = |field: &str| u64::from(field == name);
        let other = Sums {
            allowed: good.allowed + more("allowed"),
            bypass_denied: good.bypass_denied + more("bypass_denied"),
            bypass_passed: good.bypass_passed + more("bypass_passed"),
            events_lost: good.events_lost + more("events_lost"),
            events_read: good.events_read + more("events_read"),
            loopback: good.loopback + more("loopback"),
            seen: good.seen + more("seen"),
            unparsable: good.unparsable + more("unparsable"),
            via_gateway: good.via_gateway + more("via_gateway"),
        };
        assert!(!other.add_up(), "{name}");
        assert!(other.goes_on_from(&good) && !good.goes_on_from(&other), "{name}");
    }
    assert!(!Sums { seen: u64::MAX, allowed: u64::MAX, loopback: 9, ..good }.add_up());
}

#[test]
fn what_is_left_out_or_said_against_itself_is_no_leaf() {
    let text = |leaf: &Leaf| String::from_utf8(leaf.encode().unwrap()).unwrap();
    let refused = |text: String| Leaf::decode(text.as_bytes()).unwrap_err().to_string();
    let all = text(&armed());
    let first = r#"{"channel":"tcp","state":"not_covered"},"#;
    assert!(refused(all.replace(first, "")).contains("every channel"));
    assert!(refused(all.replace("\"tcp\"", "\"udp\"")).contains("place of its channel"));
    assert!(refused(all.replace("\"observe\"", "\"hope\"")).contains("mode"));
    assert!(refused(all.replace("00000000000000ab", "ab")).contains("not canonical"));
    assert!(refused(all.replace("00000000000000ab", "00000000000000AB")).contains("not canonical"));
    assert!(refused(all.replace("\"cgroup\":1", "\"cgroup\":0")).contains("cgroup"));
    assert!(refused(all.replace("\"device\":null", "\"device\":2")).contains("device"));
    assert!(refused(all.replace("\"device\":2", "\"device\":null")).contains("device"));
    // One is at the machine, and no other is.
    assert!(refused(all.replace("\"exec\"", "\"asked\"")).contains("program"));
    assert!(refused(all.replace("\"asked\"", "\"exec\"")).contains("program"));
    let beat = text(&heartbeat(connections(), 1));
    let turned = r#"{"beside":"packets","id":2},{"beside":"connect4","id":3}"#;
    let listed = r#"{"beside":"connect4","id":3},{"beside":"packets","id":2}"#;
    assert!(refused(beat.replace(listed, turned)).contains("ascending"));
    let ended = text(&closed(Some(connections()), 2, CoverageEnd::Ended));
    assert!(refused(ended.replace("\"ended\"", "\"loader_gone\"")).contains("reason"));
    let at = ended.find("\"packets\":{").unwrap();
    let end = at + ended[at..].find('}').unwrap() + 1;
    let without = format!("{}\"packets\":null{}", &ended[..at], &ended[end..]);
    assert!(refused(without).contains("packets"));
    let gone = text(&closed(None, 2, CoverageEnd::LoaderGone));
    assert!(refused(gone.replace("\"loader_gone\"", "\"links_changed\"")).contains("reason"));
}

/// However many devices and programs of others a machine has, what is said of them is a leaf.
#[test]
fn long_lists_are_counted_and_digested() {
    let others = |count: u64| -> Vec<Foreign> {
        (1..=count).map(|id| Foreign { beside: KernelProgram::Connect4, id: id << 20 }).collect()
    };
    let at = |device| Attached {
        at: At::Device(device),
        id: u64::from(u32::MAX),
        link: Some(u64::from(u32::MAX)),
        program: KernelProgram::Uplink,
        tag: u64::MAX,
    };
    let Leaf::Coverage(leaf) = armed() else { panic!("a coverage") };
    let CoverageSaid::Armed(few) = leaf.said else { panic!("armed") };
    let long = |count: u64| {
        coverage(CoverageSaid::Armed(Armed {
            foreign: Listed::of(others(count)).unwrap(),
            programs: Listed::of((1..=count).map(at).collect()).unwrap(),
            ..few.clone()
        }))
    };
    let all = u64::try_from(LISTED).unwrap();
    for count in [all, all + 1, 5_000] {
        let leaf = long(count);
        let bytes = leaf.encode().unwrap();
        assert_eq!(Leaf::decode(&bytes).unwrap(), leaf, "{count}");
        let Leaf::Coverage(leaf) = leaf else { panic!("a coverage") };
        let CoverageSaid::Armed(armed) = leaf.said else { panic!("armed") };
        let more = |more: Option<&More>| more.map_or(0, |more| more.count);
        assert_eq!(more(armed.foreign.more()), count - all, "{count}");
        assert_eq!(more(armed.programs.more()), count - all, "{count}");
    }
    let of = |last: u64| {
        let mut all = others(300);
        all[299].id = last;
        *Listed::of(all).unwrap().more().unwrap()
    };
    assert_ne!(of(1 << 40), of(1 << 41), "each of the rest is in the digest");
    let text = String::from_utf8(long(all + 1).encode().unwrap()).unwrap();
    let refused = |text: String| Leaf::decode(text.as_bytes()).unwrap_err().to_string();
    assert!(
        refused(text.replacen(r#"{"beside":"connect4","id":1048576},"#, "", 1)).contains("fewer")
    );
    assert!(refused(text.replace(r#""count":1,"#, r#""count":0,"#)).contains("count"));
}

/// What was tested is found by whoever reads the canaries' leaves, and is nobody's word.
#[test]
fn no_channel_says_of_itself_that_it_was_tested() {
    let text = String::from_utf8(armed().encode().unwrap()).unwrap();
    let said = text.replacen("not_covered", "canary_tested", 1);
    let error = Leaf::decode(said.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("for a verifier to find"), "{error}");
}

#[test]
fn what_a_connection_cannot_be_is_no_leaf() {
    let text = |leaf: &Leaf| String::from_utf8(leaf.encode().unwrap()).unwrap();
    let no = |text: String| Leaf::decode(text.as_bytes()).unwrap_err().to_string();
    let all = text(&connection(3, 2, &[4, 5, 9]));
    assert!(all.contains("[[4,5],[9,9]]"), "{all}");
    assert!(no(all.replace("\"first\":2", "\"first\":0")).contains("first"));
    assert!(no(all.replace("\"last\":2", "\"last\":1")).contains("last"));
    assert!(no(all.replace("\"part\":1", "\"part\":2")).contains("parts"));
    assert!(no(all.replace("\"closed\"", "\"refused\"")).contains("exchanges"));
    assert!(no(all.replace("\"0000000000000022\"", "null")).contains("end"));
    assert!(no(all.replace("0000000000000022", "22")).contains("not canonical"));
    assert!(no(all.replace("kernel_task", "guessed")).contains("attribution"));
    let around = text(&bypass(1, 1, 1));
    assert!(no(around.replace("\"count\":1", "\"count\":2")).contains("who"));
    assert!(no(around.replace("\"udp\"", "\"smoke\"")).contains("way"));
}

/// A way that cannot be gone at all must not pass for one that is closed, nor the other way round.
#[test]
fn a_canary_says_nothing_without_its_control() {
    let text = |leaf: &Leaf| String::from_utf8(leaf.encode().unwrap()).unwrap();
    let good = text(&canary(1, |_| CanaryOutcome::Denied));
    assert!(Leaf::decode(good.as_bytes()).is_ok());
    let refused = |text: String| Leaf::decode(text.as_bytes()).unwrap_err().to_string();
    let dead = refused(good.replacen(r#""control":true"#, r#""control":false"#, 1));
    assert!(dead.contains("against its control"), "{dead}");
    let alive = refused(good.replacen("denied", "unavailable", 1));
    assert!(alive.contains("against its control"), "{alive}");
    let swapped = refused(good.replacen("tcp6", "tcp4", 1));
    assert!(swapped.contains("place of its way"), "{swapped}");
    let first = r#"{"control":true,"outcome":"denied","way":"tcp4"},"#;
    let fewer = refused(good.replacen(first, "", 1));
    assert!(fewer.contains("every way"), "{fewer}");
}
