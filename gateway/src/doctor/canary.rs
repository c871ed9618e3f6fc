//! The canary on demand: a loader and a probe of its own, for as long as it takes, in both modes.

use sealtap_common::leaf::{Canary as Tried, CanaryOutcome, CanaryWay, CoverageMode, Trial};
use serde_json::{Value, json};

use super::Finding;
use crate::config::Config;
use crate::kernel::canary::{Canary, CanaryError};
use crate::kernel::{Observer, system_resolver};

const NAME: &str = "canary";

/// The ways that no hook of the kernel's is asked about: `sealtap run --enforce` denies them at the start of
/// the command.
const WITHOUT_HOOK: [CanaryWay; 1] = [CanaryWay::Vsock];

/// What came of both.
struct Sent {
    observed: Tried,
    enforced: Tried,
    /// Why frames were not tried.
    frames: Result<(), String>,
}

/// What came of it, and each way by itself.
pub(super) fn send(config: &Config) -> (Vec<Finding>, Value) {
    match sent(config) {
        Ok(sent) => (findings(&sent), ways(&sent)),
        Err(error) => {
            let fix = "run as root on a kernel whose hooks can be had";
            (vec![Finding::unknown(NAME, format!("not sent: {error}"), fix)], Value::Null)
        }
    }
}

fn sent(config: &Config) -> Result<Sent, CanaryError> {
    // First, with a device at which the loader then finds a place for its filter.
    let mut canary = Canary::start()?;
    let observer = Observer::start(None)?;
    let resolver = config.kernel.resolver.or_else(system_resolver);
    let observed = canary.send(&observer, resolver, CoverageMode::Observe)?;
    let enforced = canary.send(&observer, resolver, CoverageMode::Enforce)?;
    Ok(Sent { observed, enforced, frames: canary.frames(&observer) })
}

fn ways(sent: &Sent) -> Value {
    let each = |(tried, mode): (&Tried, CoverageMode)| -> Vec<Value> {
        let way = |(way, trial): (CanaryWay, Trial)| {
            let (control, outcome) = (trial.control, trial.outcome.as_str());
            json!({ "way": way.as_str(), "mode": mode.as_str(), "control": control, "outcome": outcome })
        };
        tried.ways().map(way).collect()
    };
    let both = [(&sent.observed, CoverageMode::Observe), (&sent.enforced, CoverageMode::Enforce)];
    both.into_iter().flat_map(each).collect()
}

/// Where the control reaches nothing either, and what helps.
const NOTHING: &str =
    "no way could be tried: not even what is not watched reaches this machine's own addresses";
const UP: &str = "bring up the loopback: ip link set lo up";

fn findings(sent: &Sent) -> Vec<Finding> {
    let mut found = vec![observed(&sent.observed), enforced(&sent.enforced)];
    if let Err(why) = &sent.frames {
        let fix = "load the kernel's module `tun`, and run as root with /dev/net/tun in reach";
        found.push(Finding::unknown(NAME, format!("frames below IP were not tried: {why}"), fix));
    }
    found
}

fn names(ways: &[CanaryWay]) -> String {
    ways.iter().map(|way| way.as_str()).collect::<Vec<_>>().join(" ")
}

fn observed(tried: &Tried) -> Finding {
    let led = names(&tried.with(CanaryOutcome::Led));
    let passed = names(&tried.with(CanaryOutcome::Passed));
    match (led.is_empty(), passed.is_empty()) {
        (true, true) => Finding::short(NAME, NOTHING, UP),
        (true, false) => Finding::short(
            NAME,
            format!("observed: nothing was led to the gateway; it went around by: {passed}"),
            "look at the hooks above: TCP is led by connect4 and connect6",
        ),
        (false, true) => Finding::well(NAME, format!("observed: led: {led}; nothing went around")),
        (false, false) => Finding::well(
            NAME,
            format!("observed: led: {led}; let go and counted, as to observe means: {passed}"),
        ),
    }
}

fn enforced(tried: &Tried) -> Finding {
    let passed = tried.with(CanaryOutcome::Passed);
    let (hookless, around): (Vec<CanaryWay>, Vec<CanaryWay>) =
        passed.into_iter().partition(|way| WITHOUT_HOOK.contains(way));
    let (led, denied) = (tried.with(CanaryOutcome::Led), tried.with(CanaryOutcome::Denied));
    let fix = "look at the hooks above: what they do not see is not denied";
    if led.is_empty() && denied.is_empty() && around.is_empty() {
        return Finding::short(NAME, NOTHING, UP);
    }
    if !around.is_empty() {
        return Finding::short(
            NAME,
            format!("enforced: it went around by: {}", names(&around)),
            fix,
        );
    }
    if led.is_empty() || denied.is_empty() {
        let what = format!("enforced: led: {}; denied: {}", names(&led), names(&denied));
        return Finding::short(NAME, what, fix);
    }
    let more = match hookless.is_empty() {
        true => String::new(),
        false => format!("; no hook sees: {}", names(&hookless)),
    };
    let what = format!("enforced: led: {}; denied: {}{more}", names(&led), names(&denied));
    Finding::well(NAME, what)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn tried(passed: &[CanaryWay]) -> Tried {
        let outcome = |way: &CanaryWay| match way {
            way if passed.contains(way) => CanaryOutcome::Passed,
            CanaryWay::Tcp4 => CanaryOutcome::Led,
            _ => CanaryOutcome::Denied,
        };
        let trial = |way: &CanaryWay| Trial { control: true, outcome: outcome(way) };
        Tried { led: 1, trials: CanaryWay::ALL.iter().map(trial).collect() }
    }

    #[test]
    fn what_goes_around_is_well_where_it_is_observed_alone() {
        let by_packet = tried(&[CanaryWay::Packet]);
        assert_eq!(observed(&by_packet).state, State::Well);
        let found = enforced(&by_packet);
        assert!(found.state == State::Short && found.what.ends_with("by: packet"), "{found:?}");
        let found = enforced(&tried(&[CanaryWay::Vsock]));
        assert!(found.state == State::Well && found.what.ends_with("sees: vsock"), "{found:?}");
    }

    #[test]
    fn a_dead_network_is_no_closed_one() {
        let mut dead = tried(&[]);
        for trial in &mut dead.trials {
            *trial = Trial { control: false, outcome: CanaryOutcome::Unavailable };
        }
        for found in [observed(&dead), enforced(&dead)] {
            assert!(found.state == State::Short && found.what == NOTHING, "{found:?}");
        }
    }
}
