//! The canary on demand: a loader and a probe of its own, for as long as it takes.

use sealtap_common::leaf::{Canary as Tried, CanaryOutcome, CoverageMode};
use serde_json::{Value, json};

use super::Finding;
use crate::config::Config;
use crate::kernel::canary::{Canary, CanaryError};
use crate::kernel::{Observer, system_resolver};

const NAME: &str = "canary";

/// What came of it, and each way by itself.
pub(super) fn send(config: &Config) -> (Finding, Value) {
    match sent(config) {
        Ok(tried) => (finding(&tried), ways(&tried)),
        Err(error) => {
            let fix = "run as root on a kernel whose hooks can be had";
            (Finding::unknown(NAME, format!("not sent: {error}"), fix), Value::Null)
        }
    }
}

fn sent(config: &Config) -> Result<Tried, CanaryError> {
    let observer = Observer::start(None)?;
    let resolver = config.kernel.resolver.or_else(system_resolver);
    Canary::start()?.send(&observer, resolver, CoverageMode::Observe)
}

fn ways(tried: &Tried) -> Value {
    let way = |(way, trial): (sealtap_common::leaf::CanaryWay, sealtap_common::leaf::Trial)| json!({ "way": way.as_str(), "control": trial.control, "outcome": trial.outcome.as_str() });
    tried.ways().map(way).collect()
}

fn finding(tried: &Tried) -> Finding {
    let names = |outcome| {
        let ways = tried.with(outcome);
        ways.iter().map(|way| way.as_str()).collect::<Vec<_>>().join(" ")
    };
    let (passed, led) = (names(CanaryOutcome::Passed), names(CanaryOutcome::Led));
    match (led.is_empty(), passed.is_empty()) {
        (true, _) => Finding::short(
            NAME,
            format!("nothing was led to the gateway; it went around by: {passed}"),
            "look at the hooks above: TCP is led by connect4 and connect6",
        ),
        (false, true) => Finding::well(NAME, format!("led: {led}; nothing went around")),
        (false, false) => Finding::well(
            NAME,
            format!("led: {led}; let go and counted, as to observe means: {passed}"),
        ),
    }
}
