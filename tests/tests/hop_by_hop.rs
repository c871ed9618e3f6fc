//! Hop by hop: what belongs to one connection stays on it (RFC 9110, 7.6.1), and the gateway adds
//! nothing of its own unless it was configured to.

use sealtap_tests::bench::{Bench, Path};
use sealtap_tests::gateway::Options;
use sealtap_tests::http1::{Head, head};
use sealtap_tests::upstream_http1::Upstream;

/// What the upstream and the client see of one exchange with these fields.
fn relayed(options: Options, request: &[(&str, &str)], answer: &[(&str, &str)]) -> (Head, Head) {
    let mut fields = vec![("Content-Length", "2")];
    fields.extend_from_slice(answer);
    let reply = [head("HTTP/1.1 200 OK", &fields), b"ok".to_vec()].concat();
    let upstream = Upstream::answering(move |session, _| session.send(&reply));
    let bench = Bench::new(Path::Gateway, upstream, options);
    let mut client = bench.client();
    client.send(bench.head("GET", "/hop", request));
    let received = client.response("GET");
    assert_eq!(received.bytes(), b"ok");
    drop(client);
    let (exchanges, mut requests) = bench.stop();
    assert_eq!(exchanges[0].text("/outcome"), "complete");
    (requests.remove(0).head, received.head)
}

fn names(head: &Head) -> Vec<String> {
    let names = head.fields.iter().map(|(name, _)| String::from_utf8_lossy(name).to_lowercase());
    names.collect()
}

#[test]
fn nothing_is_added() {
    let (request, answer) = relayed(Options::default(), &[("Accept", "*/*")], &[]);
    assert_eq!(names(&request), ["host", "accept"]);
    assert_eq!(names(&answer), ["content-length"]);
}

#[test]
fn named_options_do_not_go_on() {
    let fields = [
        ("X-Kept", "1"),
        ("Connection", "keep-alive, X-Mine , x-other"),
        ("X-Mine", "secret of this hop"),
        ("Keep-Alive", "timeout=5"),
        ("X-OTHER", "too"),
        ("Proxy-Connection", "keep-alive"),
        ("X-Also-Kept", "2"),
    ];
    let (request, answer) = relayed(Options::default(), &fields, &fields);
    let end_to_end = |head: &Head| -> Vec<String> {
        let names = names(head).into_iter();
        names
            .filter(|name| !["host", "content-length", "connection"].contains(&name.as_str()))
            .collect()
    };
    assert_eq!(end_to_end(&request), ["x-kept", "x-also-kept"]);
    assert_eq!(end_to_end(&answer), ["x-kept", "x-also-kept"]);
    for head in [&request, &answer] {
        for value in head.all("connection") {
            let value = value.to_ascii_lowercase();
            assert!(value == b"keep-alive" || value == b"close", "{}", value.escape_ascii());
        }
    }
}

#[test]
fn connection_cannot_take_off_what_frames_a_message() {
    let fields = [("Connection", "content-length, host"), ("Content-Length", "0")];
    let upstream = Upstream::answering(|session, request| {
        assert!(request.head.one("host").is_some());
        session.send(head("HTTP/1.1 204 No", &[]));
    });
    let bench = Bench::new(Path::Gateway, upstream, Options::default());
    let mut client = bench.client();
    client.send(bench.head("POST", "/strip", &fields));
    let answer = client.response("POST");
    assert!([204, 400].contains(&answer.status()), "forwarded whole or refused");
    drop(client);
    bench.stop();
}

#[test]
fn an_upgrade_nobody_asked_of_us_is_not_passed_alone() {
    // Without `Connection: upgrade` the field means nothing and belongs to this hop.
    let (request, _) = relayed(Options::default(), &[("Upgrade", "h2c")], &[]);
    assert_eq!(names(&request), ["host"]);
}

#[test]
fn te_passes_only_trailers() {
    let (request, _) =
        relayed(Options::default(), &[("TE", "gzip;q=0.5, trailers"), ("Connection", "TE")], &[]);
    for value in request.all("te") {
        assert_eq!(value, b"trailers");
    }
}

#[test]
fn via_and_forwarded_when_configured() {
    let config = "[forwarded]\nvia = true\nforwarded = true\n";
    let (request, _) =
        relayed(Options::default().config(config), &[("Via", "1.0 before"), ("Accept", "x")], &[]);
    let via = request.all("via").concat();
    assert!(via.starts_with(b"1.0 before"), "{}", via.escape_ascii());
    assert!(via.len() > b"1.0 before".len(), "the gateway names itself");
    let forwarded = request.one("forwarded").expect("a Forwarded field");
    assert!(
        forwarded.to_lowercase().contains("for=127.0.0.1") || forwarded.contains("for=\"127.0.0.1")
    );
}

#[test]
fn the_run_header_is_for_the_gateway() {
    let (request, _) = relayed(Options::default(), &[("sealtap-run", "mine"), ("X-A", "b")], &[]);
    assert_eq!(names(&request), ["host", "x-a"]);
}

/// A 426 must say what it demands (RFC 9110 section 15.5.22); any other answer's Upgrade is an
/// offer of this hop alone.
#[test]
fn an_upgrade_that_is_demanded_goes_on() {
    let answer = |status: &str, fields: &[(&str, &str)]| {
        let status = status.to_owned();
        let fields: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let upstream = Upstream::answering(move |session, _| {
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            session.send(head(format!("HTTP/1.1 {status}"), &fields));
        });
        let bench = Bench::new(Path::Gateway, upstream, Options::default());
        let mut client = bench.client();
        client.send(bench.head("GET", "/hop", &[]));
        let received = client.response("GET");
        drop(client);
        bench.stop();
        let one = |name: &str| received.head.one(name).map(str::to_ascii_lowercase);
        (one("upgrade"), one("connection"))
    };
    let fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Content-Length", "0")];
    let some = |text: &str| Some(text.to_owned());
    let demanded = (some("websocket"), some("upgrade"));
    assert_eq!(answer("426 Upgrade Required", &fields), demanded);
    assert_eq!(answer("426 Upgrade Required", &[fields[0], fields[2]]), demanded);
    // Without a length the connection ends with the answer, and both options are said.
    let closing = [fields[0], ("Connection", "upgrade, close"), ("Content-Length", "0")];
    assert_eq!(answer("426 Upgrade Required", &closing).0, some("websocket"));
    assert_eq!(answer("200 OK", &fields), (None, None));
}

/// To a client that the gateway leaves after the answer, a 426 says both.
#[test]
fn an_upgrade_demanded_on_a_connection_that_ends() {
    let upstream = Upstream::answering(|session, _| {
        let fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Content-Length", "0")];
        session.send(head("HTTP/1.1 426 Upgrade Required", &fields));
    });
    let bench = Bench::new(Path::Gateway, upstream, Options::default());
    let mut client = bench.client();
    client.send(bench.head("GET", "/hop", &[("Connection", "close")]));
    let received = client.response("GET");
    assert_eq!(received.head.one("upgrade"), Some("websocket"));
    let connection = received.head.one("connection").expect("options").to_ascii_lowercase();
    assert!(connection.contains("upgrade") && connection.contains("close"), "{connection}");
    client.assert_closed();
    drop(client);
    bench.stop();
}
