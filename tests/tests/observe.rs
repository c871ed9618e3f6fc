//! Observe: what the gateway says of itself adds up, has nothing of its clients in it, and turns when
//! capture does.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::gate::{OF_A_GATEWAY, poll, poll_for};
use sealtap_tests::gateway::{Home, Options};
use sealtap_tests::http1::{End, head};
use sealtap_tests::metrics::{ask, metrics};
use sealtap_tests::programs;
use sealtap_tests::refusing::Refusing;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::text;
use sealtap_tests::wire::Wire;

fn ok() -> Upstream {
    Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    })
}

fn exchanges(upstream: &str, outcome: &str) -> String {
    format!("sealtap_exchanges_total{{upstream=\"{upstream}\",outcome=\"{outcome}\"}}")
}

#[test]
fn the_numbers_add_up() {
    let upstream = ok();
    let dead = Refusing::new();
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .upstream("dead", format!("http://{}", dead.address()))
        .start();
    let address = gateway.address();
    let before = metrics(address);
    assert_eq!(before[&exchanges("up", "complete")], 0.0);
    for _ in 0..5 {
        let mut client = Wire::connect(address);
        client
            .send(head("POST /up/secret-path HTTP/1.1", &[("Host", "x"), ("Content-Length", "7")]));
        client.send("payload");
        assert_eq!(client.response("POST").status(), 200);
    }
    for target in ["/dead/x", "/dead/y"] {
        assert_eq!(ask(address, "GET", target).status(), 502);
    }
    for target in ["/unknown-name", "/metrics?x", "/metrics/", "/Metrics"] {
        assert_eq!(ask(address, "GET", target).status(), 404);
    }
    assert_eq!(ask(address, "POST", "/metrics").status(), 404);
    gateway.wait_sealed(12);
    // An exchange is counted once its answer is out, number by number: it may be stored before.
    poll("everything stored and counted", || {
        let after = metrics(address);
        let last = "http_server_request_duration_seconds_count";
        let counted = after.iter().filter(|(name, _)| name.starts_with(last));
        let counted: f64 = counted.map(|(_, count)| count).sum();
        (counted == 12.0 && after["sealtap_stored_exchanges_total"] == 12.0).then_some(())
    });
    let after = metrics(address);
    assert_eq!(after[&exchanges("up", "complete")], 5.0);
    assert_eq!(after[&exchanges("dead", "upstream_failed")], 2.0);
    assert_eq!(after[&exchanges("-", "refused")], 5.0);
    let sum: f64 = after
        .iter()
        .filter(|(name, _)| name.starts_with("sealtap_exchanges_total"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(sum, 12.0);
    assert_eq!(after["sealtap_exchange_errors_total{error_type=\"upstream_unreachable\"}"], 2.0);
    assert_eq!(after["sealtap_exchange_errors_total{error_type=\"unknown_upstream\"}"], 5.0);
    assert_eq!(after["sealtap_body_bytes_total{upstream=\"up\",direction=\"request\"}"], 35.0);
    assert_eq!(after["sealtap_body_bytes_total{upstream=\"up\",direction=\"response\"}"], 10.0);
    assert_eq!(after["http_server_request_duration_seconds_count{upstream=\"up\"}"], 5.0);
    for gauge in ["sealtap_unsealed_exchanges", "sealtap_unstored_exchanges", "sealtap_log_failing"]
    {
        assert_eq!(after[gauge], 0.0, "{gauge}");
    }
    assert!(after["sealtap_log_size"] >= 13.0 && after["sealtap_leaves_total"] >= 12.0);
    assert!(after["sealtap_journal_sync_seconds_count"] >= 1.0);
    assert!(
        after["sealtap_journal_written_bytes_total"]
            > before["sealtap_journal_written_bytes_total"]
    );
    assert_eq!(after["sealtap_journal_pending_limit_bytes"], 8_388_608.0);
    assert!(after["sealtap_disk_left_bytes{directory=\"data\"}"] > 0.0);
    assert!(after["process_resident_memory_bytes"] > 1e6 && after["process_open_fds"] > 5.0);
    assert!(after["process_cpu_seconds_total"] > 0.0);
    for check in ["journal", "log", "disk", "store"] {
        assert_eq!(after[&format!("sealtap_healthy{{check=\"{check}\"}}")], 1.0, "{check}");
    }
    // Nothing that a client chose, and none of these pages is an exchange.
    let page = ask(address, "GET", "/metrics");
    let page = String::from_utf8_lossy(page.bytes()).into_owned();
    for chosen in ["secret-path", "unknown-name", "payload", "127.0.0.1"] {
        assert!(!page.contains(chosen), "{chosen} is in the page");
    }
    assert_eq!(ask(address, "GET", "/healthz").bytes(), b"ok\n");
    let only_head = ask(address, "HEAD", "/healthz");
    assert_eq!((only_head.status(), only_head.head.one("content-length")), (200, Some("3")));
    assert_eq!(gateway.finish().len(), 12);
    upstream.finish();
}

#[test]
fn a_listener_of_its_own_takes_the_pages_away() {
    let upstream = ok();
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .config("[observe]\nlisten = \"127.0.0.1:0\"\n")
        .start();
    let other =
        gateway.live()[0]["observe"].as_str().expect("its address is said").parse().unwrap();
    assert_eq!(ask(gateway.address(), "GET", "/metrics").status(), 404);
    assert_eq!(ask(gateway.address(), "GET", "/healthz").status(), 404);
    assert_eq!(ask(gateway.address(), "GET", "/up/x").status(), 200);
    assert_eq!(ask(other, "GET", "/healthz").bytes(), b"ok\n");
    assert_eq!(ask(other, "GET", "/up/x").status(), 404);
    assert_eq!(ask(other, "POST", "/metrics").status(), 405);
    // It is counted once its answer is out.
    let refused = || metrics(other)[&exchanges("-", "refused")];
    poll("the count of both", || (refused() == 2.0).then_some(()));
    assert_eq!(gateway.finish().len(), 3);
    upstream.finish();
}

#[test]
fn off_means_off() {
    let gateway = Options::default().config("[observe]\nenabled = false\n").start();
    assert_eq!(ask(gateway.address(), "GET", "/metrics").status(), 404);
    assert_eq!(ask(gateway.address(), "GET", "/healthz").status(), 404);
    assert_eq!(gateway.finish().len(), 2);
}

#[test]
fn the_names_are_reserved() {
    for name in ["metrics", "healthz", "run", "receipts"] {
        let given = format!("{name}=http://127.0.0.1:9");
        let output = Command::new(programs::sealtap())
            .args(["serve", "--upstream", &given])
            .output()
            .expect("sealtap can be run");
        let said = text(&output);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("reserved for the gateway"), "{said}");
    }
}

/// A directory stands where the journal fills its next file, until it is taken away again.
#[test]
fn health_turns_with_the_journal() {
    // What is under way when the journal fails is cut, on this side as well.
    let upstream = Upstream::start(|mut session| {
        while let Ok(head) = session.try_head() {
            let body = session.body(head.request_framing()).finish();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if body.end != End::Complete || session.try_send(answer).is_err() {
                return;
            }
        }
    });
    let home = Arc::new(Home::new());
    let gateway = Options::default()
        .upstream("up", upstream.url())
        .config("[journal]\nfile_size = \"1MiB\"\n")
        .argument("--log-format")
        .argument("json")
        .start_in(Arc::clone(&home));
    let address = gateway.address();
    assert_eq!(ask(address, "GET", "/healthz").status(), 200);
    let journal = home.data().join("journal");
    let obstacle = journal.join("spare-new");
    poll("the obstacle's place", || std::fs::create_dir_all(obstacle.join("inside")).ok());
    for entry in std::fs::read_dir(&journal).expect("the journal can be listed").flatten() {
        let name = entry.file_name().into_string().expect("names are ASCII");
        if name.starts_with("spare-") && name != "spare-new" {
            std::fs::remove_file(entry.path()).expect("a spare can be removed");
        }
    }
    poll("an outage", || (post(address, 200_000) == 503).then_some(()));
    let health = ask(address, "GET", "/healthz");
    assert_eq!(health.status(), 503);
    let said: serde_json::Value = serde_json::from_slice(health.bytes()).expect("it is JSON");
    assert_eq!(said["status"], "unavailable");
    let first = &said["checks"][0];
    assert_eq!((first["name"].as_str(), first["ok"].as_bool()), (Some("journal"), Some(false)));
    assert!(!said.to_string().contains(home.path().to_str().unwrap()), "{said}");
    assert_eq!(ask(address, "GET", "/up/x").status(), 503);
    let numbers = metrics(address);
    assert_eq!(numbers["sealtap_healthy{check=\"journal\"}"], 0.0);
    // It is counted once its answer is out.
    let turned_away = || metrics(address)["sealtap_requests_turned_away_total"] >= 1.0;
    poll("the count", || turned_away().then_some(()));
    std::fs::remove_dir_all(&obstacle).expect("the obstacle can be removed");
    poll("the journal again", || (ask(address, "GET", "/healthz").status() == 200).then_some(()));
    poll("an answer", || (ask(address, "GET", "/up/x").status() == 200).then_some(()));
    poll("the gap's leaf", || (metrics(address)["sealtap_gaps_total"] >= 1.0).then_some(()));
    // One JSON object a line, and each thing once.
    let messages = gateway.stderr();
    let down = messages.lines().filter(|line| line.contains("the journal is down")).count();
    assert_eq!(down, 1, "{messages}");
    for line in messages.lines() {
        let message: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
        assert!(message["level"].is_string() && message["message"].is_string(), "{message}");
    }
    let list = gateway.finish();
    assert!(list.iter().any(|exchange| exchange.text("/outcome") == "complete"));
    upstream.finish();
}

/// Another process holds the store's database: nothing can be stored, and all else goes on.
#[test]
fn a_store_that_fails_is_told_and_keeps_no_traffic_back() {
    let upstream = ok();
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let address = gateway.address();
    let stored = |count: f64| {
        poll("everything stored", || {
            (metrics(address)["sealtap_stored_exchanges_total"] == count).then_some(())
        });
    };
    assert_eq!(ask(address, "GET", "/up/x").status(), 200);
    stored(1.0);
    let held = "import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute('BEGIN IMMEDIATE')
print('held', flush=True)
sys.stdin.read()";
    let mut holder = Command::new("python3")
        .args(["-c", held])
        .arg(gateway.home().data().join("store/exchanges.db"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3 can be run");
    let mut said = String::new();
    let out = holder.stdout.as_mut().expect("stdout is piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut said).expect("it says so");
    assert_eq!(said, "held\n");
    assert_eq!(ask(address, "GET", "/up/x").status(), 200);
    // SQLite alone waits ten seconds for the other process before it gives up.
    let told = poll_for(OF_A_GATEWAY, "the store's failure", || {
        let health = ask(address, "GET", "/healthz");
        assert_eq!(health.status(), 200, "capture goes on");
        serde_json::from_slice::<serde_json::Value>(health.bytes()).ok()
    });
    assert_eq!(told["status"], "degraded", "{told}");
    let reason = told["store"].as_str().expect("a reason");
    assert!(reason.starts_with("failing: ") && !reason.contains('/'), "{told}");
    let numbers = metrics(address);
    let healthy = |check| numbers[&format!("sealtap_healthy{{check=\"{check}\"}}")];
    assert_eq!((healthy("store"), healthy("journal"), healthy("log")), (0.0, 1.0, 1.0));
    assert_eq!(numbers["sealtap_store_failing"], 1.0);
    // Traffic goes on, and is sealed.
    assert_eq!(ask(address, "GET", "/up/x").status(), 200);
    gateway.wait_sealed(3);
    drop(holder.stdin.take());
    assert!(holder.wait().expect("it can be waited for").success());
    stored(3.0);
    assert_eq!(ask(address, "GET", "/healthz").bytes(), b"ok\n");
    assert_eq!(gateway.finish().len(), 3);
    upstream.finish();
}

/// Sends a body of `length` bytes; the status of the answer, or 0 where the connection was cut.
fn post(address: SocketAddr, length: usize) -> u16 {
    let mut client = Wire::connect(address);
    let size = length.to_string();
    client.send(head("POST /up/x HTTP/1.1", &[("Host", "x"), ("Content-Length", &size)]));
    let _ = client.try_send(vec![7; length]);
    client.try_head().map_or(0, |head| head.status())
}
