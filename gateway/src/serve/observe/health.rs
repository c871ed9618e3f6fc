//! Health: whether capture works, and what does not.
//!
//! What stops capture is *unavailable*: traffic should go elsewhere, or stop. What only keeps what is
//! captured and sealed from being put away is *degraded*: traffic goes on and is as well recorded as
//! ever, so nobody is better served by a gateway that was taken out or started again, but somebody
//! should look, since the journal's disk fills up.
//!
//! In: how the journal fares, how far the threads behind it are, how much disk is left. Out: one
//! [`Check`] for each thing that capture needs. It changes nothing and asks nobody that could block.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Disk;
use crate::capture::journal::{Down, Stats};
use crate::seal::progress::Standing;

/// From when on something counts as wrong.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a finished exchange may wait for its leaf.
    pub log_late: Duration,
    /// Bytes that must be left on each disk.
    pub disk_left: u64,
}

/// One thing that capture needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, as `/healthz` and `/metrics` say it.
    pub name: &'static str,
    /// What is wrong with it; none if nothing is.
    pub wrong: Option<String>,
    /// Whether capture goes on without it.
    pub bearable: bool,
}

impl Check {
    fn vital(name: &'static str, wrong: Option<String>) -> Self {
        Self { name, wrong, bearable: false }
    }

    /// What the kernel watches, and why it does no more.
    pub(super) fn coverage(wrong: Option<String>) -> Self {
        let wrong = wrong.map(|why| format!("it ended: {why}; what goes around is not seen"));
        Self { name: "coverage", wrong, bearable: true }
    }

    /// Whether something is wrong that capture cannot go on with.
    #[must_use]
    pub fn stops_capture(&self) -> bool {
        self.wrong.is_some() && !self.bearable
    }
}

/// All checks, in the order of the way that a record takes.
#[must_use]
pub(super) fn checks(
    journal: &Stats,
    standing: &Standing,
    disks: &[Disk],
    bounds: Bounds,
) -> Vec<Check> {
    let disk = disks.iter().find_map(|disk| match disk.left {
        Some(left) if left < bounds.disk_left => Some(format!(
            "{left} bytes are left on the disk of the {}, fewer than {}",
            disk.what, bounds.disk_left
        )),
        _ => None,
    });
    vec![
        Check::vital("journal", journal.down.as_ref().map(reason)),
        Check::vital("log", log(standing, bounds.log_late)),
        Check::vital("disk", disk),
        Check { name: "store", wrong: store(standing), bearable: true },
    ]
}

/// Why the journal takes nothing, without the path that the operator's log has.
fn reason(down: &Down) -> String {
    match down {
        Down::DiskFull(_) => "the disk is full: exchanges are refused".to_owned(),
        Down::Closed => "the gateway is stopping".to_owned(),
        _ => "it cannot be written: exchanges are refused".to_owned(),
    }
}

fn log(standing: &Standing, late: Duration) -> Option<String> {
    let failing = standing.log_failing.map(|since| since.elapsed());
    if let Some(failing) = failing.filter(|failing| *failing > late) {
        return Some(format!("it cannot be written for {} s", failing.as_secs()));
    }
    let lag = standing.seal_lag();
    (lag > late).then(|| format!("an exchange waits for its leaf for {} s", lag.as_secs()))
}

fn store(standing: &Standing) -> Option<String> {
    let failing = standing.store_failing?.elapsed().as_secs();
    let waiting = standing.unstored;
    Some(format!(
        "failing: it cannot be written for {failing} s; {waiting} sealed exchanges wait in the journal"
    ))
}

/// The checks as a JSON document.
#[must_use]
pub(super) fn document(checks: &[Check]) -> String {
    let listed: Vec<_> = checks
        .iter()
        .map(|check| match &check.wrong {
            None => json!({ "name": check.name, "ok": true }),
            Some(wrong) => json!({ "name": check.name, "ok": false, "reason": wrong }),
        })
        .collect();
    if checks.iter().any(Check::stops_capture) {
        return format!("{}\n", json!({ "status": "unavailable", "checks": listed }));
    }
    let wrong = checks.iter().filter_map(|check| Some((check.name, check.wrong.as_ref()?)));
    let mut document: Map<String, Value> =
        wrong.map(|(name, wrong)| (name.to_owned(), json!(wrong))).collect();
    document.insert("status".to_owned(), json!("degraded"));
    document.insert("checks".to_owned(), json!(listed));
    format!("{}\n", Value::Object(document))
}
