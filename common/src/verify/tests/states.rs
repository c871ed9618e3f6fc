//! Step 9.14, where it is about the states of channels: kept, broken, and what is shown.

use super::log::{chained, key, log_of, restart};
use crate::leaf::coverage_samples::{
    armed, bypass_leaf, canary, connections, heartbeat_of, packets,
};
use crate::leaf::{
    Armed, At, Attached, BypassVerdict, CanaryOutcome, CanaryWay, Channel, ChannelState,
    CoverageMode, CoverageSaid, KernelProgram, Leaf, Listed, Sums,
};
use crate::verify::{Place, Report, Verdict, What, verify};

use ChannelState::{ClosedByHook, DeniedByLaunchPolicy, NotCovered, ObservedOnly};
use CoverageMode::{Enforce, Observe};

/// A coverage that rests on all programs, and of which somebody says something more.
fn armed_as(mode: CoverageMode, change: impl FnOnce(&mut Armed)) -> Leaf {
    let Leaf::Coverage(mut leaf) = armed() else { panic!("a coverage") };
    let CoverageSaid::Armed(said) = &mut leaf.said else { panic!("armed") };
    said.mode = mode;
    said.programs = Listed::of(programs()).unwrap();
    change(said);
    Leaf::Coverage(leaf)
}

/// Each program where it belongs.
fn programs() -> Vec<Attached> {
    let at = |program: &KernelProgram| match program {
        KernelProgram::Uplink => At::Device(2),
        KernelProgram::Exec => At::Machine,
        _ => At::Cgroup(1),
    };
    let all = KernelProgram::ALL.iter();
    all.map(|program| Attached { at: at(program), id: 5, link: Some(6), program: *program, tag: 7 })
        .collect()
}

fn says(armed: &mut Armed, channel: Channel, state: ChannelState) {
    let place = Channel::ALL.iter().position(|one| *one == channel).unwrap();
    armed.channels[place] = state;
}

/// A statement of such a coverage: nothing was let around, but for what is said; and so many came late.
fn stated(passed: (u64, u64), late: u64, number: u64) -> Leaf {
    let with = |sums: Sums, passed: u64| Sums {
        bypass_passed: passed,
        events_lost: 1 + passed,
        seen: sums.seen - sums.bypass_passed + passed,
        ..sums
    };
    let (connections, packets) = (with(connections(), passed.0), with(packets(), passed.1));
    let Leaf::Coverage(mut leaf) = heartbeat_of(connections, packets, number) else { panic!() };
    let CoverageSaid::Heartbeat(said) = &mut leaf.said else { panic!("a statement") };
    said.counts.late = late;
    Leaf::Coverage(leaf)
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

/// What gateways say, and what may be said of a channel at all.
#[test]
fn a_state_is_one_that_a_program_can_bring_about() {
    let of = |mode: CoverageMode, channel: Channel, state: ChannelState| {
        broken(&[armed_as(mode, |armed| says(armed, channel, state))]).is_empty()
    };
    for channel in Channel::ALL {
        for mode in [Observe, Enforce] {
            assert!(of(mode, *channel, NotCovered), "{channel}");
            assert!(of(mode, *channel, DeniedByLaunchPolicy), "{channel}");
            let seen = ["tcp", "udp", "names", "raw", "packet"].contains(&channel.as_str());
            assert_eq!(of(mode, *channel, ObservedOnly), seen, "{channel}");
        }
        let closed = ["tcp", "udp", "raw", "namespace"].contains(&channel.as_str());
        assert_eq!(of(Enforce, *channel, ClosedByHook), closed, "{channel}");
        let said = *channel == Channel::Tcp;
        assert_eq!(
            of(Observe, *channel, ClosedByHook),
            said,
            "{channel}: what is let go is not closed"
        );
    }
}

/// Each program is missed by what rests on it, wherever else it may be, unless it may be among those that
/// are not listed.
#[test]
fn a_state_rests_on_programs() {
    let channels = [
        (Channel::Tcp, ClosedByHook, "connect4 connect6 socket asked packets"),
        (Channel::Udp, ClosedByHook, "connect4 connect6 sendmsg4 sendmsg6 packets"),
        (Channel::Tcp, ObservedOnly, "connect4 connect6 socket asked packets"),
        (Channel::Udp, ObservedOnly, "connect4 connect6 sendmsg4 sendmsg6 packets"),
        (Channel::Names, ObservedOnly, "connect4 connect6 sendmsg4 sendmsg6 packets"),
        (Channel::Raw, ClosedByHook, "packets"),
        (Channel::Raw, ObservedOnly, "packets"),
        (Channel::Packet, ObservedOnly, "option uplink"),
        (
            Channel::Namespace,
            ClosedByHook,
            "connect4 connect6 sendmsg4 sendmsg6 socket asked packets",
        ),
    ];
    for (channel, state, needs) in channels {
        for gone in KernelProgram::ALL {
            let with = |programs: Vec<Attached>| {
                broken(&[armed_as(Enforce, |armed| {
                    says(armed, channel, state);
                    armed.programs = Listed::of(programs).unwrap();
                })])
            };
            let is_needed = needs.split(' ').any(|one| one == gone.as_str());
            let found = if is_needed { at(1) } else { Vec::new() };
            let mut left = programs();
            left.retain(|one| one.program != *gone);
            assert_eq!(with(left.clone()), found, "{channel} {state} without {gone}");
            let mut many = vec![left[0]; crate::leaf::LISTED];
            many.splice(..left.len(), left);
            assert_eq!(with(many.clone()), found, "{channel} {state}: all of many are listed");
            many.push(many[0]);
            assert!(with(many).is_empty(), "{channel} {state}: one is not listed");
            if *gone == KernelProgram::Uplink {
                continue;
            }
            let mut apart = programs();
            let moved = apart.iter_mut().find(|one| one.program == *gone).unwrap();
            moved.at = if *gone == KernelProgram::Exec { At::Machine } else { At::Cgroup(2) };
            let is_alone = needs == gone.as_str() || needs == format!("{gone} uplink");
            let found = if is_needed && !is_alone { at(1) } else { Vec::new() };
            assert_eq!(with(apart), found, "{channel} {state} with {gone} elsewhere");
        }
    }
    let mut apart = programs();
    apart.iter_mut().find(|one| one.program == KernelProgram::Uplink).unwrap().at = At::Cgroup(1);
    let frames = armed_as(Observe, |armed| {
        says(armed, Channel::Packet, ObservedOnly);
        armed.programs = Listed::of(apart).unwrap();
    });
    assert_eq!(broken(&[frames]), at(1), "an uplink at no device");
}

/// Where all is denied that is not redirected, nothing is let go.
#[test]
fn nothing_goes_around_what_denies_it() {
    let armed = |mode| armed_as(mode, |_| ());
    assert!(broken(&[armed(Enforce), stated((0, 0), 0, 1)]).is_empty());
    for passed in [(1, 0), (0, 1)] {
        assert_eq!(broken(&[armed(Enforce), stated(passed, 0, 1)]), at(2));
        assert!(broken(&[armed(Observe), stated(passed, 0, 1)]).is_empty());
    }
    // One that no statement counts yet.
    let around = |verdict| {
        let mut leaf = bypass_leaf(1, 1, 1);
        leaf.verdict = verdict;
        Leaf::Bypass(Box::new(leaf))
    };
    assert_eq!(broken(&[armed(Enforce), around(BypassVerdict::Passed)]), at(2));
    assert!(broken(&[armed(Enforce), around(BypassVerdict::Denied)]).is_empty());
    assert!(broken(&[armed(Observe), around(BypassVerdict::Passed)]).is_empty());
}

/// All that can be is closed.
fn closed() -> Leaf {
    armed_as(Enforce, |armed| {
        for channel in [Channel::Tcp, Channel::Udp, Channel::Raw, Channel::Namespace] {
            says(armed, channel, ClosedByHook);
        }
    })
}

fn all(outcome: CanaryOutcome) -> Leaf {
    canary(0, move |_| outcome)
}

fn in_state(leaves: &[Leaf], wanted: ChannelState) -> Vec<&'static str> {
    let report = report(leaves);
    assert_eq!(report.verdict(), Verdict::Valid, "{:?}", report.findings);
    let states = report.coverage[0].states().filter(|(_, state)| *state == wanted);
    states.map(|(channel, _)| channel.as_str()).collect()
}

/// A channel is canary tested by the leaves of canaries, if it was closed to begin with.
#[test]
fn a_canary_tests_what_is_closed() {
    let tested = |leaves: &[Leaf]| in_state(leaves, ChannelState::CanaryTested);
    let but = |other: CanaryOutcome| {
        canary(0, move |way| if way == CanaryWay::Udp6 { other } else { CanaryOutcome::Denied })
    };
    let everything = ["tcp", "udp", "raw"];
    assert!(tested(&[closed()]).is_empty(), "no canary came");
    assert_eq!(tested(&[closed(), all(CanaryOutcome::Denied)]), everything);
    assert_eq!(
        tested(&[closed(), but(CanaryOutcome::Unavailable)]),
        everything,
        "no such way here"
    );
    assert!(tested(&[closed(), all(CanaryOutcome::Unavailable)]).is_empty(), "a dead network");
    for other in [CanaryOutcome::Passed, CanaryOutcome::Unseen] {
        assert_eq!(tested(&[closed(), but(other)]), ["tcp", "raw"], "{other}");
    }
    let again = [closed(), but(CanaryOutcome::Passed), all(CanaryOutcome::Denied)];
    assert_eq!(tested(&again), ["tcp", "raw"], "it went around once");
    for state in [ObservedOnly, NotCovered] {
        let other = armed_as(Enforce, |armed| {
            for channel in [Channel::Tcp, Channel::Udp, Channel::Raw] {
                says(armed, channel, state);
            }
        });
        assert!(tested(&[other, all(CanaryOutcome::Led)]).is_empty(), "{state}");
    }
    let json = report(&[closed(), all(CanaryOutcome::Denied)]).to_json();
    assert!(json.contains(r#"{"channel":"udp","state":"canary_tested"}"#), "{json}");
}

/// What a cgroup sent before it was watched no hook redirected, whatever a canary found.
#[test]
fn what_came_late_was_not_closed() {
    let late = |late: u64| [closed(), all(CanaryOutcome::Denied), stated((0, 0), late, 1)];
    assert_eq!(in_state(&late(0), ChannelState::CanaryTested), ["tcp", "udp", "raw"]);
    assert!(in_state(&late(1), ChannelState::CanaryTested).is_empty());
    assert_eq!(in_state(&late(1), ObservedOnly), ["tcp", "udp", "raw"]);
    assert_eq!(in_state(&late(1), ClosedByHook), ["namespace"], "it was launched there");
    let said = report(&late(1));
    let lines = said.lines().join("\n");
    assert!(lines.contains("1 cgroup was watched from after its making"), "{lines}");
    assert!(lines.contains("observed only: tcp, udp, raw"), "{lines}");
    assert!(!lines.contains("canary tested"), "{lines}");
    let json = said.to_json();
    assert!(json.contains(r#"{"channel":"tcp","state":"observed_only"}"#), "{json}");
    // Once late is late for good, whatever is tried later.
    let [armed, tried, stated] = late(1);
    assert!(in_state(&[armed, stated, tried], ChannelState::CanaryTested).is_empty());
    let untried = [closed(), self::stated((0, 0), 1, 1)];
    assert_eq!(in_state(&untried, ObservedOnly), ["tcp", "udp", "raw"], "and no canary");
}
