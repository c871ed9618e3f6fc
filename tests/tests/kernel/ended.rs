//! How coverage ends, and what is left then: nothing.

use std::path::Path;

use sealtap_tests::running::{Running, cgroups};
use sealtap_tests::standing::kill;
use serde_json::Value;

use super::{REQUIRE, covered, home, level};

/// A loader that is killed ends coverage, and that is said.
pub(super) fn a_killed_loader_is_told_of() {
    let home = home();
    let running = Running::start(&home, &[REQUIRE], "true");
    kill(running.loader());
    std::thread::sleep(std::time::Duration::from_millis(50));
    let launched = running.go_on().expect(0);
    launched.captured(0);
    assert_eq!(level(&launched), "unknown", "{}", launched.account);
    let covered = covered(&launched);
    assert_eq!(covered["end"], "loader_gone", "{covered}");
    // A slow machine may have heard from it before.
    match covered["statements"].as_u64() {
        Some(1) => assert_eq!(covered["connections"], Value::Null, "{covered}"),
        _ => assert_eq!(covered["connections"]["seen"], 0, "{covered}"),
    }
}

/// Nothing stays behind: no cgroup, no loader.
pub(super) fn nothing_stays_behind() {
    let home = home();
    let running = Running::start(&home, &[REQUIRE], "cat /proc/self/cgroup");
    let (cgroup, loader) = (running.cgroup(), running.loader());
    assert!(cgroup.is_dir(), "{}", cgroup.display());
    let launched = running.go_on().expect(0);
    let own = launched.stdout().lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.expect("it says where it is");
    let name = own.rsplit('/').next().unwrap_or_default();
    assert!(name.starts_with("sealtap-"), "{own}");
    // Where it was for sure, the whole way down.
    assert_eq!(cgroups().join(own.trim_start_matches('/')), cgroup);
    assert!(cgroup.parent().is_some_and(Path::is_dir), "{}", cgroup.display());
    assert!(!cgroup.exists(), "{}", cgroup.display());
    assert!(!Path::new(&format!("/proc/{loader}")).exists());
}
