//! A wall clock that jumps while the gateway runs: nothing in the log runs backwards.
//!
//! `libfaketime` (Debian's `faketime`) gives the gateway alone another wall clock, read anew from a
//! file at each look. Where it is not installed every case says so and none passes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use sealtap_tests::bench::NAME;
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::wire::Wire;
use sealtap_tests::{leaves, records, suite};

/// The library, where Debian puts it.
fn library() -> Option<PathBuf> {
    let place = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let other = "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1";
    [place, other].map(PathBuf::from).into_iter().find(|path| path.is_file())
}

/// A gateway whose wall clock is off by what the file says.
fn start(home: &Arc<Home>, upstream: &Upstream) -> Gateway {
    let library = library().expect("asked before").display().to_string();
    let file = offset(home).display().to_string();
    let wrapper = [
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={file}"),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ];
    Options::default()
        .config("[log]\nheartbeat = \"1s\"\n")
        .upstream(NAME, upstream.url())
        .under(wrapper)
        .start_in(Arc::clone(home))
}

fn offset(home: &Home) -> PathBuf {
    home.path().join("clock")
}

/// Sets the clock off by this, such as `-3600`.
fn set(home: &Home, seconds: &str) {
    std::fs::write(offset(home), format!("{seconds}\n")).expect("the clock can be set");
}

/// So many calls, each begun when the one before is over: on a connection of its own, one could be over for
/// its client and not yet for the gateway, and be sealed behind the next.
fn call(gateway: &Gateway, count: usize) {
    let mut client = Wire::connect(gateway.address());
    for _ in 0..count {
        client.send(head("GET /up/x HTTP/1.1", &[("Host", "x")]));
        assert_eq!(client.response("GET").status(), 204);
    }
}

/// The wall clock's readings in the heartbeats and restarts of a log, in seconds.
fn readings(log: &Path) -> Vec<u64> {
    let leaves = leaves::all(log).into_iter();
    leaves.filter_map(|leaf| leaf["clock"]["wall"].as_u64()).map(|wall| wall / 1_000_000).collect()
}

/// Set back by an hour and forward by a day while it serves, and set back further between two boots.
fn a_clock_that_jumps() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 204 No Content", &[]));
    });
    let home = Arc::new(Home::new());
    set(&home, "+0");
    let gateway = start(&home, &upstream);
    for (round, seconds) in ["+0", "-3600", "+86400", "-86400"].into_iter().enumerate() {
        set(&home, seconds);
        call(&gateway, 2);
        gateway.wait_sealed(2 * round + 2);
        // The next heartbeat shows the jump; until it came the clock stays.
        let beats = readings(&home.log()).len();
        sealtap_tests::gate::poll("a heartbeat", || {
            (readings(&home.log()).len() > beats + 1).then_some(())
        });
    }
    // Stopping verifies the log under both verifiers: an exchange that ended before it began, or a
    // leaf older than the one before it, would be found.
    drop(gateway.terminate());
    set(&home, "-172800");
    let again = start(&home, &upstream);
    call(&again, 1);
    drop(again.terminate());
    let exchanges = records::list(&home);
    assert_eq!(exchanges.len(), 9);
    let started: Vec<&str> = exchanges.iter().map(|it| it.text("/started")).collect();
    assert!(started.is_sorted(), "{started:?}");
    for exchange in &exchanges {
        let took = exchange.number("/duration_ns");
        assert!(took < 60_000_000_000, "a call took {took} ns: {}", exchange.json);
    }
    let walls = readings(&home.log());
    let (least, most) = (walls.iter().min().expect("some"), walls.iter().max().expect("some"));
    assert!(most - least > 86_400, "the clock never jumped for the gateway: {walls:?}");
    upstream.finish();
}

fn main() -> ExitCode {
    let missing =
        library().is_none().then(|| "libfaketime (package faketime) is not installed".to_owned());
    suite::main(&[("a_clock_that_jumps", a_clock_that_jumps)], missing)
}
