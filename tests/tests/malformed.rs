//! Malformed: a message that breaks a rule is its sender's fault, and the record says whose.
//!
//! A client is told 400 while it can be; its upstream sees a cut, or nothing at all where nothing
//! had gone on yet. An upstream's answer that cannot be said is a 502 or a cut.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::Reason;
use sealtap_tests::client_http2::{Client, try_answer};
use sealtap_tests::content::{Content, Pattern};
use sealtap_tests::gate::{Gate, poll};
use sealtap_tests::gateway::{Gateway, Options};
use sealtap_tests::http1::{End, Framing, Message, head};
use sealtap_tests::http2::{self, read, send};
use sealtap_tests::metrics::metrics;
use sealtap_tests::records::{Direction, Exchange};
use sealtap_tests::upstream_http1::Upstream;
use sealtap_tests::upstream_http2;
use sealtap_tests::wire::Wire;

const CHUNKED: &str = "POST /up/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

fn gateway(url: String) -> Gateway {
    Options::default().upstream("up", url).start()
}

/// How many exchanges are over.
fn over(gateway: SocketAddr) -> f64 {
    let all = metrics(gateway).into_iter();
    all.filter(|(name, _)| name.starts_with("sealtap_exchanges_total"))
        .map(|(_, count)| count)
        .sum()
}

/// The gateway's own answer of this status and code.
fn own(answer: &Message, status: u16, code: &str) {
    assert_eq!(answer.status(), status, "{:?}", answer.body.content);
    let json: serde_json::Value = serde_json::from_slice(answer.bytes()).expect("JSON");
    assert_eq!(json["error"]["code"], code, "{json}");
}

/// The only record: outcome, error, and how the request ended.
fn record(gateway: Gateway, expected: [&str; 3]) -> Exchange {
    let mut exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 1, "{exchanges:?}");
    let found = exchanges.remove(0);
    let said = [found.text("/outcome"), found.text("/error"), found.text("/request/end")];
    assert_eq!(said, expected, "{}", found.json);
    found
}

#[test]
fn a_chunk_that_breaks_after_others_went_on() {
    let gate = Gate::default();
    let seen = gate.clone();
    let upstream = Upstream::start(move |mut session| {
        let head = session.next_head().expect("a request comes");
        let mut reader = session.body(head.request_framing());
        reader.at_least(3);
        seen.open();
        let body = reader.finish();
        assert_eq!((body.content.bytes(), body.end), (&b"abc"[..], End::Cut));
    });
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    client.send(CHUNKED);
    client.send("3\r\nabc\r\n");
    gate.wait(1);
    client.send("zz\r\n");
    own(&client.response("POST"), 400, "malformed_request");
    client.assert_closed();
    let found = record(gateway, ["client_cancelled", "malformed_request", "gateway_refused"]);
    assert_eq!(found.body(Direction::Request), Content::of("abc"));
    assert_eq!((found.number("/status"), found.text("/response/end")), (400, "complete"));
    assert_eq!(found.show()["response"]["source"], "gateway");
    upstream.finish();
}

#[test]
fn a_chunk_that_breaks_before_anything_went_on() {
    let upstream = Upstream::start(|mut session| {
        assert!(session.next_head().is_none(), "nothing of the request goes on");
    });
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    client.send(format!("{CHUNKED}zz\r\n"));
    own(&client.response("POST"), 400, "malformed_request");
    client.assert_closed();
    let found = record(gateway, ["refused", "malformed_request", "gateway_refused"]);
    assert_eq!(found.number("/request/bytes"), 0);
    // Never forwarded: the head is the one that came.
    assert_eq!(found.show()["request"]["target"], serde_json::json!(["/up/x"]));
    upstream.finish();
}

#[test]
fn a_trailer_that_frames_is_a_fault_in_http1() {
    let upstream = Upstream::start(|mut session| {
        if let Some(head) = session.next_head() {
            assert_ne!(session.rest_of_request(head).body.end, End::Complete);
        }
    });
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    client.send(format!("{CHUNKED}3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"));
    own(&client.response("POST"), 400, "malformed_request");
    drop(client);
    record(gateway, ["client_cancelled", "malformed_request", "gateway_refused"]);
    upstream.finish();
}

#[test]
fn a_chunk_that_breaks_when_the_answer_is_under_way() {
    let upstream = Upstream::start(|mut session| {
        let request = session.next_head().expect("a request comes");
        session.send(head("HTTP/1.1 200 OK", &[("Transfer-Encoding", "chunked")]));
        session.send_chunk("early");
        assert_eq!(session.rest_of_request(request).body.end, End::Cut);
    });
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    client.send(CHUNKED);
    client.send("3\r\nabc\r\n");
    let (_, answer) = client.response_head();
    assert_eq!(answer.status(), 200);
    let mut reader = client.body(Framing::Chunked);
    reader.at_least(5);
    drop(reader);
    client.send("-1\r\n");
    let (rest, end) = client.read_to_end();
    assert!(!rest.bytes().ends_with(b"0\r\n\r\n") && end != End::Truncated, "{rest:?} {end:?}");
    drop(client);
    let found = record(gateway, ["client_cancelled", "malformed_request", "gateway_refused"]);
    assert_eq!(found.text("/response/end"), "gateway_refused");
    assert_eq!(found.body(Direction::Response), Content::of("early"));
    upstream.finish();
}

#[test]
fn a_chunk_that_breaks_on_its_way_to_http2() {
    let gate = Gate::default();
    let seen = gate.clone();
    let upstream = upstream_http2::Upstream::start(None, move |mut exchange| {
        let seen = seen.clone();
        async move {
            let mut body = exchange.body.take().expect("a body");
            assert_eq!(body.data().await.expect("data").expect("data"), "abc");
            seen.open();
            let error = body.data().await.expect("an end").expect_err("a reset");
            assert_eq!(error.reason(), Some(Reason::CANCEL));
        }
    });
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    client.send(CHUNKED);
    client.send("3\r\nabc\r\n");
    gate.wait(1);
    client.send("zz\r\n");
    own(&client.response("POST"), 400, "malformed_request");
    drop(client);
    record(gateway, ["client_cancelled", "malformed_request", "gateway_refused"]);
    upstream.finish();
}

/// `h2` ends a stream whose data do not fit its length; that is the client's doing.
#[test]
fn a_length_that_is_not_kept_in_http2() {
    let upstream = Upstream::start(|mut session| {
        if let Some(head) = session.next_head() {
            assert_ne!(session.rest_of_request(head).body.end, End::Complete);
        }
    });
    let gateway = gateway(upstream.url());
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("POST", "/up/x", &[("content-length", "5")]);
        let (response, mut stream) = client.start(request, false).await;
        send(&mut stream, "abc", true).await.expect("taken");
        assert_eq!(try_answer(response).await.expect_err("a reset"), Reason::PROTOCOL_ERROR);
        drop(stream);
        client.close().await;
    });
    let found = gateway.finish().remove(0);
    assert_ne!(found.text("/outcome"), "complete", "{}", found.json);
    assert_eq!(found.text("/error"), "malformed_request", "{}", found.json);
    upstream.finish();
}

#[test]
fn two_lengths_in_http2() {
    let upstream = Upstream::start(|mut session| {
        assert!(session.next_head().is_none(), "nothing of the request goes on");
    });
    let gateway = gateway(upstream.url());
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let mut request = client.head("POST", "/up/x", &[("content-length", "3")]);
        request.headers_mut().append("content-length", "3".parse().expect("a value"));
        let answer = client.call(request, b"abc", None).await;
        assert_eq!(answer.status(), 400);
        client.close().await;
    });
    record(gateway, ["refused", "malformed_request", "gateway_refused"]);
    upstream.finish();
}

/// A request over HTTP/2 that HTTP/1 has no words for; the connection to the upstream goes on.
#[test]
fn a_field_that_http1_cannot_carry() {
    let upstream = Upstream::answering(|session, _| {
        session.send(head("HTTP/1.1 200 OK", &[("Content-Length", "0")]));
    });
    let gateway = gateway(upstream.url());
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let mut sent = 0.0;
        for (value, status) in [("fine", 200), (" spaced ", 400), ("fine", 200)] {
            let request = client.head("GET", "/up/x", &[("x-value", value)]);
            assert_eq!(client.call(request, b"", None).await.status(), status, "{value:?}");
            // The upstream's connection waits for the next once the answer is out, and then it is counted.
            sent += 1.0;
            poll("the count of it", || (over(gateway.address()) >= sent).then_some(()));
        }
        client.close().await;
    });
    let exchanges = gateway.finish();
    let outcomes: Vec<&str> = exchanges.iter().map(|found| found.text("/outcome")).collect();
    assert_eq!(outcomes, ["complete", "refused", "complete"]);
    assert_eq!(exchanges[1].text("/error"), "malformed_request");
    assert_eq!(upstream.connections(), 1, "a refusal costs the upstream no connection");
    upstream.finish();
}

/// What an HTTP/2 upstream says and HTTP/1 cannot: 502, with its reason.
#[test]
fn answers_that_http1_cannot_carry() {
    const CASES: [(&str, &[(&str, &str)]); 3] = [
        ("/value", &[("x-value", " spaced ")]),
        ("/lengths", &[("content-length", "0"), ("content-length", "0")]),
        ("/interim", &[]),
    ];
    let upstream = upstream_http2::Upstream::start(None, |mut exchange| async move {
        exchange.read().await;
        let path = exchange.head.uri.path().to_owned();
        if path == "/interim" {
            let hint = http::Response::builder().status(103).header("link", " spaced ");
            exchange.respond.send_informational(hint.body(()).expect("sound")).expect("taken");
        }
        let fields = CASES.iter().find(|(name, _)| *name == path).expect("a case").1;
        exchange.answer(200, fields, true);
    });
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    for (path, _) in CASES {
        client.send(format!("GET /up{path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = client.response("GET");
        assert!(answer.interim.is_empty());
        own(&answer, 502, "upstream_protocol");
    }
    drop(client);
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), CASES.len());
    for found in &exchanges {
        let said = [found.text("/outcome"), found.text("/error"), found.text("/request/end")];
        assert_eq!(said, ["upstream_failed", "upstream_protocol", "complete"], "{}", found.json);
    }
    upstream.finish();
}

/// Data behind a head that has none: the answer is not whole for anyone.
#[test]
fn data_where_there_is_no_body() {
    let upstream = upstream_http2::Upstream::start(None, |mut exchange| async move {
        exchange.read().await;
        let mut stream = exchange.answer(304, &[("etag", "\"x\"")], false);
        // The gateway may have reset the stream by then.
        let _ = send(&mut stream, "smuggled", true).await;
    });
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    let (rest, _) = client.read_to_end();
    assert!(memchr::memmem::find(rest.bytes(), b"smuggled").is_none(), "{rest:?}");
    drop(client);
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("GET", "/up/x", &[]);
        let (response, _) = client.start(request, true).await;
        assert!(try_answer(response).await.is_err(), "no whole answer");
        client.close().await;
    });
    let exchanges = gateway.finish();
    assert_eq!(exchanges.len(), 2);
    for found in &exchanges {
        let said = [found.text("/outcome"), found.text("/error"), found.text("/response/end")];
        assert_eq!(said, ["upstream_failed", "upstream_protocol", "upstream_failed"]);
    }
    upstream.finish();
}

/// An HTTP/2 upstream whose data do not fit its length: `h2` ends the stream.
#[test]
fn an_answer_that_does_not_keep_its_length_in_http2() {
    let upstream = upstream_http2::Upstream::start(None, |mut exchange| async move {
        exchange.read().await;
        let mut stream = exchange.answer(200, &[("content-length", "9")], false);
        stream.send_data(Bytes::from_static(b"short"), true).expect("taken");
    });
    let gateway = gateway(upstream.url());
    let mut client = Wire::connect(gateway.address());
    client.send("GET /up/x HTTP/1.1\r\nHost: x\r\n\r\n");
    let (_, answer) = client.response_head();
    let body = client.body(answer.response_framing("GET")).finish();
    assert_ne!(body.end, End::Complete, "{body:?}");
    drop(client);
    let found = gateway.finish().remove(0);
    let said = [found.text("/outcome"), found.text("/error")];
    assert_eq!(said, ["upstream_failed", "upstream_protocol"], "{}", found.json);
    upstream.finish();
}

/// A client that takes its time with a fault on one stream harms no other.
#[test]
fn a_fault_stays_on_its_stream() {
    let upstream = upstream_http2::Upstream::start(None, |mut exchange| async move {
        if exchange.head.uri.path() == "/good" {
            let body = exchange.read().await;
            let mut stream = exchange.answer(200, &[], false);
            send(&mut stream, body.content.bytes().to_vec(), true).await.expect("taken");
        } else {
            let body = read(exchange.body.take().expect("a body")).await;
            assert!(body.reset.is_some());
        }
    });
    let gateway = gateway(upstream.url());
    let mut bad = Wire::connect(gateway.address());
    bad.send(CHUNKED.replace("/x", "/bad"));
    bad.send("3\r\nabc\r\n");
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        let request = client.head("POST", "/up/good", &[]);
        let (response, mut stream) = client.start(request, false).await;
        send(&mut stream, "half ", false).await.expect("taken");
        bad.send("zz\r\n");
        own(&bad.response("POST"), 400, "malformed_request");
        send(&mut stream, "whole", true).await.expect("taken");
        let answer = try_answer(response).await.expect("an answer");
        assert_eq!(answer.content().bytes(), b"half whole");
        drop(stream);
        client.close().await;
    });
    drop(bad);
    assert_eq!(gateway.finish().len(), 2);
    upstream.finish();
}

/// Not malformed, though it looks like a reset: an upstream that has answered and wants no more of
/// the request says so with NO_ERROR (RFC 9113 section 8.1). The answer is whole for either client.
#[test]
fn an_early_answer_and_no_error() {
    let upstream = upstream_http2::Upstream::start(None, |mut exchange| async move {
        let mut stream = exchange.answer(413, &[], false);
        // Long enough for the reset to arrive while the gateway still passes it on.
        let long = Pattern::bytes(5, 900_000);
        send(&mut stream, long, true).await.expect("taken");
        // Dropping the unread body is what makes `h2` send RST_STREAM with NO_ERROR.
    });
    let gateway = gateway(upstream.url());
    for _ in 0..10 {
        let mut client = Wire::connect(gateway.address());
        client.send("POST /up/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
        client.send("some");
        let answer = client.response("POST");
        assert_eq!((answer.status(), answer.body.end), (413, End::Complete));
        assert_eq!(answer.body.content, Content::of_pattern(5, 900_000));
        client.assert_closed();
    }
    http2::run(async {
        let mut client = Client::connect(gateway.address()).await;
        for _ in 0..10 {
            let request = client.head("POST", "/up/x", &[]);
            let (response, mut stream) = client.start(request, false).await;
            // The gateway may have said NO_ERROR by then.
            let _ = send(&mut stream, "some", false).await;
            let answer = try_answer(response).await.expect("an answer");
            assert_eq!(answer.status(), 413);
            assert_eq!(*answer.content(), Content::of_pattern(5, 900_000));
            assert!(matches!(answer.body.reset, None | Some(Reason::NO_ERROR)), "{answer:?}");
        }
        client.close().await;
    });
    for found in gateway.finish() {
        let said = [found.text("/outcome"), found.text("/response/end")];
        assert_eq!(said, ["complete", "complete"], "{}", found.json);
        assert_ne!(found.text("/request/end"), "complete", "{}", found.json);
    }
    upstream.finish();
}
