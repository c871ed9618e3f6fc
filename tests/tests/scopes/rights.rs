//! What the gateway can still do once it has given up what it could do, and what it refuses before.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use rustix::process::Signal;
use sealtap_tests::gate::{Gate, poll};
use sealtap_tests::gateway::Options;
use sealtap_tests::metrics::metrics;
use serde_json::json;

use crate::cgroup::Cgroup;
use crate::{
    CURL, USER, config, covered, field, healthz, home, model, model_once, serve, threads, wait_for,
};

/// What a scope sends comes to a gateway that holds no privilege in any thread.
pub(crate) fn a_scope_is_captured_by_a_gateway_without_privileges() {
    let (cgroup, looked) = (Cgroup::new(), Gate::default());
    let opened = looked.clone();
    let upstream = model_once(move || opened.wait(1));
    let gateway = serve(&cgroup, "");
    let url = format!("http://{}/hello", upstream.address());
    std::thread::scope(|scope| {
        let answered = scope.spawn(|| cgroup.run(CURL, &url));
        // Whoever asked waits for the answer, which comes once it was looked at.
        poll("it was looked at", || {
            let samples = metrics(gateway.address());
            let found = samples.get("sealtap_redirected_attributed_total");
            (found == Some(&1.0)).then_some(())
        });
        looked.open();
        assert_eq!(answered.join().expect("it is answered"), "/hello");
    });
    let all = threads(gateway.pid());
    assert!(all.len() > 3, "{}", all.len());
    for status in &all {
        let own = USER.1.to_string();
        assert_eq!(field(status, "Uid"), [&own; 4], "{status}");
        assert!(!field(status, "Gid").contains(&"0"), "{status}");
        assert!(!field(status, "Groups").contains(&"0"), "{status}");
        for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
            assert_eq!(field(status, set), ["0000000000000000"], "{set}: {status}");
        }
        assert_eq!(field(status, "NoNewPrivs"), ["1"], "{status}");
    }
    assert_eq!(fs::metadata(gateway.home().data()).expect("made").uid(), USER.1);
    let home = Arc::clone(gateway.home());
    let exchange = gateway.finish().remove(0);
    assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
    let covered = covered(&home);
    assert_eq!(covered.len(), 1, "{covered:?}");
    assert_eq!(covered[0]["end"], "ended", "{covered:?}");
    assert_eq!(covered[0]["connections"]["via_gateway"], 1);
    assert_eq!((&covered[0]["known"], &covered[0]["attributed"]), (&json!(1), &json!(1)));
    assert_eq!(upstream.finish().len(), 1);
}

/// Files are begun, leaves sealed and configurations read after everything was given up.
pub(crate) fn all_goes_on_after_privileges_are_gone() {
    let cgroup = Cgroup::new();
    let upstream = model();
    let more = "[journal]\nfile_size = \"1MiB\"\n";
    let gateway = serve(&cgroup, more);
    let url = format!("http://{}/upload", upstream.address());
    let upload = "head -c 3000000 /dev/zero | curl -sS --noproxy '*' --data-binary @- \"$0\"";
    for _ in 0..3 {
        assert_eq!(cgroup.run(upload, &url), "/upload");
    }
    gateway.wait_sealed(3);
    let path = gateway.home().path().join("sealtap.toml");
    let text = fs::read_to_string(&path).expect("it was written");
    fs::write(&path, format!("{text}[forwarded]\nvia = true\n")).expect("it is ours");
    gateway.signal(Signal::HUP);
    wait_for(&gateway, "configuration reloaded");
    // Scopes are settled at the start: said, not passed over.
    fs::write(&path, text.replace(&cgroup.name, "another")).expect("it is ours");
    gateway.signal(Signal::HUP);
    wait_for(&gateway, "[kernel] cannot change while the gateway runs");
    assert_eq!(cgroup.run(upload, &url), "/upload");
    assert_eq!(gateway.finish().len(), 4);
    assert_eq!(upstream.finish().len(), 4);
}

/// A port that only root may listen on.
pub(crate) fn ports_below_1024_are_listened_on() {
    let Some(port) = (900..1000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
    else {
        panic!("no port is free");
    };
    let gateway = Options::default()
        .listening(&format!("127.0.0.1:{port}"))
        .argument(format!("--user={}", USER.0))
        .start_in(home());
    assert_eq!(gateway.address().port(), port);
    assert_eq!(healthz(gateway.address()), "ok\n");
    gateway.finish();
}

/// A gateway that watched itself would call itself without end.
pub(crate) fn scopes_that_hold_the_gateway_are_refused() {
    let (above, home) = (Cgroup::new(), home());
    let below = above.path.join("gateway");
    fs::create_dir(&below).expect("root makes cgroups");
    let own = format!("echo 0 > {}/cgroup.procs; exec \"$0\" \"$@\"", below.display());
    let refused = Options::default()
        .config(config(&above, ""))
        .under(["sh", "-c", &own])
        .try_start_in(Arc::clone(&home));
    let Err((status, said)) = refused else { panic!("it watches itself") };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("led back to it") && said.contains(&above.name), "{said}");
    assert!(said.contains("systemd-run --scope"), "{said}");
    assert!(!home.data().join("log").exists(), "nothing was begun");
    poll("the gateway's cgroup is empty", || fs::remove_dir(&below).ok());
    // Beside it, all is well.
    let beside = Cgroup::new();
    let gateway = Options::default().config(config(&beside, "")).start_in(home);
    assert!(gateway.stderr().contains("hostile bytes as root"), "{}", gateway.stderr());
    gateway.finish();
}
