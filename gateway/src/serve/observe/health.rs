//! Health: whether capture works, and what does not.
//!
//! In: how the journal fares, how far the threads behind it are, how much disk is left. Out: one
//! [`Check`] for each thing that capture needs. It changes nothing and asks nobody that could block.

use std::time::Duration;

use serde_json::json;

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
        Check { name: "journal", wrong: journal.down.as_ref().map(reason) },
        Check { name: "log", wrong: log(standing, bounds.log_late) },
        Check { name: "disk", wrong: disk },
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
    let healthy = checks.iter().all(|check| check.wrong.is_none());
    let status = if healthy { "ok" } else { "unavailable" };
    format!("{}\n", json!({ "status": status, "checks": listed }))
}
