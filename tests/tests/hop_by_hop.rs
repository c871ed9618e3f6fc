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
