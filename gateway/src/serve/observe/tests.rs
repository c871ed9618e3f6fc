//! Checks and labels, without a gateway around them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::*;
use crate::capture::journal::{Down, Stats};
use crate::seal::progress::Standing;

fn bounds() -> Bounds {
    Bounds { log_late: Duration::from_secs(30), disk_left: 1_000 }
}

fn disk(left: u64) -> Vec<Disk> {
    vec![Disk { what: "data", path: "/".into(), left: Some(left), size: Some(9_999) }]
}

fn wrong(stats: &Stats, standing: &Standing, disks: &[Disk]) -> Vec<&'static str> {
    let checks = health::checks(stats, standing, disks, bounds());
    checks.into_iter().filter(|check| check.wrong.is_some()).map(|check| check.name).collect()
}

#[test]
fn each_check_fails_by_itself() {
    let (well, standing) = (Stats::default(), Standing::default());
    assert_eq!(wrong(&well, &standing, &disk(1_000)), Vec::<&str>::new());
    assert_eq!(wrong(&well, &standing, &disk(999)), ["disk"]);
    let down = Stats { down: Some(Down::Failed("/some/path: no".into())), ..Stats::default() };
    assert_eq!(wrong(&down, &standing, &disk(1_000)), ["journal"]);
    let since = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
    let failing = |seconds| Standing { log_failing: since(seconds), ..Standing::default() };
    assert_eq!(wrong(&well, &failing(29), &disk(1_000)), Vec::<&str>::new());
    assert_eq!(wrong(&well, &failing(31), &disk(1_000)), ["log"]);
    let late = Standing { unsealed: 1, unsealed_since: since(31), ..Standing::default() };
    assert_eq!(wrong(&well, &late, &disk(1_000)), ["log"]);
    let stuck = Standing { store_failing: since(5), unstored: 3, ..Standing::default() };
    assert_eq!(wrong(&well, &stuck, &disk(1_000)), ["store"]);
    let checks = health::checks(&well, &stuck, &disk(1_000), bounds());
    assert!(!checks.iter().any(Check::stops_capture), "traffic goes on");
    let said = health::document(&checks);
    let begins = "\"store\":\"failing: it cannot be written for 5 s; 3 sealed";
    assert!(said.contains("\"status\":\"degraded\"") && said.contains(begins), "{said}");
    // What clients may read has no path of the machine.
    let said = health::document(&health::checks(&down, &standing, &disk(1_000), bounds()));
    assert!(said.contains("\"status\":\"unavailable\"") && !said.contains("/some/path"), "{said}");
}

#[test]
fn labels_are_names_of_the_table_only() {
    let names = ["azure/RESOURCE", "openai", "bedrock/REGION"].map(str::to_owned);
    let traffic = Traffic::new(&names);
    let labels: Vec<String> = traffic.rows().map(|(label, _)| label).collect();
    assert_eq!(labels, ["azure", "bedrock", "openai", "-"]);
    // What stands behind the slash was chosen by a client.
    traffic.row(Some("azure/chosen")).request_bytes.fetch_add(7, Ordering::Relaxed);
    traffic.row(Some("unheard-of")).request_bytes.fetch_add(2, Ordering::Relaxed);
    let bytes: Vec<u64> =
        traffic.rows().map(|(_, row)| row.request_bytes.load(Ordering::Relaxed)).collect();
    assert_eq!(bytes, [7, 0, 0, 2]);
    let present = traffic.begin();
    assert_eq!(traffic.open.load(Ordering::Relaxed), 1);
    drop(present);
    assert_eq!(traffic.open.load(Ordering::Relaxed), 0);
}
