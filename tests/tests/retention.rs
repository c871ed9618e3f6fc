//! Retention: what is too old or too much goes for good, a leaf says so first, and the log stays whole.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gate::{OF_A_GATEWAY, poll_for};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::programs;
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::{self, text};
use sealtap_tests::wire::Wire;

fn ok() -> Upstream {
    Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    })
}

fn post(gateway: &Gateway, body: &[u8]) {
    let mut client = Wire::connect(gateway.address());
    let length = body.len().to_string();
    let fields = [("Host", "x"), ("Content-Length", length.as_str())];
    client.send(head("POST /run/visible-name/up/visible-path HTTP/1.1", &fields));
    client.send(body);
    assert_eq!(client.response("POST").status(), 200);
}

fn pruned(exchange: &Exchange) -> bool {
    exchange.json["pruned"].is_object()
}

fn everything_pruned(gateway: &Gateway) -> Vec<Exchange> {
    poll_for(OF_A_GATEWAY, "everything pruned", || {
        let list = gateway.list();
        list.iter().all(pruned).then_some(list)
    })
}

/// Whether a file below the store has these bytes.
fn holds(home: &Home, wanted: &[u8]) -> bool {
    let files = std::fs::read_dir(home.data().join("store")).expect("the store can be listed");
    files.flatten().any(|file| {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        memchr::memmem::find(&bytes, wanted).is_some()
    })
}

fn sealtap(arguments: &[&str], data: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(programs::sealtap());
    let output = command.args(arguments).arg("--data").arg(data).output();
    let output = output.expect("sealtap can be run");
    (output.status.code(), text(&output))
}

#[test]
fn what_is_old_goes_and_a_leaf_says_so() {
    let upstream = ok();
    let config = "[retention]\nmax_age = \"2s\"\n[log]\ncheckpoint = \"50ms\"\n";
    let gateway = Options::default().upstream("up", upstream.url()).config(config).start();
    // Noise, which compression leaves as it is.
    let bodies: Vec<Vec<u8>> = (0..6).map(|seed| Pattern::bytes(seed, 70_000)).collect();
    for body in &bodies {
        post(&gateway, body);
    }
    gateway.wait_sealed(6);
    let list = everything_pruned(&gateway);
    let home = Arc::clone(gateway.home());
    let exchange = &list[3];
    assert_eq!(exchange.number("/request/bytes"), 70_000);
    assert!(exchange.json["request"]["sha256"].is_null() && exchange.json["url"].is_null());
    assert!(exchange.number("/pruned/leaf") > exchange.number("/leaf"), "{}", exchange.json);
    assert_eq!(exchange.text("/pruned/retention"), "2s");
    let (code, said) = sealtap(&["show", exchange.id()], &home.data());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("held no longer: retention of 2s, stated in leaf"), "{said}");
    let (code, said) = sealtap(&["show", exchange.id(), "--body", "request"], &home.data());
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("no longer held: retention of 2s"), "{said}");
    // What comes now is held, for a while.
    post(&gateway, b"fresh");
    let fresh = gateway.wait_sealed(7).pop().expect("there are seven");
    let (code, said) = sealtap(&["show", fresh.id(), "--body", "request"], &home.data());
    // It may be too old by now.
    let (held, gone) = (code == Some(0), said.contains("no longer held: retention of 2s"));
    assert!(held && said.contains("stdout: fresh ") || code == Some(1) && gone, "{said}");
    let list = gateway.finish();
    assert_eq!(list.len(), 7);
    for wanted in [&bodies[0][100..140], b"visible-name", b"visible-path"] {
        let fresh_is_held = list.iter().any(|exchange| !pruned(exchange));
        let shared = wanted.starts_with(b"visible");
        assert!((fresh_is_held && shared) || !holds(&home, wanted), "{}", wanted.escape_ascii());
    }
    let (_, said) = verify::verify(&home.data(), Some(&home.keys()));
    assert!(said.contains("held no longer, as retention leaves state"), "{said}");
    upstream.finish();
}

#[test]
fn what_is_too_much_goes_and_the_file_stays_below() {
    let upstream = ok();
    let config = "[retention]\nmax_bytes = \"2MiB\"\n[log]\ncheckpoint = \"50ms\"\n\
                  [journal]\nfile_size = \"1MiB\"\n";
    let gateway = Options::default().upstream("up", upstream.url()).config(config).start();
    let home = Arc::clone(gateway.home());
    // The same tools in each request, and something of its own.
    let tools = Pattern::bytes(7, 131_072);
    for step in 0..40 {
        post(&gateway, &[tools.clone(), Pattern::bytes(100 + step, 131_072)].concat());
    }
    gateway.wait_sealed(40);
    let length = |name| std::fs::metadata(home.data().join(name)).map_or(0, |it| it.len());
    let size = || length("store/exchanges.db");
    // What is sealed may not be in the store yet, and what is in its write-ahead log is not in its
    // file: fifteen exchanges and the tools alone are over the limit, so that fewer must be left.
    let settled = || length("store/exchanges.db-wal") == 0 && size() <= 2 << 20;
    let list = poll_for(OF_A_GATEWAY, "the store below its limit", || {
        // Whoever reads is in the way of the write-ahead log's end, which is then tried ever more rarely.
        let list = settled().then(|| gateway.list())?;
        let held = list.iter().filter(|exchange| !pruned(exchange)).count();
        (held < 15 && settled()).then_some(list)
    });
    let kept = list.iter().position(|exchange| !pruned(exchange)).expect("the newest are held");
    assert!(list[..kept].iter().all(pruned) && !list[kept..].iter().any(pruned), "oldest first");
    let last = list.last().expect("there are forty");
    let whole = [tools, Pattern::bytes(139, 131_072)].concat();
    let whole = Content::of(whole);
    assert_eq!(last.body(Direction::Request), whole, "what is shared is still there");
    assert_eq!(gateway.finish().len(), 40);
    assert!(size() <= 2 << 20, "{} bytes", size());
    upstream.finish();
}

#[test]
fn killed_at_any_time_it_goes_on() {
    let upstream = ok();
    let home = Arc::new(Home::new());
    let options = || {
        let config = "[retention]\nmax_age = \"1s\"\n[log]\ncheckpoint = \"20ms\"\n";
        Options::default().upstream("up", upstream.url()).config(config)
    };
    for round in 0..4 {
        let gateway = options().start_in(Arc::clone(&home));
        let before = gateway.list().len();
        for seed in 0..30 {
            post(&gateway, &Pattern::bytes(round * 100 + seed, 20_000));
        }
        gateway.wait_sealed(before + 30);
        // Somewhere between the statement and the last step of destroying.
        poll_for(OF_A_GATEWAY, "the first to go", || {
            gateway.list().iter().skip(before).any(pruned).then_some(())
        });
        gateway.crash();
    }
    let gateway = options().start_in(Arc::clone(&home));
    everything_pruned(&gateway);
    assert_eq!(gateway.finish().len(), 120);
    upstream.finish();
}
