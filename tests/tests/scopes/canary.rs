//! Canaries of a gateway that serves.

use std::fs;
use std::mem::offset_of;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sealtap_common::kernel::Settings;
use sealtap_tests::gate::{PATIENCE, poll};
use sealtap_tests::gateway::Options;
use sealtap_tests::leaves;
use sealtap_tests::maps::watched;
use sealtap_tests::metrics::metrics;
use sealtap_tests::programs;
use serde_json::Value;

use crate::cgroup::{Cgroup, root};
use crate::{CURL, USER, covered, field, helper, home, model, with_canary};

/// Each way out is tried again and again, and what became of it is in the log.
pub(crate) fn a_canary_tries_each_way_out_and_is_sealed() {
    let cgroup = Cgroup::new();
    let gateway = Options::default()
        .config(with_canary(&cgroup, "1s", ""))
        .argument(format!("--user={}", USER.0))
        .start_in(home());
    // Sent by a process that kept what the gateway gave up.
    let place = place(helper(&gateway, "canary"));
    poll("two canaries are back", || {
        (gateway.stderr().matches("the canary is back").count() >= 2).then_some(())
    });
    let samples = metrics(gateway.address());
    let tried = |name: &&String| name.starts_with("sealtap_canary_way{");
    assert_eq!(samples.keys().filter(tried).count(), 12, "each way once: {samples:?}");
    let led = "sealtap_canary_way{way=\"tcp4\",outcome=\"led\"}";
    assert_eq!(samples.get(led).copied(), Some(1.0), "{samples:?}");
    let around = |name: &String| name.starts_with("sealtap_bypass_total");
    assert!(!samples.keys().any(around), "what canaries try is none: {samples:?}");
    assert!(!gateway.stderr().contains("went around"), "{}", gateway.stderr());
    let lines = gateway.live();
    assert!(lines.iter().all(|line| line["event"] != "bypass"), "not the workload's: {lines:?}");
    let home = gateway.terminate();
    assert!(!place.exists(), "{} stays behind", place.display());
    let covered = covered(&home).remove(0);
    let canary = &covered["canary"];
    assert!(canary["times"].as_u64().is_some_and(|times| times >= 2), "{covered}");
    let way = |name: &str| {
        let ways = canary["ways"].as_array().expect("a list");
        let way = ways.iter().find(|way| way["way"] == name).expect("every way is listed");
        (way["control"].as_bool().expect("said"), way["outcome"].as_str().expect("said").to_owned())
    };
    for name in ["tcp4", "tcp6", "tcp_mapped"] {
        assert_eq!(way(name), (true, "led".to_owned()), "{name}: {covered}");
    }
    // Observed, not denied.
    for name in ["udp4", "udp4_connected", "udp6", "udp_mapped"] {
        assert_eq!(way(name), (true, "passed".to_owned()), "{name}: {covered}");
    }
    assert_eq!(way("packet"), frames("passed"), "{covered}");
    assert!(canary["led"].as_u64().is_some_and(|led| led >= 3), "{covered}");
    let counted = &covered["connections"];
    assert!(counted["via_gateway"].as_u64() >= canary["led"].as_u64(), "{covered}");
    assert!(counted["bypass_passed"].as_u64().is_some_and(|passed| passed >= 8), "{covered}");
}

/// Where the canary's cgroup is: below the root itself it is made in a folder that is root's.
fn place(canary: Pid) -> PathBuf {
    let name = format!("sealtap-canary-{}", canary.as_raw_nonzero());
    let places = [root().join("sealtap").join(&name), root().join(&name)];
    places.into_iter().find(|place| place.exists()).expect("it has a cgroup")
}

fn is_there(process: Pid) -> bool {
    // One that nobody has waited for yet has ended all the same.
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()));
    status.is_ok_and(|status| field(&status, "State")[0] != "Z")
}

/// Has a probe stand still in the middle of what it tries, as one does that waits for an answer that is dropped.
fn stopped_probe(canary: Pid) -> Pid {
    let children = format!("/proc/{0}/task/{0}/children", canary.as_raw_nonzero());
    let read = |probe: Pid, name: &str| {
        fs::read_to_string(format!("/proc/{}/{name}", probe.as_raw_nonzero())).unwrap_or_default()
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no probe can be caught");
        let listed = fs::read_to_string(&children).expect("the canary runs");
        let probe = listed.split_ascii_whitespace().next().and_then(|id| id.parse().ok());
        let Some(probe) = probe.and_then(Pid::from_raw) else { continue };
        if !read(probe, "cmdline").contains("kernel\0probe") {
            continue;
        }
        // One that has said all it has to say is killed meanwhile.
        let _ = kill_process(probe, Signal::STOP);
        std::thread::park_timeout(Duration::from_millis(200));
        if read(probe, "stat").contains(") T ") {
            return probe;
        }
    }
}

/// However long a way takes that is being tried, nobody waits for it who ends; and nothing stays behind.
pub(crate) fn a_canary_that_is_out_keeps_nobody_waiting() {
    let (cgroup, home) = (Cgroup::new(), home());
    let start = || {
        let options = Options::default().config(with_canary(&cgroup, "1s", ""));
        options.argument(format!("--user={}", USER.0)).start_in(Arc::clone(&home))
    };
    let gone = |canary: Pid, probe: Pid, place: &Path| {
        poll("probe, canary and cgroup are gone", || {
            (!is_there(probe) && !is_there(canary) && !place.exists()).then_some(())
        });
    };
    // A gateway that is killed.
    let gateway = start();
    let canary = helper(&gateway, "canary");
    let (place_of, probe) = (place(canary), stopped_probe(canary));
    gateway.crash();
    gone(canary, probe, &place_of);
    // One that ends.
    let gateway = start();
    let canary = helper(&gateway, "canary");
    let (place_of, probe) = (place(canary), stopped_probe(canary));
    let began = Instant::now();
    gateway.terminate();
    assert!(began.elapsed() < PATIENCE, "it waits for the probe: {:?}", began.elapsed());
    gone(canary, probe, &place_of);
    // A canary that hears nothing itself: it ends when it does.
    let gateway = start();
    let canary = helper(&gateway, "canary");
    let (place_of, probe) = (place(canary), stopped_probe(canary));
    kill_process(canary, Signal::STOP).expect("root may");
    let began = Instant::now();
    gateway.terminate();
    assert!(began.elapsed() < PATIENCE, "it waits for the canary: {:?}", began.elapsed());
    kill_process(canary, Signal::CONT).expect("root may");
    gone(canary, probe, &place_of);
    // One that is killed leaves no probe.
    let gateway = start();
    let canary = helper(&gateway, "canary");
    let (place_of, probe) = (place(canary), stopped_probe(canary));
    kill_process(canary, Signal::KILL).expect("root may");
    poll("its probe is gone", || (!is_there(probe)).then_some(()));
    gateway.terminate();
    poll("its cgroup can be taken away", || fs::remove_dir(&place_of).ok());
}

/// A canary that is back is watched no more, so the programs have one scope to look for; what it did stays counted.
pub(crate) fn a_canary_that_is_back_is_watched_no_more() {
    let cgroup = Cgroup::new();
    let upstream = model();
    let gateway = Options::default()
        .config(with_canary(&cgroup, "1s", ""))
        .argument(format!("--user={}", USER.0))
        .start_in(home());
    let loader = helper(&gateway, "loader").as_raw_nonzero().get();
    let loader = u32::try_from(loader).expect("a process");
    let url = format!("http://{}/hello", upstream.address());
    let own = fs::metadata(&cgroup.path).expect("it is there").ino();
    for times in 1..4 {
        let back = || gateway.stderr().matches("the canary is back").count() >= times;
        poll("a canary is back", || back().then_some(()));
        assert_eq!(cgroup.run(CURL, &url), "/hello");
        // The next one may be on its way.
        poll("one scope is watched", || {
            let (ids, settings) = watched(loader);
            let word = |at: usize| {
                u32::from_ne_bytes(settings[at..at + 4].try_into().expect("four bytes"))
            };
            let levels = word(offset_of!(Settings, levels));
            let level = levels.is_power_of_two().then(|| levels.trailing_zeros());
            // All at one moment, or another canary is.
            let one = level.is_some_and(|level| word(offset_of!(Settings, single)) == 1 + level);
            (one && ids == [own]).then_some(())
        });
    }
    let home = gateway.terminate();
    let covered = covered(&home).remove(0);
    assert_eq!(covered["end"], "ended", "{covered}");
    assert_eq!(covered["known"], 3, "{covered}");
    let number = |value: &Value| value.as_u64().expect("a number");
    let leaves = leaves::all(&home.log());
    let led = leaves.iter().filter(|leaf| leaf["kind"] == "coverage-canary");
    let led: Vec<u64> = led.map(|leaf| number(&leaf["led"])).collect();
    assert!(led.len() >= 3 && led.iter().all(|led| *led >= 3), "each is led anew: {led:?}");
    // The verifier holds this against each statement.
    let all = led.iter().sum::<u64>() + 3;
    assert!(number(&covered["connections"]["via_gateway"]) >= all, "{all}: {covered}");
    assert_eq!(number(&covered["older"]), 0, "{covered}");
    assert_eq!(upstream.finish().len(), 3);
}

/// What becomes of frames where a device for them can be had, and elsewhere.
pub(crate) fn frames(outcome: &str) -> (bool, String) {
    match Path::new("/dev/net/tun").exists() {
        true => (true, outcome.to_owned()),
        false => (false, "unavailable".to_owned()),
    }
}

/// Where nothing can be reached, nothing is said to be closed.
pub(crate) fn a_dead_network_is_no_closed_one() {
    let ask = |command: &mut Command| {
        let output =
            command.args(["doctor", "--canary", "--json"]).output().expect("it can be run");
        serde_json::from_slice::<Value>(&output.stdout).expect("one JSON object")
    };
    let state = |found: &Value| {
        let checks = found["checks"].as_array().expect("a list");
        checks.iter().find(|check| check["name"] == "canary").expect("it is listed")["state"]
            .clone()
    };
    let dead = ask(Command::new("unshare").arg("--net").arg(programs::sealtap()));
    assert_eq!(state(&dead), "short", "{dead}");
    for way in dead["canary"].as_array().expect("it was sent") {
        assert_ne!(way["outcome"], "denied", "{way}");
        assert_ne!(way["outcome"], "led", "{way}");
    }
    let alive = ask(&mut Command::new(programs::sealtap()));
    assert_eq!(state(&alive), "well", "the control: {alive}");
    // Both modes: what is let go where it is observed is denied where it is enforced.
    let way = |mode: &str, name: &str| {
        let ways = alive["canary"].as_array().expect("it was sent");
        let way = ways.iter().find(|way| way["way"] == name && way["mode"] == mode);
        let way = way.expect("every way is listed in both modes");
        (way["control"].as_bool().expect("said"), way["outcome"].as_str().expect("said").to_owned())
    };
    for (mode, outcome) in [("observe", "passed"), ("enforce", "denied")] {
        for name in ["udp4", "udp6", "raw4"] {
            assert_eq!(way(mode, name), (true, outcome.to_owned()), "{mode} {name}: {alive}");
        }
        assert_eq!(way(mode, "packet"), frames(outcome), "{mode}: {alive}");
    }
}
