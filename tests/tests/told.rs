//! What people are told when something is not as it should be: it names the right thing, and leaves no trace.

use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::gate::{Gate, poll};
use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::programs;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::text;
use sealtap_tests::wire::Wire;

/// Runs one of our programs; its exit code and all that it said.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().expect("it can be run");
    (output.status.code(), text(&output))
}

#[test]
fn the_example_as_it_stands_starts_a_gateway() {
    let example = include_str!("../../gateway/sealtap.example.toml");
    let upstream = Upstream::answering(|session, _| session.send(head("HTTP/1.1 204 x", &[])));
    let gateway = Options::default().config(example).upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response("GET").status(), 204);
    drop(client);
    assert_eq!(gateway.finish().len(), 1);
    upstream.finish();
}

#[test]
fn a_port_of_observe_in_use_is_named_by_its_own_key() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let config = format!("[observe]\nlisten = \"{address}\"\n");
    let home = Arc::new(Home::new());
    let Err((status, said)) = Options::default().config(config).try_start_in(home) else {
        panic!("a gateway started on a port in use")
    };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("[observe]") && said.contains(&address.to_string()), "{said}");
    assert!(!said.contains("--listen"), "{said}");
}

#[test]
fn a_witness_policy_that_cannot_be_used_leaves_no_keys() {
    for policy in [None, Some("quorum nobody\n"), Some("witness w x\nquorum w\n")] {
        let home = Arc::new(Home::new());
        if let Some(policy) = policy {
            std::fs::write(home.path().join("w.policy"), policy).expect("written");
        }
        let config = "[witness]\npolicy = \"w.policy\"\n";
        let started = Options::default().config(config).try_start_in(home.clone());
        let Err((status, said)) = started else { panic!("a gateway started with {policy:?}") };
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(said.contains("w.policy"), "{said}");
        assert!(!home.data().exists(), "{policy:?} left {}", home.data().display());
    }
}

/// A loop of links cannot be looked into by anybody, as a directory of another user's cannot be by most.
#[test]
fn what_cannot_be_looked_into_is_not_called_absent() {
    let home = Home::new();
    let data = home.data();
    std::fs::create_dir(&data).expect("made");
    for name in ["checkpoint", "store"] {
        std::os::unix::fs::symlink(name, data.join(name)).expect("linked");
    }
    let product = || Command::new(programs::sealtap());
    let mut small = Command::new(programs::sealtap_verify());
    for (command, code) in [
        (product().arg("verify").arg(&data), 2),
        (small.arg(&data), 2),
        (product().arg("ls").arg("--data").arg(&data), 1),
        (product().arg("runs").arg("--data").arg(&data), 1),
    ] {
        let (found, said) = run(command);
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains("os error 40") && said.contains("cannot be"), "{said}");
        assert!(!said.contains("nothing to verify") && !said.contains("there is no"), "{said}");
    }
}

#[test]
fn a_near_miss_of_a_flag_is_not_shown_as_one_that_is_required() {
    let (code, said) = run(Command::new(programs::sealtap()).args(["serve", "--upstreem", "a=b"]));
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("Usage: sealtap serve [OPTIONS]"), "{said}");
    assert!(said.contains("a similar argument exists: '--upstream'"), "{said}");
}

#[test]
fn a_stop_that_waits_says_what_for() {
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::answering(move |session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "4")]));
        session.send("ab");
        held.wait(1);
        session.send("cd");
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    poll("the exchange", || (!gateway.list().is_empty()).then_some(()));
    gateway.signal(rustix::process::Signal::TERM);
    poll("a word", || gateway.stderr().contains("stopping: connections").then_some(()));
    gate.open();
    assert_eq!(gateway.finish().len(), 1);
    drop(client);
    upstream.finish();
}
