//! Long: exchanges that stay open, and a log that fails for long. Neither makes the gateway's
//! journal or its memory grow without bound, and in the end everything is sealed as it was.

use std::fs;
use std::sync::Arc;

use sealtap_tests::gate::{Gate, OF_A_GATEWAY, poll, poll_for};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::head;
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify;
use sealtap_tests::wire::Wire;

const LARGE: usize = 1 << 20;

/// Small journal files, and a log that tells of open exchanges soon.
const CONFIG: &str = "[journal]\nfile_size = \"1MiB\"\n[log]\nprogress = \"100ms\"\n";

/// Waits at a gate that opens only when much of a case is over, which takes a busy machine longer than a step.
fn wait(gate: &Gate, times: u64) {
    poll_for(OF_A_GATEWAY, "a gate", || (gate.count() >= times).then_some(()));
}

/// `/open` answers "ab", waits for the gate, and ends with "cd"; everything else is large.
fn upstream(gate: &Gate) -> Upstream {
    let gate = gate.clone();
    Upstream::answering(move |session, request| {
        if request.head.target() == b"/open" {
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "4")]));
            session.send("ab");
            wait(&gate, 1);
            session.send("cd");
        } else {
            session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &LARGE.to_string())]));
            session.send_pattern(7, LARGE as u64);
        }
    })
}

fn start(upstream: &Upstream, home: Arc<Home>) -> Gateway {
    Options::default().upstream("up", upstream.url()).config(CONFIG).start_in(home)
}

fn large(gateway: &Gateway, count: usize) {
    let mut client = Wire::connect(gateway.address());
    for _ in 0..count {
        client.send("GET /up/large HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(client.response("GET").body.content.bytes().len(), LARGE);
    }
}

fn journal_files(gateway: &Gateway) -> usize {
    let names = fs::read_dir(gateway.home().data().join("journal")).expect("a journal");
    let names = names.map(|entry| entry.expect("a name").file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".journal")).count()
}

/// How many leaves of a kind the log has.
fn leaves(home: &Home, kind: &str) -> u64 {
    let report = verify::report(&home.data(), &home.keys());
    assert_eq!(report["verdict"], "valid", "{report}");
    report["leaves"][kind].as_u64().unwrap_or(0)
}

fn is_stream(exchange: &Exchange) -> bool {
    exchange.text("/url").ends_with("/open")
}

#[test]
fn an_idle_stream_does_not_keep_the_journal() {
    let gate = Gate::default();
    let upstream = upstream(&gate);
    let gateway = start(&upstream, Arc::new(Home::new()));
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/open HTTP/1.1\r\nHost: x\r\n\r\n");
    let (_, answer) = client.response_head();
    let mut reader = client.body(answer.response_framing("GET"));
    reader.at_least(2);
    large(&gateway, 20);
    // Whoever stores what is in them gives way to all others.
    poll_for(OF_A_GATEWAY, "the journal's files to be given back", || {
        let carried = gateway.home().data().join("journal/carried").is_file();
        (carried && journal_files(&gateway) < 10).then_some(())
    });
    // It is still there to be seen, with what came of it so far.
    let list = gateway.list();
    let open = list.iter().find(|exchange| is_stream(exchange)).expect("the stream");
    assert_eq!(open.text("/outcome"), "open");
    assert_eq!(open.body(Direction::Response).bytes(), b"ab");
    gate.open();
    assert_eq!(reader.finish().content.bytes(), b"abcd");
    drop(client);
    let sealed = gateway.wait_sealed(21);
    let stream = sealed.iter().find(|exchange| is_stream(exchange)).expect("the stream");
    assert_eq!(stream.text("/outcome"), "complete");
    assert_eq!(stream.body(Direction::Response).bytes(), b"abcd");
    // With nothing left to carry, nothing is carried.
    large(&gateway, 2);
    poll_for(OF_A_GATEWAY, "what was carried to go", || {
        (!gateway.home().data().join("journal/carried").exists()).then_some(())
    });
    gateway.finish();
    upstream.finish();
}

#[test]
fn what_was_carried_over_survives_a_crash() {
    let gate = Gate::default();
    let upstream = upstream(&gate);
    let gateway = start(&upstream, Arc::new(Home::new()));
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/open HTTP/1.1\r\nHost: x\r\n\r\n");
    let (_, answer) = client.response_head();
    client.body(answer.response_framing("GET")).at_least(2);
    large(&gateway, 12);
    poll_for(OF_A_GATEWAY, "records to be carried over", || {
        gateway.home().data().join("journal/carried").is_file().then_some(())
    });
    poll("progress in the log", || (leaves(gateway.home(), "progress") > 0).then_some(()));
    let gateway = start(&upstream, gateway.crash());
    gate.open();
    let sealed = gateway.wait_sealed(13);
    let stream = sealed.iter().find(|exchange| is_stream(exchange)).expect("the stream");
    assert_eq!(stream.text("/outcome"), "interrupted");
    assert_eq!(stream.body(Direction::Response).bytes(), b"ab");
    // Told of while it was open, and sealed as what it was.
    assert!(leaves(&gateway.terminate(), "progress") > 0);
    drop((client, upstream));
}

#[test]
fn progress_is_told_of_streams_that_grow_and_of_those_that_do_not() {
    let gate = Gate::default();
    let steps = gate.clone();
    let upstream = Upstream::start(move |mut session| {
        let request = session.request();
        let fields = [("Content-Type", "text/event-stream"), ("Connection", "close")];
        session.send(head("HTTP/1.1 200 OK", &fields));
        let rounds = if request.head.target() == b"/grows" { 4 } else { 0 };
        session.send("data: first\n\n");
        for round in 1..=rounds {
            wait(&steps, round);
            // More than a segment, and an event that is not over.
            session.send(format!("data: {}\n\ndata: ", "x".repeat(5_000)));
        }
        wait(&steps, 5);
        session.send("last\n\n");
    });
    let gateway = start(&upstream, Arc::new(Home::new()));
    let mut clients: Vec<Wire> = ["/up/grows", "/up/idles"]
        .iter()
        .map(|target| {
            let mut client = Wire::connect(gateway.address());
            client.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            client
        })
        .collect();
    for round in 0..5 {
        let before = leaves(gateway.home(), "progress");
        poll("more progress", || (leaves(gateway.home(), "progress") >= before + 2).then_some(()));
        assert!(gate.count() == round, "one at a time");
        gate.open();
    }
    let answers: Vec<Vec<u8>> = clients
        .iter_mut()
        .map(|client| client.response("GET").body.content.bytes().to_vec())
        .collect();
    drop(clients);
    let sealed = gateway.finish();
    for exchange in &sealed {
        assert_eq!(exchange.text("/outcome"), "complete", "{}", exchange.json);
        let answer = &answers[usize::from(exchange.text("/url").ends_with("/idles"))];
        assert_eq!(exchange.body(Direction::Response).bytes(), answer.as_slice());
    }
    upstream.finish();
}

/// The memory of a process in bytes: what it has now (`VmRSS:`) or at most had (`VmHWM:`).
fn memory(pid: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find(|line| line.starts_with(which)).expect("its memory");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

/// What was captured while the log failed is sealed by the next start; what is kept in memory for that is
/// where the bodies stand, and no body.
#[test]
fn a_start_with_much_to_seal_holds_no_bodies() {
    const BODY: u64 = 4 << 20;
    const EXCHANGES: usize = 72;
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", &BODY.to_string())]));
        session.send_pattern(7, BODY);
    });
    let start = |home| Options::default().upstream("up", upstream.url()).start_in(home);
    let gateway = start(Arc::new(Home::new()));
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    client.response("GET");
    gateway.wait_sealed(1);
    let (staging, away) =
        (gateway.home().data().join("staging"), gateway.home().data().join("away"));
    fs::rename(&staging, &away).expect("the staging directory can be moved");
    for _ in 1..EXCHANGES {
        client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
        client.response("GET");
    }
    drop(client);
    let home = gateway.crash();
    fs::rename(&away, &staging).expect("the staging directory can be moved back");
    let gateway = start(home);
    // Accepting means that all is sealed.
    let most = memory(gateway.pid(), "VmHWM:");
    assert!(most < 96 << 20, "{most} bytes of memory to seal {EXCHANGES} bodies of {BODY}");
    let sealed = gateway.finish();
    assert_eq!(sealed.len(), EXCHANGES);
    upstream.finish();
}

#[test]
fn a_log_that_fails_for_long_costs_no_memory() {
    let upstream = Upstream::answering(|session, _| {
        // Heads are kept in memory until they are stored: long ones show what piles up.
        let long = "x".repeat(12_000);
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2"), ("X-Long", &long)]));
        session.send("ok");
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let call = |count: usize| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let address = gateway.address();
                std::thread::spawn(move || {
                    let mut client = Wire::connect(address);
                    for _ in 0..count / 4 {
                        client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
                        assert_eq!(client.response("GET").bytes(), b"ok");
                    }
                })
            })
            .collect();
        for client in clients {
            client.join().expect("every call was answered");
        }
    };
    call(8);
    gateway.wait_sealed(8);
    let (staging, away) =
        (gateway.home().data().join("staging"), gateway.home().data().join("away"));
    fs::rename(&staging, &away).expect("the staging directory can be moved");
    call(2_000);
    let before = memory(gateway.pid(), "VmRSS:");
    call(4_000);
    let after = memory(gateway.pid(), "VmRSS:");
    // What reads the journal comes after the calls.
    poll("sealing to be behind", || gateway.stderr().contains("behind").then_some(()));
    // Each of them would take some 30 kB.
    let grown = after.saturating_sub(before);
    assert!(grown < 48 << 20, "memory went from {before} to {after} bytes");
    fs::rename(&away, &staging).expect("the staging directory can be moved back");
    // Thousands are stored before that, by a thread that gives way to all others.
    poll_for(OF_A_GATEWAY, "the log to catch up", || {
        gateway.stderr().contains("caught up").then_some(())
    });
    let sealed = gateway.finish();
    assert_eq!(sealed.len(), 6_008);
    assert!(sealed.iter().all(|exchange| exchange.text("/outcome") == "complete"));
    upstream.finish();
}
