//! Trouble: what goes wrong is answered, named and sealed; never papered over.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use sealtap_tests::bench::{Bench, Path};
use sealtap_tests::gate::{Gate, poll};
use sealtap_tests::gateway::{Gateway, Home, Options};
use sealtap_tests::http1::{End, Message, head};
use sealtap_tests::programs;
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::refusing::Refusing;
use sealtap_tests::tls::Authority;
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::verify::text;
use sealtap_tests::wire::Wire;
use serde_json::Value;

fn ok() -> Upstream {
    Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "2")]));
        session.send("ok");
    })
}

/// One GET to `target`; the answer as JSON.
fn get(gateway: &Gateway, target: &str) -> (Message, Value) {
    let mut client = Wire::connect(gateway.address());
    client.send(head(format!("GET {target} HTTP/1.1"), &[("Host", "gateway")]));
    let answer = client.response("GET");
    assert_eq!(answer.head.one("content-type"), Some("application/json"));
    let json = serde_json::from_slice(answer.bytes()).expect("the body is JSON");
    (answer, json)
}

/// What was sealed about an answer the gateway gave by itself.
fn own_answer(exchange: &Exchange, answer: &Message, outcome: &str) {
    assert_eq!(exchange.text("/outcome"), outcome, "{}", exchange.json);
    assert_eq!(exchange.number("/status"), u64::from(answer.status()), "{}", exchange.json);
    assert_eq!(exchange.body(Direction::Response), answer.body.content);
}

#[test]
fn an_unknown_name_is_answered_with_the_known_ones() {
    let gateway = Options::default()
        .upstream("weather-tool", "http://127.0.0.1:9")
        .upstream("other", "http://127.0.0.1:9")
        .start();
    let (answer, json) = get(&gateway, "/whether-tool/v1?x=1");
    assert_eq!(answer.status(), 404);
    let said = json.to_string();
    for name in ["weather-tool", "other", "openai", "anthropic"] {
        assert!(said.contains(name), "{name} is not in {said}");
    }
    let (root, _) = get(&gateway, "/");
    assert_eq!(root.status(), 404);
    let exchanges = gateway.finish();
    own_answer(&exchanges[0], &answer, "refused");
    own_answer(&exchanges[1], &root, "refused");
}

#[test]
fn a_request_with_a_body_to_an_unknown_name() {
    let gateway = Options::default().start();
    let mut client = Wire::connect(gateway.address());
    client.send("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    let answer = client.response("POST");
    assert_eq!((answer.status(), answer.body.end), (404, End::Complete));
    drop(client);
    let exchanges = gateway.finish();
    own_answer(&exchanges[0], &answer, "refused");
}

#[test]
fn an_upstream_that_is_down() {
    let refusing = Refusing::new();
    let url = format!("http://{}", refusing.address());
    let gateway = Options::default().upstream("down", url).start();
    let (answer, json) = get(&gateway, "/down/x");
    assert_eq!(answer.status(), 502);
    assert!(json.to_string().contains("upstream_unreachable"), "{json}");
    let exchanges = gateway.finish();
    own_answer(&exchanges[0], &answer, "upstream_failed");
}

#[test]
fn an_upstream_whose_name_does_not_exist() {
    let gateway = Options::default().upstream("lost", "http://no-such-host.invalid:1").start();
    let (answer, json) = get(&gateway, "/lost/x");
    assert_eq!(answer.status(), 502);
    assert!(json.to_string().contains("upstream_unreachable"), "{json}");
    let exchanges = gateway.finish();
    own_answer(&exchanges[0], &answer, "upstream_failed");
}

#[test]
fn an_upstream_whose_certificate_is_not_trusted() {
    let authority = Authority::new();
    let upstream = Upstream::start_tls(authority.server(&["http/1.1"]), |mut session| {
        assert!(session.next_head().is_none(), "a request went to an untrusted upstream");
    });
    let gateway = Options::default().upstream("tls", upstream.url()).start();
    let (answer, json) = get(&gateway, "/tls/x");
    assert_eq!(answer.status(), 502);
    assert!(json.to_string().contains("upstream_tls"), "{json}");
    let exchanges = gateway.finish();
    own_answer(&exchanges[0], &answer, "upstream_failed");
    upstream.finish();
}

#[test]
fn an_upstream_that_speaks_no_tls() {
    let upstream = Upstream::start(|session| session.drain());
    let url = upstream.url().replace("http://", "https://");
    let gateway = Options::default()
        .upstream("plain", url)
        .config("[timeouts]\nconnect = \"300ms\"\n")
        .start();
    let (answer, json) = get(&gateway, "/plain/x");
    assert!([502, 504].contains(&answer.status()), "{}", answer.status());
    assert!(json.to_string().contains("upstream_"), "{json}");
    let exchanges = gateway.finish();
    own_answer(&exchanges[0], &answer, "upstream_failed");
    upstream.finish();
}

#[test]
fn an_upstream_that_says_nothing() {
    let upstream = Upstream::start(|mut session| {
        session.request();
        session.drain();
    });
    let gateway = Options::default()
        .upstream("slow", upstream.url())
        .config("[timeouts]\nfirst_byte = \"200ms\"\n")
        .start();
    let (answer, json) = get(&gateway, "/slow/x");
    assert_eq!(answer.status(), 504);
    assert!(json.to_string().contains("upstream_timeout"), "{json}");
    let exchanges = gateway.finish();
    own_answer(&exchanges[0], &answer, "upstream_failed");
    upstream.finish();
}

#[test]
fn an_upstream_that_stops_in_the_middle() {
    let upstream = Upstream::start(|mut session| {
        session.request();
        // At once: on a busy machine more time may pass between two writes than the gateway waits.
        let head = head("HTTP/1.1 200 OK", &[("Content-Length", "10")]);
        session.send([head.as_slice(), b"half"].concat());
        session.drain();
    });
    let gateway = Options::default()
        .upstream("stuck", upstream.url())
        .config("[timeouts]\nbetween_bytes = \"200ms\"\n")
        .start();
    let mut client = Wire::connect(gateway.address());
    client.send("GET /stuck/x HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.response("GET");
    assert_eq!((answer.bytes(), answer.body.end), (b"half".as_slice(), End::Cut));
    drop(client);
    let exchanges = gateway.finish();
    own_answer(&exchanges[0], &answer, "upstream_failed");
    assert_eq!(exchanges[0].text("/response/end"), "upstream_failed");
    upstream.finish();
}

#[test]
fn a_second_gateway_on_one_data_directory_is_refused() {
    let upstream = ok();
    let gateway = Options::default().upstream("up", upstream.url()).start();
    // With the same lock, and with one of its own.
    let other = gateway.home().path().join("other-lock");
    let with = |lock: PathBuf| Options::default().argument("--lock").argument(lock);
    for second in [Options::default(), with(other)] {
        let second = second.try_start_in(Arc::clone(gateway.home()));
        let Err((status, stderr)) = second else { panic!("two gateways on one directory") };
        assert!(!status.success());
        let said = stderr.contains("another sealtap") || stderr.contains("--lock");
        assert!(said && !stderr.contains("panicked"), "{stderr}");
    }
    // The first is none the worse for it.
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.response("GET").bytes(), b"ok");
    drop(client);
    assert_eq!(gateway.finish().len(), 1);
    upstream.finish();
}

#[test]
fn a_port_in_use_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
    let address = listener.local_addr().expect("an address").to_string();
    let home = Home::new();
    let output = Command::new(programs::sealtap())
        .args(["serve", "--listen", &address, "--data"])
        .arg(home.data())
        .arg("--lock")
        .arg(home.lock())
        .output()
        .expect("sealtap can be run");
    assert!(!output.status.success());
    assert!(text(&output).contains(&address), "{}", text(&output));
}

#[test]
fn a_wrong_configuration_is_refused_with_its_place() {
    for (config, line, wants) in [
        ("listen = \"127.0.0.1:0\"\ndurabilty = \"strict\"\n", ":2", "durability"),
        ("[timeouts]\nfirst_bite = \"1s\"\n", ":2", "first_byte"),
        ("[timeouts]\n\nconnect = 5\n", ":3", "connect"),
        ("[upstreams.x]\nurl = \"ftp://x\"\n", ":2", "url"),
        ("[[[", ":1", "TOML"),
    ] {
        let started = Options::default().config(config).try_start_in(Arc::new(Home::new()));
        let Err((status, stderr)) = started else { panic!("{config:?} was accepted") };
        assert!(!status.success());
        for part in ["sealtap.toml", line, wants] {
            assert!(stderr.contains(part), "{part} is not in {stderr}");
        }
    }
}

#[test]
fn reserved_and_odd_upstream_names_are_refused() {
    for given in
        ["run=http://127.0.0.1:1", "receipts=http://127.0.0.1:1", "a/b=http://x", "=http://x", "x"]
    {
        let options = Options::default().argument("--upstream").argument(given);
        let Err((status, stderr)) = options.try_start_in(Arc::new(Home::new())) else {
            panic!("{given} was accepted")
        };
        assert!(!status.success(), "{given}");
        assert!(stderr.contains("--upstream"), "{stderr}");
    }
}

#[test]
fn ls_show_and_verify_beside_a_running_gateway() {
    let gate = Gate::default();
    let go_on = gate.clone();
    let upstream = Upstream::answering(move |session, request| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "4")]));
        session.send("ab");
        if request.head.target() == b"/open" {
            go_on.wait(1);
        }
        session.send("cd");
    });
    let bench = Bench::new(Path::Gateway, upstream, Options::default());
    let gateway = bench.gateway().expect("there is one");
    let mut first = bench.client();
    first.send(bench.head("GET", "/whole", &[]));
    assert_eq!(first.response("GET").bytes(), b"abcd");
    let sealed = gateway.wait_sealed(1).remove(0);
    assert_eq!(sealed.text("/outcome"), "complete");
    assert_eq!(sealed.body(Direction::Response).bytes(), b"abcd");
    gateway.home().assert_valid();
    let mut second = bench.client();
    second.send(bench.head("GET", "/open", &[]));
    let (_, answer) = second.response_head();
    let mut reader = second.body(answer.response_framing("GET"));
    reader.at_least(2);
    let open = poll("an open exchange in ls", || {
        let list = gateway.list();
        list.into_iter().find(|exchange| exchange.text("/outcome") == "open")
    });
    assert!(open.json["leaf"].is_null());
    assert_eq!(open.text("/method"), "GET");
    gateway.home().assert_valid();
    gate.open();
    assert_eq!(reader.finish().content.bytes(), b"abcd");
    drop((first, second));
    let exchanges = gateway.wait_sealed(2);
    assert_eq!(exchanges[0].id(), sealed.id());
    let (exchanges, _) = bench.stop();
    assert_eq!(exchanges[1].id(), open.id());
}

#[test]
fn sigterm_lets_an_exchange_end_and_seals_it() {
    let gate = Gate::default();
    let got = gate.clone();
    let upstream = Upstream::answering(move |session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "4")]));
        session.send("ab");
        got.wait(1);
        session.send("cd");
    });
    let gateway = Options::default().upstream("up", upstream.url()).start();
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    let (_, answer) = client.response_head();
    let mut reader = client.body(answer.response_framing("GET"));
    reader.at_least(2);
    gateway.signal(rustix::process::Signal::TERM);
    gate.open();
    // Whether it was let finish or cut, the record says which, and the log is whole.
    let body = reader.finish();
    let exchanges = gateway.finish();
    let outcome = exchanges[0].text("/outcome");
    match body.end {
        End::Complete => assert_eq!(outcome, "complete"),
        _ => assert_ne!(outcome, "complete"),
    }
    upstream.finish();
}

/// Whoever can write to the directories of a gateway has it overwrite files, or takes its keys.
#[test]
fn directories_that_others_can_write_to_are_refused_untouched() {
    use std::fs::{Permissions, create_dir, read, remove_file, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let upstream = ok();
    let home = Arc::new(Home::new());
    let victim = home.path().join("victim");
    std::fs::write(&victim, "important").expect("written");
    let mode = |path: PathBuf, mode| {
        set_permissions(path, Permissions::from_mode(mode)).expect("the mode can be set");
    };
    let start =
        || Options::default().upstream("up", upstream.url()).try_start_in(Arc::clone(&home));
    let refused = |words: &[&str]| {
        let Err((status, stderr)) = start() else { panic!("it starts") };
        assert!(!status.success());
        for word in words {
            assert!(stderr.contains(word), "{word} is not in {stderr}");
        }
        assert_eq!(read(&victim).expect("the file is there"), b"important");
    };
    create_dir(home.data()).expect("made");
    symlink(&victim, home.data().join("writer")).expect("linked");
    mode(home.data(), 0o777);
    refused(&["chmod go-w", "mode 0777", "/data"]);
    assert!(!home.data().join("keys").exists());
    mode(home.data(), 0o700);
    refused(&["/data/writer"]);
    remove_file(home.data().join("writer")).expect("removed");
    create_dir(home.lock()).expect("made");
    mode(home.lock(), 0o1777);
    refused(&["chmod go-w", "/lock"]);
    mode(home.lock(), 0o700);
    let Ok(gateway) = start() else { panic!("it does not start") };
    let mut client = Wire::connect(gateway.address());
    client.send(head("GET /up/x HTTP/1.1", &[("Host", "x")]));
    assert_eq!(client.response("GET").status(), 200);
    drop(client);
    assert_eq!(gateway.finish().len(), 1);
    upstream.finish();
}
