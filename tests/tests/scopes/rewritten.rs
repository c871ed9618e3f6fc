//! What the programs go by, written to by somebody else with root: every link is as it was, and coverage ends.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use sealtap_tests::gate::poll;
use sealtap_tests::gateway::Gateway;
use sealtap_tests::{leaves, maps, standing};

use crate::cgroup::Cgroup;
use crate::{CURL, covered, healthz, model, serve_scopes, wait_for};

/// Why it is over.
const WHY: &str = "somebody else wrote to their maps";

/// A gateway that watches both.
fn both(one: &Cgroup, other: &Cgroup) -> Gateway {
    serve_scopes(&[one, other].map(|cgroup| format!("/{}", cgroup.name)))
}

fn id(cgroup: &Cgroup) -> u64 {
    fs::metadata(&cgroup.path).expect("it is there").ino()
}

/// Waits for two statements that all is as it was.
fn stated(gateway: &Gateway) {
    let heartbeats = || {
        let all = leaves::all(&gateway.home().log());
        all.iter().filter(|leaf| leaf["kind"] == "coverage-heartbeat").count()
    };
    let before = heartbeats();
    poll("statements", || (heartbeats() >= before + 2).then_some(()));
    assert_eq!(healthz(gateway.address()), "ok\n");
}

/// The next statement says that it is over, and nothing is said of later.
fn ends(gateway: Gateway, what: &str) -> serde_json::Value {
    wait_for(&gateway, WHY);
    let said = healthz(gateway.address());
    assert!(said.contains("degraded") && said.contains(WHY), "{what}: {said}");
    let home = Arc::clone(gateway.home());
    gateway.terminate();
    home.assert_valid();
    let covered = covered(&home).remove(0);
    assert_eq!(covered["end"], "links_changed", "{what}: {covered}");
    covered
}

/// One of two entries is deleted: that cgroup's calls pass unseen from then on, and no statement says otherwise.
pub(crate) fn a_scope_that_is_taken_from_the_programs_ends_coverage() {
    let (one, other) = (Cgroup::new(), Cgroup::new());
    let upstream = model();
    let gateway = both(&one, &other);
    let url = |word: &str| format!("http://{}/{word}", upstream.address());
    assert_eq!(one.run(CURL, &url("seen")), "/seen");
    stated(&gateway);
    maps::unwatch(standing::loader_of(gateway.pid()), id(&one));
    assert_eq!(one.run(CURL, &url("unseen")), "/unseen");
    let covered = ends(gateway, "an entry is gone");
    // Why it matters: two came, and one was seen.
    assert_eq!(covered["connections"]["seen"], 1, "{covered}");
    assert_eq!(upstream.finish().len(), 2);
}

/// What is added or set is found as well as what is taken away.
pub(crate) fn whatever_is_written_to_the_programs_maps_ends_coverage() {
    let (one, other, third) = (Cgroup::new(), Cgroup::new(), Cgroup::new());
    let mut loopback = [0; 20];
    loopback[10..16].copy_from_slice(&[0xff, 0xff, 127, 0, 0, 1]);
    let writes: [(&str, &dyn Fn(u32)); 3] = [
        ("an entry is added", &|loader| maps::watch_like(loader, id(&third), id(&one))),
        ("a place is left alone", &|loader| maps::leave_alone(loader, loopback)),
        ("the settings are gone", &maps::forget_settings),
    ];
    for (what, write) in writes {
        let gateway = both(&one, &other);
        stated(&gateway);
        write(standing::loader_of(gateway.pid()));
        ends(gateway, what);
    }
}

/// The control of both: scopes come and go, a canary is watched and is watched no more, and nobody else writes.
pub(crate) fn what_nobody_wrote_to_goes_on() {
    let (one, late) = (Cgroup::new(), Cgroup::unmade());
    let text =
        crate::with_canary(&one, "1s", "loopback_allow = [\"127.0.0.1:9\", \"127.0.0.1:9\"]\n");
    let scopes = format!("\"/{}\", \"/{}\"", one.name, late.name);
    let text = text.replace(&format!("\"/{}\"", one.name), &scopes);
    let gateway = sealtap_tests::gateway::Options::default()
        .config(text)
        .argument(format!("--user={}", crate::USER.0))
        .start_in(crate::home());
    wait_for(&gateway, "the canary is back");
    late.make();
    poll("both are watched", || {
        (maps::watched(standing::loader_of(gateway.pid())).0.contains(&id(&late))).then_some(())
    });
    stated(&gateway);
    late.remove();
    wait_for(&gateway, "gone:");
    stated(&gateway);
    let home = gateway.terminate();
    let covered = covered(&home).remove(0);
    assert_eq!(covered["end"], "ended", "{covered}");
}
