//! Run records: when a run is over, what the log says of it, and what is left of it after a crash.

use sealtap_tests::bundle::{bundle, report, runs, wait_closed};
use sealtap_tests::gate::poll;
use sealtap_tests::gateway::{Gateway, Options};
use sealtap_tests::http1::head;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::{Verdict, verify};
use sealtap_tests::wire::Wire;

fn upstream() -> Upstream {
    Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "5")]));
        session.send("hello");
    })
}

fn options(upstream: &Upstream, idle: &str) -> Options {
    Options::default().upstream("up", upstream.url()).config(format!("[runs]\nidle = \"{idle}\"\n"))
}

fn call(gateway: &Gateway, target: &str) {
    let mut client = Wire::connect(gateway.address());
    client.send(head(format!("GET {target} HTTP/1.1"), &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 200);
}

#[test]
fn an_idle_run_is_closed_and_its_name_goes_on_in_another() {
    let upstream = upstream();
    // Much longer than it takes to call again, also on a machine that is busy.
    let gateway = options(&upstream, "3s").start();
    let home = gateway.home().clone();
    call(&gateway, "/run/alpha/up/x");
    call(&gateway, "/run/alpha/up/x");
    let first = wait_closed(&home, "alpha");
    call(&gateway, "/run/alpha/up/x");
    let second = poll("a second run to be closed", || {
        let named = runs(&home).into_iter().filter(|run| run["name"] == "alpha");
        let closed: Vec<_> = named.filter(|run| run["state"] == "closed").collect();
        (closed.len() == 2).then(|| closed[1].clone())
    });
    assert_eq!(second["exchanges"], 1, "{second}");
    assert_eq!(second["reason"], "idle", "{second}");
    let home = gateway.terminate();
    let listed = runs(&home);
    assert_eq!(listed[0]["id"], first.as_str());
    assert_eq!((&listed[0]["exchanges"], &listed[0]["by"]), (&2.into(), &"path".into()));
    // The second run's bundle says which run had the name before.
    let id = second["id"].as_str().expect("an id").to_owned();
    let path = bundle(&home, &id, &["none"]);
    let (verdict, said) = verify(&path, Some(&home.keys()));
    assert_eq!(verdict, Verdict::Valid, "{said}");
    assert!(said.contains(&format!("goes on under the name of run {first}")), "{said}");
    upstream.finish();
}

#[test]
fn a_connection_is_a_run_and_ends_with_it() {
    let upstream = upstream();
    let gateway = options(&upstream, "1h").start();
    let home = gateway.home().clone();
    let mut client = Wire::connect(gateway.address());
    for _ in 0..3 {
        client.send(head("GET /up/x HTTP/1.1", &[("Host", "x")]));
        assert_eq!(client.response("GET").status(), 200);
    }
    drop(client);
    let run = poll("the run to be closed", || {
        let run = runs(&home).pop()?;
        (run["state"] == "closed").then_some(run)
    });
    assert_eq!((&run["by"], &run["reason"]), (&"connection".into(), &"connection_ended".into()));
    assert_eq!(run["exchanges"], 3);
    gateway.finish();
    upstream.finish();
}

#[test]
fn a_stop_closes_what_is_open_and_other_users_are_declared() {
    let upstream = upstream();
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .config("[runs]\nidle = \"1h\"\napps = \"other-user\"\n")
        .start();
    call(&gateway, "/run/beta/up/x");
    let home = gateway.terminate();
    let run = &runs(&home)[0];
    assert_eq!((&run["state"], &run["reason"]), (&"closed".into(), &"stopped".into()), "{run}");
    let path = bundle(&home, "beta", &["all"]);
    let report = report(&home, &path);
    assert_eq!(report["verdict"], "valid", "{report}");
    assert_eq!(report["isolation"]["level"], "other_user", "{report}");
    assert_eq!(report["isolation"]["basis"], "declared", "{report}");
    assert_eq!(report["withheld"], 0, "{report}");
    upstream.finish();
}

#[test]
fn a_run_ends_with_a_boot_that_is_killed() {
    let upstream = Upstream::answering(|session, request| {
        // What asks to wait is under way when the gateway is killed.
        if !request.head.target().ends_with(b"/wait") {
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
        }
    });
    let gateway = options(&upstream, "1h").start();
    call(&gateway, "/run/gamma/up/x");
    let mut waiting = Vec::new();
    for run in ["gamma", "epsilon"] {
        let mut client = Wire::connect(gateway.address());
        client.send(head(format!("GET /run/{run}/up/wait HTTP/1.1"), &[("Host", "x")]));
        waiting.push(client);
    }
    poll("three exchanges", || (gateway.list().len() == 3).then_some(()));
    poll("the first to be sealed", || gateway.list()[0].sealed().then_some(()));
    let home = gateway.crash();
    let gateway = options(&upstream, "1h").start_in(home);
    // The same name in another boot is another run, and nothing joins the two.
    call(&gateway, "/run/gamma/up/x");
    gateway.wait_sealed(4);
    // What a boot left is told from what is open once the store has it, which comes after the seal.
    let named = |name: &str, state: &str| {
        poll(&format!("a run {name} that is {state}"), || {
            let mut runs = runs(gateway.home()).into_iter();
            runs.find(|run| run["name"] == name && run["state"] == state)
        })
    };
    let (gamma, epsilon) = (named("gamma", "ended_with_boot"), named("epsilon", "ended_with_boot"));
    assert_eq!((&gamma["exchanges"], &epsilon["exchanges"]), (&2.into(), &1.into()));
    named("gamma", "open");
    let home = gateway.terminate();
    // One has a leaf on each side of the restart, the other all of its leaves behind it.
    for run in [gamma, epsilon] {
        let path = bundle(&home, run["id"].as_str().expect("an id"), &["none"]);
        let (verdict, said) = verify(&path, Some(&home.keys()));
        assert_eq!(verdict, Verdict::Valid, "{said}");
        assert!(said.contains("ended with its boot"), "{said}");
    }
    drop(waiting);
    upstream.finish();
}

#[test]
fn a_record_that_never_reached_the_store_is_signed_again() {
    let upstream = upstream();
    let gateway = options(&upstream, "200ms").start();
    call(&gateway, "/run/delta/up/x");
    let id = wait_closed(gateway.home(), "delta");
    let before = std::fs::read(bundle(gateway.home(), &id, &["none"])).expect("read");
    let home = gateway.crash();
    // As if the crash had come between the log and the store: the journal has the exchange, the
    // log the record's leaf, the store nothing.
    std::fs::remove_dir_all(home.data().join("store")).expect("removed");
    let gateway = options(&upstream, "1h").start_in(home);
    let id = wait_closed(gateway.home(), "delta");
    let home = gateway.terminate();
    let path = bundle(&home, &id, &["none"]);
    let (verdict, said) = verify(&path, Some(&home.keys()));
    assert_eq!(verdict, Verdict::Valid, "{said}");
    // The very same envelope: everything in it comes from the log and the key.
    let after = std::fs::read(&path).expect("read");
    let envelope = |bytes: &[u8]| {
        let start = memchr::memmem::find(bytes, b"{\"payload\":").expect("an envelope");
        bytes[start..start + bytes[start..].iter().position(|byte| *byte == 0).expect("filled")]
            .to_vec()
    };
    assert_eq!(envelope(&before), envelope(&after));
    upstream.finish();
}

#[test]
fn a_trace_is_a_run_with_a_record() {
    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let upstream = upstream();
    let gateway = options(&upstream, "300ms").start();
    let home = gateway.home().clone();
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /up/x HTTP/1.1", &[("Host", "x"), ("traceparent", TRACE)]));
    assert_eq!(client.response("GET").status(), 200);
    // Beside a running gateway, and while the connection that carried it is still open.
    let id = wait_closed(&home, "4bf92f3577b34da6a3ce929d0e0e4736");
    let path = bundle(&home, &id, &["1/context"]);
    let report = report(&home, &path);
    assert_eq!((&report["verdict"], &report["state"]), (&"valid".into(), &"closed".into()));
    assert_eq!(report["parts"]["context"]["disclosed"], 1, "{report}");
    drop(client);
    gateway.finish();
    upstream.finish();
}
