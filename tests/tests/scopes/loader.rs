//! The processes that do for the gateway what it cannot: killed, signalled, kept busy.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustix::process::{Signal, kill_process};
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Options;
use sealtap_tests::metrics::metrics;
use serde_json::{Value, json};

use crate::cgroup::Cgroup;
use crate::{USER, covered, healthz, helper, home, model, serve, with_canary};

/// Coverage that ended unasked shows where the gateway is asked how it is; traffic goes on.
pub(crate) fn a_killed_loader_is_seen_in_healthz() {
    let cgroup = Cgroup::new();
    let gateway = serve(&cgroup, "");
    assert_eq!(healthz(gateway.address()), "ok\n");
    kill_process(helper(&gateway, "loader"), Signal::KILL).expect("root may");
    let said = poll("healthz says so", || {
        let said = healthz(gateway.address());
        (said != "ok\n").then_some(said)
    });
    let said: Value = serde_json::from_str(&said).expect("a document");
    assert_eq!(said["status"], "degraded", "{said}");
    assert!(said["coverage"].as_str().is_some_and(|why| why.contains("ended")), "{said}");
    let home = gateway.terminate();
    assert_eq!(covered(&home)[0]["end"], "loader_gone");
}

/// A service manager ends all processes of a service at once: the last numbers are stated all the same.
pub(crate) fn a_signal_to_all_processes_ends_coverage_in_order() {
    let cgroup = Cgroup::new();
    let gateway = Options::default()
        .config(with_canary(&cgroup, "10min", ""))
        .argument(format!("--user={}", USER.0))
        .start_in(home());
    for part in ["loader", "canary"] {
        kill_process(helper(&gateway, part), Signal::TERM).expect("root may");
    }
    assert_eq!(healthz(gateway.address()), "ok\n");
    let home = gateway.terminate();
    assert_eq!(covered(&home)[0]["end"], "ended");
}

/// Nothing of it stays behind.
pub(crate) fn nothing_stays_behind() {
    let cgroup = Cgroup::new();
    let gateway = serve(&cgroup, "");
    let loader = helper(&gateway, "loader");
    gateway.finish();
    let place = format!("/proc/{}", loader.as_raw_nonzero());
    assert!(!Path::new(&place).exists(), "{place}");
}

/// A program of its own that connects: curl, with more behind it than it reads.
fn curl(place: &Path, name: &str, length: u64) -> PathBuf {
    let found = Command::new("sh").args(["-c", "command -v curl"]).output().expect("a shell");
    let original = String::from_utf8(found.stdout).expect("a path");
    let path = place.join(name);
    fs::copy(original.trim(), &path).expect("it can be copied");
    let mut file = fs::File::options().append(true).open(&path).expect("it is ours");
    let own = file.metadata().expect("a file").len();
    file.set_len(own.max(length)).expect("a file with a hole");
    // Each is another program.
    file.write_all(name.as_bytes()).expect("written");
    drop(file);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

/// Who runs large executables, and many, does not end what is stated of it: what cannot be said of them in time
/// is unknown, and statements go on.
pub(crate) fn large_executables_keep_nobody_waiting() {
    const LARGE: u64 = 1 << 30;
    let cgroup = Cgroup::new();
    let upstream = model();
    let gateway = serve(&cgroup, "");
    let place = gateway.home().path().to_owned();
    let mut programs: Vec<PathBuf> =
        (0..4).map(|n| curl(&place, &format!("large-{n}"), LARGE - 4096)).collect();
    // Not even begun to be read.
    programs.push(curl(&place, "larger", 4 * LARGE));
    programs.extend((0..40).map(|n| curl(&place, &format!("small-{n}"), 0)));
    let script: String = programs
        .iter()
        .map(|path| format!("{} -sS --noproxy '*' --max-time 60 \"$0\";", path.display()))
        .collect();
    let url = format!("http://{}/x", upstream.address());
    assert_eq!(cgroup.run(&script, &url), "/x".repeat(programs.len()));
    assert_eq!(healthz(gateway.address()), "ok\n");
    // Each was looked at, if it was still there; nobody waits for what is large.
    let found = u32::try_from(programs.len()).map(f64::from).expect("a few");
    poll("all were looked at", || {
        let samples = metrics(gateway.address());
        let sum = ["attributed", "unknown"].map(|became| {
            samples.get(&format!("sealtap_redirected_{became}_total")).copied().unwrap_or_default()
        });
        (sum[0] + sum[1] == found).then_some(())
    });
    let home = Arc::clone(gateway.home());
    let list = gateway.finish();
    assert_eq!(list.len(), programs.len());
    let covered = covered(&home).remove(0);
    assert_eq!(covered["end"], "ended", "{covered}");
    assert_eq!(covered["known"], json!(programs.len()), "{covered}");
    assert!(covered["attributed"].as_u64() >= Some(1), "{covered}");
    assert_eq!(upstream.finish().len(), programs.len());
    programs.iter().for_each(|path| fs::remove_file(path).expect("it is ours"));
}
