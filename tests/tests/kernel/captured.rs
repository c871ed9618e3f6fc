//! A command that knows of no proxy is captured; what is none of the captured is passed on and told of.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

use sealtap_tests::coverage::state;
use sealtap_tests::gate::PATIENCE;
use sealtap_tests::gateway::Home;
use sealtap_tests::launch::{Launch, Launched};
use sealtap_tests::seen;
use sealtap_tests::tls::Authority;
use sealtap_tests::upstream_http1::Upstream;
use serde_json::json;

use super::{REQUIRE, connections, covered, home, level, model, run};

fn curl(home: &Arc<Home>, authority: &Authority, upstream: &Upstream, kernel: &str) -> Launched {
    let ca = home.path().join("upstream-ca.pem");
    authority.write(&ca);
    let config = home.path().join("sealtap.toml");
    fs::write(&config, "[proxy]\ncapture = [\"model.example\"]\n").expect("a config");
    let port = upstream.address().port();
    let launch = Launch::new(
        home,
        &[
            kernel,
            &format!("--upstream-ca={}", ca.display()),
            &format!("--config={}", config.display()),
        ],
    )
    .telling();
    let (url, resolve) = (
        format!("https://model.example:{port}/v1/chat"),
        format!("model.example:{port}:127.0.0.1"),
    );
    // Its trust comes from the variables that stay, or it takes the server's own authority.
    let mut line =
        vec!["curl", "-sS", "--http1.1", "--noproxy", "*", "--resolve", &resolve, "-d", "hello"];
    let own = ca.display().to_string();
    if kernel == "--kernel=off" {
        line.extend(["--cacert", &own]);
    }
    line.push(&url);
    run(launch, &line)
}

/// TLS to a captured name, by a client that was told of no proxy.
pub(super) fn a_client_without_proxy_variables_is_captured() {
    let (home, authority) = (home(), Authority::new());
    let asked = Arc::clone(&home);
    let upstream = model(&authority, move || seen::connections(&asked, 1));
    let launched = curl(&home, &authority, &upstream, REQUIRE).expect(0);
    assert_eq!(launched.stdout(), "hello");
    let exchange = launched.captured(1).remove(0);
    assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
    assert_eq!(exchange.text("/method"), "POST");
    assert_eq!(exchange.number("/request/bytes"), 5);
    assert_eq!(exchange.number("/response/bytes"), 5);
    assert_eq!(level(&launched), "kernel_observed", "{}", launched.account);
    assert_eq!(connections(&launched, "seen"), 1, "{}", launched.account);
    assert_eq!(connections(&launched, "via_gateway"), 1);
    assert_eq!(launched.account["coverage"]["redirected"], 1);
    assert_eq!(launched.account["coverage"]["attributed"], 1);
    assert_eq!(upstream.finish().len(), 1);
    let covered = covered(&launched);
    assert_eq!(covered["end"], "ended", "{covered}");
    assert_eq!(covered["mode"], "observe");
    assert_eq!(covered["connections"]["via_gateway"], 1);
    assert_eq!((&covered["known"], &covered["attributed"]), (&json!(1), &json!(1)));
    assert_eq!(state(&covered, "tcp"), "observed_only", "what answers others goes on");
    assert_eq!(state(&covered, "raw"), "observed_only");
    assert_eq!(state(&covered, "helper"), "not_covered");
    // Everything of the one connection, and nothing else: it asked for no name.
    let packets = &covered["packets"];
    assert_eq!(packets["via_gateway"], packets["seen"], "{covered}");
    assert!(packets["seen"].as_u64() > Some(4), "{covered}");
}

/// The control: without the kernel the same client goes around, and nothing notices.
pub(super) fn the_same_client_goes_around_without_the_kernel() {
    let (home, authority) = (home(), Authority::new());
    let upstream = model(&authority, || ());
    let launched = curl(&home, &authority, &upstream, "--kernel=off").expect(0);
    assert_eq!(launched.stdout(), "hello");
    launched.captured(0);
    assert_eq!(level(&launched), "observed_only");
    assert_eq!(upstream.finish().len(), 1);
}

/// A protocol that the gateway does not know, whose server speaks first.
pub(super) fn other_protocols_pass_and_are_recorded() {
    let home = home();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("reads can time out");
        stream.write_all(b"220 ready\r\n").expect("the greeting leaves");
        let mut line = [0; 6];
        stream.read_exact(&mut line).expect("the answer comes");
        assert_eq!(&line, b"QUIT\r\n");
    });
    let script = format!(
        "import socket\ns=socket.create_connection(('127.0.0.1',{port}))\n\
         assert s.recv(99)==b'220 ready\\r\\n'\ns.sendall(b'QUIT\\r\\n')\nassert s.recv(9)==b''"
    );
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", &script]).expect(0);
    served.join().expect("the server saw what it wanted");
    let exchange = launched.captured(1).remove(0);
    assert_eq!(exchange.text("/ingress"), "transparent", "{}", exchange.json);
    assert_eq!(exchange.text("/url"), format!("127.0.0.1:{port}"));
    assert_eq!(exchange.text("/tunnel/reason"), "not_listed");
    assert_eq!(exchange.number("/tunnel/from_client"), 6);
    assert_eq!(exchange.number("/tunnel/to_client"), 11);
}

/// IPv6, and IPv4 wrapped in it.
pub(super) fn both_families_arrive_where_they_were_meant_to() {
    let home = home();
    let v6 = TcpListener::bind("[::1]:0").expect("a port of IPv6");
    let v4 = TcpListener::bind("127.0.0.1:0").expect("a port of IPv4");
    let ports = [&v6, &v4].map(|listener| listener.local_addr().expect("an address").port());
    let servers = [(v6, b"six"), (v4, b"for")].map(|(listener, word)| {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.write_all(word).expect("the word leaves");
        })
    });
    let script = format!(
        "import socket\n\
         for to in (('::1',{}),('::ffff:127.0.0.1',{})):\n\
         \x20s=socket.socket(socket.AF_INET6); s.connect(to); print(s.recv(9).decode())",
        ports[0], ports[1]
    );
    let launched = run(Launch::new(&home, &[REQUIRE]), &["python3", "-c", &script]).expect(0);
    assert_eq!(launched.stdout(), "six\nfor\n");
    for server in servers {
        server.join().expect("the server was reached");
    }
    let urls: Vec<String> =
        launched.captured(2).iter().map(|exchange| exchange.text("/url").to_owned()).collect();
    assert!(urls.contains(&format!("[::1]:{}", ports[0])), "{urls:?}");
    assert!(urls.contains(&format!("127.0.0.1:{}", ports[1])), "{urls:?}");
    assert_eq!(connections(&launched, "via_gateway"), 2);
}
